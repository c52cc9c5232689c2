"""Looks for the nodes closest to a key, and gets, puts and listens there.

A search asks four nodes at a time, the closest known first, and each names others that are
closer. When the eight closest that answer have answered, it is synced: values are put at those
eight, and the four closest are listened to (OpenDHT src/search.h, src/dht.cpp searchStep). A
node that is late is not waited for, and counts again when it answers. While there is something
to keep up, nodes that come closer are taken in.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter

from lanjami.dhtnode import messages as m
from lanjami.dhtnode import policy
from lanjami.dhtnode import value as values
from lanjami.dhtnode.nodes import NEVER, SILENT_S, Node
from lanjami.dhtnode.requests import Answer, Request, Requests
from lanjami.dhtnode.routing import Dice, spread
from lanjami.dhtnode.value import Value

CLOSEST = 8  # TARGET_NODES
KNOWN = 14  # SEARCH_NODES
AT_ONCE = 4  # MAX_REQUESTED_SEARCH_NODES
LISTENED = 4  # LISTEN_NODES
LISTEN_S = 30.0  # LISTEN_EXPIRE_TIME: a listen is said again before
MARGIN_S = 10.0  # REANNOUNCE_MARGIN
FORMER_S = 2.0  # after which a node has forgotten what is over
REFUSED_S = 60.0  # until a node that refused something for reasons of its own is asked again
REFILL_S = 5.0  # between two looks for nodes elsewhere, where we know too few
STEP_S = 1.0
FOREVER = float("inf")


@dataclass(slots=True, eq=False)
class Member:
    """A node of a search: its token, when it answered, and what it has of us."""

    node: Node
    distance: int  # from the key
    token: bytes = b""
    synced_at: float = NEVER
    got_at: float = NEVER  # when it was asked for what it then answered with its values
    request: Request | None = None
    is_late: bool = False
    kept: dict[int, float] = field(default_factory=dict)  # value ids, until they are put again
    former: dict[int, float] = field(default_factory=dict)  # until when another may be there
    refused: dict[int, float] = field(default_factory=dict)
    putting: dict[int, Request] = field(default_factory=dict)
    socket: int = 0  # the number by which we listen there, where we do
    listening_until: float = NEVER
    listening: Request | None = None

    def is_synced(self, now: float) -> bool:
        return bool(self.token) and now < self.synced_at + SILENT_S

    def put_at(self, value_id: int) -> float:
        """When a value is to be put there."""
        return max(self.kept.get(value_id, NEVER), self.refused.get(value_id, NEVER))


@dataclass(slots=True, eq=False)
class Got:
    """Somebody waits for the values of the key: `on_values` for each node that has some,
    `on_done` at the end, with whether any node answered."""

    started_at: float
    on_values: Callable[[Sequence[Value]], None]
    on_done: Callable[[bool], None]


@dataclass(slots=True, eq=False)
class Announced:
    """A value to be put at the closest nodes, once or `permanent`ly, for the address `source`;
    `on_done` are those who wait until it is there."""

    value: Value
    permanent: bool = False
    source: bytes = b""
    created: int | None = None
    on_done: list[Callable[[bool], None]] = field(default_factory=list)


class Sockets:
    """The numbers by which we listen, each at one node for one key."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._open: dict[int, tuple[bytes, Member]] = {}

    def open(self, key: bytes, member: Member) -> int:
        """A new number (32 bits)."""
        number = self._dice.getrandbits(32)
        while number in self._open or number == 0:
            number = self._dice.getrandbits(32)
        self._open[number] = key, member
        return number

    def close(self, number: int) -> None:
        self._open.pop(number, None)

    def key(self, number: int, *, teller: bytes) -> bytes | None:
        """The key that the node `teller` tells of with a number."""
        key, member = self._open.get(number, (None, None))
        return key if member is not None and member.node.node_id == teller else None


class Search:
    """The search for a key in one family.

    `sockets` has the numbers by which we listen, `known` tells the nodes to begin with; `stepped`
    is called when `wake_at` may have changed.
    """

    def __init__(
        self,
        key: bytes,
        *,
        sockets: Sockets,
        requests: Requests,
        known: Callable[[bytes, float], Sequence[Node]],
        stepped: Callable[["Search"], None],
    ) -> None:
        self.key = key
        self._sockets = sockets
        self._number = int.from_bytes(key)
        self._requests = requests
        self._known = known
        self._stepped = stepped
        self._members: list[Member] = []  # the closest first
        self._reach: float = FOREVER  # the distance of the farthest that we put at
        self._refilled_at = NEVER
        self.gets: list[Got] = []
        self.puts: dict[int, Announced] = {}
        self.is_listening = False
        self.wake_at = FOREVER
        self.timer_at = FOREVER  # when whoever keeps the time looks at us again

    @property
    def is_idle(self) -> bool:
        return not (self.gets or self.puts or self.is_listening)

    def get(self, wanted: Got) -> None:
        """Get the values; here and below, `step` is to be called then."""
        self._begin()
        self.gets.append(wanted)

    def put(self, announced: Announced) -> None:
        """Put a value from now on, instead of what else was put with its id. Where that is the
        same, who waits for it waits on."""
        self._begin()
        former = self.puts.pop(announced.value.id, None)
        if former is not None and values.same(former.value, announced.value):
            announced.on_done[:0] = former.on_done
        elif former is not None:
            self._done(former, ok=False)
        for member in self._members:
            if (until := member.kept.pop(announced.value.id, None)) is not None:
                member.former[announced.value.id] = until + MARGIN_S + FORMER_S
            member.refused.pop(announced.value.id, None)
            if (request := member.putting.pop(announced.value.id, None)) is not None:
                self._requests.finish(request)
        self.puts[announced.value.id] = announced

    def listen(self) -> None:
        """Listen from now on."""
        self._begin()
        self.is_listening = True

    def listen_no_more(self) -> None:
        """Hear nothing from now on; the nodes forget us when we do not ask again."""
        self.is_listening = False
        for member in self._members:
            self._hang_up(member)

    def forget(self, value_id: int) -> None:
        """Put a value no more; it goes when its time is over."""
        self.puts.pop(value_id, None)

    def let_end(self, value_id: int) -> None:
        """Nobody wants a value for longer: put it no more once nobody waits for it."""
        announced = self.puts.get(value_id)
        if announced is not None:
            announced.permanent = False
            if not announced.on_done:
                self.forget(value_id)

    def matters(self, node: Node) -> bool:
        """Whether a node would be put at."""
        return node.number ^ self._number < self._reach

    def offer(self, node: Node) -> bool:
        """Take in a node, where there are not too many that are closer."""
        if node.is_expired:
            return False
        distance = node.number ^ self._number
        at = bisect_left(self._members, distance, key=attrgetter("distance"))
        if self._members[at : at + 1] and self._members[at].distance == distance:
            if self._members[at].node is node:
                return False
            self._drop(lambda one: one.distance == distance)  # it moved
        member = Member(node, distance)
        self._members.insert(at, member)
        if len(self._members) > 2 * KNOWN:
            superfluous = self._superfluous()
            self._drop(lambda one: one is superfluous)
            return superfluous is not member
        return True

    def _begin(self) -> None:
        """While it was idle, nodes came that it was not told of."""
        if self.is_idle:
            self._refilled_at = NEVER

    def step(self, now: float) -> None:
        """Ask, put and listen, as far as there is something to do now."""
        self._drop(lambda one: one.node.is_expired)
        if self.is_idle:
            self.wake_at = FOREVER
        else:
            self._go_on(now)
        self._stepped(self)

    def _go_on(self, now: float) -> None:
        is_due = not self._members or now >= self._refilled_at + REFILL_S
        if len(self._members) < CLOSEST and is_due:
            self._refilled_at = now
            for node in self._known(self.key, now):
                self.offer(node)
        self._ask(now)
        punctual = [member for member in self._members if not member.is_late]
        front = spread(punctual, CLOSEST, _address)
        self._reach = front[-1].distance if len(front) == CLOSEST else FOREVER
        in_flight = any(member.request is not None for member in self._members)
        self._finish_gets(front, in_flight=in_flight)
        if front and all(member.is_synced(now) for member in front):
            self._announce(front, now)
            if self.is_listening:
                for member in front[:LISTENED]:
                    self._listen(member, now)
        elif not self._members:
            self._give_up()
        due = min(self._times(front), default=FOREVER)
        if len(self._members) < CLOSEST:
            due = min(due, now + REFILL_S)
        self.wake_at = max(due, now + STEP_S)  # what is on its way reports by itself

    def _superfluous(self) -> Member:
        """The farthest node, of the address that has the most."""
        by_address = Counter(_address(member) for member in self._members)
        most = max(by_address.values())
        return next(one for one in reversed(self._members) if by_address[_address(one)] == most)

    def _drop(self, is_over: Callable[[Member], bool]) -> None:
        gone = [member for member in self._members if is_over(member)]
        for member in gone:
            self._members.remove(member)
            self._hang_up(member)

    # --- finding the nodes -----------------------------------------------------------------------

    def _ask(self, now: float) -> None:
        wanted_since = max((got.started_at for got in self.gets), default=NEVER)
        free = AT_ONCE - sum(
            member.request is not None and not member.is_late for member in self._members
        )
        for member in spread(self._members, KNOWN, _address):
            if free <= 0:
                return
            if member.request is not None:
                continue
            if member.is_synced(now) and member.got_at >= wanted_since:
                continue
            message = m.Get(key=self.key) if self.gets else m.Find(target=self.key)
            request = Request(message, member.node.endpoint, member.node)
            request.on_reply = partial(self._on_reply, member, now)
            request.on_error = partial(self._on_error, member)
            request.on_late = partial(self._on_late, member)
            request.on_lost = partial(self._on_lost, member)
            member.request = request
            self._requests.send(request, now=now)
            free -= 1

    def _on_reply(self, member: Member, asked_at: float, answer: Answer) -> None:
        _, reply, told, now = answer
        member.request = None
        member.is_late = False
        if not reply.token:  # it cannot be put at; OpenDHT blacklists it
            self._drop(lambda one: one is member)
        else:
            member.token, member.synced_at, member.got_at = reply.token, now, asked_at
        if reply.values:
            for got in self.gets:
                got.on_values(reply.values)
        for other in told:
            self.offer(other)
        self.step(now)

    def _on_error(self, member: Member, error: m.Error, now: float) -> None:
        member.request = None
        self._drop(lambda one: one is member)
        self.step(now)

    def _on_late(self, member: Member, now: float) -> None:
        member.is_late = True
        self.step(now)

    def _on_lost(self, member: Member, now: float) -> None:
        """The node expired, or had too much to do, as we may have: then it is asked again."""
        member.is_late = False
        if member.request is not None and member.request.is_over:
            member.request = None
        if member.listening is not None and member.listening.is_over:
            member.listening = None
        member.putting = {id: one for id, one in member.putting.items() if not one.is_over}
        self.step(now)

    def _finish_gets(self, front: Sequence[Member], *, in_flight: bool) -> None:
        for got in list(self.gets):
            answered = bool(front) and all(one.got_at >= got.started_at for one in front)
            if answered or not in_flight:
                self.gets.remove(got)
                got.on_done(answered)

    def _give_up(self) -> None:
        """Nobody is there: what is not permanent failed, the rest waits for somebody."""
        for announced in list(self.puts.values()):
            self._done(announced, ok=False)

    # --- putting ---------------------------------------------------------------------------------

    def _announce(self, front: Sequence[Member], now: float) -> None:
        for announced in list(self.puts.values()):
            id = announced.value.id
            for member in front:
                if id not in member.putting and now >= member.put_at(id):
                    self._put(member, announced, now)
            if all(now < member.put_at(id) for member in front):
                self._done(announced, ok=any(id in member.kept for member in front))

    def _done(self, announced: Announced, *, ok: bool) -> None:
        if not announced.permanent:
            self.forget(announced.value.id)
        waiting, announced.on_done = announced.on_done, []
        for on_done in waiting:
            on_done(ok)

    def _put(self, member: Member, announced: Announced, now: float) -> None:
        """Put a value at a node; where it is already, ask to keep it. Where another one with its
        id was before, that would keep the other."""
        value = announced.value
        message: m.Asked
        if value.id in member.kept and value.id not in member.former:
            message = m.Refresh(key=self.key, token=member.token, value_id=value.id)
        else:
            message = m.Put(
                key=self.key, token=member.token, values=(value,), created=announced.created
            )
        request = Request(message, member.node.endpoint, member.node)
        request.on_reply = partial(self._on_kept, member, value)
        request.on_error = partial(self._on_refused, member, value.id)
        request.on_late = partial(self._on_late, member)
        request.on_lost = partial(self._on_lost, member)
        member.putting[value.id] = request
        self._requests.send(request, now=now)

    def _on_kept(self, member: Member, value: Value, answer: Answer) -> None:
        now = answer.now
        member.node.refusals = 0
        member.is_late = False
        member.putting.pop(value.id, None)
        until = now + max(policy.life_s(value.type) - MARGIN_S, MARGIN_S)
        if (former_until := member.former.get(value.id, NEVER)) > now:
            until = min(until, former_until)  # a node says the same where it kept the former one
        else:
            member.former.pop(value.id, None)
        member.kept[value.id] = until
        self.step(now)

    def _on_refused(self, member: Member, value_id: int, error: m.Error, now: float) -> None:
        member.putting.pop(value_id, None)
        member.kept.pop(value_id, None)
        if error.code == m.UNAUTHORIZED:
            self._lose_token(member)
        elif error.code != m.NOT_FOUND:
            member.refused[value_id] = now + REFUSED_S
        self.step(now)

    def _lose_token(self, member: Member) -> None:
        member.token, member.synced_at = b"", NEVER
        self._hang_up(member)

    # --- listening -------------------------------------------------------------------------------

    def _listen(self, member: Member, now: float) -> None:
        if member.listening is not None or now < member.listening_until:
            return
        if not member.socket:
            member.socket = self._sockets.open(self.key, member)
        message = m.Listen(key=self.key, token=member.token, socket=member.socket)
        request = Request(message, member.node.endpoint, member.node)
        request.on_reply = partial(self._on_listening, member)
        request.on_error = partial(self._on_listen_refused, member)
        request.on_late = partial(self._on_late, member)
        request.on_lost = partial(self._on_lost, member)
        member.listening = request
        self._requests.send(request, now=now)

    def _on_listening(self, member: Member, answer: Answer) -> None:
        now = answer.now
        member.node.refusals = 0
        member.is_late = False
        member.listening = None
        member.listening_until = now + LISTEN_S - MARGIN_S
        if answer.reply.token:
            member.token = answer.reply.token
        self.step(now)

    def _on_listen_refused(self, member: Member, error: m.Error, now: float) -> None:
        member.listening = None
        if error.code == m.UNAUTHORIZED:
            self._lose_token(member)
        else:
            member.listening_until = now + REFUSED_S
        self.step(now)

    def _hang_up(self, member: Member) -> None:
        """Whoever listens again begins with another number: a node tells what it has only to a
        new listener, and what it told in between we did not hear."""
        self._sockets.close(member.socket)
        member.socket, member.listening_until = 0, NEVER
        if member.listening is not None:
            self._requests.finish(member.listening)
            member.listening = None

    def _times(self, front: Sequence[Member]) -> Iterator[float]:
        """When something is to be done again."""
        for index, member in enumerate(front):
            if member.token:
                yield member.synced_at + SILENT_S
            for id in self.puts:
                if id not in member.putting and member.put_at(id) > NEVER:
                    yield member.put_at(id)
            if self.is_listening and index < LISTENED and member.listening is None:
                yield member.listening_until


def _address(member: Member) -> bytes:
    return member.node.endpoint.ip
