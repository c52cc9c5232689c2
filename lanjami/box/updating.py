"""Writes an update into the slot that does not run, and has it tried once.

Nothing that runs is touched. Until the last step, which is one sector, a power cut leaves a box
that starts as before; after it, one that tries the new slot once.
"""

import hashlib
import lzma
import os
import platform
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from lanjami.box import disks, places, slots
from lanjami.box.disks import Card, Running
from lanjami.box.slots import Manifest, Slot
from lanjami.errors import HostError
from lanjami.runtime import disk, log

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_log = log.get(__name__)

_CHUNK = 1 << 20  # bytes
_LZMA_MOST = 128 << 20  # bytes that unpacking may need: `xz -9` needs 65 MiB

KEPT = Path(places.KEPT)


class Told(msgspec.Struct, frozen=True):
    """What the box remembers of updates: the `pending` one's version and slot, and the version
    that was `refused` by its own test; "" for none."""

    pending: str = ""
    slot: str = ""
    refused: str = ""


def told(kept: Path = KEPT) -> Told:
    try:
        return msgspec.json.decode((kept / "update.json").read_bytes(), type=Told)
    except (OSError, msgspec.DecodeError):
        return Told()


def tell(what: Told, kept: Path = KEPT) -> None:
    disk.write_atomically(kept / "update.json", msgspec.json.encode(what))


def settle_update(running: Running, *, kept: Path = KEPT) -> None:
    """At a start: an update that is pending though the other slot runs did not pass its test."""
    before = told(kept)
    if before.pending and before.slot != running.slot:
        _log.error("the update was taken back", version=before.pending)
        tell(Told(refused=before.pending), kept)


def read_key() -> "Ed25519PublicKey":
    """The key of who makes this box's system; HostError where it has none."""
    try:
        return slots.public_key(Path(places.UPDATE_KEY).read_bytes())
    except FileNotFoundError:
        raise HostError(
            "this box's image was made without a key for updates, so it takes none: write a new "
            "image to a card, and restore a backup there"
        ) from None
    except OSError as error:
        raise HostError(f"{places.UPDATE_KEY} cannot be read: {error.strerror}") from error


def install(
    file: Path,
    *,
    key: "Ed25519PublicKey",
    card: Card,
    now: Slot,
    version: str,
    again: bool,
    kept: Path = KEPT,
) -> Manifest:
    """Bring a bundle into the slot other than `now`, to be tried at the next start. HostError where
    it is refused, and then the box is as before. `again` takes one that failed its test before."""
    new = slots.other(now)
    target = card.slot(new)
    try:
        with file.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:") as bundle:
            manifest = _manifest(bundle, key)
            slots.require_wanted(
                manifest, version=version, machine=platform.machine(), room=disks.size(target)
            )
            if manifest.version == told(kept).refused and not again:
                raise HostError(
                    f"lanjami {manifest.version} did not pass its test on this box before; "
                    "with --again it is tried once more"
                )
            disks.write_try(card, None)
            _write(_member(bundle, slots.ROOT), manifest, target)
    except (OSError, EOFError, tarfile.TarError, lzma.LZMAError) as error:
        raise HostError(f"the update {file} cannot be read: {error}") from error
    _fit(target, new)
    tell(Told(manifest.version, new), kept)
    disks.write_try(card, new)
    return manifest


def _manifest(bundle: tarfile.TarFile, key: "Ed25519PublicKey") -> Manifest:
    content = _member(bundle, slots.MANIFEST).read(slots.LARGEST_MANIFEST)
    signature = _member(bundle, slots.SIGNATURE).read(slots.LARGEST_MANIFEST)
    return slots.manifest(content, signature, key)


def _member(bundle: tarfile.TarFile, name: str) -> BinaryIO:
    """The next file in the bundle, which has to be that: it is read once, from its beginning."""
    member = bundle.next()
    if member is None or member.name != name or not member.isreg():
        raise HostError(f"this is no update of lanjami: {name} is not where it should be")
    content = bundle.extractfile(member)
    assert content is not None
    return content  # type: ignore[return-value]


def _unpacked(packed: BinaryIO, size: int) -> Iterator[bytes]:
    """What was packed, and never more than `size` bytes and a chunk."""
    unpacker, given = lzma.LZMADecompressor(memlimit=_LZMA_MOST), 0
    data = b""
    while not unpacker.eof and given <= size:
        if unpacker.needs_input:
            data = packed.read(_CHUNK)
            if not data:
                raise EOFError("it ends too early")
        chunk = unpacker.decompress(data, max_length=_CHUNK)
        data = b""
        given += len(chunk)
        yield chunk


def _write(packed: BinaryIO, manifest: Manifest, target: Path) -> None:
    """Write the image, and read it back from the card; HostError where it is not the one that was
    signed."""
    with target.open("r+b", buffering=0) as slot:
        digest, written = hashlib.sha256(), 0
        for chunk in _unpacked(packed, manifest.size):
            digest.update(chunk)
            written += len(chunk)
            if written > manifest.size:
                break
            slot.write(chunk)
        if written != manifest.size or digest.hexdigest() != manifest.sha256:
            raise HostError("the update is damaged: it is not what its maker signed")
        os.fsync(slot.fileno())
        os.posix_fadvise(slot.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        slot.seek(0)
        if _digest(slot, manifest.size) != manifest.sha256:
            raise HostError(f"{target} does not keep what is written to it: the card is dying")


def _digest(file: BinaryIO, size: int) -> str:
    digest = hashlib.sha256()
    while size and (chunk := file.read(min(size, _CHUNK))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest()


def _fit(target: Path, slot: Slot) -> None:
    """Give the new system its place: the slot's name and size, and the modules of the kernel that
    runs, for the kernel stays (docs/raspberry-pi.md)."""
    disks.run(["e2fsck", "-f", "-y", target], well=disks.MENDED)
    disks.run(["resize2fs", target])
    disks.run(["tune2fs", "-L", f"root-{slot}", target])
    modules = Path("usr/lib/modules", platform.release())
    with disks.mounted(target) as system:
        own = Path("/", modules)
        if own.is_dir() and not (system / modules).exists():
            shutil.copytree(own, system / modules, symlinks=True)
    disks.run(["e2fsck", "-f", "-n", target])
