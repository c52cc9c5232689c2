"""The names on the disk: the one place that speaks SQL.

SQLite with a write-ahead log and synchronous=FULL: what a method wrote is on the disk when it
returns. Every method is one transaction and safe to repeat. All raise HostError where the disk or
the database refuses, and DamagedError where what is on the disk is no whole database.
"""

import importlib.resources
import re
import sqlite3
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Literal

import msgspec

from lanjami.errors import HostError, RequestError
from lanjami.nameserver.index import Index
from lanjami.nameserver.names import JamiId, Name
from lanjami.nameserver.record import Record


class DamagedError(HostError):
    """What is on the disk is no whole database."""


class GoneError(HostError):
    """The files of the open database are not those at its path: somebody removed or replaced
    them, and what is written can be found by nobody else."""


class NewerError(HostError):
    """The database is of a version that this program does not know."""


Order = Literal["name", "id", "date"]
_BY: dict[Order, str] = {"name": "name", "id": "id", "date": "registered, name"}
_Row = tuple[int, Name, JamiId]
_Files = list[tuple[int, int] | None]

BUSY_S = 2.0  # how long another process may hold the database, a backup for instance

_BEFORE = ".before-version-"  # and the version that a database was migrated to
_FIELDS = ("name", "id", "owner", "publickey", "signature", "registered", "signed")
_COLUMNS = ", ".join(_FIELDS)
_INSERT = f"INSERT INTO names ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - no text of a client
_SELECT = f"SELECT {_COLUMNS} FROM names"  # noqa: S608 - no text of a client


class Database:
    """The names and what the operator decided; used by one thread at a time.

    `index` follows every change, and may be read by other threads. A method that wrote, but not
    to what is at `path`, raises GoneError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: _Files | None = None  # that are open
        self._connection = _connect(path)
        self.index = Index()
        try:
            with _translated():
                path.chmod(0o600)
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
                self._migrate(path)
                for row, name, id in self._connection.execute("SELECT rowid, name, id FROM names"):
                    self._index_row(row, name, id)
                self._files = _files(path)  # by now the log is there, too
            self.index.reserved = frozenset(self.reserved())
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def by_name(self, name: Name) -> Record | None:
        return self._find("name", name)

    def by_id(self, id: JamiId) -> Record | None:
        return self._find("id", id)

    def register(self, wanted: Sequence[Record]) -> list[RequestError | None]:
        """Give each name to its ID, for ever; again for the same pair is no error.

        RequestError (403) stands in the place of one whose name or ID is taken, or whose name is
        reserved. Where this raises, none was given.
        """
        new, refused = list[_Row](), list[RequestError | None]()
        with _translated(), self._transaction():
            for record in wanted:
                try:
                    new += self._give(record)
                    refused.append(None)
                except RequestError as error:
                    refused.append(error)
        self._add_to_index(new)
        return refused

    def add(self, records: Iterable[Record]) -> int:
        """Take all records or, with RequestError (403) that lists what is in the way, none.

        Records that are there already are passed over; returns how many were new.
        """
        new, conflicts = list[_Row](), list[str]()
        with _translated(), self._transaction():
            for record in records:
                try:
                    new += self._give(record)
                except RequestError as error:
                    conflicts.append(f"{record.name}: {error}")
            if conflicts:
                raise RequestError(403, "nothing was taken, because: " + "; ".join(conflicts))
        self._add_to_index(new)
        return len(new)

    def remove(self, name: Name) -> bool:
        """Take a name from its ID; False where nobody has it."""
        with _translated(), self._transaction():
            gone = self._connection.execute("DELETE FROM names WHERE name = ?", (name,)).rowcount
        if gone:
            self.index.remove(name)
        return gone > 0

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
        self.index.rename(name, new)
        return True

    def reserve(self, name: Name, *, when: int) -> None:
        """Keep a name from being given; who has it keeps it."""
        with _translated(), self._transaction():
            self._connection.execute("INSERT OR IGNORE INTO reserved VALUES (?, ?)", (name, when))
        self.index.reserved |= {name}

    def unreserve(self, name: Name) -> bool:
        """Let a name be given again; False where it was not reserved."""
        with _translated(), self._transaction():
            gone = self._connection.execute("DELETE FROM reserved WHERE name = ?", (name,)).rowcount
        self.index.reserved -= {name}
        return gone > 0

    def reserved(self) -> list[Name]:
        with _translated():
            rows = self._connection.execute("SELECT name FROM reserved ORDER BY name").fetchall()
        return [Name(name) for (name,) in rows]

    def take_over(self, newer: Path) -> None:
        """Fill an empty database with what this version knows of a newer one's, which `index` does
        not follow; NewerError where that is not in its old place there."""
        with closing(_connect(newer, options="mode=ro")) as source, _translated():
            try:
                names = source.execute(f"{_SELECT} ORDER BY rowid")
                reserved = source.execute("SELECT name, since FROM reserved")
            except sqlite3.OperationalError as error:
                raise NewerError(f"the database of names is of a newer lanjami: {error}") from error
            with self._transaction():
                self._connection.executemany(_INSERT, names)
                self._connection.executemany("INSERT INTO reserved VALUES (?, ?)", reserved)

    def require_readable(self) -> None:
        """Ask something that is on the disk or in its cache, where others find it as well."""
        self._require_there()
        with _translated():
            self._connection.execute("SELECT name FROM names LIMIT 1").fetchone()

    def require_writable(self) -> None:
        """Write what is there already, to find out whether the disk takes it."""
        with _translated(), self._transaction():
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            self._connection.execute(f"PRAGMA user_version = {version}")

    def copy_to(self, target: Path) -> None:
        """Write a copy, also of a database that is gone from its path."""
        _copy(self._connection, target)

    def _give(self, wanted: Record) -> list[_Row]:
        """The row that a record has now, where it is new; RequestError where it cannot be."""
        if not self._require_free(wanted):
            return []
        return [(self._insert(wanted), wanted.name, wanted.id)]

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
        if name in self.index.reserved:
            raise RequestError(403, "the name is reserved", name=name)

    def _insert(self, record: Record) -> int:
        row = self._connection.execute(_INSERT, msgspec.structs.astuple(record)).lastrowid
        assert row is not None
        return row

    def _index_row(self, row: int, name: Name, id: JamiId) -> None:
        try:
            self.index.add(row, name, id)
        except ValueError as error:
            raise DamagedError(f"the database of names is damaged: row {row} has no ID") from error

    def _add_to_index(self, new: Iterable[_Row]) -> None:
        for row in new:
            self.index.add(*row)

    def _find(self, column: str, value: str) -> Record | None:
        with _translated():
            row = self._connection.execute(f"{_SELECT} WHERE {column} = ?", (value,)).fetchone()
        return None if row is None else Record(*row)

    def _migrate(self, path: Path) -> None:
        steps = schema()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > len(steps):
            raise NewerError(
                f"the database of names is of version {version}, newer than this lanjami "
                f"knows ({len(steps)}); it is left alone"
            )
        if version == len(steps):
            return
        if version:
            copy(path, path.with_name(f"{path.name}{_BEFORE}{len(steps)}"))
        with self._transaction():
            # again, as another process may have been faster
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            for number, step in list(enumerate(steps, start=1))[version:]:
                for statement in _statements(step):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {number}")

    def _require_there(self) -> None:
        if self._files is not None and _files(self.path) != self._files:
            raise GoneError(f"{self.path} was removed or replaced while it is open")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
            self._require_there()
        except BaseException:
            if self._connection.in_transaction:  # some errors end it by themselves
                self._connection.execute("ROLLBACK")
            raise


class Reader:
    """Reads beside the thread that owns the database, and never waits for it.

    No transaction is longer than a call, so that the write-ahead log does not grow while somebody
    takes their time.
    """

    def __init__(self, path: Path) -> None:
        self._connection = _connect(path, options="mode=ro", busy_s=0.0)
        try:
            with _translated():
                self._connection.execute("PRAGMA temp_store = MEMORY")  # a disk may take nothing
                # its files are opened now, while they are there
                self._connection.execute("SELECT name FROM names LIMIT 1").fetchone()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def record(self, row: int) -> Record | None:
        """The record in a row of the index; about 10 us, from the cache of the disk."""
        with _translated():
            found = self._connection.execute(f"{_SELECT} WHERE rowid = ?", (row,)).fetchone()
        return None if found is None else Record(*found)

    def rows(self, order: Order, *, chosen: Callable[[Name], bool]) -> Sequence[int]:
        """The rows of the names that are `chosen`, in an order, in 8 bytes each."""
        with _translated():
            found = self._connection.execute(f"SELECT rowid, name FROM names ORDER BY {_BY[order]}")  # noqa: S608 - no text of a client
            return array("q", (row for row, name in found if chosen(name)))


def copy(path: Path, target: Path) -> None:
    """Write a consistent copy of a database, while others go on with it; DamagedError where it is
    not whole."""
    with closing(_connect(path, options="mode=ro")) as source:
        _copy(source, target)


def _copy(source: sqlite3.Connection, target: Path) -> None:
    with closing(_connect(target)) as made, _translated():
        source.backup(made)
        made.execute("PRAGMA journal_mode = DELETE")  # one file, with no log beside it
        target.chmod(0o600)
    check(target)


def _files(path: Path) -> _Files:
    """What tells the database at a path, its log and the log's index from other files."""
    files: _Files = []
    for suffix in ("", "-wal", "-shm"):
        try:
            found = path.with_name(path.name + suffix).stat()
            files.append((found.st_dev, found.st_ino))
        except OSError:  # also where the folder cannot be looked into any longer
            files.append(None)
    return files


def check(path: Path) -> None:
    """Read everything in a database, while others go on with it; DamagedError where it is not
    whole."""
    with closing(_connect(path, options="mode=ro")) as connection, _translated():
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise DamagedError(f"the database of names is damaged: {verdict}")


def salvage(path: Path) -> Iterator[Record]:
    """What can be read of a damaged database of any version, from both of its ends; some may come
    twice, and what comes may be wrong."""
    for order in ("", " DESC"):
        with (
            suppress(HostError, msgspec.ValidationError),
            closing(_connect(path, options="mode=ro")) as connection,
            _translated(),
        ):
            rows = connection.execute(f"SELECT * FROM names ORDER BY rowid{order}")  # noqa: S608 - no text of a client
            columns = [column[0] for column in rows.description]
            for row in rows:
                found = dict(zip(columns, row, strict=True))
                known = {field: found[field] for field in _FIELDS if field in found}
                yield msgspec.convert({"signed": found.get("name"), **known}, Record)


def kept_before_newer(path: Path) -> Path | None:
    """The copy of a database that the next version of lanjami made before it migrated it."""
    known = len(schema())
    copies = {
        int(number): file
        for file in path.parent.glob(f"{path.name}{_BEFORE}*")
        if (number := file.name.removeprefix(path.name + _BEFORE)).isdecimal()
    }
    return min(((n, file) for n, file in copies.items() if n > known), default=(0, None))[1]


def _connect(
    path: Path, *, options: str = "mode=rwc", busy_s: float = BUSY_S
) -> sqlite3.Connection:
    with _translated():
        return sqlite3.connect(
            f"{path.absolute().as_uri()}?{options}",
            uri=True,
            timeout=busy_s,
            isolation_level=None,
            check_same_thread=False,
        )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the primary one
        # of text that is not UTF-8 the module complains by itself, without a code
        damaged = code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or str(error).startswith(
            "Could not decode"
        )
        raise (DamagedError if damaged else HostError)(f"the database of names: {error}") from error
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
