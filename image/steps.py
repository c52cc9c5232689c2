"""Runs the steps of a build: says which runs and how long it took, and keeps what it printed."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path

from image.screen import Course, Screen

PART = "== "  # what begins a line of a step's output that names the part it has come to
TAIL_LINES = 15
DRAW_EVERY_S = 0.5


class BuildError(Exception):
    """One sentence for the person who builds; `log` is the file that has the rest, if any."""

    def __init__(self, message: str, *, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log


class _Programs:
    """The programs that run, each with all that it started itself; ended together, with those that
    are started after that."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal's handler runs in between
        self._running: set[subprocess.Popen[bytes]] = set()
        self.is_over = False

    def add(self, program: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._running.add(program)
            if self.is_over:
                _end(program)

    def discard(self, program: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._running.discard(program)

    def end(self) -> None:
        with self._lock:
            self.is_over = True
            for program in self._running:
                _end(program)


def _end(program: subprocess.Popen[bytes]) -> None:
    # mmdebstrap itself only waits for what it started, whatever it is told
    with suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGTERM)


class Steps:
    """The steps of a build, known before by title with their usual seconds (`usual_s`).

    Each has a log in `folder`, which is made. `times` has the seconds of every step and part, by
    title, in the order they ended.
    """

    def __init__(self, folder: Path, usual_s: Mapping[str, float], screen: Screen) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.times: dict[str, float] = {}
        self._folder = folder
        self._course = Course(usual_s)
        self._screen = screen
        self._programs = _Programs()

    @contextmanager
    def step(self, title: str) -> Iterator["Step"]:
        """One step. Raises BuildError with the step's title and log where it fails."""
        name = "-".join(title.lower().split())
        log = self._folder / f"{self._course.number(title):02}-{name}.log"
        self._screen.say(f"[{self._course.place(title)}] {title}")
        began = time.monotonic()
        self._course.begin(title, now=began)
        with log.open("w", encoding="utf-8") as file:
            step = Step(file.fileno(), log, self._tell, self._programs)
            try:
                yield step
            except BuildError as error:
                raise BuildError(f"{title}: {error}", log=error.log or log) from error
            except OSError as error:
                raise BuildError(f"{title}: {error}", log=log) from error
        self._course.end(title, was_kept=bool(step.kept))
        self._tell(title, time.monotonic() - began, f", kept: {step.kept}" if step.kept else "")

    def together(self, *works: Callable[[], None]) -> None:
        """Runs steps side by side. Where one fails, the others are ended, and its error raised."""
        with ThreadPoolExecutor(len(works)) as pool:
            begun = [pool.submit(work) for work in works]
            try:
                ended, running = wait(begun, None, FIRST_EXCEPTION)
            except BaseException:  # Ctrl+C
                self._programs.end()
                raise
            if running:
                self._programs.end()
        for work in ended:
            work.result()

    @contextmanager
    def ended_with_us(self) -> Iterator[None]:
        """Where this program is told to end (SIGTERM), those that run in the block are, and so the
        step fails."""
        previous = signal.signal(signal.SIGTERM, lambda *_: self._programs.end())
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, previous)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draws how far they are, while the block runs."""
        is_over = threading.Event()

        def draw() -> None:
            while not is_over.wait(DRAW_EVERY_S):
                self._screen.draw(self._course.line(now=time.monotonic()))
            self._screen.draw("")

        thread = threading.Thread(target=draw)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def _tell(self, title: str, seconds: float, note: str = "") -> None:
        self.times[title] = seconds
        self._screen.say(f"      {seconds:6.1f} s  {title}{note}")


class Step:
    """A step that runs; `kept` names what of an earlier build took its place."""

    def __init__(
        self,
        log_descriptor: int,
        log: Path,
        tell: Callable[[str, float], None],
        programs: _Programs,
    ) -> None:
        self._log_descriptor = log_descriptor
        self._log = log
        self._tell = tell
        self._programs = programs
        self.kept = ""

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
                process_group=0,
            ) as process,
            open(self._log_descriptor, "wb", closefd=False) as log,
        ):
            self._programs.add(process)
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    log.write(line)
                    log.flush()
                    if line.startswith(PART.encode()):
                        if part:
                            self._tell(part, time.monotonic() - began)
                        part, began = line.decode().removeprefix(PART).strip(), time.monotonic()
            except BaseException:  # Ctrl+C
                self._programs.end()
                raise
        self._programs.discard(process)
        if part:
            self._tell(part, time.monotonic() - began)
        if self._programs.is_over:
            raise BuildError(f"{command[0]} was ended", log=self._log)
        if process.returncode:
            raise BuildError(f"{command[0]} failed (exit {process.returncode})", log=self._log)


def tail(log: Path) -> str:
    """The last lines of a log, for whoever has to see what went wrong."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-TAIL_LINES:])
