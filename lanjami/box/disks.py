"""The card that the box starts from: its partitions, and the sectors that name a slot.

`root` stands for "/", so that tests can have a card of their own.
"""

import contextlib
import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lanjami.box import places, slots
from lanjami.box.slots import Slot
from lanjami.errors import HostError

MENDED = (0, 1)  # e2fsck(8): no errors, or errors corrected
_UNSOUND = (4, 8, 12)  # errors are left, or nothing that it can open
_RUN_MOST_S = 600.0  # of a check of a large, slow card


@dataclass(frozen=True, slots=True)
class Card:
    """The device of the whole card, and what its partitions' paths begin with."""

    device: Path
    prefix: str

    def partition(self, number: int) -> Path:
        return Path(f"{self.prefix}{number}")

    def slot(self, slot: Slot) -> Path:
        return self.partition(slots.PARTITIONS[slot])


@dataclass(frozen=True, slots=True)
class Running:
    """The slot that runs, and whether it does so for the first time and only once."""

    slot: Slot
    tried: bool


def running(*, root: Path = Path("/")) -> Running | None:
    """What the initramfs chose; None on a machine that did not start from the image."""
    try:
        words = (root / places.SLOT[1:]).read_text("ascii").split()
    except (OSError, UnicodeDecodeError):
        return None
    for slot in slots.PARTITIONS:
        if words[:1] == [slot]:
            return Running(slot, tried="tried" in words)
    return None


def find(*, root: Path = Path("/")) -> Card:
    """The card that the initramfs started from; HostError."""
    try:
        device = (root / places.DISK[1:]).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise HostError("this machine did not start from a card of lanjami") from None
    # as Linux calls partitions: the names of disks that end in a digit have a p before the number
    return Card(Path(device), f"{device}p" if device[-1:].isdigit() else device)


def write_good(card: Card, slot: Slot) -> None:
    """Make a slot the one that starts; when this returns, the card has it."""
    _write_sector(card, slots.GOOD_SECTOR, slots.good_sector(slot))
    write_try(card, None)


def write_try(card: Card, slot: Slot | None) -> None:
    """Have a slot tried at the next start; None for none."""
    _write_sector(card, slots.TRY_SECTOR, slots.try_sector(slot))


def _write_sector(card: Card, number: int, content: bytes) -> None:
    try:
        file = os.open(card.device, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(file, content, number * slots.SECTOR)
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise HostError(f"{card.device} cannot be written: {error.strerror}") from error


def size(device: Path) -> int:
    """Of a partition, in bytes."""
    try:
        with device.open("rb") as file:
            return file.seek(0, os.SEEK_END)
    except OSError as error:
        raise HostError(f"{device} cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def mounted(partition: Path, *options: str) -> Iterator[Path]:
    """A file system of ours for a while, which is on the card when the block ends."""
    with tempfile.TemporaryDirectory(prefix="lanjami-", dir="/run") as folder:
        run(["mount", "-t", "ext4", "-o", ",".join(["noatime", *options]), partition, folder])
        try:
            yield Path(folder)
        finally:
            run(["umount", folder])


@contextlib.contextmanager
def locked(name: str, *, run: Path = Path(places.RUN), wait: bool = True) -> Iterator[bool]:
    """Have what `name` stands for to oneself. Without `wait`, False where another has it."""
    try:
        lock = os.open(run / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HostError(f"{run} takes nothing: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)


def is_sound(partition: Path) -> bool:
    """Whether there is a file system of ours that a check finds no fault with, or could mend;
    HostError where that cannot be found out."""
    return _ended(["e2fsck", "-f", "-p", partition], (*MENDED, *_UNSOUND)).returncode in MENDED


def run(command: Sequence[str | Path], *, well: Sequence[int] = (0,)) -> str:
    """Run a program to its end; HostError with its last words unless it ends with one of `well`."""
    return _ended(command, well).stdout


def _ended(command: Sequence[str | Path], well: Sequence[int]) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            command, capture_output=True, text=True, check=False, timeout=_RUN_MOST_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"{command[0]} cannot be run: {error}") from error
    if done.returncode not in well:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise HostError(f"{command[0]}: {words[-1] if words else 'failed'}")
    return done
