"""The names on the disk: the one place that speaks SQL.

SQLite with a write-ahead log and synchronous=FULL: what a method wrote is on the disk when it
returns. Every method is one transaction and safe to repeat.
"""

import importlib.resources
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from lanjami.errors import HostError, RequestError
from lanjami.nameserver.names import JamiId, Name
from lanjami.nameserver.record import Record

BUSY_S = 2.0  # how long another process may hold the database, a backup for instance

_COLUMNS = "name, id, owner, publickey, signature, registered, signed"
_INSERT = f"INSERT INTO names ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - no text of a client
_SELECT = f"SELECT {_COLUMNS} FROM names"  # noqa: S608 - no text of a client


class Database:
    """The names and what the operator decided; used by one thread at a time.

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
                self._migrate(path)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def by_name(self, name: Name) -> Record | None:
        return self._find("name", name)

    def by_id(self, id: JamiId) -> Record | None:
        return self._find("id", id)

    def records(self) -> list[Record]:
        """All names, in the order of the alphabet."""
        with _translated():
            rows = self._connection.execute(f"{_SELECT} ORDER BY name").fetchall()
        return [Record(*row) for row in rows]

    def count(self) -> int:
        with _translated():
            (number,) = self._connection.execute("SELECT count(*) FROM names").fetchone()
            return int(number)

    def register(self, wanted: Record) -> None:
        """Give the name to the ID, for ever; again for the same pair is no error.

        Raises RequestError (403) where one of them is taken, or the name reserved.
        """
        with _translated(), self._transaction():
            if self._require_free(wanted):
                self._insert(wanted)

    def add(self, records: Iterable[Record]) -> int:
        """Take all records or, with RequestError (403) that lists what is in the way, none.

        Records that are there already are passed over; returns how many were new.
        """
        conflicts, new = [], 0
        with _translated(), self._transaction():
            for record in records:
                try:
                    if not self._require_free(record):
                        continue
                    self._insert(record)
                    new += 1
                except RequestError as error:
                    conflicts.append(f"{record.name}: {error}")
            if conflicts:
                raise RequestError(403, "nothing was taken, because: " + "; ".join(conflicts))
        return new

    def remove(self, name: Name) -> bool:
        """Take a name from its ID; False where nobody has it."""
        with _translated(), self._transaction():
            gone = self._connection.execute("DELETE FROM names WHERE name = ?", (name,))
            return gone.rowcount > 0

    def rename(self, name: Name, new: Name) -> bool:
        """Give an ID another name; False where nobody has `name`.

        Raises RequestError (403) where the new name is taken or reserved.
        """
        with _translated(), self._transaction():
            record = self._find("name", name)
            if record is None:
                return False
            holder = self._find("name", new)
            if holder is not None and holder.id != record.id:
                raise RequestError(403, "the name is taken", addr=holder.id)
            self._require_unreserved(new)
            self._connection.execute("UPDATE names SET name = ? WHERE name = ?", (new, name))
            return True

    def reserve(self, name: Name, *, when: int) -> None:
        """Keep a name from being given; who has it keeps it."""
        with _translated(), self._transaction():
            self._connection.execute("INSERT OR IGNORE INTO reserved VALUES (?, ?)", (name, when))

    def unreserve(self, name: Name) -> bool:
        """Let a name be given again; False where it was not reserved."""
        with _translated(), self._transaction():
            gone = self._connection.execute("DELETE FROM reserved WHERE name = ?", (name,))
            return gone.rowcount > 0

    def reserved(self) -> list[Name]:
        with _translated():
            rows = self._connection.execute("SELECT name FROM reserved ORDER BY name").fetchall()
        return [Name(name) for (name,) in rows]

    def is_reserved(self, name: Name) -> bool:
        with _translated():
            return (
                self._connection.execute(
                    "SELECT 1 FROM reserved WHERE name = ?", (name,)
                ).fetchone()
                is not None
            )

    def copy_to(self, path: Path) -> None:
        """Write a whole and consistent copy, while others may go on."""
        with _translated(), closing(sqlite3.connect(path)) as copy:
            self._connection.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        path.chmod(0o600)

    def check(self) -> None:
        """Read everything; HostError where it is damaged."""
        with _translated():
            (verdict,) = self._connection.execute("PRAGMA integrity_check").fetchone()
        if verdict != "ok":
            raise HostError(f"the database of names is damaged: {verdict}")

    def write_something(self) -> None:
        """Write what is there already, to find out whether the disk takes it."""
        with _translated(), self._transaction():
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            self._connection.execute(f"PRAGMA user_version = {version}")

    def _require_free(self, wanted: Record) -> bool:
        """False where the pair is there already; RequestError where it cannot be."""
        holder = self._find("name", wanted.name)
        if holder is not None and holder.id == wanted.id:
            return False
        if holder is not None:
            raise RequestError(403, "the name is taken", owner=holder.owner, addr=holder.id)
        named = self._find("id", wanted.id)
        if named is not None:
            raise RequestError(403, "the ID has a name", name=named.name, addr=named.id)
        self._require_unreserved(wanted.name)
        return True

    def _require_unreserved(self, name: Name) -> None:
        if self.is_reserved(name):
            raise RequestError(403, "the name is reserved", name=name)

    def _insert(self, record: Record) -> None:
        self._connection.execute(_INSERT, msgspec.structs.astuple(record))

    def _find(self, column: str, value: str) -> Record | None:
        with _translated():
            row = self._connection.execute(f"{_SELECT} WHERE {column} = ?", (value,)).fetchone()
        return None if row is None else Record(*row)

    def _migrate(self, path: Path) -> None:
        steps = schema()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > len(steps):
            raise HostError(
                f"the database of names is of version {version}, newer than this lanjami "
                f"knows ({len(steps)}); it is left alone"
            )
        if 0 < version < len(steps):
            self.copy_to(path.with_name(f"{path.name}.before-version-{len(steps)}"))
        with self._transaction():
            # again, as another process may have been faster
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
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


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise HostError(f"the database of names: {error}") from error
    except OSError as error:
        raise HostError(f"the database of names: {error.strerror}") from error


def schema() -> list[str]:
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
