"""Decides what the announcer sends, when, from where and to whom.

Clients ask once, when they start, and never again, so every announcement that a client could
need is repeated: after a change (an interface, an address, a node) at 0, 1, 2, 4 … s, then at
the configured interval. A query is answered by unicast to its exact source, the only way to
reach a client that started without a network, and by a multicast, which reaches the other
clients on the same host too; those that questions cause are at least a second apart on a link.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lanjami.discovery import wire
from lanjami.discovery.neighbours import Neighbours
from lanjami.errors import WireError
from lanjami.lan import Address, Interface, Ip, announced, is_local
from lanjami.limits import Limits

QUERY_INTERVAL_S = 60.0  # our own questions, which keep the neighbours known
MULTICAST_GAP_S = 1.0  # between two multicasts on a link that queries caused
GREETING_GAP_S = 5.0  # between two unicast answers to a publishing client


@dataclass(frozen=True, slots=True)
class Link:
    """One family of addresses on one interface; `sources` are announced from, best first."""

    name: str
    index: int
    version: int
    sources: tuple[Address, ...]

    @property
    def key(self) -> tuple[str, int]:
        return self.name, self.version

    @property
    def group(self) -> Ip:
        return wire.GROUP_V4 if self.version == 4 else wire.GROUP_V6


@dataclass(frozen=True, slots=True)
class Datagram:
    """A datagram to be sent out of `link`, from the address `source`."""

    payload: bytes
    link: Link
    source: Ip
    to: tuple[Ip, int]


@dataclass(slots=True)
class _Schedule:
    link: Link
    announce_at: float
    gap_s: float = 1.0
    query_at: float = 0.0
    last_multicast_at: float = float("-inf")
    greeted: OrderedDict[Ip, float] = field(default_factory=OrderedDict)  # longest ago first


def links(interfaces: Sequence[Interface]) -> list[Link]:
    """Every family of every interface that has an address to announce from."""
    return [
        Link(interface.name, interface.index, version, sources)
        for interface in interfaces
        for version in (4, 6)
        if (sources := announced(interface, version=version))
    ]


class Responder:
    """The state of discovery. Bytes, links and `now` come in, datagrams and `wake_at` go out.

    `jitter` returns a number in [0, 1); it spreads the announcements of several boxes.
    """

    def __init__(self, *, interval_s: float, limits: Limits, jitter: Callable[[], float]) -> None:
        self._interval_s = interval_s
        self._limits = limits
        self._jitter = jitter
        self._schedules: dict[tuple[str, int], _Schedule] = {}
        self._beacons: tuple[wire.Beacon, ...] = ()
        self.neighbours = Neighbours()
        self.queries = 0
        self.answers = 0
        self.announcements = 0
        self.dropped: Counter[str] = Counter()

    @property
    def wake_at(self) -> float:
        """When `on_tick` may have something to send, if nothing happens before."""
        return min(
            (min(s.announce_at, s.query_at) for s in self._schedules.values()),
            default=float("inf"),
        )

    def on_tick(
        self, links: Sequence[Link], beacons: Sequence[wire.Beacon], *, now: float
    ) -> list[Datagram]:
        """What is due at `now`, with these links and DHT nodes up. Call it at every change."""
        self._follow_links(links, now)
        self._follow_beacons(tuple(beacons), now)
        outgoing: list[Datagram] = []
        for schedule in self._schedules.values():
            if now >= schedule.query_at:
                schedule.query_at = now + self._spread(QUERY_INTERVAL_S)
                outgoing += _to_group(wire.QUERY, schedule.link, schedule.link.sources[:1])
            if now >= schedule.announce_at:
                schedule.announce_at = now + self._spread(schedule.gap_s)
                schedule.gap_s = min(schedule.gap_s * 2, self._interval_s)
                schedule.last_multicast_at = now
                outgoing += self._announcement(schedule.link)
        return outgoing

    def on_datagram(
        self, data: bytes, sender: tuple[Ip, int], link: Link, *, multicast: bool, now: float
    ) -> list[Datagram]:
        """The answers to a datagram that `sender` sent over `link`."""
        ip, port = sender
        schedule = self._schedules.get(link.key)
        if schedule is None or port == 0 or not is_local(ip, link.sources):
            self.dropped["not local"] += 1
            return []
        refusal = self._limits.refuse((link.key, ip), now=now)
        if refusal is not None:
            self.dropped[refusal] += 1
            return []
        try:
            message = wire.parse(data)
        except WireError:
            self.dropped["malformed"] += 1
            return []
        match message:
            case wire.Query():
                return self._on_query(schedule, sender, now)
            case wire.Publication():
                return self._on_publication(schedule, message, sender, now, multicast=multicast)

    def _on_query(self, schedule: _Schedule, sender: tuple[Ip, int], now: float) -> list[Datagram]:
        self.queries += 1
        if not self._beacons:
            return []
        self.answers += 1
        earliest = max(now, schedule.last_multicast_at + MULTICAST_GAP_S)
        schedule.announce_at = min(schedule.announce_at, earliest)
        return self._to_one(schedule.link, sender)

    def _on_publication(
        self,
        schedule: _Schedule,
        message: wire.Publication,
        sender: tuple[Ip, int],
        now: float,
        *,
        multicast: bool,
    ) -> list[Datagram]:
        ip, _ = sender
        if not self.neighbours.hear(message, ip, now=now):
            self.dropped["too many neighbours at one address"] += 1
        # A unicast publication is itself an answer: answering it could go on for ever.
        # Another network's node is not ours to meet.
        if not multicast or message.beacon is None or message.beacon.network != 0:
            return []
        greeted = schedule.greeted
        while greeted and now - next(iter(greeted.values())) >= GREETING_GAP_S:
            greeted.popitem(last=False)
        if ip in greeted or not self._beacons:
            return []
        greeted[ip] = now
        return self._to_one(schedule.link, sender)

    def _follow_links(self, links: Sequence[Link], now: float) -> None:
        current = {link.key: link for link in links}
        for key in self._schedules.keys() - current.keys():
            del self._schedules[key]
        for key, link in current.items():
            schedule = self._schedules.get(key)
            if schedule is None or schedule.link != link:
                self._schedules[key] = _Schedule(link, announce_at=now, query_at=now)

    def _follow_beacons(self, beacons: tuple[wire.Beacon, ...], now: float) -> None:
        if beacons == self._beacons:
            return
        if set(beacons) - set(self._beacons):
            for schedule in self._schedules.values():
                schedule.announce_at = now
                schedule.gap_s = 1.0
        self._beacons = beacons

    def _announcement(self, link: Link) -> list[Datagram]:
        if self._beacons:
            self.announcements += 1
        return [
            datagram
            for beacon in self._beacons
            for datagram in _to_group(wire.pack(beacon), link, link.sources)
        ]

    def _to_one(self, link: Link, to: tuple[Ip, int]) -> list[Datagram]:
        near = [source for source in link.sources if to[0] in source.at.network]
        sources = near if link.version == 4 and near else link.sources
        return [
            Datagram(wire.pack(beacon), link, source.ip, to)
            for beacon in self._beacons
            for source in sources
        ]

    def _spread(self, seconds: float) -> float:
        return seconds * (0.9 + 0.2 * self._jitter())


def _to_group(payload: bytes, link: Link, sources: Sequence[Address]) -> list[Datagram]:
    outgoing = []
    for source in sources:
        outgoing.append(Datagram(payload, link, source.ip, (link.group, wire.PORT)))
        if source.broadcast is not None:
            outgoing.append(Datagram(payload, link, source.ip, (source.broadcast, wire.PORT)))
    return outgoing
