"""The plug is pulled: whatever the disk then has, every name that was acknowledged is there.

A program is recorded by strace, and the folders that `tests.support.power_cut` says a disk may
have after a cut at any of its moments are opened with lanjami's own code. What that proves: the
order of writes, syncs and answers is right, for any disk that keeps what it was asked to sync.
What it does not: that the disk does; and what is not in the model of that module.
"""

import asyncio
import hashlib
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random

import aiohttp
import pytest

from lanjami.backup.keeper import Keeper
from lanjami.cli import places
from lanjami.errors import HostError
from lanjami.nameserver import record
from lanjami.nameserver.database import Database, check, schema
from lanjami.nameserver.opening import open_names, set_aside
from lanjami.runtime.disk import finish_exchange
from tests.support.appliance import LANJAMI
from tests.support.box import Box
from tests.support.kept import kept_at
from tests.support.power_cut import Cut, Disk
from tests.support.registrations import ClientKeys, registration
from tests.support.strace import Call, traced

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="strace is for Linux")

# However many of those at once share a commit, SQLite's log reaches its 1,000 pages on the way:
# after 265 names with one a commit, after 516 with four.
NAMES = 640
AT_ONCE = 4
SUCCESS = b'{"success":true}'

Names = dict[str, str]  # name to ID


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Path]:
    """Where a folder is left after a cut; in memory where there is such a place."""
    memory = Path("/dev/shm")  # what counts is what is in the files, not how they are kept
    folder = memory / f"lanjami-{tmp_path.name}-{hashlib.sha1(bytes(tmp_path)).hexdigest()[:8]}"
    folder = folder if memory.is_dir() else tmp_path / "left"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_registered_names_survive(box: Box, tmp_path: Path, left: Path) -> None:
    disk = Disk(box.state)
    keys = ClientKeys(bits=2048)
    bodies = {
        name: keys.body(name, exponent)
        for name, exponent in zip(map("name-{}".format, range(NAMES)), keys.exponents())  # noqa: B905
    }
    with traced(box.command(), output=tmp_path / "strace") as server:
        assert server.line().startswith("lanjami 0.1.0 is running")
        asyncio.run(_register(bodies, box.http))
        server.stop()
        calls = server.calls()
    asked = {name: body["addr"] for name, body in bodies.items()}
    given = _given(calls)
    assert {name for _, name in given} == asked.keys()
    serving = [call for call in calls if given[0][0] < call.begin < given[-1][0]]
    _require_checkpoint(serving, box.state / "names.sqlite")
    _require_one_sync_a_commit(serving, box.state / "names.sqlite-wal")

    def is_right(cut: Cut, names: Names) -> None:
        assert names.items() <= asked.items()
        lost = {name for moment, name in given if moment < cut.moment} - names.keys()
        assert not lost, f"{len(lost)} acknowledged names are gone"

    states = _pull_the_plug(disk, calls, is_right, left, between=40)
    assert states > 300


def test_a_migration_keeps_all_names(box: Box, tmp_path: Path, left: Path) -> None:
    names = _fill(box.state, version=1)
    disk = Disk(box.state)
    calls = _recorded(["names", "--state", str(box.state), "list"], tmp_path)

    def is_right(_: Cut, found: Names) -> None:
        assert found == names

    assert _pull_the_plug(disk, calls, is_right, left, between=1) > 100


@pytest.mark.parametrize("verb", [("remove", "name-3"), ("rename", "name-3", "alice")])
def test_what_the_operator_was_told_is_so(
    box: Box, tmp_path: Path, left: Path, verb: tuple[str, ...]
) -> None:
    old = _fill(box.state)
    new = {name: id for name, id in old.items() if name != "name-3"}
    new |= dict.fromkeys(verb[2:], old["name-3"])
    disk = Disk(box.state)
    calls = _recorded(["names", "--state", str(box.state), *verb, "--yes"], tmp_path)
    told = _told(calls, b"name-3 is ")

    def is_right(cut: Cut, names: Names) -> None:
        assert names == new or (cut.moment < told and names == old)

    assert _pull_the_plug(disk, calls, is_right, left, between=1) > 50


def test_without_syncs_it_would_not_be_so(box: Box, tmp_path: Path, left: Path) -> None:
    old = _fill(box.state)
    disk = Disk(box.state)
    calls = _recorded(["names", "--state", str(box.state), "remove", "name-3", "--yes"], tmp_path)
    told = _told(calls, b"name-3 is ")
    unsynced = [call for call in calls if call.name not in {"fsync", "fdatasync"}]

    def is_right(cut: Cut, names: Names) -> None:
        assert "name-3" not in names or (cut.moment < told and names == old)

    with pytest.raises((AssertionError, HostError)):
        _pull_the_plug(disk, unsynced, is_right, left, between=1)


def test_a_restore_is_whole_or_has_not_begun(box: Box, tmp_path: Path, left: Path) -> None:
    new, backup = _backed_up(box, tmp_path), tmp_path / "backup.zip"
    old = _fill(tmp_path / "open", prefix="older", is_killed=True)
    (tmp_path / "open").rename(box.state)
    (box.state / "node-id").write_text("the old one")
    disk = Disk(box.state)
    calls = _recorded(["restore", "--state", str(box.state), str(backup)], tmp_path)
    told = _told(calls, b"is restored, with 12 names")
    seen = set()

    def is_right(cut: Cut, names: Names) -> None:
        node_id = (left / "node-id").read_text()
        seen.add(node_id)
        if node_id == "the old one":
            assert names == old
            assert cut.moment < told
        else:
            assert names == new
            assert _found(left / "before-restore-1") == old
            assert (left / "before-restore-1" / "node-id").read_text() == "the old one"

    assert _pull_the_plug(disk, calls, is_right, left, between=1) > 200
    assert seen == {"the old one", "the new one"}


def test_a_recovery_can_be_interrupted_at_any_moment(box: Box, tmp_path: Path, left: Path) -> None:
    names = _backed_up(box, tmp_path)
    (box.state / "backups").mkdir(parents=True)
    shutil.copyfile(tmp_path / "backup.zip", box.state / "backups" / "backup-000001.zip")
    (box.state / "names.sqlite").write_bytes(b"this was a database" * 1000)
    disk = Disk(box.state)
    with traced(box.command(), output=tmp_path / "strace") as server:
        assert server.line().startswith("lanjami 0.1.0 is running")
        server.stop()
        calls = server.calls()
    recovered = set()

    def is_right(_: Cut, found: Names) -> None:
        assert found == names
        recovered.add(len(set_aside(left / "names.sqlite")))

    assert _pull_the_plug(disk, calls, is_right, left, between=1, is_whole=False) > 200
    assert recovered == {1}, "it is set aside once, however often the power goes"


async def _register(bodies: Mapping[str, object], port: int) -> None:
    waiting = iter(bodies.items())

    async def client(session: aiohttp.ClientSession) -> None:
        for name, body in waiting:
            async with session.post(f"http://127.0.0.1:{port}/name/{name}", json=body) as answer:
                assert answer.status == 200

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(client(session))


def _given(calls: list[Call]) -> list[tuple[int, str]]:
    """When which name was acknowledged: the moment before the first byte of the answer left."""
    asked: dict[str, str] = {}
    given = []
    for call in calls:
        socket = call.arguments[0]
        if call.name == "recvfrom" and b"POST /name/" in (request := call.contents()):
            asked[socket] = request.split(b" ")[1].decode().rpartition("/")[2]
        elif call.name == "sendto" and SUCCESS in call.contents():
            given.append((call.begin, asked.pop(socket)))
    return given


def _told(calls: list[Call], said: bytes) -> int:
    """The moment before `said` was printed."""
    return next(call.begin for call in calls if call.name == "write" and said in call.contents())


def _require_checkpoint(calls: list[Call], database: Path) -> None:
    assert any(c.name == "pwrite64" and c.file()[1] == str(database) for c in calls), "too short"


def _require_one_sync_a_commit(calls: list[Call], log: Path) -> None:
    """See https://www.sqlite.org/fileformat2.html#walformat: the last frame of a commit has the
    size of the database in its header."""
    calls = [call for call in calls if call.file()[1] == str(log)]
    headers = [c.content(1) for c in calls if c.name == "pwrite64" and c.arguments[2] == "24"]
    commits = sum(header[4:8] != bytes(4) for header in headers)
    syncs = sum(call.name == "fdatasync" for call in calls)
    assert AT_ONCE < commits <= NAMES
    assert commits <= syncs <= commits + 3, "and one before, one after a checkpoint"


def _recorded(words: list[str], tmp_path: Path) -> list[Call]:
    with traced([*LANJAMI, *words], output=tmp_path / "strace") as command:
        return command.calls()


def _pull_the_plug(
    disk: Disk,
    calls: list[Call],
    is_right: Callable[[Cut, Names], None],
    left: Path,
    *,
    between: int,
    is_whole: bool = True,
) -> int:
    """At every cut, leave the disk without what was not synced, with all of it, and twice with
    some of it, and require of the names that are then found that they are right; how many such
    states there were."""
    random = Random(1)
    states = 0
    for cut in disk.cuts(calls, between=between):
        for drawn, unsynced in ((None, False), (None, True), (random, False), (random, False)):
            cut.leave(left, drawn, unsynced=unsynced)
            is_right(cut, _found(left, is_whole=is_whole))
            shutil.rmtree(left)
            states += 1
    disk.require_equal()
    return states


def _found(folder: Path, *, is_whole: bool = True) -> Names:
    """The names in a folder as the box that starts there has them; with `is_whole`, there must be
    nothing to repair."""
    seen = places.folder_with_names([folder])
    finish_exchange(folder)
    path = folder / "names.sqlite"
    backups = Keeper(folder / "backups", collect=lambda _: None)
    spare = partial(backups.unpack_newest, path.name)
    names = open_names(path, spare=spare, suspect=False)
    try:
        assert not (is_whole and set_aside(path)), "the database was taken for damaged"
        assert not names.why_read_only
        check(path)
        records = kept_at(path)
        index = names.database.index
        assert [index.name_of(found.id) for found in records] == [found.name for found in records]
    finally:
        names.close()
    assert seen == folder or not records, "another command would have looked elsewhere"
    assert len({found.id for found in records}) == len(records) == len(index)
    return {found.name: found.id for found in records}


def _backed_up(box: Box, tmp_path: Path) -> Names:
    """Make a backup of another box; its names."""
    (tmp_path / "config.toml").touch()
    names = _fill(tmp_path / "other")
    (tmp_path / "other" / "node-id").write_text("the new one")
    where = ("--state", str(tmp_path / "other"), "--config", str(tmp_path / "config.toml"))
    assert box.run("backup", *where, str(tmp_path / "backup.zip"))[0] == 0
    return names


def _fill(
    state: Path, *, version: int | None = None, prefix: str = "name", is_killed: bool = False
) -> Names:
    """Make a database of 12 names, of an earlier version or as a killed box leaves it if so."""
    state.mkdir(mode=0o700)
    path = state / "names.sqlite"
    records = [record.of(registration(f"{prefix}-{n}", n), when=0) for n in range(12)]
    if version is not None:
        with closing(sqlite3.connect(path)) as old:
            for step in schema()[:version]:
                old.executescript(step)
            old.execute(f"PRAGMA user_version = {version}")
            for one in records:
                old.execute(
                    "INSERT INTO names VALUES (?, ?, ?, ?, ?, 0)",
                    (one.name, one.id, one.owner, one.publickey, one.signature),
                )
            old.commit()
    else:
        with closing(Database(path)) as database:
            database.add(records)
            if is_killed:
                for file in (path, path.with_name("names.sqlite-wal")):
                    shutil.copyfile(file, file.with_name(f"{file.name}.killed"))
        for file in state.glob("*.killed"):
            file.rename(file.with_suffix(""))
    return {one.name: one.id for one in records}
