"""What a card may have after a power cut, from what a machine wrote to it and when it flushed.

QEMU's blklogwrites writes that down, in the format of Linux's dm-log-writes
(Documentation/admin-guide/device-mapper/log-writes.rst). What was written before a flush is there
once that has returned. Of every later write any part may be: all sectors, none, or the first of
them. A sector is never torn itself. Not modelled: a card that lies about flushes, or damages what
it had.
"""

import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import BinaryIO

SECTOR = 512
_MAGIC = 0x6A736677736872
_SUPER = struct.Struct("<QQQI")
_ENTRY = struct.Struct("<QQQQ")
_FLUSH, _DISCARD = 1, 4


@dataclass(frozen=True, slots=True)
class Write:
    """`size` bytes for the card's byte `start`, from byte `at` of the log; `flushes` says whether
    all that was written before is certain from then on."""

    start: int
    size: int
    at: int
    flushes: bool


def entries_so_far(log: Path) -> int:
    """How many writes the log is sure to have; a flush that has returned is among them."""
    with log.open("rb") as file:
        magic, version, entries, sector = _SUPER.unpack(file.read(_SUPER.size))
    assert (magic, version, sector) == (_MAGIC, 1, SECTOR)
    return int(entries)


def writes(log: Path) -> list[Write]:
    """All that the log has, in order."""
    found = []
    with log.open("rb") as file:
        at = SECTOR
        for _ in range(entries_so_far(log)):
            file.seek(at)
            sector, sectors, flags, _ = _ENTRY.unpack(file.read(_ENTRY.size))
            at += SECTOR
            size = 0 if flags & _DISCARD else sectors * SECTOR
            found.append(Write(sector * SECTOR, size, at, bool(flags & _FLUSH)))
            at += size
    return found


class Cuts:
    """A part of a card, from byte `start` on, as cuts at later and later moments leave it.

    `disk` is a file with what the part had at first; it follows what is certain.
    """

    def __init__(self, log: Path, disk: Path, *, start: int, size: int) -> None:
        self._log = log
        self._disk = disk
        self._within = range(start, start + size)
        self._writes = writes(log)
        self._certain = 0  # writes that are on the disk

    def __len__(self) -> int:
        """The writes that were logged."""
        return len(self._writes)

    def cut(self, after: int, to: Path, *, dice: Random) -> Path:
        """What a cut after so many writes may leave, as a file; `after` never goes back."""
        flushed = max(
            (n + 1 for n, write in enumerate(self._writes[:after]) if write.flushes),
            default=0,
        )
        with self._log.open("rb") as log, self._disk.open("r+b") as disk:
            for write in self._writes[self._certain : flushed]:
                self._put(write, write.size, log, disk)
        self._certain = max(flushed, self._certain)
        copy(self._disk, to)
        with self._log.open("rb") as log, to.open("r+b") as disk:
            for write, size in _arrived(self._writes[flushed:after], dice):
                self._put(write, size, log, disk)
        return to

    def _put(self, write: Write, size: int, log: BinaryIO, disk: BinaryIO) -> None:
        if size and write.start in self._within:
            log.seek(write.at)
            disk.seek(write.start - self._within.start)
            disk.write(log.read(size))


def copy(source: Path, to: Path) -> None:
    """A copy with the holes of its source."""
    subprocess.run(["cp", "--sparse=auto", source, to], check=True)


def _arrived(writes: Sequence[Write], dice: Random) -> Iterator[tuple[Write, int]]:
    """Any of the writes, and how many of their bytes. In their order: a disk that gets a sector
    twice has its last content, where it has both."""
    for write in writes:
        match dice.choice(("all", "none", "some")):
            case "all":
                yield write, write.size
            case "some":
                yield write, dice.randrange(write.size // SECTOR + 1) * SECTOR
