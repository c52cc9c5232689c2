"""Runs the steps of a build: says which runs and how long it took, and keeps what it printed."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

PART = "== "  # what begins a line of a step's output that names the part it has come to
TAIL_LINES = 15


class BuildError(Exception):
    """One sentence for the person who builds; `log` is the file that has the rest, if any."""

    def __init__(self, message: str, *, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log


class Steps:
    """Numbers the steps as they come; each has a log in `folder`, which is made.

    `times` has the seconds of every step and part, by title, in the order they ran.
    """

    def __init__(self, folder: Path, *, count: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._count = count
        self._number = 0
        self.times: dict[str, float] = {}

    @contextmanager
    def step(self, title: str) -> Iterator["Step"]:
        """One step. Raises BuildError with the step's title and log where it fails."""
        self._number += 1
        name = "-".join(title.lower().split())
        log = self._folder / f"{self._number:02}-{name}.log"
        say(f"[{self._number}/{self._count}] {title}")
        began = time.monotonic()
        with log.open("w", encoding="utf-8") as file:
            step = Step(file.fileno(), log, self.times)
            try:
                yield step
            except BuildError as error:
                raise BuildError(f"{title}: {error}", log=error.log or log) from error
            except OSError as error:
                raise BuildError(f"{title}: {error}", log=log) from error
        self.times[title] = time.monotonic() - began
        say(f"      {self.times[title]:6.1f} s{step.note and f', {step.note}'}")


class Step:
    """A step that runs; `note` is told beside its time."""

    def __init__(self, log_descriptor: int, log: Path, times: dict[str, float]) -> None:
        self._log_descriptor = log_descriptor
        self._log = log
        self._times = times
        self.note = ""

    def run(self, command: Sequence[str | Path], *, environment: Mapping[str, str]) -> None:
        """Runs a program to its end, its output in the log. Raises BuildError where it fails."""
        part, began = "", time.monotonic()
        with (
            subprocess.Popen(
                [str(word) for word in command],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            ) as process,
            open(self._log_descriptor, "wb", closefd=False) as log,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                log.write(line)
                log.flush()
                if line.startswith(PART.encode()):
                    self._tell(part, began)
                    part, began = line.decode().removeprefix(PART).strip(), time.monotonic()
        self._tell(part, began)
        if process.returncode:
            raise BuildError(f"{command[0]} failed (exit {process.returncode})", log=self._log)

    def _tell(self, part: str, began: float) -> None:
        if part:
            self._times[part] = time.monotonic() - began
            say(f"      {self._times[part]:6.1f} s  {part}")


def tail(log: Path) -> str:
    """The last lines of a log, for whoever has to see what went wrong."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-TAIL_LINES:])


def say(line: str) -> None:
    """A line for the person who builds."""
    sys.stderr.write(f"{line}\n")
