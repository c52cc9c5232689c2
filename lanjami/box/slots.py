"""Which of two copies of the system starts, and what an update is.

Two sectors of the card, before its first partition, say it: one has the slot that is known to be
good, the other the one to be tried at the next start and at no other. A sector is written as a
whole, so a power cut leaves the old or the new. Without a word there, slot a is the good one. The
same is read by `image/rootfs/etc/initramfs-tools/scripts/init-premount/lanjami`.
"""

import re
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from lanjami.box.standing import UpdateError
from lanjami.errors import HostError

if TYPE_CHECKING:  # a start has no time for it: only an update is verified
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Slot = Literal["a", "b"]

SECTOR = 512  # bytes
GOOD_SECTOR, TRY_SECTOR = 2048, 2049
PARTITIONS: dict[Slot, int] = {"a": 2, "b": 3}
DATA_PARTITION = 4

MANIFEST, SIGNATURE, ROOT = "manifest.json", "manifest.sig", "root.img.xz"
LARGEST_MANIFEST = 64 << 10  # bytes


def good_sector(slot: Slot) -> bytes:
    return _sector(f"lanjami_slot={slot}\n")


def try_sector(slot: Slot | None) -> bytes:
    """That which has `slot` tried once; None for none."""
    return _sector("" if slot is None else f"lanjami_try={slot}\n")


def _sector(text: str) -> bytes:
    return text.encode().ljust(SECTOR, b"\0")


def other(slot: Slot) -> Slot:
    return "b" if slot == "a" else "a"


class Manifest(msgspec.Struct, frozen=True):
    """What a bundle is: of the root's image, `size` in bytes and SHA-256, both unpacked."""

    format: Literal[1]
    machine: Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,32}\Z")]
    version: Annotated[str, Meta(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6}){1,3}\Z")]
    size: Annotated[int, Meta(ge=1 << 20, le=1 << 40, multiple_of=SECTOR)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


def public_key(pem: bytes) -> "Ed25519PublicKey":
    """Raises HostError where the file is no Ed25519 key."""
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        key = load_pem_public_key(pem)
    except ValueError as error:
        raise HostError("the key that updates are checked with is damaged") from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise HostError("the key that updates are checked with is none of Ed25519")
    return key


def manifest(content: bytes, signature: bytes, key: "Ed25519PublicKey") -> Manifest:
    """The manifest of a bundle; UpdateError where it was not signed by who makes this box's."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - as above

    try:
        key.verify(signature, content)
    except InvalidSignature:
        raise UpdateError(
            "signature",
            "this update was not made by who made this box's system, or was changed: its signature "
            "is wrong",
        ) from None
    try:
        return msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError as error:
        raise UpdateError(
            "kind", f"this update is of a kind that this box does not know: {error}"
        ) from error


def require_wanted(made: Manifest, *, version: str, machine: str) -> None:
    """UpdateError where a box of `version` on `machine` does not take it: an old one would bring
    old faults back."""
    if made.machine != machine:
        raise UpdateError(
            "machine", f"this update is for {made.machine}, and this box is a {machine}"
        )
    if _ordered(made.version) <= _ordered(version):
        raise UpdateError(
            "old", f"this update is lanjami {made.version}, and {version} runs here already"
        )


def require_room(made: Manifest, room: int) -> None:
    """UpdateError where a slot of `room` bytes is too small for it."""
    if made.size > room:
        raise UpdateError(
            "room",
            f"this update has {made.size >> 20} MiB, and a slot has {room >> 20}: write the new "
            "image to a card, and restore a backup there",
        )


def _ordered(version: str) -> list[int]:
    """Its numbers; what follows them, as in 0.2.0.dev1, is not looked at. 1.0 is 1.0.0."""
    numbers = re.match(r"[0-9.]*", version)
    parts = [int(part) for part in numbers[0].split(".") if part] if numbers else []
    return parts + [0] * (4 - len(parts))
