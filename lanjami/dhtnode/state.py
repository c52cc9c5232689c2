"""What a node remembers over a restart: good nodes, and values with what is left of their lives.

Bounded, whatever the node keeps: 512 nodes, and 16 MiB of values, those that live longest.
"""

from collections.abc import Iterable
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


def pack(
    nodes: Iterable[Record], stored: Iterable[tuple[bytes, Stored]], *, unix_minus_now: float
) -> bytes:
    """The state as a file has it."""
    known = [_Node(one.node_id, *one.endpoint) for one in islice(nodes, MOST_NODES)]
    kept, left = [], MOST_BYTES
    for key, one in sorted(stored, key=lambda at: at[1].expires_at, reverse=True):
        left -= len(one.value.packed)
        if left < 0:
            break
        created, expires = one.created_at + unix_minus_now, one.expires_at + unix_minus_now
        kept.append(_Value(key, one.value.packed, created, expires, one.source))
    return msgspec.msgpack.encode(_State(_VERSION, known, kept))


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
