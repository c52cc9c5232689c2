"""Registrations of names as a client makes them, with keys of our own."""

import base64
import hashlib
import itertools
import json
import math
import random
from collections.abc import Iterator
from functools import cache

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lanjami.nameserver import signature
from lanjami.nameserver.names import JamiId, Name
from lanjami.nameserver.record import Record
from lanjami.nameserver.signature import Registration

CLIENT_KEY = 4096  # bits; jami-daemon src/jamidht/archive_account_manager.cpp


@cache
def key(number: int) -> rsa.RSAPrivateKey:
    """An account's key; smaller than a client's, which takes seconds to make."""
    return rsa.generate_private_key(65537, 2048)


def account_id(number: int) -> str:
    return _id(key(number).public_key())


def body(name: str, number: int) -> dict[str, str]:
    """What account `number` posts to register `name`."""
    return _body(name, number, key(number))


def registration(name: str, number: int) -> Registration:
    """The verified registration of `name` by account `number`."""
    read = signature.read(Name(name), json.dumps(body(name, number)).encode())
    signature.verify(read)
    return read


class ClientKeys:
    """Distinct keys by the thousand, in microseconds each; of a client's size if not said else.

    All have one modulus, and the public exponents from 65537 on that it allows: each makes
    another SubjectPublicKeyInfo, and so another Jami ID. They are as large and as slow to sign as
    a client's, a little slower to verify (more bits are set in the exponent), and worth nothing:
    who has one has them all.
    """

    def __init__(self, *, bits: int = CLIENT_KEY) -> None:
        numbers = rsa.generate_private_key(65537, bits).private_numbers()
        self._p, self._q = numbers.p, numbers.q

    def exponents(self) -> Iterator[int]:
        """The public exponents, one for each account, always in the same order."""
        orders = (self._p - 1) * (self._q - 1)
        return (e for e in itertools.count(65537, 2) if math.gcd(e, orders) == 1)

    def body(self, name: str, exponent: int) -> dict[str, str]:
        """What the account posts to register `name`; takes milliseconds to sign."""
        return _body(name, exponent, self._private(exponent))

    def record(self, name: str, exponent: int) -> Record:
        """What is kept of such a registration, with noise in place of the signature."""
        public = self._public(exponent).public_key()
        noise = random.Random(exponent).randbytes(CLIENT_KEY // 8)
        return Record(
            name=Name(name),
            id=JamiId(_id(public)),
            owner=f"{exponent:040x}",
            publickey=base64.b64encode(_pem(public)).decode(),
            signature=base64.b64encode(noise).decode(),
            registered=0,
            signed=Name(name),
        )

    def _public(self, exponent: int) -> rsa.RSAPublicNumbers:
        return rsa.RSAPublicNumbers(exponent, self._p * self._q)

    def _private(self, exponent: int) -> rsa.RSAPrivateKey:
        p, q = self._p, self._q
        d = pow(exponent, -1, math.lcm(p - 1, q - 1))
        numbers = rsa.RSAPrivateNumbers(
            p=p,
            q=q,
            d=d,
            dmp1=rsa.rsa_crt_dmp1(d, p),
            dmq1=rsa.rsa_crt_dmq1(d, q),
            iqmp=rsa.rsa_crt_iqmp(p, q),
            public_numbers=self._public(exponent),
        )
        return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def _body(name: str, number: int, key: rsa.RSAPrivateKey) -> dict[str, str]:
    signed = key.sign(name.encode(), padding.PKCS1v15(), SHA512())
    return {
        "addr": _id(key.public_key()),
        "owner": f"{number:040x}",
        "signature": base64.b64encode(signed).decode(),
        "publickey": base64.b64encode(_pem(key.public_key()) + b"\0").decode(),
    }


def _id(key: rsa.RSAPublicKey) -> str:
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha1(der, usedforsecurity=False).hexdigest()


def _pem(key: rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
