"""What coturn is told: its configuration from ours, and to whom its relays may speak.

coturn passes a peer that is in an allowed range, whatever is denied; then refuses one that is in a
denied range; and lets all others pass (good_peer_addr in src/server/ns_turn_server.c). So all is
denied, and what is allowed is listed. A range of IPv6 addresses is compared byte by byte there,
which is right only where it is a network: nothing but whole networks is listed.
"""

from collections.abc import Iterable, Iterator
from ipaddress import (
    IPv4Network,
    IPv6Network,
    collapse_addresses,
    ip_network,
)

from lanjami.config import Turn
from lanjami.lan import Address, Interface, Ip, is_local

Network = IPv4Network | IPv6Network

THREADS = 2  # coturn's own choice is one for each processor, on each LAN

# RFC 1918 and RFC 4193: other networks of the building, behind its routers. Neither loopback nor
# link-local ones: 169.254.0.0/16 is added where the box itself is in it, and an IPv6 link-local
# address means nothing without its interface.
BUILDING: tuple[Network, ...] = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv6Network("fc00::/7"),
)


def listening(interface: Interface) -> tuple[Ip, ...]:
    """The addresses of an interface that the relay can be asked at: one IPv4, one IPv6.

    coturn gives a client a relay on any of its addresses of the family, so a second one could be
    in a network that the client's peers do not reach. Never one of the Internet's, where everybody
    knows the password of unmodified clients.
    """
    found: dict[int, Ip] = {}
    for address in sorted(interface.addresses, key=lambda address: not address.preferred):
        ip = address.ip
        if is_local(ip) and not (ip.version == 6 and ip.is_link_local):
            found.setdefault(ip.version, ip)
    return tuple(found[version] for version in sorted(found))


def peers(
    lans: Iterable[Interface], everywhere: Iterable[Address], *, relays: Iterable[Ip]
) -> list[Network]:
    """To whom a relay may speak: the building, less what is inside of this machine.

    `lans` are the interfaces that serve a LAN; `everywhere` are the addresses of all interfaces,
    those of containers, tunnels and loopback too, whose networks are not the building's; `relays`
    are the addresses that relays have, through which two of them meet.
    """
    served = [a for interface in lans for a in interface.addresses if not _is_useless(a.at.network)]
    of_lans = {address.at for address in served}
    allowed: list[Network] = list(BUILDING)
    for address in everywhere:
        if address.at not in of_lans:
            allowed = list(_without(allowed, address.at.network))
    allowed += [address.at.network for address in served]
    own: set[Ip] = {address.ip for address in everywhere} | {address.ip for address in served}
    own |= {address.broadcast for address in served if address.broadcast is not None}
    for ip in own - set(relays):
        allowed = list(_without(allowed, ip_network(ip)))
    return [*_collapsed(allowed, 4), *_collapsed(allowed, 6)]


def render(
    turn: Turn, *, listening: Iterable[Ip], peers: Iterable[Network], users: str, pid_file: str
) -> str:
    """The configuration file of a coturn for one interface. `users` is its database, by path."""
    first, last = turn.relays
    return "\n".join(
        [
            *(f"listening-ip={ip}" for ip in listening),
            f"listening-port={turn.port}",
            *_tls(turn),
            f"min-port={first}",
            f"max-port={last}",
            "lt-cred-mech",
            f"realm={turn.realm}",
            f"userdb={users}",
            f"total-quota={turn.sessions}",
            f"max-bps={turn.session_bytes_per_s}",
            f"relay-threads={THREADS}",
            "stale-nonce=600",
            "fingerprint",
            # nothing beside the relay: no telnet, no HTTP, no second port to test NATs with
            "no-cli",
            "no-rfc5780",
            "no-multicast-peers",
            "no-software-attribute",
            "no-dynamic-ip-list",
            "no-dynamic-realms",
            f"pidfile={pid_file}",
            "log-file=stdout",
            "simple-log",
            "verbose",  # else refusals are not told
            *(f"allowed-peer-ip={network[0]}-{network[-1]}" for network in peers),
            "denied-peer-ip=0.0.0.0-255.255.255.255",
            "denied-peer-ip=::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "",
        ]
    )


def _tls(turn: Turn) -> list[str]:
    if not turn.certificate:
        return ["no-tls", "no-dtls"]
    return [
        f"tls-listening-port={turn.tls_port}",
        f"cert={turn.certificate}",
        f"pkey={turn.key}",
        "no-tlsv1",
        "no-tlsv1_1",
    ]


def _is_useless(network: Network) -> bool:
    return network.version == 6 and network.is_link_local


def _without(networks: Iterable[Network], other: Network) -> Iterator[Network]:
    """The networks less what `other` has of them."""
    for network in networks:
        if network.version != other.version or not network.overlaps(other):
            yield network
        elif other.prefixlen > network.prefixlen:
            yield from network.address_exclude(other)  # type: ignore[arg-type]  # the same version


def _collapsed(networks: Iterable[Network], version: int) -> Iterator[Network]:
    family = [network for network in networks if network.version == version]
    return collapse_addresses(family)  # type: ignore[type-var]  # one version
