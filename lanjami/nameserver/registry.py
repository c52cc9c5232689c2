"""The names on the disk, and the service that keeps them open.

SQLite with a write-ahead log and synchronous=FULL: what `register` returned is on the disk.
"""

import asyncio
import importlib.resources
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from lanjami.errors import HostError, RequestError
from lanjami.nameserver.names import JamiId, Name
from lanjami.nameserver.signature import Registration
from lanjami.runtime.service import Ready

_T = TypeVar("_T")

_SELECT = "SELECT name, id, owner, publickey, signature FROM names"

CHECK_EVERY_S = 10.0
ANSWER_WITHIN_S = 5.0
BUSY_S = 2.0  # how long another process may hold the database, a backup for instance


class Database:
    """The table of names; used by one thread at a time. Every method is one transaction.

    Raises HostError where the disk or the database refuses.
    """

    def __init__(self, path: Path) -> None:
        with _translated():
            self._connection = sqlite3.connect(
                path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
        try:
            with _translated():
                path.chmod(0o600)
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
                self._migrate()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def by_name(self, name: Name) -> Registration | None:
        return self._find("name", name)

    def by_id(self, id: JamiId) -> Registration | None:
        return self._find("id", id)

    def count(self) -> int:
        with _translated():
            (number,) = self._connection.execute("SELECT count(*) FROM names").fetchone()
            return int(number)

    def register(self, wanted: Registration, *, when: int) -> None:
        """Give the name to the ID, for ever; again for the same pair is no error.

        `when` is in seconds since 1970. Raises RequestError (403) where one of them is taken.
        """
        with _translated(), self._transaction():
            holder = self._find("name", wanted.name)
            if holder is not None and holder.id == wanted.id:
                return
            if holder is not None:
                raise RequestError(403, "the name is taken", owner=holder.owner, addr=holder.id)
            named = self._find("id", wanted.id)
            if named is not None:
                raise RequestError(403, "the ID has a name", name=named.name, addr=named.id)
            self._connection.execute(
                "INSERT INTO names (name, id, owner, publickey, signature, registered)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    wanted.name,
                    wanted.id,
                    wanted.owner,
                    wanted.publickey,
                    wanted.signature,
                    when,
                ),
            )

    def write_something(self) -> None:
        """Write what is there already, to find out whether the disk takes it."""
        with _translated(), self._transaction():
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            self._connection.execute(f"PRAGMA user_version = {version}")

    def _find(self, column: str, value: str) -> Registration | None:
        with _translated():
            row = self._connection.execute(
                f"{_SELECT} WHERE {column} = ?",
                (value,),
            ).fetchone()
        return None if row is None else Registration(*row)

    def _migrate(self) -> None:
        steps = _schema()
        with self._transaction():
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version > len(steps):
                raise HostError(
                    f"the database of names is of version {version}, newer than this lanjami "
                    f"knows ({len(steps)}); it is left alone"
                )
            for number, step in list(enumerate(steps, start=1))[version:]:
                for statement in _statements(step):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {number}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


class Registry:
    """The service that keeps the names open; while it is down, every method raises HostError."""

    name = "names"

    def __init__(self, *, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._thread: ThreadPoolExecutor | None = None
        self._database: Database | None = None
        self._reason = ""
        self._known = 0

    async def run(self, ready: Ready) -> None:
        thread = ThreadPoolExecutor(1, thread_name_prefix="names")
        try:
            database = await _on(thread, lambda: Database(self._path))
            try:
                self._thread, self._database, self._reason = thread, database, ""
                while True:
                    await self._see_whether_it_works()
                    ready(f"{self._known} names", reason=self._reason)
                    await asyncio.sleep(CHECK_EVERY_S)
            finally:
                self._thread = self._database = None
                thread.submit(database.close)
        finally:
            thread.shutdown(wait=False)  # a disk that hangs must not hold up the others

    def known(self) -> int:
        """How many names there were when they were last counted."""
        return self._known

    async def by_name(self, name: Name) -> Registration | None:
        return await self._ask(lambda database: database.by_name(name))

    async def by_id(self, id: JamiId) -> Registration | None:
        return await self._ask(lambda database: database.by_id(id))

    async def register(self, wanted: Registration) -> None:
        """See `Database.register`; when this returns, the name is on the disk."""
        when = int(self._clock())
        try:
            await self._ask(lambda database: database.register(wanted, when=when))
        except HostError as error:
            self._reason = f"names cannot be registered: {error}"
            raise
        self._reason = ""
        self._known = await self._ask(Database.count)

    async def _see_whether_it_works(self) -> None:
        try:
            self._known = await self._ask(Database.count)
            if self._reason:
                await self._ask(Database.write_something)
            self._reason = ""
        except HostError as error:
            self._reason = str(error)

    async def _ask(self, question: Callable[[Database], _T]) -> _T:
        thread, database = self._thread, self._database
        if thread is None or database is None:
            raise HostError("the names are not open for now")
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await _on(thread, lambda: question(database))
        except TimeoutError:
            raise HostError(
                f"the database of names did not answer within {ANSWER_WITHIN_S:g} s"
            ) from None


async def _on(thread: ThreadPoolExecutor, work: Callable[[], _T]) -> _T:
    return await asyncio.get_running_loop().run_in_executor(thread, work)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise HostError(f"the database of names: {error}") from error
    except OSError as error:
        raise HostError(f"the database of names: {error.strerror}") from error


def _schema() -> list[str]:
    """The steps from an empty database to today's, in order."""
    folder = importlib.resources.files("lanjami.nameserver") / "schema"
    files = [file for file in folder.iterdir() if re.fullmatch(r"\d{3}-[a-z-]+\.sql", file.name)]
    return [file.read_text("utf-8") for file in sorted(files, key=lambda file: file.name)]


def _statements(script: str) -> Iterator[str]:
    """The statements of a script; `executescript` would commit the transaction that we are in."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
