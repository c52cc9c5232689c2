"""The answers that take their time, listens and gets, thousands of them, looked after all at once.

A stream has no timer of its own. One sweep over all of them finds those whose client is gone or
does not take what it is told, and wakes their handlers.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lanjami.dhtnode.events import Done, Event
from lanjami.errors import RequestError

MOST = 16 * 1024
MOST_OF_ONE = 4096  # of one address, behind which there may be many clients
MOST_UNTOLD = 1024  # events that wait for a client that is slow
MOST_UNTOLD_BYTES = 64 * 1024 * 1024  # of their values, in all
MOST_UNWRITTEN = 32 * 1024 * 1024  # bytes that clients do not take, in all
WRITE_WITHIN_S = 60.0  # DhtProxyServer::addServerSettings, write_http_response_timelimit


class Waiting(asyncio.Queue[Event]):
    """Events that somebody is to be told; `size` is the bytes of their values, each counted for
    everybody who waits for it."""

    size = 0

    def _put(self, item: Event) -> None:
        super()._put(item)
        self.size += _size(item)

    def _get(self) -> Event:
        event = super()._get()
        self.size -= _size(event)
        return event


def _size(event: Event) -> int:
    return 0 if isinstance(event, Done) else sum([len(value.packed) for value in event.values])


@dataclass(slots=True, eq=False)
class Stream:
    """A client that waits for values: `events` has what it is to be told, and a `Done` for the
    end. `writing_since` is when we began to write what it has not taken."""

    transport: asyncio.Transport
    events: Waiting
    writing_since: float = float("inf")


class Streams:
    """The streams that are open. Times are the loop's."""

    def __init__(
        self, *, most_unwritten: int = MOST_UNWRITTEN, most_untold: int = MOST_UNTOLD_BYTES
    ) -> None:
        self._most_unwritten = most_unwritten
        self._most_untold = most_untold
        self._open: set[Stream] = set()
        self._number_of: Counter[bytes] = Counter()
        self._writing: dict[Stream, int] = {}  # bytes, those first that take longest
        self._unwritten = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def sources(self) -> int:
        """From how many addresses they come."""
        return len(self._number_of)

    @property
    def number_of(self) -> dict[bytes, int]:
        """How many come from each address."""
        return dict(self._number_of)

    @contextmanager
    def opened(
        self, transport: asyncio.Transport, events: Waiting, *, source: bytes
    ) -> Iterator[Stream]:
        """Raises RequestError where there are too many, in all or from one source."""
        if len(self._open) >= MOST or self._number_of[source] >= MOST_OF_ONE:
            raise RequestError(503, "too many wait for values already")
        transport.set_write_buffer_limits(0)  # what is drained holds no memory
        stream = Stream(transport, events)
        self._open.add(stream)
        self._number_of[source] += 1
        try:
            yield stream
        finally:
            self._open.discard(stream)
            self._number_of[source] -= 1
            if not self._number_of[source]:
                del self._number_of[source]

    @contextmanager
    def writing(self, stream: Stream, size: int, *, now: float) -> Iterator[None]:
        """While `size` bytes are written, and drained. Where all clients together take too
        little, who has not taken anything for longest is cut off."""
        stream.writing_since = now
        self._writing[stream] = size
        self._unwritten += size
        while self._unwritten > self._most_unwritten:
            slowest = next(iter(self._writing))
            self._written(slowest)
            slowest.transport.abort()
        try:
            yield
        finally:
            stream.writing_since = float("inf")
            self._written(stream)

    def sweep(self, *, now: float) -> None:
        """End what nobody listens to, and what too much waits for."""
        self._bound_untold()
        for stream in self._open:
            if now - stream.writing_since > WRITE_WITHIN_S or stream.events.qsize() > MOST_UNTOLD:
                stream.transport.abort()
            if stream.transport.is_closing() and stream.events.empty():
                stream.events.put_nowait(Done(0, ok=False))

    def _bound_untold(self) -> None:
        """A host that listens, does not read, and tells as a node of the DHT what to write, would
        have all of it wait here."""
        over = sum(stream.events.size for stream in self._open) - self._most_untold
        if over > 0:
            for stream in sorted(self._open, key=lambda one: one.events.size, reverse=True):
                stream.transport.abort()
                over -= stream.events.size
                if over <= 0:
                    return

    def end(self) -> None:
        """End them all."""
        for stream in self._open:
            stream.events.put_nowait(Done(0, ok=False))

    def _written(self, stream: Stream) -> None:
        self._unwritten -= self._writing.pop(stream, 0)
