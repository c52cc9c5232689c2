"""The messages of STUN and TURN, as far as a client needs them that asks whether a relay works.

A message is a type of two bytes, the length of its attributes, the magic cookie and a transaction
id of 12 bytes; an attribute a type, a length, and a value that is filled up to four bytes. A
request with credentials ends in MESSAGE-INTEGRITY: HMAC-SHA-1 over all before it, with its own
length counted (RFC 8489, 5, 9.2 and 14.5; RFC 8656, 18).
"""

import hashlib
import hmac
import struct
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from lanjami.errors import WireError
from lanjami.lan import Ip

COOKIE = 0x2112A442
HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")

UDP = 17  # in REQUESTED-TRANSPORT
_NONE_LEFT = (486, 508)  # Allocation Quota Reached, Insufficient Capacity; RFC 8656, 19


class Method(IntEnum):
    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004


class Class(IntEnum):
    """The class bits of a message type, at the places where they stand in it."""

    REQUEST = 0x000
    INDICATION = 0x010
    SUCCESS = 0x100
    ERROR = 0x110


class Attribute(IntEnum):
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    LIFETIME = 0x000D
    REALM = 0x0014
    NONCE = 0x0015
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_TRANSPORT = 0x0019
    XOR_MAPPED_ADDRESS = 0x0020


@dataclass(frozen=True, slots=True)
class Message:
    """A message; of attributes that come twice the first counts (RFC 8489, 14)."""

    method: int
    kind: Class
    transaction: bytes
    attributes: Mapping[int, bytes]

    @property
    def error(self) -> int:
        """The error's code, such as 401; 0 where there is none."""
        content = self.attributes.get(Attribute.ERROR_CODE, b"")
        return (content[2] & 7) * 100 + content[3] if len(content) >= 4 else 0


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks, with the key that the server knows."""

    user: str
    realm: str
    key: bytes
    nonce: bytes = b""


def key(user: str, realm: str, password: str) -> bytes:
    """What the server keeps in place of a password (RFC 8489, 9.2.2)."""
    text = f"{user}:{realm}:{password}".encode()
    return hashlib.md5(text, usedforsecurity=False).digest()


def request(
    method: int,
    transaction: bytes,
    attributes: Mapping[int, bytes] | None = None,
    *,
    credentials: Credentials | None = None,
) -> bytes:
    """A request, signed where there are credentials."""
    every = dict(attributes or {})
    if credentials is not None:
        every[Attribute.USERNAME] = credentials.user.encode()
        every[Attribute.REALM] = credentials.realm.encode()
        every[Attribute.NONCE] = credentials.nonce
    body = b"".join(_pack(number, content) for number, content in every.items())
    if credentials is None:
        return HEADER.pack(method, len(body), COOKIE, transaction) + body
    signed = HEADER.pack(method, len(body) + 24, COOKIE, transaction) + body
    digest = hmac.digest(credentials.key, signed, "sha1")
    return signed + _pack(Attribute.MESSAGE_INTEGRITY, digest)


def parse(data: bytes) -> Message:
    """The message in a datagram; WireError where it is none."""
    if len(data) < HEADER.size:
        raise WireError("too short for STUN")
    kind, length, cookie, transaction = HEADER.unpack_from(data)
    if kind & 0xC000 or cookie != COOKIE or length % 4 or len(data) != HEADER.size + length:
        raise WireError("not STUN")
    attributes: dict[int, bytes] = {}
    at = HEADER.size
    while at < len(data):
        number, size = _ATTRIBUTE.unpack_from(data, at)
        at += _ATTRIBUTE.size
        if at + size > len(data):
            raise WireError("an attribute of STUN is cut off")
        attributes.setdefault(number, data[at : at + size])
        at += size + -size % 4
    return Message(kind & ~Class.ERROR, Class(kind & Class.ERROR), transaction, attributes)


def answers(asked: bytes, data: bytes) -> bool:
    """Whether a datagram looks like the answer to a request of ours."""
    return len(data) >= HEADER.size and data[8:20] == asked[8:20] and bool(data[0] & 1)


def xor_address(content: bytes, transaction: bytes) -> tuple[Ip, int]:
    """The address in an attribute that has one in disguise; WireError where it has none."""
    mask = struct.pack("!I12s", COOKIE, transaction)
    size = {1: 4, 2: 16}.get(content[1] if len(content) > 3 else 0)
    if size is None or len(content) != 4 + size:
        raise WireError("no address of STUN")
    packed = bytes(a ^ b for a, b in zip(content[4:], mask, strict=False))
    port = int.from_bytes(content[2:4], "big") ^ (COOKIE >> 16)
    return (IPv4Address(packed) if size == 4 else IPv6Address(packed)), port


def proof(
    credentials: Credentials, transactions: Iterator[bytes]
) -> Generator[bytes, bytes, tuple[Ip, int] | None]:
    """Ask a server for all that a client needs first: yields each request, is sent its answer, and
    returns the address of the relay that was given, and given back; None where all are given.

    Raises WireError with what is wrong.
    """
    bound = parse((yield request(Method.BINDING, next(transactions))))
    xor_address(_need(bound, Attribute.XOR_MAPPED_ADDRESS), bound.transaction)
    wanted: dict[int, bytes] = {Attribute.REQUESTED_TRANSPORT: bytes([UDP, 0, 0, 0])}
    challenge = parse((yield request(Method.ALLOCATE, next(transactions), wanted)))
    if challenge.error != 401:
        raise WireError("it gives a relay to who has no password")
    nonce = _need(challenge, Attribute.NONCE)
    known = Credentials(credentials.user, credentials.realm, credentials.key, nonce)
    given = parse((yield request(Method.ALLOCATE, next(transactions), wanted, credentials=known)))
    if given.error in _NONE_LEFT:
        return None
    relay = xor_address(_need(given, Attribute.XOR_RELAYED_ADDRESS), given.transaction)
    back: dict[int, bytes] = {Attribute.LIFETIME: bytes(4)}
    parse((yield request(Method.REFRESH, next(transactions), back, credentials=known)))
    return relay


def _need(message: Message, attribute: Attribute) -> bytes:
    if attribute not in message.attributes:
        told = f"error {message.error}" if message.error else "nothing of use"
        raise WireError(f"{told} in place of {attribute.name}")
    return message.attributes[attribute]


def _pack(number: int, content: bytes) -> bytes:
    return _ATTRIBUTE.pack(number, len(content)) + content + bytes(-len(content) % 4)
