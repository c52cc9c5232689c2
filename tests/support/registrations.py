"""Registrations of names as a client makes them, with keys of our own."""

import base64
import hashlib
import json
from functools import cache

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lanjami.nameserver import signature
from lanjami.nameserver.names import Name
from lanjami.nameserver.signature import Registration


@cache
def key(number: int) -> rsa.RSAPrivateKey:
    """An account's key; smaller than a client's, which takes seconds to make."""
    return rsa.generate_private_key(65537, 2048)


def account_id(number: int) -> str:
    der = key(number).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha1(der, usedforsecurity=False).hexdigest()


def body(name: str, number: int) -> dict[str, str]:
    """What account `number` posts to register `name`."""
    pem = key(number).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signature = key(number).sign(name.encode(), padding.PKCS1v15(), SHA512())
    return {
        "addr": account_id(number),
        "owner": f"{number:040x}",
        "signature": base64.b64encode(signature).decode(),
        "publickey": base64.b64encode(pem + b"\0").decode(),
    }


def registration(name: str, number: int) -> Registration:
    """The verified registration of `name` by account `number`."""
    read = signature.read(Name(name), json.dumps(body(name, number)).encode())
    signature.verify(read)
    return read
