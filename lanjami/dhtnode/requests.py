"""Our queries to other nodes, sent again until they are answered or given up."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from lanjami.dhtnode import messages as m
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.nodes import Node
from lanjami.dhtnode.packing import pack
from lanjami.dhtnode.routing import Dice

# Three attempts, as OpenDHT's Request::MAX_ATTEMPT_COUNT; it waits 1, 2 and 4 s and some more
# (NetworkEngine::requestStep), for networks that are slower than a LAN.
WAITS_S = (0.5, 1.0, 1.5)
MOST = 16 * 1024  # at a time; those beyond are sent once


class Datagram(NamedTuple):
    """Bytes to be sent."""

    data: bytes
    to: Endpoint


class Answer(NamedTuple):
    """A reply: who gave it, what it says, the nodes that it names, and when it came."""

    node: Node
    reply: m.Reply
    told: Sequence[Node]
    now: float


def _nothing(*_: object) -> None:
    pass


@dataclass(slots=True, eq=False)
class Request:
    """A query on its way. `node` is None where only an address is known.

    `on_late` is called when the first attempt was not answered in time, `on_lost` when none was.
    """

    message: m.Asked
    to: Endpoint
    node: Node | None
    on_reply: Callable[[Answer], None] = _nothing
    on_error: Callable[[m.Error, float], None] = _nothing
    on_late: Callable[[float], None] = _nothing
    on_lost: Callable[[float], None] = _nothing
    datagrams: Sequence[bytes] = ()
    attempts: int = 0
    is_over: bool = False


class Requests:
    """The queries on their way, by transaction."""

    def __init__(self, own_id: bytes, *, network: int, dice: Dice) -> None:
        self._own_id = own_id
        self._network = network
        self._dice = dice
        self._outgoing: list[Datagram] = []
        self._by_transaction: dict[int, Request] = {}
        self._timers: list[tuple[float, int, Request]] = []
        self._counter = 0
        self.sent = 0

    def __len__(self) -> int:
        return len(self._by_transaction)

    @property
    def wake_at(self) -> float:
        return self._timers[0][0] if self._timers else float("inf")

    def take(self) -> list[Datagram]:
        """What is to be sent, once."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def reply(self, message: m.Message, to: Endpoint) -> None:
        """Send what needs no answer."""
        self._outgoing += [Datagram(data, to) for data in pack(message)]

    def ask(self, node: Node, message: m.Asked, *, now: float) -> Request:
        """A request to a node that is sent at once."""
        request = Request(message, node.endpoint, node)
        self.send(request, now=now)
        return request

    def send(self, request: Request, *, now: float) -> None:
        """Send a request, whose message gets its transaction and our name."""
        transaction = self._dice.getrandbits(32)
        while transaction in self._by_transaction or transaction == 0:
            transaction = self._dice.getrandbits(32)
        request.message = msgspec.structs.replace(
            request.message,
            transaction=transaction,
            node_id=self._own_id,
            network=self._network,
        )
        request.datagrams = pack(request.message)
        self.sent += 1
        if len(self._by_transaction) >= MOST:
            request.is_over = True
            self._outgoing += [Datagram(data, request.to) for data in request.datagrams]
            return
        self._by_transaction[transaction] = request
        if request.node is not None:
            request.node.pending += 1
        self._attempt(request, now)

    def awaited(self, transaction: int, source: Endpoint, node_id: bytes) -> Request | None:
        """The request that a message from `source` answers. Only whoever was asked answers."""
        request = self._by_transaction.get(transaction)
        if request is None or request.to[:2] != source[:2]:
            return None
        if request.node is not None and request.node.node_id != node_id:
            return None
        return request

    def finish(self, request: Request) -> None:
        """It was answered, or nobody wants the answer any more."""
        if not request.is_over:
            request.is_over = True
            del self._by_transaction[request.message.transaction]
            if request.node is not None:
                request.node.pending -= 1

    def on_timer(self, *, now: float) -> None:
        """Send again what was not answered in time, and give up what never is. A node that
        lost a query is expired, with all that it was asked."""
        while self._timers and self._timers[0][0] <= now:
            _, _, request = heapq.heappop(self._timers)
            if request.is_over:
                continue
            if request.attempts >= len(WAITS_S):
                self.finish(request)
                if request.node is not None:
                    request.node.is_expired = True
                request.on_lost(now)
                continue
            if request.attempts == 1:
                request.on_late(now)
            if not request.is_over:
                self._attempt(request, now)

    def _attempt(self, request: Request, now: float) -> None:
        due = now + WAITS_S[request.attempts] * (1 + self._dice.random() / 8)
        request.attempts += 1
        self._counter += 1
        heapq.heappush(self._timers, (due, self._counter, request))
        self._outgoing += [Datagram(data, request.to) for data in request.datagrams]
