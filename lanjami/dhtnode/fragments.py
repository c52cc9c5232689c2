"""Puts together messages whose values come in parts, which may overtake them and each other.

Bounded in time as OpenDHT bounds it (NetworkEngine::processMessage), and in memory, also by source.
Where there is too much, what began longest ago gives way: a message that somebody sends is whole in
milliseconds, however much is begun beside it. What we are waiting for may be much longer than what
comes unasked: a reply, and what a key is told of at which we listen, for up to 2.4.12 OpenDHT tells
a new listener all there is in one message (Dht::storageAddListener), and has no limit for that.
"""

from bisect import bisect_left, insort
from collections import Counter
from dataclasses import dataclass, field

import msgspec

from lanjami.dhtnode import value as values
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.messages import Bearing, Parts
from lanjami.dhtnode.value import Value
from lanjami.errors import WireError

WHOLE_S = 10.0  # RX_MAX_PACKET_TIME
BETWEEN_S = 3.0  # RX_TIMEOUT
UNASKED_BYTES = 56 * 1024 + values.LARGEST_PACKED  # RX_MAX_EARLY_BYTES
ASKED_BYTES = 4 * 1024 * 1024  # many large values
SOURCE_BYTES = 8 * 1024 * 1024
TOTAL_BYTES = 32 * 1024 * 1024
_SESSION_COST = 1024  # bytes of memory, about
_PART_COST = 128


@dataclass(slots=True)
class _Pieces:
    """The bytes of one value that are there, by offset."""

    size: int
    there: int = 0
    offsets: list[int] = field(default_factory=list)
    data: dict[int, bytes] = field(default_factory=dict)

    def add(self, offset: int, data: bytes) -> bool:
        """Whether they were missing; what overlaps is refused."""
        end = offset + len(data)
        at = bisect_left(self.offsets, offset)
        if end > self.size or (at < len(self.offsets) and self.offsets[at] < end):
            return False
        if at and self.offsets[at - 1] + len(self.data[self.offsets[at - 1]]) > offset:
            return False
        insort(self.offsets, offset)
        self.data[offset] = data
        self.there += len(data)
        return True

    def joined(self) -> bytes:
        return b"".join([self.data[offset] for offset in self.offsets])


@dataclass(slots=True)
class _Session:
    started_at: float
    last_at: float
    datagrams: int = 0
    limit: int = UNASKED_BYTES
    cost: int = 0
    message: Bearing | None = None
    values: dict[int, _Pieces] = field(default_factory=dict)
    early: list[Parts] = field(default_factory=list)


class Fragments:
    """The messages that are not whole yet, by source and transaction. `dropped` counts, by reason,
    the datagrams of those that never are, and values that are none."""

    def __init__(self, dropped: Counter[str] | None = None) -> None:
        self._sessions: dict[tuple[Endpoint, int], _Session] = {}
        self._by_source: Counter[bytes] = Counter()
        self._cost = 0
        self.dropped: Counter[str] = Counter() if dropped is None else dropped

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def datagrams(self) -> int:
        """How many are held."""
        return sum([session.datagrams for session in self._sessions.values()])

    @property
    def cost(self) -> int:
        """The memory held, in bytes, about."""
        return self._cost

    def on_message(
        self, source: Endpoint, message: Bearing, *, asked: bool, now: float
    ) -> Bearing | None:
        """The whole message, where its parts came before it. `asked`: we are waiting for it."""
        session = self._session(source, message.transaction, now)
        if session is None or session.message is not None:  # a message sent again
            return None
        session.limit = ASKED_BYTES if asked else UNASKED_BYTES
        if sum(message.missing.values()) > session.limit:
            self._forget(source, message.transaction, "too much in parts")
            return None
        session.message = message
        session.values = {index: _Pieces(size) for index, size in message.missing.items()}
        for parts in session.early:
            self._add(session, parts)
        session.early = []
        return self._whole(source, message.transaction, session)

    def on_parts(self, source: Endpoint, parts: Parts, *, now: float) -> Bearing | None:
        """The whole message, where these are the last of its parts."""
        session = self._session(source, parts.transaction, now)
        if session is None:
            return None
        cost = sum(_PART_COST + len(part.data) for part in parts.parts.values())
        # tiny parts cost more than they bring: three times what the values may be is enough
        if session.cost + cost > 3 * session.limit or not self._charge(source, session, cost):
            self._forget(source, parts.transaction, "too much in parts")
            return None
        session.last_at = now
        if session.message is None:
            session.early.append(parts)
            return None
        self._add(session, parts)
        return self._whole(source, parts.transaction, session)

    def expire(self, *, now: float) -> None:
        """Forget what did not become whole in time."""
        for key, session in list(self._sessions.items()):
            if now > session.started_at + WHOLE_S or now > session.last_at + BETWEEN_S:
                self._forget(*key, "never whole")

    def _session(self, source: Endpoint, transaction: int, now: float) -> _Session | None:
        session = self._sessions.get((source, transaction))
        if session is None:
            session = _Session(now, now)
            if not self._charge(source, session, _SESSION_COST):
                self.dropped["too much in parts"] += 1
                return None
            self._sessions[source, transaction] = session
        session.datagrams += 1
        return session

    def _charge(self, source: Endpoint, session: _Session, cost: int) -> bool:
        if self._by_source[source.ip] + cost > SOURCE_BYTES:
            return False
        while self._cost + cost > TOTAL_BYTES:
            oldest = next(key for key, one in self._sessions.items() if one is not session)
            self._forget(*oldest, "too much in parts")
        session.cost += cost
        self._cost += cost
        self._by_source[source.ip] += cost
        return True

    def _forget(self, source: Endpoint, transaction: int, reason: str = "") -> None:
        session = self._sessions.pop((source, transaction))
        if reason:
            self.dropped[reason] += session.datagrams
        self._cost -= session.cost
        self._by_source[source.ip] -= session.cost
        if self._by_source[source.ip] <= 0:
            del self._by_source[source.ip]

    def _add(self, session: _Session, parts: Parts) -> None:
        for index, part in parts.parts.items():
            pieces = session.values.get(index)
            if pieces is not None:
                pieces.add(part.offset, part.data)

    def _whole(self, source: Endpoint, transaction: int, session: _Session) -> Bearing | None:
        if any(pieces.there < pieces.size for pieces in session.values.values()):
            return None
        assert session.message is not None
        self._forget(source, transaction)
        found: list[Value] = list(session.message.values)
        for pieces in session.values.values():
            try:
                found.append(values.parse(pieces.joined()))
            except WireError:
                self.dropped["a value that is none"] += 1
        return msgspec.structs.replace(session.message, values=tuple(found), missing={})
