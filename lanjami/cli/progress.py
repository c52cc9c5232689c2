"""How far long work is, for a person in front of a terminal; for nobody else."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, TextIO, TypeVar, cast

_T = TypeVar("_T")

_EVERY_S = 0.1  # between two looks of one bar
_WIDTH = 30  # characters of a bar


class Bar:
    """One line on `stream`, written again and again without any escape code; nothing is written
    where it `is_shown` to nobody."""

    def __init__(self, stream: TextIO, *, is_shown: bool) -> None:
        self.is_shown = is_shown
        self.label = ""
        self._stream = stream
        self._done = 0
        self._total = 0
        self._drawn = ""
        self._drawn_at = -_EVERY_S

    def advance(self, by: int = 1) -> None:
        self.reach(self._done + by)

    def reach(self, done: int) -> None:
        """So much is done now."""
        self._done = done
        if self.is_shown and time.monotonic() >= self._drawn_at + _EVERY_S:
            self._draw()

    def begin(self, label: str, total: int = 0) -> None:
        """The work, or another part of it, begins: `total` steps, or 0 where that is not known.
        Nothing where that was said before."""
        if (label, total) == (self.label, self._total) and self._drawn:
            return
        self.label, self._done, self._total = label, 0, total
        if self.is_shown:
            self._draw()

    def clear(self) -> None:
        """Take the line away, so that something else can be written there."""
        if self._drawn:
            self._stream.write(f"\r{' ' * len(self._drawn)}\r")
            self._stream.flush()
            self._drawn = ""

    def over(self, things: Iterable[_T]) -> Iterator[_T]:
        """Each of them, one step further."""
        for thing in things:
            yield thing
            self.advance()

    def reading(self, file: BinaryIO) -> BinaryIO:
        """A file that is as far as it was read."""
        return cast("BinaryIO", _Read(file, self))

    def _draw(self) -> None:
        self._drawn_at = time.monotonic()
        if self._total:
            share = min(1.0, self._done / self._total)
            filled = int(_WIDTH * share)
            line = f"{self.label}  [{'#' * filled:-<{_WIDTH}}] {int(100 * share):3} %"
        else:
            line = f"{self.label} …"
        self._stream.write(f"\r{line:{len(self._drawn)}}")
        self._stream.flush()
        self._drawn = line


@contextmanager
def shown(label: str, total: int = 0, *, is_wanted: bool = True) -> Iterator[Bar]:
    """A bar on the standard error stream while the block runs, if that is a terminal."""
    bar = Bar(sys.stderr, is_shown=is_wanted and sys.stderr.isatty())
    bar.begin(label, total)
    try:
        yield bar
    finally:
        bar.clear()


class _Read:
    """What of a file those need who read it; read twice, it is twice as far."""

    def __init__(self, file: BinaryIO, bar: Bar) -> None:
        self._file = file
        self._bar = bar

    def read(self, size: int = -1) -> bytes:
        return self._counted(self._file.read(size))

    def readline(self, size: int = -1) -> bytes:
        return self._counted(self._file.readline(size))

    def seek(self, place: int) -> int:
        return self._file.seek(place)

    def _counted(self, data: bytes) -> bytes:
        self._bar.advance(len(data))
        return data
