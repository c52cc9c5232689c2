"""The state folder: private, locked, and written so that a power cut leaves old or new."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from lanjami.errors import HostError


def make_private_folder(folder: Path) -> None:
    """Make `folder` (mode 0700) and its parents, where they do not exist."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(f"the folder {folder} cannot be made: {error.strerror}") from error


def write_atomically(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace the file at `path`; when this returns, the content is on the disk."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(file, "wb") as stream:
            os.fchmod(file, mode)
            stream.write(content)
            stream.flush()
            os.fsync(file)
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise HostError(f"{path} cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`, which names our pid; HostError where another has it."""
    try:
        file = _open_lock(path)
    except OSError as error:
        raise HostError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(file, 32).decode("ascii", "replace").strip() or "unknown"
            raise HostError(
                f"lanjami already runs with the state folder {path.parent} (process {holder})"
            ) from error
        with contextlib.suppress(OSError):  # the pid is a hint; a full disk must not stop us
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(file)


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # a dying card that was made read-only
