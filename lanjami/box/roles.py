"""Whether the box is a guest on a cable's network or has to be that network itself.

The machine goes on asking for an address by DHCP in either role: so a router that starts later than
the box, as after a power cut, makes it a guest again. So does another box on that cable which is
the network there: see `arp`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

from lanjami.config import Config

PATIENCE_S = 20.0  # for a DHCP server on a cable that is plugged in
# Where the address that the box would take is another machine's. Of another box it has got one by
# then: that serves within a minute or two, and systemd-networkd asks every 64 s or more often.
RIVAL_PATIENCE_S = 240.0
WAITS_MOST = 2  # then who has the address is no box, but something that answers for all of them
MOST_NETWORKS = 4


@dataclass(frozen=True, slots=True)
class Seen:
    """Of an interface: whether a cable leads somewhere, whether it has an address of a network that
    others made, and those that a box has where it is the network."""

    carrier: bool
    leased: bool
    own: tuple[IPv4Interface, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """The role on an interface; `alone_since` is when nobody was found to give an address, and
    `rival_since` when another machine was found to have the box's own. `waits` counts how often
    the box has waited in vain for that one to give it an address."""

    is_network: bool = False
    alone_since: float | None = None
    rival_since: float | None = None
    waits: int = 0

    @property
    def gives_way(self) -> bool:
        """Whether it leaves its address to another machine that comes first."""
        return self.waits < WAITS_MOST


def step(line: Line, seen: Seen, *, has_rival: bool, now: float) -> Line:
    """The role after a look; `has_rival` says that the box has to leave its address there to
    another machine. It stays while there is no carrier: two laptops may go and come."""
    if seen.leased:
        return Line()
    if not seen.carrier:
        return Line(line.is_network)
    if line.is_network and has_rival:
        return Line(alone_since=now, rival_since=now, waits=line.waits)
    alone_since = now if line.alone_since is None else line.alone_since
    if not has_rival:
        is_network = line.is_network or now - alone_since >= PATIENCE_S
        return Line(is_network, alone_since, waits=line.waits)
    rival_since = now if line.rival_since is None else line.rival_since
    if now - rival_since >= RIVAL_PATIENCE_S:
        return Line(is_network=True, alone_since=alone_since, waits=line.waits + 1)
    return Line(alone_since=alone_since, rival_since=rival_since, waits=line.waits)


def if_nobody_comes(lines: Mapping[str, Line], seen: Mapping[str, Seen]) -> dict[str, Line]:
    """The roles that the cables have now or will have in the end."""
    return {
        name: Line(is_network=not seen[name].leased and (line.is_network or seen[name].carrier))
        for name, line in lines.items()
    }


# In the order in which they are given; the last ones are for who has all of 10.0.0.0/8.
_OWN = tuple(
    IPv4Interface(f"{start}.{third}.1/24")
    for start, thirds in (
        ("10.77", range(2 * MOST_NETWORKS)),
        ("192.168", range(77, 77 + MOST_NETWORKS)),
        ("172.27", range(77, 77 + MOST_NETWORKS)),
    )
    for third in thirds
)
ADDRESSES = frozenset(at.ip for at in _OWN)


def address(number: int) -> IPv4Interface:
    """One of those that a box has where it is the network, the first by number 0."""
    return _OWN[number]


def addresses(
    lines: Mapping[str, Line],
    config: Config,
    *,
    before: Mapping[str, IPv4Interface],
    lans: Iterable[IPv4Network],
) -> dict[str, IPv4Interface]:
    """Those of the box on the cables on which it is the network: as `before` where they can stay,
    else the first that is in no network that was set on another interface, nor in one of the `lans`
    of others."""
    taken = [*lans, *(network.at.network for network in config.network.values() if network.at)]
    given: dict[str, IPv4Interface] = {}
    for name in sorted(lines, key=lambda name: (name not in before, name)):
        if not lines[name].is_network:
            continue
        wanted = (*filter(None, [before.get(name)]), *_OWN)
        free = (at for at in wanted if not any(at.network.overlaps(other) for other in taken))
        if (at := next(free, None)) is not None:
            given[name] = at
            taken.append(at.network)
    return dict(sorted(given.items()))


def may_fall_back(config: Config, cables: Sequence[str]) -> list[str]:
    """The cables on which the role is not given by the configuration."""
    if not config.box.fallback or config.box.address:
        return []
    return [name for name in sorted(cables)[:MOST_NETWORKS] if name not in config.chosen]


_MADE = "\n# From here on by the box itself: nobody else gives addresses on these cables.\n"


def with_roles(text: str, networks: Mapping[str, IPv4Interface]) -> str:
    """The configuration's text for a box that is the network on these interfaces. It is a table of
    its own: what is set on the page takes the place of [network], and must not keep what the box
    is for the time being."""
    tables = [
        f'\n[fallback."{name}"]\nserve = ["dns", "dhcp", "ra", "ntp"]\naddress = "{at}"\n'
        for name, at in networks.items()
    ]
    return "".join([text.rstrip("\n"), "\n", _MADE, *tables]) if tables else text


def without_roles(text: str) -> str:
    """What was given to `with_roles`."""
    return text.partition(_MADE)[0]
