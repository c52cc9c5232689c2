"""Tells those who listen what comes to and goes from the keys at which this node keeps values.

A listener is told one update at a time, and the next when it has confirmed that. An update is made
of what is there when it is sent, so what waits takes no memory but for ids. So much is sent in a
time, and to one address after the other: a put for which many listen, or somebody who listens at
many keys, holds up nobody else. A listener that does not confirm is forgotten: when it asks again
it is told of everything, also of what it missed.
"""

from collections import deque
from functools import partial

from lanjami.dhtnode import messages as m
from lanjami.dhtnode.answers import Answers, Change
from lanjami.dhtnode.listeners import Listener
from lanjami.dhtnode.nodes import Nodes
from lanjami.dhtnode.requests import Answer, Request, Requests
from lanjami.dhtnode.value import Value

UPDATE_BYTES = 56 * 1024  # of values in one update: MAX_MESSAGE_VALUE_SIZE
TURN_BYTES = 256 * 1024  # that are sent in TURN_S: 13 MB/s, a tenth of what we could
TURN_S = 0.02
MOST_IDS = 1024  # that a listener is still to be told of; one with more does not keep up
_HEAD_BYTES = 1024  # what an update costs beside its values, in bytes of them


class Updates:
    """Who is to be told something, and who has not confirmed yet."""

    def __init__(self, *, answers: Answers, nodes: Nodes, requests: Requests) -> None:
        self._storage = answers.storage
        self._listeners = answers.listeners
        self._tokens = answers.tokens
        self._nodes = nodes
        self._requests = requests
        self._waiting: dict[bytes, deque[Listener]] = {}  # by address, in turn
        self._left = TURN_BYTES
        self._turn_at = float("-inf")

    @property
    def wake_at(self) -> float:
        return self._turn_at if self._waiting else float("inf")

    def tell(self, listener: Listener) -> None:
        """Tell a listener what it was not told yet; `on_timer` sends it."""
        if not listener.is_busy:
            listener.is_busy = True
            self._waiting.setdefault(listener.endpoint.ip, deque()).append(listener)

    def on_change(self, change: Change, *, now: float) -> int:
        """Tell everybody who listens at a key what has changed there; returns how many do."""
        listeners = self._listeners.at(change.key, now=now)
        for listener in listeners:
            listener.refreshed += change.refreshed
            listener.went += [value.id for value in change.went if listener.query.takes(value)]
            if len(listener.refreshed) + len(listener.went) > MOST_IDS:
                self._listeners.remove(listener)
            else:
                self.tell(listener)
        return len(listeners)

    def on_timer(self, *, now: float) -> None:
        if now >= self._turn_at:
            self._left, self._turn_at = TURN_BYTES, now + TURN_S
        while self._waiting and self._left > 0:
            listener = self._pop()
            listener.is_busy = False
            update = self._next(listener) if listener in self._listeners else None
            if update is not None:
                self._left -= _HEAD_BYTES + sum([len(value.packed) for value in update.values])
                self._send(update, listener, now)

    def _pop(self) -> Listener:
        ip = next(iter(self._waiting))
        lane = self._waiting.pop(ip)
        listener = lane.popleft()
        if lane:
            self._waiting[ip] = lane
        return listener

    def _send(self, update: m.Update, listener: Listener, now: float) -> None:
        listener.is_busy = True
        node = self._nodes.speaking(listener.node_id, listener.endpoint, now=now)
        request = Request(update, listener.endpoint, node)
        request.on_reply = partial(self._on_confirmed, listener)
        request.on_error = lambda error, now: self._listeners.remove(listener)
        request.on_lost = lambda now: self._listeners.remove(listener)
        self._requests.send(request, now=now)

    def _on_confirmed(self, listener: Listener, answer: Answer) -> None:
        listener.is_busy = False
        self.tell(listener)

    def _next(self, listener: Listener) -> m.Update | None:
        """What a listener is told now: values that came, or else the ids of the others."""
        values: list[Value] = []
        size = 0
        for stored in self._storage.since(listener.key, listener.told):
            if listener.query.takes(stored.value):
                size += len(stored.value.packed)
                if values and size > UPDATE_BYTES:
                    break
                values.append(stored.value)
            listener.told = stored.moment
        if values:
            return self._update(listener, values=tuple(values))
        is_there = partial(self._storage.find, listener.key)
        refreshed = tuple(filter(is_there, dict.fromkeys(listener.refreshed)))
        went = tuple(id for id in dict.fromkeys(listener.went) if not is_there(id))
        listener.refreshed, listener.went = [], []
        if refreshed or went:
            return self._update(listener, refreshed=refreshed, expired=went)
        return None

    def _update(
        self,
        listener: Listener,
        *,
        values: tuple[Value, ...] = (),
        refreshed: tuple[int, ...] = (),
        expired: tuple[int, ...] = (),
    ) -> m.Update:
        return m.Update(
            socket=listener.socket,
            key=listener.key,
            token=self._tokens.make(listener.endpoint),
            values=values,
            refreshed=refreshed,
            expired=expired,
        )
