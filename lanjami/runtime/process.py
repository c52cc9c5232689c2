"""Child processes that end with us, whatever ends us."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence

from lanjami.errors import HostError
from lanjami.runtime import log

_log = log.get(__name__)

_PR_SET_PDEATHSIG = 1  # Linux include/uapi/linux/prctl.h
_LONGEST_LINE = 1 << 20

STOP_S = 1.0  # what a child has for an orderly end


class Child:
    """A running child process that is spoken to in lines."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self._name = name
        self._process = process

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
        how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with status {code}"
        raise HostError(f"{self._name} {how}")

    async def watch(self) -> None:
        """Copy what the child writes on stderr into our log, and fail with its end."""
        assert self._process.stderr is not None
        while True:
            try:
                line = await self._process.stderr.readline()
            except ValueError:  # a line over the limit: what was read of it is gone
                continue
            if not line:
                await self.ended()
            text = line.decode("utf-8", "replace").rstrip()
            _log.warning("child says", child=self._name, line=text)

    async def stop(self, *, within_s: float) -> None:
        """Ask the child to stop by closing its stdin, and kill its group when it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
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
async def child(
    name: str, command: Sequence[str], *, environment: Mapping[str, str]
) -> AsyncIterator[Child]:
    """Run `command` as a child in a process group of its own.

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
    running = Child(name, process)
    try:
        yield running
    except asyncio.CancelledError:
        await running.stop(within_s=STOP_S)
        raise
    finally:
        running.kill()
        await process.wait()


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
