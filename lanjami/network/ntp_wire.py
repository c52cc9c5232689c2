"""The little of NTP that is needed to see whether a server tells the time (RFC 5905)."""

import struct

from lanjami.errors import WireError

PORT = 123

_LENGTH = 48
_VERSION_4 = 4 << 3
_CLIENT, _SERVER = 3, 4
_UNSYNCHRONIZED = 3
_EPOCH = 2_208_988_800  # seconds from 1900 to 1970
_ERA = 1 << 32  # seconds; era 1 begins in 2036


def ask(token: bytes) -> bytes:
    """A client's question; the answer repeats its `token` of 8 bytes."""
    return bytes((_VERSION_4 | _CLIENT,)).ljust(_LENGTH - len(token), b"\0") + token


def read(datagram: bytes, *, token: bytes) -> float | None:
    """The time, in seconds since 1970, that a server told; None where it has none itself, or
    answers another. Raises WireError."""
    if len(datagram) < _LENGTH:
        raise WireError("an NTP message that is too short")
    flags, stratum = datagram[:2]
    if flags & 7 != _SERVER or datagram[24:32] != token:
        return None
    if flags >> 6 == _UNSYNCHRONIZED or not 1 <= stratum <= 15:
        return None
    seconds, fraction = struct.unpack_from("!II", datagram, 40)
    if seconds < 1 << 31:  # RFC 4330, 3: the top bit is only clear from 2036 on
        seconds += _ERA
    return float(seconds - _EPOCH + fraction / _ERA)
