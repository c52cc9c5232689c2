"""Who asks at the same moment: real HTTP, real SQLite, and the answers agree with the database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lanjami.nameserver import admin, api
from lanjami.nameserver.record import Record
from lanjami.nameserver.registry import Registry
from lanjami.runtime.httpd import HttpServer
from tests.support.asker import Asker
from tests.support.ports import free_port
from tests.support.registrations import ClientKeys
from tests.support.running import supervised

CONTESTS = 1000
AT_ONCE = 5  # contests: one may be in a commit while others wait for the next

Body = dict[str, str]
Answer = tuple[int, Any]


class Rivals:
    """Two who ask at the same moment, each over a connection of its own."""

    def __init__(self, port: int) -> None:
        self.askers = Asker(port), Asker(port)

    async def ask(self, *bodies: tuple[str, Body]) -> list[Answer]:
        """What each is told who posts a body to register a name."""
        async with asyncio.TaskGroup() as tasks:
            asked = [
                tasks.create_task(asker.post(f"/name/{name}", body))
                for asker, (name, body) in zip(self.askers, bodies, strict=True)
            ]
        return [task.result() for task in asked]

    async def look_up(self, name: str, id: str) -> tuple[Answer, Answer]:
        """What is told of a name, and of an ID."""
        first, second = self.askers
        return await first.get(f"/name/{name}"), await second.get(f"/addr/{id}")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[Registry, int]]:
    registry, port = Registry(path=tmp_path / "names.sqlite"), free_port()
    names_api = api.Api(registry)
    http = HttpServer(
        ports=[port], routes=names_api.routes, quick=[names_api.quick], probe="/name/-"
    )
    async with supervised(registry, http):
        yield registry, port


@pytest.fixture(scope="module")
def keys() -> ClientKeys:
    return ClientKeys(bits=2048)


async def test_of_two_who_want_a_name_exactly_one_gets_it_a_thousand_times(
    server: tuple[Registry, int], keys: ClientKeys
) -> None:
    registry, port = server
    winners: dict[str, str] = {}
    exponents = keys.exponents()

    async def compete(name: str, rivals: Rivals) -> None:
        bodies = [keys.body(name, next(exponents)) for _ in range(2)]
        answers = await rivals.ask(*((name, body) for body in bodies))
        assert sorted(status for status, _ in answers) == [200, 403]
        won, lost = bodies if answers[0][0] == 200 else bodies[::-1]
        refusal = answers[0][1] if answers[0][0] == 403 else answers[1][1]
        assert (refusal["error"], refusal["addr"]) == ("the name is taken", won["addr"])
        (status, found), named = await rivals.look_up(name, won["addr"])
        assert (status, found["addr"], found["signature"]) == (200, won["addr"], won["signature"])
        assert named == (200, {"name": name})
        assert (await rivals.askers[0].get(f"/addr/{lost['addr']}"))[0] == 404
        winners[name] = won["addr"]

    await _run_contests(port, compete)
    assert await _kept(registry) == winners
    assert len(winners) == CONTESTS


async def test_of_two_names_that_an_id_wants_it_gets_exactly_one(
    server: tuple[Registry, int], keys: ClientKeys
) -> None:
    registry, port = server
    winners: dict[str, str] = {}
    exponents = keys.exponents()

    async def compete(name: str, rivals: Rivals) -> None:
        names, exponent = (name, f"{name}-too"), next(exponents)
        wanted = [(name, keys.body(name, exponent)) for name in names]
        answers = await rivals.ask(*wanted)
        assert sorted(status for status, _ in answers) == [200, 403]
        won, lost = names if answers[0][0] == 200 else names[::-1]
        refusal = answers[0][1] if answers[0][0] == 403 else answers[1][1]
        assert (refusal["error"], refusal["name"]) == ("the ID has a name", won)
        id = wanted[0][1]["addr"]
        (status, found), named = await rivals.look_up(won, id)
        assert (status, found["addr"], named) == (200, id, (200, {"name": won}))
        assert (await rivals.askers[0].get(f"/name/{lost}"))[0] == 404
        winners[won] = id

    await _run_contests(port, compete, times=CONTESTS // 5)
    assert await _kept(registry) == winners


async def test_who_asks_twice_at_once_is_told_yes_twice(
    server: tuple[Registry, int], keys: ClientKeys
) -> None:
    registry, port = server
    asked: dict[str, str] = {}
    exponents = keys.exponents()

    async def compete(name: str, rivals: Rivals) -> None:
        body = keys.body(name, next(exponents))
        answers = await rivals.ask((name, body), (name, body))
        assert answers == [(200, {"success": True})] * 2
        asked[name] = body["addr"]

    await _run_contests(port, compete, times=CONTESTS // 5)
    assert await _kept(registry) == asked


async def _run_contests(
    port: int, compete: Callable[[str, Rivals], Awaitable[None]], *, times: int = CONTESTS
) -> None:
    names = (f"name-{number}" for number in range(times))

    async def one_after_the_other() -> None:
        rivals = Rivals(port)
        try:
            for name in names:
                await compete(name, rivals)
        finally:
            for asker in rivals.askers:
                asker.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(one_after_the_other())


async def _kept(registry: Registry) -> dict[str, str]:
    """The names in the database and their IDs; each is there once."""
    pages = await asyncio.to_thread(list, registry.survey(admin.List()))
    records = msgspec.json.Decoder(Record).decode_lines(b"".join(pages))
    kept: dict[str, str] = {record.name: record.id for record in records}
    assert len(records) == len(kept) == len(set(kept.values())) == registry.known()
    return kept
