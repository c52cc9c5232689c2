"""The questions to the DHT node, and its answers as OpenDHT gave them."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.dhtnode.heartbeat import Heartbeat, Reply
from lanjami.errors import WireError

RECORDED: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "data" / "heartbeat.json").read_text("utf-8")
)
NODE_ID = bytes.fromhex(RECORDED["node_id"])
ASKER_ID = bytes.fromhex(RECORDED["asker_id"])
CONTENT = b"lanjami heartbeat " + ASKER_ID
HEARTBEAT = Heartbeat(asker_id=ASKER_ID, node_id=NODE_ID)


def _query(step: str) -> bytes:
    return bytes.fromhex(RECORDED[step]["query"])


def _reply(step: str) -> bytes:
    return bytes.fromhex(RECORDED[step]["reply"])


def _packed(reply: object, **members: object) -> bytes:
    packed: bytes = msgpack.packb({"y": "r", "t": 1, "r": reply, **members})
    return packed


def _value(content: object = CONTENT, id: object = 1) -> dict[str, object]:
    return {"id": id, "dat": {"body": {"type": 0, "data": content}}}


def test_a_recorded_beat_succeeds() -> None:
    opened = HEARTBEAT.parse(_reply("get"))
    assert opened == Reply(1, NODE_ID, opened.token, has_value=False)
    assert len(opened.token) == 32
    assert HEARTBEAT.parse(_reply("put")) == Reply(2, NODE_ID, b"", has_value=False)
    assert HEARTBEAT.parse(_reply("get_again")) == Reply(3, NODE_ID, opened.token, has_value=True)


def test_the_queries_are_those_that_opendht_answered() -> None:
    token = HEARTBEAT.parse(_reply("get")).token
    assert HEARTBEAT.get(1) == _query("get")
    assert HEARTBEAT.put(2, token=token) == _query("put")
    assert HEARTBEAT.get(3) == _query("get_again")


def test_an_error_is_no_reply() -> None:
    with pytest.raises(WireError):
        HEARTBEAT.parse(_reply("put_with_wrong_token"))


def test_the_value_of_another_asker_is_not_ours() -> None:
    other = Heartbeat(asker_id=bytes(20), node_id=NODE_ID)
    assert not other.parse(_reply("get_again")).has_value


def test_the_key_is_beside_the_node_and_the_asker_is_a_client() -> None:
    for query in (HEARTBEAT.get(1), HEARTBEAT.put(1, token=b"t")):
        message = msgpack.unpackb(query)
        key = message["a"]["h"]
        # near the node's id, so that it is stored, and not to be guessed by others
        assert key[:12] == NODE_ID[:12]
        assert key[12:] == ASKER_ID[:8]
        assert message["a"]["id"] == ASKER_ID
        assert message["s"] is True


def test_our_value_is_found_among_others() -> None:
    values = [7, {}, _value(id=2), {"id": 1}, _value()]
    assert HEARTBEAT.parse(_packed({"id": NODE_ID, "values": values})).has_value


@pytest.mark.parametrize(
    "values",
    [None, [], {}, "x", [None], [_value(b"")], [_value("text")], [_value(id=2)], [{"id": 1}]],
)
def test_other_values_are_not_ours(values: object) -> None:
    assert not HEARTBEAT.parse(_packed({"id": NODE_ID, "values": values})).has_value


def test_a_token_that_is_none_is_empty() -> None:
    assert HEARTBEAT.parse(_packed({"id": NODE_ID, "token": 7})).token == b""


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\xc1",
        b"\x91" * 5000,
        b"\x81\x80\x00",
        msgpack.packb([]),
        msgpack.packb({}),
        HEARTBEAT.get(1),
        _packed({}),
        _packed({"id": "text"}),
        _packed([NODE_ID]),
        _packed({"id": NODE_ID}, y="q"),
        _packed({"id": NODE_ID}, t="1"),
        _packed({"id": NODE_ID}) + b"\0",
    ],
    ids=lambda datagram: datagram[:12].hex(),
)
def test_what_is_no_reply_is_refused(datagram: bytes) -> None:
    with pytest.raises(WireError):
        HEARTBEAT.parse(datagram)


_scalars = st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=9) | st.binary()
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_scalars, inner, max_size=3),
    max_leaves=10,
)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_reply_or_refused(datagram: bytes) -> None:
    with suppress(WireError):
        HEARTBEAT.parse(datagram)


@given(_values)
def test_any_value_is_a_reply_or_refused(value: object) -> None:
    with suppress(WireError):
        HEARTBEAT.parse(msgpack.packb(value))


@given(_values, _values, _values, _values)
def test_any_members_are_a_reply_or_refused(
    id: object, token: object, a: object, b: object
) -> None:
    values = [a, {"id": 1, "dat": b}, {"id": 1, "dat": {"body": a}}]
    with suppress(WireError):
        HEARTBEAT.parse(_packed({"id": id, "token": token, "values": values}))
    reply = HEARTBEAT.parse(_packed({"id": NODE_ID, "token": token, "values": [a, b]}))
    assert isinstance(reply.token, bytes)
