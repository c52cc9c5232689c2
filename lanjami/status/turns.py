"""Whose turn it is to measure the line: one at a time, each for a bounded time and bytes."""

from collections import Counter, OrderedDict
from dataclasses import dataclass

from lanjami.errors import RequestError
from lanjami.status.quality import GRACE_S, SLOW_STREAM_S, STREAM_BYTES

TURN_S = 50.0  # a measurement takes half of it, also over a slow line
SILENCE_S = SLOW_STREAM_S + GRACE_S + 3.0  # after which who waits or measures is taken to be gone
MOST = 32  # who waits, and who measures
MOST_OF_ONE = 4  # of one address, behind which there may be several
REQUESTS = 8000  # of one turn; an upload in the smallest pieces is half of them


@dataclass(slots=True)
class _Turn:
    source: str
    heard_at: float
    began_at: float = float("inf")
    size: int = 2 * STREAM_BYTES
    requests: int = REQUESTS


class Turns:
    """A queue of tickets, the first of which measures. Times in seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._queue: OrderedDict[str, _Turn] = OrderedDict()
        self._number_of: Counter[str] = Counter()

    def __contains__(self, ticket: str) -> bool:
        return ticket in self._queue

    def ask(self, ticket: str, *, source: str, now: float) -> int:
        """Stand in the queue, or stay there: how many are in front, 0 for who may measure.

        To be asked again within `SILENCE_S`. Raises RequestError where the queue is full.
        """
        self._expire(now)
        turn = self._queue.get(ticket)
        if turn is None:
            if len(self._queue) >= MOST or self._number_of[source] >= MOST_OF_ONE:
                raise RequestError(503, "too many wait already to measure the line")
            turn = self._queue[ticket] = _Turn(source, now)
            self._number_of[source] += 1
        turn.heard_at = now
        place = list(self._queue).index(ticket)
        if place == 0:
            turn.began_at = min(turn.began_at, now)
        return place

    def spend(self, ticket: str, size: int, *, now: float) -> None:
        """Count a request of a turn, and the bytes to be moved for it.

        Raises RequestError where it is not this ticket's turn, or its turn is used up.
        """
        self._expire(now)
        first = next(iter(self._queue.items()), None)
        if first is None or first[0] != ticket:
            raise RequestError(403, "it is not your turn to measure the line")
        turn = first[1]
        turn.heard_at = now
        turn.began_at = min(turn.began_at, now)
        turn.requests -= 1
        turn.size -= size
        if turn.requests < 0 or turn.size < 0:
            self.leave(ticket)
            raise RequestError(403, "this measurement of the line is over")

    def leave(self, ticket: str) -> None:
        """Give up the place, where there is one."""
        turn = self._queue.pop(ticket, None)
        if turn is not None:
            self._number_of[turn.source] -= 1
            if not self._number_of[turn.source]:
                del self._number_of[turn.source]

    def _expire(self, now: float) -> None:
        gone = [
            ticket
            for ticket, turn in self._queue.items()
            if now - turn.heard_at > SILENCE_S or now - turn.began_at > TURN_S
        ]
        for ticket in gone:
            self.leave(ticket)
