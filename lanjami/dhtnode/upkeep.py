"""Keeps the routing tables alive: joins, confirms newcomers, refreshes buckets, forgets.

Facts: OpenDHT src/dht.cpp, confirmNodes, bucketMaintenance, neighbourhoodMaintenance, expire,
bootstrap. Two things are done sooner than there. A newcomer is pinged at once, so that others
hear of it at once; OpenDHT waits a second. A node that was silent for eight minutes is asked
whether it is there before it counts as gone after ten.
"""

from collections.abc import Mapping, Sequence

from lanjami.dhtnode import messages as m
from lanjami.dhtnode.admission import Quota
from lanjami.dhtnode.endpoint import ID_LENGTH, Endpoint
from lanjami.dhtnode.nodes import SILENT_S, Node
from lanjami.dhtnode.requests import Request, Requests
from lanjami.dhtnode.routing import BUCKET, Bucket, Dice, RoutingTable

BUCKET_S = 600.0  # a bucket where nobody replied for so long is refreshed
GROWING_S = 150.0  # for so long after a newcomer near us, its neighbours are looked for
SOON_S = (5.0, 25.0)  # until the next round, where there was something to do
LATER_S = (60.0, 180.0)
TICK_S = 5.0  # between two looks at who was silent
NEARLY_SILENT_S = SILENT_S - 120.0
PINGS_PER_TICK = 32
NEWCOMERS_PER_S = 256.0  # pings to addresses that only say that they are nodes
PING_GAP_S = 30.0  # between two of them to one node
SETTLE_GAP_S = 5.0
JOIN_S = (1.0, 10.0)  # between two attempts, the first and later ones; BOOTSTRAP_PERIOD


class Upkeep:
    """Decides whom to ask what so that the `tables` stay true."""

    def __init__(
        self,
        own_id: bytes,
        *,
        tables: Mapping[int, RoutingTable],
        requests: Requests,
        dice: Dice,
        now: float,
    ) -> None:
        self._own_id = own_id
        self._tables = tables
        self._requests = requests
        self._dice = dice
        self._newcomers = Quota(NEWCOMERS_PER_S, now)
        self._entries: tuple[Endpoint, ...] = ()
        self._join_at = float("inf")
        self._join_gap_s = JOIN_S[0]
        self._round_at = now + self._between(SOON_S) / 5
        self._tick_at = now + TICK_S

    @property
    def wake_at(self) -> float:
        return min(self._join_at, self._round_at, self._tick_at)

    def join(self, entries: Sequence[Endpoint], *, now: float) -> None:
        """Ask at these addresses until there are good nodes at them; at new ones at once."""
        if tuple(entries) != self._entries:
            for entry in set(entries) - set(self._entries):
                self._enter(entry, now)
            self._entries = tuple(entries)
            self._join_at = now + JOIN_S[0] if entries else float("inf")
            self._join_gap_s = JOIN_S[0]

    def confirm(self, node: Node, *, now: float) -> None:
        """See whether a node that spoke to us also answers."""
        if node.pending or now < node.pinged_at + PING_GAP_S or not self._newcomers.take(now):
            return
        self.ping(node, now=now)

    def settle(self, known: Node, other: Node, *, now: float) -> None:
        """Somebody speaks with the id of a good node, from another address: where the one we
        know does not answer any more, see whether the other does."""
        if known.pending or now < known.pinged_at + SETTLE_GAP_S or not self._newcomers.take(now):
            return
        known.pinged_at = now
        request = Request(m.Ping(), known.endpoint, known)
        request.on_lost = lambda now: self._requests.send(
            Request(m.Ping(), other.endpoint, None), now=now
        )
        self._requests.send(request, now=now)

    def ping(self, node: Node, *, now: float) -> None:
        if not node.pending:
            node.pinged_at = now
            self._requests.ask(node, m.Ping(), now=now)

    def on_timer(self, *, now: float) -> None:
        if now >= self._join_at:
            self._join(now)
        if now >= self._tick_at:
            self._tick_at = now + TICK_S
            self._tick(now)
        if now >= self._round_at:
            self._round_at = now + self._between(SOON_S if self._round(now) else LATER_S)

    def connected(self, *, now: float) -> set[int]:
        """The versions of IP in which a good node is known."""
        return {
            version
            for version, table in self._tables.items()
            if any(node.is_good(now) for node in table.nodes())
        }

    def _join(self, now: float) -> None:
        self._join_at = now + self._join_gap_s
        self._join_gap_s = min(2 * self._join_gap_s, JOIN_S[1])
        there = {
            node.endpoint[:2]
            for table in self._tables.values()
            for node in table.nodes()
            if node.is_good(now)
        }
        for entry in self._entries:
            if entry[:2] not in there:
                self._enter(entry, now)

    def _enter(self, entry: Endpoint, now: float) -> None:
        if entry.version in self._tables:
            asked = m.Find(target=self._own_id, want=tuple(self._tables))
            self._requests.send(Request(asked, entry, None), now=now)

    def _tick(self, now: float) -> None:
        for table in self._tables.values():
            for node in table.expire():
                self.ping(node, now=now)
            silent = [
                node
                for node in table.nodes()
                if node.heard_at < now - NEARLY_SILENT_S and node.pinged_at < now - PING_GAP_S
            ]
            for node in sorted(silent, key=lambda node: node.heard_at)[:PINGS_PER_TICK]:
                self.ping(node, now=now)

    def _round(self, now: float) -> bool:
        """Refresh what needs it; whether there was something."""
        asked = [
            self._find(table, bucket, table.random_id(bucket, self._dice), now)
            for table in self._tables.values()
            for bucket in table.buckets
            if bucket.replied_at < now - BUCKET_S or not bucket.nodes
        ]
        if not any(asked):
            asked = [
                self._find(table, table.own_bucket(), self._near_us(), now)
                for table in self._tables.values()
                if table.grown_at >= now - GROWING_S
            ]
        return any(asked)

    def _find(self, table: RoutingTable, bucket: Bucket, target: bytes, now: float) -> bool:
        node = table.neighbour(bucket, self._dice)
        if node is None or node.pending:
            return False
        want = tuple(v for v, other in self._tables.items() if other is table or _has_room(other))
        self._requests.ask(node, m.Find(target=target, want=want), now=now)
        return True

    def _near_us(self) -> bytes:
        return self._own_id[: ID_LENGTH - 1] + bytes([self._dice.getrandbits(8)])

    def _between(self, bounds_s: tuple[float, float]) -> float:
        low, high = bounds_s
        return low + (high - low) * self._dice.random()


def _has_room(table: RoutingTable) -> bool:
    return len(table.own_bucket().nodes) < BUCKET
