"""How long a node keeps a value, and who may store and change it.

By type (OpenDHT src/default_types.cpp, include/opendht/value.h and securedht.h; type 9 is
jami-daemon's, src/jamidht/jamiaccount.h, USER_PROFILE_TYPE). What is signed is stored only where
the signature is right, and replaced only by its owner, with a higher sequence number
(SecureDht::secureType). We hold every type to that, also those that OpenDHT has no rules for.
"""

import base64
import hashlib

from lanjami.dhtnode import value as values
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.value import Value

IP_SERVICE = 2
CERTIFICATE = 8

DEFAULT_S = 600.0  # DEFAULT_VALUE_EXPIRATION
_WEEK_S = 7 * 24 * 3600.0
_LIFE_S = {
    0: DEFAULT_S,  # user data
    1: 300.0,  # DHT message
    IP_SERVICE: 900.0,  # Internet service announcement
    3: 300.0,  # IM message
    4: _WEEK_S,  # certificate trust request
    5: 60.0,  # ICE candidates
    CERTIFICATE: _WEEK_S,
    9: _WEEK_S,  # user profile
}

_PEM_BEGIN, _PEM_END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_SEQUENCE = 0x30  # DER, X.690: the tags of a certificate's parts
_VERSION = 0xA0
_BEFORE_THE_KEY = 5  # serial number, algorithm, issuer, validity, subject: RFC 5280, 4.1
_V4_SOCKADDR, _V6_SOCKADDR = 16, 28  # Linux sockaddr_in and sockaddr_in6


def life_s(type: int) -> float:
    """For how many seconds a value of a type is kept after it was put or refreshed."""
    return _LIFE_S.get(type, DEFAULT_S)


def admit(key: bytes, new: Value, source: Endpoint) -> Value | None:
    """The value to store at `key`; None where it must not be stored there."""
    if new.size > values.LARGEST:
        return None
    if new.type == IP_SERVICE and not new.is_encrypted:
        return _with_the_source(new, source)
    if new.type == CERTIFICATE and not new.is_encrypted:
        public_key = _certified_key(new)
        return new if public_key is not None and key in _ids(public_key) else None
    return new if not new.is_signed or values.is_genuine(new) else None


def may_replace(old: Value, new: Value) -> bool:
    """Whether `new` may take the place of `old`, which has its id and says something else."""
    if old.type == CERTIFICATE and new.type == CERTIFICATE:
        public_key = _certified_key(old)
        return public_key is not None and public_key == _certified_key(new)
    if not old.is_signed or not new.is_signed or old.owner_id != new.owner_id:
        return False
    if new.seq < old.seq:
        return False
    if new.seq == old.seq and values.signed_part(old) != values.signed_part(new):
        return False
    return values.is_genuine(new)


def _ids(public_key: bytes) -> tuple[bytes, bytes]:
    """Where a certificate belongs: at the SHA-1 of its key, and at the SHA-1 of the SHA-256 of
    it, where clients of 2025 and later put it."""
    long_id = hashlib.sha256(public_key).digest()
    return _sha1(public_key), _sha1(long_id)


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _certified_key(certificate: Value) -> bytes | None:
    """The public key in a certificate (maybe a chain, of which the first counts), to the byte;
    None where there is none. No more is read: clients check certificates themselves."""
    inside = values.content(certificate)
    if isinstance(inside, bytes):
        return None
    try:
        data = _der(inside.body.data)
        at, end = _enter(data, 0, len(data))
        at, end = _enter(data, at, end)
        if data[at] == _VERSION:
            at = _end(data, at, end)
        for _ in range(_BEFORE_THE_KEY):
            at = _end(data, at, end)
        return data[at : _end(data, at, end)] if data[at] == _SEQUENCE else None
    except (IndexError, ValueError):
        return None


def _der(data: bytes) -> bytes:
    """What Jami writes is a byte string of MessagePack with PEM inside, which GnuTLS finds there
    (Certificate::unpack); OpenDHT also takes plain DER."""
    _, begin, rest = data.partition(_PEM_BEGIN)
    text, end, _ = rest.partition(_PEM_END)
    return base64.b64decode(text) if begin and end else data


def _enter(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Where the contents of the sequence at `at` begin and end."""
    if data[at] != _SEQUENCE:
        raise ValueError("not a sequence")
    start = at + 2 + (data[at + 1] & 0x7F if data[at + 1] >= 0x80 else 0)
    return start, _end(data, at, end)


def _end(data: bytes, at: int, limit: int) -> int:
    """Where the element at `at` ends."""
    length, at = data[at + 1], at + 2
    if length >= 0x80:
        count = length & 0x7F
        length, at = int.from_bytes(data[at : at + count]), at + count
    if at + length > limit:
        raise ValueError("longer than what holds it")
    return at + length


def _with_the_source(new: Value, source: Endpoint) -> Value | None:
    """A service announcement with the address of whoever put it, so that nobody announces
    somebody else's (IpServiceAnnouncement::storePolicy). Its data is a sockaddr in MessagePack."""
    inside = values.content(new)
    packed = b"" if isinstance(inside, bytes) else inside.body.data
    if len(packed) < 2 + _V4_SOCKADDR or packed[0] != 0xC4 or packed[1] != len(packed) - 2:
        return None
    port = packed[4:6]
    if not any(port):
        return None
    if source.version == 4:
        sockaddr = (2).to_bytes(2, "little") + port + source.ip + bytes(8)
    else:
        sockaddr = (10).to_bytes(2, "little") + port + bytes(4) + source.ip + bytes(4)
    data = bytes([0xC4, len(sockaddr)]) + sockaddr
    return values.make(new.id, data, type=IP_SERVICE)
