"""Where a DHT node is reached, and how replies name other nodes.

A node record is the node's id (20 bytes), its address and its port in network order: 26 bytes
for IPv4, 38 for IPv6 (OpenDHT src/network_engine.cpp, bufferNodes).
"""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import NamedTuple

from lanjami.lan import Ip

ID_LENGTH = 20  # HASH_LEN, include/opendht/infohash.h
_V4_PREFIX = bytes(10) + b"\xff\xff"  # an IPv4 address in IPv6's clothes
_SPECIAL = frozenset({127, 0, 0xFE})  # first bytes of loopback and link-local addresses
_V4_RECORD = ID_LENGTH + 4 + 2
_V6_RECORD = ID_LENGTH + 16 + 2


class Endpoint(NamedTuple):
    """An address (4 or 16 bytes), a UDP port, and the interface of an IPv6 link-local one."""

    ip: bytes
    port: int
    scope: int = 0

    @property
    def version(self) -> int:
        return 4 if len(self.ip) == 4 else 6

    @property
    def address(self) -> Ip:
        return ip_address(self.ip)


class Record(NamedTuple):
    """A node as replies name it."""

    node_id: bytes
    endpoint: Endpoint


def is_martian(endpoint: Endpoint) -> bool:
    """Whether no node can be there: port 0, this-network, multicast, or IPv4 in IPv6's clothes
    (NetworkEngine::isMartian)."""
    ip, port, _ = endpoint
    if port == 0:
        return True
    if len(ip) == 4:
        return ip[0] == 0 or ip[0] >= 0xE0
    return ip[0] == 0xFF or not any(ip) or ip.startswith(_V4_PREFIX)


def is_loopback(ip: bytes) -> bool:
    """Whether `ip` is the machine's own, which means another machine in each one's mouth."""
    return ip[0] == 127 if len(ip) == 4 else ip == bytes(15) + b"\1"


def may_be_told(endpoint: Endpoint, to: Endpoint) -> bool:
    """Whether a node's address means anything to whoever asks from `to`. Loopback stands for our
    machine in our mouth, but clients see it so only where they ask in the same family, and else
    look for the node on theirs. IPv6 link-local is for the neighbours on the same link."""
    if endpoint.ip[0] not in _SPECIAL:  # nearly always
        return True
    if is_loopback(endpoint.ip):
        return endpoint.version == to.version
    if endpoint.ip[:2] == b"\xfe\x80" and endpoint.version == 6:
        return endpoint.scope == to.scope
    return True


def pack_records(records: Iterable[Record]) -> bytes:
    """The records of one family, one behind the other."""
    return b"".join([id + ip + port.to_bytes(2) for id, (ip, port, _) in records])


def unpack_records(packed: bytes, *, version: int) -> list[Record] | None:
    """The records in `packed`; None where it is not a whole number of them."""
    length = _V4_RECORD if version == 4 else _V6_RECORD
    if len(packed) % length:
        return None
    return [
        Record(
            packed[at : at + ID_LENGTH],
            Endpoint(
                packed[at + ID_LENGTH : at + length - 2],
                int.from_bytes(packed[at + length - 2 : at + length]),
            ),
        )
        for at in range(0, len(packed), length)
    ]
