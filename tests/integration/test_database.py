"""The database of names: real SQLite on a real disk."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lanjami.errors import HostError, RequestError
from lanjami.nameserver import record
from lanjami.nameserver.database import (
    DamagedError,
    Database,
    NewerError,
    check,
    copy,
    salvage,
    schema,
)
from lanjami.nameserver.names import JamiId, Name
from lanjami.nameserver.opening import Opened, can_be_opened, open_names, set_aside
from lanjami.nameserver.record import Record
from tests.support.kept import kept_at
from tests.support.registrations import registration


def _record(name: str, number: int, *, when: int = 1000) -> Record:
    return record.of(registration(name, number), when=when)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "names.sqlite"


def _structure(path: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master ORDER BY 1")]
        return [
            (table, *map(str, column))
            for table in tables
            for column in database.execute(f"PRAGMA table_info({table})")
        ]


def test_a_record_is_found_by_name_and_by_id(path: Path) -> None:
    alice = _record("alice", 1)
    with closing(Database(path)) as database:
        database.add([alice])
        assert database.by_name(Name("alice")) == database.by_id(alice.id) == alice
        assert database.by_name(Name("bobby")) is None
        assert len(database.index) == 1
        assert kept_at(path) == [alice]
        database.require_readable()
        check(path)
        database.require_writable()
    assert path.stat().st_mode & 0o777 == 0o600


def test_every_version_migrates_to_what_a_fresh_one_is(tmp_path: Path) -> None:
    Database(tmp_path / "fresh").close()
    for version in range(1, len(schema())):
        old = tmp_path / f"version-{version}"
        with closing(sqlite3.connect(old)) as database:
            for step in schema()[:version]:
                database.executescript(step)
            database.execute(f"PRAGMA user_version = {version}")
            if version == 1:
                alice = registration("alice", 1)
                database.execute(
                    "INSERT INTO names VALUES (?, ?, ?, ?, ?, 1000)",
                    (alice.name, alice.id, alice.owner, alice.publickey, alice.signature),
                )
            database.commit()
        with closing(Database(old)):
            assert kept_at(old) == [_record("alice", 1)]
        assert _structure(old) == _structure(tmp_path / "fresh")
        kept = tmp_path / f"version-{version}.before-version-{len(schema())}"
        with closing(sqlite3.connect(kept)) as before:
            assert before.execute("PRAGMA user_version").fetchone() == (version,)
            assert before.execute("SELECT name FROM names").fetchall() == [("alice",)]


def test_a_migration_that_fails_leaves_the_old_version(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Database(path).close()
    steps = [*schema(), "CREATE TABLE more (x) STRICT;"]  # STRICT needs types
    monkeypatch.setattr("lanjami.nameserver.database.schema", lambda: steps)
    with pytest.raises(HostError, match="missing datatype"):
        Database(path)
    monkeypatch.undo()
    Database(path).close()


ADDS = """
CREATE TABLE groups (name TEXT NOT NULL PRIMARY KEY) STRICT;
ALTER TABLE names ADD COLUMN note TEXT NOT NULL DEFAULT 'new';
"""
MOVES_THE_NAMES = "ALTER TABLE names RENAME TO people;"


def _opened(path: Path) -> Opened:
    return open_names(path, spare=lambda _: None, suspect=False)


def _try_version_3(path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """What a box has of an update that was taken back: alice is from before it, bobby is not."""
    with closing(Database(path)) as database:
        database.add([_record("alice", 1), _record("carol", 3), _record("david", 4)])
        database.reserve(Name("doctor"), when=1000)
    steps = [*schema(), step]
    with monkeypatch.context() as newer:
        newer.setattr("lanjami.nameserver.database.schema", lambda: steps)
        with closing(Database(path)) as database:
            database.register([_record("bobby", 2)])
            database.reserve(Name("police"), when=2000)
            assert database.rename(Name("carol"), Name("caroline"))
            assert database.remove(Name("david"))


def test_what_an_update_migrated_is_served_when_it_was_taken_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _try_version_3(path, monkeypatch, ADDS)
    for _ in range(2):
        opened = _opened(path)
        try:
            assert not opened.why_read_only
            assert opened.database.reserved() == ["doctor", "police"]
            assert opened.database.by_name(Name("bobby")) == _record("bobby", 2)
            assert {kept.name for kept in kept_at(path)} == {"alice", "bobby", "caroline"}
        finally:
            opened.close()
    assert set_aside(path) == []  # nothing was lost
    assert (path.parent / "newer-1" / path.name).exists()
    with monkeypatch.context() as newer:
        steps = [*schema(), ADDS]
        newer.setattr("lanjami.nameserver.database.schema", lambda: steps)
        with closing(Database(path)) as database:  # the update again
            assert len(database.index) == 3


def test_what_it_put_elsewhere_is_as_it_was_before_and_what_proves_itself_is_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _try_version_3(path, monkeypatch, ADDS)
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("ALTER TABLE reserved RENAME TO kept")
    opened = _opened(path)
    try:
        assert opened.database.reserved() == ["doctor"]
        assert {kept.name for kept in kept_at(path)} == {"alice", "bobby", "carol", "david"}
    finally:
        opened.close()
    assert len(set_aside(path)) == 1  # so that it is told


def test_names_of_another_shape_are_as_they_were_before(path: Path) -> None:
    with closing(Database(path)) as database:
        database.add([_record("alice", 1)])
    copy(path, path.with_name(f"{path.name}.before-version-3"))
    with closing(sqlite3.connect(path)) as newer:
        newer.executescript(f"{MOVES_THE_NAMES}PRAGMA user_version = 3;")
    opened = _opened(path)
    try:
        assert kept_at(path) == [_record("alice", 1)]
    finally:
        opened.close()
    assert len(set_aside(path)) == 1


def test_names_of_another_shape_without_a_copy_are_left_alone(path: Path) -> None:
    Database(path).close()
    with closing(sqlite3.connect(path)) as newer:
        newer.executescript(f"{MOVES_THE_NAMES}PRAGMA user_version = 3;")
    before = path.read_bytes()
    with pytest.raises(NewerError, match="left alone"):
        _opened(path)
    assert path.read_bytes() == before
    assert {file.name for file in path.parent.iterdir()} <= {
        path.name + suffix for suffix in ("", "-wal", "-shm")
    }


def test_while_an_exchange_cannot_be_finished_what_it_replaces_is_not_opened(path: Path) -> None:
    committed = path.parent / ".incoming-for-before-1"
    committed.mkdir()
    for file, one in ((path, _record("alice", 1)), (committed / path.name, _record("bobby", 2))):
        with closing(Database(file)) as database:
            database.add([one])
    in_the_way = path.parent / "before-1"
    in_the_way.touch()
    with pytest.raises(HostError, match="Not a directory"):
        _opened(path)
    assert (committed / path.name).exists()
    in_the_way.unlink()
    opened = _opened(path)
    try:
        assert kept_at(path) == [_record("bobby", 2)]
    finally:
        opened.close()
    assert kept_at(path.parent / "before-1" / path.name) == [_record("alice", 1)]


@pytest.mark.parametrize("suspect", [True, False])
def test_names_that_are_gone_are_those_of_the_backup(
    path: Path,
    suspect: bool,  # noqa: FBT001 - a case
) -> None:
    def spare(target: Path) -> str:
        with closing(Database(target)) as database:
            database.add([_record("alice", 1)])
        return "the backup"

    opened = open_names(path, spare=spare, suspect=suspect)
    try:
        assert not opened.why_read_only
        assert kept_at(path) == [_record("alice", 1)]
    finally:
        opened.close()


def test_to_look_whether_a_disk_takes_names_again_makes_none_there(path: Path) -> None:
    opened = _opened(path.with_name("in-memory"))
    try:
        assert can_be_opened(path, instead_of=opened)
        assert not path.exists()
        path.touch()
        assert can_be_opened(path, instead_of=opened)
        assert path.read_bytes() == b""
        assert not can_be_opened(path.parent / "gone" / path.name, instead_of=opened)
        assert can_be_opened(opened.path, instead_of=opened)
    finally:
        opened.close()


def test_those_who_register_together_are_answered_one_by_one(path: Path) -> None:
    wanted = [_record("alice", 1), _record("alice", 2), _record("alicia", 1), _record("bobby", 3)]
    with closing(Database(path)) as database:
        for _ in range(2):
            told = [str(refused) for refused in database.register(wanted)]
            assert told == ["None", "the name is taken", "the ID has a name", "None"]
        assert [kept.name for kept in kept_at(path)] == ["alice", "bobby"]
        assert database.index.name_of(wanted[0].id) == "alice"
        assert database.index.id_of(Name("bobby")) == wanted[3].id


def test_what_can_be_read_of_a_damaged_database_is_read_from_both_ends(path: Path) -> None:
    records = [_record(f"name-{number}", number) for number in range(12)]
    with closing(Database(path)) as database:
        database.add(records)
    content = bytearray(path.read_bytes())
    middle = content.index(records[6].publickey.encode()) // 4096 * 4096
    content[middle : middle + 4096] = bytes(4096)
    path.write_bytes(content)
    read = set(salvage(path))
    assert read < set(records)
    assert {records[0], records[11]} < read
    path.write_bytes(b"no database" * 1000)
    assert list(salvage(path)) == []


def test_a_database_of_the_first_version_can_be_read_where_it_is_damaged(path: Path) -> None:
    records = [_record(f"name-{number}", number) for number in range(12)]
    with closing(sqlite3.connect(path)) as database:
        database.executescript(schema()[0])
        for one in records:
            row = (one.name, one.id, one.owner, one.publickey, one.signature, one.registered)
            database.execute("INSERT INTO names VALUES (?, ?, ?, ?, ?, ?)", row)
        database.execute("PRAGMA user_version = 1")
        database.commit()
    assert set(salvage(path)) == set(records)


def test_records_are_added_all_or_none(path: Path) -> None:
    with closing(Database(path)) as database:
        database.add([_record("alice", 1)])
        wanted = [_record("bobby", 2), _record("alice", 3), _record("carol", 1)]
        with pytest.raises(RequestError) as refused:
            database.add(wanted)
        assert "alice: the name is taken" in str(refused.value)
        assert "carol: the ID has a name" in str(refused.value)
        assert len(database.index) == 1
        assert database.add([_record("alice", 1), _record("bobby", 2)]) == 1
        assert len(database.index) == 2


def test_a_name_is_removed_and_free_again(path: Path) -> None:
    with closing(Database(path)) as database:
        database.add([_record("alice", 1)])
        assert database.remove(Name("alice"))
        assert not database.remove(Name("alice"))
        database.add([_record("alice", 2)])


def test_a_renamed_name_keeps_what_its_owner_signed(path: Path) -> None:
    with closing(Database(path)) as database:
        database.add([_record("alice", 1)])
        database.add([_record("bobby", 2)])
        assert database.rename(Name("alice"), Name("alicia"))
        renamed = database.by_name(Name("alicia"))
        assert renamed is not None
        assert renamed.is_renamed
        assert renamed.signed == "alice"
        record.verify(renamed)
        assert database.by_name(Name("alice")) is None
        assert not database.rename(Name("alice"), Name("carol"))
        with pytest.raises(RequestError, match="the name is taken"):
            database.rename(Name("alicia"), Name("bobby"))


def test_a_reserved_name_is_not_given_and_who_has_it_keeps_it(path: Path) -> None:
    with closing(Database(path)) as database:
        database.add([_record("alice", 1)])
        for name in ("alice", "bobby", "bobby"):
            database.reserve(Name(name), when=1000)
        assert database.reserved() == ["alice", "bobby"]
        database.add([_record("alice", 1)])
        with pytest.raises(RequestError, match="the name is reserved"):
            database.add([_record("bobby", 2)])
        with pytest.raises(RequestError, match="the name is reserved"):
            database.rename(Name("alice"), Name("bobby"))
        assert database.unreserve(Name("bobby"))
        assert not database.unreserve(Name("bobby"))
        database.add([_record("bobby", 2)])


def test_a_copy_is_whole_while_the_original_is_open(path: Path, tmp_path: Path) -> None:
    with closing(Database(path)) as database:
        database.add([_record("alice", 1)])
        copy(path, tmp_path / "copy")
        with closing(Database(tmp_path / "copy")):
            assert kept_at(tmp_path / "copy") == kept_at(path)
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600


def test_a_damaged_database_is_noticed(path: Path) -> None:
    with closing(Database(path)) as database:
        database.add([_record(f"name-{number}", number) for number in range(8)])
    check(path)
    content = bytearray(path.read_bytes())
    content[4096 * 2 : 4096 * 2 + 100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(DamagedError):
        check(path)


def test_exported_records_are_verified_line_by_line() -> None:
    records = [_record("alice", 1), _record("bobby", 2)]
    lines = b"".join(record.to_lines(records))
    assert list(record.from_lines((lines + b"\n").splitlines())) == records
    forged = lines.replace(b'"alice"', b'"alicf"')
    with pytest.raises(RequestError, match="line 1: signature verification failed"):
        list(record.from_lines(forged.splitlines()))
    stolen = lines.replace(records[1].id.encode(), JamiId("0" * 40).encode())
    with pytest.raises(RequestError, match="line 2: the public key is not the one of this ID"):
        list(record.from_lines(stolen.splitlines()))
    for nonsense in (b"{", b"[]", b'{"name": "alice"}', b"\xff"):
        with pytest.raises(RequestError, match="line 3: "):
            list(record.from_lines((lines + nonsense).splitlines()))
