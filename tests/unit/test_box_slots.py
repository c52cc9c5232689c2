"""Updates that are taken and refused, by their manifest."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lanjami.box import slots
from lanjami.box.slots import Manifest
from lanjami.errors import HostError

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
MANIFEST = Manifest(1, "aarch64", "0.2.0", 4 << 20, "0" * 64)
MIB = 1 << 20


def _require(made: Manifest = MANIFEST, version: str = "0.1.0", room: int = 8 * MIB) -> None:
    slots.require_wanted(made, version=version, machine="aarch64")
    slots.require_room(made, room)


def test_what_was_signed_is_taken() -> None:
    content = msgspec.json.encode(MANIFEST)
    assert slots.manifest(content, KEY.sign(content), KEY.public_key()) == MANIFEST
    _require()


@pytest.mark.parametrize("changed", ["content", "signature", "key"])
def test_what_was_not_signed_is_refused(changed: str) -> None:
    content = msgspec.json.encode(MANIFEST)
    signature, key = KEY.sign(content), KEY.public_key()
    match changed:
        case "content":
            content = content.replace(b"0.2.0", b"0.3.0")
        case "signature":
            signature = b"\0" * 64
        case "key":
            key = Ed25519PrivateKey.from_private_bytes(b"o" * 32).public_key()
    with pytest.raises(HostError, match="signature"):
        slots.manifest(content, signature, key)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        msgspec.json.encode(MANIFEST).replace(b'"format":1', b'"format":2'),
        msgspec.json.encode(MANIFEST).replace(b"0.2.0", b"../.."),
        msgspec.json.encode(MANIFEST).replace(b'"size":4194304', b'"size":1'),
    ],
)
def test_a_signed_manifest_of_another_kind_is_refused(content: bytes) -> None:
    with pytest.raises(HostError, match="kind"):
        slots.manifest(content, KEY.sign(content), KEY.public_key())


@pytest.mark.parametrize(
    ("made", "version", "room", "why"),
    [
        (MANIFEST, "0.2.0", 8 * MIB, "already"),
        (MANIFEST, "0.2", 8 * MIB, "already"),
        (MANIFEST, "0.10.0", 8 * MIB, "already"),
        (MANIFEST, "0.1.0", 3 * MIB, "MiB"),
        (msgspec.structs.replace(MANIFEST, machine="x86_64"), "0.1.0", 8 * MIB, "x86_64"),
    ],
)
def test_what_this_box_cannot_use_is_refused(
    made: Manifest, version: str, room: int, why: str
) -> None:
    with pytest.raises(HostError, match=why):
        _require(made, version, room)


def test_numbers_are_compared_as_numbers() -> None:
    _require(msgspec.structs.replace(MANIFEST, version="0.10.0"), "0.9.1.dev0")


def test_only_ed25519_is_a_key() -> None:
    other = generate_private_key(SECP256R1()).public_key()
    pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for content in (pem, b"", b"no key"):
        with pytest.raises(HostError, match="key"):
            slots.public_key(content)
    own = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    content = msgspec.json.encode(MANIFEST)
    assert slots.manifest(content, KEY.sign(content), slots.public_key(own)) == MANIFEST


def test_a_sector_is_whole() -> None:
    for sector in (slots.good_sector("b"), slots.try_sector("a"), slots.try_sector(None)):
        assert len(sector) == slots.SECTOR
