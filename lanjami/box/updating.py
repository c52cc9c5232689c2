"""Writes an update into the slot that does not run, and has it tried once.

Nothing that runs is touched. Until the last step, which is one sector, a power cut leaves a box
that starts as before; after it, one that tries the new slot once.
"""

import contextlib
import hashlib
import lzma
import os
import platform
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from lanjami.box import disks, places, slots
from lanjami.box.disks import Card, Running
from lanjami.box.slots import Manifest, Slot
from lanjami.box.standing import Standing, State, UpdateError
from lanjami.errors import HostError
from lanjami.runtime import disk, log

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_log = log.get(__name__)

_CHUNK = 1 << 20  # bytes
_HEAD = 4096  # bytes: the superblock, without which the initramfs takes nothing for a system
_LZMA_MOST = 128 << 20  # bytes that unpacking may need: `xz -9` needs 65 MiB

KEPT = Path(places.KEPT)
STANDING = Path(places.UPDATE)

Progress = Callable[[Standing], None]


class Told(msgspec.Struct, frozen=True):
    """What the box remembers of updates: the `pending` one's version and slot, the version that
    was `refused` by its own test, and the one that was `kept`; "" for none."""

    pending: str = ""
    slot: str = ""
    refused: str = ""
    kept: str = ""


def told(kept: Path = KEPT) -> Told:
    try:
        return msgspec.json.decode((kept / "update.json").read_bytes(), type=Told)
    except (OSError, msgspec.DecodeError):
        return Told()


def tell(what: Told, kept: Path = KEPT) -> None:
    disk.write_atomically(kept / "update.json", msgspec.json.encode(what))


def settle_update(running: Running, *, kept: Path = KEPT) -> Standing:
    """How an update stands at a start: one that is pending though the other slot runs did not pass
    its test."""
    past = told(kept)
    if past.pending and past.slot == running.slot:
        return Standing("tried" if running.tried else "kept", past.pending)
    if past.pending:
        _log.error("the update was taken back", version=past.pending)
        past = Told(refused=past.pending)
        tell(past, kept)
    if past.refused:
        return Standing("back", past.refused)
    return Standing("kept", past.kept) if past.kept else Standing()


def standing(file: Path = STANDING) -> Standing:
    """How an update stands, as it was told last."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Standing)
    except (OSError, msgspec.DecodeError):
        return Standing()


def stand(how: Standing, file: Path = STANDING) -> None:
    """Tell everybody on the box how an update stands; no update fails because nobody hears that."""
    with contextlib.suppress(HostError):
        disk.write_atomically(file, msgspec.json.encode(how), mode=0o644)


def require_removable(file: Path) -> None:
    """Raise HostError where the disk would not let go of the update in `file`, which would then be
    found again at once, and written without end."""
    name = file.with_name(f".{file.name}.tried")
    try:
        name.unlink(missing_ok=True)  # which a power cut left
        name.hardlink_to(file)
        name.unlink()
    except FileNotFoundError:
        pass  # so it is told by who reads it
    except OSError as error:
        raise HostError(f"{file.parent} takes nothing: {error.strerror}") from error


def remove(file: Path) -> None:
    """Remove an update that was taken or refused. Where the disk turned read-only meanwhile, it
    stays, and lanjami-update.service has nobody look at it again."""
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        _log.error("the update stays where it came", file=file, reason=error.strerror)


@contextlib.contextmanager
def alone(run: Path = Path(places.RUN)) -> Iterator[None]:
    """Let no other update be written meanwhile, UpdateError where one is; nor anything else to the
    slot, for which this waits."""
    with disks.locked("updating", run=run, wait=False) as is_alone:
        if not is_alone:
            raise UpdateError("busy", "another update is being written right now")
        with disks.locked(places.IDLE_SLOT, run=run):
            yield


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


def examine(file: Path, *, key: "Ed25519PublicKey", version: str) -> Manifest:
    """The manifest of a bundle of which the beginning is there; UpdateError where a box of
    `version` takes none of it."""
    with _opened(file) as bundle:
        return _wanted(bundle, key, version)


def install(
    file: Path,
    *,
    key: "Ed25519PublicKey",
    card: Card,
    now: Slot,
    version: str,
    again: bool,
    kept: Path = KEPT,
    progress: Progress = lambda _: None,
) -> Manifest:
    """Bring a bundle into the slot other than `now`, to be tried at the next start. HostError where
    it is refused, and then the box is as before. `again` takes one that failed its test before;
    `progress` is told often how far it is."""
    new = slots.other(now)
    target = card.slot(new)
    with _opened(file) as bundle:
        manifest = _wanted(bundle, key, version)
        slots.require_room(manifest, disks.size(target))
        past = told(kept)
        if manifest.version == past.refused and not again:
            raise UpdateError(
                "before",
                f"lanjami {manifest.version} did not pass its test on this box before; "
                "with --again it is tried once more",
            )
        disks.write_try(card, None)
        if past.pending:  # which is written over
            tell(msgspec.structs.replace(past, pending="", slot=""), kept)
        _write(_member(bundle, slots.ROOT), manifest, target, progress)
    _fit(target, new)
    tell(Told(manifest.version, new), kept)
    disks.write_try(card, new)
    return manifest


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    """A bundle, which may be of somebody else's making: no pipe is waited for."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as raw:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UpdateError("other", f"{file} is no file")
            with tarfile.open(fileobj=raw, mode="r:") as bundle:
                yield bundle
    except tarfile.TarError as error:
        raise UpdateError("other", f"this is no update of lanjami: {error}") from error
    except (EOFError, lzma.LZMAError) as error:
        raise UpdateError("damaged", f"the update is damaged: {error}") from error
    except OSError as error:
        raise HostError(f"the update {file} cannot be read: {error}") from error


def _wanted(bundle: tarfile.TarFile, key: "Ed25519PublicKey", version: str) -> Manifest:
    manifest = _manifest(bundle, key)
    slots.require_wanted(manifest, version=version, machine=platform.machine())
    return manifest


def _manifest(bundle: tarfile.TarFile, key: "Ed25519PublicKey") -> Manifest:
    content = _member(bundle, slots.MANIFEST).read(slots.LARGEST_MANIFEST)
    signature = _member(bundle, slots.SIGNATURE).read(slots.LARGEST_MANIFEST)
    return slots.manifest(content, signature, key)


def _member(bundle: tarfile.TarFile, name: str) -> BinaryIO:
    """The next file in the bundle, which has to be that: it is read once, from its beginning."""
    member = bundle.next()
    if member is None or member.name != name or not member.isreg():
        raise UpdateError("other", f"this is no update of lanjami: it has no {name} in its place")
    content = bundle.extractfile(member)
    assert content is not None
    return content  # type: ignore[return-value]


def _unpacked(packed: BinaryIO, size: int) -> Iterator[bytes]:
    """What was packed, and never more than `size` bytes and a chunk."""
    unpacker, given = lzma.LZMADecompressor(memlimit=_LZMA_MOST), 0
    data = b""
    while not unpacker.eof and given <= size:
        if unpacker.needs_input:
            try:
                data = packed.read(_CHUNK)
            except tarfile.ReadError as error:  # of a bundle that was not copied whole
                raise EOFError("it ends too early") from error
            if not data:
                raise EOFError("it ends too early")
        chunk = unpacker.decompress(data, max_length=_CHUNK)
        data = b""
        given += len(chunk)
        yield chunk


def _write(packed: BinaryIO, manifest: Manifest, target: Path, progress: Progress) -> None:
    """Write the image, its head last, and read it back from the card; UpdateError where it is not
    the one that was signed."""

    def told(state: State, done: int) -> None:
        progress(Standing(state, manifest.version, done, manifest.size))

    with target.open("r+b", buffering=0) as slot:
        slot.write(bytes(_HEAD))
        os.fsync(slot.fileno())
        digest, written, head = hashlib.sha256(), 0, b""
        for chunk in _unpacked(packed, manifest.size):
            digest.update(chunk)
            written += len(chunk)
            if written > manifest.size:
                break
            of_head = chunk[: _HEAD - len(head)]
            head += of_head
            slot.write(chunk[len(of_head) :])
            told("writing", written)
        if written != manifest.size or digest.hexdigest() != manifest.sha256:
            raise UpdateError("damaged", "the update is damaged: it is not what its maker signed")
        os.fsync(slot.fileno())
        slot.seek(0)
        slot.write(head)
        os.fsync(slot.fileno())
        os.posix_fadvise(slot.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        slot.seek(0)
        digest, read = hashlib.sha256(), 0
        while chunk := slot.read(min(manifest.size - read, _CHUNK)):
            digest.update(chunk)
            read += len(chunk)
            told("reading", read)
        if digest.hexdigest() != manifest.sha256:
            raise UpdateError(
                "card", f"{target} does not keep what is written to it: the card is dying"
            )


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
