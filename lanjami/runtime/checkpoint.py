"""A file with what a service knows, written again and again, for its next start."""

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Hashable
from pathlib import Path

from lanjami.errors import HostError, WireError
from lanjami.runtime import disk, log

_log = log.get(__name__)

# What changes when the content does, and what packs the content. It may take a while to tell.
State = tuple[Hashable, Callable[[], bytes]]
Tell = Callable[[], Awaitable[State]]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Checkpoint:
    """The file at `path`. A power cut costs what came within `after_s`, or longer where that is
    much: a card wears out, so at most `rate` bytes a second are written in the long run, but at
    least once in `within_s`; and nothing while nothing changes.

    `unsaved` is what the log is told, once, while the disk refuses; `unread` what it is told
    where a start finds a file that is none.
    """

    def __init__(
        self,
        path: Path,
        *,
        after_s: float,
        rate: float,
        unsaved: str,
        unread: str,
        within_s: float = math.inf,
    ) -> None:
        self.path = path
        self._after_s = after_s
        self._rate = rate
        self._within_s = within_s
        self._unsaved = unsaved
        self._unread = unread
        self._version: Hashable = None
        self._can_save = True
        self._one_writes = threading.Lock()  # a task that is cancelled leaves its thread at work

    async def recall(self, read: Callable[[bytes], None]) -> bool:
        """Have `read` take over what is in the file; it raises WireError where that is damaged or
        none of ours. Returns whether there is a file."""
        try:
            read(await asyncio.to_thread(self.path.read_bytes))
        except FileNotFoundError:
            return False
        except (OSError, WireError) as error:
            _log.warning(self._unread, file=self.path, reason=error)
        return True

    def holds(self, version: Hashable) -> None:
        """Know what is in the file already."""
        self._version = version

    async def keep(self, state: Tell, *, at_end: Tell | None = None) -> None:
        """Write the state now and then, and at the end, which is cancellation: there `at_end`,
        where it is given."""
        wait_s = self._after_s
        try:
            while True:
                await asyncio.sleep(wait_s)
                paid_s = await self._save(state) / self._rate
                wait_s = max(self._after_s, min(paid_s, self._within_s))
        finally:
            await self._save(at_end or state)

    async def _save(self, state: Tell) -> int:
        """Put the state on the disk, if it changed; returns how many bytes that takes."""
        version, pack = await state()
        if version == self._version:
            return 0
        data = pack()
        try:
            await asyncio.to_thread(self._write, data)
            self._version, self._can_save = version, True
        except HostError as error:
            if self._can_save:
                _log.warning(self._unsaved, reason=error)
            self._can_save = False
        return len(data)

    def _write(self, data: bytes) -> None:
        with self._one_writes:
            disk.write_atomically(self.path, data)


def boot_id() -> str:
    """Which start of the machine this is; empty where it does not tell."""
    try:
        return _BOOT_ID.read_text("ascii").strip()[:64]
    except (OSError, ValueError):
        return ""
