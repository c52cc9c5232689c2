"""What this node wants of the DHT for itself: get, put and listen, over both families.

Each operation has a number, and what becomes of it is told by events, which the caller takes.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from functools import partial

from lanjami.dhtnode import messages as m
from lanjami.dhtnode import policy
from lanjami.dhtnode import value as values
from lanjami.dhtnode.answers import Change
from lanjami.dhtnode.events import Came, Done, Event, Went
from lanjami.dhtnode.hearing import (
    COST,
    KEY_BYTES,
    OURSELVES,
    TOTAL_BYTES,
    Hearing,
    Memory,
    is_credible,
    make_room,
)
from lanjami.dhtnode.nodes import Node
from lanjami.dhtnode.requests import Requests
from lanjami.dhtnode.routing import Dice, RoutingTable
from lanjami.dhtnode.search import KNOWN, Announced, Got, Search, Sockets
from lanjami.dhtnode.value import Value

EXPIRE_S = 5.0  # between two looks at what we heard


@dataclass(slots=True)
class _Get:
    # by id and owner: a stranger's value with the same id is no edit
    found: dict[tuple[int, bytes], Value] = field(default_factory=dict)
    waits_for: int = 0
    ok: bool = False
    cost: int = 0


@dataclass(slots=True)
class _Put:
    key: bytes
    value_id: int
    permanent: bool
    waits_for: int = 0
    ok: bool = False


@dataclass(slots=True)
class _Ear:
    """Those who listen at a key, and what they heard."""

    hearing: Hearing
    operations: set[int] = field(default_factory=set)


class Operations:
    """The operations, and the searches they share. `dropped` counts the values that there was
    no room for."""

    def __init__(
        self,
        *,
        tables: Mapping[int, RoutingTable],
        requests: Requests,
        dice: Dice,
        dropped: Counter[str],
    ) -> None:
        self._tables = tables
        self._requests = requests
        self._searches: dict[tuple[bytes, int], Search] = {}
        self._sockets = Sockets(dice)
        self._timers: list[tuple[float, int, Search]] = []
        self._counter = 0
        self._gets: dict[int, _Get] = {}
        self._puts: dict[int, _Put] = {}
        self._putting: dict[tuple[bytes, int], set[int]] = {}  # those of one value
        self._ears: dict[bytes, _Ear] = {}
        self._memory = Memory()
        self._getting = Memory()
        self._dropped = dropped
        self._keys: dict[int, bytes] = {}  # of listens
        self._events: list[Event] = []
        self._expire_at = float("inf")

    @property
    def wake_at(self) -> float:
        return min(self._timers[0][0] if self._timers else float("inf"), self._expire_at)

    def take(self) -> list[Event]:
        """What happened, once."""
        events, self._events = self._events, []
        return events

    def get(self, key: bytes, *, there: Sequence[Value], now: float) -> int:
        """Find the values of a key; `there` are those that we keep ourselves."""
        operation = self._number()
        get = self._gets[operation] = _Get(waits_for=len(self._tables))
        self._found(operation, there)
        for search in self._at(key):
            wanted = Got(now, partial(self._found, operation), partial(self._got, operation))
            search.get(wanted)
        if get.waits_for:
            self._step(key, now)
        return operation

    def put(self, key: bytes, value: Value, *, source: bytes, permanent: bool, now: float) -> int:
        """Put a value at the nodes closest to a key; `permanent`: until it is cancelled."""
        operation = self._number()
        if self.is_taken(key, value):
            self._events.append(Done(operation, ok=False))
            return operation
        self._puts[operation] = _Put(key, value.id, permanent, waits_for=len(self._tables))
        same = self._putting.setdefault((key, value.id), set())
        same.add(operation)
        stays = any(self._puts[other].permanent for other in same)
        for search in self._at(key):
            search.put(Announced(value, stays, source, on_done=[partial(self._put, operation)]))
        self._step(key, now)
        return operation

    def is_taken(self, key: bytes, value: Value) -> bool:
        """Whether somebody keeps another value with this id, which this one may not replace."""
        for search in self._at(key):
            kept = search.puts.get(value.id)
            if kept is not None and kept.permanent and not values.same(kept.value, value):
                return not policy.may_replace(kept.value, value)
        return False

    def hand_on(self, key: bytes, value: Value, *, created: int, now: float) -> None:
        """Put somebody else's value at the nodes that are closest to its key by now."""
        for search in self._at(key):
            if value.id not in search.puts:
                search.put(Announced(value, created=created))
                search.step(now)

    def listen(self, key: bytes, *, there: Sequence[Value], now: float) -> int:
        """Hear what comes to and goes from a key until it is cancelled."""
        operation = self._number()
        ear = self._ears.get(key)
        if ear is None:
            ear = self._ears[key] = _Ear(Hearing(self._memory))
        ear.hearing.came(there, OURSELVES, now=now)
        ear.operations.add(operation)
        self._keys[operation] = key
        self._expire_at = min(self._expire_at, now + EXPIRE_S)
        self._say(Came, operation, ear.hearing.values())
        for search in self._at(key):
            search.listen()
        self._step(key, now)
        return operation

    def cancel(self, operation: int, *, now: float) -> None:
        """End an operation; nothing more is told of it."""
        self._forget_get(operation)
        if operation in self._puts:
            self._put_no_more(operation)
        key = self._keys.pop(operation, None)
        if key is not None:
            ear = self._ears[key]
            ear.operations.remove(operation)
            if not ear.operations:
                ear.hearing.clear()
                del self._ears[key]
                for search in self._at(key):
                    search.listen_no_more()

    def look_around(self, own_id: bytes, version: int, *, now: float) -> None:
        """Get to know the nodes close to us (Dht::confirmNodes)."""
        search = self._search(own_id, version)
        if not search.gets:
            search.get(Got(now, lambda values: None, lambda ok: None))
            search.step(now)

    def offer(self, node: Node, *, now: float) -> None:
        """A node turned out to be there: searches that it is close to take it in."""
        for (_, version), search in self._searches.items():
            if version != node.endpoint.version or search.is_idle or not search.matters(node):
                continue
            if search.offer(node):
                search.step(now)

    def hears(self, update: m.Update) -> bool:
        """Whether we listen to what a node tells."""
        return self._sockets.key(update.socket, teller=update.node_id) is not None

    def on_update(self, update: m.Update, *, address: bytes, now: float) -> None:
        """What a node at an address tells that we listen at."""
        key = self._sockets.key(update.socket, teller=update.node_id)
        if key is None:
            return
        hearing = self._ears[key].hearing
        came = hearing.came(update.values, update.node_id, address=address, now=now)
        hearing.refreshed(update.refreshed, now=now)
        self._heard(key, came, hearing.went(update.expired, update.node_id))

    def on_change(self, change: Change, *, now: float) -> None:
        """Something changed in our own storage."""
        ear = self._ears.get(change.key)
        if ear is None:
            return
        hearing = ear.hearing
        came = hearing.came(change.came, OURSELVES, now=now)
        hearing.refreshed(change.refreshed, now=now)
        went = hearing.went((value.id for value in change.went), OURSELVES)
        self._heard(change.key, came, went)

    def on_timer(self, *, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            due, _, search = heapq.heappop(self._timers)
            if search.timer_at == due:
                search.timer_at = float("inf")
                if search.wake_at <= now:
                    search.step(now)
                else:
                    self._stepped(search)
        if now >= self._expire_at:
            self._expire_at = now + EXPIRE_S if self._ears else float("inf")
            for key, ear in self._ears.items():
                self._tell(key, (), ear.hearing.expire(now=now))

    def permanent(self) -> list[tuple[bytes, Announced]]:
        """The values that are put until they are cancelled, with their keys."""
        kept = {
            (key, announced.value.id): (key, announced)
            for (key, _), search in self._searches.items()
            for announced in search.puts.values()
            if announced.permanent
        }
        return list(kept.values())

    def forget_idle(self) -> None:
        """Drop the searches that nobody needs."""
        for at, search in list(self._searches.items()):
            if search.is_idle:
                del self._searches[at]

    # --- inside ----------------------------------------------------------------------------------

    def _found(self, operation: int, told: Iterable[Value]) -> None:
        get = self._gets.get(operation)
        if get is None:
            return
        news = []
        for value in told:
            known = get.found.get((value.id, value.owner_id))
            is_news = known is None or (known.seq < value.seq and not values.same(known, value))
            if not is_news:
                continue
            cost = COST + len(value.packed)
            if get.cost + cost > KEY_BYTES or self._getting.cost + cost > TOTAL_BYTES:
                self._count((value,))
            elif is_credible(value):
                get.cost += cost
                self._getting.cost += cost
                get.found[value.id, value.owner_id] = value
                news.append(value)
        if news:
            self._events.append(Came(operation, tuple(news)))

    def _got(self, operation: int, ok: bool) -> None:  # noqa: FBT001 - a callback's
        get = self._gets.get(operation)
        if get is None:
            return
        get.waits_for -= 1
        get.ok |= ok
        if not get.waits_for:
            self._forget_get(operation)
            self._events.append(Done(operation, get.ok))

    def _forget_get(self, operation: int) -> None:
        get = self._gets.pop(operation, None)
        if get is not None:
            self._getting.cost -= get.cost

    def _put_no_more(self, operation: int) -> None:
        put = self._puts.pop(operation)
        same = self._putting[put.key, put.value_id]
        same.remove(operation)
        if not same:
            del self._putting[put.key, put.value_id]
        if not any(self._puts[other].permanent for other in same):
            for search in self._at(put.key):
                if same:
                    search.let_end(put.value_id)
                else:
                    search.forget(put.value_id)

    def _put(self, operation: int, ok: bool) -> None:  # noqa: FBT001 - a callback's
        put = self._puts.get(operation)
        if put is None:
            return
        put.waits_for -= 1
        put.ok |= ok
        if not put.waits_for:
            self._events.append(Done(operation, put.ok))
            if not put.permanent:
                self._put_no_more(operation)

    def _heard(self, key: bytes, came: Sequence[Value], went: Sequence[Value]) -> None:
        """Tell what was heard, and that what there is no room for is gone."""
        over = self._ears[key].hearing.trim()
        self._tell(key, came, (*went, *over))
        self._count(over)
        if not self._memory.is_full:
            return
        others = make_room(self._memory, {key: ear.hearing for key, ear in self._ears.items()})
        for elsewhere, value in others:
            self._tell(elsewhere, (), (value,))
        self._count(others)

    def _count(self, over: Sized) -> None:
        if over:
            self._dropped["told more than there is room for"] += len(over)

    def _tell(self, key: bytes, came: Sequence[Value], went: Sequence[Value]) -> None:
        for operation in self._ears[key].operations:
            self._say(Came, operation, came)
            self._say(Went, operation, went)

    def _say(self, kind: type[Came] | type[Went], operation: int, of: Sequence[Value]) -> None:
        if of:
            self._events.append(kind(operation, tuple(of)))

    def _at(self, key: bytes) -> list[Search]:
        return [self._search(key, version) for version in self._tables]

    def _step(self, key: bytes, now: float) -> None:
        for search in self._at(key):
            search.step(now)

    def _search(self, key: bytes, version: int) -> Search:
        search = self._searches.get((key, version))
        if search is None:
            search = Search(
                key,
                sockets=self._sockets,
                requests=self._requests,
                known=partial(self._known, version),
                stepped=self._stepped,
            )
            self._searches[key, version] = search
        return search

    def _known(self, version: int, key: bytes, now: float) -> list[Node]:
        """Nodes to begin with: the closest good ones, else any that may be there."""
        table = self._tables[version]
        good = table.closest(key, count=KNOWN, now=now)
        if len(good) >= KNOWN:
            return good
        number = int.from_bytes(key)
        others = [node for node in table.nodes() if not node.is_expired and node not in good]
        return good + sorted(others, key=lambda node: node.number ^ number)[: KNOWN - len(good)]

    def _stepped(self, search: Search) -> None:
        """See to it that a timer is there no later than a search wants to be woken."""
        if search.wake_at < search.timer_at:
            search.timer_at = search.wake_at
            self._counter += 1
            heapq.heappush(self._timers, (search.wake_at, self._counter, search))

    def _number(self) -> int:
        self._counter += 1
        return self._counter
