"""What comes in: who may speak, what is answered, and whom it makes us know.

A datagram is refused as early and as cheaply as it can be: by its address, by the limits of its
source, by its form, by its network.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from lanjami.dhtnode import messages as m
from lanjami.dhtnode import wire
from lanjami.dhtnode.admission import LOOKED_AT, SIGNATURE, TOLD, Admission
from lanjami.dhtnode.answers import Answers, Change
from lanjami.dhtnode.endpoint import Endpoint, Record, is_loopback, is_martian
from lanjami.dhtnode.fragments import Fragments
from lanjami.dhtnode.nodes import Node, Nodes
from lanjami.dhtnode.operations import Operations
from lanjami.dhtnode.query import EVERYTHING
from lanjami.dhtnode.requests import Answer, Request, Requests, packets
from lanjami.dhtnode.routing import RoutingTable
from lanjami.dhtnode.updates import Updates
from lanjami.dhtnode.upkeep import Upkeep
from lanjami.dhtnode.value import Value
from lanjami.errors import WireError

MOST_CHECKED = 512  # signatures, of what one message tells us: 50 ms with Jami's keys

B = TypeVar("B", m.Update, m.Reply)


class Inbox:
    """Takes datagrams, and has the others do what follows; what is to be sent is in `requests`.

    `asked` counts the queries that were served, `dropped` the datagrams that were not, by
    reason.
    """

    def __init__(
        self,
        own_id: bytes,
        *,
        network: int,
        is_local: Callable[[Endpoint], bool],
        tables: Mapping[int, RoutingTable],
        nodes: Nodes,
        requests: Requests,
        answers: Answers,
        operations: Operations,
        upkeep: Upkeep,
        updates: Updates,
        dropped: Counter[str],
        now: float,
    ) -> None:
        self._own_id = own_id
        self._network = network
        self._is_local = is_local
        self._tables = tables
        self._nodes = nodes
        self._requests = requests
        self._answers = answers
        self._operations = operations
        self._upkeep = upkeep
        self._updates = updates
        self._admission = Admission(now=now)
        self.fragments = Fragments(dropped)
        self.connected: set[int] = set()  # the versions in which we have met somebody
        self.asked: Counter[str] = Counter()
        self.dropped = dropped

    def on_datagram(self, data: bytes, source: Endpoint, *, now: float) -> None:
        """Answer a datagram, and do what follows from it."""
        refusal = self._refuse(data, source, now)
        if refusal is not None:
            self.dropped[refusal] += 1
            return
        try:
            envelope = wire.envelope(data)
            refusal = self._refuse_to_read(envelope, source, now)
            if refusal is not None:
                self.dropped[refusal] += 1
                return
            message = wire.read(envelope)
        except WireError:
            self.dropped["malformed"] += 1
            return
        self._on_message(message, source, now)

    def _refuse(self, data: bytes, source: Endpoint, now: float) -> str | None:
        if source.version not in self._tables or is_martian(source):
            return "impossible address"
        if not self._is_local(source):
            return "not local"
        return self._admission.refuse_datagram(source.ip, packets=packets(len(data)), now=now)

    def _refuse_to_read(self, envelope: wire.Envelope, source: Endpoint, now: float) -> str | None:
        """Looking at the values in a message takes longer than all else that is done with it."""
        if envelope.network != self._network:
            return "of another network"
        match envelope.kind:
            case wire.Kind.QUERY:
                return self._admission.refuse_query(source.ip, now=now)
            case wire.Kind.REPLY if self._awaited(envelope, source) is None:
                return "not asked for"
        return None

    def _on_message(self, message: m.Message, source: Endpoint, now: float) -> None:
        match message:
            case m.Parts():
                whole = self.fragments.on_parts(source, message, now=now)
                if whole is not None:
                    self._on_whole(whole, source, now)
            case m.Asked():
                is_told = isinstance(message, m.Update) and self._operations.hears(message)
                self._on_bearing(message, source, now, asked=is_told)
            case m.Reply():
                self._on_bearing(message, source, now, asked=True)
            case m.Error():
                self._on_error(message, source, now)

    def _on_bearing(self, message: m.Spoken, source: Endpoint, now: float, *, asked: bool) -> None:
        if message.node_id == self._own_id:
            self.dropped["from ourselves"] += 1
            return
        whole: m.Spoken | None = message
        if isinstance(message, m.Put | m.Update | m.Reply) and message.missing:
            whole = self.fragments.on_message(source, message, asked=asked, now=now)
        if whole is not None:
            self._on_whole(whole, source, now)

    def _on_whole(self, message: m.Spoken, source: Endpoint, now: float) -> None:
        if isinstance(message, m.Reply):
            request = self._awaited(message, source)
            if request is None:  # it took too long to be whole
                self.dropped["not asked for"] += 1
            elif message.values and (refusal := self._admission.refuse_values(source.ip, now=now)):
                self.dropped[refusal] += 1  # it is asked again
            else:
                checked = self._checked(message)
                self._on_reply(checked, request, source, now)
                self._admission.charge_values(source.ip, max(0.0, _work(checked.values) - 1))
            return
        node = self._nodes.speaking(message.node_id, source, now=now)
        node.heard(now)
        replies, work = self._on_query(message, source, now)
        if not replies:
            self.dropped["without values"] += 1
        # before the replies: who listens is waiting, and from the reply on, OpenDHT's new
        # listener takes what it heard for all
        self._updates.on_timer(now=now)
        sent = sum([self._requests.reply(reply, source) for reply in replies])
        if work + sent > 1:
            self._admission.charge(source.ip, work + sent - 1)
        if not message.is_client:
            self._meet(node, replied=False, now=now)

    def _checked(self, message: B) -> B:
        """A message without the signed values that are too many to be checked at once."""
        signed = [value for value in message.values if value.is_signed]
        over = set(map(id, signed[MOST_CHECKED:]))
        if not over:
            return message
        self.dropped["too many signatures"] += len(over)
        rest = tuple([value for value in message.values if id(value) not in over])
        return msgspec.structs.replace(message, values=rest)

    def _on_query(
        self, message: m.Spoken, source: Endpoint, now: float
    ) -> tuple[Sequence[m.Reply | m.Error], float]:
        """Do what is asked; returns what to say, and the work that it was, in queries."""
        answers = self._answers
        replies: list[m.Reply | m.Error] = []
        work = 0.0
        self.asked[type(message).__name__.lower()] += 1
        match message:
            case m.Ping():
                replies = [answers.ping(message, source)]
            case m.Find():
                replies = [answers.find(message, source, now=now)]
            case m.Get():
                replies = [answers.get(message, source, now=now)]
                work = LOOKED_AT * answers.storage.looked_at(message.key, message.query)
            case m.Put():
                replies, changes = answers.put(message, source, now=now)
                work = _work(message.values) + TOLD * self.tell(changes, now)
            case m.Refresh():
                said, changes = answers.refresh(message, source, now=now)
                replies, work = [said], TOLD * self.tell(changes, now)
            case m.Listen():
                said, listener = answers.listen(message, source, now=now)
                if listener is not None:
                    self._updates.tell(listener)
                    if not listener.told:  # it will be told what is here
                        work = LOOKED_AT * answers.storage.looked_at(message.key, EVERYTHING)
                replies = [said]
            case m.Update():
                told = self._checked(message)
                self._operations.on_update(told, address=source.ip, now=now)
                replies = [answers.confirm(message, source)]
                ids = len(message.refreshed) + len(message.expired)
                work = _work(message.values) + LOOKED_AT * ids
        return replies, work

    def _on_reply(self, message: m.Reply, request: Request, source: Endpoint, now: float) -> None:
        self._requests.finish(request)
        node = request.node or self._nodes.speaking(message.node_id, source, now=now)
        is_news = not node.is_good(now)
        node.replied(now)
        if not message.is_client:
            self._meet(node, replied=True, now=now)
            if is_news:
                self._welcome(node, now)
        told = [self._told_of(record, source, now) for record in message.nodes]
        request.on_reply(Answer(node, message, [one for one in told if one is not None], now))

    def _on_error(self, message: m.Error, source: Endpoint, now: float) -> None:
        request = self._requests.awaited(message.transaction, source, message.node_id)
        if request is None:
            self.dropped["not asked for"] += 1
            return
        self._requests.finish(request)
        if request.node is not None:
            request.node.replied(now)
            if message.code == m.UNAUTHORIZED:
                request.node.refused()
        request.on_error(message, now)

    def _awaited(self, message: m.Reply | wire.Envelope, source: Endpoint) -> Request | None:
        return self._requests.awaited(message.transaction, source, message.node_id)

    def _meet(self, node: Node, *, replied: bool, now: float) -> None:
        known = self._nodes.find(node.node_id, version=node.endpoint.version)
        if known is not node:
            if known is not None:  # somebody else with its id, or it moved
                self._upkeep.settle(known, node, now=now)
            return
        table = self._tables[node.endpoint.version]
        to_ping = table.insert(node, replied=replied, heard=True, now=now)
        if to_ping is not None:
            self._upkeep.ping(to_ping, now=now)
        if not node.is_good(now):
            self._upkeep.confirm(node, now=now)

    def _welcome(self, node: Node, now: float) -> None:
        """A node turned out to be there."""
        version = node.endpoint.version
        if node in self._tables[version]:
            self._operations.offer(node, now=now)
        if version not in self.connected:
            self.connected.add(version)
            self._operations.look_around(self._own_id, version, now=now)

    def _told_of(self, record: Record, source: Endpoint, now: float) -> Node | None:
        node_id, endpoint = record
        if is_loopback(endpoint.ip):
            if endpoint.version != source.version:  # it is not its machine that would be asked
                return None
            endpoint = Endpoint(source.ip, endpoint.port, source.scope)  # deserializeNodes
        elif endpoint.version == 6 and endpoint.address.is_link_local:
            endpoint = endpoint._replace(scope=source.scope)
        table = self._tables.get(endpoint.version)
        record = Record(node_id, endpoint)
        if table is None or not self.may_meet(record):
            return None
        node = self._nodes.told_of(record)
        to_ping = table.insert(node, replied=False, heard=False, now=now)
        if to_ping is not None:
            self._upkeep.ping(to_ping, now=now)
        return node

    def may_meet(self, record: Record) -> bool:
        """Whether a node that we are told of may be written to."""
        node_id, endpoint = record
        if node_id == self._own_id or not any(node_id) or is_martian(endpoint):
            return False
        if not self._is_local(endpoint):
            self.dropped["told of a node that is not local"] += 1
            return False
        return True

    def tell(self, changes: Sequence[Change], now: float) -> int:
        """Tell all who listen, others and ourselves, what has changed in our storage; returns
        to how many others that is to be told."""
        told = 0
        for change in changes:
            self._operations.on_change(change, now=now)
            told += self._updates.on_change(change, now=now)
        return told


def _work(brought: Sequence[Value]) -> float:
    """What the values in a query cost, in queries."""
    return sum([1.0 + SIGNATURE * value.is_signed for value in brought])
