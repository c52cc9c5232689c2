"""What the DHT proxy keeps doing for clients that are not connected: orders for a day.

A permanent put stays in the DHT, and a subscription has its client told of what comes to and
goes from a key. Each ends after 24 hours where the client does not ask again, of which it is
told two hours before (OpenDHT include/opendht/proxy.h; src/dht_proxy_server.cpp, put, subscribe
and handlePushListen). What is to be done follows as data from `take`.
"""

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple, Self

import msgspec

from lanjami.dhtnode import policy
from lanjami.dhtnode import value as values
from lanjami.dhtnode.value import Value
from lanjami.dhtnode.value_json import PushAddress
from lanjami.errors import RequestError

LIFE_S = 24 * 3600.0  # proxy::OP_TIMEOUT
MARGIN_S = 2 * 3600.0  # proxy::OP_MARGIN

UNIFIED_PUSH = "unifiedpush"  # the one platform that needs no company's gateway
PLATFORMS = ("android", "ios", UNIFIED_PUSH)

# Bytes of memory that an order takes beside its value and address, about: a task, a queue, and a
# search of the node in each family (measured: 8.7 kB).
_COST = 9 * 1024

_MOST_TOLD = 2500  # bytes of ids and types in a push, which has 4,096 for all (RFC 8291, 4)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much memory is for orders, in bytes: for all, and for those of one source, which is a
    client's address."""

    cost: int = 128 * 1024 * 1024
    cost_of_one: int = 16 * 1024 * 1024


class Recipient(NamedTuple):
    """Where pushes go; see `PushAddress`."""

    token: str
    platform: str
    topic: str

    @classmethod
    def of(cls, push: PushAddress) -> Self:
        return cls(push.key, push.platform, push.topic)


@dataclass(slots=True, eq=False)
class Order:
    """What is done for a client until `ends_at`. `push` is empty where it gave no address."""

    key: bytes
    source: bytes
    push: PushAddress
    ends_at: float
    is_warned: bool = False
    is_over: bool = False
    timer_at: float = field(default=float("inf"), repr=False)

    @property
    def cost(self) -> int:
        return _COST + _size(self.push)

    @property
    def due_at(self) -> float:
        return self.ends_at if self.is_warned or not self.push.key else self.ends_at - MARGIN_S


@dataclass(slots=True, eq=False)
class Subscription(Order):
    """Its client is told of what happens at the key."""


@dataclass(slots=True, eq=False, kw_only=True)
class Permanent(Order):
    """The value stays at the key."""

    value: Value

    @property
    def cost(self) -> int:
        return _COST + _size(self.push) + len(self.value.packed)


@dataclass(frozen=True, slots=True)
class Notice:
    """A push to send. One that is urgent wakes the device."""

    to: Recipient
    body: dict[str, Any]
    is_urgent: bool


@dataclass(frozen=True, slots=True)
class Begin:
    order: Order


@dataclass(frozen=True, slots=True)
class End:
    order: Order


Decision = Begin | End | Notice


class Orders:
    """The orders of all clients. Times are in seconds of one clock."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._permanent: dict[tuple[bytes, int], Permanent] = {}
        self._by_key: dict[bytes, set[int]] = {}
        self._subscriptions: dict[tuple[str, bytes, str], Subscription] = {}
        self._timers: list[tuple[float, int, Order]] = []
        self._counter = 0
        self._cost_of: Counter[bytes] = Counter()
        self._cost = 0
        self._decisions: list[Decision] = []
        self._changes = 0

    @property
    def changes(self) -> int:
        """How often what `all` returns has changed."""
        return self._changes

    @property
    def permanent(self) -> int:
        return len(self._permanent)

    @property
    def keys(self) -> int:
        """At how many keys something is put permanently."""
        return len(self._by_key)

    @property
    def subscriptions(self) -> int:
        return len(self._subscriptions)

    @property
    def subscribers(self) -> int:
        """To how many tokens something is told."""
        return len({token for token, _, _ in self._subscriptions})

    @property
    def undeliverable(self) -> int:
        """Subscriptions that only Google or Apple could serve."""
        return sum(s.push.platform != UNIFIED_PUSH for s in self._subscriptions.values())

    @property
    def wake_at(self) -> float:
        return self._timers[0][0] if self._timers else float("inf")

    def take(self) -> list[Decision]:
        """What is to be done, once."""
        decisions, self._decisions = self._decisions, []
        return decisions

    def all(self) -> list[Order]:
        return [*self._permanent.values(), *self._subscriptions.values()]

    def recall(self, orders: Iterable[Order], *, now: float) -> None:
        """Take up orders from before, as far as they last and there is room."""
        for order in orders:
            if order.ends_at <= now:
                continue
            with suppress(RequestError):
                self._place(order)

    def begin_again(self) -> None:
        """Decide anew to begin every order, after what was begun has ended."""
        self._decisions = [Begin(order) for order in self.all()]

    def permanent_id(self, key: bytes, value: Value, push: PushAddress | None) -> int:
        """The id under which this very client has put the same before; 0 where it has not."""
        push = push or PushAddress()
        for id in self._by_key.get(key, ()):
            order = self._permanent[key, id]
            if _is_same_client(order.push, push) and values.same(order.value, value):
                return id
        return 0

    def put(
        self, key: bytes, value: Value, *, push: PushAddress | None, source: bytes, now: float
    ) -> tuple[Permanent, bool]:
        """Keep a value at a key for a day more; and whether that is new. Raises RequestError
        where somebody else keeps another one there, or where it is too much."""
        push = push or PushAddress()
        old = self._permanent.get((key, value.id))
        if old is not None:
            if values.same(old.value, value):
                self._renew(old, push, now)
                return old, False
            is_own = old.source == source or (push.key and _is_same_client(old.push, push))
            if not is_own and not policy.may_replace(old.value, value):
                raise RequestError(502, "Put failed")
            self._end(old)
        order = Permanent(key, source, push, now + LIFE_S, value=value)
        self._place(order)
        return order, True

    def subscribe(
        self, key: bytes, push: PushAddress, *, source: bytes, now: float
    ) -> tuple[Subscription, bool]:
        """Tell a client of what happens at a key for a day more; and whether that is new.
        Raises RequestError where it is too much."""
        place = (push.key, key, push.client_id)
        old = self._subscriptions.get(place)
        if old is not None:
            self._renew(old, push, now)
            return old, False
        order = Subscription(key, source, push, now + LIFE_S)
        self._place(order)
        return order, True

    def unsubscribe(self, key: bytes, push: PushAddress) -> None:
        """Tell a client no more, if it was told."""
        old = self._subscriptions.get((push.key, key, push.client_id))
        if old is not None:
            self._end(old)

    def on_timer(self, *, now: float) -> None:
        """End what is over, and warn of what soon will be."""
        while self._timers and self._timers[0][0] <= now:
            _, _, order = heapq.heappop(self._timers)
            order.timer_at = float("inf")
            if order.is_over:
                continue
            if order.ends_at <= now:
                self._end(order)
                continue
            if order.due_at <= now:
                order.is_warned = True
                self._changes += 1
                self._decisions.append(_warning(order))
            self._wake(order)

    def _renew(self, order: Order, push: PushAddress, now: float) -> None:
        if push.key:
            self._charge(order.source, _size(push) - _size(order.push))
            order.push = push
        order.ends_at = now + LIFE_S
        order.is_warned = False
        self._changes += 1
        self._wake(order)

    def _place(self, order: Order) -> None:
        self._charge(order.source, order.cost)
        match order:
            case Permanent(key=key, value=value):
                self._permanent[key, value.id] = order
                self._by_key.setdefault(key, set()).add(value.id)
            case Subscription(key=key, push=push):
                self._subscriptions[push.key, key, push.client_id] = order
        self._changes += 1
        self._decisions.append(Begin(order))
        self._wake(order)

    def _end(self, order: Order) -> None:
        order.is_over = True
        match order:
            case Permanent(key=key, value=value):
                del self._permanent[key, value.id]
                self._by_key[key].discard(value.id)
                if not self._by_key[key]:
                    del self._by_key[key]
            case Subscription(key=key, push=push):
                del self._subscriptions[push.key, key, push.client_id]
        self._charge(order.source, -order.cost)
        self._changes += 1
        self._decisions.append(End(order))
        self._clear_timers()

    def _charge(self, source: bytes, cost: int) -> None:
        """Count what an order takes, or gives back; raises RequestError where that is too much."""
        total, of_one = self._cost + cost, self._cost_of[source] + cost
        if cost > 0 and (total > self._limits.cost or of_one > self._limits.cost_of_one):
            raise RequestError(503, "this box keeps as much as it can")
        self._cost, self._cost_of[source] = total, of_one
        if not of_one:
            del self._cost_of[source]

    def _wake(self, order: Order) -> None:
        """See to it that a timer is there no later than an order is due: one an order, which
        no renewal adds to."""
        if order.due_at < order.timer_at:
            order.timer_at = order.due_at
            self._counter += 1
            heapq.heappush(self._timers, (order.due_at, self._counter, order))

    def _clear_timers(self) -> None:
        """Forget those of ended orders, where they are the most."""
        if len(self._timers) > 2 * (self.permanent + self.subscriptions) + 64:
            self._timers = [timer for timer in self._timers if not timer[2].is_over]
            heapq.heapify(self._timers)


def notice(
    subscription: Subscription, found: Sequence[Value], *, expired: bool, unix_time: float
) -> Notice:
    """What a subscriber is told of values that came, or that are gone.

    The values do not travel with it: the client gets all there are, also where not every id has
    room. The ids of several that are gone are not in `exp`, so that the client looks what is left.
    """
    hints = [(value.id, *values.hints(value)) for value in found]
    told = _as_has_room([(str(id), push_type) for id, _, push_type in hints])
    ids = ",".join(id for id, _ in told)
    body: dict[str, Any] = {
        "key": subscription.key.hex(),
        "to": subscription.push.client_id,
        "t": int(unix_time * 1000),
        "s": subscription.push.session_id,
        "ids": ids,
        "pt": ",".join(push_type for _, push_type in told),
    }
    if expired and len(found) == len(told) == 1:
        body["exp"] = ids
    is_urgent = not expired and any(priority == 0 for _, priority, _ in hints)
    return Notice(Recipient.of(subscription.push), body, is_urgent)


def pong(push: PushAddress) -> Notice:
    """What a client is sent that wants to see whether pushes reach it."""
    return Notice(Recipient.of(push), {"to": push.client_id, "pong": True}, is_urgent=True)


def _as_has_room(told: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The first ids and types that together are short enough."""
    sizes = accumulate(len(msgspec.json.encode(one)) for one in told)
    return told[: bisect_right(list(sizes), _MOST_TOLD)]


def _warning(order: Order) -> Notice:
    body = {"timeout": order.key.hex(), "to": order.push.client_id, "s": order.push.session_id}
    if isinstance(order, Permanent):
        body["vid"] = str(order.value.id)
    return Notice(Recipient.of(order.push), body, is_urgent=False)


def _size(push: PushAddress) -> int:
    """The memory of what a client says of itself; any letter beyond ASCII may make all wider."""
    texts = (push.key, push.client_id, push.session_id, push.topic, push.platform)
    return sum(len(text) * (1 if text.isascii() else 4) for text in texts)


def _is_same_client(one: PushAddress, other: PushAddress) -> bool:
    return (one.key, one.client_id) == (other.key, other.client_id)
