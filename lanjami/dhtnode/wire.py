"""The datagrams of the DHT: one MessagePack map each.

    {"y": "q", "q": name, "a": {...}}    a query: ping find get put refresh listen update
    {"y": "r", "r": {...}}               a reply
    {"y": "e", "e": [code, text], "r": {"id"}}   an error
    {"y": "p", "p": {index: {"o": offset, "d": bytes}}}   a part of a value

with "t" the transaction, "v" the program, "n" the network where it is not 0, and "s" true from
a client. In "a" and "r": id, h (key), target, q (query), token, vid (value id), n4, n6 (node
records), c (Unix time of creation), sa (the other side's address), values, exp, re, w (wanted
families), sid (a listener's number), ve (1: a listener that is told by "update", as all are since
2020); and fileds, which answers only what we never ask. OpenDHT src/parsed_message.h,
src/network_engine.cpp. `packing` is the other way.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from lanjami.dhtnode import messages as m
from lanjami.dhtnode import value as values
from lanjami.dhtnode.endpoint import ID_LENGTH, unpack_records
from lanjami.dhtnode.query import EVERYTHING, Query
from lanjami.dhtnode.value import Value
from lanjami.errors import WireError

LONGEST_TOKEN = 64  # Search::insertNode keeps none that is longer
MOST_VALUES = 4096  # in one message; with more it would be longer than a datagram
MOST_INLINE = 50  # of these, those that are not just sizes: packValueHeader has fewer
MOST_RECORDS = 64  # a reply has 8 of a family

_FAMILIES = {2: 4, 10: 6}  # Linux's AF_INET and AF_INET6

_Id = Annotated[bytes, Meta(min_length=ID_LENGTH, max_length=ID_LENGTH)]
_U16 = Annotated[int, Meta(ge=0, lt=1 << 16)]
_U32 = Annotated[int, Meta(ge=0, lt=1 << 32)]
_U64 = Annotated[int, Meta(ge=0)]  # MessagePack has no larger ones
_Transaction = _U32 | Annotated[bytes, Meta(min_length=4, max_length=4)]  # unpackTid
_Token = Annotated[bytes, Meta(max_length=LONGEST_TOKEN)]
_Ids = Annotated[tuple[_U64, ...], Meta(max_length=MOST_VALUES)]


class _Arguments(msgspec.Struct, frozen=True):
    id: _Id | None = None
    h: _Id | None = None
    target: _Id | None = None
    q: Query = EVERYTHING
    token: _Token = b""
    vid: _U64 = 0
    n4: Annotated[bytes, Meta(max_length=26 * MOST_RECORDS)] = b""
    n6: Annotated[bytes, Meta(max_length=38 * MOST_RECORDS)] = b""
    c: int | None = None
    sa: Annotated[bytes, Meta(max_length=16)] = b""
    values: Raw = Raw(b"\x90")  # an empty list
    exp: _Ids = ()
    re: _Ids = ()
    w: Annotated[tuple[int, ...], Meta(max_length=8)] | None = None
    sid: _Transaction = 0


class _Part(msgspec.Struct, frozen=True):
    o: _U32
    d: Annotated[bytes, Meta(min_length=1)]


class Kind(StrEnum):
    """What a datagram is."""

    QUERY = "q"
    REPLY = "r"
    ERROR = "e"
    PARTS = "p"


class Envelope(msgspec.Struct, frozen=True):
    """A datagram that was opened and not read yet; its values are still packed."""

    kind: Kind = msgspec.field(name="y")
    t: _Transaction = 0
    q: str = ""
    a: _Arguments | None = None
    r: _Arguments | None = None
    u: _Arguments | None = None
    e: Annotated[tuple[int | str, ...], Meta(min_length=1, max_length=8)] = ()
    p: Annotated[dict[_U16, _Part], Meta(max_length=64)] = {}
    network: _U32 = msgspec.field(name="n", default=0)
    s: bool = False

    @property
    def transaction(self) -> int:
        return _number(self.t)

    @property
    def node_id(self) -> bytes:
        """Who gives a reply; empty where it does not say."""
        said = self.r or self.u
        return (said.id if said is not None else None) or b""


_decoder = msgspec.msgpack.Decoder(Envelope)
_size_decoder = msgspec.msgpack.Decoder(_U64)
_sizes_decoder = msgspec.msgpack.Decoder(Annotated[list[_U64], Meta(max_length=MOST_VALUES)])
_inline_decoder = msgspec.msgpack.Decoder(Annotated[list[Raw], Meta(max_length=MOST_INLINE)])
_encoder = msgspec.msgpack.Encoder()


def parse(datagram: bytes) -> m.Message:
    """What a datagram says. Raises WireError for all that is none of the messages above."""
    return read(envelope(datagram))


def envelope(datagram: bytes) -> Envelope:
    """A datagram, before anything is looked at that takes long; raises WireError."""
    try:
        return _decoder.decode(datagram)
    except values.MALFORMED as error:
        raise WireError(f"not a message: {error}") from error


def read(packed: Envelope) -> m.Message:
    """What an opened datagram says; raises WireError."""
    match packed.kind:
        case Kind.QUERY if packed.a is not None and packed.q in _QUERIES:
            return _QUERIES[packed.q](packed.a, **_spoken(packed, packed.a))
        case Kind.REPLY if (said := packed.r or packed.u) is not None:
            return _reply(said, **_spoken(packed, said))
        case Kind.ERROR if packed.e:
            return _error(packed)
        case Kind.PARTS if packed.p:
            parts = {index: m.Part(part.o, part.d) for index, part in packed.p.items()}
            return m.Parts(transaction=packed.transaction, network=packed.network, parts=parts)
    raise WireError("no message that is known")


def _spoken(packed: Envelope, said: _Arguments) -> dict[str, Any]:
    """What every message that names its speaker has."""
    if said.id is None or not any(said.id):
        raise WireError("a message of nobody")
    return {
        "transaction": packed.transaction,
        "network": packed.network,
        "node_id": said.id,
        "is_client": packed.s,
    }


def _ping(said: _Arguments, **spoken: Any) -> m.Message:
    return m.Ping(**spoken)


def _find(said: _Arguments, **spoken: Any) -> m.Message:
    return m.Find(**spoken, target=_required(said.target), want=_want(said))


def _get(said: _Arguments, **spoken: Any) -> m.Message:
    return m.Get(**spoken, key=_required(said.h), query=said.q, want=_want(said))


def _put(said: _Arguments, **spoken: Any) -> m.Message:
    inline, missing = _values(said)
    return m.Put(
        **spoken,
        key=_required(said.h),
        token=said.token,
        values=inline,
        missing=missing,
        created=said.c,
    )


def _refresh(said: _Arguments, **spoken: Any) -> m.Message:
    return m.Refresh(**spoken, key=_required(said.h), token=said.token, value_id=said.vid)


def _listen(said: _Arguments, **spoken: Any) -> m.Message:
    return m.Listen(
        **spoken,
        key=_required(said.h),
        token=said.token,
        socket=_number(said.sid),
        query=said.q,
    )


def _update(said: _Arguments, **spoken: Any) -> m.Message:
    inline, missing = _values(said)
    return m.Update(
        **spoken,
        socket=_number(said.sid),
        key=said.h or b"",
        token=said.token,
        values=inline,
        missing=missing,
        refreshed=said.re,
        expired=said.exp,
    )


_QUERIES: dict[str, Callable[..., m.Message]] = {
    "ping": _ping,
    "find": _find,
    "get": _get,
    "put": _put,
    "refresh": _refresh,
    "listen": _listen,
    "update": _update,
}


def _reply(said: _Arguments, **spoken: Any) -> m.Message:
    inline, missing = _values(said)
    four = unpack_records(said.n4, version=4)
    six = unpack_records(said.n6, version=6)
    if four is None or six is None:
        raise WireError("node records of a wrong length")  # WRONG_NODE_INFO_BUF_LEN
    return m.Reply(
        **spoken,
        nodes=(*four, *six),
        token=said.token,
        values=inline,
        missing=missing,
        value_id=said.vid,
        seen_as=said.sa,
        refreshed=said.re,
        expired=said.exp,
    )


def _error(packed: Envelope) -> m.Message:
    code, *more = packed.e
    if not isinstance(code, int) or not 0 <= code < 1 << 16:
        raise WireError("an error without a code")
    said = packed.r
    return m.Error(
        transaction=packed.transaction,
        network=packed.network,
        code=code,
        text=next((text for text in more if isinstance(text, str)), "")[:200],
        node_id=(said.id if said is not None else None) or b"",
        is_client=packed.s,
    )


def _values(said: _Arguments) -> tuple[tuple[Value, ...], dict[int, int]]:
    """The values that are inline, and the sizes of those that are not. What is no value and
    what is too large is passed over, as OpenDHT does, so that it costs nobody the others."""
    try:
        sizes = _sizes_decoder.decode(said.values)
    except values.MALFORMED:
        return _inline(said.values)
    found = enumerate(sizes)
    return (), {index: size for index, size in found if 0 < size <= values.LARGEST_PACKED}


def _inline(packed_values: Raw) -> tuple[tuple[Value, ...], dict[int, int]]:
    try:
        raws = _inline_decoder.decode(packed_values)
    except values.MALFORMED as error:
        raise WireError(f"no list of values, or too many: {error}") from error
    inline: list[Value] = []
    missing: dict[int, int] = {}
    for index, raw in enumerate(raws):
        packed = bytes(raw)
        try:
            if packed[0] < 0x80 or 0xCC <= packed[0] <= 0xCF:  # a positive integer
                size = _size_decoder.decode(packed)
                if 0 < size <= values.LARGEST_PACKED:
                    missing[index] = size
            else:
                inline.append(values.parse(packed))
        except (WireError, *values.MALFORMED):
            continue
    return tuple(inline), missing


def _want(said: _Arguments) -> tuple[int, ...]:
    return tuple({_FAMILIES[family]: None for family in said.w or () if family in _FAMILIES})


def _number(transaction: int | bytes) -> int:
    return transaction if isinstance(transaction, int) else int.from_bytes(transaction)


def _required(id: bytes | None) -> bytes:
    if id is None:
        raise WireError("a query that does not say for what")
    return id
