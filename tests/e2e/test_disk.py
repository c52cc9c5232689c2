"""Names on a disk that is full or takes nothing."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lanjami import layout
from lanjami.backup import archive
from tests.support.box import Box
from tests.support.kept import kept_at
from tests.support.lab import run, tmpfs
from tests.support.registrations import account_id, body


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The state folder of a box, on a disk of 6 MB."""
    with tmpfs(tmp_path / "state", size="6m") as folder:
        yield folder


@pytest.fixture
def loopback_box(tmp_path: Path, small_disk: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    assert box.state == small_disk
    yield box
    for process in box.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


class People:
    """Those who register at a box and look each other up."""

    def __init__(self, session: aiohttp.ClientSession, box: Box) -> None:
        self._session = session
        self._url = f"http://127.0.0.1:{box.http}"
        self.registered: list[int] = []

    async def register(self, number: int) -> int:
        url, asked = f"{self._url}/name/person-{number}", body(f"person-{number}", number)
        async with self._session.post(url, json=asked) as answer:
            if answer.status == 200:
                self.registered.append(number)
            else:
                assert answer.headers["Retry-After"]
            return answer.status

    async def answered(self) -> bool:
        """Whether the box knows its names by now; it may not say 404 before."""
        try:
            url = f"{self._url}/addr/{account_id(self.registered[0])}"
            async with self._session.get(url) as answer:
                assert answer.status in (200, 503)
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def look_up_all(self) -> None:
        """Everybody who was told that they have their name has it."""
        for number in self.registered:
            for path, member, expected in (
                (f"/name/person-{number}", "addr", account_id(number)),
                (f"/addr/{account_id(number)}", "name", f"person-{number}"),
            ):
                async with self._session.get(f"{self._url}{path}") as answer:
                    assert answer.status == 200, await answer.text()
                    assert (await answer.json())[member] == expected


@pytest.fixture
async def people(loopback_box: Box) -> AsyncIterator[People]:
    async with aiohttp.ClientSession() as session:
        yield People(session, loopback_box)


def _fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (4096, 1):
            with suppress(OSError):  # no space is left
                while True:
                    file.write(bytes(size))
    return filler


async def _status(box: Box) -> dict[str, Any]:
    return (await asyncio.to_thread(box.status))[1]


async def test_a_full_disk_takes_no_names_and_loses_none(
    loopback_box: Box, small_disk: Path, people: People
) -> None:
    await asyncio.to_thread(loopback_box.running)
    assert await people.register(0) == 200
    filler = await asyncio.to_thread(_fill, small_disk)
    numbers = iter(range(1, 200))
    async with asyncio.timeout(60):
        while await people.register(next(numbers)) != 503:
            pass  # there is some room left in the log that is there
    await people.look_up_all()
    async with asyncio.timeout(5):
        while "disk is full" not in (await _status(loopback_box))["services"]["names"]["reason"]:
            await asyncio.sleep(0.2)

    filler.unlink()
    assert await people.register(next(numbers)) == 200
    await people.look_up_all()
    async with asyncio.timeout(15):
        while (await _status(loopback_box))["services"]["names"]["reason"]:
            await asyncio.sleep(0.2)
    loopback_box.started[-1].kill()
    await asyncio.to_thread(loopback_box.running)
    await people.look_up_all()


async def test_a_disk_that_is_full_at_the_start_is_looked_up_from(
    loopback_box: Box, small_disk: Path, people: People
) -> None:
    process = await asyncio.to_thread(loopback_box.running)
    assert await people.register(0) == 200
    process.kill()
    process.wait()
    filler = await asyncio.to_thread(_fill, small_disk)
    loopback_box.up()
    await _until_found(people)
    assert await people.register(1) in (200, 503)
    await people.look_up_all()
    filler.unlink()
    async with asyncio.timeout(30):
        while await people.register(1) != 200:
            await asyncio.sleep(0.2)
    await people.look_up_all()


async def test_a_card_that_was_made_read_only_is_looked_up_from_and_saved(
    loopback_box: Box, small_disk: Path, people: People, tmp_path: Path
) -> None:
    process = await asyncio.to_thread(loopback_box.running)
    assert await people.register(0) == 200
    process.kill()  # so that the last names are in the log only
    process.wait()
    run("mount", "-o", "remount,ro", str(small_disk))
    with pytest.raises(OSError, match="Read-only"):
        (small_disk / "new").touch()
    loopback_box.up()
    await _until_found(people)
    assert await people.register(1) == 503
    await people.look_up_all()
    reason = (await _status(loopback_box))["services"]["names"]["reason"]
    assert "names can be looked up but not registered" in reason
    saved = tmp_path / "saved.zip"
    command = ("backup", str(saved), "--state", str(small_disk))
    status, _, complaint = await asyncio.to_thread(loopback_box.run, *command)
    assert status == 0, complaint
    archive.unpack(saved, [layout.NAMES], tmp_path)
    assert [kept.name for kept in kept_at(tmp_path / layout.NAMES)] == ["person-0"]
    run("mount", "-o", "remount,rw", str(small_disk))
    async with asyncio.timeout(30):
        while await people.register(1) != 200:
            await asyncio.sleep(0.2)
    await people.look_up_all()
    process = loopback_box.started[-1]
    process.kill()
    process.wait()
    await asyncio.to_thread(loopback_box.running)
    await people.look_up_all()


async def test_names_that_are_gone_from_a_full_disk_are_looked_up_in_their_backup(
    loopback_box: Box, small_disk: Path, people: People, tmp_path: Path
) -> None:
    process = await asyncio.to_thread(loopback_box.running)
    assert await people.register(0) == 200
    saved = small_disk / "backups" / "backup-000099.zip"
    command = ("backup", str(saved), "--state", str(small_disk))
    status, _, complaint = await asyncio.to_thread(loopback_box.run, *command)
    assert status == 0, complaint
    process.kill()
    process.wait()
    for file in small_disk.glob(f"{layout.NAMES}*"):
        file.unlink()
    filler = await asyncio.to_thread(_fill, small_disk)
    loopback_box.up()
    await _until_found(people)
    assert await people.register(1) == 503
    reason = (await _status(loopback_box))["services"]["names"]["reason"]
    assert "names can be looked up but not registered" in reason
    filler.unlink()
    async with asyncio.timeout(30):
        while await people.register(1) != 200:
            await asyncio.sleep(0.2)
    await people.look_up_all()


async def test_a_restore_that_a_disk_does_not_let_end_costs_only_the_names(
    loopback_box: Box, small_disk: Path, people: People
) -> None:
    process = await asyncio.to_thread(loopback_box.running)
    assert await people.register(0) == 200
    process.terminate()
    process.wait()
    committed = small_disk / ".incoming-for-before-restore-1"  # as a power cut leaves it
    committed.mkdir(mode=0o700)
    (small_disk / layout.NAMES).rename(committed / layout.NAMES)
    run("mount", "-o", "remount,ro", str(small_disk))
    await asyncio.to_thread(loopback_box.running)
    services = (await _status(loopback_box))["services"]
    assert services["names"]["state"] == "down"
    assert "Read-only" in services["names"]["reason"]
    assert services["http"]["state"] == "up"
    assert not await people.answered()
    assert not (small_disk / layout.NAMES).exists()
    run("mount", "-o", "remount,rw", str(small_disk))
    await _until_found(people)
    assert not committed.exists()
    async with asyncio.timeout(30):
        while await people.register(1) != 200:
            await asyncio.sleep(0.2)
    await people.look_up_all()


async def test_a_disk_that_stops_taking_anything_is_looked_up_from(
    loopback_box: Box, people: People
) -> None:
    process = await asyncio.to_thread(loopback_box.running)
    assert await people.register(0) == 200
    limit = ("prlimit", "--pid", str(process.pid))
    run(*limit, "--fsize=0:unlimited")  # every write to a file fails
    assert await people.register(1) == 503
    await people.look_up_all()
    run(*limit, "--fsize=unlimited:unlimited")
    assert await people.register(1) == 200
    await people.look_up_all()


async def _until_found(people: People) -> None:
    """Until the box that was just started answers; then nobody may be missing."""
    async with asyncio.timeout(20):
        while not await people.answered():
            await asyncio.sleep(0.2)
    await people.look_up_all()
