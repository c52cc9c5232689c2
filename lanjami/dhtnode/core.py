"""A whole DHT node, without a world: datagrams and time go in, datagrams and a time come out.

`on_datagram` and `on_timer` return what to send; `wake_at` says when `on_timer` has something to
do, if nothing happens before. Times are seconds of one monotonic clock.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from lanjami.dhtnode import heartbeat, policy, state
from lanjami.dhtnode.answers import Answers, Change
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.events import Event
from lanjami.dhtnode.inbox import Inbox
from lanjami.dhtnode.nodes import Nodes
from lanjami.dhtnode.operations import Operations
from lanjami.dhtnode.requests import Datagram, Requests
from lanjami.dhtnode.routing import Dice, RoutingTable
from lanjami.dhtnode.tokens import LONGEST_S, SHORTEST_S
from lanjami.dhtnode.updates import Updates
from lanjami.dhtnode.upkeep import Upkeep
from lanjami.dhtnode.value import Value

HOUSEKEEPING_S = 1.0
TIDY_S = 20.0  # less than half of the shortest life that a value has
CLOCK_S = 1.0  # by which a clock is set; what is less is how exactly two clocks are read


class DhtCore:
    """The node with the id `own_id` in a network (0 is Jami's).

    `is_local` tells the addresses that may be spoken to; all others are neither heard nor ever
    written to. `dice` is the node's randomness, `unix_time` the time of day at `now`. That is set
    while the node runs, as a box without a battery starts with a wrong one: whoever runs the node
    says it again with `set_clock`.
    """

    def __init__(
        self,
        own_id: bytes,
        *,
        is_local: Callable[[Endpoint], bool],
        dice: Dice,
        now: float,
        unix_time: float,
        network: int = 0,
        versions: Sequence[int] = (4, 6),
    ) -> None:
        self.own_id = own_id
        self._dice = dice
        self.tables = {version: RoutingTable(own_id) for version in versions}
        self._nodes = Nodes()
        self._requests = Requests(own_id, network=network, dice=dice)
        self.answers = Answers(
            own_id,
            network=network,
            tables=self.tables,
            speaks=self._speaks,
            secret=self._secret(),
            unix_minus_now=unix_time - now,
        )
        self._upkeep = Upkeep(
            own_id, tables=self.tables, requests=self._requests, dice=dice, now=now
        )
        self.dropped: Counter[str] = Counter()
        self._operations = Operations(
            tables=self.tables, requests=self._requests, dice=dice, dropped=self.dropped
        )
        self._updates = Updates(answers=self.answers, nodes=self._nodes, requests=self._requests)
        self._rotate_at = now
        self._tidy_at = now + TIDY_S
        self._housekeep_at = now + HOUSEKEEPING_S
        self._inbox = Inbox(
            own_id,
            network=network,
            is_local=is_local,
            tables=self.tables,
            nodes=self._nodes,
            requests=self._requests,
            answers=self.answers,
            operations=self._operations,
            upkeep=self._upkeep,
            updates=self._updates,
            dropped=self.dropped,
            now=now,
        )
        self.asked = self._inbox.asked

    @property
    def sent(self) -> int:
        """Queries of our own."""
        return self._requests.sent

    @property
    def wake_at(self) -> float:
        return min(
            self._requests.wake_at,
            self._upkeep.wake_at,
            self._operations.wake_at,
            self._updates.wake_at,
            self._housekeep_at,
        )

    # --- what this node wants for itself ---------------------------------------------------------

    def get(self, key: bytes, *, now: float) -> int:
        """Find the values of a key; returns the number of the operation. Here and below, what
        there is to send comes from `on_timer`, and what is found from `take_events`."""
        return self._operations.get(key, there=self.answers.storage.at(key), now=now)

    def put(
        self,
        key: bytes,
        value: Value,
        *,
        source: bytes = b"",
        permanent: bool = False,
        now: float,
    ) -> int:
        """Put a value at the nodes closest to a key, and keep it here, on the account of the
        address `source` (4 or 16 bytes) that wants it; empty: we do ourselves."""
        if not self._operations.is_taken(key, value):
            self._keep(key, value, source, is_kept=permanent, now=now)
        return self._operations.put(key, value, source=source, permanent=permanent, now=now)

    def listen(self, key: bytes, *, now: float) -> int:
        """Hear what comes to and goes from a key, until `cancel`."""
        return self._operations.listen(key, there=self.answers.storage.at(key), now=now)

    def cancel(self, operation: int, *, now: float) -> None:
        """End an operation."""
        self._operations.cancel(operation, now=now)

    def take_events(self) -> list[Event]:
        """What became of the operations, once."""
        return self._operations.take()

    # --- over a restart --------------------------------------------------------------------------

    def set_clock(self, *, now: float, unix_time: float) -> None:
        """It is `unix_time` at `now`. What lives here lives on, whatever the time of day: others,
        and a later self, are told its times as they are by that."""
        unix_minus_now = unix_time - now
        if abs(unix_minus_now - self.answers.unix_minus_now) >= CLOCK_S:
            self.answers.unix_minus_now = unix_minus_now

    def state(self, *, now: float, unix_time: float) -> bytes:
        """What to give to `recall` when this node comes back."""
        return self.snapshot(now=now, unix_time=unix_time)()

    def snapshot(self, *, now: float, unix_time: float) -> Callable[[], bytes]:
        """What packs the state. That takes a tenth of a second where much is kept, and may be done
        in another thread."""
        self.set_clock(now=now, unix_time=unix_time)
        unix_minus_now = self.answers.unix_minus_now
        good = [
            node.record
            for table in self.tables.values()
            for node in table.nodes()
            if node.is_good(now)
        ]
        keys, kept = [], []  # not in pairs: so many more objects would wake the garbage collector
        for key, stored in self.answers.storage:
            if not heartbeat.is_ours(key, node_id=self.own_id):
                keys.append(key)
                kept.append(stored)
        return lambda: state.pack(good, keys, kept, unix_minus_now=unix_minus_now)

    def recall(self, data: bytes, *, now: float, unix_time: float) -> None:
        """Keep what a former self kept, and look whether the nodes it knew are still there.
        Raises WireError where `data` is damaged."""
        nodes, kept = state.unpack(data)
        self.set_clock(now=now, unix_time=unix_time)
        for record in nodes:
            endpoint = record.endpoint
            if endpoint.version in self.tables and self._inbox.may_meet(record):
                node = self._nodes.told_of(record)
                self.tables[endpoint.version].insert(node, replied=False, heard=False, now=now)
                self._upkeep.confirm(node, now=now)
        for one in kept:
            self.answers.storage.put(
                one.key,
                one.value,
                source=one.source,
                created_at=one.created - self.answers.unix_minus_now,
                expires_at=one.expires - self.answers.unix_minus_now,
                now=now,
            )

    # --- datagrams and time ----------------------------------------------------------------------

    def join(self, entries: Sequence[Endpoint], *, now: float) -> list[Datagram]:
        """Look for other nodes at these addresses, until some are found."""
        self._upkeep.join(entries, now=now)
        return self.on_timer(now=now)

    def on_timer(self, *, now: float) -> list[Datagram]:
        """What is due at `now`."""
        self._requests.on_timer(now=now)
        self._upkeep.on_timer(now=now)
        self._operations.on_timer(now=now)
        if now >= self._housekeep_at:
            self._housekeep_at = now + HOUSEKEEPING_S
            self._housekeep(now)
        return self._outgoing(now)

    def on_datagram(self, data: bytes, source: Endpoint, *, now: float) -> list[Datagram]:
        """The answers to a datagram, and what follows from it."""
        self._inbox.on_datagram(data, source, now=now)
        return self._outgoing(now)

    # --- inside ----------------------------------------------------------------------------------

    def _outgoing(self, now: float) -> list[Datagram]:
        if self.answers.storage.is_full:
            self._expire(now)
        self._updates.on_timer(now=now)
        return self._requests.take()

    def _speaks(self, node_id: bytes, version: int) -> bool:
        return version in self.tables and self._nodes.find(node_id, version=version) is not None

    def _keep(self, key: bytes, value: Value, source: bytes, *, is_kept: bool, now: float) -> None:
        """Store a value of our own, or give it another life."""
        changes = self.answers.keep(
            key, value, source=source, created_at=now, is_kept=is_kept, now=now
        )
        self._inbox.tell(changes, now)

    def _housekeep(self, now: float) -> None:
        self._inbox.fragments.expire(now=now)
        if now >= self._rotate_at:
            self.answers.tokens.rotate(self._secret())
            self._rotate_at = now + SHORTEST_S + (LONGEST_S - SHORTEST_S) * self._dice.random()
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_S
            self.answers.listeners.expire(now=now)
            self._operations.forget_idle()
            self._inbox.connected = self._upkeep.connected(now=now)
            for key, kept in self._operations.permanent():
                left_s = self.answers.storage.left_s(key, kept.value.id, now=now)
                if left_s < policy.life_s(kept.value.type) / 2:
                    self._keep(key, kept.value, kept.source, is_kept=True, now=now)
        for key, stored in self.answers.leaving(now=now):
            created = int(stored.created_at + self.answers.unix_minus_now)
            self._operations.hand_on(key, stored.value, created=created, now=now)
        self._expire(now)

    def _expire(self, now: float) -> None:
        gone = self.answers.storage.expire(now=now)
        self._inbox.tell([Change(key, went=(value,)) for key, value in gone], now)

    def _secret(self) -> bytes:
        return self._dice.getrandbits(256).to_bytes(32)
