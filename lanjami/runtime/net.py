"""Interfaces, ports and datagrams with a chosen interface and source address.

Nothing here needs a default route. Works on Linux and macOS; the few constants that Python's
`socket` lacks stand below with their source.
"""

import contextlib
import errno
import fcntl
import ipaddress
import socket
import struct
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import netifaces

from lanjami.errors import HostError
from lanjami.lan import Address, Interface, Ip, is_ignored

_MACOS = sys.platform == "darwin"
_IP_PKTINFO = 26 if _MACOS else 8  # XNU bsd/netinet/in.h; Linux include/uapi/linux/in.h
_IP_MULTICAST_ALL = 49  # Linux include/uapi/linux/in.h
_IPV6_MULTICAST_ALL = 29  # Linux include/uapi/linux/in6.h
_SO_BINDTODEVICE = 25  # Linux include/uapi/asm-generic/socket.h
_SIOCGIFFLAGS = 0xC0206911 if _MACOS else 0x8913  # XNU sys/sockio.h; Linux sockios.h
_IFF_UP, _IFF_LOOPBACK, _IFF_POINTOPOINT, _IFF_RUNNING = 0x1, 0x8, 0x10, 0x40  # net/if.h
_RECEIVE_BUFFER = 1 << 20  # bytes; the kernel grants what net.core.rmem_max allows

LARGEST_DATAGRAM = 65535


# --- interfaces ---------------------------------------------------------------------------------


def interfaces(*, ignored: Sequence[str]) -> tuple[Interface, ...]:
    """The interfaces that serve a LAN now: up, with a carrier and an address.

    Loopback, point-to-point and interfaces whose names match an `ignored` pattern are left out.
    Raises HostError where they cannot be listed.
    """
    with _listing():
        return _interfaces(ignored)


def addresses() -> tuple[Address, ...]:
    """The addresses of all interfaces, also of those that serve no LAN; HostError where they
    cannot be listed."""
    found: list[Address] = []
    with _listing():
        for name in netifaces.interfaces():
            with contextlib.suppress(OSError, ValueError, KeyError):  # it vanished while we looked
                found += _addresses(name, socket.if_nametoindex(name))
    return tuple(found)


def own_ipv4() -> tuple[tuple[str, ipaddress.IPv4Interface], ...]:
    """Interfaces and their addresses of IPv4, without loopback's, also of those that serve no LAN;
    asked without a socket of the Internet's kind, which not every service may have. Raises
    HostError where they cannot be listed."""
    found: list[tuple[str, ipaddress.IPv4Interface]] = []
    with _listing():
        for name in netifaces.interfaces():
            with contextlib.suppress(OSError, ValueError, KeyError):  # it vanished while we looked
                # a labelled address (eth0:1) stands under a name of its own
                real = name.partition(":")[0]
                found += [(real, at) for at in _ipv4(netifaces.ifaddresses(name))]
    return tuple(one for one in found if not one[1].is_loopback)


@contextlib.contextmanager
def _listing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostError(f"the network interfaces cannot be listed: {error.strerror}") from error


def _interfaces(ignored: Sequence[str]) -> tuple[Interface, ...]:
    found: dict[int, Interface] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for name in sorted(netifaces.interfaces()):
            if is_ignored(name, ignored) or not _serves_a_lan(probe, name):
                continue
            # it may vanish while we look, or have an address of a kind that we do not know
            with contextlib.suppress(OSError, ValueError, KeyError):
                index = socket.if_nametoindex(name)
                addresses = tuple(_addresses(name, index))
                # a labelled address (eth0:1) stands under a name of its own
                real = found.get(index, Interface(name, index, ()))
                if addresses:
                    found[index] = Interface(real.name, index, real.addresses + addresses)
    return tuple(found.values())


def _serves_a_lan(probe: socket.socket, name: str) -> bool:
    request = struct.pack("16s16x", name.encode()[:15])
    try:
        answer = fcntl.ioctl(probe, _SIOCGIFFLAGS, request)
    except OSError:
        return False
    (flags,) = struct.unpack_from("H", answer, 16)
    wanted = _IFF_UP | _IFF_RUNNING
    return bool(flags & (wanted | _IFF_LOOPBACK | _IFF_POINTOPOINT) == wanted)


def _addresses(name: str, index: int) -> Iterator[Address]:
    families = netifaces.ifaddresses(name)
    v4 = _ipv4(families)
    v6 = [
        ipaddress.IPv6Interface(
            f"{entry['addr'].partition('%')[0]}/{_prefix_length(entry['netmask'])}"
        )
        for entry in families.get(netifaces.AF_INET6, [])
    ]
    own: set[Ip] = {*(at.ip for at in v4), *(at.ip for at in v6)}
    for at4 in v4:
        yield Address(at4, preferred=_is_preferred(at4, own, index))
    for at6 in v6:
        if _is_usable(at6.ip, index):
            yield Address(at6, preferred=_is_preferred(at6, own, index))


def _ipv4(families: Mapping[int, Sequence[Mapping[str, str]]]) -> list[ipaddress.IPv4Interface]:
    return [
        ipaddress.IPv4Interface(f"{entry['addr']}/{entry['netmask']}")
        for entry in families.get(netifaces.AF_INET, [])
    ]


def _prefix_length(netmask: str) -> int:
    mask, _, length = netmask.partition("/")
    return int(length) if length else int(ipaddress.IPv6Address(mask)).bit_count()


def _is_usable(ip: ipaddress.IPv6Address, index: int) -> bool:
    """Whether datagrams can be sent from an address: not while it is still being checked for
    duplicates, which takes a second or two after a link comes up."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(_socket_address(ip, 0, index))
        except OSError:
            return False
        return True


def _is_preferred(
    at: ipaddress.IPv4Interface | ipaddress.IPv6Interface, own: Collection[Ip], index: int
) -> bool:
    """Whether the kernel picks this address to speak to a neighbour, who has none of the `own`.
    Connecting a UDP socket asks its routing table and sends nothing."""
    network = at.network
    places = range(1, min(network.num_addresses - 1, len(own) + 2))
    neighbour = next((network[place] for place in places if network[place] not in own), None)
    if neighbour is None:
        return True
    with socket.socket(_family(at.version), socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_socket_address(neighbour, 9, index))
        except OSError:
            return False
        return ipaddress.ip_address(probe.getsockname()[0].partition("%")[0]) == at.ip


# --- datagrams ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """A datagram, who sent it, and the index of the interface that it came in by."""

    data: bytes
    sender: tuple[Ip, int]
    index: int


def group_receiver(group: Ip, port: int, *, index: int, source: Ip) -> socket.socket:
    """A socket that hears what is sent to `group` on one interface, and nothing else.

    `index` and `source`, one of its addresses, both name the interface.

    Bound to the group's address it shares the port with others that allow it, and never takes
    a unicast datagram that is meant for them.
    """
    with _closed_on_error(_datagram_socket(group.version)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if _MACOS:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(_socket_address(group, port, index))
        hear_own_groups_only(sock)
        if group.version == 4:
            # macOS looks at the address alone, Linux at the index where there is one
            membership = struct.pack("4s4si", group.packed, source.packed, index)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        else:
            membership = struct.pack("16si", group.packed, index)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
        return sock


def sender(version: int) -> socket.socket:
    """A socket on a port of its own to send from; answers to it can be received."""
    with _closed_on_error(_datagram_socket(version)) as sock:
        if version == 4:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.bind(("", 0))
        return sock


def sole_receiver(version: int, port: int) -> socket.socket | None:
    """A socket for what is sent to `port` at any of our addresses; None where somebody else
    has the port. Whoever binds it later may, and then gets the unicast datagrams (Linux gives
    them to the newest socket), so nothing is ever taken from a program beside us. macOS would
    keep the others out instead, so there it is always None."""
    if _MACOS:
        return None
    with _closed_on_error(_datagram_socket(version)) as sock:
        try:
            sock.bind(("", port))
        except OSError as error:
            sock.close()
            if error.errno == errno.EADDRINUSE:
                return None
            raise
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        hear_own_groups_only(sock)
        return sock


def server(version: int, port: int, *, routed: bool) -> socket.socket:
    """A socket on `port` of every address of one family. Unless `routed`, what it sends passes
    no router. Raises HostError where the port is taken."""
    with _closed_on_error(socket.socket(_family(version), socket.SOCK_DGRAM)) as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * _RECEIVE_BUFFER)
        if not routed and version == 4:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
        elif not routed:  # Linux has no such option here; the first router drops it
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
        _bind(sock, port, "UDP")
        return sock


def broadcaster(interface: str, port: int) -> socket.socket:
    """A socket on `port`, shared with others that allow it, that broadcasts on one interface and
    hears what is broadcast there (Linux). Raises HostError."""
    with _closed_on_error(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, interface.encode())
        except OSError as error:
            raise HostError(f"{interface} cannot be spoken on: {error.strerror}") from error
        _bind(sock, port, "UDP")
        return sock


def broadcast_receiver(address: ipaddress.IPv4Address, port: int) -> socket.socket:
    """A socket that hears what is broadcast to a subnet's `address`, beside others that do."""
    with _closed_on_error(_datagram_socket(4)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if _MACOS:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((str(address), port))
        return sock


def hardware_address(interface: str) -> bytes:
    """The MAC of an interface; HostError where it has none of 6 bytes."""
    with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
        mac = bytes.fromhex(
            netifaces.ifaddresses(interface)[netifaces.AF_LINK][0]["addr"].replace(":", "")
        )
        if len(mac) == 6:
            return mac
    raise HostError(f"{interface} has no hardware address")


def names() -> list[str]:
    """All interfaces, up or not; HostError where they cannot be listed."""
    with _listing():
        return [name for _, name in socket.if_nameindex()]


def radios() -> list[str]:
    """Those of the interfaces that are Wi-Fi (Linux)."""
    return [name for name in names() if Path("/sys/class/net", name, "phy80211").exists()]


def exists(interface: str) -> bool:
    """Whether there is such an interface, up or not."""
    try:
        return socket.if_nametoindex(interface) > 0
    except OSError:
        return False


def speaks_ipv6(interface: str) -> bool:
    """Whether the kernel speaks IPv6 on an interface (Linux)."""
    setting = Path("/proc/sys/net/ipv6/conf", interface, "disable_ipv6")
    try:
        return setting.read_text("ascii").strip() == "0"
    except OSError:
        return False


def routes_packets() -> bool:
    """Whether this machine passes packets on between its interfaces (Linux)."""
    settings = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")
    for setting in settings:
        with contextlib.suppress(OSError):
            if Path("/proc/sys/net", setting).read_text("ascii").strip() == "1":
                return True
    return False


def versions() -> list[int]:
    """The versions of IP that this machine speaks."""
    return [4 if family == socket.AF_INET else 6 for family in _families()]


def receive(sock: socket.socket) -> Received | None:
    """The next datagram, without waiting; None when there is none."""
    try:
        data, ancillary, _, sender = sock.recvmsg(LARGEST_DATAGRAM, 256)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:
        return None  # a pending error of an earlier datagram, such as a host that went away
    index = 0
    for level, kind, content in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            (index,) = struct.unpack_from("i", content)
        elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            (index,) = struct.unpack_from("i", content, 16)
    ip = ipaddress.ip_address(sender[0].partition("%")[0])
    return Received(data, (ip, sender[1]), index)


def send(sock: socket.socket, data: bytes, *, to: tuple[Ip, int], source: Ip, index: int) -> None:
    """Send a datagram out of the interface `index` from the address `source`; raises OSError."""
    if source.version == 4:
        info = struct.pack("i4s4x", index, source.packed)
        ancillary = [(socket.IPPROTO_IP, _IP_PKTINFO, info)]
    else:
        info = struct.pack("16si", source.packed, index)
        ancillary = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)]
    sock.sendmsg([data], ancillary, 0, _socket_address(*to, index))


def hear_own_groups_only(sock: socket.socket) -> None:
    """Linux hands a group's datagrams also to sockets that did not join it on that interface;
    ask it not to.

    Also takes SO_REUSEPORT from a bound socket: from 6.5 on Linux spreads the datagrams of a group
    that only one socket joined over all that were bound with it (inet_steal_sock).
    """
    if _MACOS:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
    sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)


def _datagram_socket(version: int) -> socket.socket:
    sock = socket.socket(_family(version), socket.SOCK_DGRAM)
    with _closed_on_error(sock):
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        if version == 4:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        return sock


@contextlib.contextmanager
def _closed_on_error(sock: socket.socket) -> Iterator[socket.socket]:
    try:
        yield sock
    except BaseException:
        sock.close()
        raise


def _family(version: int) -> socket.AddressFamily:
    return socket.AF_INET if version == 4 else socket.AF_INET6


def _socket_address(ip: Ip, port: int, index: int) -> tuple[str, int] | tuple[str, int, int, int]:
    if ip.version == 4:
        return str(ip), port
    scoped = ip.is_link_local or (ip.is_multicast and ip.packed[1] & 0xF == 2)
    return str(ip), port, 0, index if scoped else 0


# --- ports --------------------------------------------------------------------------------------


def listen(port: int) -> list[socket.socket]:
    """TCP sockets that listen on `port` of every local address, IPv4 and, where there is, IPv6.

    Raises HostError where the port is taken or not allowed.
    """
    with contextlib.ExitStack() as opened:
        sockets = []
        for family in _families():
            sock = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _bind(sock, port, "TCP")
            sock.listen(1024)
            sockets.append(sock)
        opened.pop_all()
        return sockets


def require_udp(port: int, *, shared: bool = False) -> None:
    """Raise HostError where UDP `port` cannot be had; `shared` with others that allow it."""
    for family in _families():
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if _MACOS:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            _bind(sock, port, "UDP")


def _bind(sock: socket.socket, port: int, protocol: str) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        sock.bind(("", port))
    except PermissionError as error:
        raise HostError(
            f"{protocol} port {port} needs the right to bind ports below 1024"
        ) from error
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise HostError(f"{protocol} port {port} cannot be had: {error.strerror}") from error
        owner = holder(port, protocol.lower())
        raise HostError(
            f"{protocol} port {port} is taken"
            + (f" by {owner.shown}" if owner and owner.pid else "")
        ) from error


def _families() -> list[socket.AddressFamily]:
    families = [socket.AF_INET]
    if socket.has_ipv6:
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
            s.bind(("::", 0))
            families.append(socket.AF_INET6)
    return families


@dataclass(frozen=True, slots=True)
class Holder:
    """The program that has a port, at one address or, unspecified, at all; `pid` is None where
    only others may know."""

    pid: int | None
    command: str
    port: int
    address: Ip

    @property
    def shown(self) -> str:
        return "" if self.pid is None else f"{self.command} (process {self.pid})"


def holder(port: int, protocol: str) -> Holder | None:
    """Who has a port, "udp" or, listening, "tcp" (Linux); None where nobody has, or nobody
    tells."""
    return next(iter(holders(protocol, [range(port, port + 1)])), None)


def holders(protocol: str, wanted: Sequence[range]) -> list[Holder]:
    """All who have any of the `wanted` ports."""
    sockets: dict[str, tuple[int, Ip]] = {}
    for table in (protocol, f"{protocol}6"):
        with contextlib.suppress(OSError), Path("/proc/net", table).open() as lines:
            for line in list(lines)[1:]:
                fields = line.split()
                address, _, port = fields[1].rpartition(":")
                is_open = fields[3] == _LISTENING if protocol == "tcp" else True
                if is_open and any(int(port, 16) in ports for ports in wanted):
                    sockets[f"socket:[{fields[9]}]"] = int(port, 16), _of_kernel(address)
    found = []
    for pid in sorted(int(folder.name) for folder in Path("/proc").glob("[0-9]*") if sockets):
        with contextlib.suppress(OSError):
            for file in Path("/proc", str(pid), "fd").iterdir():
                if (place := sockets.pop(str(file.readlink()), None)) is not None:
                    command = Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ")
                    shown = command.decode("utf-8", "replace").strip()[:60]
                    found.append(Holder(pid, shown, *place))
    return found + [Holder(None, "", *place) for place in sockets.values()]


def _of_kernel(text: str) -> Ip:
    """An address in /proc/net, which has words of 32 bits in the machine's order (Linux
    net/ipv4/udp.c, net/ipv6/datagram.c)."""
    words = (int(text[at : at + 8], 16) for at in range(0, len(text), 8))
    ip = ipaddress.ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words))
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip


_LISTENING = "0A"  # TCP_LISTEN, Linux include/net/tcp_states.h
