"""A value as the DHT proxy and its clients write it, in JSON.

    {"id": "decimal u64", "cypher": base64}                              encrypted
    {"id": …, "type": u16, "data": base64, "utype": str,                 in the clear
     "sig": base64, "seq": u16, "owner": PEM, "to": 40 hex}              … and signed
    … "prio": u32, "pt": str

`utype`, `to`, `prio` and `pt` may be absent. `seq`, `owner` and `sig` come together (OpenDHT
src/value.cpp, Value::toJson and Value(const Json::Value&)). In a request, `id` may be a number,
0 or absent, which leaves its choice to the proxy; `permanent` is true, or tells to whom the
proxy shall push (src/dht_proxy_client.cpp, doPut). In an answer, `expired` says that the value
is gone. We refuse what does not follow this; OpenDHT takes what it understands of it.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from lanjami.dhtnode import value as values
from lanjami.dhtnode.value import Body, Content, Value
from lanjami.errors import RequestError, WireError

LARGEST = 128 * 1024  # bytes of a request: a value of 64 KiB in base64, its key and signature

_MOST_IDS = 1 << 64
_BEGIN, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"
_LINE = 64  # characters, RFC 7468

_U16 = Annotated[int, Meta(ge=0, lt=1 << 16)]
_U32 = Annotated[int, Meta(ge=0, lt=1 << 32)]


class PushAddress(msgspec.Struct, frozen=True):
    """Where a client that sleeps is told of what happens, as it says itself.

    `key` is a token of Google's or Apple's, or with UnifiedPush the URL to write to; `topic` an
    application's name there, or its keys (see `webpush`). `refresh` asks for no values.
    """

    key: Annotated[str, Meta(max_length=2048)] = ""
    client_id: Annotated[str, Meta(max_length=256)] = ""
    session_id: Annotated[str, Meta(max_length=64)] = ""
    topic: Annotated[str, Meta(max_length=512)] = ""
    platform: Annotated[str, Meta(max_length=32)] = ""
    refresh: bool = False


class _Json(msgspec.Struct, frozen=True):
    id: str | int = 0
    cypher: str = ""
    sig: str | None = None
    seq: _U16 | None = None
    owner: str | None = None
    to: Annotated[str, Meta(pattern=r"^([0-9a-fA-F]{40})?\Z")] = ""
    type: _U16 = 0
    data: str = ""
    utype: str = ""
    prio: _U32 = 0
    pt: str = ""
    permanent: bool | PushAddress | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """What a client wants to be put. The value's id is 0 where it leaves it to us.

    `is_permanent`: to be kept for a day, with notice given to `push` where there is one.
    """

    value: Value
    is_permanent: bool
    push: PushAddress | None


_json = msgspec.json.Decoder(_Json)
_push = msgspec.json.Decoder(PushAddress)


def write(value: Value, *, expired: bool = False) -> bytes:
    """A value as one line of JSON."""
    inside = values.content(value)
    written: dict[str, Any] = {"id": str(value.id)}
    if isinstance(inside, bytes) and inside:
        written["cypher"] = _base64(inside)
    else:
        # bytes of length zero are nothing encrypted: an empty value
        body, sig = (Body(0, b""), b"") if isinstance(inside, bytes) else (inside.body, inside.sig)
        if body.owner is not None:
            written |= {"sig": _base64(sig or b""), "seq": body.seq, "owner": _pem(body.owner)}
            if body.to is not None and any(body.to):
                written["to"] = body.to.hex()
        written |= {"type": body.type, "data": _base64(body.data)}
        if body.utype:
            written["utype"] = body.utype
    priority, push_type = values.hints(value)
    if priority:
        written["prio"] = priority
    if push_type:
        written["pt"] = push_type
    if expired:
        written["expired"] = True
    return msgspec.json.encode(written) + b"\n"


def read(text: bytes) -> Put:
    """What a client asks to put; raises RequestError."""
    if len(text) > LARGEST:
        raise RequestError(413, "a value that is too large")
    try:
        asked = _json.decode(text)
    except values.MALFORMED as error:
        raise RequestError(400, f"not a value: {error}") from error
    id = _id(asked.id)
    try:
        value = values.pack(id, _content(asked), priority=asked.prio, push_type=asked.pt)
    except WireError as error:
        raise RequestError(400, str(error)) from error
    push = asked.permanent if isinstance(asked.permanent, PushAddress) else None
    # to OpenDHT, that it is there at all makes a put permanent
    return Put(value, asked.permanent is not None, push if push is None or push.key else None)


def with_id(value: Value, id: int) -> Value:
    """The same value under an id."""
    priority, push_type = values.hints(value)
    return values.pack(id, values.content(value), priority=priority, push_type=push_type)


def read_push_address(text: bytes) -> PushAddress:
    """Where a client wants to be told; raises RequestError."""
    if len(text) > LARGEST:
        raise RequestError(413, "an address for pushing that is too large")
    try:
        push = _push.decode(text)
    except values.MALFORMED as error:
        raise RequestError(400, f"Incorrect JSON: {error}") from error
    if not push.key:
        raise RequestError(400, "No token")
    return push


def _content(asked: _Json) -> Content | bytes:
    if asked.cypher:
        return _bytes(asked.cypher)
    body = Body(type=asked.type, data=_bytes(asked.data), utype=asked.utype or None)
    if asked.owner is None:
        return Content(body)
    if asked.sig is None:
        raise RequestError(400, "a value with an owner and without a signature")
    body = Body(
        type=body.type,
        data=body.data,
        seq=asked.seq or 0,
        owner=_der(asked.owner),
        to=bytes.fromhex(asked.to) or None,
        utype=body.utype,
    )
    return Content(body, _bytes(asked.sig))


def _id(id: str | int) -> int:
    if isinstance(id, str):
        if not (id.isascii() and id.isdecimal() and len(id) <= 20):
            raise RequestError(400, "an id is a decimal number")
        id = int(id)
    if not 0 <= id < _MOST_IDS:
        raise RequestError(400, "an id has 64 bits")
    return id


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise RequestError(400, "not base64") from error


def _pem(key: bytes) -> str:
    """What GnuTLS writes of a key that it packed (PublicKey::toString), without parsing it."""
    text = _base64(key)
    lines = [text[at : at + _LINE] for at in range(0, len(text), _LINE)]
    return "\n".join([_BEGIN, *lines, _END, ""])


def _der(pem: str) -> bytes:
    lines = pem.rstrip("\0").split()  # clients before 2026 leave the 0 that ends it in C
    text = "".join(lines)
    begin, end = _BEGIN.replace(" ", ""), _END.replace(" ", "")
    if not (text.startswith(begin) and text.endswith(end) and len(text) > len(begin + end)):
        raise RequestError(400, "an owner is a public key in PEM")
    return _bytes(text.removeprefix(begin).removesuffix(end))
