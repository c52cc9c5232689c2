"""The values a node keeps for others, each until its time is over.

Bounded: what a value costs in memory is counted, and where all of them cost too much, the source
with the most loses those that would go first, and what is kept up last (OpenDHT src/dht.cpp,
Dht::expireStore; there only the values' own bytes count). 64 MiB (STORAGE_LIMIT_DEFAULT) are
64 MiB here.
"""

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

import msgspec

from lanjami.dhtnode import policy
from lanjami.dhtnode import value as values
from lanjami.dhtnode.query import EVERYTHING, Query
from lanjami.dhtnode.value import Value

TOTAL_BYTES = 64 * 1024 * 1024
_SPARE = 8  # an eighth of all is made room for at once, as looking for what goes takes long
VALUES_PER_KEY = 64 * 1024  # Storage::MAX_VALUES
_VALUE_COST = 1024  # bytes of memory beside the value's own, about


class Outcome(Enum):
    """What became of a value that was put."""

    NEW = "new"
    CHANGED = "changed"
    REFRESHED = "refreshed"
    REFUSED = "refused"


class Stored(msgspec.Struct, eq=False):
    """A value, when it was made and goes, and the address that put it (empty: we did). `moment`
    counts what came and changed; `is_kept`: we put it again and again, whoever wants that."""

    value: Value
    created_at: float
    expires_at: float
    source: bytes
    is_kept: bool = False
    moment: int = 0

    @property
    def cost(self) -> int:
        return _VALUE_COST + len(self.value.packed)


Place = tuple[bytes, int]  # a key and a value's id


@dataclass(slots=True)
class _Account:
    cost: int = 0
    places: set[Place] = field(default_factory=set)


class Storage:
    """Values by key and id. Times are in seconds of one clock."""

    def __init__(self, *, total_bytes: int = TOTAL_BYTES) -> None:
        self._total_bytes = total_bytes
        self._by_key: dict[bytes, dict[int, Stored]] = {}
        self._accounts: defaultdict[bytes, _Account] = defaultdict(_Account)
        self._expiry: list[tuple[float, Place]] = []  # a heap; what has changed since is stale
        self._cost = 0
        self._count = 0
        self._moment = 0

    def __len__(self) -> int:
        return self._count

    @property
    def cost(self) -> int:
        """The memory that the values take, in bytes, about."""
        return self._cost

    def __iter__(self) -> Iterator[tuple[bytes, Stored]]:
        for key, there in self._by_key.items():
            for stored in there.values():
                yield key, stored

    def places(self) -> list[Place]:
        """Where values are."""
        return [(key, id) for key, there in self._by_key.items() for id in there]

    def at(self, key: bytes, query: Query = EVERYTHING) -> list[Value]:
        """The values at a key that a query takes."""
        return query.select([stored.value for stored in self._candidates(key, query)])

    def looked_at(self, key: bytes, query: Query) -> int:
        """How many values there are to look at for a query."""
        return len(self._candidates(key, query))

    def since(self, key: bytes, moment: int) -> Sequence[Stored]:
        """What came to a key or changed there after a moment, in that order."""
        newest: list[Stored] = []
        for stored in reversed(self._by_key.get(key, {}).values()):
            if stored.moment <= moment:
                break
            newest.append(stored)
        return newest[::-1]

    def find(self, key: bytes, id: int) -> Stored | None:
        return self._by_key.get(key, {}).get(id)

    def left_s(self, key: bytes, id: int, *, now: float) -> float:
        """For how long a value still lives; 0 where there is none."""
        stored = self.find(key, id)
        return 0.0 if stored is None else stored.expires_at - now

    def put(
        self,
        key: bytes,
        value: Value,
        *,
        source: bytes,
        created_at: float,
        now: float,
        expires_at: float = float("inf"),
        is_kept: bool = False,
    ) -> Outcome:
        """Store a value for the life of its type, at most until `expires_at`. It has been
        admitted; it replaces another one only as `policy` allows."""
        created_at = min(created_at, now)
        expires_at = min(expires_at, created_at + policy.life_s(value.type))
        if expires_at <= now:
            return Outcome.REFUSED
        old = self.find(key, value.id)
        if old is None:
            if len(self._by_key.get(key, ())) >= VALUES_PER_KEY:
                return Outcome.REFUSED
            self._add(key, Stored(value, created_at, expires_at, source, is_kept))
            return Outcome.NEW
        if values.same(old.value, value):
            old.is_kept |= is_kept
            self.refresh(key, value.id, now=created_at)
            return Outcome.REFRESHED
        if not policy.may_replace(old.value, value):
            return Outcome.REFUSED
        self._remove(key, value.id)
        self._add(key, Stored(value, created_at, expires_at, source, is_kept))
        return Outcome.CHANGED

    def refresh(self, key: bytes, id: int, *, now: float) -> bool:
        """Give a value another life; whether it is there."""
        stored = self.find(key, id)
        if stored is None:
            return False
        stored.created_at = max(stored.created_at, now)
        stored.expires_at = max(stored.expires_at, now + policy.life_s(stored.value.type))
        self._note(key, stored)
        return True

    @property
    def is_full(self) -> bool:
        """Whether `expire` has to make room."""
        return self._cost > self._total_bytes

    def expire(self, *, now: float) -> list[tuple[bytes, Value]]:
        """Forget what is over and what there is no room for; returns it."""
        gone = []
        while self._expiry and self._expiry[0][0] <= now:
            _, (key, id) = heapq.heappop(self._expiry)
            stored = self.find(key, id)
            if stored is not None and stored.expires_at <= now:
                gone.append((key, self._remove(key, id).value))
        if self.is_full:
            gone += self._make_room()
        return gone

    def _candidates(self, key: bytes, query: Query) -> Collection[Stored]:
        there = self._by_key.get(key, {})
        if query.id is None:
            return there.values()
        found = there.get(query.id)
        return () if found is None else (found,)

    def _make_room(self) -> Iterator[tuple[bytes, Value]]:
        wanted = self._total_bytes - self._total_bytes // _SPARE
        while self._cost > wanted:
            largest = max(self._accounts.values(), key=lambda account: account.cost)
            second = max((a.cost for a in self._accounts.values() if a is not largest), default=0)
            for key, id in sorted(largest.places, key=self._urgency):
                yield key, self._remove(key, id).value
                if self._cost <= wanted or largest.cost < second:
                    break

    def _urgency(self, place: Place) -> tuple[bool, float]:
        """What goes first: what goes soonest, and what is kept after all else."""
        stored = self._by_key[place[0]][place[1]]
        return stored.is_kept, stored.expires_at

    def _add(self, key: bytes, stored: Stored) -> None:
        self._moment += 1
        stored.moment = self._moment
        self._by_key.setdefault(key, {})[stored.value.id] = stored
        account = self._accounts[stored.source]
        account.cost += stored.cost
        account.places.add((key, stored.value.id))
        self._cost += stored.cost
        self._count += 1
        self._note(key, stored)

    def _remove(self, key: bytes, id: int) -> Stored:
        there = self._by_key[key]
        stored = there.pop(id)
        if not there:
            del self._by_key[key]
        account = self._accounts[stored.source]
        account.cost -= stored.cost
        account.places.discard((key, id))
        if not account.places:
            del self._accounts[stored.source]
        self._cost -= stored.cost
        self._count -= 1
        return stored

    def _note(self, key: bytes, stored: Stored) -> None:
        heapq.heappush(self._expiry, (stored.expires_at, (key, stored.value.id)))
        if len(self._expiry) > 2 * self._count + 1024:  # refreshed again and again
            self._expiry = [(s.expires_at, (k, s.value.id)) for k, s in self]
            heapq.heapify(self._expiry)
