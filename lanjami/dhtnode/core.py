"""A whole DHT node, without a world: datagrams and time go in, datagrams and a time come out.

`on_datagram` and `on_timer` return what to send; `wake_at` says when `on_timer` has something to
do, if nothing happens before. Times are seconds of one monotonic clock.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from lanjami.dhtnode import heartbeat, state, wire
from lanjami.dhtnode import messages as m
from lanjami.dhtnode.admission import Admission
from lanjami.dhtnode.answers import Answers, Change
from lanjami.dhtnode.endpoint import Endpoint, Record, is_loopback, is_martian
from lanjami.dhtnode.events import Event
from lanjami.dhtnode.fragments import Fragments
from lanjami.dhtnode.nodes import Node, Nodes
from lanjami.dhtnode.operations import Operations
from lanjami.dhtnode.query import EVERYTHING, Query
from lanjami.dhtnode.requests import Answer, Datagram, Request, Requests
from lanjami.dhtnode.routing import Dice, RoutingTable
from lanjami.dhtnode.storage import Outcome
from lanjami.dhtnode.tokens import LONGEST_S, SHORTEST_S
from lanjami.dhtnode.upkeep import Upkeep
from lanjami.dhtnode.value import Value
from lanjami.errors import WireError

HOUSEKEEPING_S = 1.0
TIDY_S = 60.0


class DhtCore:
    """The node with the id `own_id` in a network (0 is Jami's).

    `is_local` tells the addresses that may be spoken to; all others are neither heard nor ever
    written to. `dice` is the node's randomness, `unix_time` the time of day at `now`.
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
        self._is_local = is_local
        self._dice = dice
        self._network = network
        self._unix_minus_now = unix_time - now
        self.tables = {version: RoutingTable(own_id) for version in versions}
        self._nodes = Nodes()
        self._admission = Admission(now=now)
        self._fragments = Fragments()
        self._requests = Requests(own_id, network=network, dice=dice)
        self.answers = Answers(
            own_id,
            network=network,
            tables=self.tables,
            speaks=self._speaks,
            secret=self._secret(),
            unix_minus_now=self._unix_minus_now,
        )
        self._upkeep = Upkeep(
            own_id, tables=self.tables, requests=self._requests, dice=dice, now=now
        )
        self._operations = Operations(tables=self.tables, requests=self._requests, dice=dice)
        self._rotate_at = now
        self._tidy_at = now + TIDY_S
        self._housekeep_at = now + HOUSEKEEPING_S
        self._connected: set[int] = set()
        self.asked: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    @property
    def sent(self) -> int:
        """Queries of our own."""
        return self._requests.sent

    @property
    def pending(self) -> int:
        """Queries of our own that are not answered yet."""
        return len(self._requests)

    @property
    def wake_at(self) -> float:
        return min(
            self._requests.wake_at,
            self._upkeep.wake_at,
            self._operations.wake_at,
            self._housekeep_at,
        )

    # --- what this node wants for itself ---------------------------------------------------------

    def get(self, key: bytes, *, query: Query = EVERYTHING, now: float) -> int:
        """Find the values of a key; returns the number of the operation. Here and below, what
        there is to send comes from `on_timer`, and what is found from `take_events`."""
        there = self.answers.storage.at(key, query)
        return self._operations.get(key, there=there, query=query, now=now)

    def put(self, key: bytes, value: Value, *, permanent: bool = False, now: float) -> int:
        """Put a value at the nodes closest to a key, and keep it here."""
        self._keep(key, value, now)
        return self._operations.put(key, value, permanent=permanent, created=None, now=now)

    def listen(self, key: bytes, *, query: Query = EVERYTHING, now: float) -> int:
        """Hear what comes to and goes from a key, until `cancel`."""
        there = self.answers.storage.at(key)
        return self._operations.listen(key, there=there, query=query, now=now)

    def cancel(self, operation: int, *, now: float) -> None:
        """End an operation."""
        self._operations.cancel(operation, now=now)

    def take_events(self) -> list[Event]:
        """What became of the operations, once."""
        return self._operations.take()

    # --- over a restart --------------------------------------------------------------------------

    def state(self, *, now: float) -> bytes:
        """What to give to `recall` when this node comes back."""
        good = [
            node.record
            for table in self.tables.values()
            for node in table.nodes()
            if node.is_good(now)
        ]
        kept = [
            (key, stored)
            for key, stored in self.answers.storage
            if not heartbeat.is_ours(key, node_id=self.own_id)
        ]
        return state.pack(good, kept, unix_minus_now=self._unix_minus_now)

    def recall(self, data: bytes, *, now: float) -> None:
        """Keep what a former self kept, and look whether the nodes it knew are still there.
        Raises WireError where `data` is damaged."""
        nodes, kept = state.unpack(data)
        for record in nodes:
            endpoint = record.endpoint
            if endpoint.version in self.tables and self._may_meet(record):
                node = self._nodes.told_of(record)
                self.tables[endpoint.version].insert(node, replied=False, heard=False, now=now)
                self._upkeep.confirm(node, now=now)
        for one in kept:
            self.answers.storage.put(
                one.key,
                one.value,
                source=one.source,
                created_at=one.created - self._unix_minus_now,
                expires_at=one.expires - self._unix_minus_now,
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
        return self._requests.take()

    def on_datagram(self, data: bytes, source: Endpoint, *, now: float) -> list[Datagram]:
        """The answers to a datagram, and what follows from it."""
        refusal = self._refuse(source, now)
        if refusal is not None:
            self.dropped[refusal] += 1
            return []
        try:
            message = wire.parse(data)
        except WireError:
            self.dropped["malformed"] += 1
            return []
        if message.network != self._network:
            self.dropped["of another network"] += 1
            return []
        self._on_message(message, source, now)
        return self._requests.take()

    def _refuse(self, source: Endpoint, now: float) -> str | None:
        if source.version not in self.tables or is_martian(source):
            return "impossible address"
        if not self._is_local(source):
            return "not local"
        return self._admission.refuse_datagram(source.ip, now=now)

    def _on_message(self, message: m.Message, source: Endpoint, now: float) -> None:
        match message:
            case m.Parts():
                whole = self._fragments.on_parts(source, message, now=now)
                if whole is not None:
                    self._on_whole(whole, source, now)
            case m.Asked():
                refusal = self._admission.refuse_query(source.ip, now=now)
                if refusal is not None:
                    self.dropped[refusal] += 1
                    return
                self._on_bearing(message, source, now, asked=False)
            case m.Reply():
                request = self._awaited(message, source)
                if request is None:
                    self.dropped["not asked for"] += 1
                    return
                self._on_bearing(message, source, now, asked=True)
            case m.Error():
                self._on_error(message, source, now)

    def _on_bearing(self, message: m.Spoken, source: Endpoint, now: float, *, asked: bool) -> None:
        if message.node_id == self.own_id:
            self.dropped["from ourselves"] += 1
            return
        whole: m.Spoken | None = message
        if isinstance(message, m.Put | m.Update | m.Reply) and message.missing:
            whole = self._fragments.on_message(source, message, asked=asked, now=now)
        if whole is not None:
            self._on_whole(whole, source, now)

    def _on_whole(self, message: m.Spoken, source: Endpoint, now: float) -> None:
        if isinstance(message, m.Reply):
            request = self._awaited(message, source)
            if request is not None:
                self._on_reply(message, request, source, now)
            return
        node = self._nodes.speaking(message.node_id, source, now=now)
        node.heard(now)
        self._on_query(message, source, now)
        if not message.is_client:
            self._meet(node, replied=False, now=now)

    def _on_query(self, message: m.Spoken, source: Endpoint, now: float) -> None:
        answers, requests = self.answers, self._requests
        self.asked[type(message).__name__.lower()] += 1
        match message:
            case m.Ping():
                requests.reply(answers.ping(message, source), source)
            case m.Find():
                requests.reply(answers.find(message, source, now=now), source)
            case m.Get():
                requests.reply(answers.get(message, source, now=now), source)
            case m.Put():
                replies, changes = answers.put(message, source, now=now)
                for reply in replies:
                    requests.reply(reply, source)
                self._tell(changes, now)
            case m.Refresh():
                said, changes = answers.refresh(message, source, now=now)
                requests.reply(said, source)
                self._tell(changes, now)
            case m.Listen():
                said, updates = answers.listen(message, source, now=now)
                requests.reply(said, source)
                for update in updates:
                    self._update(message.node_id, source, update, now)
            case m.Update():
                requests.reply(answers.confirm(message, source), source)
                self._operations.on_update(message, now=now)

    def _on_reply(self, message: m.Reply, request: Request, source: Endpoint, now: float) -> None:
        self._requests.finish(request)
        node = request.node or self._nodes.speaking(message.node_id, source, now=now)
        is_news = not node.is_good(now)
        node.replied(now)
        if not message.is_client:
            self._meet(node, replied=True, now=now)
            if is_news:
                self._welcome(node, now)
        told = [self._told_of(record, source, now) for record in message.nodes]
        request.on_reply(Answer(node, message, [one for one in told if one is not None], now))

    def _on_error(self, message: m.Error, source: Endpoint, now: float) -> None:
        request = self._requests.awaited(message.transaction, source, message.node_id)
        if request is None:
            self.dropped["not asked for"] += 1
            return
        self._requests.finish(request)
        if request.node is not None:
            request.node.replied(now)
            if message.code == m.UNAUTHORIZED:
                request.node.refused()
        request.on_error(message, now)

    def _awaited(self, message: m.Reply, source: Endpoint) -> Request | None:
        return self._requests.awaited(message.transaction, source, message.node_id)

    def _meet(self, node: Node, *, replied: bool, now: float) -> None:
        known = self._nodes.find(node.node_id, version=node.endpoint.version)
        if known is not node:
            if known is not None:  # somebody else with its id, or it moved
                self._upkeep.settle(known, node, now=now)
            return
        table = self.tables[node.endpoint.version]
        to_ping = table.insert(node, replied=replied, heard=True, now=now)
        if to_ping is not None:
            self._upkeep.ping(to_ping, now=now)
        if not node.is_good(now):
            self._upkeep.confirm(node, now=now)

    def _welcome(self, node: Node, now: float) -> None:
        """A node turned out to be there."""
        version = node.endpoint.version
        self._operations.offer(node, now=now)
        if version not in self._connected:
            self._connected.add(version)
            self._operations.look_around(self.own_id, version, now=now)

    def _told_of(self, record: Record, source: Endpoint, now: float) -> Node | None:
        node_id, endpoint = record
        if is_loopback(endpoint.ip) and endpoint.version == source.version:
            endpoint = Endpoint(source.ip, endpoint.port, source.scope)  # deserializeNodes
        elif endpoint.version == 6 and endpoint.address.is_link_local:
            endpoint = endpoint._replace(scope=source.scope)
        table = self.tables.get(endpoint.version)
        record = Record(node_id, endpoint)
        if table is None or not self._may_meet(record):
            return None
        node = self._nodes.told_of(record)
        to_ping = table.insert(node, replied=False, heard=False, now=now)
        if to_ping is not None:
            self._upkeep.ping(to_ping, now=now)
        return node

    def _speaks(self, node_id: bytes, version: int) -> bool:
        return version in self.tables and self._nodes.find(node_id, version=version) is not None

    def _may_meet(self, record: Record) -> bool:
        node_id, endpoint = record
        if node_id == self.own_id or not any(node_id) or is_martian(endpoint):
            return False
        if not self._is_local(endpoint):
            self.dropped["told of a node that is not local"] += 1
            return False
        return True

    def _tell(self, changes: Sequence[Change], now: float) -> None:
        for change in changes:
            self._operations.on_change(change.key, change.came, change.went, now=now)
            for listener, update in self.answers.tell(change, now=now):
                self._update(listener.node_id, listener.endpoint, update, now)

    def _update(self, node_id: bytes, to: Endpoint, update: m.Update, now: float) -> None:
        node = self._nodes.speaking(node_id, to, now=now)
        self._requests.send(Request(update, to, node), now=now)

    def _keep(self, key: bytes, value: Value, now: float) -> None:
        """Store a value of our own, or give it another life."""
        outcome = self.answers.storage.put(key, value, source=b"", created_at=now, now=now)
        if outcome in (Outcome.NEW, Outcome.CHANGED):
            self._tell([Change(key, came=(value,))], now)

    def _housekeep(self, now: float) -> None:
        self._fragments.expire(now=now)
        if now >= self._rotate_at:
            self.answers.tokens.rotate(self._secret())
            self._rotate_at = now + SHORTEST_S + (LONGEST_S - SHORTEST_S) * self._dice.random()
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_S
            self.answers.listeners.expire(now=now)
            self._operations.forget_idle()
            self._connected = {v for v in self.tables if self._upkeep.is_connected(v, now=now)}
            for key, value in self._operations.permanent():
                self._keep(key, value, now)
        gone = self.answers.storage.expire(now=now)
        self._tell([Change(key, went=(value,)) for key, value in gone], now)

    def _secret(self) -> bytes:
        return self._dice.getrandbits(256).to_bytes(32)
