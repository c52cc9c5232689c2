"""Our queries to other nodes, sent again until they are answered or given up."""

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from lanjami.dhtnode import messages as m
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.nodes import NEVER, Node
from lanjami.dhtnode.packing import pack
from lanjami.dhtnode.routing import Dice

# Three attempts, as OpenDHT's Request::MAX_ATTEMPT_COUNT; it waits 1, 2 and 4 s and some more
# (NetworkEngine::requestStep), for networks that are slower than a LAN.
WAITS_S = (0.5, 1.0, 1.5)
MOST_BYTES = 32 * 1024 * 1024  # of memory for all that are on their way
MOST_TO_ONE = 1024 * 1024  # ... to one address: about a thousand, as it answers in a second
LATER_S = 1.0  # until those beyond that hear that they were not sent
_COST = 1024  # bytes of memory of a query beside its values, about
PACKET_BYTES = 1450  # of a datagram that a packet of Ethernet holds, by IPv6; a part is smaller


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


def packets(length: int) -> int:
    """How many packets of the network a datagram takes, about; an empty one takes one, too."""
    return 1 + length // PACKET_BYTES


def _nothing(*_: object) -> None:
    pass


class Request(msgspec.Struct, eq=False):
    """A query on its way. `node` is None where only an address is known.

    `on_late` is called when the first attempt was not answered in time, `on_lost` when none was,
    or where there were too many others on their way.
    """

    message: m.Asked
    to: Endpoint
    node: Node | None
    on_reply: Callable[[Answer], None] = _nothing
    on_error: Callable[[m.Error, float], None] = _nothing
    on_late: Callable[[float], None] = _nothing
    on_lost: Callable[[float], None] = _nothing
    sent_at: float = NEVER
    attempts: int = 0
    is_over: bool = False
    cost: int = _COST  # bytes of memory, its values' among them

    def __post_init__(self) -> None:
        if isinstance(self.message, m.Put | m.Update):
            self.cost += sum([len(value.packed) for value in self.message.values])


class Requests:
    """The queries on their way, by transaction."""

    def __init__(self, own_id: bytes, *, network: int, dice: Dice) -> None:
        self._own_id = own_id
        self._network = network
        self._dice = dice
        self._outgoing: list[Datagram] = []
        self._by_transaction: dict[int, Request] = {}
        self._by_address: Counter[bytes] = Counter()
        self._cost = 0
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

    def reply(self, message: m.Message, to: Endpoint) -> int:
        """Send what needs no answer; returns how many packets of the network that takes."""
        datagrams = [Datagram(data, to) for data in pack(message)]
        self._outgoing += datagrams
        return sum([packets(len(data)) for data, _ in datagrams])

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
        if not self._has_room(request):
            self._wake(request, now + LATER_S)
            return
        self.sent += 1
        request.sent_at = now
        self._count(request, 1)
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
        if request.is_over:
            return
        request.is_over = True
        if request.attempts:
            del self._by_transaction[request.message.transaction]
            self._count(request, -1)
            if request.node is not None:
                request.node.pending -= 1

    def on_timer(self, *, now: float) -> None:
        """Send again what was not answered in time, and give up what never is. A node that
        answered nothing meanwhile is expired, with all that it was asked; one that did has too
        much to do."""
        while self._timers and self._timers[0][0] <= now:
            _, _, request = heapq.heappop(self._timers)
            if request.is_over:
                continue
            if request.attempts in (0, len(WAITS_S)):
                self.finish(request)
                if request.node is not None and request.node.replied_at < request.sent_at:
                    request.node.is_expired = True
                request.on_lost(now)
                continue
            if request.attempts == 1:
                request.on_late(now)
            if not request.is_over:
                self._attempt(request, now)

    def _attempt(self, request: Request, now: float) -> None:
        self._wake(request, now + WAITS_S[request.attempts] * (1 + self._dice.random() / 8))
        request.attempts += 1
        self.reply(request.message, request.to)

    def _wake(self, request: Request, when: float) -> None:
        self._counter += 1
        heapq.heappush(self._timers, (when, self._counter, request))

    def _has_room(self, request: Request) -> bool:
        """Whether a request has room. One that is larger than all that may go to one address
        goes alone."""
        there = self._by_address[request.to.ip]
        return self._cost + request.cost <= MOST_BYTES and (
            there + request.cost <= MOST_TO_ONE or not there
        )

    def _count(self, request: Request, sign: int) -> None:
        cost = sign * request.cost
        self._cost += cost
        self._by_address[request.to.ip] += cost
        if not self._by_address[request.to.ip]:
            del self._by_address[request.to.ip]
