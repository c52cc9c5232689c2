"""The name server on the loopback interface: real HTTP, real SQLite."""

import asyncio
import base64
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lanjami.errors import HostError
from lanjami.nameserver import admin, api
from lanjami.nameserver.names import RESERVED
from lanjami.nameserver.registry import Registry
from lanjami.runtime.httpd import HttpServer
from tests.support.ports import free_port
from tests.support.registrations import account_id, body
from tests.support.running import running, supervised

RECORDED = json.loads(Path("tests/data/name-registrations.json").read_text())


class Server:
    def __init__(self, session: aiohttp.ClientSession, registry: Registry, port: int) -> None:
        self._session = session
        self.registry = registry
        self.port = port

    async def get(self, path: str) -> tuple[int, Any]:
        async with self._session.get(f"http://127.0.0.1:{self.port}{path}") as answer:
            return answer.status, await answer.json()

    async def post(self, path: str, content: object) -> tuple[int, Any]:
        data = content if isinstance(content, bytes) else json.dumps(content)
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self._session.post(url, data=data) as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def _server(path: Path) -> AsyncIterator[Server]:
    registry, port = Registry(path=path, reserved=RESERVED), free_port()
    names = api.Api(registry)
    http = HttpServer(ports=[port], routes=names.routes, quick=[names.quick], probe="/name/lanjami")
    connector = aiohttp.TCPConnector(force_close=True)  # a connection each, as clients have
    async with (
        supervised(registry, http),
        aiohttp.ClientSession(connector=connector) as session,
    ):
        yield Server(session, registry, port)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with _server(tmp_path / "names.sqlite") as server:
        yield server


async def test_what_a_client_registers_can_be_looked_up_both_ways(server: Server) -> None:
    asked = body("alice", 1)
    assert await server.post("/name/alice", asked) == (200, {"success": True})
    status, found = await server.get("/name/alice")
    assert status == 200
    assert found["name"] == "alice"
    assert found["addr"] == account_id(1)
    assert found["signature"] == asked["signature"]
    pem = base64.b64decode(found["publickey"])
    assert pem == base64.b64decode(asked["publickey"]).rstrip(b"\0"), "newer clients refuse a NUL"
    assert await server.get(f"/addr/{account_id(1)}") == (200, {"name": "alice"})


async def test_the_rest_of_the_reference_server(server: Server) -> None:
    asked = body("alice", 1)
    await server.post("/prefix/name/alice/", asked)
    _, found = await server.get("/name/alice")
    for member in ("publickey", "signature"):
        told = await server.get(f"/name/alice/{member}")
        assert told == (200, {"name": "alice", member: found[member]})
    assert await server.get("/name/alice/owner") == (
        200,
        {"name": "alice", "owner": f"0x{asked['owner']}"},
    )
    assert await server.get(f"/addr/{account_id(1)}/publickey") == (
        200,
        {"addr": account_id(1), "publickey": found["publickey"]},
    )


async def test_what_is_answered_at_once_is_what_is_answered_at_length(server: Server) -> None:
    await server.post("/name/alice", body("alice", 1))
    ids = (account_id(1), account_id(2))
    for path in ("/name/alice", "/name/bobby", "/name/admin", *(f"/addr/{id}" for id in ids)):
        quick = await server.get(path)
        assert await server.get(path) == quick
        assert await server.get(f"{path}?at=length") == quick
    assert len({(await server.get(path))[0] for path in ("/name/alice", "/name/admin")}) == 2


async def test_a_removed_name_is_free_at_once(server: Server) -> None:
    await server.post("/name/alice", body("alice", 1))
    assert (await server.get("/name/alice"))[0] == 200
    await server.registry.perform(admin.Remove("alice"))
    assert (await server.get("/name/alice"))[0] == 404
    assert (await server.get(f"/addr/{account_id(1)}"))[0] == 404
    await server.post("/name/alice", body("alice", 2))
    assert (await server.get("/name/alice"))[1]["addr"] == account_id(2)


async def test_a_reserved_name_is_refused_as_taken(server: Server) -> None:
    status, answer = await server.post("/name/admin-of-it", body("admin-of-it", 1))
    assert status == 403
    assert answer["error"] == "the name is reserved"


async def test_a_renamed_name_is_told_without_the_proof_for_another(server: Server) -> None:
    await server.post("/name/alice", body("alice", 1))
    await server.registry.perform(admin.Rename("alice", "alicia"))
    assert (await server.get("/name/alice"))[0] == 404
    assert await server.get("/name/alicia") == (200, {"name": "alicia", "addr": account_id(1)})
    assert await server.get(f"/addr/{account_id(1)}") == (200, {"name": "alicia"})
    assert (await server.get("/name/alicia/signature"))[0] == 404


async def test_the_registrations_of_real_clients_are_taken(server: Server) -> None:
    taken = set()
    for recorded in RECORDED["registrations"]:
        status, _ = await server.post(f"/name/{recorded['name']}", recorded["body"])
        assert status == (403 if recorded["name"] in taken else 200)
        taken.add(recorded["name"])


async def test_a_client_that_lost_our_answer_asks_again(server: Server) -> None:
    for _ in range(2):
        assert await server.post("/name/alice", body("alice", 1)) == (200, {"success": True})


async def test_a_name_and_an_id_are_given_once(server: Server) -> None:
    assert (await server.post("/name/alice", body("alice", 1)))[0] == 200
    status, answer = await server.post("/name/alice", body("alice", 2))
    assert status == 403
    assert answer["addr"] == account_id(1)
    status, answer = await server.post("/name/alice2", body("alice2", 1))
    assert status == 403
    assert answer["name"] == "alice"


async def test_only_the_owner_of_the_id_gets_a_name(server: Server) -> None:
    stolen = {**body("alice", 1), "addr": account_id(2)}
    assert (await server.post("/name/alice", stolen))[0] == 401
    other_name = body("alicia", 1)
    assert (await server.post("/name/alice", other_name))[0] == 401
    unsigned = {key: text for key, text in body("alice", 1).items() if key != "signature"}
    assert (await server.post("/name/alice", unsigned))[0] == 400
    assert (await server.post("/name/alice", b"not json"))[0] == 400
    assert (await server.get("/name/alice"))[0] == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/name/alice", 404),
        ("/name/ALICE/", 404),
        ("/name/al%69ce", 404),
        ("/name/ab", 400),
        ("/name/with.dot", 400),
        ("/name/%C3%A4lice", 400),
        ("/name/..%2f..%2fetc", 400),
        ("/name/a%00b", 400),
        ("/name/" + "a" * 33, 400),
        ("/addr/" + "0" * 40, 404),
        ("/addr/0x" + "0" * 40, 404),
        ("/addr/ring:" + "A" * 40, 404),
        ("/some/prefix/name/alice", 404),
        ("/some/prefix/addr/" + "0" * 40 + "/", 404),
        ("/name/alice/publickey", 404),
        ("/name/alice/signature/", 404),
        ("/name/alice/owner", 404),
        ("/addr/" + "0" * 40 + "/publickey", 404),
        ("/name/lanjami", 400),
        ("/name/Lanjami-2", 400),
        ("/name/root", 400),
        ("/addr/" + "0" * 39, 400),
        ("/nowhere", 404),
    ],
)
async def test_what_is_not_there_and_what_cannot_be(server: Server, path: str, status: int) -> None:
    answered, answer = await server.get(path)
    assert answered == status
    assert answer["error"]


async def test_capitals_are_no_other_name(server: Server) -> None:
    await server.post("/name/alice", body("alice", 1))
    assert (await server.get("/name/ALICE"))[1]["name"] == "alice"
    assert (await server.get(f"/addr/0x{account_id(1).upper()}"))[1]["name"] == "alice"


async def test_a_body_over_16_kib_is_refused(server: Server) -> None:
    status, answer = await server.post("/name/alice", {**body("alice", 1), "more": "x" * 20_000})
    assert status == 413
    assert answer["error"]


async def test_trouble_with_the_database_is_503_and_passes(tmp_path: Path) -> None:
    path = tmp_path / "names.sqlite"
    async with _server(path) as server:
        assert (await server.post("/name/alice", body("alice", 1)))[0] == 200
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            status, answer = await server.post("/name/bobby", body("bobby", 2))
            assert status == 503
            assert "locked" in answer["error"]
            assert await server.get(f"/addr/{account_id(1)}") == (200, {"name": "alice"})
            other.execute("ROLLBACK")
        assert (await server.post("/name/bobby", body("bobby", 2)))[0] == 200


async def test_a_known_id_is_never_404_while_the_database_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "names.sqlite"
    path.write_bytes(b"this is no database, and it is long enough to be read as one" * 100)
    async with _server(path) as server:
        status, answer = await server.get(f"/addr/{account_id(1)}")
        assert status == 503
        assert answer["error"]


async def test_names_are_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "names.sqlite"
    for _ in range(2):
        async with _server(path) as server:
            assert (await server.post("/name/alice", body("alice", 1)))[0] == 200
            assert server.registry.known() == 1
    assert path.stat().st_mode & 0o777 == 0o600


async def test_two_who_want_a_name_at_the_same_moment(server: Server) -> None:
    answers = []

    async def ask(number: int) -> None:
        answers.append((await server.post("/name/alice", body("alice", number)))[0])

    async with asyncio.TaskGroup() as tasks:
        for number in range(1, 9):
            tasks.create_task(ask(number))
    assert sorted(answers) == [200] + [403] * 7


async def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "names.sqlite"
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(HostError, match="newer than this lanjami"):
        async with running(Registry(path=path)):
            pass
