"""Values in JSON: the same bytes come back, and nothing else is taken."""

import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.dhtnode import value as values
from lanjami.dhtnode.value import Body, Content, Value
from lanjami.dhtnode.value_json import (
    LARGEST,
    PushAddress,
    read,
    read_push_address,
    with_id,
    write,
)
from lanjami.errors import RequestError
from tests.support import recorded
from tests.support.dht_values import encrypted, signed

ids = st.integers(0, 2**64 - 1)
u16 = st.integers(0, 2**16 - 1)
u32 = st.integers(0, 2**32 - 1)
user_types = st.none() | st.text(min_size=1, max_size=20)
keys = st.binary(min_size=1, max_size=300)
unsigned = st.builds(Content, st.builds(Body, u16, st.binary(max_size=300), utype=user_types))
owned = st.builds(
    Content,
    st.builds(
        Body,
        u16,
        st.binary(max_size=300),
        u16,
        keys,
        st.none() | st.binary(min_size=20, max_size=20).filter(any),
        user_types,
    ),
    st.binary(min_size=1, max_size=300),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
members = st.sampled_from(
    ["id", "cypher", "sig", "seq", "owner", "to", "type", "data", "utype", "prio", "pt", "key"]
)


@given(id=ids, inside=unsigned | owned | st.binary(min_size=1), priority=u32, push=st.text())
def test_any_value_survives(id: int, inside: Content | bytes, priority: int, push: str) -> None:
    value = values.pack(id, inside, priority=priority, push_type=push)
    put = read(write(value))
    assert put.value.packed == value.packed
    assert (put.is_permanent, put.push) == (False, None)
    assert read(write(value, expired=True)).value.packed == value.packed


@pytest.mark.parametrize("value", recorded.values())
def test_what_real_peers_packed_comes_back_to_the_byte(value: Value) -> None:
    again = read(write(value)).value
    assert again.packed == value.packed
    assert values.is_genuine(again) == values.is_genuine(value)


def test_a_value_packed_in_another_order_keeps_its_signature() -> None:
    value = signed("alice", data=b"x", user_type="t")
    inside = values.content(value)
    assert isinstance(inside, Content)
    body = {
        "utype": "t", "data": b"x", "type": 0, "owner": inside.body.owner, "seq": 0, "new": 1,
    }  # fmt: skip
    other = values.parse(
        msgspec.msgpack.encode({"dat": {"sig": inside.sig, "body": body}, "id": 1})
    )
    assert values.is_genuine(other)
    assert read(write(other)).value.packed == value.packed


def test_it_is_written_as_opendht_writes_it() -> None:
    value = values.make(2**64 - 1, b"hello", type=3, user_type="text/plain", priority=1)
    assert json.loads(write(value)) == {
        "id": "18446744073709551615",
        "type": 3,
        "data": "aGVsbG8=",
        "utype": "text/plain",
        "prio": 1,
    }
    assert json.loads(write(encrypted(1, b"secret"), expired=True)) == {
        "id": "1",
        "cypher": "c2VjcmV0",
        "expired": True,
    }
    said = json.loads(write(signed("alice", 7, seq=2, to=bytes(range(20)))))
    assert said.keys() == {"id", "sig", "seq", "owner", "to", "type", "data"}
    assert said["to"] == bytes(range(20)).hex()
    lines = said["owner"].splitlines()
    assert (lines[0], lines[-1]) == ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----")
    assert max(map(len, lines)) == 64


def test_an_empty_encrypted_value_is_an_empty_one() -> None:
    assert json.loads(write(encrypted(1, b""))) == {"id": "1", "type": 0, "data": ""}


def test_an_owner_with_the_zero_of_c_behind_it_is_taken() -> None:
    """OpenDHT's clients before 2026 write it."""
    value = signed("alice")
    said = json.loads(write(value))
    said["owner"] += "\0"
    assert read(json.dumps(said).encode()).value.packed == value.packed


@pytest.mark.parametrize(
    ("id", "read_as"), [("7", 7), (7, 7), (None, 0), ("0", 0), (2**64 - 1, 2**64 - 1)]
)
def test_an_id_is_a_number_in_either_form(id: str | int | None, read_as: int) -> None:
    said = {"data": "", **({} if id is None else {"id": id})}
    value = read(json.dumps(said).encode()).value
    assert value.id == read_as
    assert with_id(value, 9).id == 9


def test_with_another_id_all_else_stays() -> None:
    value = values.pack(0, Content(Body(3, b"x")), priority=2, push_type="call")
    again = with_id(value, 5)
    assert values.hints(again) == (2, "call")
    assert (
        again.packed == values.pack(5, Content(Body(3, b"x")), priority=2, push_type="call").packed
    )


@pytest.mark.parametrize(
    ("permanent", "push"),
    [
        (True, None),
        (False, None),  # to OpenDHT, that it is there at all counts
        ({"key": "", "client_id": "x"}, None),
        ({"key": "token", "new": 1}, PushAddress(key="token")),
    ],
)
def test_a_permanent_put_is_recognised(permanent: object, push: PushAddress | None) -> None:
    put = read(json.dumps({"data": "", "permanent": permanent}).encode())
    assert (put.is_permanent, put.push) == (True, push)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"\xff",
        b'{"id": -1}',
        b'{"id": "-1"}',
        b'{"id": ""}',
        b'{"id": "0x7"}',
        b'{"id": "\xd9\xa1"}',
        b'{"id": 18446744073709551616}',
        b'{"id": "99999999999999999999"}',
        b'{"id": "000000000000000000001"}',
        b'{"id": 1.5}',
        b'{"data": "a"}',
        b'{"data": "aGVsbG8"}',
        b'{"data": "aGVs bG8="}',
        b'{"data": "\xc3\xa4"}',
        b'{"data": 7}',
        b'{"cypher": "%"}',
        b'{"type": 65536}',
        b'{"type": -1}',
        b'{"type": "3"}',
        b'{"seq": 65536}',
        b'{"prio": -1}',
        b'{"to": "abc"}',
        b'{"to": "' + b"g" * 40 + b'"}',
        b'{"utype": "\\ud800"}',
        b'{"permanent": 1}',
        b'{"permanent": {"key": 7}}',
        b'{"owner": "x", "sig": ""}',
        b'{"owner": "-----BEGIN PUBLIC KEY-----\\n-----END PUBLIC KEY-----", "sig": ""}',
        b'{"owner": "-----BEGIN PUBLIC KEY-----AAAA-----END PUBLIC KEY-----"}',
        b"[" * 10_000,
    ],
)
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        read(text)
    assert caught.value.status == 400


def test_what_is_too_large_is_refused() -> None:
    for parse in (read, read_push_address):
        with pytest.raises(RequestError) as caught:
            parse(b" " * (LARGEST + 1))
        assert caught.value.status == 413
    whole = values.make(1, bytes(values.LARGEST))
    assert read(write(whole)).value.packed == whole.packed
    with pytest.raises(RequestError):
        read(b'{"data": "' + b"A" * 90_000 + b'"}')


@given(st.binary(max_size=300))
def test_any_bytes_are_a_value_or_refused(text: bytes) -> None:
    _reads_or_refuses(text)


@given(st.dictionaries(members, anything | st.just("AAAA") | u16, max_size=8))
def test_any_json_is_a_value_or_refused(said: dict[str, object]) -> None:
    _reads_or_refuses(json.dumps(said).encode())


def _reads_or_refuses(text: bytes) -> None:
    for parse in (read, read_push_address):
        with suppress(RequestError):
            parse(text)


def test_where_to_push_needs_a_token() -> None:
    said = {
        "key": "http://ntfy/x", "client_id": "c", "session_id": "s", "topic": "t",
        "platform": "unifiedpush", "refresh": True,
    }  # fmt: skip
    assert read_push_address(json.dumps(said).encode()) == PushAddress(**said)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="No token"):
        read_push_address(b'{"client_id": "c"}')
