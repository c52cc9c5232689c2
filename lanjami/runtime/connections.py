"""Who is connected: how many may be, how long each may keep us waiting, and who goes first."""

import contextlib
import itertools
import resource
from collections import OrderedDict
from typing import Protocol

MOST_DESCRIPTORS = 16384  # one a connection, with 1 kB of memory, or 6 where aiohttp has it
KEPT_BACK = 256  # descriptors for all that is no connection: databases, files, children, datagrams


class Connection(Protocol):
    def cut(self) -> None:
        """End it at once, without another word."""


class Connections:
    """At most `most` connections. One that waits, for the client to ask or to take its answer, may
    do so for `patience_s`; one whose request is being answered may stay.

    A connection that is cut has left; all but `enter` leave alone who is not here.
    """

    def __init__(self, *, most: int, patience_s: float) -> None:
        self._most = most
        self._patience_s = patience_s
        # Until when; the patience is the same for all, so the first has waited longest.
        self._waiting: OrderedDict[Connection, float] = OrderedDict()
        self._answered: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._answered)

    def enter(self, connection: Connection, *, now: float) -> None:
        self._waiting[connection] = now + self._patience_s

    def waits(self, connection: Connection, *, now: float) -> None:
        """From now on it waits anew."""
        if connection in self._answered:
            self._answered.discard(connection)
        elif connection in self._waiting:
            self._waiting.move_to_end(connection)
        else:
            return
        self._waiting[connection] = now + self._patience_s

    def is_answered(self, connection: Connection) -> None:
        """Its request is complete and being answered."""
        if self._waiting.pop(connection, None) is not None:
            self._answered.add(connection)

    def leave(self, connection: Connection) -> None:
        self._waiting.pop(connection, None)
        self._answered.discard(connection)

    def has_room(self) -> bool:
        """Whether one more may come; where there is no place, who waits longest makes it, so that
        silent connections, however many, keep nobody out."""
        return len(self) < self._most or self.cut_longest_waiting(1) > 0

    def cut_longest_waiting(self, most: int) -> int:
        """Cut up to `most` connections; says how many."""
        count = min(most, len(self._waiting))
        for _ in range(count):
            connection, _ = self._waiting.popitem(last=False)
            connection.cut()
        return count

    def cut_late(self, most: int, *, now: float) -> None:
        """Cut up to `most` connections that have waited longer than the patience."""
        late = itertools.takewhile(lambda until: until < now, self._waiting.values())
        self.cut_longest_waiting(sum(1 for _ in itertools.islice(late, most)))

    def cut_waiting(self) -> None:
        self.cut_longest_waiting(len(self._waiting))

    def cut_all(self) -> None:
        self.cut_waiting()
        while self._answered:
            self._answered.pop().cut()


def places() -> int:
    """How many connections this process can have. Asks for more descriptors, as far as the system
    lets it; children inherit them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(MOST_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # macOS has limits of its own beyond the hard one
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    granted = MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else min(MOST_DESCRIPTORS, soft)
    return granted - min(KEPT_BACK, granted // 2)
