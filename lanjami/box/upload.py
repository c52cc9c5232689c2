"""An update that comes by the page, in pieces: a file on the disk, never in memory.

It is beside the names, so it has a size, and leaves them room. Whole, it lies where
`lanjami-update.path` finds it; the page itself has no right to the card. What was broken off is
gone after a silence, and at the next start.
"""

import os
import secrets
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lanjami import layout
from lanjami.box.standing import Standing, UpdateError
from lanjami.errors import HostError
from lanjami.runtime import disk

PIECE = 64 << 10  # bytes
LARGEST = 700 << 20  # bytes: packed, what is larger fits no slot of 768 MiB
SILENT_S = 60.0  # between two pieces, after which nobody waits for more


class Upload:
    """Takes one update at a time into the state `folder`. Every method blocks for the disk.

    `examine` raises UpdateError for a file that this box does not take, from its first piece on;
    `standing` is what is told of the update before. One is given up after `silent_s`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        examine: Callable[[Path], object],
        standing: Callable[[], Standing],
        silent_s: float = SILENT_S,
    ) -> None:
        self.silent_s = silent_s
        self._folder = folder
        self._examine = examine
        self._standing = standing
        self._lock = threading.Lock()
        self._coming: _Coming | None = None

    def standing(self) -> Standing:
        """How the last update stands, the one that comes not counted."""
        told = self._standing()
        is_left = not told.is_moving and (self._folder / layout.UPDATE).exists()
        return Standing("waiting") if is_left else told

    def begin(self, owner: str, size: int, *, now: float) -> str:
        """Make place for an update of `size` bytes; returns its token. Raises UpdateError where it
        is too large, or another comes; of the same `owner`, that one is given up."""
        with self._lock:
            if self.standing().is_moving or self._has_another(owner, now):
                raise UpdateError("busy", "another update is on its way")
            self._drop()
            if size > LARGEST:
                raise UpdateError("room", f"this file has {size >> 20} MiB, which is no update")
            self._require_room(size)
            token = secrets.token_urlsafe(16)
            try:
                with ExitStack() as opened:
                    place = opened.enter_context(disk.scratch(self._folder)) / layout.UPDATE
                    file = opened.enter_context(place.open("xb", buffering=0))
                    self._coming = _Coming(owner, token, size, place, file, now, opened.pop_all())
            except (HostError, OSError) as error:
                raise UpdateError("disk", str(error)) from error
            return token

    def add(self, owner: str, token: str, at: int, piece: bytes, *, now: float) -> int:
        """Take the piece that begins `at` a place; returns up to where all is there, which is
        beyond the piece where that came before. Raises UpdateError where it is refused, and then
        all of it is gone."""
        with self._lock:
            coming = self._of(owner, token)
            coming.heard_at = now
            have = coming.file.tell()
            if at < have:
                return have
            try:
                if at > have or have + len(piece) > coming.size:
                    raise UpdateError("lost", "this piece belongs nowhere")
                self._require_room(len(piece))
                _write(coming.file, piece)
                if have < PIECE <= have + len(piece) or have + len(piece) == coming.size <= PIECE:
                    self._examine(coming.place)
            except HostError:
                self._drop()
                raise
            return coming.file.tell()

    def finish(self, owner: str, token: str) -> None:
        """Leave a whole update to the machine. Raises UpdateError where it is not whole."""
        with self._lock:
            coming = self._of(owner, token)
            if coming.file.tell() != coming.size:
                raise UpdateError("lost", "the update did not come whole")
            try:
                os.fsync(coming.file.fileno())
                coming.place.rename(self._folder / layout.UPDATE)
            except OSError as error:
                raise UpdateError("disk", f"{self._folder}: {error.strerror}") from error
            finally:
                self._drop()

    def drop_silent(self, *, now: float) -> None:
        """Give up an update of which nothing was heard for a while."""
        with self._lock:
            if self._coming is not None and now >= self._coming.heard_at + self.silent_s:
                self._drop()

    def _has_another(self, owner: str, now: float) -> bool:
        coming = self._coming
        return (
            coming is not None and coming.owner != owner and now < coming.heard_at + self.silent_s
        )

    def _of(self, owner: str, token: str) -> "_Coming":
        coming = self._coming
        if coming is None or (coming.owner, coming.token) != (owner, token):
            raise UpdateError("lost", "this update is not expected any longer")
        return coming

    def _drop(self) -> None:
        if self._coming is not None:
            self._coming.opened.close()
            self._coming = None

    def _require_room(self, size: int) -> None:
        try:
            disk.require_room(self._folder, size)
        except (HostError, OSError) as error:
            raise UpdateError("disk", str(error)) from error


@dataclass(slots=True)
class _Coming:
    """An update of which a part is there."""

    owner: str
    token: str
    size: int
    place: Path
    file: BinaryIO
    heard_at: float
    opened: ExitStack


def _write(file: BinaryIO, piece: bytes) -> None:
    try:
        written = file.write(piece)
    except OSError as error:
        raise UpdateError("disk", f"the disk refuses: {error.strerror}") from error
    if written != len(piece):
        raise UpdateError("disk", "the disk is full")
