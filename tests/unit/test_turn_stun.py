"""The messages that ask a relay whether it works."""

import hmac
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.errors import WireError
from lanjami.turn import stun

# RFC 5769, 2.4: a request with long-term credentials
RFC_5769 = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aa"
    "e38383e382afe382b900000015001c662f2f3439396b39353464364f4c33346f4c"
    "394653547679363473410014000b6578616d706c652e6f72670000080014f67024"
    "656dd64a3e02b8e0712e85c9a28ca89666"
)
# RFC 5769, 2.2 and 2.3: answers with the addresses 192.0.2.1:32853 and 2001:db8:…:32853
RESPONSE_V4 = bytes.fromhex("0001a147e112a643")
RESPONSE_V6 = bytes.fromhex("0002a1470113a9faa5d3f179bc25f4b5bed2b9d9")
TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")


def test_a_signed_request_is_the_one_of_the_rfc() -> None:
    user, password = "\u30de\u30c8\u30ea\u30c3\u30af\u30b9", "TheMatrIX"
    credentials = stun.Credentials(
        user,
        "example.org",
        stun.key(user, "example.org", password),
        b"f//499k954d6OL34oL9FSTvy64sA",
    )
    asked = stun.request(
        stun.Method.BINDING, bytes.fromhex("78ad3433c6ad72c029da412e"), credentials=credentials
    )
    # the RFC has the nonce before the realm
    ours, theirs = stun.parse(asked), stun.parse(RFC_5769)
    signature = stun.Attribute.MESSAGE_INTEGRITY
    assert dict(ours.attributes) | {signature: b""} == dict(theirs.attributes) | {signature: b""}
    assert len(ours.attributes[signature]) == 20


def test_a_signature_covers_what_is_before_it() -> None:
    """Made and checked as RFC 8489, 14.5, says, with the key of the RFC's example."""
    key = stun.key("\u30de\u30c8\u30ea\u30c3\u30af\u30b9", "example.org", "TheMatrIX")
    assert hmac.digest(key, RFC_5769[:-24], "sha1") == RFC_5769[-20:]
    credentials = stun.Credentials("ring", "ring", stun.key("ring", "ring", "ring"), b"nonce")
    asked = stun.request(
        stun.Method.ALLOCATE, bytes(12), {0x0019: b"\x11\0\0\0"}, credentials=credentials
    )
    assert hmac.digest(credentials.key, asked[:-24], "sha1") == asked[-20:]
    assert int.from_bytes(asked[2:4], "big") == len(asked) - 20


def test_the_key_is_what_coturn_keeps() -> None:
    # printed by `turnadmin -k -u ring -r ring -p ring`
    assert stun.key("ring", "ring", "ring").hex() == "2c5b4d03c257777a9567d0f09bbef8c5"


@pytest.mark.parametrize(
    ("content", "ip"),
    [
        (RESPONSE_V4, IPv4Address("192.0.2.1")),
        (RESPONSE_V6, IPv6Address("2001:db8:1234:5678:11:2233:4455:6677")),
    ],
)
def test_addresses_are_read(content: bytes, ip: object) -> None:
    assert stun.xor_address(content, TRANSACTION) == (ip, 32853)


@given(st.binary(max_size=40), st.binary(min_size=12, max_size=12))
def test_an_address_is_read_or_refused(content: bytes, transaction: bytes) -> None:
    try:
        ip, port = stun.xor_address(content, transaction)
    except WireError:
        return
    assert 0 <= port <= 65535
    assert len(content) == 4 + len(ip.packed)


@given(st.binary(max_size=200))
def test_whatever_comes_is_parsed_or_refused(data: bytes) -> None:
    _parse(data)


@given(st.binary(max_size=64), st.integers(0, 0xFFFF))
def test_so_is_what_begins_like_stun(body: bytes, kind: int) -> None:
    _parse(struct.pack("!HHI12s", kind, len(body), stun.COOKIE, bytes(12)) + body)


def _parse(data: bytes) -> None:
    try:
        message = stun.parse(data)
    except WireError:
        return
    assert 0 <= message.error < 1000
    assert all(len(content) <= len(data) for content in message.attributes.values())


@given(
    st.dictionaries(st.integers(0, 0xFFFF), st.binary(max_size=30), max_size=5),
    st.sampled_from(stun.Method),
    st.binary(min_size=12, max_size=12),
)
def test_what_is_packed_is_parsed(
    attributes: dict[int, bytes], method: stun.Method, transaction: bytes
) -> None:
    message = stun.parse(stun.request(method, transaction, attributes))
    assert message == stun.Message(method, stun.Class.REQUEST, transaction, attributes)


def test_an_attribute_that_is_cut_off_is_refused() -> None:
    whole = stun.request(stun.Method.BINDING, bytes(12), {stun.Attribute.NONCE: b"0123"})
    assert stun.parse(whole).attributes == {stun.Attribute.NONCE: b"0123"}
    with pytest.raises(WireError, match="cut off"):
        stun.parse(whole[:23] + b"\x05" + whole[24:])


def test_of_an_errors_code_only_its_own_bits_are_read() -> None:
    content: dict[int, bytes] = {stun.Attribute.ERROR_CODE: b"\xff\xff\xfc\x26"}
    assert stun.Message(stun.Method.ALLOCATE, stun.Class.ERROR, bytes(12), content).error == 438


# --- the proof ----------------------------------------------------------------------------------

CREDENTIALS = stun.Credentials("ring", "ring", b"key")


def transactions() -> Iterator[bytes]:
    return (number.to_bytes(12, "big") for number in count())


def answer(asked: bytes, *, error: int = 0, **attributes: bytes) -> bytes:
    kind = stun.Class.ERROR if error else stun.Class.SUCCESS
    content: dict[int, bytes] = {stun.Attribute[name]: it for name, it in attributes.items()}
    if error:
        content[stun.Attribute.ERROR_CODE] = bytes([0, 0, error // 100, error % 100])
    message = stun.parse(asked)
    return stun.request(message.method | kind, message.transaction, content)


def test_a_relay_is_given_and_taken_back() -> None:
    steps = stun.proof(CREDENTIALS, transactions())
    binding = next(steps)
    first = steps.send(answer(binding, XOR_MAPPED_ADDRESS=RESPONSE_V4))
    assert stun.Attribute.USERNAME not in stun.parse(first).attributes
    second = steps.send(answer(first, error=401, NONCE=b"nonce"))
    assert stun.parse(second).attributes[stun.Attribute.NONCE] == b"nonce"
    back = steps.send(answer(second, XOR_RELAYED_ADDRESS=RESPONSE_V4))
    assert stun.parse(back).attributes[stun.Attribute.LIFETIME] == bytes(4)
    with pytest.raises(StopIteration) as done:
        steps.send(answer(back))
    assert done.value.value[1] == 32853


@pytest.mark.parametrize("error", [486, 508])
def test_that_no_relay_is_left_is_told_from_what_is_wrong(error: int) -> None:
    steps = stun.proof(CREDENTIALS, transactions())
    first = steps.send(answer(next(steps), XOR_MAPPED_ADDRESS=RESPONSE_V4))
    second = steps.send(answer(first, error=401, NONCE=b"nonce"))
    with pytest.raises(StopIteration) as done:
        steps.send(answer(second, error=error))
    assert done.value.value is None


@pytest.mark.parametrize(
    ("step", "given", "told"),
    [
        (0, {"error": 500}, "error 500 in place of XOR_MAPPED_ADDRESS"),
        (0, {}, "nothing of use in place of XOR_MAPPED_ADDRESS"),
        (1, {"XOR_RELAYED_ADDRESS": RESPONSE_V4}, "to who has no password"),
        (1, {"error": 401}, "error 401 in place of NONCE"),
        (2, {"error": 401}, "error 401 in place of XOR_RELAYED_ADDRESS"),
        (2, {"XOR_RELAYED_ADDRESS": b"?"}, "no address of STUN"),
    ],
)
def test_what_is_wrong_is_told(step: int, given: dict[str, object], told: str) -> None:
    good: list[dict[str, object]] = [
        {"XOR_MAPPED_ADDRESS": RESPONSE_V4},
        {"error": 401, "NONCE": b"nonce"},
    ]
    steps = stun.proof(CREDENTIALS, transactions())
    asked = next(steps)
    for each in good[:step]:
        asked = steps.send(answer(asked, **each))  # type: ignore[arg-type]
    with pytest.raises(WireError, match=told):
        steps.send(answer(asked, **given))  # type: ignore[arg-type]


def test_answers_are_told_from_other_datagrams() -> None:
    asked = stun.request(stun.Method.BINDING, bytes(12))
    assert stun.answers(asked, answer(asked))
    other = stun.request(stun.Method.BINDING, b"another one.")
    for data in (b"", asked, answer(other), answer(asked)[:19]):
        assert not stun.answers(asked, data)
