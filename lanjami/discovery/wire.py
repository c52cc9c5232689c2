"""The datagrams of OpenDHT's peer discovery.

A datagram is one MessagePack object: the string "q", which asks, or a map of service names to
payloads, which publishes. "dht" carries `[node id, port, network]`, "jami" carries
`[account id, display name]` (OpenDHT src/peer_discovery.cpp, src/dhtrunner.cpp; jami-daemon
src/jamidht/jamiaccount.cpp). Unknown services are passed over.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import msgpack

from lanjami.errors import WireError

PORT = 8888  # dht::PeerDiscovery::DEFAULT_PORT
GROUP_V4 = IPv4Address("239.192.0.1")  # MULTICAST_ADDRESS_IPV4
GROUP_V6 = IPv6Address("ff08::101")  # MULTICAST_ADDRESS_IPV6
QUERY = b"\xa1q"

ID_LENGTH = 20
LONGEST_NAME = 128  # characters of a display name that are kept; clients set no limit


@dataclass(frozen=True, slots=True)
class Query:
    """Somebody asks who is here."""


@dataclass(frozen=True, slots=True)
class Beacon:
    """A DHT node: its id of 20 bytes, UDP port and network number (0 for Jami)."""

    node_id: bytes
    port: int
    network: int = 0


@dataclass(frozen=True, slots=True)
class Person:
    """A Jami account that lets itself be seen: its id of 20 bytes and display name."""

    account_id: bytes
    display_name: str


@dataclass(frozen=True, slots=True)
class Publication:
    """What one datagram publishes; at least one of the two is there."""

    beacon: Beacon | None
    person: Person | None


def pack(beacon: Beacon) -> bytes:
    """The publication of a DHT node, byte for byte as OpenDHT sends it."""
    packed: bytes = msgpack.packb({"dht": [beacon.node_id, beacon.port, beacon.network]})
    return packed


def parse(datagram: bytes) -> Query | Publication:
    """What a datagram says.

    A service whose payload does not convert is passed over, as an unknown one is.
    Raises WireError for everything that is neither a query nor publishes anything known.
    """
    try:
        message = msgpack.unpackb(datagram, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        # TypeError: a map with an array or a map for a key
        raise WireError(f"not one MessagePack object: {error}") from error
    match message:
        case "q":
            return Query()
        case dict():
            beacon = _beacon(message.get("dht"))
            person = _person(message.get("jami"))
            if beacon is not None or person is not None:
                return Publication(beacon, person)
    raise WireError("neither a query nor a publication")


def _beacon(payload: Any) -> Beacon | None:
    match payload:
        case [bytes(node_id), int(port), int(network)] if (
            len(node_id) == ID_LENGTH
            and any(node_id)
            and _is_uint(port, 16)
            and port > 0
            and _is_uint(network, 32)
        ):
            return Beacon(node_id, port, network)
    return None


def _person(payload: Any) -> Person | None:
    match payload:
        case [bytes(account_id), str(name)] if len(account_id) == ID_LENGTH:
            return Person(account_id, "".join(filter(str.isprintable, name))[:LONGEST_NAME])
    return None


def _is_uint(value: int, bits: int) -> bool:
    return not isinstance(value, bool) and 0 <= value < 1 << bits
