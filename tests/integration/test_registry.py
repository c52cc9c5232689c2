"""What the registry refuses for now, and what it does with many at once."""

import asyncio
import contextlib
import io
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import msgspec
import pytest

from lanjami import layout
from lanjami.cli import control
from lanjami.errors import HostError, LanjamiError, RequestError
from lanjami.nameserver import admin, admin_api, record, signature
from lanjami.nameserver.database import Database
from lanjami.nameserver.names import Name
from lanjami.nameserver.registry import SOURCE_BURST, TRIES_BURST, Registry
from lanjami.runtime.batches import Batches
from lanjami.runtime.httpd import LocalServer
from tests.support.registrations import ClientKeys, registration
from tests.support.running import running

HERE = "127.0.0.1"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(path=tmp_path / "names.sqlite", reserved=["admin*"], most_names=2)


async def test_a_source_that_tries_too_often_has_to_wait_and_the_others_do_not(
    registry: Registry,
) -> None:
    alice = registration("alice", 1)
    async with running(registry):
        await registry.register(alice, source="10.0.0.1")
        strangers = (replace(alice, name=Name(f"name-{number}")) for number in range(10_000))
        refused: Exception = RequestError(401, "")
        verified = -1
        while isinstance(refused, RequestError):
            verified += 1
            with pytest.raises(LanjamiError) as raised:
                await registry.register(next(strangers), source="10.0.0.1")
            refused = raised.value
        assert "too many registrations from 10.0.0.1" in str(refused)
        assert TRIES_BURST - 1 <= verified < 1.5 * TRIES_BURST
        await registry.register(alice, source="10.0.0.1")  # who lost our answer asks again
        await registry.register(registration("bobby", 2), source="10.0.0.2")


async def test_a_source_that_takes_too_many_names_has_to_wait_and_the_others_do_not(
    tmp_path: Path,
) -> None:
    keys = ClientKeys(bits=2048)
    registry = Registry(path=tmp_path / "names.sqlite")
    people = [
        signature.read(Name(name), json.dumps(keys.body(name, exponent)).encode())
        for name, exponent in zip((f"name-{n}" for n in range(400)), keys.exponents(), strict=False)
    ]
    async with running(registry):
        given = 0
        with contextlib.suppress(HostError):
            for person in people:
                await registry.register(person, source="10.0.0.1")
                given += 1
        assert SOURCE_BURST <= given < 1.2 * SOURCE_BURST
        await registry.register(people[0], source="10.0.0.1")  # who lost our answer asks again
        await registry.register(people[-1], source="10.0.0.2")


async def test_false_proofs_take_no_name_from_those_behind_the_same_address(
    registry: Registry,
) -> None:
    alice = registration("alice", 1)
    async with running(registry):
        for number in range(int(SOURCE_BURST) + 50):
            with pytest.raises(RequestError):
                await registry.register(
                    replace(alice, name=Name(f"name-{number}")), source="10.0.0.1"
                )
        await registry.register(alice, source="10.0.0.1")


async def test_a_full_box_keeps_what_it_has_and_refuses_for_now(registry: Registry) -> None:
    async with running(registry):
        for name, number in (("alice", 1), ("bobby", 2), ("alice", 1)):
            await registry.register(registration(name, number), source=HERE)
        with pytest.raises(HostError, match="has the 2 names that it can keep"):
            await registry.register(registration("carol", 3), source=HERE)
        assert registry.known() == 2


async def test_who_has_a_name_that_was_reserved_later_is_told_that_it_has_it(
    tmp_path: Path,
) -> None:
    path, admin = tmp_path / "names.sqlite", registration("admin-of-it", 1)
    before, after = Registry(path=path), Registry(path=path, reserved=["admin*"])
    async with running(before):
        await before.register(admin, source=HERE)
    async with running(after):
        await after.register(admin, source=HERE)
        with pytest.raises(RequestError, match="the name is reserved"):
            await after.register(registration("admin-two", 2), source=HERE)


async def test_while_it_is_closed_nothing_is_known_and_nothing_is_denied(
    registry: Registry,
) -> None:
    alice = registration("alice", 1)
    with pytest.raises(HostError):
        registry.by_name(alice.name)
    with pytest.raises(HostError):
        registry.name_of(alice.id)
    with pytest.raises(HostError):
        await registry.register(alice, source=HERE)


# --- the operator's questions about many names ---------------------------------------------------


def _noise(path: Path, count: int) -> None:
    """A database with so many names, whose proofs do not hold."""
    keys = ClientKeys(bits=2048)
    with closing(Database(path)) as database:
        numbered = zip(range(count), keys.exponents(), strict=False)
        database.add(keys.record(f"name-{n:04}", exponent) for n, exponent in numbered)


async def test_between_two_pages_names_are_looked_up_registered_and_removed(
    tmp_path: Path,
) -> None:
    path, count = tmp_path / "names.sqlite", 2 * admin.PAGE + 1
    await asyncio.to_thread(_noise, path, count)
    registry = Registry(path=path)
    async with running(registry):
        pages = registry.survey(admin.List("NAME-*"))
        read = [await asyncio.to_thread(next, pages)]
        assert registry.by_name(Name("name-0200")) is not None
        await registry.register(registration("name-late", 1), source=HERE)
        await registry.perform(admin.Remove("name-0200"))
        read += await asyncio.to_thread(list, pages)
    listed = [msgspec.json.decode(line)["name"] for page in read for line in page.splitlines()]
    assert len(read) == 3
    assert listed == [f"name-{n:04}" for n in range(count) if n != 200]


async def test_an_audit_says_page_by_page_that_it_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "names.sqlite"
    await asyncio.to_thread(_noise, path, admin.PAGE)
    registry = Registry(path=path)
    async with running(registry):
        await registry.register(registration("with-proof", 1), source=HERE)
        faulty, sound = await asyncio.to_thread(list, registry.survey(admin.Audit()))
    assert len(faulty.splitlines()) == admin.PAGE
    assert sound == b"\n"


async def test_while_what_is_imported_is_checked_names_are_registered(tmp_path: Path) -> None:
    asked, go_on = threading.Event(), threading.Event()

    class SlowFile(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            asked.set()
            go_on.wait(10)
            return super().readline(size)

    registry = Registry(path=tmp_path / "names.sqlite")
    lines = record.to_lines([record.of(registration("alice", 1), when=0)])
    async with running(registry), asyncio.TaskGroup() as tasks:
        taking = tasks.create_task(registry.take(SlowFile(b"".join(lines))))
        await asyncio.to_thread(asked.wait)
        await registry.register(registration("bobby", 2), source=HERE)
        assert registry.by_name(Name("bobby")) is not None
        go_on.set()
        assert await taking == 1
        assert registry.by_name(Name("alice")) is not None


async def test_an_import_over_the_socket_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    registry = Registry(path=tmp_path / "names.sqlite")
    lines = b"".join(record.to_lines([record.of(registration("alice", 1), when=0)]))

    def take(content: bytes) -> bytes:
        box = control.find([tmp_path], within_s=5.0)
        assert box is not None
        return box.ask("POST", "/names/import", io.BytesIO(content))

    routes = partial(admin_api.routes, registry, tmp_path, tell_every_s=60.0)
    local = LocalServer(paths=[tmp_path / layout.CONTROL], routes=routes)
    async with running(registry), running(local):
        with pytest.raises(RequestError, match="line 2: "):
            await asyncio.to_thread(take, lines + b"{}\n")
        assert registry.known() == 0
        assert await asyncio.to_thread(take, b"\n" * 1_000_000 + lines) == b"1\n"
        assert registry.known() == 1


async def test_an_import_that_takes_long_says_how_far_it_is(tmp_path: Path) -> None:
    go_on = threading.Event()

    class Slow(Registry):
        async def take(self, file: BinaryIO) -> int:
            file.seek(3)
            await asyncio.to_thread(go_on.wait, 10)
            if await asyncio.to_thread(file.read, 1) == b"!":
                raise RequestError(400, "line 1 is wrong")
            return 7

    def take(content: bytes) -> list[bytes]:
        box = control.find([tmp_path], within_s=5.0)
        assert box is not None
        told = []
        for line in box.lines("POST", "/names/import", io.BytesIO(content)):
            told.append(line)
            go_on.set()
        return told

    routes = partial(admin_api.routes, Slow(path=tmp_path / "names"), tmp_path, tell_every_s=0.05)
    async with running(LocalServer(paths=[tmp_path / layout.CONTROL], routes=routes)):
        *far, last = await asyncio.to_thread(take, b"abc.e")
        assert msgspec.json.decode(far[0], type=admin.Reading) == admin.Reading(3, 5)
        assert last == b"7\n"
        go_on.clear()
        with pytest.raises(HostError, match="line 1 is wrong"):
            await asyncio.to_thread(take, b"abc!e")


async def test_an_import_whose_client_leaves_is_taken_all_the_same(tmp_path: Path) -> None:
    asked, go_on, taken = asyncio.Event(), threading.Event(), asyncio.Event()

    class Slow(Registry):
        async def take(self, file: BinaryIO) -> int:
            asked.set()
            await asyncio.to_thread(go_on.wait, 10)
            taken.set()
            return 7

    routes = partial(admin_api.routes, Slow(path=tmp_path / "names"), tmp_path, tell_every_s=0.01)
    socket = tmp_path / layout.CONTROL
    async with running(LocalServer(paths=[socket], routes=routes)):
        reader, writer = await asyncio.open_unix_connection(str(socket))
        writer.write(b"POST /names/import HTTP/1.1\r\nHost: box\r\nContent-Length: 1\r\n\r\n.")
        async with asyncio.timeout(10):
            await reader.readuntil(b'{"read":')
            writer.transport.abort()
            await asked.wait()
            go_on.set()
            await taken.wait()


async def test_a_survey_that_breaks_off_says_why(tmp_path: Path) -> None:
    class Failing(Registry):
        def survey(self, request: admin.Survey) -> Iterator[bytes]:
            yield b'{"name":"alice"}\n'
            raise HostError("the disk is gone")

    def read() -> Iterator[bytes]:
        box = control.find([tmp_path], within_s=5.0)
        assert box is not None
        return box.lines("POST", "/names", msgspec.json.encode(admin.List()))

    registry = Failing(path=tmp_path / "names.sqlite")
    routes = partial(admin_api.routes, registry, tmp_path)
    async with running(LocalServer(paths=[tmp_path / layout.CONTROL], routes=routes)):
        lines = await asyncio.to_thread(read)
        assert await asyncio.to_thread(next, lines) == b'{"name":"alice"}\n'
        with pytest.raises(HostError, match="the disk is gone"):
            await asyncio.to_thread(next, lines)


# --- questions in batches ------------------------------------------------------------------------


async def test_what_is_asked_while_the_thread_is_busy_is_asked_together() -> None:
    asked: list[list[int]] = []

    def double(questions: Sequence[int]) -> list[int | Exception]:
        asked.append(list(questions))
        return [ValueError(str(n)) if n == 3 else 2 * n for n in questions]

    with ThreadPoolExecutor(1) as thread:
        batches = Batches(thread, double, most=4, most_waiting=100)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(batches.run())
            answers = await asyncio.gather(  # noqa: TID251 - errors are results here
                *(batches.ask(n) for n in range(6)), return_exceptions=True
            )
            running.cancel()
    assert asked == [[0, 1, 2, 3], [4, 5]]
    assert [str(answer) for answer in answers] == ["0", "2", "4", "3", "8", "10"]


async def test_a_failure_of_all_is_told_to_each() -> None:
    def fail(_: Sequence[int]) -> list[int | Exception]:
        raise HostError("the disk is gone")

    with ThreadPoolExecutor(1) as thread:
        batches = Batches(thread, fail, most=4, most_waiting=100)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(batches.run())
            for _ in range(2):
                with pytest.raises(HostError, match="the disk is gone"):
                    await batches.ask(1)
            running.cancel()


async def test_too_many_do_not_wait() -> None:
    with ThreadPoolExecutor(1) as thread:
        batches: Batches[int, int] = Batches(thread, lambda _: [], most=4, most_waiting=2)
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(batches.ask(1)) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(HostError, match="2 others wait already"):
                await batches.ask(1)
            for task in waiting:
                task.cancel()


async def test_who_waits_when_it_ends_is_told() -> None:
    ended = threading.Event()

    def wait(questions: Sequence[int]) -> list[int | Exception]:
        ended.wait(10)
        return list(questions)

    told: list[str] = []

    async def ask(batches: Batches[int, int]) -> None:
        try:
            await batches.ask(1)
        except HostError as error:
            told.append(str(error))

    with ThreadPoolExecutor(1) as thread:
        batches = Batches(thread, wait, most=1, most_waiting=9)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(batches.run())
            for _ in range(3):
                tasks.create_task(ask(batches))
            await asyncio.sleep(0.05)
            running.cancel()
        ended.set()
        await ask(batches)
    assert told == ["it is being stopped"] * 4


# --- somebody else in the state folder -----------------------------------------------------------


def _replace(path: Path) -> None:
    other = path.with_name("other")
    Database(other).close()
    other.rename(path)


def _remove_all(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def _remove_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


def _remove_index(path: Path) -> None:
    path.with_name(f"{path.name}-shm").unlink()


@pytest.mark.parametrize("harm", [Path.unlink, _remove_all, _remove_log, _remove_index, _replace])
async def test_names_that_are_removed_from_the_disk_are_written_there_again(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    path = tmp_path / "state" / "names.sqlite"
    path.parent.mkdir()
    registry = Registry(path=path)
    alice, bobby = registration("alice", 1), registration("bobby", 2)
    async with asyncio.timeout(10), running(registry) as heard:
        await registry.register(alice, source=HERE)
        await asyncio.to_thread(harm, path)
        acknowledged = False
        while not acknowledged:  # and no answer before it is where it will be found
            with contextlib.suppress(HostError):
                await registry.register(bobby, source=HERE)
                acknowledged = True
            with contextlib.suppress(HostError):
                assert registry.by_id(alice.id) is not None
            await asyncio.sleep(0)
        killed = tmp_path / "killed"
        await asyncio.to_thread(shutil.copytree, path.parent, killed)  # as a power cut leaves it
        while "written anew with all names" not in heard.reasons[-1]:
            heard.ready.clear()
            await heard.ready.wait()
        assert registry.name_of(alice.id) == "alice"
        assert ("what was there instead" in heard.reasons[-1]) == any(
            path.parent.glob("replaced-*")
        )
    async with running(Registry(path=killed / path.name)) as heard:
        assert heard.details == ["2 names"]
        assert heard.reasons == [""]


async def test_names_that_cannot_be_written_again_are_looked_up_all_the_same(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state" / "names.sqlite"
    path.parent.mkdir()
    registry = Registry(path=path)
    async with asyncio.timeout(10), running(registry) as heard:
        await registry.register(registration("alice", 1), source=HERE)
        await asyncio.to_thread(shutil.rmtree, path.parent)
        with pytest.raises(HostError, match="was removed or replaced"):
            await registry.register(registration("bobby", 2), source=HERE)
        while "writing it anew failed" not in heard.reasons[-1]:
            heard.ready.clear()
            await heard.ready.wait()
        found = registry.by_name(Name("alice"))
        assert found is not None
        path.parent.mkdir()
        while "written anew with all names" not in heard.reasons[-1]:
            heard.ready.clear()
            with contextlib.suppress(HostError):
                await registry.register(registration("bobby", 2), source=HERE)
            await heard.ready.wait()
        assert registry.by_name(Name("alice")) == found
