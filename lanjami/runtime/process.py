"""Child processes that end with us, whatever ends us."""

import asyncio
import contextlib
import ctypes
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path

from lanjami.errors import HostError
from lanjami.runtime import disk, log

_log = log.get(__name__)

_PR_SET_PDEATHSIG = 1  # Linux include/uapi/linux/prctl.h
_LONGEST_LINE = 1 << 20

_PROBE = bytes(16 << 10)  # a configuration is a few thousand bytes
_COPIES = "lanjami-work-"

STOP_S = 1.0  # what a child has for an orderly end

_PACKAGES = str(Path(__file__).resolve().parents[2])
_ADMINISTRATORS_PATH = "/usr/local/sbin:/usr/sbin:/sbin"  # which ordinary users do not have


class Child:
    """A running child process that is spoken to in lines."""

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, ends_by: signal.Signals | None
    ) -> None:
        self._name = name
        self._process = process
        self._ends_by = ends_by
        self._last_words = ""

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, line: str, *, timeout_s: float) -> str:
        """Send a line and return the line that comes back; HostError when none does."""
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):  # `ended` tells the reason better
            self._process.stdin.write(line.encode() + b"\n")
            await self._process.stdin.drain()
        return await self.hear(timeout_s=timeout_s)

    async def hear(self, *, timeout_s: float) -> str:
        """The next line that the child writes; HostError when none comes in time."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise HostError(f"{self._name} hangs: it said nothing for {timeout_s:g} s") from None
        if not line:
            await self.ended()
        return line.decode("utf-8", "replace").strip()

    async def ended(self) -> None:
        """Wait for the child's end, then raise HostError with the reason."""
        code = await self._process.wait()
        if code < 0:
            raise HostError(f"{self._name} was killed by {_signal_name(-code)}")
        why = f": {self._last_words}" if code and self._last_words else ""
        raise HostError(f"{self._name} ended with status {code}{why}")

    async def watch(self, *, routine: re.Pattern[str] | None = None) -> None:
        """Copy what the child writes on stderr into our log, and fail with its end.

        What `routine` is found in is told only where everything is.
        """

        def tell(text: str) -> None:
            if routine is not None and routine.search(text):
                _log.debug("child says", child=self._name, line=text)
            else:
                self._last_words = text
                _log.warning("child says", child=self._name, line=text)

        await self.follow(tell)

    async def follow(self, heard: Callable[[str], None]) -> None:
        """Hand over each line that the child writes on stderr, and fail with its end."""
        assert self._process.stderr is not None
        while True:
            try:
                line = await self._process.stderr.readline()
            except ValueError:  # a line over the limit: what was read of it is gone
                continue
            if not line:
                await self.ended()
            heard(line.decode("utf-8", "replace").rstrip())

    async def stop(self, *, within_s: float) -> None:
        """Ask the child to stop by closing its stdin, and by its signal where it has one; kill
        its group when it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._ends_by is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(self._ends_by)
        try:
            async with asyncio.timeout(within_s):
                await self._process.wait()
        except TimeoutError:
            pass
        finally:
            self.kill()
        await self._process.wait()

    def kill(self) -> None:
        """Kill the child and all that it started."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def workplace(folder: Path) -> AsyncIterator[Path]:
    """Where programs that we run have their files: `folder`, which is made where it is not there.

    Where its disk takes nothing, it is a copy of its files in memory, or else in the folder for
    temporary ones, gone at the end of the block: people are served, and what is noted meanwhile is
    lost. Raises HostError where these take nothing either.
    """
    at_end = contextlib.ExitStack()
    try:
        yield await asyncio.to_thread(at_end.enter_context, _workplace(folder))
    finally:
        await asyncio.to_thread(at_end.close)


@contextlib.contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    places = _places_for_copies()
    for place in places:  # of killed programs: a passphrase may be in them
        disk.remove_scratch(place, prefix=_COPIES)
    try:
        disk.make_private_folder(folder)
        _require_writable(folder)
    except HostError as error:
        _log.warning("a copy is worked with, and is lost with its program", reason=error)
    else:
        yield folder
        return
    with disk.scratch(_first_writable(places), prefix=_COPIES) as copy:
        _copy_files(folder, copy)
        yield copy


def _places_for_copies() -> list[Path]:
    """Memory first: a folder for temporary files may be on the same disk."""
    places = [disk.MEMORY]
    with contextlib.suppress(HostError):  # memory may do
        places.append(disk.temporary())
    return places


def _first_writable(places: Sequence[Path]) -> Path:
    """The first of the places that takes files; HostError with all that none does."""
    refused = []
    for place in places:
        try:
            _require_writable(place)
        except HostError as error:
            refused.append(str(error))
        else:
            return place
    raise HostError("; ".join(refused))


def _require_writable(folder: Path) -> None:
    """Raise HostError where the disk of `folder` does not take a configuration."""
    with disk.spool(folder) as probe:
        probe.write(_PROBE)
        probe.flush()
        os.fsync(probe.fileno())


def _copy_files(folder: Path, copy: Path) -> None:
    """Copy the files that can be read and that find room, each as a whole or not at all."""
    with contextlib.suppress(OSError):  # there may be no folder
        for file in folder.iterdir():
            try:
                shutil.copy2(file, copy)
            except OSError:  # a lost sector, a full copy, or no file
                with contextlib.suppress(OSError):  # nothing was begun
                    (copy / file.name).unlink()


@contextlib.asynccontextmanager
async def child(
    name: str,
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    ends_by: signal.Signals | None = None,
) -> AsyncIterator[Child]:
    """Run `command` as a child in a process group of its own, which ends by the end of its stdin
    or else by `ends_by`.

    When we are cancelled it is stopped; when the body fails it is killed at once.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            process_group=0,
            limit=_LONGEST_LINE,
        )
    except OSError as error:
        raise HostError(f"{name} cannot be started: {error.strerror}") from error
    running = Child(name, process, ends_by)
    try:
        yield running
    except asyncio.CancelledError:
        await running.stop(within_s=STOP_S)
        raise
    finally:
        running.kill()
        await process.wait()


def installed(program: str, *, package: str) -> str:
    """The path of a program; HostError where it is not there, with Debian's `package` that has
    it."""
    path = f"{os.environ.get('PATH', os.defpath)}:{_ADMINISTRATORS_PATH}"
    found = shutil.which(program, path=path)
    if found is None:
        raise HostError(f"{program} is not installed: apt install {package}")
    return found


def tethered(command: Sequence[str], *, keeps_rights: bool = False) -> list[str]:
    """The command line of a foreign program, by its path, that is to end with us; it writes on
    stderr what it writes. Runs with `python_environment`. With `keeps_rights` it has those that we
    were given (see `privileges`), else none."""
    rights = "keep" if keeps_rights else "give-up"
    return [
        sys.executable,
        "-P",
        "-m",
        "lanjami.runtime.tether",
        str(os.getpid()),
        rights,
        *command,
    ]


def python_environment() -> dict[str, str]:
    """Our environment, with the place of this package, which a child in Python finds also where we
    run from a source tree."""
    path = os.pathsep.join(filter(None, [_PACKAGES, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path}


async def output_of(command: Sequence[str], *, within_s: float = 10.0) -> str:
    """Run a program to its end and return what it printed; HostError with its last words where it
    fails or takes too long."""
    name = Path(command[0]).name
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise HostError(f"{name} cannot be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(within_s):
            printed, told = await process.communicate()
    except TimeoutError:
        raise HostError(f"{name} took longer than {within_s:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        words = told.decode("utf-8", "replace").strip().splitlines()
        raise HostError(f"{' '.join([name, *command[1:]])}: {words[-1] if words else 'failed'}")
    return printed.decode("utf-8", "replace")


def end_with_parent(parent: int) -> None:
    """Called by a child first: have the kernel kill us when the process `parent` dies (Linux).

    Elsewhere a child notices the end of its parent by the end of its stdin.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)  # it died before we asked


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
