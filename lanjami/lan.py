"""Which interfaces and addresses belong to the local networks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
)

Ip = IPv4Address | IPv6Address

HTTP_PORT = 80
NO_NETWORK = "no network interface is up"  # why a part that needs one is worse off

# RFC 1918, RFC 3927, RFC 4193, RFC 4291. Not 100.64.0.0/10 (RFC 6598), a provider's network.
LOCAL_NETWORKS: tuple[IPv4Network | IPv6Network, ...] = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv4Network("169.254.0.0/16"),
    IPv4Network("127.0.0.0/8"),
    IPv6Network("fc00::/7"),
    IPv6Network("fe80::/10"),
    IPv6Network("::1/128"),
)


@dataclass(frozen=True, slots=True)
class Address:
    """An address of an interface.

    `preferred` says that the kernel itself answers neighbours from this address: it is the one
    that a program bound to the wildcard address, as a DHT node is, is seen under.
    """

    at: IPv4Interface | IPv6Interface
    preferred: bool = True

    @property
    def ip(self) -> Ip:
        return self.at.ip

    @property
    def broadcast(self) -> IPv4Address | None:
        """The subnet's broadcast address; None for IPv6 and where there is none (/31, /32)."""
        if isinstance(self.at, IPv4Interface) and self.at.network.prefixlen < 31:
            return self.at.network.broadcast_address
        return None


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface that is up, with its addresses in the kernel's order."""

    name: str
    index: int
    addresses: tuple[Address, ...]


def of_socket(host: str) -> Ip:
    """The address that a socket tells of one of its ends: without the scope, and IPv4 also where
    the socket is for both families."""
    ip = ip_address(host.partition("%")[0])
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip


def is_ignored(name: str, patterns: Iterable[str]) -> bool:
    """Whether an interface's name matches one of the shell-style `patterns`."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def is_local(ip: Ip, addresses: Iterable[Address] = ()) -> bool:
    """Whether `ip` is of a local range or a neighbour of one of the box's own `addresses`."""
    return any(ip in network for network in LOCAL_NETWORKS) or any(
        ip in address.at.network for address in addresses
    )


def announced(interface: Interface, *, version: int, at_most: int = 4) -> tuple[Address, ...]:
    """The addresses of one family to be announced from, best first.

    IPv6 link-local comes last: OpenDHT before 2.6.0 drops what comes from there as "martian".
    An interface none of whose addresses is preferred still speaks, with the first.
    """
    family = [address for address in interface.addresses if address.ip.version == version]
    usable = [address for address in family if address.preferred] or family[:1]
    return tuple(sorted(usable, key=lambda address: address.ip.is_link_local)[:at_most])


def without_link_local(interface: Interface) -> Interface:
    """The interface without its IPv6 link-local addresses, where it has other IPv6 ones."""
    others = [address for address in interface.addresses if not _is_scoped(address)]
    if not any(address.ip.version == 6 for address in others):
        return interface
    return replace(interface, addresses=tuple(others))


def _is_scoped(address: Address) -> bool:
    return address.ip.version == 6 and address.ip.is_link_local


def shown(interfaces: Sequence[Interface]) -> list[str]:
    """The addresses that a person may type into a client, best first: IPv4, then IPv6.

    IPv6 link-local is left out, as it needs a scope that differs from machine to machine.
    """
    found = [
        address.ip
        for version in (4, 6)
        for interface in interfaces
        for address in announced(interface, version=version)
        if not _is_scoped(address)
    ]
    return [str(ip) for ip in sorted(found, key=lambda ip: (ip.version, ip.is_link_local))]


def host_port(host: str, port: int) -> str:
    """`10.0.0.5:4222` or `[fd00::5]:4222`, as a client's bootstrap field takes it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def http_url(host: str, port: int) -> str:
    """`http://10.0.0.5`, with the port only where it is not HTTP's own."""
    if port != HTTP_PORT:
        return f"http://{host_port(host, port)}"
    return f"http://[{host}]" if ":" in host else f"http://{host}"
