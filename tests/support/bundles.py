"""Updates as `image/bundle` makes them, small and signed by a key of the tests."""

import hashlib
import lzma
import platform
import tarfile
from io import BytesIO
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lanjami.box import slots

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
MIB = 1 << 20


def write(path: Path, content: bytes, *, version: str = "0.2.0", changed: str = "") -> Path:
    """An update that brings `content`, a root's image, to machines of this kind; `changed` is what
    somebody did to it after it was signed."""
    made = slots.Manifest(
        *(1, platform.machine(), version, len(content)), hashlib.sha256(content).hexdigest()
    )
    manifest = msgspec.json.encode(made)
    signature = KEY.sign(manifest)
    packed = lzma.compress(content, preset=0)
    match changed:
        case "root":
            packed = lzma.compress(content[:-1] + b"x", preset=0)
        case "longer":
            packed = lzma.compress(content + b"\0" * MIB, preset=0)
        case "torn":
            packed = packed[: len(packed) // 2]
        case "manifest":
            manifest = manifest.replace(version.encode(), b"9.9.9")
    with tarfile.open(path, "w") as tar:
        for name, text in (
            (slots.MANIFEST, manifest),
            (slots.SIGNATURE, signature),
            (slots.ROOT, packed),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, BytesIO(text))
    if changed == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path
