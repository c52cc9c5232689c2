"""What is heard at a key that we listen to: each value once, however many nodes tell of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from lanjami.dhtnode import policy
from lanjami.dhtnode import value as values
from lanjami.dhtnode.value import Value

MOST_VALUES = 4096  # of a key: ValueCache::MAX_VALUES, src/value_cache.h


@dataclass(slots=True)
class _Heard:
    value: Value
    expires_at: float
    tellers: set[bytes]  # nodes that keep it


@dataclass(slots=True)
class Hearing:
    """The values of a key as its keepers tell of them; of too many, those heard last."""

    _heard: dict[int, _Heard] = field(default_factory=dict)  # what was heard longest ago first

    def values(self) -> list[Value]:
        return [heard.value for heard in self._heard.values()]

    def came(self, told: Iterable[Value], teller: bytes, *, now: float) -> list[Value]:
        """Those of the values that are news."""
        news = []
        for value in told:
            expires_at = now + policy.life_s(value.type)
            heard = self._heard.get(value.id)
            if heard is None:
                if is_credible(value):
                    self._heard[value.id] = _Heard(value, expires_at, {teller})
                    news.append(value)
                continue
            heard.tellers.add(teller)
            self._lives_until(heard, expires_at)
            if not values.same(heard.value, value) and policy.may_replace(heard.value, value):
                heard.value = value
                news.append(value)
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
            heard.tellers.discard(teller)
            if not heard.tellers:
                gone.append(self._heard.pop(id).value)
        return gone

    def expire(self, *, now: float) -> list[Value]:
        """The values whose time is over, and which nobody refreshed."""
        over = [id for id, heard in self._heard.items() if heard.expires_at <= now]
        return [self._heard.pop(id).value for id in over]

    def trim(self) -> list[Value]:
        """The values that there are too many of."""
        over = list(self._heard)[: max(0, len(self._heard) - MOST_VALUES)]
        return [self._heard.pop(id).value for id in over]

    def _lives_until(self, heard: _Heard, when: float) -> None:
        heard.expires_at = when
        self._heard[heard.value.id] = self._heard.pop(heard.value.id)


def is_credible(value: Value) -> bool:
    """Whether a value may be shown to somebody: what is signed, is signed by its owner."""
    return not value.is_signed or values.is_genuine(value)
