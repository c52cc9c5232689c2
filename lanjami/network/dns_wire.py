"""The little of DNS that is needed to see whether a server answers (RFC 1035)."""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from lanjami.errors import WireError

PORT = 53

NO_ERROR, NXDOMAIN = 0, 3

_HEAD = struct.Struct("!6H")
_RECURSION_DESIRED, _RESPONSE = 0x0100, 0x8000
_A, _IN = 1, 1
_POINTER = 0xC0
_RECORD = struct.Struct("!HHIH")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: its code and the addresses of kind A."""

    code: int
    addresses: tuple[IPv4Address, ...]


def ask(name: str, *, id: int) -> bytes:
    """The question for the A records of a name."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return (
        _HEAD.pack(id, _RECURSION_DESIRED, 1, 0, 0, 0)
        + labels
        + b"\0"
        + struct.pack("!2H", _A, _IN)
    )


def read(datagram: bytes, *, id: int) -> Answer | None:
    """The answer to the question `id`; None for what answers another. Raises WireError."""
    try:
        its_id, flags, questions, answers, _, _ = _HEAD.unpack_from(datagram)
        if its_id != id or not flags & _RESPONSE:
            return None
        at = _HEAD.size
        for _ in range(questions):
            at = _after_name(datagram, at) + 4
        addresses = []
        for _ in range(answers):
            at = _after_name(datagram, at)
            kind, _, _, length = _RECORD.unpack_from(datagram, at)
            at += _RECORD.size + length
            if at > len(datagram):
                raise WireError("a DNS record that is cut off")
            if (kind, length) == (_A, 4):
                addresses.append(IPv4Address(datagram[at - 4 : at]))
    except (struct.error, IndexError) as error:
        raise WireError("a DNS message that is cut off") from error
    return Answer(flags & 0xF, tuple(addresses))


def _after_name(datagram: bytes, at: int) -> int:
    while length := datagram[at]:
        if length & _POINTER == _POINTER:
            return at + 2
        at += 1 + length
    return at + 1
