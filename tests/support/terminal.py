"""Runs a program in a terminal, as a person does."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

LONGEST_WAIT_S = 20.0
SCRIPTS = Path(sys.executable).parent  # where `lanjami` is


class Terminal:
    """What a program in it printed so far is `shown`."""

    def __init__(self, end: int) -> None:
        self._end = end
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def wait_for(self, text: str, *, within_s: float = LONGEST_WAIT_S) -> None:
        """Read until the program has printed `text` after all that was waited for before."""
        deadline, begun = time.monotonic() + within_s, len(self.shown)
        while text not in self.shown[begun:]:
            assert time.monotonic() < deadline, f"no {text!r} in {self.shown[begun:]!r}"
            assert self._read(within_s=0.5), f"it ended without {text!r}: {self.shown[begun:]!r}"

    def read_all(self) -> str:
        """What is printed until the program ends."""
        deadline = time.monotonic() + LONGEST_WAIT_S
        while self._read(within_s=0.5):
            assert time.monotonic() < deadline, self.shown
        return self.shown

    def _read(self, *, within_s: float) -> bool:
        """Take what comes in some time; whether the program is there still."""
        if not select.select([self._end], [], [], within_s)[0]:
            return True
        try:
            self.shown += os.read(self._end, 65536).decode("utf-8", "replace")
        except OSError:  # which is how Linux says that the other end is closed
            return False
        return True


@contextmanager
def running_in_terminal(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    stdout: int | None = None,
) -> Iterator[tuple[Terminal, "subprocess.Popen[bytes]"]]:
    """Run a command with `lanjami` in its path in a terminal of its own, and kill it at the end;
    its output goes elsewhere where `stdout` says so."""
    ours, its = pty.openpty()
    paths = f"{SCRIPTS}:{os.environ['PATH']}"
    process = subprocess.Popen(
        command,
        stdin=its,
        stdout=its if stdout is None else stdout,
        stderr=its,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm", **(environment or {}), "PATH": paths},
    )
    os.close(its)
    try:
        yield Terminal(ours), process
    finally:
        process.kill()
        process.wait()
        os.close(ours)
