"""Who asked to be told what comes to and goes from a key."""

from collections import Counter
from dataclasses import dataclass

from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.nodes import SILENT_S
from lanjami.dhtnode.query import Query

LIFE_S = SILENT_S  # a listener that does not ask again: Storage::expire
TOTAL = 64 * 1024  # some 40 MB
PER_SOURCE = TOTAL // 8
PER_KEY = 4096  # one put causes as many datagrams


@dataclass(slots=True)
class Listener:
    """A node that listens with a number of its own choice."""

    node_id: bytes
    endpoint: Endpoint
    socket: int
    query: Query
    refreshed_at: float


_Who = tuple[Endpoint, int]


class Listeners:
    """The listeners by key."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, dict[_Who, Listener]] = {}
        self._by_source: Counter[bytes] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, key: bytes, listener: Listener) -> bool | None:
        """Whether the listener is a new one; None where there are too many."""
        there = self._by_key.get(key, {})
        who = (listener.endpoint, listener.socket)
        if who in there:
            there[who] = listener
            return False
        ip = listener.endpoint.ip
        full = self._count >= TOTAL or self._by_source[ip] >= PER_SOURCE or len(there) >= PER_KEY
        if full:
            return None
        self._by_key.setdefault(key, there)[who] = listener
        self._by_source[ip] += 1
        self._count += 1
        return True

    def at(self, key: bytes, *, now: float) -> list[Listener]:
        there = self._by_key.get(key, {}).values()
        return [listener for listener in there if now < listener.refreshed_at + LIFE_S]

    def expire(self, *, now: float) -> None:
        """Forget those that did not ask again."""
        for key, there in list(self._by_key.items()):
            for who, listener in list(there.items()):
                if now >= listener.refreshed_at + LIFE_S:
                    del there[who]
                    self._count -= 1
                    self._by_source[who[0].ip] -= 1
                    if not self._by_source[who[0].ip]:
                        del self._by_source[who[0].ip]
            if not there:
                del self._by_key[key]
