"""The DHT's datagrams: those of real peers, our own, and what anybody else may send."""

import struct
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.dhtnode import messages as m
from lanjami.dhtnode import packing, wire
from lanjami.dhtnode import value as values
from lanjami.dhtnode.endpoint import Endpoint, Record
from lanjami.dhtnode.fragments import Fragments
from lanjami.dhtnode.query import EVERYTHING, Field, Filter, Query, index
from lanjami.dhtnode.value import Value
from lanjami.errors import WireError
from tests.support import recorded
from tests.support.dht_values import at, by_id, encrypted, sha1, signed
from tests.unit.test_dhtnode_value import anything

KNOWN: dict[str, Any] = {"transaction": 5, "node_id": sha1("asker"), "is_client": True}

ids = st.binary(min_size=20, max_size=20).filter(any)
transactions = st.integers(0, 2**32 - 1)
endpoints = st.builds(
    Endpoint,
    st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16),
    st.integers(0, 65535),
    st.just(0),
)
small_values = st.builds(values.make, st.integers(1, 2**64 - 1), st.binary(max_size=60))
filters = st.builds(
    Filter, st.sampled_from([Field.ID, Field.TYPE, Field.SEQ]), st.integers(0, 2**64 - 1)
) | st.builds(Filter, st.sampled_from([Field.OWNER, Field.USER_TYPE]), st.binary(max_size=20))
queries = st.builds(
    Query,
    st.lists(st.sampled_from(list(Field)), max_size=5).map(tuple),
    st.lists(filters, max_size=3).map(tuple),
)
wants = st.sampled_from([(), (4,), (6,), (4, 6)])
few = st.lists(small_values, max_size=3).map(tuple)
numbers = st.lists(st.integers(0, 2**64 - 1), max_size=5).map(tuple)
spoken: dict[str, Any] = {
    "transaction": transactions,
    "network": transactions,
    "node_id": ids,
    "is_client": st.booleans(),
}
messages = st.one_of(
    st.builds(m.Ping, **spoken),
    st.builds(m.Find, **spoken, target=ids, want=wants),
    st.builds(m.Get, **spoken, key=ids, query=queries, want=wants),
    st.builds(
        m.Put,
        **spoken,
        key=ids,
        token=st.binary(max_size=64),
        values=few,
        missing=st.just({}),
        created=st.none() | st.integers(0, 2**32),
    ),
    st.builds(m.Refresh, **spoken, key=ids, token=st.binary(max_size=64), value_id=transactions),
    st.builds(
        m.Listen,
        **spoken,
        key=ids,
        token=st.binary(max_size=64),
        socket=transactions,
        query=queries,
    ),
    st.builds(
        m.Reply,
        **spoken,
        nodes=st.lists(st.builds(Record, ids, endpoints), max_size=4).map(
            lambda nodes: tuple(sorted(nodes, key=lambda n: n.endpoint.version))
        ),
        token=st.binary(max_size=64),
        values=few,
        missing=st.just({}),
        index=st.none(),
        value_id=transactions,
        seen_as=st.binary(min_size=4, max_size=4),
        refreshed=numbers,
        expired=numbers,
    ),
    st.builds(
        m.Error,
        transaction=transactions,
        network=transactions,
        code=st.integers(0, 65535),
        text=st.text(max_size=30),
        node_id=ids,
    ),
)  # fmt: skip


def _parsed(datagrams: list[bytes]) -> m.Message:
    """The message that arrives, put together where it came in parts."""
    message, *parts = map(wire.parse, datagrams)
    fragments = Fragments()
    whole: m.Message | None = message
    if isinstance(message, m.Bearing) and message.missing:
        whole = fragments.on_message(at(1), message, asked=True, now=0.0)
    for part in parts:
        assert isinstance(part, m.Parts)
        whole = fragments.on_parts(at(1), part, now=0.0)
    assert whole is not None
    assert not fragments.cost
    return whole


@pytest.mark.parametrize("row", recorded.ROWS, ids=lambda row: str(row["from"]))
def test_a_real_peer_is_understood_to_the_last_member(row: dict[str, str]) -> None:
    datagram = bytes.fromhex(row["datagram"])
    message = wire.parse(datagram)
    if isinstance(message, m.Bearing) and message.missing:
        return  # packed again without its parts it is another
    theirs = msgpack.unpackb(datagram, strict_map_key=False)
    ours = msgpack.unpackb(packing.pack(message)[0], strict_map_key=False)
    assert ours.pop("v", None) in (packing.PROGRAM, None)
    theirs.pop("v", None)
    theirs.get("r", {}).pop("fileds", None)  # the answer to what we never ask
    assert ours == theirs


@given(messages)
def test_a_message_survives_the_wire(message: m.Message) -> None:
    datagrams = packing.pack(message)
    assert all(len(datagram) <= 1500 for datagram in datagrams)
    assert _parsed(datagrams) == message


@given(
    st.lists(
        st.builds(values.make, st.integers(1, 2**64 - 1), st.binary(min_size=500, max_size=9000)),
        min_size=1,
        max_size=4,
    )
)
def test_large_values_come_in_parts(large: list[Value]) -> None:
    update = m.Update(**KNOWN, socket=7, key=sha1("key"), token=b"t", values=tuple(large))
    assert _parsed(packing.pack(update)) == update


def test_many_small_values_come_in_parts_too() -> None:
    many = tuple(values.make(id, b"") for id in range(1, packing.INLINE_VALUES + 1))
    reply = m.Reply(**KNOWN, values=many)
    assert len(packing.pack(reply)) == 1 + packing.INLINE_VALUES
    assert _parsed(packing.pack(reply)) == reply


@pytest.mark.parametrize("value", [signed("alice"), encrypted(), values.make(1, b"", priority=1)])
def test_a_value_is_passed_on_to_the_byte(value: Value) -> None:
    put = m.Put(**KNOWN, key=sha1("key"), token=b"t", values=(value,))
    (datagram,) = packing.pack(put)
    assert value.packed in datagram
    arrived = wire.parse(datagram)
    assert isinstance(arrived, m.Put)
    assert arrived.values[0].packed == value.packed


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_refused(datagram: bytes) -> None:
    try:
        wire.parse(datagram)
    except WireError:
        return


@given(anything)
def test_any_object_is_a_message_or_refused(made: object) -> None:
    for packed in (
        made,
        {"y": "q", "q": "put", "a": made, "t": 1},
        {"y": "r", "r": {"id": sha1("x"), "values": made}, "t": 1},
        {"y": "e", "e": made},
        {"y": "p", "p": made, "t": 1},
        {"y": "q", "q": "get", "a": {"id": sha1("x"), "h": sha1("y"), "q": made}, "t": 1},
    ):
        try:
            wire.parse(msgpack.packb(packed))
        except WireError:
            continue


_NAMES = ["id", "h", "target", "q", "token", "vid", "n4", "n6", "c", "sa", "values", "exp", "re"]
_ARGUMENTS = st.dictionaries(st.sampled_from([*_NAMES, "fileds", "w", "sid", "ve"]), anything)
_QUERIES = ["ping", "find", "get", "put", "refresh", "listen", "update"]


@given(st.sampled_from(_QUERIES), _ARGUMENTS, st.data())
def test_a_query_with_any_arguments_is_a_message_or_refused(
    name: str, arguments: dict[str, object], data: st.DataObject
) -> None:
    said = {"id": sha1("x"), "h": sha1("h"), "target": sha1("t"), **arguments}
    top = {"y": "q", "q": name, "a": said, "t": data.draw(anything | transactions)}
    try:
        wire.parse(msgpack.packb(top))
    except WireError:
        return


@pytest.mark.parametrize(
    "packed",
    [
        {"y": "q", "q": "ping", "a": {"id": bytes(20)}, "t": 1},
        {"y": "q", "q": "ping", "a": {}, "t": 1},
        {"y": "q", "q": "dance", "a": {"id": sha1("x")}, "t": 1},
        {"y": "q", "q": "get", "a": {"id": sha1("x")}, "t": 1},
        {"y": "q", "q": "find", "a": {"id": sha1("x"), "target": b"short"}, "t": 1},
        {"y": "q", "q": "ping", "a": {"id": sha1("x")}, "t": 1 << 32},
        {"y": "q", "q": "ping", "a": {"id": sha1("x")}, "t": -1},
        {"y": "r", "r": {"id": sha1("x"), "n4": bytes(27)}, "t": 1},
        {"y": "r", "t": 1},
        {"y": "e", "e": ["text"], "t": 1},
        {"y": "e", "e": [], "t": 1},
        {"y": "p", "p": {}, "t": 1},
        {"y": "p", "p": {0: {"o": 0, "d": b""}}, "t": 1},
        {"y": "z", "t": 1},
        {"y": "q", "q": "get", "t": 1, "a": {"id": sha1("x"), "h": sha1("h"), "q": {
            "s": [], "w": [{"f": 1, "v": b"bytes"}]}}},
    ],
)  # fmt: skip
def test_nonsense_is_refused(packed: dict[str, object]) -> None:
    with pytest.raises(WireError):
        wire.parse(msgpack.packb(packed))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(WireError):
        wire.parse(b"\x82\xa1y\xa1q\xa1z" + b"\x91" * 60_000)


@pytest.mark.parametrize("seconds", [253_402_300_800, -(2**62), 2**62])
def test_a_time_that_python_has_no_type_for_is_refused(seconds: int) -> None:
    """A timestamp of MessagePack beyond the year 9999, wherever a datagram may have one."""
    time = msgspec.Raw(b"\xc7\x0c\xff" + struct.pack(">Iq", 0, seconds))
    own = {"id": sha1("x")}
    for packed in (
        {"y": "e", "t": 1, "e": [400, time]},
        {"y": "q", "t": time, "q": "ping", "a": own},
        {"y": "q", "t": 1, "q": "put", "a": own | {"h": sha1("h"), "c": time}},
    ):
        with pytest.raises(WireError):
            wire.parse(msgspec.msgpack.encode(packed))


def test_one_bad_value_costs_nobody_the_others() -> None:
    good = values.make(3, b"good")
    said = {
        "id": sha1("x"),
        "h": sha1("h"),
        "token": b"t",
        "values": [1, {"id": 1}, msgpack.unpackb(good.packed), "text", 0, 70_000_000],
    }
    message = wire.parse(msgpack.packb({"y": "q", "q": "put", "a": said, "t": 1}))
    assert isinstance(message, m.Put)
    assert message.values == (good,)
    assert message.missing == {0: 1}


def test_an_old_transaction_of_four_bytes_is_a_number() -> None:
    packed = {"y": "q", "q": "ping", "a": {"id": sha1("x")}, "t": b"\0\0\1\0"}
    assert wire.parse(msgpack.packb(packed)).transaction == 256


def test_a_wish_for_families_is_kept_once_and_unknown_ones_passed_over() -> None:
    said = {"id": sha1("x"), "target": sha1("t"), "w": [10, 2, 2, 77]}
    message = wire.parse(msgpack.packb({"y": "q", "q": "find", "a": said, "t": 1}))
    assert isinstance(message, m.Find)
    assert message.want == (6, 4)


def test_fields_come_one_value_after_the_other() -> None:
    found = [signed("alice", 1, seq=5), values.make(2, b"x")]
    reply = m.Reply(**KNOWN, token=b"t", index=index(found, (Field.ID, Field.SEQ), size=100))
    packed = msgpack.unpackb(packing.pack(reply)[0])
    assert packed["r"]["fileds"] == {"f": [1, 4], "v": [1, 5, 2, 0]}


def test_fields_are_told_of_as_many_values_as_there_is_room_for() -> None:
    long = values.make(1, b"", user_type="x" * 60_000)
    others = [values.make(2**63, b"", user_type="y" * 100) for _ in range(9000)]
    found = [values.make(7, b"", user_type="é"), long, *others]
    told = index(found, (Field.ID, Field.USER_TYPE), size=50_000)
    assert told.v[:4] == [7, "é", 2**63, "y" * 100], "what is too long for it is passed over"
    assert 45_000 < len(msgspec.msgpack.encode(told)) <= 50_000


def test_what_takes_long_to_look_at_is_refused_at_once() -> None:
    """Inline values are few: with more, a datagram of 4 kB took 9 ms to find that none is one."""
    for kind, within in (("q", "a"), ("r", "r")):
        said = {"id": sha1("x"), "h": sha1("key"), "values": [{}] * 51}
        packed = {"y": kind, "q": "put", within: said, "t": 1}
        with pytest.raises(WireError, match="too many"):
            wire.parse(msgpack.packb(packed))
        said["values"] = [7] * 4096
        message = wire.parse(msgpack.packb(packed))
        assert isinstance(message, m.Put | m.Reply)
        assert len(message.missing) == 4096, "but sizes are many"


def test_a_query_takes_what_it_says() -> None:
    text = values.make(5, b"x", type=3, user_type="text/plain")
    mine = signed("alice", 6, seq=4)
    assert EVERYTHING.takes(text)
    assert by_id(5).takes(text)
    assert not by_id(6).takes(text)
    for filter in (
        Filter(Field.TYPE, 3),
        Filter(Field.USER_TYPE, b"text/plain"),
        Filter(Field.SEQ, 0),
    ):
        assert Query((), (filter,)).takes(text)
    assert Query((), (Filter(Field.OWNER, mine.owner_id), Filter(Field.SEQ, 4))).takes(mine)
    assert not Query((), (Filter(Field.OWNER, mine.owner_id),)).takes(text)


@given(st.lists(st.sampled_from([
    Filter(Field.ID, 5), Filter(Field.ID, 6), Filter(Field.TYPE, 3), Filter(Field.TYPE, 0),
    Filter(Field.SEQ, 0), Filter(Field.SEQ, 4), Filter(Field.USER_TYPE, b"text/plain"),
    Filter(Field.USER_TYPE, b""), Filter(Field.USER_TYPE, b"\xff"), Filter(Field.OWNER, b""),
]), max_size=4))  # fmt: skip
def test_of_many_values_a_query_takes_what_it_takes_of_each(filters: list[Filter]) -> None:
    query = Query((), tuple(filters))
    there = [values.make(5, b"x", type=3, user_type="text/plain"), signed("alice", 6, seq=4)]
    assert query.select(there) == [value for value in there if query.takes(value)]
