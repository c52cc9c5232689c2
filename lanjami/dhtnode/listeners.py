"""Who asked to be told what comes to and goes from a key."""

from collections import Counter
from dataclasses import dataclass, field

from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.nodes import SILENT_S
from lanjami.dhtnode.query import Query

LIFE_S = SILENT_S  # a listener that does not ask again: Storage::expire
TOTAL = 64 * 1024  # some 63 MB
PER_SOURCE = TOTAL // 8
PER_KEY = 4096
PER_KEY_AND_SOURCE = 64  # a put is told to as many addresses as listen, not to one as often


@dataclass(slots=True, eq=False)
class Listener:
    """A node that listens at a key with a number of its own choice.

    It has been told of what came until the storage's moment `told`, and is still to be told of
    the ids that were `refreshed` and that `went`. `is_busy`: it is about to be told something, or
    has not confirmed it yet.
    """

    key: bytes
    node_id: bytes
    endpoint: Endpoint
    socket: int
    query: Query
    refreshed_at: float
    told: int = 0
    refreshed: list[int] = field(default_factory=list)
    went: list[int] = field(default_factory=list)
    is_busy: bool = False


_Who = tuple[Endpoint, int]


class Listeners:
    """The listeners by key."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, dict[_Who, Listener]] = {}
        self._by_source: Counter[bytes] = Counter()
        self._by_place: Counter[tuple[bytes, bytes]] = Counter()  # a key and a source
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, listener: Listener) -> bool:
        return self._by_key.get(listener.key, {}).get(_who(listener)) is listener

    def add(self, listener: Listener) -> Listener | None:
        """The listener, or the one that is there with its number and lives on; None where there
        are too many."""
        known = self._by_key.get(listener.key, {}).get(_who(listener))
        if known is not None:
            known.node_id, known.query = listener.node_id, listener.query
            known.refreshed_at = listener.refreshed_at
            return known
        if self._is_full(listener):
            return None
        self._by_key.setdefault(listener.key, {})[_who(listener)] = listener
        self._by_source[listener.endpoint.ip] += 1
        self._by_place[listener.key, listener.endpoint.ip] += 1
        self._count += 1
        return listener

    def remove(self, listener: Listener) -> None:
        if listener not in self:
            return
        ip = listener.endpoint.ip
        del self._by_key[listener.key][_who(listener)]
        if not self._by_key[listener.key]:
            del self._by_key[listener.key]
        self._by_source[ip] -= 1
        if not self._by_source[ip]:
            del self._by_source[ip]
        self._by_place[listener.key, ip] -= 1
        if not self._by_place[listener.key, ip]:
            del self._by_place[listener.key, ip]
        self._count -= 1

    def at(self, key: bytes, *, now: float) -> list[Listener]:
        there = self._by_key.get(key, {}).values()
        return [listener for listener in there if now < listener.refreshed_at + LIFE_S]

    def expire(self, *, now: float) -> None:
        """Forget those that did not ask again."""
        for there in list(self._by_key.values()):
            for listener in list(there.values()):
                if now >= listener.refreshed_at + LIFE_S:
                    self.remove(listener)

    def _is_full(self, listener: Listener) -> bool:
        ip = listener.endpoint.ip
        return (
            self._count >= TOTAL
            or self._by_source[ip] >= PER_SOURCE
            or len(self._by_key.get(listener.key, ())) >= PER_KEY
            or self._by_place[listener.key, ip] >= PER_KEY_AND_SOURCE
        )


def _who(listener: Listener) -> _Who:
    return listener.endpoint, listener.socket
