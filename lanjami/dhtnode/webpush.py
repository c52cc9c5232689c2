"""A push that only its receiver can read: RFC 8291, with the one record of RFC 8188.

    salt (16) | record size (u32) | length of the key (1) | sender's key (65) | ciphertext

The receiver's keys come from the application, in the topic of a subscription:
"p256dh|auth", in base64 of either alphabet (OpenDHT src/dht_proxy_server.cpp,
sendPushNotification).
"""

import base64
import binascii
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lanjami.errors import RequestError

SALT_LENGTH = 16
RECORD_SIZE = 4096  # what every receiver takes: RFC 8291, 4
_AUTH_LENGTH = 16
_LAST_RECORD = b"\x02"
LONGEST = RECORD_SIZE - (SALT_LENGTH + 4 + 1 + 65) - 16 - len(_LAST_RECORD)  # bytes of a text


@dataclass(frozen=True, slots=True)
class Keys:
    """A receiver's public key, an uncompressed point of P-256, and the secret it shares."""

    public: bytes
    auth: bytes


def parse_topic(topic: str) -> Keys | None:
    """The keys in a topic; None where it has none. Raises RequestError."""
    public_text, bar, auth_text = topic.partition("|")
    if not bar:
        return None
    keys = Keys(_bytes(public_text), _bytes(auth_text))
    if len(keys.auth) != _AUTH_LENGTH:
        raise RequestError(400, "the secret of a push has 16 bytes")
    _point(keys.public)
    return keys


def encrypt(text: bytes, keys: Keys, *, private: ec.EllipticCurvePrivateKey, salt: bytes) -> bytes:
    """The body of a push that says a text of at most `LONGEST`. `private` and `salt` are made for
    this one message."""
    own = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    shared = private.exchange(ec.ECDH(), _point(keys.public))
    info = b"WebPush: info\0" + keys.public + own
    secret = _derive(shared, salt=keys.auth, info=info, length=32)
    key = _derive(secret, salt=salt, info=b"Content-Encoding: aes128gcm\0", length=16)
    nonce = _derive(secret, salt=salt, info=b"Content-Encoding: nonce\0", length=12)
    sealed = AESGCM(key).encrypt(nonce, text + _LAST_RECORD, None)
    return salt + RECORD_SIZE.to_bytes(4) + bytes([len(own)]) + own + sealed


def _derive(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)


def _point(public: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
    except ValueError as error:
        raise RequestError(400, "the key of a push is no point of P-256") from error


def _bytes(text: str) -> bytes:
    try:
        plain = text.rstrip("=").encode("ascii")
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), _alphabet(plain), validate=True)
    except (ValueError, binascii.Error) as error:
        raise RequestError(400, "the keys of a push are in base64") from error


def _alphabet(text: bytes) -> bytes:
    return b"-_" if b"-" in text or b"_" in text else b"+/"
