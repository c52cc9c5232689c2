"""What is heard at a key that we listen to: each value once, however many nodes tell of it.

Bounded in number and in bytes, at each key and at all keys together: a node that others believe to
be close to a key may tell what it wants, and have somebody listen there. Where there is too much at
a key, what was heard longest ago goes; where there is too much in all, the address that told of
most gives way. What our own storage has is counted there.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lanjami.dhtnode import policy
from lanjami.dhtnode import value as values
from lanjami.dhtnode.value import Value

MOST_VALUES = 4096  # of a key: ValueCache::MAX_VALUES, src/value_cache.h
KEY_BYTES = 8 * 1024 * 1024  # of memory for those; twice what a message may bring
TOTAL_BYTES = 32 * 1024 * 1024
_SPARE = 8  # an eighth of all is made room for at once, as looking for what goes takes long
COST = 512  # bytes of memory beside the value's own, about
OURSELVES = b""  # as a teller: our own storage


@dataclass(slots=True)
class Memory:
    """What all that is heard costs, in bytes."""

    cost: int = 0

    @property
    def is_full(self) -> bool:
        """Whether `make_room` has to."""
        return self.cost > TOTAL_BYTES


@dataclass(slots=True)
class _Heard:
    value: Value
    expires_at: float
    tellers: dict[bytes, bytes]  # nodes that keep it, with their addresses; the first one pays
    cost: int = 0  # as far as it is counted


class Hearing:
    """The values of a key as its keepers tell of them; of too many, those heard last. `memory` is
    that of all keys."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._heard: dict[int, _Heard] = {}  # what was heard longest ago first
        self._cost = 0

    def values(self) -> list[Value]:
        return [heard.value for heard in self._heard.values()]

    def came(
        self, told: Iterable[Value], teller: bytes, *, address: bytes = b"", now: float
    ) -> list[Value]:
        """Those of the values that are news, as the node `teller` at an address tells."""
        news = []
        for value in told:
            expires_at = now + policy.life_s(value.type)
            heard = self._heard.get(value.id)
            if heard is None:
                if is_credible(value):
                    heard = self._heard[value.id] = _Heard(value, expires_at, {teller: address})
                    self._count(heard)
                    news.append(value)
                continue
            heard.tellers[teller] = address
            self._lives_until(heard, expires_at)
            if not values.same(heard.value, value) and policy.may_replace(heard.value, value):
                heard.value = value
                news.append(value)
            self._count(heard)
        return news

    def refreshed(self, ids: Iterable[int], *, now: float) -> None:
        for id in ids:
            if (heard := self._heard.get(id)) is not None:
                self._lives_until(heard, now + policy.life_s(heard.value.type))

    def went(self, ids: Iterable[int], teller: bytes) -> list[Value]:
        """Those values that nobody keeps any more."""
        gone = []
        for id in ids:
            heard = self._heard.get(id)
            if heard is None:
                continue
            heard.tellers.pop(teller, None)
            if heard.tellers:
                self._count(heard)
            else:
                gone.append(self.drop(id))
        return gone

    def expire(self, *, now: float) -> list[Value]:
        """The values whose time is over, and which nobody refreshed."""
        over = [id for id, heard in self._heard.items() if heard.expires_at <= now]
        return [self.drop(id) for id in over]

    def trim(self) -> list[Value]:
        """The values that there are too many of."""
        over = []
        while len(self._heard) > MOST_VALUES or self._cost > KEY_BYTES:
            over.append(self.drop(self._longest_ago()))
        return over

    def drop(self, id: int) -> Value:
        """Forget a value."""
        heard = self._heard.pop(id)
        self._charge(heard, 0)
        return heard.value

    def clear(self) -> None:
        """Forget all, as nobody listens any more."""
        self._memory.cost -= self._cost
        self._cost = 0
        self._heard.clear()

    def accounts(self) -> Iterable[tuple[bytes, int, bool, float, int]]:
        """What is counted: the address that pays, the cost, whether others tell of it, too, when
        it goes, and its id."""
        for id, heard in self._heard.items():
            if heard.cost:
                payer, *others = heard.tellers.values()
                yield payer, heard.cost, bool(others), heard.expires_at, id

    def _longest_ago(self) -> int:
        """The value to go first; of too many bytes, one that is counted."""
        return next(
            id for id, one in self._heard.items() if one.cost or len(self._heard) > MOST_VALUES
        )

    def _lives_until(self, heard: _Heard, when: float) -> None:
        heard.expires_at = when
        self._heard[heard.value.id] = self._heard.pop(heard.value.id)

    def _count(self, heard: _Heard) -> None:
        is_stored = OURSELVES in heard.tellers
        self._charge(heard, 0 if is_stored else COST + len(heard.value.packed))

    def _charge(self, heard: _Heard, cost: int) -> None:
        self._cost += cost - heard.cost
        self._memory.cost += cost - heard.cost
        heard.cost = cost


def make_room(memory: Memory, hearings: Mapping[bytes, Hearing]) -> list[tuple[bytes, Value]]:
    """Forget what there is no room for in all; returns those values, with their keys."""
    there: defaultdict[bytes, list[tuple[bool, float, int, bytes, int]]] = defaultdict(list)
    costs: defaultdict[bytes, int] = defaultdict(int)
    for key, hearing in hearings.items():
        for payer, cost, is_shared, expires_at, id in hearing.accounts():
            there[payer].append((is_shared, expires_at, cost, key, id))
            costs[payer] += cost
    for account in there.values():
        account.sort(reverse=True)  # what others tell of, too, and what lives longest goes last
    gone = []
    while memory.cost > TOTAL_BYTES - TOTAL_BYTES // _SPARE:
        payer = max(costs, key=costs.__getitem__)
        _, _, cost, key, id = there[payer].pop()
        costs[payer] -= cost
        gone.append((key, hearings[key].drop(id)))
    return gone


def is_credible(value: Value) -> bool:
    """Whether a value may be shown to somebody: what is signed, is signed by its owner."""
    return not value.is_signed or values.is_genuine(value)
