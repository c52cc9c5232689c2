"""Values: kept to the byte, and signatures as OpenDHT makes them."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.dhtnode import value as values
from lanjami.dhtnode.value import Value
from lanjami.errors import WireError
from tests.support import recorded
from tests.support.dht_values import encrypted, sha1, signed

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)  # fmt: skip
members = st.sampled_from(["id", "dat", "body", "type", "data", "seq", "owner", "sig", "utype"])


def test_recorded_values_are_what_their_owners_said() -> None:
    found = recorded.values()
    assert any(value.is_encrypted for value in found)
    assert {value.seq for value in found if value.is_signed} == {0, 1}, "one was edited"
    assert {10, 3000} <= {value.size for value in found}
    for value in found:
        assert values.is_genuine(value) == value.is_signed


@pytest.mark.parametrize("value", [v for v in recorded.values() if v.is_signed])
def test_a_recorded_signature_covers_the_content(value: Value) -> None:
    content = msgpack.unpackb(value.packed)
    content["dat"]["body"]["data"] += b"!"
    assert not values.is_genuine(values.parse(msgpack.packb(content)))


def test_a_value_of_ours_is_packed_as_opendht_packs() -> None:
    made = values.make(7, b"hello", type=3, user_type="text/plain", priority=1)
    body = {"type": 3, "data": b"hello", "utype": "text/plain"}
    assert made.packed == msgpack.packb({"id": 7, "dat": {"body": body}, "prio": 1})
    assert (made.id, made.type, made.size, made.user_type) == (7, 3, 15, "text/plain")
    assert not made.is_signed
    assert values.make(7, b"").size == 0


@given(
    id=st.integers(1, 2**64 - 1),
    data=st.binary(max_size=400),
    type=st.integers(0, 2**16 - 1),
    user_type=st.text(max_size=20),
)
def test_a_value_survives_being_packed(id: int, data: bytes, type: int, user_type: str) -> None:
    made = values.make(id, data, type=type, user_type=user_type)
    again = values.parse(made.packed)
    assert again == made
    inside = values.content(again)
    assert not isinstance(inside, bytes)
    assert inside.body.data == data


def test_what_we_do_not_know_of_is_kept() -> None:
    packed = msgpack.packb({"new": [1, {"x": None}], "dat": b"\1", "id": 1, "pt": "audioCall"})
    value = values.parse(packed)
    assert value.packed == packed
    assert value.is_encrypted
    assert value.size == 1 + len("audioCall")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(packed: bytes) -> None:
    try:
        value = values.parse(packed)
    except WireError:
        return
    assert value.packed == packed


@given(anything)
def test_any_object_is_a_value_or_refused(made: object) -> None:
    for packed in (made, {"id": 1, "dat": made}, {"id": 1, "dat": {"body": made, "sig": made}}):
        try:
            values.parse(msgpack.packb(packed))
        except WireError:
            continue


@given(st.dictionaries(members, anything | st.dictionaries(members, anything)))
def test_a_body_of_anything_is_a_value_or_refused(body: dict[str, object]) -> None:
    packed = msgpack.packb({"id": 1, "dat": {"body": {"type": 1, "data": b"", **body}}})
    try:
        value = values.parse(packed)
    except WireError:
        return
    assert not values.is_genuine(value)


def test_an_owner_needs_a_sequence_number_and_a_signature() -> None:
    body = {"type": 0, "data": b"", "owner": b"key", "seq": 1}
    for broken in ({"body": body}, {"body": {**body, "seq": None}, "sig": b"s"}):
        with pytest.raises(WireError):
            values.parse(msgpack.packb({"id": 1, "dat": broken}))


def test_a_value_that_is_too_large_is_refused() -> None:
    with pytest.raises(WireError):
        values.parse(msgpack.packb({"id": 1, "dat": bytes(values.LARGEST_PACKED)}))


def test_a_signature_is_right_or_wrong() -> None:
    genuine = signed("alice", data=b"x", user_type="t", to=sha1("bob"))
    assert genuine.is_signed
    assert values.is_genuine(genuine)
    content = msgpack.unpackb(genuine.packed)
    for field, other in (("seq", 5), ("type", 1), ("data", b"y"), ("to", sha1("eve"))):
        body = {**content["dat"]["body"], field: other}
        changed = {"id": 1, "dat": {"body": body, "sig": content["dat"]["sig"]}}
        assert not values.is_genuine(values.parse(msgpack.packb(changed))), field


@pytest.mark.parametrize("owner", [b"", b"no key", bytes(300)])
def test_nobody_is_an_owner(owner: bytes) -> None:
    body = {"seq": 0, "owner": owner, "type": 0, "data": b""}
    value = values.parse(msgpack.packb({"id": 1, "dat": {"body": body, "sig": b"sig"}}))
    assert not values.is_genuine(value)


def test_the_same_is_said_in_other_bytes() -> None:
    one = values.make(1, b"x")
    other = values.parse(msgpack.packb({"dat": {"body": {"data": b"x", "type": 0}}, "id": 1}))
    assert values.same(one, one)
    assert values.same(one, other)
    assert not values.same(one, values.make(1, b"y"))
    assert not values.same(one, encrypted(data=b"x"))
    assert values.same(encrypted(), encrypted())
    assert not values.same(encrypted(), encrypted(data=b"other"))
    assert values.signed_part(encrypted()) == b""
    assert not values.is_genuine(encrypted())
