"""How much is done for each source and in all.

The numbers are OpenDHT's (8,192 queries a second, an eighth of them from one address). Unlike
there, what a query brings with it and what it causes counts as well: a value as much as a query,
a signature as five (a tenth of a millisecond with Jami's keys), a packet of the answer as one,
64 values that are looked at and 32 listeners that are told as one. So a source, which may be
forged, is sent 1.5 MB/s at most. What a source sends beyond its limit is dropped before it is
parsed or, where that takes a look at it, before its values are; where many together use up the
total, those that ask little are still served.
"""

from collections import OrderedDict

TOTAL_PER_S = 8 * 1024.0  # MAX_REQUESTS_PER_SEC, src/dht.cpp
SOURCE_PER_S = TOTAL_PER_S / 8  # fromDhtConfig
DATAGRAMS_PER_S = 8 * 1024.0  # of one source, with the parts of values; a long one is several
VALUES_PER_S = 4 * 1024.0  # of one source in replies to us; a signature counts there, too
SIGNATURE = 5.0  # what checking one costs, in queries
LOOKED_AT = 1 / 64  # what looking at a value that is here costs: up to 0.2 of 43 µs
TOLD = 1 / 32  # what it costs that a listener is to be told
FORGET_S = 2.0  # after which a silent source has its whole quota again, also with debts
MOST_SOURCES = 16 * 1024
MODEST_PER_S = 64.0  # up to which a source is served from the reserve
GREEDY_S = 2.0  # for so long a source is not modest after it asked for more
RESERVE_PER_S = SOURCE_PER_S


class Quota:
    """`rate` a second, and as much at once; debts are of a second at most."""

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = self._left = rate
        self._at = now

    def take(self, now: float) -> bool:
        if now > self._at:
            self._left = min(self._rate, self._left + (now - self._at) * self._rate)
            self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def charge(self, cost: float) -> float:
        """Take what turned out to be needed; returns how much of it counts."""
        taken = min(cost, self._left + self._rate)
        self._left -= taken
        return taken


class _Source:
    __slots__ = ("at", "datagrams", "greedy_until", "modest", "queries", "values")

    def __init__(self, now: float) -> None:
        self.at = now
        self.datagrams = Quota(DATAGRAMS_PER_S, now)
        self.queries = Quota(SOURCE_PER_S, now)
        self.values = Quota(VALUES_PER_S, now)
        self.modest = Quota(MODEST_PER_S, now)
        self.greedy_until = now


class Admission:
    """The limits of a node. A source is an address; ports are free."""

    def __init__(self, *, now: float) -> None:
        self._sources: OrderedDict[bytes, _Source] = OrderedDict()  # longest silent first
        self._total = Quota(TOTAL_PER_S, now)
        self._reserve = Quota(RESERVE_PER_S, now)

    def refuse_datagram(self, ip: bytes, *, packets: int = 1, now: float) -> str | None:
        """None where a datagram of so many packets may be parsed, else which limit it is over."""
        source = self._sources.get(ip)
        if source is None:
            source = self._sources[ip] = _Source(now)
            self._forget(now)
        else:
            self._sources.move_to_end(ip)
        source.at = now
        if not source.datagrams.take(now):
            return "source limit"
        if packets > 1:
            source.datagrams.charge(packets - 1)
        return None

    def refuse_query(self, ip: bytes, *, now: float) -> str | None:
        """None where the query in an admitted datagram is served, else the limit it is over."""
        source = self._sources[ip]
        if not source.modest.take(now):
            source.greedy_until = now + GREEDY_S
        if not source.queries.take(now):
            return "source limit"
        if self._total.take(now):
            return None
        if now >= source.greedy_until and self._reserve.take(now):
            return None
        return "total limit"

    def refuse_values(self, ip: bytes, *, now: float) -> str | None:
        """None where the values in a reply are looked at, else the limit they are over."""
        return None if self._sources[ip].values.take(now) else "source limit"

    def charge_values(self, ip: bytes, cost: float) -> None:
        """Looking at the values in a reply took `cost` values' worth of work more than one."""
        self._sources[ip].values.charge(cost)

    def charge(self, ip: bytes, cost: float) -> None:
        """A query that was served took `cost` queries' worth of work more than one."""
        source = self._sources[ip]
        source.modest.charge(cost)
        counted = source.queries.charge(cost)
        # what is served from the reserve while the total is used up, is not for nothing
        self._reserve.charge(counted - self._total.charge(counted))

    def _forget(self, now: float) -> None:
        while self._sources:
            ip, source = next(iter(self._sources.items()))
            if len(self._sources) <= MOST_SOURCES and now - source.at < FORGET_S:
                return
            del self._sources[ip]
