"""What of a right configuration cannot work on a machine."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from lanjami import lan
from lanjami.config import Config
from lanjami.firewall.openings import Opening, openings

# What serves each on a LAN, and Debian's package that has it.
DNSMASQ, CHRONY, HOSTAPD = (
    ("dnsmasq", "dnsmasq-base"),
    ("chronyd", "chrony"),
    ("hostapd", "hostapd"),
)
_SERVED_BY = {"dns": DNSMASQ, "dhcp": DNSMASQ, "ra": DNSMASQ, "ntp": CHRONY}
PROGRAMS = (DNSMASQ[0], CHRONY[0], HOSTAPD[0])


@dataclass(frozen=True, slots=True)
class Machine:
    """What was seen: the names of the interfaces that there are, those of `PROGRAMS` that are
    installed, the files that cannot be read and why, and the addresses that it has."""

    interfaces: frozenset[str] = frozenset()
    programs: frozenset[str] = frozenset()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    addresses: frozenset[str] = frozenset()
    has_opendht: bool = True


def doubts(config: Config, machine: Machine) -> Iterator[str]:
    """A sentence for each setting that cannot work there, which begins with its place."""
    for name in config.network:
        yield from _network(name, config, machine)
    if config.wifi.interface:
        yield from _program("wifi.interface", HOSTAPD, machine)
    for setting, path in (("certificate", config.turn.certificate), ("key", config.turn.key)):
        if path in machine.unreadable:
            yield f"turn.{setting}: {path} cannot be read: {machine.unreadable[path]}"
    if config.dht.engines == ("opendht",) and not machine.has_opendht:
        yield "dht.engines: OpenDHT has no package here, so there would be no DHT node"
    for ip in config.dns.upstream:
        if ip in machine.addresses:
            yield f"dns.upstream: {ip} is this machine, which would ask itself"
    yield from _ports(config)


def _network(name: str, config: Config, machine: Machine) -> Iterator[str]:
    place = f"network.{name}"
    if name not in machine.interfaces:
        there = ", ".join(sorted(machine.interfaces - {"lo"}))
        yield f"{place}: there is no interface {name} here, but {there or 'none at all'}"
    if lan.is_ignored(name, config.discovery.ignored_interfaces):
        yield (
            f"{place}: discovery leaves {name} alone, so clients there are not found by it; see "
            "discovery.ignored_interfaces"
        )
    for needed in dict.fromkeys(_SERVED_BY[what] for what in config.network[name].serve):
        yield from _program(f"{place}.serve", needed, machine)


def _program(place: str, needed: tuple[str, str], machine: Machine) -> Iterator[str]:
    program, package = needed
    if program not in machine.programs:
        yield f"{place}: {program} is not installed: apt install {package}"


def _ports(config: Config) -> Iterator[str]:
    """Two services with one port; where the box only refuses, it has none."""
    opened = [each for each in openings(config) if each.first and each.service != "refused"]
    for one, other in combinations(opened, 2):
        if one.service != other.service and _meet(one, other):
            yield (
                f"{one.service} and {other.service} are both given {one.protocol.upper()} port "
                f"{max(one.first, other.first)}"
            )


def _meet(one: Opening, other: Opening) -> bool:
    is_same = one.protocol == other.protocol
    return is_same and one.first <= other.last and other.first <= one.last
