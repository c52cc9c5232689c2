"""Asks a DHT node, from outside and over its own protocol, whether it does its work.

A beat puts a value and gets it back: get (for the write token), put, get. The queries carry the
flag of a client ("s"), so that the node does not take the asker for a node and hand its address
to others. The key begins as the node's id does, because OpenDHT stores a value only where it
counts itself among the closest nodes; its other half nobody can guess, so nobody can fill it with
values of their own. Wire: OpenDHT src/network_engine.cpp.
"""

from dataclasses import dataclass
from typing import Any

import msgpack

from lanjami.errors import WireError

_VALUE_ID = 1
_OWN = 12  # bytes of the node's id that a heartbeat's key begins with
_AF_INET = 2  # the family of nodes wanted in replies, as OpenDHT writes it


def is_ours(key: bytes, *, node_id: bytes) -> bool:
    """Whether a key is that of a heartbeat of the node `node_id`."""
    return key.startswith(node_id[:_OWN])


@dataclass(frozen=True, slots=True)
class Reply:
    """A node's answer: to which query, its id, the write token and whether our value is in it."""

    transaction: int
    node_id: bytes
    token: bytes
    has_value: bool


class Heartbeat:
    """The queries of one asker to the node `node_id`; `asker_id` is 20 random bytes."""

    def __init__(self, *, asker_id: bytes, node_id: bytes, network: int = 0) -> None:
        self._network = {"n": network} if network else {}
        self._asker_id = asker_id
        self._key = node_id[:_OWN] + asker_id[:8]
        self._content = b"lanjami heartbeat " + asker_id

    def get(self, transaction: int) -> bytes:
        return self._query("get", transaction, {"h": self._key, "w": [_AF_INET]})

    def put(self, transaction: int, *, token: bytes) -> bytes:
        value = {"id": _VALUE_ID, "dat": {"body": {"type": 0, "data": self._content}}}
        return self._query("put", transaction, {"h": self._key, "token": token, "values": [value]})

    def parse(self, datagram: bytes) -> Reply:
        """What a node answered; WireError where it is no answer, or says error."""
        try:
            message = msgpack.unpackb(datagram, strict_map_key=False)
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise WireError(f"not one MessagePack object: {error}") from error
        match message:
            case {"y": "r", "t": int(transaction), "r": {"id": bytes(node_id)} as reply}:
                token = reply.get("token", b"")
                return Reply(
                    transaction,
                    node_id,
                    token if isinstance(token, bytes) else b"",
                    self._is_among(reply.get("values")),
                )
        raise WireError("not a reply")

    def _is_among(self, values: Any) -> bool:
        if not isinstance(values, list):
            return False
        for value in values:
            match value:
                case {"id": id, "dat": {"body": {"data": content}}} if id == _VALUE_ID:
                    return bool(content == self._content)
        return False

    def _query(self, name: str, transaction: int, arguments: dict[str, object]) -> bytes:
        packed: bytes = msgpack.packb(
            {
                "a": {"id": self._asker_id, **arguments},
                **self._network,
                "q": name,
                "s": True,
                "t": transaction,
                "v": "lj",
                "y": "q",
            }
        )
        return packed
