"""Bounded work under a flood: how much is done for each source and in all."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Bucket:
    """A token bucket: `burst` at once, `rate_per_s` in the long run."""

    rate_per_s: float
    burst: float
    _tokens: float = field(init=False)
    _at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._tokens = self.burst

    def has_one(self, *, now: float) -> bool:
        """Whether one more would be allowed at `now` (seconds of a monotonic clock)."""
        self._tokens = min(self.burst, self._tokens + max(0.0, now - self._at) * self.rate_per_s)
        self._at = now
        return self._tokens >= 1.0

    def take(self, *, now: float) -> bool:
        """Whether one more is allowed at `now`, which counts it."""
        if not self.has_one(now=now):
            return False
        self._tokens -= 1.0
        return True


@dataclass(slots=True)
class Limits:
    """A bucket for each source, and one for all together.

    `sources` bounds the memory: the longest unheard source is forgotten first. The defaults are
    for datagrams of discovery: a stock client asks once when it starts, so 10 a second from one
    address is plenty also where several clients share it; 3,000 a second in all cost less than
    half of a Raspberry Pi's core.
    """

    source_per_s: float = 10.0
    source_burst: float = 20.0
    total_per_s: float = 3000.0
    total_burst: float = 3000.0
    sources: int = 4096
    _by_source: OrderedDict[Hashable, Bucket] = field(default_factory=OrderedDict, init=False)
    _total: Bucket = field(init=False)

    def __post_init__(self) -> None:
        self._total = Bucket(self.total_per_s, self.total_burst)

    def is_spent(self, source: Hashable, *, now: float) -> bool:
        """Whether one more from `source` would be refused, without counting it."""
        bucket = self._by_source.get(source)
        return bucket is not None and not bucket.has_one(now=now)

    def refuse(self, source: Hashable, *, now: float) -> str | None:
        """None where one more from `source` is allowed, else which limit it is over."""
        bucket = self._by_source.get(source)
        if bucket is None:
            bucket = Bucket(self.source_per_s, self.source_burst)
            self._by_source[source] = bucket
            if len(self._by_source) > self.sources:
                self._by_source.popitem(last=False)
        else:
            self._by_source.move_to_end(source)
        if not bucket.take(now=now):
            return "source limit"
        return None if self._total.take(now=now) else "total limit"

    def forgive(self, source: Hashable) -> None:
        """Forget what was counted for a source."""
        self._by_source.pop(source, None)
