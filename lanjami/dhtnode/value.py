"""A value of the DHT, kept to the byte as its owner packed it.

    {"id": u64, "dat": BODY or bytes, "prio": uint, "pt": str}
    BODY = {"body": {"seq": u16, "owner": key, "to": id, "type": u16, "data": bytes, "utype": str},
            "sig": bytes}

`dat` is bytes where the value is encrypted. `seq`, `owner` and `sig` come together; `to`,
`utype`, `prio` (0 is high) and `pt` (a hint for push) may be absent (OpenDHT
include/opendht/value.h, msgpack_pack; src/value.cpp, msgpack_unpack).
"""

import hashlib
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.serialization import load_der_public_key
from msgspec import Meta

from lanjami.dhtnode.endpoint import ID_LENGTH
from lanjami.errors import WireError

LARGEST = 64 * 1024  # bytes that a value may hold: MAX_VALUE_SIZE, include/opendht/value.h
LARGEST_PACKED = LARGEST + 32  # what a node takes of a packed one, src/parsed_message.h
LARGEST_KEY = 8192  # bits; Jami's are 4096, and checking a larger one costs the more
LARGEST_EXPONENT = (
    32  # bits; Jami's is 65537, and one as long as the key costs a hundred times that
)

_U16 = Annotated[int, Meta(ge=0, lt=1 << 16)]
_U32 = Annotated[int, Meta(ge=0, lt=1 << 32)]
_U64 = Annotated[int, Meta(ge=0)]  # MessagePack has no larger ones
_Id = Annotated[bytes, Meta(min_length=ID_LENGTH, max_length=ID_LENGTH)]


class Body(msgspec.Struct, frozen=True):
    """What is signed. The optional ones are None where they are absent."""

    type: _U16
    data: bytes
    seq: _U16 | None = None
    owner: bytes | None = None
    to: _Id | None = None
    utype: str | None = None


class Content(msgspec.Struct, frozen=True):
    """A value in the clear, with its signature where there is one."""

    body: Body
    sig: bytes | None = None


class _Packed(msgspec.Struct, frozen=True):
    id: _U64
    dat: bytes | Content
    prio: _U32 = 0
    pt: str = ""


class Value(msgspec.Struct, frozen=True, gc=False):
    """What is known of a value without opening it; `packed` is the value itself.

    `size` is what OpenDHT counts against its limits: the bytes of its contents. `owner_id` is
    the SHA-1 of the owner's key, empty where there is no owner. `seq` is 0 where there is none.
    """

    packed: bytes
    id: int
    type: int
    size: int
    seq: int
    owner_id: bytes
    user_type: str
    is_signed: bool
    is_encrypted: bool


_decoder = msgspec.msgpack.Decoder(_Packed)
_encoder = msgspec.msgpack.Encoder()
# ValueError: text that is not UTF-8, and times that Python has no type for
MALFORMED = (msgspec.DecodeError, ValueError, RecursionError)


def parse(packed: bytes) -> Value:
    """The value that `packed` is; raises WireError."""
    inside = _unpack(packed)
    if isinstance(inside.dat, bytes):
        size = len(inside.dat) + len(inside.pt)
        return Value(packed, inside.id, 0, size, 0, b"", "", False, bool(inside.dat))
    body, signature = inside.dat.body, inside.dat.sig or b""
    user_type = body.utype or ""
    owner_id = b""
    if body.owner is not None:
        if body.seq is None or inside.dat.sig is None:
            raise WireError("a value with an owner and without seq or signature")
        owner_id = hashlib.sha1(body.owner, usedforsecurity=False).digest()
    return Value(
        packed,
        inside.id,
        body.type,
        len(body.data) + len(signature) + len(user_type) + len(inside.pt),
        (body.seq or 0) if owner_id else 0,
        owner_id,
        user_type,
        bool(owner_id and signature),
        False,
    )


def content(value: Value) -> Content | bytes:
    """What a value says: its body and signature, or the bytes of an encrypted one."""
    return _unpack(value.packed).dat


def hints(value: Value) -> tuple[int, str]:
    """How urgent a value is (0 is most), and what kind of push it is for (`prio` and `pt`)."""
    inside = _unpack(value.packed)
    return inside.prio, inside.pt


def pack(id: int, inside: Content | bytes, *, priority: int = 0, push_type: str = "") -> Value:
    """The value that says `inside`, packed as OpenDHT packs it, so that its signature holds;
    raises WireError."""
    dat: bytes | dict[str, object]
    if isinstance(inside, bytes):
        dat = inside
    else:
        dat = {"body": msgspec.Raw(to_sign(inside.body))}
        if inside.sig and inside.body.owner is not None:
            dat["sig"] = inside.sig
    packed: dict[str, object] = {"id": id, "dat": dat}
    if priority:
        packed["prio"] = priority
    if push_type:
        packed["pt"] = push_type
    return parse(_encoder.encode(packed))


def make(id: int, data: bytes, *, type: int = 0, user_type: str = "", priority: int = 0) -> Value:
    """A value of our own, unsigned; packed as OpenDHT packs it."""
    body: dict[str, object] = {"type": type, "data": data}
    if user_type:
        body["utype"] = user_type
    packed: dict[str, object] = {"id": id, "dat": {"body": body}}
    if priority:
        packed["prio"] = priority
    return parse(_encoder.encode(packed))


def same(one: Value, other: Value) -> bool:
    """Whether two values of one id say the same (Value::operator==); `seq` does not count."""
    if one.packed == other.packed:
        return True
    match content(one), content(other):
        case Content() as a, Content() as b:
            return _said(a) == _said(b)
        case a, b:
            return a == b


def _said(inside: Content) -> tuple[object, ...]:
    body = inside.body
    return inside.sig or b"", body.owner, body.type, body.data, body.utype or ""


def to_sign(body: Body) -> bytes:
    """The bytes that a signature is over (Value::msgpack_pack_to_sign): always in this order."""
    packed: dict[str, object] = {}
    if body.owner is not None:
        packed |= {"seq": body.seq, "owner": body.owner}
        if body.to is not None and any(body.to):
            packed["to"] = body.to
    packed |= {"type": body.type, "data": body.data}
    if body.utype:
        packed["utype"] = body.utype
    return _encoder.encode(packed)


def is_genuine(value: Value) -> bool:
    """Whether a signed value was signed by its owner: RSA, PKCS #1 v1.5, SHA-512 over the body
    (PublicKey::checkSignature, src/crypto.cpp). Costs a tenth of a millisecond."""
    inside = content(value)
    if isinstance(inside, bytes) or not inside.sig or inside.body.owner is None:
        return False
    try:
        key = load_der_public_key(inside.body.owner)
    except (ValueError, UnsupportedAlgorithm):
        return False
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size > LARGEST_KEY:
        return False
    if key.public_numbers().e.bit_length() > LARGEST_EXPONENT:
        return False
    try:
        key.verify(inside.sig, to_sign(inside.body), padding.PKCS1v15(), SHA512())
    except InvalidSignature:
        return False
    return True


def signed_part(value: Value) -> bytes:
    """What the owner of a value in the clear signed."""
    inside = content(value)
    return b"" if isinstance(inside, bytes) else to_sign(inside.body)


def _unpack(packed: bytes) -> _Packed:
    if len(packed) > LARGEST_PACKED:
        raise WireError("a value that is too large")
    try:
        return _decoder.decode(packed)
    except MALFORMED as error:
        raise WireError(f"not a value: {error}") from error
