"""Whose registration it is: the proof that the owner of an ID wants a name.

The signature is RSASSA-PKCS1-v1_5 with SHA-512 over the lower-case name, by the account's key;
the ID is the SHA-1 of that key's SubjectPublicKeyInfo (OpenDHT src/crypto.cpp PrivateKey::sign,
PublicKey::getId). Clients verify both again when they look a name up, and can verify RSA only.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from lanjami.errors import RequestError
from lanjami.nameserver.names import JamiId, Name, parse_id

SMALLEST_KEY, LARGEST_KEY = 2048, 8192  # bits; clients make 4096


class Body(msgspec.Struct, frozen=True):
    """What a client posts; every member has to be there and more may be.

    `owner` is an Ethereum-style address that the signature does not cover: kept, never trusted.
    """

    addr: str
    owner: str
    signature: str
    publickey: str


@dataclass(frozen=True, slots=True)
class Registration:
    """A name, its ID, and what proves it; `publickey` and `signature` are base64, as clients
    want them back, the key as PEM."""

    name: Name
    id: JamiId
    owner: str
    publickey: str
    signature: str


def read(name: Name, content: bytes) -> Registration:
    """The registration of `name` that a request's body asks for, not yet verified.

    Raises RequestError (400) where something is missing or is not what it should be.
    """
    try:
        body = msgspec.json.decode(content, type=Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(400, f"the request is incomplete: {error}") from error
    owner = parse_id(body.owner)
    if not body.signature or not body.publickey:
        raise RequestError(400, "a registration needs a public key and a signature")
    # A client before OpenDHT 4.3.0 ends the PEM text with a NUL.
    pem = _base64(body.publickey, "public key").rstrip(b"\0")
    signature = _base64(body.signature, "signature")
    return Registration(
        name,
        parse_id(body.addr),
        owner,
        publickey=base64.b64encode(pem).decode(),
        signature=base64.b64encode(signature).decode(),
    )


def verify(registration: Registration) -> None:
    """Raise RequestError (401) unless the owner of the ID signed the name; 400 for no base64."""
    pem = _base64(registration.publickey, "public key")
    signed = _base64(registration.signature, "signature")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RequestError(401, "the public key cannot be read") from error
    if not isinstance(key, RSAPublicKey) or not SMALLEST_KEY <= key.key_size <= LARGEST_KEY:
        raise RequestError(401, f"the key has to be RSA of {SMALLEST_KEY} to {LARGEST_KEY} bits")
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if hashlib.sha1(der, usedforsecurity=False).hexdigest() != registration.id:
        raise RequestError(401, "the public key is not the one of this ID")
    try:
        key.verify(signed, registration.name.encode(), PKCS1v15(), SHA512())
    except InvalidSignature as error:
        raise RequestError(401, "signature verification failed") from error


def _base64(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(400, f"the {what} is not base64") from error
