"""Messages as datagrams, with their members in the order in which OpenDHT packs them.

Values go in the message where they are few and small; else the message has their sizes, and
each value follows in parts (OpenDHT src/network_engine.cpp, packValueHeader, sendValueParts).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from lanjami.dhtnode import messages as m
from lanjami.dhtnode.endpoint import Record, pack_records
from lanjami.dhtnode.value import Value

PROGRAM = "lj"
INLINE_BYTES = 600  # MAX_PACKET_VALUE_SIZE
INLINE_VALUES = 50  # packValueHeader
PART_BYTES = 1280  # MTU

_FAMILY = {4: 2, 6: 10}  # Linux's AF_INET and AF_INET6, which OpenDHT writes on every system

_encode = msgspec.msgpack.Encoder().encode


def pack(message: m.Message) -> list[bytes]:
    """The datagrams of a message: itself, then the parts of its values where they do not fit."""
    return _PACKERS[type(message)](message)


def _ping(message: m.Ping) -> list[bytes]:
    return _query(message, "ping", {})


def _find(message: m.Find) -> list[bytes]:
    return _query(message, "find", {"target": message.target, **_want(message.want)})


def _get(message: m.Get) -> list[bytes]:
    asked: dict[str, object] = {"h": message.key}
    if not message.query.is_everything:
        asked["q"] = message.query
    return _query(message, "get", asked | _want(message.want))


def _refresh(message: m.Refresh) -> list[bytes]:
    asked = {"h": message.key, "vid": message.value_id, "token": message.token}
    return _query(message, "refresh", asked)


def _put(message: m.Put) -> list[bytes]:
    inline, apart = _values(message.values)
    asked: dict[str, object] = {"h": message.key, "values": inline}
    if message.created is not None:
        asked["c"] = message.created
    asked["token"] = message.token
    return _query(message, "put", asked) + list(_parts(apart, message))


def _listen(message: m.Listen) -> list[bytes]:
    asked: dict[str, object] = {
        "ve": 1,
        "h": message.key,
        "token": message.token,
        "sid": message.socket,
    }
    if not message.query.is_everything:
        asked["q"] = message.query
    return _query(message, "listen", asked)


def _update(message: m.Update) -> list[bytes]:
    told: dict[str, object] = {}
    apart: Sequence[bytes] = ()
    if message.values:
        inline, apart = _values(message.values)
        told = {"ve": 1, "h": message.key, "sid": message.socket, "values": inline}
    else:
        told["sid"] = message.socket
    if message.token:
        told["token"] = message.token
    _add_changes(told, message)
    return _query(message, "update", told) + list(_parts(apart, message))


def _reply(message: m.Reply) -> list[bytes]:
    said: dict[str, object] = {"id": message.node_id}
    if message.value_id:
        said["vid"] = message.value_id
    if message.seen_as:
        said["sa"] = message.seen_as
    if message.nodes:
        said |= _records(message.nodes)
    if message.token:
        said["token"] = message.token
    apart: Sequence[bytes] = ()
    if message.values:
        said["values"], apart = _values(message.values)
    if message.index is not None:
        said["fileds"] = message.index
    _add_changes(said, message)
    return [_datagram({"r": said}, "r", message), *_parts(apart, message)]


def _error(message: m.Error) -> list[bytes]:
    said: dict[str, object] = {"e": [message.code, message.text]}
    if message.node_id:
        said["r"] = {"id": message.node_id}
    return [_datagram(said, "e", message)]


def _pieces(message: m.Parts) -> list[bytes]:
    parts = {index: {"o": p.offset, "d": p.data} for index, p in message.parts.items()}
    return [_part(parts, message)]


_PACKERS: dict[type[m.Message], Callable[[Any], list[bytes]]] = {
    m.Ping: _ping,
    m.Find: _find,
    m.Get: _get,
    m.Put: _put,
    m.Refresh: _refresh,
    m.Listen: _listen,
    m.Update: _update,
    m.Reply: _reply,
    m.Error: _error,
    m.Parts: _pieces,
}


def _query(message: m.Spoken, name: str, asked: dict[str, object]) -> list[bytes]:
    return [_datagram({"a": {"id": message.node_id, **asked}, "q": name}, "q", message)]


def _datagram(content: dict[str, object], kind: str, message: m.Spoken | m.Error) -> bytes:
    content |= {"t": message.transaction, "y": kind, "v": PROGRAM}
    if message.network:
        content["n"] = message.network
    if message.is_client:
        content["s"] = True
    return _encode(content)


def _want(versions: tuple[int, ...]) -> dict[str, object]:
    return {"w": [_FAMILY[version] for version in versions]} if versions else {}


def _records(nodes: Sequence[Record]) -> dict[str, object]:
    four = [record for record in nodes if len(record[1][0]) == 4]
    said: dict[str, object] = {"n4": pack_records(four)} if four else {}
    if len(four) < len(nodes):
        said["n6"] = pack_records([record for record in nodes if len(record[1][0]) == 16])
    return said


def _add_changes(said: dict[str, object], message: m.Update | m.Reply) -> None:
    if message.refreshed:
        said["re"] = message.refreshed
    if message.expired:
        said["exp"] = message.expired


def _values(values: Sequence[Value]) -> tuple[list[object], Sequence[bytes]]:
    """What the message has of `values`, and those that follow in parts."""
    packed = [value.packed for value in values]
    if len(packed) < INLINE_VALUES and sum(map(len, packed)) < INLINE_BYTES:
        return [Raw(one) for one in packed], ()
    return [len(one) for one in packed], packed


def _parts(values: Sequence[bytes], message: m.Spoken) -> Iterator[bytes]:
    for index, packed in enumerate(values):
        for offset in range(0, len(packed), PART_BYTES):
            part = {"o": offset, "d": packed[offset : offset + PART_BYTES]}
            yield _part({index: part}, message)


def _part(parts: dict[int, dict[str, object]], message: m.Message) -> bytes:
    network: dict[str, object] = {"n": message.network} if message.network else {}
    return _encode({**network, "y": "p", "t": message.transaction, "p": parts})
