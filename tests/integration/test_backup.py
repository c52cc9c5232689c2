"""Backups: made by hand and by the box, restored by hand and by the box."""

import asyncio
import json
import socket
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from lanjami.backup import api, archive
from lanjami.backup.keeper import Keeper
from lanjami.box import disks
from lanjami.box.disks import Running
from lanjami.cli import control, places
from lanjami.cli.backup import restore
from lanjami.errors import HostError
from lanjami.nameserver import record
from lanjami.nameserver.database import Database, check, copy
from lanjami.nameserver.names import JamiId, Name
from lanjami.nameserver.registry import Registry
from lanjami.runtime import disk
from lanjami.runtime.httpd import LocalServer
from tests.support.box import Box
from tests.support.kept import kept_at
from tests.support.lab import run, tmpfs
from tests.support.registrations import ClientKeys, account_id, registration
from tests.support.running import Heard, running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")

NAMES = {"alice": 1, "bobby": 2}


def _fill(state: Path, *names: str) -> None:
    state.mkdir(mode=0o700, exist_ok=True)
    with closing(Database(state / "names.sqlite")) as database:
        database.add([record.of(registration(n, NAMES[n]), when=1) for n in names])


def _names(state: Path) -> list[str]:
    return [kept.name for kept in kept_at(state / "names.sqlite")]


def _contents(state: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in state.iterdir() if path.name != "lock"}


def _back_up(box: Box, file: Path, *more: str) -> None:
    status, printed, told = box.run("backup", str(file), "--state", str(box.state), *more)
    assert (status, told) == (0, "")
    assert printed.startswith("a backup of 20")


@pytest.mark.parametrize("is_running", [True, False])
def test_a_backup_makes_another_box_this_box(
    box: Box,
    tmp_path: Path,
    is_running: bool,  # noqa: FBT001 - a case
) -> None:
    _fill(box.state, *NAMES)
    config = tmp_path / "lanjami.toml"
    config.write_text("[names]\nreserved = ['boss']\n")
    process = box.running("--config", str(config))
    if not is_running:
        process.terminate()
        process.wait(3)
    file = tmp_path / "box.zip"
    _back_up(box, file, "--config", str(config))
    assert file.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(file) as opened:
        assert set(opened.namelist()) == {
            *("names.sqlite", "node-id", "python-node-id", "lanjami.toml", "manifest.json"),
        }

    other = tmp_path / "other"
    placed = tmp_path / "etc" / "lanjami.toml"
    status, printed, told = box.run(
        "restore", str(file), "--state", str(other), "--config", str(placed)
    )
    assert (status, told) == (0, "")
    assert "is restored, with 2 names" in printed
    assert _names(other) == sorted(NAMES)
    for name in ("node-id", "python-node-id"):
        assert (other / name).read_bytes() == (box.state / name).read_bytes()
    assert placed.read_text() == config.read_text()


def test_what_a_restore_replaces_is_kept(box: Box, tmp_path: Path) -> None:
    _fill(box.state, "alice")
    (box.state / "node-id").write_text("1" * 40 + "\n")
    _back_up(box, tmp_path / "box.zip")
    _fill(box.state, "bobby")
    (box.state / "node-id").write_text("2" * 40 + "\n")
    for number in (1, 2):
        status, printed, _ = box.run(
            "restore", str(tmp_path / "box.zip"), "--state", str(box.state)
        )
        assert status == 0
        assert f"before-restore-{number}" in printed
    assert _names(box.state) == ["alice"]
    before = box.state / "before-restore-1"
    assert _names(before) == ["alice", "bobby"]
    assert (before / "node-id").read_text() == "2" * 40 + "\n"
    assert before.stat().st_mode & 0o777 == 0o700


def test_a_backup_of_before_there_were_two_nodes_is_restored(box: Box, tmp_path: Path) -> None:
    _fill(box.state, "alice")
    (box.state / "node-id").write_text("1" * 40 + "\n")
    _back_up(box, tmp_path / "box.zip")
    (box.state / "node-id").write_text("2" * 40 + "\n")
    (box.state / "python-node-id").write_text("3" * 40 + "\n")
    status, _, _ = box.run("restore", str(tmp_path / "box.zip"), "--state", str(box.state))
    assert status == 0
    assert (box.state / "node-id").read_text() == "1" * 40 + "\n"
    assert (box.state / "python-node-id").read_text() == "3" * 40 + "\n", "it had none to give"


def test_a_restore_is_refused_while_the_box_runs(box: Box, tmp_path: Path) -> None:
    _fill(box.state, "alice")
    _back_up(box, tmp_path / "box.zip")
    box.running()
    status, _, told = box.run("restore", str(tmp_path / "box.zip"), "--state", str(box.state))
    assert status == 69
    assert "lanjami already runs with the state folder" in told


def _newer_format(file: Path) -> None:
    _rewrite(file, {"manifest.json": lambda b: b.replace(b'"format": 1', b'"format": 2')})


def _newer_names(file: Path) -> None:
    with zipfile.ZipFile(file) as opened:
        opened.extract("names.sqlite", file.parent)
    with closing(sqlite3.connect(file.parent / "names.sqlite")) as database:
        database.execute("PRAGMA user_version = 99")
    folder = file.parent / "packed"
    folder.mkdir()
    (file.parent / "names.sqlite").rename(folder / "names.sqlite")
    archive.write(file, folder, created="2026-11-22T10:00:00Z")


def _other_content(file: Path) -> None:
    _rewrite(file, {"node-id": lambda _: b"0" * 41})


def _no_names(file: Path) -> None:
    folder = file.parent / "packed"
    folder.mkdir()
    (folder / "node-id").write_text("1" * 40)
    archive.write(file, folder, created="2026-11-22T10:00:00Z")


def _bad_config(file: Path) -> None:
    _rewrite(file, {})
    folder = file.parent / "packed"
    folder.mkdir()
    with zipfile.ZipFile(file) as opened:
        opened.extract("names.sqlite", folder)
    (folder / "lanjami.toml").write_text("[dht]\nport = 0\n")
    archive.write(file, folder, created="2026-11-22T10:00:00Z")


def _odd_name(file: Path) -> None:
    with zipfile.ZipFile(file) as opened:
        opened.extract("names.sqlite", file.parent)
    with closing(sqlite3.connect(file.parent / "names.sqlite")) as database, database:
        database.execute("UPDATE names SET name = ? WHERE name = ?", ("\x1b[31malice", "alice"))
    folder = file.parent / "packed"
    folder.mkdir()
    (file.parent / "names.sqlite").rename(folder / "names.sqlite")
    archive.write(file, folder, created="2026-11-22T10:00:00Z")


def _flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def _rewrite(file: Path, changed: dict[str, Callable[[bytes], bytes]]) -> None:
    with zipfile.ZipFile(file) as opened:
        contents = {name: opened.read(name) for name in opened.namelist()}
    with zipfile.ZipFile(file, "w") as opened:
        for name, content in contents.items():
            opened.writestr(name, changed.get(name, bytes)(content))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_newer_format, "was made by a newer lanjami (0.1.0)"),
        (_newer_names, "of version 99, newer than this lanjami knows"),
        (_odd_name, r"cannot be used: '\x1b[31malice'"),
        (_other_content, "node-id is not what was put into it"),
        (_no_names, "has no names in it"),
        (_bad_config, "$.dht.port"),
        (_flipped, "is no whole backup"),
        (_cut, "is no whole backup"),
        (Path.unlink, "No such file"),
    ],
)
def test_a_backup_that_is_not_whole_or_not_for_us_changes_nothing(
    box: Box, tmp_path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    _fill(box.state, *NAMES)
    (box.state / "node-id").write_text("1" * 40 + "\n")
    file = tmp_path / "box.zip"
    _back_up(box, file)
    before = _contents(box.state)
    spoil(file)
    status, printed, told = box.run("restore", str(file), "--state", str(box.state))
    assert (status, printed) == (69, "")
    assert sentence in told
    assert told.strip().isprintable()
    assert _contents(box.state) == before


def _changed_since_the_backup(box: Box, folder: Path, text: str) -> Path:
    """A configuration, of which another text is in `folder`'s box.zip."""
    _fill(box.state, "alice")
    config = folder / "lanjami.toml"
    config.write_text("# the one in the backup\n")
    _back_up(box, folder / "box.zip", "--config", str(config))
    config.write_text(text)
    return config


def test_a_configuration_that_is_there_is_kept_beside_the_restored_one(
    box: Box, tmp_path: Path
) -> None:
    config = _changed_since_the_backup(box, tmp_path, "# a later one\n")
    status, printed, _ = box.run(
        *("restore", str(tmp_path / "box.zip"), "--state", str(box.state)),
        *("--config", str(config)),
    )
    assert status == 0
    assert config.read_text() == "# the one in the backup\n"
    assert (tmp_path / "lanjami.toml.before-restore-1").read_text() == "# a later one\n"
    assert "lanjami.toml.before-restore-1" in printed


def test_a_box_whose_settings_are_on_its_card_keeps_them(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _changed_since_the_backup(box, tmp_path, "# the card's\n")
    monkeypatch.setattr(places, "SYSTEM_CONFIG", config)
    monkeypatch.setattr(disks, "running", lambda: Running("a", tried=False))
    ended = CliRunner().invoke(
        restore, [str(tmp_path / "box.zip"), "--state", str(box.state)], catch_exceptions=False
    )
    assert ended.exit_code == 0
    assert config.read_text() == "# the card's\n"
    kept = box.state / "restored.toml"
    assert kept.read_text() == "# the one in the backup\n"
    assert kept.stat().st_mode & 0o777 == 0o600, "it may have secrets"
    assert f"{kept}; this box keeps those of its card" in ended.output


def test_an_interrupted_exchange_is_completed(tmp_path: Path) -> None:
    for file in ("names", "names-wal", "names-shm", "node-id"):
        (tmp_path / file).write_text("old")
    committed = tmp_path / ".incoming-for-before-1"
    committed.mkdir()
    (committed / "names").write_text("new")
    disk.finish_exchange(tmp_path)
    disk.finish_exchange(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"names", "node-id", "before-1"}
    assert (tmp_path / "names").read_text() == "new"
    assert {p.name for p in (tmp_path / "before-1").iterdir()} == {
        *("names", "names-wal", "names-shm"),
    }


async def test_the_box_makes_a_backup_at_every_start_and_keeps_seven(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    changes = 0

    def collect(collected: Path) -> None:
        (collected / "names.sqlite").write_text(f"{changes}")

    for _ in range(9):
        changes += 1
        async with running(Keeper(folder, collect=collect)) as heard:
            assert heard.reasons == [""]
    kept = sorted(path.name for path in folder.iterdir())
    assert kept == [f"backup-{number:06}.zip" for number in range(3, 10)]
    assert heard.details[0].startswith("7 kept, the newest of 20")
    async with running(Keeper(folder, collect=collect)):
        pass
    assert sorted(path.name for path in folder.iterdir()) == [*kept[:6], "backup-000010.zip"]
    assert (folder / "backup-000010.zip").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


async def test_a_damaged_backup_is_passed_over_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir(mode=0o700)
    (folder / "backup-000005.zip").write_bytes(b"torn")

    def collect(collected: Path) -> None:
        (collected / "names.sqlite").write_text("names")

    async with running(Keeper(folder, collect=collect)) as heard:
        assert heard.details[0].startswith("1 kept, the newest of 20")
    assert len([text for text in caplog.messages if "backup passed over" in text]) == 1


async def test_a_backup_that_cannot_be_made_is_said_and_tried_again(tmp_path: Path) -> None:
    told = asyncio.Event()
    well = False

    def collect(collected: Path) -> None:
        if not well:
            raise HostError("the disk is full")
        (collected / "names.sqlite").write_text("names")

    class Listening(Heard):
        def __call__(self, detail: str, *, reason: str = "", proved: bool | None = None) -> None:
            super().__call__(detail, reason=reason, proved=proved)
            if len(self.reasons) > 1:
                told.set()

    heard = Listening()
    keeper = Keeper(tmp_path / "backups", collect=collect, patience_s=0.5)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(10):
        task = tasks.create_task(keeper.run(heard))
        await told.wait()
        well = True
        told.clear()
        await told.wait()
        task.cancel()
    assert heard.reasons[0] == ""
    assert heard.reasons[1] == "no backup can be made: the disk is full"
    assert heard.proofs == [False, False, True]
    assert heard.details[-1].startswith("1 kept")


def _damage(path: Path) -> None:
    """Overwrite the middle of the database, and the log of what is not yet in it."""
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    path.with_name(f"{path.name}-wal").unlink(missing_ok=True)


def _serving(state: Path, keeper: Keeper) -> Registry:
    return Registry(
        path=state / "names.sqlite", spare=lambda t: keeper.unpack_newest("names.sqlite", t)
    )


async def test_a_damaged_database_is_replaced_from_the_newest_good_backup(tmp_path: Path) -> None:
    path = tmp_path / "names.sqlite"

    def collect(collected: Path) -> None:
        registry.copy_to(collected / "names.sqlite")

    keeper = Keeper(tmp_path / "backups", collect=collect)
    registry = _serving(tmp_path, keeper)
    async with running(registry):
        await registry.register(registration("alice", 1), source="10.0.0.1")
        async with running(keeper):
            pass
    async with asyncio.timeout(5):
        while await asyncio.to_thread((tmp_path / "names.sqlite-wal").exists):
            await asyncio.sleep(0.01)  # it is closed in a thread of its own
    (tmp_path / "backups" / "backup-000002.zip").write_bytes(b"a torn backup")
    await asyncio.to_thread(_damage, path)

    async with running(registry) as heard:
        found = registry.by_name(Name("alice"))
        assert found is not None
        assert found.id == account_id(1)
        assert "was damaged and replaced from a backup" in heard.reasons[-1]
        assert "damaged-1" in heard.reasons[-1]
        with pytest.raises(HostError, match="not known whether this ID has one"):
            registry.name_of(JamiId("0" * 40))
        assert registry.by_name(Name("bobby")) is None, "a name that is free can be taken"
        await registry.register(registration("bobby", 2), source="10.0.0.1")
    await asyncio.to_thread(check, path)
    assert (tmp_path / "damaged-1" / "names.sqlite").exists()

    for file in (tmp_path / "damaged-1").iterdir():
        file.unlink()
    (tmp_path / "damaged-1").rmdir()
    async with running(registry) as heard:
        assert heard.reasons == [""]
        assert registry.name_of(JamiId("0" * 40)) is None
        assert registry.known() == 2


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flip_in_an_id(path: Path) -> None:
    """One bit of one digit, in the row: now it is no digit."""
    _flip(path, account_id(1).encode(), 0x40)


def _flip_in_a_name(path: Path) -> None:
    """One bit of one letter, in the row: now it is no text."""
    _flip(path, b"alice" + account_id(1).encode(), 0x80)


def _flip(path: Path, there: bytes, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[content.rindex(there)] ^= bit
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [Path.unlink, _empty, _flip_in_an_id, _flip_in_a_name])
async def test_whatever_happens_to_the_file_the_names_come_back(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    path = tmp_path / "names.sqlite"
    await asyncio.to_thread(_fill, tmp_path, *NAMES)

    def collect(collected: Path) -> None:
        registry.copy_to(collected / "names.sqlite")

    keeper = Keeper(tmp_path / "backups", collect=collect)
    registry = _serving(tmp_path, keeper)
    async with running(registry), running(keeper):
        pass
    await asyncio.to_thread(harm, path)
    async with running(registry) as heard:
        for name, number in NAMES.items():
            assert registry.name_of(JamiId(account_id(number))) == name
        assert "was damaged and replaced from a backup" in heard.reasons[-1]


async def test_a_torn_backup_leaves_nothing_in_the_way_of_an_older_one(tmp_path: Path) -> None:
    contents = [b"older", bytes(3 << 20)]

    def collect(collected: Path) -> None:
        (collected / "names.sqlite").write_bytes(contents.pop(0))

    keeper = Keeper(tmp_path / "backups", collect=collect)
    for _ in range(2):
        async with running(keeper):
            pass
    newest = tmp_path / "backups" / "backup-000002.zip"
    with zipfile.ZipFile(newest) as opened:
        manifest = opened.read("manifest.json")
    with zipfile.ZipFile(newest, "w") as opened:
        opened.writestr("manifest.json", manifest)
        opened.writestr("names.sqlite", bytes(2 << 20) + b"x" * (1 << 20))
    target = tmp_path / "names.sqlite"
    unpack = partial(asyncio.to_thread, keeper.unpack_newest, "names.sqlite", target)
    assert await unpack() is not None
    assert target.read_bytes() == b"older"
    (tmp_path / "backups" / "backup-000001.zip").unlink()
    assert await unpack() is None
    assert not target.exists()


# --- a disk that takes nothing -------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A state folder on a disk of its own, of 2 MB."""
    with tmpfs(tmp_path / "small", size="2m") as folder:
        yield folder


def _leave(folder: Path, free: int) -> None:
    """Fill its disk until so many bytes are left; by pages, as a small disk counts them."""
    spare = folder / "spare"
    spare.write_bytes(bytes(free))
    with (folder / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))
    spare.unlink()


def _make_read_only(folder: Path) -> None:
    run("mount", "-o", "remount,ro", str(folder))


def _give_back(folder: Path) -> None:
    run("mount", "-o", "remount,rw", str(folder))
    (folder / "filler").unlink(missing_ok=True)


_REFUSALS = [
    partial(_leave, free=0),
    partial(_leave, free=256 << 10),  # an empty database fits there, the backup does not
    _make_read_only,
]


def _break_header(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(b"no database at all" + content[18:])


def _fill_large(state: Path) -> None:
    """A database of more than 256 KB."""
    _fill(state, *NAMES)
    keys = ClientKeys(bits=2048)
    numbered = zip(range(200), keys.exponents(), strict=False)
    with closing(Database(state / "names.sqlite")) as database:
        database.add(keys.record(f"name-{n:04}", exponent) for n, exponent in numbered)


async def _backed_up(state: Path, backups: Path) -> Registry:
    """Serves the names there, of which a backup was made."""
    path = state / "names.sqlite"
    elsewhere = backups.parent / "elsewhere"  # there has to be room for making it
    await asyncio.to_thread(_fill_large, elsewhere)
    original = Registry(path=elsewhere / path.name)
    keeper = Keeper(backups, collect=lambda folder: original.copy_to(folder / path.name))
    async with running(original), running(keeper):
        pass
    await asyncio.to_thread(copy, elsewhere / path.name, path)
    return Registry(path=path, spare=partial(keeper.unpack_newest, path.name))


@pytest.mark.parametrize("harm", [Path.unlink, _empty, _break_header])
@pytest.mark.parametrize("refuse", _REFUSALS)
async def test_names_of_a_backup_are_looked_up_where_the_disk_does_not_take_them(
    tmp_path: Path,
    small: Path,
    harm: Callable[[Path], None],
    refuse: Callable[[Path], None],
) -> None:
    registry = await _backed_up(small, tmp_path / "backups")
    await asyncio.to_thread(harm, small / "names.sqlite")
    await asyncio.to_thread(refuse, small)
    for _ in range(2):
        async with running(registry) as heard:
            for name, number in NAMES.items():
                assert registry.name_of(JamiId(account_id(number))) == name
                assert registry.by_name(Name(name)) is not None
            assert "names can be looked up but not registered" in heard.reasons[-1]
            assert "those of the backup of 20" in heard.reasons[-1]
            with pytest.raises(HostError, match="not known whether this ID has one"):
                registry.name_of(JamiId("0" * 40))
            for name in ("alice", "carol"):
                with pytest.raises(HostError, match="the backup of 20"):
                    await registry.register(registration(name, 3), source="10.0.0.1")
    await asyncio.to_thread(_give_back, small)
    async with running(registry) as heard:
        assert registry.name_of(JamiId(account_id(1))) == "alice"
        assert "was damaged and replaced from a backup" in heard.reasons[-1]
        await registry.register(registration("carol", 3), source="10.0.0.1")


@pytest.mark.parametrize("harm", [Path.unlink, _empty, _break_header])
@pytest.mark.parametrize("refuse", [partial(_leave, free=0), _make_read_only])
async def test_where_nothing_is_known_and_the_disk_refuses_nothing_is_denied(
    small: Path, harm: Callable[[Path], None], refuse: Callable[[Path], None]
) -> None:
    await asyncio.to_thread(_fill, small, "alice")
    await asyncio.to_thread(harm, small / "names.sqlite")
    await asyncio.to_thread(refuse, small)
    registry = Registry(path=small / "names.sqlite")
    with pytest.raises(HostError, match=r"Read-only|No space|unable to open|readonly|is full"):
        async with running(registry):
            pass


async def test_a_full_disk_is_told_from_a_bad_backup(tmp_path: Path, small: Path) -> None:
    def collect(collected: Path) -> None:
        (collected / "names.sqlite").write_bytes(bytes(3 << 20))

    keeper = Keeper(tmp_path / "backups", collect=collect)
    async with running(keeper):
        pass
    unpack = partial(keeper.unpack_newest, "names.sqlite")
    with pytest.raises(HostError, match=r"small/names.sqlite cannot be written: No space left"):
        await asyncio.to_thread(unpack, small / "names.sqlite")
    assert await asyncio.to_thread(unpack, tmp_path / "names.sqlite") is not None


async def test_a_backup_is_sent_also_from_a_box_whose_disk_is_nearly_full(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(path: Path) -> None:
        disk.require_room(path.parent, 1)
        path.write_bytes(b"a backup")

    def fetch() -> bytes:
        box = control.find([tmp_path], within_s=5.0)
        assert box is not None
        return box.ask("GET", "/backup")

    async with running(
        LocalServer(
            paths=[tmp_path / "control.sock"], routes=lambda: api.routes(api.sender(make, small))
        )
    ):
        assert await asyncio.to_thread(fetch) == b"a backup"
        monkeypatch.setattr(tempfile, "tempdir", str(small))
        with pytest.raises(HostError, match=r"small/.* has . MB left"):
            await asyncio.to_thread(fetch)

        def refuse() -> str:
            raise FileNotFoundError(2, "No usable temporary directory found")

        monkeypatch.setattr(tempfile, "gettempdir", refuse)
        with pytest.raises(HostError, match=r"small/.* has . MB left"):
            await asyncio.to_thread(fetch)


def test_a_backup_goes_into_a_file_and_nothing_else(box: Box, tmp_path: Path) -> None:
    _fill(box.state, "alice")
    for place in ("/dev/null", str(tmp_path)):
        status, _, told = box.run("backup", place, "--state", str(box.state))
        assert status == 69 or "is a directory" in told
    assert not Path("/dev/null").is_file()


def test_a_box_that_dies_in_the_middle_leaves_the_backup_of_before(
    box: Box, tmp_path: Path
) -> None:
    box.state.mkdir(mode=0o700)
    file = tmp_path / "backup.zip"
    file.write_bytes(b"of before")
    with socket.socket(socket.AF_UNIX) as server, ThreadPoolExecutor(1) as thread:
        server.bind(str(box.state / "control.sock"))
        server.listen()

        def die() -> None:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(4096).startswith(b"GET /backup ")
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of")

        died = thread.submit(die)
        status, printed, told = box.run("backup", str(file), "--state", str(box.state))
        died.result()
    assert (status, printed) == (69, "")
    assert "does not answer: IncompleteRead" in told
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["backup.zip"]
    assert file.read_bytes() == b"of before"


def test_what_cannot_be_read_is_told_in_a_sentence(box: Box, tmp_path: Path) -> None:
    _fill(box.state, "alice")
    nonsense = tmp_path / "names.jsonl"
    nonsense.write_bytes(b"\xff\xfe")
    _, exported, _ = box.run("names", "--state", str(box.state), "export")
    late = tmp_path / "late.jsonl"
    late.write_text(exported.replace('"registered":1,', '"registered":999999999999999999,'))
    for file in (nonsense, late):
        status, _, told = box.run("names", "--state", str(box.state), "import", str(file))
        assert status == 69
        assert told.startswith("lanjami: ")
        assert told.count("\n") == 1


async def test_what_came_after_the_backup_is_read_from_the_damaged_database(
    tmp_path: Path,
) -> None:
    await asyncio.to_thread(_fill, tmp_path, *NAMES)
    path = tmp_path / "names.sqlite"
    content = bytearray(path.read_bytes())
    index = content.rindex(b"alice")  # in the tree of names, not in the rows
    content[index : index + 5] = b"\xff" * 5
    path.write_bytes(content)
    with pytest.raises(HostError):
        await asyncio.to_thread(check, path)
    registry = Registry(path=path)
    async with asyncio.timeout(10), running(registry) as heard:
        while not any("was damaged" in reason for reason in heard.reasons):
            heard.ready.clear()
            await heard.ready.wait()
        assert registry.known() == 2
    await asyncio.to_thread(check, path)


async def test_damage_that_a_lookup_meets_is_mended_while_the_box_runs(tmp_path: Path) -> None:
    await asyncio.to_thread(_fill, tmp_path, *NAMES)
    path = tmp_path / "names.sqlite"
    registry = Registry(path=path)
    async with asyncio.timeout(10), running(registry) as heard:
        while not any("was damaged" in reason for reason in heard.reasons):
            if heard.reasons == [""]:
                await asyncio.to_thread(_damage, path)
            heard.ready.clear()
            try:
                registry.by_name(Name("alice"))
            except HostError:
                await heard.ready.wait()
            await asyncio.sleep(0)


def test_the_backups_of_a_running_box_are_in_its_status(box: Box) -> None:
    box.running()
    for _ in range(50):
        _, status = box.status()
        if "kept" in status["services"]["backups"]["detail"]:
            break
    assert status["services"]["backups"]["detail"].startswith("1 kept, the newest of 20")
    kept = list((box.state / "backups").iterdir())
    assert [path.name for path in kept] == ["backup-000001.zip"]
    with zipfile.ZipFile(kept[0]) as opened:
        manifest = json.loads(opened.read("manifest.json"))
    assert manifest["format"] == 1
    assert manifest["files"].keys() >= {"names.sqlite"}


_BEGIN = """
import sys, time
from pathlib import Path
from lanjami.runtime import disk
with disk.scratch(Path(sys.argv[1]), prefix=sys.argv[2]) as made:
    (made / "names.sqlite").write_bytes(b"half")
    print(made, flush=True)
    sys.stdin.read()
"""


def _begun(folder: Path, prefix: str) -> tuple["subprocess.Popen[str]", Path]:
    """A program that has made a folder for its work, and where that is."""
    process = subprocess.Popen(
        [sys.executable, "-c", _BEGIN, str(folder), prefix],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_what_killed_programs_left_is_removed_at_the_next_start_and_nothing_else(
    box: Box,
) -> None:
    _fill(box.state, "alice")
    (box.state / "backups").mkdir()
    places = [
        *((box.state, ".scratch-"), (box.state / "backups", ".scratch-")),
        (Path("/dev/shm"), "lanjami-names-"),
    ]
    begun = [(_begun(*place), _begun(*place)) for place in places]
    try:
        for (killed, _), _ in begun:
            killed.kill()
            killed.wait()
        box.running()
        for (_, left), (_, in_use) in begun:
            for _ in range(50):
                if not left.exists():
                    break
                box.status()
            assert not left.exists()
            assert (in_use / "names.sqlite").exists()
    finally:
        for pair in begun:
            for process, _ in pair:
                process.communicate()
    assert not any(in_use.exists() for _, (_, in_use) in begun)
