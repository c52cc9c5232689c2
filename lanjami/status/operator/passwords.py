"""The operator's password: its argon2id hash in a file that only the box's user reads."""

import asyncio
import os
import unicodedata
from pathlib import Path

import argon2

from lanjami.errors import HostError
from lanjami.runtime import disk

MOST_WAITING = 4  # for the one that is computed at a time: each takes 19 MiB for its while
_LARGEST_FILE = 1000  # bytes

# OWASP's "Password Storage Cheat Sheet" has m=19456, t=2, p=1 as the least. Half a second on a
# small ARM.
_HASHER = argon2.PasswordHasher(time_cost=3, memory_cost=19456, parallelism=1)


class Passwords:
    """The password in the file at `path`; there is none where there is no file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._computing = asyncio.Lock()
        self._waiting = 0

    async def is_set(self) -> bool:
        return bool(await asyncio.to_thread(_read, self._path))

    async def check(self, password: str) -> bool:
        """Whether it is this one. Raises HostError where too many ask at once, or the file cannot
        be read."""
        if self._waiting >= MOST_WAITING:
            raise HostError("too many passwords are being checked")
        self._waiting += 1
        try:
            async with self._computing:
                return await asyncio.to_thread(_is_right, self._path, password)
        finally:
            self._waiting -= 1

    async def keep(self, password: str) -> None:
        """Make it this one. Raises HostError where it cannot be written."""
        async with self._computing:
            await asyncio.to_thread(keep, self._path, password)

    async def forget(self) -> None:
        await asyncio.to_thread(forget, self._path)


def keep(path: Path, password: str) -> None:
    """Write the hash of a password; the administrator does it for the user of the folder. Slow."""
    disk.write_atomically(path, _HASHER.hash(_normal(password)).encode())
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def forget(path: Path) -> None:
    """Let there be no password."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise HostError(f"{path} cannot be removed: {error.strerror}") from error


def _is_right(path: Path, password: str) -> bool:
    kept = _read(path)
    if not kept:
        return False
    try:
        return _HASHER.verify(kept, _normal(password))
    except argon2.exceptions.VerifyMismatchError:
        return False
    except (argon2.exceptions.InvalidHashError, argon2.exceptions.VerificationError) as error:
        raise HostError(f"{path} has no password that can be checked") from error


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_FILE).decode("ascii", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error.strerror}") from error


def _normal(password: str) -> str:
    """One keyboard makes ü of one character, another of two."""
    return unicodedata.normalize("NFC", password)
