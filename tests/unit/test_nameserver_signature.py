"""Whose registration it is: those of real clients, and every way of being none."""

import base64
import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from lanjami.errors import RequestError
from lanjami.nameserver.names import JamiId, Name, parse_name
from lanjami.nameserver.signature import Registration, read, verify

RECORDED: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "data" / "name-registrations.json").read_text("utf-8")
)["registrations"]

ALICE = parse_name("alice")
SPKI = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

_PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


def _body(number: int = 0, /, **changed: object) -> bytes:
    return json.dumps({**RECORDED[number]["body"], **changed}).encode()


def _registration(number: int = 0) -> Registration:
    return read(ALICE, _body(number))


def _refusal(registration: Registration) -> str:
    with pytest.raises(RequestError) as caught:
        verify(registration)
    assert caught.value.status == 401
    return str(caught.value)


def _bad_request(content: bytes) -> str:
    with pytest.raises(RequestError) as caught:
        read(ALICE, content)
    assert caught.value.status == 400
    return str(caught.value)


def _id(key: _PublicKey) -> JamiId:
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return JamiId(hashlib.sha1(der).hexdigest())


def _made(key: _PublicKey, signature: bytes) -> Registration:
    """A registration of alice by the owner of `key`."""
    return Registration(
        ALICE,
        _id(key),
        "0" * 40,
        base64.b64encode(key.public_bytes(*SPKI)).decode(),
        base64.b64encode(signature).decode(),
    )


@cache
def _rsa(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def _signed(bits: int, hash: HashAlgorithm) -> Registration:
    key = _rsa(bits)
    return _made(key.public_key(), key.sign(b"alice", padding.PKCS1v15(), hash))


def _changed(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


# --- real clients -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(4))
def test_a_real_registration_is_verified(number: int) -> None:
    body = RECORDED[number]["body"]
    registration = read(parse_name(RECORDED[number]["name"]), _body(number))
    verify(registration)
    assert registration.id == body["addr"]
    assert registration.owner == body["owner"]
    assert registration.signature == body["signature"]


@pytest.mark.parametrize("number", range(4))
def test_the_key_is_kept_without_the_nul_that_old_clients_end_it_with(number: int) -> None:
    sent = base64.b64decode(RECORDED[number]["body"]["publickey"])
    assert sent.endswith(b"-----END PUBLIC KEY-----\n\0")
    assert base64.b64decode(_registration(number).publickey) == sent[:-1]


@pytest.mark.parametrize("number", range(4))
def test_a_key_without_the_nul_is_the_same(number: int) -> None:
    sent = base64.b64decode(RECORDED[number]["body"]["publickey"])
    without = base64.b64encode(sent.rstrip(b"\0")).decode()
    registration = read(ALICE, _body(number, publickey=without))
    verify(registration)
    assert registration == _registration(number)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("at", range(5))
def test_one_letter_of_the_name_changed_is_refused(number: int, at: int) -> None:
    name = Name(_changed(b"alice", at).decode())
    assert "signature" in _refusal(replace(_registration(number), name=name))


@pytest.mark.parametrize("name", ["alic", "alice-", "alice2", "Alice", "alice\0"])
def test_the_signature_is_of_the_whole_name(name: str) -> None:
    assert "signature" in _refusal(replace(_registration(), name=Name(name)))


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("at", range(40))
def test_one_digit_of_the_id_changed_is_refused(number: int, at: int) -> None:
    registration = _registration(number)
    digit = f"{int(registration.id[at], 16) ^ 1:x}"
    id = JamiId(registration.id[:at] + digit + registration.id[at + 1 :])
    assert "not the one of this ID" in _refusal(replace(registration, id=id))


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("at", range(0, 512, 31))
def test_one_byte_of_the_signature_changed_is_refused(number: int, at: int) -> None:
    registration = _registration(number)
    signature = _changed(base64.b64decode(registration.signature), at)
    changed = replace(registration, signature=base64.b64encode(signature).decode())
    assert "signature" in _refusal(changed)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("at", range(27, 774, 37))
def test_one_byte_of_the_key_changed_is_refused(number: int, at: int) -> None:
    registration = _registration(number)
    pem = base64.b64decode(registration.publickey)
    at += pem[at : at + 1] == b"\n"
    changed = replace(registration, publickey=base64.b64encode(_changed(pem, at)).decode())
    assert "key" in _refusal(changed)


def test_the_key_and_signature_of_somebody_else_are_refused() -> None:
    mine, theirs = _registration(0), _registration(1)
    assert "signature" in _refusal(replace(mine, signature=theirs.signature))
    assert "not the one of this ID" in _refusal(replace(mine, publickey=theirs.publickey))
    assert "not the one of this ID" in _refusal(replace(mine, id=theirs.id))


# --- other keys ---------------------------------------------------------------------------------


def test_a_key_of_2048_bits_is_accepted() -> None:
    verify(_signed(2048, SHA512()))


def test_another_hash_is_refused() -> None:
    assert "signature" in _refusal(_signed(2048, SHA256()))


def test_another_padding_is_refused() -> None:
    key = _rsa(2048)
    pss = padding.PSS(padding.MGF1(SHA512()), 64)
    assert "signature" in _refusal(_made(key.public_key(), key.sign(b"alice", pss, SHA512())))


def test_a_key_of_1024_bits_is_refused() -> None:
    assert "2048 to 8192" in _refusal(_signed(1024, SHA512()))


def test_a_key_of_9000_bits_is_refused() -> None:
    key = rsa.RSAPublicNumbers(65537, 2**9000 - 1).public_key()
    assert "2048 to 8192" in _refusal(_made(key, b"x" * 1125))


def test_an_elliptic_key_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    signature = key.sign(b"alice", ec.ECDSA(SHA512()))
    assert "RSA" in _refusal(_made(key.public_key(), signature))
    edwards = ed25519.Ed25519PrivateKey.generate()
    assert "RSA" in _refusal(_made(edwards.public_key(), edwards.sign(b"alice")))


@pytest.mark.parametrize("modulus", [2**2048 - 2, 2**2047, 2**2048 - 1])
@pytest.mark.parametrize("length", [0, 1, 255, 256, 257, 5000])
def test_a_key_that_is_no_product_of_primes_proves_nothing(modulus: int, length: int) -> None:
    key = rsa.RSAPublicNumbers(65537, modulus).public_key()
    assert "signature" in _refusal(_made(key, b"\x01" * length))


@pytest.mark.parametrize(
    "pem", [b"", b"nonsense", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
)
def test_what_is_no_key_is_refused(pem: bytes) -> None:
    publickey = base64.b64encode(pem).decode()
    assert "cannot be read" in _refusal(replace(_registration(), publickey=publickey))


# --- requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("member", ["addr", "owner", "signature", "publickey"])
def test_a_missing_member_is_a_bad_request_that_names_it(member: str) -> None:
    body = {**RECORDED[0]["body"]}
    del body[member]
    assert f"`{member}`" in _bad_request(json.dumps(body).encode())


@pytest.mark.parametrize("member", ["addr", "owner", "signature", "publickey"])
@pytest.mark.parametrize("value", [None, 7, ["x"], ""])
def test_an_empty_or_mistyped_member_is_a_bad_request(member: str, value: object) -> None:
    assert _bad_request(_body(**{member: value}))


@pytest.mark.parametrize("member", ["signature", "publickey"])
@pytest.mark.parametrize("value", ["%", "AAA", "AA AA", "AAAA\n", "ÄÄÄÄ", "AA-_"])
def test_what_is_not_base64_is_a_bad_request(member: str, value: str) -> None:
    assert "is not base64" in _bad_request(_body(**{member: value}))


@pytest.mark.parametrize("member", ["addr", "owner"])
def test_what_is_no_id_is_a_bad_request(member: str) -> None:
    assert "40 hexadecimal digits" in _bad_request(_body(**{member: "nobody"}))


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"\xff", b'{"addr":"\xff"}', b"7"])
def test_what_is_no_object_is_a_bad_request(content: bytes) -> None:
    assert "incomplete" in _bad_request(content)


def test_an_object_nested_too_deeply_is_a_bad_request() -> None:
    assert _bad_request(b'{"more":' + b"[" * 5000 + b"]" * 5000 + b"}")


def test_more_members_may_be_there() -> None:
    assert read(ALICE, _body(more={"x": [1]})) == _registration()


def test_ids_are_kept_in_lower_case_and_bare() -> None:
    sent = RECORDED[0]["body"]
    body = _body(addr=f"0x{sent['addr'].upper()}", owner=f"0x{sent['owner'].upper()}")
    registration = read(ALICE, body)
    assert registration == _registration()
    verify(registration)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
_base64 = st.binary(max_size=100).map(lambda content: base64.b64encode(content).decode())
_ids = st.binary(min_size=20, max_size=20).map(bytes.hex)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_registration_or_a_bad_request(content: bytes) -> None:
    with suppress(RequestError):
        verify(read(ALICE, content))


@given(_json)
def test_any_json_is_a_registration_or_a_bad_request(value: object) -> None:
    with suppress(RequestError):
        verify(read(ALICE, json.dumps(value).encode()))


@given(
    st.fixed_dictionaries(
        {
            "addr": _ids | _json,
            "owner": _ids | _json,
            "signature": _base64 | st.text() | _json,
            "publickey": _base64 | st.text() | _json,
        }
    )
)
def test_any_members_are_a_registration_or_a_bad_request(body: dict[str, object]) -> None:
    with suppress(RequestError):
        verify(read(ALICE, json.dumps(body).encode()))


@given(st.binary(max_size=200), st.binary(max_size=64))
def test_any_key_is_refused_in_a_sentence(der: bytes, signature: bytes) -> None:
    pem = b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(der) + b"-----END PUBLIC KEY-----\n"
    registration = replace(
        _registration(),
        publickey=base64.b64encode(pem).decode(),
        signature=base64.b64encode(signature).decode(),
    )
    assert _refusal(registration)


@given(st.data())
def test_a_real_key_damaged_in_its_encoding_is_refused_in_a_sentence(data: st.DataObject) -> None:
    der = _rsa(2048).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    at = data.draw(st.integers(0, len(der) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != der[at]))
    der = der[:at] + bytes([byte]) + der[at + 1 :]
    pem = b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(der) + b"-----END PUBLIC KEY-----\n"
    registration = replace(
        _signed(2048, SHA512()),
        id=JamiId(hashlib.sha1(der).hexdigest()),
        publickey=base64.b64encode(pem).decode(),
    )
    assert _refusal(registration)
