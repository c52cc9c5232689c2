"""What the person who builds sees: lines, and on a terminal a bar below them."""

import shutil
import threading
from collections.abc import Mapping
from typing import TextIO

WIDTH = 24  # characters of the bar


class Screen:
    """Lines on `stream`; the one below them is drawn again and again, where that is a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()  # steps that run side by side speak side by side
        self._drawn = ""

    def say(self, text: str) -> None:
        """Whole lines, which stay."""
        self._replace(f"{text}\n", drawn="")

    def draw(self, line: str) -> None:
        """What stands below all lines from now on; nothing where nobody sees it."""
        if self._stream.isatty():
            fitting = line[: shutil.get_terminal_size().columns - 1]
            self._replace(fitting, drawn=fitting)

    def _replace(self, text: str, *, drawn: str) -> None:
        with self._lock:
            blank = f"\r{' ' * len(self._drawn)}\r" if self._drawn else ""
            self._stream.write(blank + text)
            self._stream.flush()
            self._drawn = drawn


class Course:
    """How far a build is: `usual_s` has its steps by title, in order, with how long each takes
    where nothing is kept from an earlier build."""

    def __init__(self, usual_s: Mapping[str, float]) -> None:
        self._usual_s = dict(usual_s)
        self._numbers = {title: number for number, title in enumerate(usual_s, start=1)}
        self._began: dict[str, float] = {}
        self._ended: set[str] = set()

    def number(self, title: str) -> int:
        return self._numbers[title]

    def place(self, title: str) -> str:
        """Which step this is, and of how many."""
        return f"{self._numbers[title]}/{len(self._numbers)}"

    def begin(self, title: str, *, now: float) -> None:
        self._began[title] = now

    def end(self, title: str, *, was_kept: bool) -> None:
        """A step has ended; one that `was_kept` took no time, and counts for none."""
        self._ended.add(title)
        if was_kept:
            self._usual_s[title] = 0.0

    def share(self, *, now: float) -> float:
        """How much of the usual time is over, 0 to 1; a step that is late stands still."""
        over = sum(self._over(title, began, now) for title, began in list(self._began.items()))
        total = sum(self._usual_s.values())
        return over / total if total else 1.0

    def line(self, *, now: float) -> str:
        """The bar, and the steps that run, each with its time so far."""
        filled = int(WIDTH * self.share(now=now))
        running = ", ".join(
            f"{self.place(title)} {title} {_clock(now - began)}"
            for title, began in list(self._began.items())
            if title not in self._ended
        )
        return f"[{'#' * filled:-<{WIDTH}}] {running}"

    def _over(self, title: str, began: float, now: float) -> float:
        usual = self._usual_s[title]
        return usual if title in self._ended else min(usual, now - began)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"
