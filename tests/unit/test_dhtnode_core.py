"""A node as others see it: what it answers, whom it asks, and what it lets nobody do to it."""

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.dhtnode import admission, hearing, inbox, packing, upkeep, wire
from lanjami.dhtnode import messages as m
from lanjami.dhtnode import state as states
from lanjami.dhtnode import value as values
from lanjami.dhtnode.answers import REPLY_BYTES
from lanjami.dhtnode.core import DhtCore
from lanjami.dhtnode.endpoint import Endpoint, Record
from lanjami.dhtnode.events import Came, Went
from lanjami.dhtnode.nodes import SILENT_S, Node
from lanjami.dhtnode.query import Field, Filter, Query
from lanjami.dhtnode.requests import MOST_BYTES, WAITS_S, Datagram, Request, Requests
from lanjami.dhtnode.storage import Storage, Stored
from lanjami.dhtnode.tokens import LONGEST_S
from lanjami.errors import WireError
from tests.support import recorded
from tests.support.dht_values import at, sha1, signed

OWN = sha1("box")
KEY = sha1("key")
IDS = range(1, 151)
UNIX_TIME = 1_700_000_000.0
ASKER = at(1)
ASKER_V6 = Endpoint(b"\xfd" + bytes(14) + b"\2", 4222)
V6 = Endpoint(b"\xfd" + bytes(14) + b"\1", 4222)
LINK_LOCAL = Endpoint(b"\xfe\x80" + bytes(13) + b"\7", 4222, 3)


def _core(
    *, network: int = 0, is_local: Callable[[Endpoint], bool] = lambda endpoint: True
) -> DhtCore:
    return DhtCore(
        OWN,
        is_local=is_local,
        dice=random.Random(1),
        now=0.0,
        unix_time=UNIX_TIME,
        network=network,
    )


def _said(datagrams: list[Datagram], to: Endpoint | None = None) -> list[m.Message]:
    return [wire.parse(one.data) for one in datagrams if to is None or one.to == to]


def _ask(
    core: DhtCore, message: m.Message, source: Endpoint = ASKER, *, now: float = 1.0
) -> list[Any]:
    """What a node says to whoever asked, apart from its own questions."""
    outgoing = [
        datagram
        for packed in packing.pack(message)
        for datagram in core.on_datagram(packed, source, now=now)
    ]
    return [said for said in _said(outgoing, source) if not isinstance(said, m.Ping)]


def _named(name: str, **more: Any) -> dict[str, Any]:
    return {"transaction": 9, "node_id": sha1(name), **more}


def _token(core: DhtCore, source: Endpoint = ASKER, *, now: float = 1.0) -> bytes:
    reply, *_ = _ask(core, m.Get(**_named("asker"), key=KEY), source, now=now)
    return bytes(reply.token)


def _put(
    core: DhtCore, *put: values.Value, source: Endpoint = ASKER, now: float = 1.0, **more: Any
) -> list[Any]:
    token = _token(core, source, now=now)
    message = m.Put(**_named("asker"), key=KEY, token=token, values=put, **more)
    return _ask(core, message, source, now=now)


def _befriend(
    core: DhtCore, name: str, endpoint: Endpoint, *, node_id: bytes = b"", now: float = 1.0
) -> None:
    """Make a node good in the eyes of the core."""
    ping = m.Ping(transaction=9, node_id=node_id or sha1(name))
    outgoing = core.on_datagram(packing.pack(ping)[0], endpoint, now=now)
    _answer(core, name, endpoint, outgoing, node_id=node_id, now=now)


def _answer(
    core: DhtCore,
    name: str,
    endpoint: Endpoint,
    outgoing: list[Datagram],
    *,
    node_id: bytes = b"",
    now: float,
) -> None:
    """Answer what the core asks a node."""
    while outgoing:
        asked = [one for one in _said(outgoing, endpoint) if isinstance(one, m.Asked)]
        outgoing = _replied(core, asked, endpoint, node_id or sha1(name), now)


def _replied(
    core: DhtCore, asked: Iterable[m.Asked], endpoint: Endpoint, node_id: bytes, now: float
) -> list[Datagram]:
    outgoing = []
    for one in asked:
        reply = m.Reply(transaction=one.transaction, node_id=node_id, token=b"token")
        outgoing += core.on_datagram(packing.pack(reply)[0], endpoint, now=now)
    return outgoing


def _near(number: int) -> bytes:
    """The id of a node that keeps what is at the key."""
    return KEY[:-1] + bytes([number])


A = TypeVar("A", bound=m.Asked)


def _exchange(
    core: DhtCore,
    kind: type[A],
    nodes: Sequence[tuple[bytes, Endpoint]],
    *,
    since: int = 31,
    seconds: int,
) -> list[tuple[A, bytes, Endpoint]]:
    """Answer all that the core asks nodes for a while; returns the queries of a kind among that,
    with who was asked."""
    found: list[tuple[A, bytes, Endpoint]] = []
    for now in range(since, since + seconds):
        outgoing = core.on_timer(now=float(now))
        while outgoing:
            said, outgoing = outgoing, []
            for node_id, endpoint in nodes:
                asked = [one for one in _said(said, endpoint) if isinstance(one, m.Asked)]
                found += [(one, node_id, endpoint) for one in asked if isinstance(one, kind)]
                outgoing += _replied(core, asked, endpoint, node_id, float(now))
    return found


# --- answers ------------------------------------------------------------------------------------


def test_a_ping_is_answered_with_who_we_are_and_who_asks() -> None:
    (pong,) = _ask(_core(), m.Ping(**_named("asker")))
    assert pong == m.Reply(transaction=9, node_id=OWN, seen_as=at(1).ip)


def test_find_names_the_closest_good_nodes_of_the_wanted_families() -> None:
    core = _core()
    for number in range(12):
        _befriend(core, f"node {number}", at(10 + number))
    _befriend(core, "six", V6)
    _befriend(core, "asker", ASKER_V6)
    (reply,) = _ask(core, m.Find(**_named("asker"), target=KEY))
    number = int.from_bytes(KEY)
    distances = [int.from_bytes(record.node_id) ^ number for record in reply.nodes]
    assert len(distances) == 8
    assert distances == sorted(distances)
    assert reply.token
    (reply,) = _ask(core, m.Find(**_named("asker"), target=KEY, want=(6,)))
    assert {record.endpoint for record in reply.nodes} == {V6, ASKER_V6}
    (reply,) = _ask(core, m.Find(**_named("asker"), target=KEY, want=(4, 6)))
    assert len(reply.nodes) == 10


def test_who_never_spoke_ipv6_is_told_of_no_ipv6_node() -> None:
    core = _core()
    _befriend(core, "six", V6)
    for want in ((6,), (4, 6)):
        (reply,) = _ask(core, m.Find(**_named("asker"), target=KEY, want=want))
        assert reply.nodes == ()
    (reply,) = _ask(core, m.Get(**_named("asker"), key=KEY, want=(6,)), ASKER_V6)
    assert [record.endpoint for record in reply.nodes] == [V6]


def test_clients_and_those_who_never_answered_are_named_to_nobody() -> None:
    core = _core()
    _ask(core, m.Ping(**_named("client", is_client=True)), at(2))
    _ask(core, m.Ping(**_named("silent")), at(3))
    (reply,) = _ask(core, m.Find(**_named("asker", is_client=True), target=KEY))
    assert reply.nodes == ()


def test_what_is_put_is_got() -> None:
    core = _core()
    small, large = values.make(1, b"x"), values.make(2, bytes(3000))
    assert [ack.value_id for ack in _put(core, small, large)] == [1, 2]
    reply, *parts = _ask(core, m.Get(**_named("reader"), key=KEY), at(2))
    assert reply.missing
    assert len(parts) == 1 + 3
    one = Query((), (Filter(Field.ID, 1),))
    (reply,) = _ask(core, m.Get(**_named("reader"), key=KEY, query=one), at(2))
    assert reply.values == (small,)
    fields = Query((Field.SEQ, Field.ID), ())
    selecting = packing.pack(m.Get(**_named("reader"), key=KEY, query=fields))[0]
    packed, *_ = core.on_datagram(selecting, at(2), now=1.0)
    reply = msgpack.unpackb(packed.data)["r"]
    assert reply["fileds"] == {"f": [1, 4], "v": [1, 0, 2, 0]}
    assert "values" not in reply


def test_an_old_value_lives_for_what_is_left_of_its_life() -> None:
    core = _core()
    _put(core, values.make(1, b"x"), created=int(UNIX_TIME) - 590)
    assert len(core.answers.storage) == 1
    core.on_timer(now=12.0)
    assert len(core.answers.storage) == 0


@pytest.mark.parametrize("ahead_s", [-86_400, -601, 601, 86_400])
def test_a_client_whose_clock_is_wrong_can_put(ahead_s: int) -> None:
    core = _core()
    _put(core, values.make(1, b"x"), created=int(UNIX_TIME) + ahead_s)
    core.on_timer(now=590.0)
    assert len(core.answers.storage) == 1
    core.on_timer(now=602.0)
    assert len(core.answers.storage) == 0


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (m.Get(**_named("x"), key=bytes(20)), m.INCOMPLETE),
        (m.Put(**_named("x"), key=bytes(20), token=b""), m.INCOMPLETE),
        (m.Listen(**_named("x"), key=bytes(20), token=b"", socket=1), m.INCOMPLETE),
        (m.Put(**_named("x"), key=KEY, token=b"", values=(values.make(1, b""),)), m.UNAUTHORIZED),
        (m.Listen(**_named("x"), key=KEY, token=b"bad", socket=1), m.UNAUTHORIZED),
        (m.Refresh(**_named("x"), key=KEY, token=b"bad", value_id=1), m.UNAUTHORIZED),
    ],
)
def test_what_cannot_be_served_is_told(message: m.Message, code: int) -> None:
    (error,) = _ask(_core(), message)
    assert (error.code, error.node_id, error.transaction) == (code, OWN, 9)


def test_a_value_needs_an_id_and_a_refresh_a_value() -> None:
    core = _core()
    (error,) = _put(core, values.make(0, b"x"))
    assert error.code == m.INCOMPLETE
    token = _token(core)
    (error,) = _ask(core, m.Refresh(**_named("asker"), key=KEY, token=token, value_id=5))
    assert error.code == m.NOT_FOUND
    _put(core, values.make(5, b"x"))
    (ack,) = _ask(core, m.Refresh(**_named("asker"), key=KEY, token=token, value_id=5), now=500.0)
    assert ack.value_id == 5
    core.on_timer(now=1000.0)
    assert len(core.answers.storage) == 1


def test_a_token_is_for_one_address_and_not_for_ever() -> None:
    core = _core()
    token = _token(core)
    put = m.Put(**_named("asker"), key=KEY, token=token, values=(values.make(1, b""),))
    (error,) = _ask(core, put, at(2))
    assert error.code == m.UNAUTHORIZED
    for rotation in range(1, 3):
        core.on_timer(now=rotation * LONGEST_S + rotation)
    (error,) = _ask(core, put, now=2 * LONGEST_S + 3)
    assert error.code == m.UNAUTHORIZED


def test_values_that_others_are_closer_to_are_not_kept_but_confirmed() -> None:
    core = _core()
    for number in range(20):
        near = KEY[:-1] + bytes([number])
        ping = packing.pack(m.Ping(transaction=1, node_id=near))[0]
        for datagram in core.on_datagram(ping, at(10 + number), now=1.0):
            message = wire.parse(datagram.data)
            if isinstance(message, m.Ping):
                pong = m.Reply(transaction=message.transaction, node_id=near)
                core.on_datagram(packing.pack(pong)[0], at(10 + number), now=1.0)
    (ack,) = _put(core, values.make(1, b"x"))
    assert ack.value_id == 1
    assert len(core.answers.storage) == 0


def test_a_forged_value_is_confirmed_but_not_kept() -> None:
    core = _core()
    genuine = signed("alice", 1)
    forged = values.parse(genuine.packed.replace(b"signed", b"forged"))
    assert len(_put(core, forged)) == 1
    assert len(core.answers.storage) == 0
    _put(core, genuine)
    assert core.answers.storage.at(KEY) == [genuine]


# --- listeners ----------------------------------------------------------------------------------


def _listen(core: DhtCore, source: Endpoint, *, now: float = 1.0, query: Any = None) -> list[Any]:
    token = _token(core, source, now=now)
    more = {} if query is None else {"query": query}
    message = m.Listen(**_named("listener"), key=KEY, token=token, socket=77, **more)
    return _ask(core, message, source, now=now)


def _updates(datagrams: list[Datagram]) -> list[m.Update]:
    return [said for said in _said(datagrams, at(5)) if isinstance(said, m.Update)]


def _confirm(core: DhtCore, update: m.Update, *, now: float = 1.0) -> list[m.Update]:
    """What a listener is told when it has confirmed an update."""
    confirm = m.Reply(transaction=update.transaction, node_id=sha1("listener"))
    return _updates(core.on_datagram(packing.pack(confirm)[0], at(5), now=now))


def test_a_listener_is_told_what_is_there_comes_is_refreshed_and_goes() -> None:
    core = _core()
    first, second = values.make(1, b"x"), values.make(2, b"y", type=5)
    _put(core, first)
    update, reply = _listen(core, at(5))
    assert isinstance(reply, m.Reply), "from the reply on OpenDHT takes its values for all"
    assert reply.token
    assert (update.socket, update.key, update.values) == (77, KEY, (first,))
    _confirm(core, update)
    (reply,) = _listen(core, at(5), now=2.0)
    assert isinstance(reply, m.Reply), "it has been told already"

    token = _token(core)
    put = m.Put(**_named("asker"), key=KEY, token=token, values=(second,))
    datagrams = core.on_datagram(packing.pack(put)[0], at(1), now=3.0)
    assert [datagram.to for datagram in datagrams] == [at(5), at(1)], "who listens waits for it"
    (update,) = _updates(datagrams)
    assert update.values == (second,)
    assert not _updates(core.on_datagram(packing.pack(put)[0], at(1), now=3.2)), "one at a time"
    (update,) = _confirm(core, update, now=3.3)
    assert update.refreshed == (2,)
    _confirm(core, update, now=4.0)
    went = [one for one in _updates(core.on_timer(now=70.0)) if one.expired]
    assert [update.expired for update in went] == [(2,)]


def test_a_listener_hears_only_what_it_asked_for() -> None:
    core = _core()
    _put(core, values.make(1, b"x"))
    said = _listen(core, at(5), query=Query((), (Filter(Field.TYPE, 3),)))
    assert [type(one) for one in said] == [m.Reply]


def test_an_update_is_sent_again_until_it_is_confirmed() -> None:
    core = _core()
    _listen(core, at(5))
    token = _token(core)
    put = m.Put(**_named("asker"), key=KEY, token=token, values=(values.make(1, b"x"),))
    assert len(_updates(core.on_datagram(packing.pack(put)[0], at(1), now=3.0))) == 1
    again = [now for now in range(4, 14) if _updates(core.on_timer(now=float(now)))]
    assert len(again) == len(WAITS_S) - 1


def test_many_values_are_told_in_several_updates() -> None:
    core = _core()
    _put(core, *(values.make(id, bytes(500)) for id in range(1, 200)))
    first, *parts, _ = _listen(core, at(5))
    assert not [one for one in parts if isinstance(one, m.Update)], "it is to confirm the first"
    (second,) = _confirm(core, first)
    assert len(first.missing) + len(second.missing) == 199
    assert _confirm(core, second) == []


def test_a_listener_that_does_not_confirm_is_told_everything_when_it_asks_again() -> None:
    core = _core()
    _listen(core, at(5))
    _put(core, values.make(1, b"x"), now=2.0)
    for now in range(3, 9):
        core.on_timer(now=float(now))
    assert len(core.answers.listeners) == 0
    update, _ = _listen(core, at(5), now=10.0)
    assert update.values == (values.make(1, b"x"),)


def test_many_listens_take_no_memory_for_what_they_are_told() -> None:
    """A megabyte is there, and somebody listens sixty times and confirms nothing."""
    core = _core()
    for id in range(1, 18):
        _put(core, values.make(id, bytes(60_000)), source=at(20 + id))
    token = _token(core, at(5))
    sent = 0
    for socket in range(1, 61):
        listen = m.Listen(**_named("listener"), key=KEY, token=token, socket=socket)
        datagrams = core.on_datagram(packing.pack(listen)[0], at(5), now=1.0 + socket)
        datagrams += core.on_timer(now=1.5 + socket)
        sent += sum(len(datagram.data) for datagram in datagrams)
    assert sent < 60 * 3 * 70_000
    assert len(core._requests) < 10  # noqa: SLF001


def test_a_put_that_many_listen_for_holds_up_nobody() -> None:
    """A thousand listeners, each of which answers, are told bit by bit."""
    core = _core()
    for number in range(1000):
        listen = m.Listen(
            **_named(f"listener {number}"),
            key=KEY,
            token=core.answers.tokens.make(at(1000 + number)),
            socket=5,
        )
        core.on_datagram(packing.pack(listen)[0], at(1000 + number), now=1.0)
    value = values.make(1, bytes(60_000))
    put = packing.pack(m.Put(**_named("x"), key=KEY, token=_token(core), values=(value,)))
    outgoing = [datagram for packed in put for datagram in core.on_datagram(packed, ASKER, now=2.0)]
    now, told = 2.0, 0
    while told < 1000:
        assert sum(len(datagram.data) for datagram in outgoing) < 400_000
        told += sum(isinstance(one, m.Update) for one in _said(outgoing))
        assert core.wake_at < now + 1
        now = core.wake_at
        outgoing = core.on_timer(now=now)
    assert now < 2 + 10


def test_what_we_did_not_listen_for_is_confirmed_and_forgotten() -> None:
    core = _core()
    update = m.Update(**_named("asker"), socket=5, key=KEY, values=(values.make(1, b"x"),))
    (reply,) = _ask(core, update)
    assert reply.node_id == OWN
    assert core.take_events() == []


def _listening(core: DhtCore, key: bytes) -> list[tuple[int, bytes, Endpoint]]:
    """Have it listen; the numbers by which nodes are to tell it something, and the nodes."""
    for number in range(12):
        _befriend(core, "", at(10 + number), node_id=_near(number), now=15.0 + number)
    core.listen(key, now=30.0)
    found = _exchange(
        core, m.Listen, [(_near(number), at(10 + number)) for number in range(12)], seconds=5
    )
    return [(listen.socket, node_id, endpoint) for listen, node_id, endpoint in found]


def test_what_a_node_tells_of_a_key_is_bounded_in_bytes_and_the_rest_is_counted() -> None:
    core = _core()
    (socket, node_id, endpoint), *_ = _listening(core, KEY)
    core.take_events()
    heard: dict[int, values.Value] = {}
    for id in range(1, 401):
        value = values.make(id, bytes(60_000), type=4)
        update = m.Update(transaction=id, node_id=node_id, socket=socket, key=KEY, values=(value,))
        (reply,) = _ask(core, update, endpoint, now=40.0 + id)
        assert isinstance(reply, m.Reply), "it is confirmed all the same"
        for event in core.take_events():
            match event:
                case Came(_, came):
                    heard |= {one.id: one for one in came}
                case Went(_, went):
                    heard = {key: one for key, one in heard.items() if one not in went}
    assert 400 in heard, "what is new is heard"
    assert sum(len(value.packed) for value in heard.values()) <= hearing.KEY_BYTES
    assert core.dropped["told more than there is room for"] == 400 - len(heard) > 200


def test_all_that_a_new_listener_is_told_at_once_is_heard() -> None:
    """As OpenDHT up to 2.4.12 tells it: five values of 60 kB in one message."""
    core = _core()
    (socket, node_id, endpoint), *_ = _listening(core, KEY)
    core.take_events()
    there = tuple(values.make(id, bytes(60_000)) for id in range(1, 6))
    update = m.Update(transaction=5, node_id=node_id, socket=socket, key=KEY, values=there)
    (reply,) = _ask(core, update, endpoint, now=40.0)
    assert isinstance(reply, m.Reply)
    (came,) = core.take_events()
    assert isinstance(came, Came)
    assert came.values == there
    unknown = msgspec.structs.replace(update, socket=socket + 1)
    assert _ask(core, unknown, endpoint, now=41.0) == [], "but only by a node that we listen at"
    core.on_timer(now=60.0)
    lost = core.dropped["never whole"] + core.dropped["too much in parts"]
    assert lost == len(packing.pack(update))


def test_no_answer_has_us_check_signatures_for_long() -> None:
    """A node says again and again that there are 2,000 signed values at a key that we get."""
    core = _core()
    _befriend(core, "", at(10), node_id=_near(0), now=15.0)
    packed = signed("alice").packed
    there = tuple(
        values.parse(packed.replace(b"\xa2id\x01", b"\xa2id\xcd" + id.to_bytes(2)))
        for id in range(1000, 3000)
    )
    told = 0
    for number in range(20):
        now = 30.0 + number / 10
        core.get(KEY, now=now)
        for asked in _said(core.on_timer(now=now), at(10)):
            if isinstance(asked, m.Get) and asked.key == KEY:
                told += 1
                reply = m.Reply(
                    transaction=asked.transaction, node_id=_near(0), values=there, token=b"token"
                )
                for datagram in packing.pack(reply):
                    core.on_datagram(datagram, at(10), now=now)
    served = told - core.dropped["source limit"]
    assert 2 <= served < told, "the others are asked for again, later"
    work = served * inbox.MOST_CHECKED * (1 + admission.SIGNATURE)
    assert work <= (2 + 2) * admission.VALUES_PER_S, "in two seconds"
    assert core.dropped["too many signatures"] == served * (2000 - inbox.MOST_CHECKED)
    gets = {event.operation: event for event in core.take_events() if isinstance(event, Came)}
    assert {len(came.values) for came in gets.values()} == {inbox.MOST_CHECKED}


def test_what_a_get_finds_is_bounded_in_bytes_and_the_rest_is_counted() -> None:
    """Four nodes say that there are three megabytes each, of other values."""
    core = _core()
    for number in range(4):
        _befriend(core, "", at(10 + number), node_id=_near(number), now=15.0 + number)
    get = core.get(KEY, now=30.0)
    said = core.on_timer(now=30.0)
    found: list[values.Value] = []
    for number in range(4):
        asked = next(
            one for one in _said(said, at(10 + number)) if isinstance(one, m.Get) and one.key == KEY
        )
        there = tuple(values.make(100 * number + id, bytes(60_000)) for id in range(1, 51))
        reply = m.Reply(
            transaction=asked.transaction, node_id=_near(number), values=there, token=b"token"
        )
        for packed in packing.pack(reply):
            said += core.on_datagram(packed, at(10 + number), now=30.0)
    for event in core.take_events():
        match event:
            case Came(operation, came) if operation == get:
                found += came
    assert 120 < len(found) < 140
    assert core.dropped["told more than there is room for"] == 200 - len(found)
    assert core._operations._getting.cost == 0, "it is done"  # noqa: SLF001


# --- whom it asks -------------------------------------------------------------------------------


def test_a_newcomer_is_pinged_once_and_then_named() -> None:
    core = _core()
    ping = packing.pack(m.Ping(**_named("newcomer")))[0]
    asked = [
        said for said in _said(core.on_datagram(ping, at(2), now=1.0)) if isinstance(said, m.Ping)
    ]
    assert len(asked) == 1
    assert len(core.on_datagram(ping, at(2), now=1.1)) == 1, "only the answer"
    pong = m.Reply(transaction=asked[0].transaction, node_id=sha1("newcomer"))
    core.on_datagram(packing.pack(pong)[0], at(2), now=1.2)
    (reply,) = _ask(core, m.Find(**_named("asker"), target=KEY), now=1.3)
    assert reply.nodes == (Record(sha1("newcomer"), at(2)),)


def test_only_whoever_was_asked_answers() -> None:
    core = _core()
    ping = packing.pack(m.Ping(**_named("newcomer")))[0]
    *_, asked = _said(core.on_datagram(ping, at(2), now=1.0))
    pong = m.Reply(transaction=asked.transaction, node_id=sha1("newcomer"))
    for reply, source in (
        (pong, at(3)),
        (pong, at(2, 9)),
        (m.Reply(transaction=asked.transaction, node_id=sha1("thief")), at(2)),
        (m.Reply(transaction=asked.transaction + 1, node_id=sha1("newcomer")), at(2)),
        (m.Error(transaction=asked.transaction, code=401, node_id=sha1("thief")), at(2)),
    ):
        core.on_datagram(packing.pack(reply)[0], source, now=1.1)
    assert core.dropped["not asked for"] == 5
    assert not any(node.is_good(1.2) for node in core.tables[4].nodes())


def test_those_it_is_told_of_are_local_or_never_written_to() -> None:
    def is_local(endpoint: Endpoint) -> bool:
        return endpoint.ip[0] in (10, 0xFD, 0xFE, 127) or endpoint == own_machine

    own_machine = Endpoint(bytes(15) + b"\1", 53)

    core = _core(is_local=is_local)
    asked = _said(core.join([at(2)], now=1.0), at(2))[0]
    internet = Endpoint(bytes([8, 8, 8, 8]), 4222)
    internet_v6 = Endpoint(b"\x20\x01" + bytes(14), 4222)
    told = (
        Record(sha1("far"), internet),
        Record(sha1("near"), at(7)),
        Record(sha1("same machine"), Endpoint(bytes([127, 0, 0, 1]), 555)),
        Record(sha1("our machine"), own_machine),
        Record(OWN, at(8)),
        Record(sha1("nowhere"), at(9, 0)),
        Record(sha1("far six"), internet_v6),
        Record(sha1("link-local"), LINK_LOCAL._replace(scope=0)),
    )
    reply = m.Reply(transaction=asked.transaction, node_id=sha1("liar"), nodes=told)
    outgoing = core.on_datagram(packing.pack(reply)[0], at(2), now=1.0)
    for now in range(1, 300):
        outgoing += core.on_timer(now=float(now))
    asked_of = {datagram.to for datagram in outgoing}
    assert Endpoint(at(2).ip, 555) in asked_of, "its own machine, as we see it"
    assert at(7) in asked_of
    assert not asked_of & {internet, internet_v6, at(8), at(9, 0), own_machine}
    assert core.dropped["told of a node that is not local"] == 2
    far = packing.pack(m.Ping(**_named("far")))[0]
    assert core.on_datagram(far, internet, now=2.0) == []
    assert core.dropped["not local"] == 1


def test_a_link_local_node_is_on_the_interface_of_whoever_told_of_it() -> None:
    core = _core()
    asked = _said(core.join([LINK_LOCAL], now=1.0), LINK_LOCAL)[0]
    told = (Record(sha1("other"), Endpoint(b"\xfe\x80" + bytes(13) + b"\x09", 4222)),)
    reply = m.Reply(transaction=asked.transaction, node_id=sha1("x"), nodes=told)
    core.on_datagram(packing.pack(reply)[0], LINK_LOCAL, now=1.0)
    assert {node.endpoint.scope for node in core.tables[6].nodes()} == {LINK_LOCAL.scope}


def test_it_looks_for_others_until_it_finds_some() -> None:
    core = _core()
    assert sum(_joining(core, now) for now in range(1, 120)) > 8
    _befriend(core, "found", at(2), now=130.0)
    sum(_joining(core, now, answered=True) for now in range(131, 140))
    assert sum(_joining(core, now, answered=True) for now in range(140, 300)) == 0


def _joining(core: DhtCore, now: float, *, answered: bool = False) -> bool:
    """Whether it asks at the address it was given."""
    outgoing = core.join([at(2)], now=float(now))
    if answered:
        _answer(core, "found", at(2), outgoing, now=now)
    asked = [one for one in _said(outgoing, at(2)) if isinstance(one, m.Find)]
    return any(one.want == (4, 6) and one.target == OWN for one in asked)


def test_a_node_that_falls_silent_is_asked_and_given_up() -> None:
    core = _core()
    _befriend(core, "silent", at(2))
    asked = [
        now
        for now in range(2, int(SILENT_S))
        if any(datagram.to == at(2) for datagram in core.on_timer(now=float(now)))
    ]
    assert asked
    assert len(core.tables[4]) == 0


def test_its_wishes_are_told_in_time() -> None:
    core = _core()
    now = 0.0
    for _ in range(500):
        assert core.wake_at > now
        now = core.wake_at
        core.on_timer(now=now)
    assert now > 300, "it sleeps for a second at least where there is nothing to do"


def test_what_is_put_instead_of_another_is_there_when_that_is_over() -> None:
    """Nodes keep what is not signed for its life whatever is put then, and say that it is kept:
    who asked to keep it would keep the former one."""
    core = _core()
    nodes = [(_near(number), at(10 + number)) for number in range(12)]
    for number, (node_id, endpoint) in enumerate(nodes):
        _befriend(core, "", endpoint, node_id=node_id, now=15.0 + number)
    former, latter = values.make(7, b"former"), values.make(7, b"latter")
    first = core.put(KEY, former, permanent=True, now=30.0)
    puts = _exchange(core, m.Put, nodes, seconds=4)
    assert {put.values for put, *_ in puts} == {(former,)}
    core.cancel(first, now=35.0)
    core.put(KEY, latter, permanent=True, now=35.0)
    _exchange(core, m.Asked, nodes, since=35, seconds=560)
    said = _exchange(core, m.Asked, nodes, since=595, seconds=60)
    kinds = {type(one) for one, *_ in said if isinstance(one, m.Put | m.Refresh)}
    assert kinds == {m.Put}, "the former one is over at 631, and must not be refreshed before"
    assert {one.values for one, *_ in said if isinstance(one, m.Put)} == {(latter,)}
    said = _exchange(core, m.Asked, nodes, since=655, seconds=600)
    kinds = {type(one) for one, *_ in said if isinstance(one, m.Put | m.Refresh)}
    assert kinds == {m.Refresh}, "from then on it is"


# --- over a restart -----------------------------------------------------------------------------


def _again(state: bytes, *, after_s: float) -> DhtCore:
    """The node some time later, on a clock of its own."""
    core = DhtCore(
        OWN,
        is_local=lambda endpoint: endpoint.ip[0] == 10,
        dice=random.Random(2),
        now=5000.0,
        unix_time=UNIX_TIME + after_s,
    )
    core.recall(state, now=5000.0, unix_time=UNIX_TIME + after_s)
    return core


def test_values_come_back_with_what_is_left_of_their_lives() -> None:
    core = _core()
    short, long = values.make(1, b"ice", type=5), signed("alice", 2)
    _put(core, short, long, now=10.0)
    state = core.state(now=20.0, unix_time=UNIX_TIME + 20)
    core = _again(state, after_s=40.0)
    assert core.answers.storage.at(KEY) == [long, short]
    core.on_timer(now=5000.0 + 31.0)
    assert core.answers.storage.at(KEY) == [long]
    core = _again(state, after_s=700.0)
    assert len(core.answers.storage) == 0


@pytest.mark.parametrize("days", [-3, 3])
def test_values_outlast_a_clock_that_is_set(days: int) -> None:
    """A box without a battery starts with a wrong time, and gets the right one from the LAN."""
    set_by = days * 86_400
    core = _core()
    short, week = values.make(1, b"chat"), values.make(2, b"trust request", type=4)
    _put(core, short, week, now=10.0)
    state = core.state(now=20.0, unix_time=UNIX_TIME + 20 + set_by)
    again = _again(state, after_s=40.0 + set_by)
    assert again.answers.storage.at(KEY) == [week, short]
    assert again.answers.storage.left_s(KEY, 1, now=5000.0) == pytest.approx(570.0)
    assert again.answers.storage.left_s(KEY, 2, now=5000.0) == pytest.approx(7 * 86_400 - 30)
    again.on_timer(now=5571.0)
    assert again.answers.storage.at(KEY) == [week]

    back = again.state(now=5600.0, unix_time=UNIX_TIME + 640)  # it is set back
    assert _again(back, after_s=700.0).answers.storage.at(KEY) == [week]
    _put(again, short, created=int(UNIX_TIME) + 640 - 590, now=5600.0)
    assert again.answers.storage.left_s(KEY, 1, now=5600.0) == pytest.approx(10.0)


@pytest.mark.parametrize("set_by", [0.0, 3 * 86_400.0, -3 * 86_400.0])
def test_a_value_is_handed_on_with_the_time_that_it_was_made_at(set_by: float) -> None:
    core = _core()
    week = values.make(1, b"x", type=4)
    core.answers.storage.put(KEY, week, source=ASKER.ip, created_at=10.0, now=10.0)
    for number in range(12):
        _befriend(core, "", at(10 + number), node_id=_near(number), now=15.0 + number)
    core.set_clock(now=30.0, unix_time=UNIX_TIME + 30 + set_by)
    puts = _exchange(
        core, m.Put, [(_near(number), at(10 + number)) for number in range(12)], seconds=40
    )
    assert len(puts) >= 8
    assert {put.created for put, *_ in puts} == {int(UNIX_TIME + 10 + set_by)}


def test_reading_two_clocks_is_no_setting_of_one() -> None:
    """What did not change is not written to the disk again."""
    core = _core()
    _put(core, values.make(1, b"x"), now=10.0)
    state = core.state(now=20.0, unix_time=UNIX_TIME + 20)
    for off_s in (0.1, -0.3, 0.9):
        assert core.state(now=30.0, unix_time=UNIX_TIME + 30 + off_s) == state
    assert core.state(now=30.0, unix_time=UNIX_TIME + 31.1) != state


def test_the_state_is_packed_as_it_was_however_long_that_takes() -> None:
    """Another thread packs it, while values come and go here."""
    core = _core()
    _put(core, *(values.make(id, b"x") for id in range(1, 4)), now=10.0)
    state = core.state(now=20.0, unix_time=UNIX_TIME + 20)
    pack = core.snapshot(now=20.0, unix_time=UNIX_TIME + 20)
    _put(core, values.make(9, b"y"), now=21.0)
    core.on_timer(now=611.0)
    assert pack() == state


def test_known_nodes_are_asked_whether_they_are_there() -> None:
    core = _core()
    _befriend(core, "alice", at(2))
    _befriend(core, "elsewhere", V6)
    _ask(core, m.Ping(**_named("silent")), at(3))
    again = _again(core.state(now=2.0, unix_time=UNIX_TIME + 2), after_s=10.0)
    assert [datagram.to for datagram in again.on_timer(now=5000.0)] == [at(2)]


def test_what_is_remembered_is_bounded() -> None:
    records = [Record(sha1(str(number)), at(number)) for number in range(2000)]
    large = values.make(1, bytes(60_000))
    keys = [sha1(str(number)) for number in range(400)]
    stored = [Stored(large, 0.0, float(number), b"") for number in range(400)]
    packed = states.pack(records, keys, stored, unix_minus_now=UNIX_TIME)
    nodes, kept = states.unpack(packed)
    assert len(nodes) == states.MOST_NODES
    assert len(packed) < states.MOST_BYTES * 1.1
    assert kept[0].expires == UNIX_TIME + 399, "those that live longest"


@given(st.binary(max_size=200))
def test_a_damaged_state_is_refused(data: bytes) -> None:
    packed = states.pack([Record(sha1("x"), at(1))], [], [], unix_minus_now=0.0)
    for damaged in (data, packed[: len(data) % len(packed)], packed + data[:1] + b"x"):
        with pytest.raises(WireError):
            states.unpack(damaged)


@pytest.mark.parametrize("time", [float("nan"), float("inf")])
def test_a_value_that_would_never_go_is_refused(time: float) -> None:
    stored = Stored(values.make(1, b"x"), 0.0, time, b"")
    with pytest.raises(WireError):
        states.unpack(states.pack([], [KEY], [stored], unix_minus_now=UNIX_TIME))


def test_a_state_of_another_version_is_refused() -> None:
    packed = states.pack([], [], [], unix_minus_now=0.0)
    with pytest.raises(WireError, match="version"):
        states.unpack(packed.replace(b"\xa1v\x01", b"\xa1v\x02"))


# --- what nobody can do to it -------------------------------------------------------------------


def test_networks_are_kept_apart() -> None:
    core = _core(network=7)
    assert _ask(core, m.Ping(**_named("x"))) == []
    assert core.dropped["of another network"] == 1
    (pong,) = _ask(core, m.Ping(**_named("x", network=7)))
    assert pong.network == 7


def test_it_does_not_talk_to_itself_or_to_impossible_addresses() -> None:
    core = _core()
    assert _ask(core, m.Ping(transaction=1, node_id=OWN)) == []
    assert core.dropped["from ourselves"] == 1
    assert _ask(core, m.Ping(**_named("x")), at(1, 0)) == []
    assert core.dropped["impossible address"] == 1


def test_a_flood_is_answered_up_to_its_limit() -> None:
    core = _core()
    ping = packing.pack(m.Ping(**_named("x")))[0]
    answered = sum(bool(core.on_datagram(ping, at(1), now=1.0)) for _ in range(5000))
    assert admission.SOURCE_PER_S <= answered <= admission.SOURCE_PER_S + 1
    assert core.on_datagram(ping, at(2), now=1.0), "another is served"


def test_what_is_done_for_one_source_is_bounded_by_what_it_costs() -> None:
    few = range(1, 50)
    forged = [values.parse(signed("alice", id).packed.replace(b"signed", b"forged")) for id in few]
    tiny = [values.make(id, b"") for id in few]
    for costly, cost in ((tiny, 2 * len(few)), (forged, 7 * len(few))):
        core = _core()
        packed = [msgspec.Raw(value.packed) for value in costly]
        asked = {"id": sha1("x"), "h": KEY, "token": _token(core), "values": packed}
        put = msgspec.msgpack.encode({"y": "q", "q": "put", "t": 1, "a": asked})
        served = sum(bool(core.on_datagram(put, ASKER, now=1.0)) for _ in range(100))
        assert 1 <= served <= admission.SOURCE_PER_S / cost + 1
        assert core.dropped["source limit"] == 100 - served
        assert _ask(core, m.Ping(**_named("other")), at(2)), "another is served"


NOTHING = Query((), (Filter(Field.TYPE, 77),))


def _crowded(*, values_at_key: int = 10_000) -> DhtCore:
    """A node where somebody keeps that many values at a key."""
    core = _core()
    for id in range(2**63, 2**63 + values_at_key):
        core.answers.storage.put(KEY, values.make(id, b""), source=b"", created_at=0.0, now=0.0)
    return core


def _served(core: DhtCore, message: m.Message, source: Endpoint, *, times: int = 300) -> int:
    packed = packing.pack(message)[0]
    return sum(bool(core.on_datagram(packed, source, now=1.0)) for _ in range(times))


@pytest.mark.parametrize("query", [NOTHING, Query((Field.ID,), NOTHING.w), Query((), ())])
def test_looking_at_many_values_is_charged_to_whoever_asks(query: Query) -> None:
    core = _crowded()
    get = m.Get(**_named("x"), key=KEY, query=query)
    assert _served(core, get, ASKER) <= 1 + admission.SOURCE_PER_S * 64 / 10_000
    assert core.dropped["source limit"] > 290
    assert _ask(core, m.Ping(**_named("other")), at(2)), "another is served"


def test_one_value_of_many_costs_what_one_of_one_does() -> None:
    """OpenDHT asks for the ids at a key, and then for one value after the other."""
    get = m.Get(**_named("x"), key=KEY, query=Query((), (Filter(Field.ID, 2**63),)))
    assert _served(_crowded(), get, ASKER) == 300


def test_listening_anew_where_there_is_much_is_charged() -> None:
    core = _crowded()
    token = _token(core, at(5))
    listens = [
        m.Listen(**_named("listener"), key=KEY, token=token, socket=socket, query=NOTHING)
        for socket in range(1, 61)
    ]
    assert sum(_served(core, listen, at(5), times=1) for listen in listens) < 10
    assert _served(core, listens[0], at(5), times=1) == 0, "it is over its limit"
    packed = packing.pack(listens[0])[0]
    again = sum(bool(core.on_datagram(packed, at(5), now=now / 10 + 5.0)) for now in range(100))
    assert again == 100, "but who listens already looks at nothing again"


def test_telling_many_listeners_is_charged_to_whoever_has_them_told() -> None:
    core = _core()
    _put(core, values.make(1, b""))
    for number in range(1000):
        listen = m.Listen(
            **_named(f"listener {number}"),
            key=KEY,
            token=core.answers.tokens.make(at(1000 + number)),
            socket=5,
        )
        core.on_datagram(packing.pack(listen)[0], at(1000 + number), now=1.0)
    refresh = m.Refresh(**_named("x"), key=KEY, token=_token(core), value_id=1)
    assert _served(core, refresh, ASKER) <= 1 + admission.SOURCE_PER_S * 32 / 1000


def test_forged_sources_cannot_have_more_looked_at_than_there_is_for_all() -> None:
    """Also where each asks so little that it is served from the reserve."""
    core = _crowded()
    get = m.Get(**_named("x"), key=KEY, query=NOTHING)
    served = sum(_served(core, get, at(1000 + number), times=1) for number in range(5000))
    most = 2 * (admission.TOTAL_PER_S + admission.RESERVE_PER_S)
    assert served <= 2 + most * 64 / 10_000


@pytest.mark.parametrize("query", [Query((Field.ID, Field.OWNER), ()), Query((), ())])
def test_what_a_forged_source_is_sent_is_bounded(query: Query) -> None:
    """A get proves nothing of its address. It is sent 1.5 MB/s, and twice that at first."""
    core = _crowded(values_at_key=3000)
    get = packing.pack(m.Get(**_named("x"), key=KEY, query=query))[0]
    sent, seconds = 0, 5
    for number in range(seconds * 1000):
        for datagram in core.on_datagram(get, at(2), now=1.0 + number / 1000):
            assert len(datagram.data) <= 65_507, "what a datagram of UDP can hold"
            sent += len(datagram.data)
    assert sent <= (seconds + 2) * 1_500_000


def test_an_answer_of_tiny_values_is_no_flood_of_datagrams() -> None:
    core = _crowded()
    get = packing.pack(m.Get(**_named("x"), key=KEY))[0]
    reply, *parts = map(wire.parse, [one.data for one in core.on_datagram(get, at(2), now=1.0)])
    parts = [part for part in parts if isinstance(part, m.Parts)]
    assert isinstance(reply, m.Reply)
    assert 1000 < len(reply.missing) == len(parts) <= 2048


def test_a_datagram_that_takes_long_to_read_is_not_read_for_who_is_over_the_limit() -> None:
    core = _core()
    said = {"id": sha1("x"), "h": KEY, "values": [{}] * 51}
    nonsense = msgspec.msgpack.encode({"y": "q", "q": "put", "t": 1, "a": said})
    for _ in range(2000):
        core.on_datagram(nonsense, ASKER, now=1.0)
    assert core.dropped["source limit"] == 2000 - core.dropped["malformed"] > 900
    said = {"id": sha1("x"), "values": [{}] * 51}
    reply = msgspec.msgpack.encode({"y": "r", "t": 1, "r": said})
    core.on_datagram(reply, at(2), now=1.0)
    assert core.dropped["not asked for"] == 1


def test_a_long_datagram_counts_as_the_packets_that_it_takes() -> None:
    core = _core()
    said = {"id": sha1("x"), "h": KEY, "sid": 5, "re": [7] * 4096, "exp": [7] * 4096}
    update = msgspec.msgpack.encode({"y": "q", "q": "update", "t": 1, "a": said})
    read = 0
    for _ in range(3000):
        dropped = core.dropped.total()
        core.on_datagram(update, ASKER, now=1.0)
        read += core.dropped.total() == dropped
    assert read <= 2 + admission.SOURCE_PER_S * 64 / 8192


def test_what_brings_nothing_costs_a_query() -> None:
    core = _core()
    put = packing.pack(m.Put(**_named("x"), key=KEY, token=_token(core)))[0]
    for _ in range(2000):
        core.on_datagram(put, ASKER, now=1.0)
    assert core.asked["put"] <= admission.SOURCE_PER_S
    assert core.dropped["source limit"] > 900


def test_as_many_fields_are_told_as_fit_in_a_datagram() -> None:
    core = _core()
    for id in range(2**63, 2**63 + 6000):
        core.answers.storage.put(KEY, values.make(id, b""), source=b"", created_at=0.0, now=0.0)
    get = m.Get(**_named("x"), key=KEY, query=Query((Field.ID, Field.SEQ), ()))
    (reply,) = core.on_datagram(packing.pack(get)[0], ASKER, now=1.0)[:1]
    assert len(reply.data) < 65_000


def test_what_anybody_is_told_unasked_for_a_proof_is_bounded() -> None:
    """A get proves nothing of its address: as much as it causes, somebody else may be sent."""
    core = _core()
    for id in range(1, 18):
        _put(core, values.make(id, bytes(60_000)), source=at(9 + id))
    get = packing.pack(m.Get(**_named("x"), key=KEY))[0]
    sent = [core.on_datagram(get, at(2), now=1.0) for _ in range(1000)]
    assert max(map(len, sent)) <= 1 + REPLY_BYTES / packing.PART_BYTES + 17
    assert sum(map(len, sent)) < 2 * admission.SOURCE_PER_S


def test_what_is_stored_is_bounded_at_once_and_not_a_second_later() -> None:
    core = _core()
    core.answers.storage = Storage(total_bytes=1_000_000)
    for id in range(1, 40):
        _put(core, values.make(id, bytes(60_000)), source=at(100 + id))
        assert core.answers.storage.cost <= 1_000_000


def test_many_who_claim_to_be_nodes_are_pinged_up_to_a_limit() -> None:
    core = _core()
    pings = 0
    for number in range(3000):
        packed = packing.pack(m.Ping(transaction=1, node_id=sha1(str(number))))[0]
        pings += len(core.on_datagram(packed, at(1 + number), now=1.0)) - 1
    assert pings <= upkeep.NEWCOMERS_PER_S


def test_nothing_that_is_sent_to_it_escapes_or_fills_the_memory() -> None:
    """100,000 mutations of what real peers said, from many addresses, while time passes. Each is
    answered, or the answer to something, or counted; or a part of something that is so."""
    dice = random.Random(1)
    core = _core()
    _listen(core, at(5))
    core.put(KEY, values.make(1, b"x"), permanent=True, now=1.0)
    core.listen(KEY, now=1.0)
    ledger = _Ledger(core)
    now, pending, nodes = 1.0, 0, 0
    for number in range(100_000):
        now += 0.0005
        source = at(dice.randrange(1, 500))
        data = _mutated(dice, _with_token(core, dice.choice(recorded.DATAGRAMS), source))
        outgoing = ledger.send(data, source, now=now)
        if number % 20 == 0:
            outgoing += core.on_timer(now=now)
        if outgoing and dice.random() < 0.1:  # an answer that fits, spoilt
            said = wire.parse(outgoing[0].data)
            if isinstance(said, m.Asked):
                reply = m.Reply(transaction=said.transaction, node_id=sha1("x"), token=b"t")
                ledger.send(_mutated(dice, packing.pack(reply)[0]), outgoing[0].to, now=now)
        pending = max(pending, len(core._requests))  # noqa: SLF001
        nodes = max(nodes, len(core.tables[4]))
    (pong,) = _ask(core, m.Ping(**_named("honest")), at(999), now=now)
    assert pong.node_id == OWN
    assert ledger.answered > 10_000
    assert core.dropped.total() > 20_000
    assert core.dropped["never whole"] > 1000
    assert core.answers.storage.cost > 10_000, "some get past the tokens"
    core.on_timer(now=now + 20)
    assert ledger.is_balanced()
    assert pending <= 2000
    assert nodes <= 1000
    assert core.answers.storage.cost < 4 * 1024 * 1024


class _Ledger:
    """What became of each datagram that a node was sent."""

    def __init__(self, core: DhtCore) -> None:
        self._core = core
        self._fragments = core._inbox.fragments  # noqa: SLF001
        self._dropped_before = core.dropped.total()
        self.sent = self.answered = self.joined = 0

    def send(self, data: bytes, source: Endpoint, *, now: float) -> list[Datagram]:
        held, lost = self._fragments.datagrams, self._lost()
        dropped, is_awaited = self._core.dropped.total(), self._is_awaited(data, source)
        outgoing = self._core.on_datagram(data, source, now=now)
        self.sent += 1
        was_answered = any(isinstance(one, m.Reply | m.Error) for one in _said(outgoing, source))
        if was_answered or (is_awaited and dropped == self._core.dropped.total()):
            self.answered += 1
        self.joined += max(0, held - self._fragments.datagrams - (self._lost() - lost))
        return outgoing

    def is_balanced(self) -> bool:
        """Whether there is nothing that nothing became of."""
        others = self._core.dropped["a value that is none"]
        dropped = self._core.dropped.total() - self._dropped_before - others
        return self.sent == self.answered + self.joined + dropped + self._fragments.datagrams

    def _lost(self) -> int:
        return self._core.dropped["never whole"] + self._core.dropped["too much in parts"]

    def _is_awaited(self, data: bytes, source: Endpoint) -> bool:
        try:
            said = wire.parse(data)
        except WireError:
            return False
        if not isinstance(said, m.Reply | m.Error):
            return False
        awaited = self._core._requests.awaited  # noqa: SLF001
        return awaited(said.transaction, source, said.node_id) is not None


def _with_token(core: DhtCore, datagram: bytes, source: Endpoint) -> bytes:
    """A recorded query as its sender would say it here."""
    packed = msgpack.unpackb(datagram, strict_map_key=False)
    if "token" not in packed.get("a", {}):
        return datagram
    packed["a"]["token"] = core.answers.tokens.make(source)
    return bytes(msgpack.packb(packed))


def _mutated(dice: random.Random, datagram: bytes) -> bytes:
    data = bytearray(datagram)
    for _ in range(dice.randrange(4)):
        at_byte = dice.randrange(len(data) + 1)
        match dice.randrange(5):
            case 0 if at_byte < len(data):
                data[at_byte] ^= 1 << dice.randrange(8)
            case 1 if at_byte < len(data):
                data[at_byte] = dice.randrange(256)
            case 2:
                del data[at_byte : at_byte + dice.randrange(1, 20)]
            case 3:
                data[at_byte:at_byte] = dice.randbytes(dice.randrange(1, 20))
            case 4:
                data = data[:at_byte]
    return bytes(data)


def test_so_many_requests_are_on_their_way_and_the_rest_is_told_that_it_is_not() -> None:
    one = Requests(OWN, network=0, dice=random.Random(1))
    node = Node(sha1("x"), at(1))
    refused: list[float] = []
    for _ in range(2000):
        one.send(Request(m.Ping(), at(1), node, on_lost=refused.append), now=0.0)
    assert len(one) == node.pending == len(one.take()) == 1024
    one.send(Request(m.Ping(), at(2), None), now=0.0)
    assert [datagram.to for datagram in one.take()] == [at(2)], "others have room of their own"
    one.on_timer(now=1.0)
    assert refused == [1.0] * (2000 - 1024)
    assert [node.is_expired] == [False], "it was not asked"
    one.on_timer(now=2.2)
    one.on_timer(now=5.0)
    assert len(refused) == 2000
    assert node.is_expired
    assert len(one) == 0
    one.send(Request(m.Ping(), at(1), node), now=5.0)
    assert len(one) == 1


def test_the_memory_for_requests_is_bounded_whomever_they_go_to() -> None:
    one = Requests(OWN, network=0, dice=random.Random(1))
    put = m.Put(key=KEY, token=b"", values=(values.make(1, bytes(60_000)),))
    for number in range(1, 1000):
        one.send(Request(put, at(number), None), now=0.0)
    assert len(one) * 60_000 <= MOST_BYTES < (len(one) + 1) * 62_000
