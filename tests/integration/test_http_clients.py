"""The HTTP server and the clients that there are: hasty, slow, broken, hostile and very many."""

import asyncio
import contextlib
import logging
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from lanjami.errors import RequestError
from lanjami.runtime.httpd import HttpServer, json_answer
from lanjami.runtime.plain import Answer, Request
from tests.support.http_client import Client, connected, get
from tests.support.limited_server import limited_server
from tests.support.ports import free_port
from tests.support.running import running

HEAVY = b'"' + b"x" * 60_000 + b'"'
_LINUX = sys.platform == "linux"
LOOK_UP = get("/name/alice")
LAST_LOOK_UP = get("/name/alice", "Connection: close")
POST = b"POST /echo HTTP/1.1\r\nHost: box\r\nContent-Length: 4\r\n\r\nbody"


def _quick(request: Request, _client: str) -> Answer | None:
    match request.target:
        case "/name/alice":
            return Answer(200, b'{"name":"alice"}')
        case "/name/nobody":
            return Answer(404, b'{"error":"nobody"}')
        case "/heavy":
            return Answer(200, HEAVY)
        case "/bug":
            raise ZeroDivisionError
    return None


class Server:
    """The server under test, with routes that take their time."""

    def __init__(self, *, request_within_s: float = 10.0) -> None:
        self.port = free_port()
        self.go_on = asyncio.Event()
        self.asked = asyncio.Event()
        self.streams = 0
        self.service = HttpServer(
            ports=[self.port],
            routes=self._routes,
            probe="/",
            quick=[_quick],
            request_within_s=request_within_s,
        )

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.get("/name/{name}", self._name),
            web.get("/bug", self._name),
            web.get("/heavy/in/full", self._be_heavy),
            web.post("/echo", self._echo),
            web.get("/waits", self._wait),
            web.get("/stream", self._stream),
            web.get("/flood", self._stream),
            web.get("/breaks", self._break),
        ]

    async def _name(self, request: web.Request) -> web.Response:
        if request.path == "/name/nobody":
            raise RequestError(404, "nobody")
        return json_answer({"name": request.match_info.get("name", "")})

    async def _echo(self, request: web.Request) -> web.Response:
        return json_answer((await request.read()).decode())

    async def _be_heavy(self, _: web.Request) -> web.Response:
        return web.Response(body=HEAVY)

    async def _wait(self, _: web.Request) -> web.Response:
        self.asked.set()
        await self.go_on.wait()
        return json_answer("late")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        piece, every_s = (HEAVY, 0.0) if request.path == "/flood" else (b"more\n", 0.1)
        answer = web.StreamResponse()
        await answer.prepare(request)
        self.streams += 1
        try:
            while True:
                await answer.write(piece)
                await asyncio.sleep(every_s)
        finally:
            self.streams -= 1

    async def _break(self, _: web.Request) -> web.Response:
        raise ZeroDivisionError


@asynccontextmanager
async def _serving(*, request_within_s: float = 10.0) -> AsyncIterator[Server]:
    server = Server(request_within_s=request_within_s)
    async with running(server.service):
        yield server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with _serving() as server:
        yield server


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if _LINUX else 0


def _sockets_at(port: int) -> list[int]:
    """Our descriptors that are a server's at this port."""
    descriptors = [int(path.name) for path in Path("/proc/self/fd").iterdir()] if _LINUX else []
    return [number for number in descriptors if _is_at(number, port)]


def _is_at(descriptor: int, port: int) -> bool:
    with contextlib.suppress(OSError):  # what listed them is gone
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            with socket.socket(fileno=os.dup(descriptor)) as sock:
                return bool(sock.getsockname()[1:2] == (port,))
    return False


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    before = _descriptors()
    yield
    assert _descriptors() == before


# --- honest clients ------------------------------------------------------------------------------


async def test_a_connection_is_kept_from_lookup_to_lookup(server: Server) -> None:
    async with connected(server.port) as client:
        for _ in range(3):
            found = await client.ask(LOOK_UP)
            assert (found.status, found.json, found.is_quick) == (200, {"name": "alice"}, True)
        assert (await client.ask(get("/name/nobody"))).status == 404


async def test_a_connection_per_request_ends_with_its_answer(server: Server) -> None:
    async with connected(server.port) as client:
        found = await client.ask(LAST_LOOK_UP)
        assert found.is_quick
        assert found.fields["connection"] == "close"
        assert await client.rest() == b""


async def test_both_ways_give_the_same_answer(server: Server) -> None:
    for last in ([], ["Connection: close"]):
        async with connected(server.port) as one, connected(server.port) as other:
            quick = await one.ask(get("/name/alice", *last))
            full = await other.ask(get("/name/%61lice", *last))
            assert quick.is_quick
            assert not full.is_quick
            assert quick.body == full.body
            assert set(full.fields) - set(quick.fields) == {"date", "server"}
            assert quick.fields == {name: full.fields[name] for name in quick.fields}


async def test_what_is_not_plain_goes_on_in_full_and_lookups_too(server: Server) -> None:
    async with connected(server.port) as client:
        assert (await client.ask(LOOK_UP)).is_quick
        assert (await client.ask(POST)).json == "body"
        assert not (await client.ask(LOOK_UP)).is_quick
        assert (await client.ask(get("/name/bob"))).json == {"name": "bob"}


@pytest.mark.parametrize("size", [1, 7, 50, 1000])
async def test_pipelined_requests_are_answered_in_order(server: Server, size: int) -> None:
    """In segments of any size."""
    sent = get("/name/alice") + get("/name/nobody") + POST + get("/name/bob") + LAST_LOOK_UP
    async with connected(server.port) as client:
        for at in range(0, len(sent), size):
            client.send(sent[at : at + size])
            await asyncio.sleep(0)
        answers = [await client.answer() for _ in range(5)]
        assert [a.status for a in answers] == [200, 404, 200, 200, 200]
        assert [a.body for a in answers[2:]] == [b'"body"', b'{"name":"bob"}', b'{"name":"alice"}']
        assert await client.rest() == b""


async def test_a_client_of_ipv6_is_served(server: Server) -> None:
    async with connected(server.port, host="::1") as client:
        assert (await client.ask(LOOK_UP)).is_quick
        assert (await client.ask(POST)).json == "body"


@pytest.mark.parametrize("sent", [LOOK_UP, LAST_LOOK_UP, POST, LOOK_UP + POST + LOOK_UP])
async def test_who_says_no_more_still_gets_every_answer(server: Server, sent: bytes) -> None:
    async with connected(server.port) as client:
        client.send(sent)
        client.says_no_more()
        for _ in range(sent.count(b"HTTP/1.1")):
            assert (await client.answer()).status == 200
        assert await client.rest(within_s=1.0) == b""


async def test_who_says_no_more_may_wait_for_a_late_answer(server: Server) -> None:
    async with connected(server.port) as client:
        client.send(get("/waits"))
        client.says_no_more()
        await server.asked.wait()
        await asyncio.sleep(0.3)  # longer than an idle client would be kept
        server.go_on.set()
        assert (await client.answer()).json == "late"
        assert await client.rest(within_s=1.0) == b""


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /name/alice HTTP/1.0\r\n\r\n", 200),
        (get("/name/alice", "Connection: Upgrade", "Upgrade: h2c"), 200),
        (get("/name/alice?x=y"), 200),
        (get("/name/al%69ce"), 200),
        (b"GET http://box/name/alice HTTP/1.1\r\nHost: box\r\n\r\n", 200),
        (
            POST.replace(b"Content-Length: 4", b"Transfer-Encoding: chunked")[:-4] + b"0\r\n\r\n",
            200,
        ),
        (b"DELETE /name/alice HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (get("/name/..%2f..%2fetc/passwd"), 404),
        (get("/%2e%2e/%2e%2e/etc/passwd"), 404),
        (get("/../../etc/passwd"), 404),
        (POST.replace(b"4", b"200000") + b"x" * 199_995, 413),
        (POST.replace(b"4", b"4\r\nContent-Length: 4"), 400),
        (POST.replace(b"4", b"4\r\nContent-Length: 5"), 400),
        (POST.replace(b"4", b"-4"), 400),
        (POST.replace(b"4", b"4\r\nTransfer-Encoding: chunked"), 400),
        (POST.replace(b"Content-Length: 4", b"Transfer-Encoding: chunked"), 400),
        (POST.replace(b"Content-Length: 4", b"Transfer-Encoding: xchunked"), 400),
        (get("/name/" + "a" * 9_000), 400),
        (get("/name/" + "a" * 2_000_000), 400),
        (get("/name/alice", "X: " + "x" * 9_000), 400),
        (get("/name/alice", *["X: y"] * 10_000), 400),
        (get("/name/alice", "X: y" * 500_000), 400),
        (b"GET /name/al\0ice HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /name/alice HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
        (b"GET /name/alice HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        (b"GET /name/alice HTTP/9.9\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello of TLS \r\n\r\n", 400),
        (b"\0" * 10_000, 400),
    ],
)
async def test_an_unusual_request_gets_a_clear_answer(
    server: Server, sent: bytes, status: int
) -> None:
    async with connected(server.port) as client:
        answer = await client.ask(sent)
        assert answer.status == status
        assert answer.fields["content-type"].startswith("application/json")
        if status >= 400:
            assert answer.json["error"]
        if status == 400:
            assert await client.rest(within_s=3.0) == b""
    async with connected(server.port) as client:
        assert (await client.ask(LOOK_UP)).status == 200


@pytest.mark.parametrize("character", ["ä", "\x7f", "\x80", "日"])
async def test_a_path_that_is_not_ascii_harms_nobody(server: Server, character: str) -> None:
    async with connected(server.port) as client:
        assert (await client.ask(get(f"/name/{character}"))).status in (200, 400, 404)


async def test_the_head_alone_is_given_to_who_asks_for_it(server: Server) -> None:
    async with connected(server.port) as client:
        client.send(b"HEAD /name/alice HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await client.answer(has_body=False)).fields["content-length"] == "16"
        assert await client.rest() == b""


async def test_a_body_is_asked_for(server: Server) -> None:
    async with connected(server.port) as client:
        client.send(POST[:-4].replace(b"Host", b"Expect: 100-continue\r\nHost"))
        assert (await client.answer()).status == 100
        assert (await client.ask(b"body")).json == "body"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
async def test_a_body_that_is_not_packed_as_it_says_is_refused_quietly(
    server: Server, encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    for before in range(2):
        assert server.service.malformed == before
        async with connected(server.port) as client:
            client.send(POST.replace(b"Host", f"Content-Encoding: {encoding}\r\nHost".encode()))
            client.send(HEAVY)  # which must not destroy the answer
            answer = await client.answer()
            assert answer.status == 400
            assert not answer.json["success"]
            client.says_no_more()
            assert await client.rest() == b""
    assert server.service.malformed == 2
    loud = [record for record in caplog.records if record.levelno > logging.DEBUG]
    # asyncio in debug mode says how long a step took on a busy machine
    assert not [record for record in loud if "took %.3f seconds" not in record.msg]


async def test_a_bug_is_logged_and_told(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    async with connected(server.port) as client:
        answer = await client.ask(get("/breaks"))
        assert (answer.status, answer.json["error"]) == (500, "this server has a bug")
    assert "ZeroDivisionError" in caplog.text


async def test_a_quick_answer_with_a_bug_is_logged_and_given_in_full(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(server.port) as client:
        assert not (await client.ask(get("/bug"))).is_quick
    assert "no quick answer target=/bug" in caplog.text


# --- slow and silent ones ------------------------------------------------------------------------

_SLOW = {
    "silent": b"",
    "slow to begin": b"G",
    "slow with a field": LOOK_UP[:-5],
    "slow with a body": POST[:-2],
    "slow with a chunk": POST[:-4].replace(b"Content-Length: 4", b"Transfer-Encoding: chunked"),
    "slow after an answer": LOOK_UP,
    "slow after a full answer": POST,
}


@pytest.mark.parametrize("sent", _SLOW.values(), ids=_SLOW)
async def test_who_asks_too_slowly_is_closed_in_time(sent: bytes) -> None:
    async with _serving(request_within_s=0.3) as server, connected(server.port) as client:
        client.send(sent)
        began = time.monotonic()
        await client.ended(within_s=3.0)
        assert 0.25 < time.monotonic() - began < 1.5


async def test_nonsense_in_a_body_that_comes_later_ends_in_time() -> None:
    async with _serving(request_within_s=0.5) as server, connected(server.port) as client:
        client.send(_SLOW["slow with a chunk"])
        await asyncio.sleep(0.05)
        client.send(b"no size of a chunk\r\n")
        await client.ended(within_s=3.0)


async def test_slow_clients_hinder_no_other() -> None:
    _in_a_crowd()
    async with _serving(request_within_s=1.5) as server, contextlib.AsyncExitStack() as opened:
        slow = []
        for sent in [_SLOW["slow with a field"], _SLOW["slow with a body"]] * 200:
            slow.append(await opened.enter_async_context(connected(server.port)))
            slow[-1].send(sent)
        took = [await _time_of_a_lookup(server.port) for _ in range(50)]
        assert max(took) < 0.5
        began = time.monotonic()
        for client in slow:
            client.send(b"x")
            await client.ended(within_s=3.0)
        assert time.monotonic() - began < 3.5


def _in_a_crowd() -> None:
    """Asyncio's debug mode makes a crowd many times as slow."""
    asyncio.get_running_loop().set_debug(False)


async def _time_of_a_lookup(port: int) -> float:
    began = time.monotonic()
    async with connected(port) as client:
        assert (await client.ask(LAST_LOOK_UP)).status == 200
    return time.monotonic() - began


async def test_what_is_being_answered_is_never_cut() -> None:
    async with (
        _serving(request_within_s=0.3) as server,
        connected(server.port) as streamed,
        connected(server.port) as waiting,
    ):
        streamed.send(get("/stream"))
        waiting.send(get("/waits"))
        assert (await streamed.answer()).status == 200
        await asyncio.sleep(1.2)  # four times what a request may take, and two sweeps
        assert server.streams == 1
        server.go_on.set()
        assert (await waiting.answer()).json == "late"
        await waiting.ended(within_s=2.0)


@pytest.mark.parametrize("target", ["/stream", "/flood"])
async def test_a_stream_ends_some_time_after_its_client_did(target: str) -> None:
    async with _serving(request_within_s=0.3) as server, connected(server.port) as client:
        client.send(get(target))
        assert (await client.answer()).status == 200
        assert server.streams == 1
        client.says_no_more()
        async with asyncio.timeout(2.0):
            while server.streams:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("target", ["/heavy", "/heavy/in/full"])
async def test_who_never_reads_is_cut(target: str) -> None:
    """In the lane at once; in full when nothing of it was taken for as long as a request has."""
    async with _serving(request_within_s=0.5) as server:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # each comes alone
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
            with pytest.raises(ConnectionError):
                await _ask_for_ever(sock, get(target))


async def _ask_for_ever(sock: socket.socket, request: bytes) -> None:
    async with asyncio.timeout(5.0):
        while True:
            await asyncio.get_running_loop().sock_sendall(sock, request)
            await asyncio.sleep(0.001)


# --- many ----------------------------------------------------------------------------------------


async def test_five_hundred_clients_at_once_are_all_answered(server: Server) -> None:
    _in_a_crowd()
    answered = 0
    everybody_is_here = asyncio.Barrier(500)

    async def ask() -> None:
        nonlocal answered
        async with connected(server.port) as client:
            await everybody_is_here.wait()
            assert (await client.ask(LOOK_UP)).is_quick
            assert (await client.ask(POST)).json == "body"
            answered += 2

    async with asyncio.TaskGroup() as tasks:
        for _ in range(500):
            tasks.create_task(ask())
    assert answered == 1000


async def test_three_thousand_idle_clients_hinder_no_other(server: Server) -> None:
    _in_a_crowd()
    with contextlib.ExitStack() as opened:
        for _ in range(3000):
            await _idle(server.port, opened)
        assert max([await _time_of_a_lookup(server.port) for _ in range(20)]) < 0.3
        async with connected(server.port) as client:
            assert (await client.ask(POST)).json == "body"


async def _idle(port: int, opened: contextlib.ExitStack) -> socket.socket:
    sock = opened.enter_context(socket.socket())
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


@pytest.mark.parametrize("target", ["/name/alice", "/name/bob"])
async def test_a_crowd_that_leaves_at_once_is_forgotten(server: Server, target: str) -> None:
    _in_a_crowd()
    before = _descriptors()
    async with contextlib.AsyncExitStack() as opened:
        for _ in range(200):
            client = await opened.enter_async_context(connected(server.port))
            assert (await client.ask(get(target))).status == 200
    async with asyncio.timeout(2.0):
        while _descriptors() > before:
            await asyncio.sleep(0.01)


async def test_who_vanishes_in_the_middle_harms_nobody(server: Server) -> None:
    for sent in (b"", LOOK_UP[:20], LOOK_UP, POST[:-2], POST, get("/stream"), LOOK_UP * 50):
        for hears in (False, True):
            client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
            client.send(sent)
            if hears:
                await asyncio.sleep(0.02)
            client.reset()
    async with connected(server.port) as client:
        assert (await client.ask(LOOK_UP)).status == 200


# --- the end -------------------------------------------------------------------------------------


async def test_it_stops_at_once_under_load_leaves_nothing_and_runs_again() -> None:
    _in_a_crowd()
    tasks_before, descriptors_before = asyncio.all_tasks(), _descriptors()
    server = Server()
    for _ in range(2):
        clients = contextlib.AsyncExitStack()
        async with clients:
            async with running(server.service):
                for sent in (b"", b"GET", LOOK_UP, POST, POST[:-1], get("/waits"), get("/stream")):
                    for _ in range(20):
                        client = await clients.enter_async_context(connected(server.port))
                        client.send(sent)
                for target in ("/heavy/in/full", "/flood"):
                    await _never_reading(server.port, clients, get(target) * 30)
                await server.asked.wait()
                for _ in range(20):  # they are on their way when it stops
                    client = await clients.enter_async_context(connected(server.port))
                    client.send(POST)
                began = time.monotonic()
            assert time.monotonic() - began < 0.6
            assert not _sockets_at(server.port)
            assert asyncio.all_tasks() == tasks_before
            assert server.service.port() is None
        assert _descriptors() == descriptors_before


async def _never_reading(port: int, clients: contextlib.AsyncExitStack, request: bytes) -> None:
    sock = clients.enter_context(socket.socket())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    await asyncio.get_running_loop().sock_sendall(sock, request)


async def test_when_it_stops_an_answer_has_a_moment_and_who_waits_has_none() -> None:
    async with contextlib.AsyncExitStack() as opened, asyncio.TaskGroup() as tasks:
        async with _serving() as server:
            asks, idles = [await opened.enter_async_context(connected(server.port)) for _ in "12"]
            asks.send(get("/waits"))
            await idles.ask(LOOK_UP)
            await server.asked.wait()

            async def end_while_another_waits() -> None:
                assert await idles.rest() == b""
                server.go_on.set()

            tasks.create_task(end_while_another_waits())
        assert (await asks.answer()).json == "late"


# --- out of descriptors --------------------------------------------------------------------------


async def test_who_waits_longest_goes_when_the_places_are_taken() -> None:
    async with limited_server(descriptors=120) as limited:
        with contextlib.ExitStack() as opened:
            for _ in range(20):
                for _ in range(20):
                    await _idle(limited.port, opened)
                assert await _time_of_a_lookup(limited.port) < 0.5


@pytest.mark.skipif(not _LINUX, reason="reads the processor time in /proc")
async def test_without_descriptors_it_neither_spins_nor_stays_deaf() -> None:
    async with limited_server(descriptors=120) as limited:
        with contextlib.ExitStack() as opened:
            for _ in range(10):
                await _idle(limited.port, opened)
            await limited.does("take")
            assert await _time_of_a_lookup(limited.port) < 0.5, "who waits longest makes room"
            await limited.does("hog")
            for _ in range(10):
                await _idle(limited.port, opened)
            began = limited.processor_time_s()
            await asyncio.sleep(1.0)
            assert limited.processor_time_s() - began < 0.2
            await limited.does("give")
            assert await _time_of_a_lookup(limited.port) < 0.5


def test_as_many_descriptors_are_asked_for_as_the_system_grants() -> None:
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 1000));"
        "from lanjami.runtime.connections import places; print(places());"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.split() == [b"744", b"1000", b"1000"]
