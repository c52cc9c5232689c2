"""The state folder: private, locked, and written so that a power cut leaves old or new."""

import contextlib
import errno
import fcntl
import itertools
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lanjami.errors import HostError

MEMORY = Path("/dev/shm")  # noqa: S108 - in which a folder of our own is made
SPARED = 32 << 20  # bytes that are left for what cannot wait

_SCRATCH = ".scratch-"
_PREPARED = ".incoming"
_COMMITTED = ".incoming-for-"


def make_private_folder(folder: Path) -> None:
    """Make `folder` (mode 0700) and its parents, where they do not exist."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(f"the folder {folder} cannot be made: {error.strerror}") from error


def is_private(folder: Path) -> bool:
    """Whether it is a folder that is ours and that nobody else may look into; where nothing is
    there, FileNotFoundError."""
    found = folder.lstat()
    is_ours = found.st_uid == os.geteuid()
    return is_ours and stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077


def write_atomically(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace the file at `path`; when this returns, the content is on the disk."""
    with made_whole(path, mode=mode) as file:
        file.write(content)


@contextlib.contextmanager
def made_whole(path: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """A file to write to, which is on the disk at `path` when the block ends without an error;
    until then, what was there before is. Raises HostError where the disk refuses."""
    temporary = path.with_name(f".{path.name}.new")
    if path.exists() and not path.is_file():
        raise HostError(f"{path} is no file")
    try:
        temporary.unlink(missing_ok=True)  # which a killed program left, or somebody put there
        file = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(file, "r+b") as stream:
                os.fchmod(file, mode)
                yield stream
                stream.flush()
                os.fsync(file)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync(path.parent)
    except OSError as error:
        raise HostError(f"{path} cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def scratch(folder: Path, *, prefix: str = _SCRATCH) -> Iterator[Path]:
    """A new private folder in `folder`, gone at the end of the block; until then it is locked, so
    that one whose program was killed is told from one in use."""
    try:
        made, lock = _made_scratch(folder, prefix)
    except OSError as error:
        raise HostError(f"{folder} takes nothing: {error.strerror}") from error
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(lock)


def _made_scratch(folder: Path, prefix: str) -> tuple[Path, int]:
    while True:
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
        lock = os.open(made, os.O_RDONLY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # where folders cannot be locked, none is cleaned up
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if made.exists():
            return made, lock
        os.close(lock)  # another program cleaned up in that very moment


@contextlib.contextmanager
def spool(folder: Path) -> Iterator[BinaryIO]:
    """A file without a name on the disk of `folder`, gone when it is closed, however that comes
    about. Raises HostError where the disk refuses, also what the block writes."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            yield file
    except OSError as error:
        raise HostError(f"{folder} takes nothing: {error.strerror or error}") from error


def remove_scratch(folder: Path, *, prefix: str = _SCRATCH) -> None:
    """Remove the scratch folders that killed programs of ours left; not those in use."""
    for left in folder.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # not ours, in use, or gone by now
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left)
            finally:
                os.close(lock)


def temporary() -> Path:
    """The machine's folder for temporary files; HostError where none takes any."""
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:
        raise HostError(f"nothing temporary can be written: {error.strerror}") from error


def unused(folder: Path, name: str) -> Path:
    """A path in `folder` that is not there, called `name` with a number."""
    return next(
        path for number in itertools.count(1) if not (path := folder / f"{name}-{number}").exists()
    )


def require_room(folder: Path, size: int) -> None:
    """Raise HostError where `size` more bytes would leave the disk nearly full."""
    free = shutil.disk_usage(folder).free
    if free < size + SPARED:
        raise HostError(f"{folder} has {free >> 20} MB left, {(size + SPARED) >> 20} are needed")


@contextlib.contextmanager
def exchanging(folder: Path, *, aside: str) -> Iterator[Path]:
    """A folder for files that come into `folder` together when the block ends without an error.

    The files that they replace, with the logs that SQLite keeps beside them, go into a new folder
    `aside` in it. A power cut leaves all as it was, or `finish_exchange` completes it.
    """
    prepared = folder / _PREPARED
    try:
        shutil.rmtree(prepared, ignore_errors=True)
        prepared.mkdir(mode=0o700)
        try:
            yield prepared
            owner = folder.stat()
            for file in (*prepared.iterdir(), prepared):
                if os.geteuid() == 0:  # the administrator, for the user that the box runs as
                    os.chown(file, owner.st_uid, owner.st_gid)
                _sync(file)
            prepared.rename(folder / f"{_COMMITTED}{aside}")
        except BaseException:
            shutil.rmtree(prepared, ignore_errors=True)
            raise
        _sync(folder)
    except OSError as error:
        raise HostError(f"{folder} cannot be written: {error.strerror}") from error
    finish_exchange(folder)


def is_exchange_unfinished(folder: Path) -> bool:
    """Whether an exchange was interrupted: a file that is to be in `folder` may not be there."""
    return any(folder.glob(f"{_COMMITTED}*"))


def finish_exchange(folder: Path) -> None:
    """Complete an exchange that a power cut interrupted; nothing where there was none."""
    try:
        for committed in folder.glob(f"{_COMMITTED}*"):
            aside = folder / committed.name.removeprefix(_COMMITTED)
            if not aside.exists():
                committed_by = committed.stat()
                aside.mkdir(mode=0o700)
                os.chown(aside, committed_by.st_uid, committed_by.st_gid)
            for file in committed.iterdir():
                for suffix in ("-wal", "-shm", ""):
                    with contextlib.suppress(FileNotFoundError):
                        (folder / f"{file.name}{suffix}").rename(aside / f"{file.name}{suffix}")
                _sync(folder)  # a log must not be there any longer when the file it is not of comes
                file.rename(folder / file.name)
            _sync(folder)
            committed.rmdir()
    except OSError as error:
        raise HostError(f"{folder} cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`, which names our pid; HostError where another has it.

    Where the disk is only read and has no such file, its folder is held instead.
    """
    try:
        file = _open_lock(path)
    except OSError as error:
        raise HostError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise HostError(
                f"lanjami already runs with the state folder {path.parent} "
                f"(process {_holder(file)})"
            ) from error
        with contextlib.suppress(OSError):  # the pid is a hint; a full disk must not stop us
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(file)


def _open_lock(path: Path) -> int:
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.geteuid() == 0:  # the administrator, for the user that the box runs as
            owner = path.parent.stat()
            os.fchown(file, owner.st_uid, owner.st_gid)
        return file
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # a dying card that was made read-only
    except FileNotFoundError:  # before its first start
        return os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _holder(lock: int) -> str:
    """The pid that a lock file names."""
    with contextlib.suppress(OSError):  # it is a folder
        if named := os.read(lock, 32).decode("ascii", "replace").strip():
            return named
    return "unknown"


def _sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
