"""Values, ids and keys for the tests of the DHT node; the keys are made for one run."""

import functools
import hashlib

import msgspec
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lanjami.dhtnode import value as values
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.query import Field, Filter, Query
from lanjami.dhtnode.value import Body, Value


@functools.cache
def key(name: str) -> rsa.RSAPrivateKey:
    """The private key of a person."""
    assert name
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


def public(name: str) -> bytes:
    return key(name).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def signed(
    owner: str,
    id: int = 1,
    *,
    seq: int = 0,
    data: bytes = b"signed",
    type: int = 0,
    user_type: str = "",
    to: bytes | None = None,
) -> Value:
    """A value that `owner` signed, as OpenDHT does."""
    body = Body(type=type, data=data, seq=seq, owner=public(owner), to=to, utype=user_type or None)
    to_sign = values.to_sign(body)
    signature = key(owner).sign(to_sign, padding.PKCS1v15(), SHA512())
    dat = {"body": msgspec.Raw(to_sign), "sig": signature}
    return values.parse(msgspec.msgpack.encode({"id": id, "dat": dat}))


def encrypted(id: int = 1, data: bytes = b"secret") -> Value:
    return values.parse(msgspec.msgpack.encode({"id": id, "dat": data}))


def by_id(id: int) -> Query:
    """Asks for the value with an id."""
    return Query((), (Filter(Field.ID, id),))


def sha1(text: str) -> bytes:
    """A key or a node's id."""
    return hashlib.sha1(text.encode()).digest()


def at(last: int, port: int = 4222) -> Endpoint:
    """An address in 10.0.0.0/16."""
    return Endpoint(bytes([10, 0, last >> 8, last & 0xFF]), port)
