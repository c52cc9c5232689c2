"""Opening the names, whatever has happened to them.

A damaged database is set aside, and replaced by the newest good backup with all that can still be
read of the damaged one and proves itself. What a newer lanjami has migrated, as an update that was
taken back, is written anew as this one knows it. Where the disk refuses any of that, names are
served from a copy in memory, for looking up only.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lanjami.errors import HostError, RequestError
from lanjami.nameserver import record
from lanjami.nameserver.database import (
    DamagedError,
    Database,
    NewerError,
    Reader,
    check,
    copy,
    kept_before_newer,
    salvage,
)
from lanjami.nameserver.record import Record
from lanjami.runtime import disk, log

_log = log.get(__name__)

Spare = Callable[[Path], str | None]

_ASIDE, _REPLACED, _NEWER = "damaged", "replaced", "newer"
_SMALLEST = 100  # bytes: the header of a database
_COPIES = "lanjami-names-"


@dataclass(frozen=True, slots=True)
class Opened:
    """The open database at `path`; `why_read_only` is "" where names can be registered.

    `is_replaced` where it stands in memory for one that the disk has to be given yet.
    """

    path: Path
    database: Database
    reader: Reader
    why_read_only: str
    close: Callable[[], None]
    is_replaced: bool = False


def open_names(path: Path, *, spare: Spare, suspect: bool) -> Opened:
    """Open the database at `path`, which is made where there is none.

    `spare` writes the names of the newest good backup to a file and says which backup it is, or
    returns None. With `suspect`, everything is read first. Raises HostError where nothing helps,
    and while an exchange cannot be finished: what is at `path` may be what it replaces.
    """
    disk.finish_exchange(path.parent)
    disk.remove_scratch(_memory(), prefix=_COPIES)
    try:
        return _opened_on_disk(path, spare, suspect=suspect)
    except NewerError:
        raise
    except HostError as error:
        if disk.is_exchange_unfinished(path.parent):
            raise
        return _copied_to_memory(path, spare, why=error)


def can_be_opened(path: Path, *, instead_of: Opened) -> bool:
    """Whether the disk takes again what is served from memory now; nothing is made there."""
    try:
        if instead_of.is_replaced or _is_empty(path):
            _require_taken(path.parent, 2 * instead_of.path.stat().st_size)  # unpacked, then copied
        else:
            with closing(Database(path)) as database:
                database.require_writable()
    except (HostError, OSError):
        return False
    return True


def set_aside(path: Path) -> list[Path]:
    """The folders with damaged databases that were set aside and that nobody has removed."""
    return sorted(path.parent.glob(f"{_ASIDE}-*"))


def write_anew(database: Database) -> Path | None:
    """Write the names of an open database that is gone from its path there again; where something
    else is there, it is kept in the folder that is returned. Raises HostError."""
    path = database.path
    aside = disk.unused(path.parent, _REPLACED)
    with disk.exchanging(path.parent, aside=aside.name) as incoming:
        database.copy_to(incoming / path.name)
    if (aside / path.name).exists():
        return aside
    shutil.rmtree(aside, ignore_errors=True)  # the log, of which all was copied
    return None


def _is_empty(path: Path) -> bool:
    """Whether SQLite would begin anew here, and throw its log away."""
    return not path.exists() or path.stat().st_size < _SMALLEST


def _require_taken(folder: Path, size: int) -> None:
    with disk.spool(folder) as file:
        file.write(b"something")  # not all: every ten seconds that would wear a card out
        file.flush()
        if shutil.disk_usage(folder).free < size:
            raise HostError(f"{folder} is full")


def _opened_on_disk(path: Path, spare: Spare, *, suspect: bool) -> Opened:
    try:
        if _is_empty(path):
            _require_no_spare(path, spare)
        elif suspect:
            check(path)
        return _opened(path)
    except DamagedError as error:
        _replace(path, spare, why=error)
    except NewerError as error:
        _step_back(path, why=error)
    return _opened(path)


def _require_no_spare(path: Path, spare: Spare) -> None:
    with disk.scratch(path.parent) as tried:
        if source := spare(tried / path.name):
            raise DamagedError(f"{path} is empty or gone, but there is {source}")


def _opened(path: Path) -> Opened:
    with ExitStack() as opened:
        database = opened.enter_context(closing(Database(path)))
        reader = opened.enter_context(closing(Reader(path)))
        return Opened(path, database, reader, "", opened.pop_all().close)


def _replace(path: Path, spare: Spare, *, why: HostError) -> str | None:
    """Set a damaged database aside for what there is of it; says which backup it is from."""
    aside = disk.unused(path.parent, _ASIDE)
    with disk.exchanging(path.parent, aside=aside.name) as incoming:
        source = spare(incoming / path.name)
        with closing(Database(incoming / path.name)) as database:
            before = len(database.index)
            for found in _proven(path):
                with suppress(RequestError):  # there already, or in the way of one that is
                    database.add([found])
            read = len(database.index) - before
    _log.error(
        "names were damaged",
        reason=why,
        restored_from=source or "no backup",
        read_from_the_damaged=read,
        kept_in=aside,
    )
    return source


def _step_back(path: Path, *, why: NewerError) -> None:
    """Exchange the database of a newer lanjami for one with all names of it. Where they have
    another shape there, that is the copy that was made before, with what proves itself; NewerError
    where there is none."""
    aside = disk.unused(path.parent, _NEWER)
    try:
        with (
            disk.exchanging(path.parent, aside=aside.name) as incoming,
            closing(Database(incoming / path.name)) as database,
        ):
            database.take_over(path)
    except (NewerError, DamagedError):
        kept = kept_before_newer(path)
        if kept is None:
            raise why from None

        def unpack(target: Path) -> str:
            copy(kept, target)
            return kept.name

        _replace(path, unpack, why=why)
    else:
        _log.warning("names of a newer lanjami were taken over", reason=why, kept_in=aside)


def _proven(path: Path) -> Iterator[Record]:
    for found in salvage(path):
        with suppress(RequestError):
            record.verify(found)
            yield found


def _memory() -> Path:
    return disk.MEMORY if disk.MEMORY.is_dir() else disk.temporary()


def _copied_to_memory(path: Path, spare: Spare, *, why: HostError) -> Opened:
    with ExitStack() as opened:
        folder = opened.enter_context(disk.scratch(_memory(), prefix=_COPIES))
        try:
            for suffix in ("", "-wal"):
                with suppress(FileNotFoundError):
                    shutil.copyfile(f"{path}{suffix}", folder / f"{path.name}{suffix}")
        except OSError as error:
            raise HostError(f"{path} cannot be read: {error.strerror}") from why
        copied = _opened_copy(folder / path.name, spare, why=why)
        opened.callback(copied.close)
        return replace(copied, close=opened.pop_all().close)


def _opened_copy(names: Path, spare: Spare, *, why: HostError) -> Opened:
    """Open the copy in memory of what is on a disk that refuses; raises `why` where nothing is
    known, so that nothing is denied."""
    try:
        if not _is_empty(names):
            check(names)
            return replace(_opened(names), why_read_only=str(why))
        damage = DamagedError(f"{names} is empty or gone")
    except DamagedError as error:
        damage = error
    except NewerError as error:
        _step_back(names, why=error)
        return replace(_opened(names), why_read_only=str(why))
    source = _replace(names, spare, why=damage)
    with ExitStack() as opened:
        copied = _opened(names)
        opened.callback(copied.close)
        if source is None and not len(copied.database.index):
            raise why
        opened.pop_all()
    told = f"{why}; the names are those of {source or 'a damaged database'}, so some may be missing"
    return replace(copied, why_read_only=told, is_replaced=True)
