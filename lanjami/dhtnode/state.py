"""What a node remembers over a restart: good nodes, and values with what is left of their lives.

Bounded, whatever the node keeps: 512 nodes, and 16 MiB of values, those that live longest.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from lanjami.dhtnode import value as values
from lanjami.dhtnode.endpoint import ID_LENGTH, Endpoint, Record
from lanjami.dhtnode.storage import Stored
from lanjami.dhtnode.value import Value
from lanjami.errors import WireError

MOST_NODES = 512
MOST_BYTES = 16 * 1024 * 1024

_VERSION = 1
_Id = Annotated[bytes, Meta(min_length=ID_LENGTH, max_length=ID_LENGTH)]
_Time = Annotated[float, Meta(ge=-1e12, le=1e12)]  # what is no number would never expire
_Ip = Annotated[bytes, Meta(min_length=4, max_length=16)]


class _Node(msgspec.Struct, frozen=True, array_like=True):
    id: _Id
    ip: _Ip
    port: Annotated[int, Meta(ge=1, le=65535)]
    scope: Annotated[int, Meta(ge=0)]


class _Value(msgspec.Struct, frozen=True, array_like=True):
    key: _Id
    packed: bytes
    created: _Time
    expires: _Time
    source: Annotated[bytes, Meta(max_length=16)]


class _State(msgspec.Struct, frozen=True):
    v: int
    nodes: Annotated[list[_Node], Meta(max_length=MOST_NODES)]
    values: list[_Value]


class Kept(NamedTuple):
    """A value with its key, its times in Unix time, and the address that put it."""

    key: bytes
    value: Value
    created: float
    expires: float
    source: bytes


_decoder = msgspec.msgpack.Decoder(_State)
_encoder = msgspec.msgpack.Encoder()
_encode = _encoder.encode
_NO_VALUES = b"\x90"
_ARRAY_HEAD = 5  # bytes, of an array of any size


def pack(
    nodes: Iterable[Record],
    keys: Sequence[bytes],
    stored: Sequence[Stored],
    *,
    unix_minus_now: float,
) -> bytes:
    """The state as a file has it; `stored` are the values at the `keys`, one each.

    Packed a value at a time: tens of thousands of objects that live at once make the garbage
    collector look at all there are, and whoever asks for this waits three times as long.
    """
    known = [_Node(one.node_id, *one.endpoint) for one in islice(nodes, MOST_NODES)]
    packed = bytearray(_encode(_State(_VERSION, known, [])))
    assert packed[-1:] == _NO_VALUES
    packed[-1:] = bytes(_ARRAY_HEAD)
    start, count, left = len(packed), 0, MOST_BYTES
    for at in sorted(range(len(keys)), key=lambda at: stored[at].expires_at, reverse=True):
        one = stored[at]
        left -= len(one.value.packed)
        if left < 0:
            break
        created, expires = one.created_at + unix_minus_now, one.expires_at + unix_minus_now
        value = _Value(keys[at], one.value.packed, created, expires, one.source)
        _encoder.encode_into(value, packed, -1)
        count += 1
    packed[start - _ARRAY_HEAD : start] = b"\xdd" + count.to_bytes(4)
    return bytes(packed)


def unpack(data: bytes) -> tuple[list[Record], list[Kept]]:
    """The nodes and values in a file; raises WireError where it is damaged or another's."""
    try:
        state = _decoder.decode(data)
    except values.MALFORMED as error:
        raise WireError(f"not the state of a DHT node: {error}") from error
    if state.v != _VERSION:
        raise WireError(f"the state of another version, {state.v}")
    nodes = [
        Record(one.id, Endpoint(one.ip, one.port, one.scope))
        for one in state.nodes
        if len(one.ip) in (4, 16)
    ]
    kept = [
        Kept(one.key, values.parse(one.packed), one.created, one.expires, one.source)
        for one in state.values
    ]
    return nodes, kept
