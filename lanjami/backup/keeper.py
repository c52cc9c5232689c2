"""The service that makes a backup at every start and once a day, and keeps some of them."""

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path

from lanjami.backoff import Backoff
from lanjami.backup import archive
from lanjami.backup.manifest import Backup, Manifest, surplus
from lanjami.errors import HostError
from lanjami.runtime import disk, log
from lanjami.runtime.service import Ready

_log = log.get(__name__)

EVERY_S = 24 * 3600.0
PATIENCE_S = 10.0  # at a start the names may need a while

Collect = Callable[[Path], None]


class Keeper:
    """Keeps backups in `folder`; `collect` puts what belongs into one into a folder, and raises
    HostError while that cannot be."""

    name = "backups"

    def __init__(
        self,
        folder: Path,
        *,
        collect: Collect,
        every_s: float = EVERY_S,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._collect = collect
        self._every_s = every_s
        self._patience_s = patience_s
        self._clock = clock
        self._backups: list[Backup] = []  # that are kept, the oldest first

    async def run(self, ready: Ready) -> None:
        await asyncio.to_thread(disk.make_private_folder, self._folder)
        await asyncio.to_thread(disk.remove_scratch, self._folder)
        backoff, failing_s = Backoff(), 0.0
        while True:
            try:
                await asyncio.to_thread(self._make_one)
                reason, wait_s, backoff, failing_s = "", self._every_s, Backoff(), 0.0
            except HostError as error:
                reason = f"no backup can be made: {error}" if failing_s > self._patience_s else ""
                wait_s = backoff.failed(after_s=0.0)
                failing_s += wait_s
            ready(self._told(), reason=reason, proved=not failing_s)
            await asyncio.sleep(wait_s)

    def make(self, path: Path) -> Manifest:
        """Write a backup to `path`, in whose folder there has to be room for more. Raises
        HostError."""
        with disk.scratch(path.parent) as collected:
            self._collect(collected)
            return archive.write(path, collected, created=timestamp(self._clock()))

    def _make_one(self) -> None:
        self._backups = self._kept()
        number = self._backups[-1].number + 1 if self._backups else 1
        path = _file(self._folder, number)
        manifest = self.make(path)
        self._backups.append(Backup(number, path.stat().st_size, manifest))
        for backup in surplus(self._backups):
            _file(self._folder, backup.number).unlink(missing_ok=True)
            self._backups.remove(backup)
        _log.debug("backup made", number=number)

    def unpack_newest(self, name: str, target: Path) -> str | None:
        """Write the file `name` of the newest good backup to `target`, and say which backup that
        is; None where there is none. Raises HostError where the target refuses, as then it is not
        known whether there is one."""
        for backup in reversed(self._kept()):
            path = _file(self._folder, backup.number)
            try:
                archive.unpack(path, [name], target.parent)
            except archive.TargetError:
                raise
            except HostError as error:
                _log.warning("backup passed over", file=path, reason=error)
                target.unlink(missing_ok=True)  # a part of it may be there
                continue
            if name in backup.manifest.files:
                return f"the backup of {backup.manifest.created}"
        return None

    def _kept(self) -> list[Backup]:
        kept = []
        for path in self._folder.glob("backup-*.zip"):
            number = re.fullmatch(r"backup-(\d{6,})\.zip", path.name)
            if number is None:
                continue
            try:
                kept.append(Backup(int(number[1]), path.stat().st_size, archive.read(path)))
            except (HostError, OSError) as error:
                _log.warning("backup passed over", file=path, reason=error)
        return sorted(kept, key=lambda backup: backup.number)

    def _told(self) -> str:
        if not self._backups:
            return "none yet"
        newest = self._backups[-1].manifest.created
        return f"{len(self._backups)} kept, the newest of {newest}"


def timestamp(when: float) -> str:
    """Seconds since 1970, as in RFC 3339."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


def _file(folder: Path, number: int) -> Path:
    return folder / f"backup-{number:06}.zip"
