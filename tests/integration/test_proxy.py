"""The DHT proxy: every request beside Debian's, real clients of it, and very many of them."""

import asyncio
import base64
import json
import os
import shutil
import socket
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lanjami import layout
from lanjami.dhtnode import policy, proxy_api, proxy_service, proxy_state
from lanjami.dhtnode import value as values
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.events import Came, Done
from lanjami.dhtnode.info import Info
from lanjami.dhtnode.proxy import Notice
from lanjami.dhtnode.proxy_service import Proxy
from lanjami.dhtnode.streams import WRITE_WITHIN_S, Streams, Waiting
from lanjami.dhtnode.value import Value
from lanjami.dhtnode.value_json import PushAddress, Put, write
from lanjami.dhtnode.webpush import parse_topic
from tests.support.dht_peers import debian, put_late, wheel
from tests.support.dht_values import sha1, signed
from tests.support.ports import free_port
from tests.support.proxy import Client, Said, client, debians, ours
from tests.support.running import running

with_debian = pytest.mark.skipif(shutil.which("dhtnode") is None, reason="dhtnode is Debian's")

KEY = sha1("where phones meet").hex()
PATHS = (f"/key/{KEY}", f"/{KEY}")
TEXT = {"id": "5", "data": base64.b64encode(b"hello").decode(), "type": 3, "utype": "text/plain"}
PHONE = {"key": "http://10.0.0.9/up", "client_id": "alice", "session_id": "s1"}
ICE_CANDIDATES = 5  # the type that lives shortest
DEADLINE_S = 20.0  # a client that only says it will ask no more is let go after ten


def _port() -> int:
    return free_port(socket.SOCK_DGRAM)


@asynccontextmanager
async def _pair(state: Path) -> AsyncIterator[tuple[Client, Client]]:
    """Our proxy and Debian's, in one DHT."""
    async with (
        ours(state) as box,
        debians(_port(), bootstrap=box.dht) as reference,
        client(box.http) as us,
        client(reference) as them,
    ):
        async with asyncio.timeout(DEADLINE_S):
            while not (await them.ask("GET", "/")).lines[0]["ipv4"]["good"]:
                await asyncio.sleep(0.05)
        yield us, them


def _ids(said: Said) -> set[str]:
    return {line["id"] for line in said.lines}


# --- beside the reference -----------------------------------------------------------------------


@with_debian
async def test_every_answer_is_the_reference_s(tmp_path: Path) -> None:
    signed_text = json.loads(write(signed("alice", 7, data=b"signed", user_type="x")))
    secret = {"id": "8", "cypher": base64.b64encode(bytes(300)).decode(), "prio": 1}
    requests: list[tuple[str, str, object]] = [
        ("GET", "/key/nothing-here", None),
        ("GET", f"/key/{'0' * 40}", None),
        *(("OPTIONS", path, None) for path in PATHS[1:]),
        ("GET", f"/key/{KEY}/options", None),
        *(("POST", path, None) for path in PATHS),
        *(("POST", path, TEXT) for path in PATHS),
        ("POST", f"/key/{KEY}", {**TEXT, "id": 6}),
        ("POST", f"/key/{KEY}", signed_text),
        ("POST", f"/key/{KEY}", secret),
        ("POST", f"/key/{KEY}", {**TEXT, "id": "9", "permanent": True}),
        ("POST", f"/key/{KEY}", {**TEXT, "id": "9", "permanent": True}),
        ("POST", f"/key/{KEY}", {**TEXT, "id": "10", "permanent": PHONE}),
        *(("SUBSCRIBE", path, {**PHONE, "key": path}) for path in PATHS),
        *(("SUBSCRIBE", path, {**PHONE, "key": path, "refresh": True}) for path in PATHS),
        ("SUBSCRIBE", f"/key/{KEY}", {"client_id": "alice"}),
        *(("UNSUBSCRIBE", path, {**PHONE, "key": path}) for path in PATHS),
        ("UNSUBSCRIBE", f"/key/{KEY}", PHONE),
    ]
    async with _pair(tmp_path) as (us, them):
        for request in requests:
            ours_said, theirs = await us.ask(*request), await them.ask(*request)
            assert (ours_said.status, ours_said.lines) == (theirs.status, _plain(theirs)), request
            for name, value in theirs.headers.items():
                if name not in {"Connection", "Content-Length", "Server", "Transfer-Encoding"}:
                    assert ours_said.headers[name] == value, request
        for path in PATHS:
            found, theirs = await us.ask("GET", path), await them.ask("GET", path)
            assert found.headers["Transfer-Encoding"] == theirs.headers["Transfer-Encoding"]
            assert _sorted(found) == _sorted(theirs)
            assert _ids(found) == {"5", "6", "7", "8", "9", "10"}


def _sorted(said: Said) -> list[Any]:
    return sorted(_plain(said), key=lambda line: int(line["id"]))


def _plain(said: Said) -> list[Any]:
    """What is said, without the zero that the reference leaves behind a key until 2026."""
    for line in said.lines:
        if isinstance(line, dict) and "owner" in line:
            line["owner"] = line["owner"].rstrip("\0")
    return said.lines


@with_debian
async def test_the_node_s_info_has_all_members_of_the_reference_s(tmp_path: Path) -> None:
    async with _pair(tmp_path) as (us, them):
        for path in ("/", "/node/info"):
            found, theirs = await us.ask("GET", path), await them.ask("GET", path)
            assert _shape(theirs.lines[0]) <= _shape(found.lines[0])
            assert found.lines[0]["ipv4"]["good"] == 1
            assert found.lines[0]["public_ip"] == "127.0.0.1"
        found, theirs = await us.ask("GET", "/node/stats"), await them.ask("GET", "/node/stats")
        assert _shape(theirs.lines[0]) <= _shape(found.lines[0])


def _shape(told: dict[str, Any], *, inside: str = "") -> set[str]:
    """The paths of an object's members, with their types."""
    shape = set()
    for name, value in told.items():
        if isinstance(value, dict):
            shape |= _shape(value, inside=f"{inside}{name}.")
        else:
            shape.add(f"{inside}{name} {type(value).__name__}")
    return shape


@with_debian
@pytest.mark.parametrize("listener", ["ours", "theirs"])
async def test_a_listen_tells_what_the_reference_tells(tmp_path: Path, listener: str) -> None:
    async with _pair(tmp_path) as pair:
        us, them = pair if listener == "ours" else pair[::-1]
        await us.ask("POST", f"/key/{KEY}", TEXT)
        async with us.listen(KEY) as heard:
            assert heard.answer.headers["Content-Type"] == "application/json"
            assert heard.answer.headers["Transfer-Encoding"] == "chunked"
            assert heard.answer.headers["Access-Control-Allow-Origin"] == "*"
            assert await heard.line() == TEXT
            await them.ask("POST", f"/key/{KEY}", {**TEXT, "id": "6"})
            assert await heard.line() == {**TEXT, "id": "6"}


@with_debian
async def test_what_is_over_goes_whichever_make_kept_it(tmp_path: Path) -> None:
    """Values that live for a minute, put when five seconds of it are left: one at our node and one
    at Debian's. Who listens at either proxy hears of both, that they came and that they went."""
    key = sha1("where values end")
    async with (
        ours(tmp_path) as box,
        debians(dht := _port(), bootstrap=box.dht) as reference,
        client(box.http) as us,
        client(reference) as them,
        us.listen(key.hex()) as ours_heard,
        them.listen(key.hex()) as theirs_heard,
    ):
        for id, keeper in ((1, box.dht), (2, dht)):
            value = values.make(id, b"candidates", type=ICE_CANDIDATES)
            await put_late(keeper, key, value, age_s=int(policy.life_s(ICE_CANDIDATES)) - 5)
        for heard in (ours_heard, theirs_heard):
            came = [await heard.line(), await heard.line()]
            went = [await heard.line(), await heard.line()]
            assert {line["id"] for line in came} == {"1", "2"}
            assert not any("expired" in line for line in came)
            assert {line["id"] for line in went} == {"1", "2"}
            assert all(line["expired"] is True for line in went)
        for proxy in (us, them):
            assert (await proxy.ask("GET", f"/key/{key.hex()}")).lines == []


# --- what only we promise -----------------------------------------------------------------------


async def test_a_box_alone_serves(tmp_path: Path) -> None:
    async with ours(tmp_path) as box, client(box.http) as us:
        said = (await us.ask("GET", "/")).lines[0]
        assert said["ipv4"]["good"] + said["ipv6"]["good"] == 1, "else a client stays away"
        assert (await us.ask("POST", f"/key/{KEY}", TEXT)).status == 200
        assert (await us.ask("GET", f"/key/{KEY}")).lines == [TEXT]
        listed = await us.ask("GET", "/proxyList")
        assert listed.lines == [f"http://127.0.0.1:{box.http}"]
        assert (
            said["node_id"] == (await us.ask("GET", "/node/stats")).lines[0]["nodeInfo"]["node_id"]
        )


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", f"/key/{KEY}", b"[]", 400),
        ("POST", f"/key/{KEY}", b'{"data": "%"}', 400),
        ("POST", f"/key/{KEY}", b'{"data": "' + b"A" * 140_000 + b'"}', 413),
        ("POST", f"/key/{KEY}", b'{"type": 8, "data": "AAAA"}', 502),
        ("SUBSCRIBE", f"/key/{KEY}", b"{", 400),
        (
            "SUBSCRIBE",
            f"/key/{KEY}",
            b'{"key": "x", "platform": "unifiedpush", "topic": "a|b"}',
            400,
        ),
        ("UNSUBSCRIBE", f"/key/{KEY}", b"{}", 400),
        ("POST", "/node/pingPush", b"{}", 400),
        ("DELETE", f"/key/{KEY}", b"", 405),
        ("GET", f"/{KEY[:39]}", b"", 404),
        ("GET", "/name/alice", b"", 404),
    ],
)
async def test_what_is_refused(
    tmp_path: Path, method: str, path: str, body: bytes, status: int
) -> None:
    async with ours(tmp_path) as box, client(box.http) as us:
        said = await us.ask(method, path, raw=body)
        assert said.status == status
        assert isinstance(said.lines[0], dict)
        assert (await us.ask("GET", "/node/stats")).lines[0]["listenCount"] == 0


async def test_it_serves_on_more_ports_and_says_which_are_taken(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as other:
        taken = other.getsockname()[1]
        more = [free_port(), free_port(), taken]
        async with ours(tmp_path, also=more) as box:
            for port in (box.http, *more[:2]):
                async with client(port) as us:
                    assert (await us.ask("GET", "/")).lines[0]["public_ip"] == "127.0.0.1"
                    assert (await us.ask("GET", "/proxyList")).lines == [f"http://127.0.0.1:{port}"]
            assert f"TCP port {taken}" in box.http_reasons[-1]


@pytest.mark.parametrize(
    ("asked", "listed"),
    [
        ("lanjami.local", "http://lanjami.local"),
        ("dhtproxy.jami.net:80", "http://dhtproxy.jami.net"),
        ("[::1]", None),
        ("[fd00::1]:8080", None),
        ("<b>", None),
    ],
)
async def test_by_ipv6_the_list_has_the_name_that_was_asked_for(
    tmp_path: Path, asked: str, listed: str | None
) -> None:
    """A client finds the hosts `http`, `fd00` and more in the URL of an IPv6 address."""
    async with ours(tmp_path) as box:
        reader, writer = await asyncio.open_connection("::1", box.http)
        writer.write(
            f"GET /proxyList HTTP/1.1\r\nHost: {asked}\r\nConnection: close\r\n\r\n".encode()
        )
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        if listed is None:
            assert " 40" in head.splitlines()[0]
            assert "::" not in body
        else:
            assert body == f"{listed}:{box.http}\n"


async def test_a_browser_that_asks_is_given_a_page(tmp_path: Path) -> None:
    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(text="a page")

    async with ours(tmp_path, page=page) as box, client(box.http) as us:
        assert (await us.ask("GET", "/", accept="text/html,*/*;q=0.8")).lines == ["a page"]
        assert "node_id" in (await us.ask("GET", "/")).lines[0]
        assert "node_id" in (await us.ask("GET", "/node/info", accept="text/html")).lines[0]


async def test_the_node_s_info_is_the_same_at_once_and_from_the_full_server(tmp_path: Path) -> None:
    async with ours(tmp_path) as box, client(box.http) as us:
        quick, full = await us.ask("GET", "/node/info"), await us.ask("GET", "/node/info?in=full")
        assert "Server" in full.headers
        assert "Server" not in quick.headers
        assert quick.lines == full.lines
        assert quick.headers == {name: full.headers[name] for name in quick.headers}


async def test_a_forged_value_is_not_put(tmp_path: Path) -> None:
    forged = json.loads(write(signed("alice", 7, data=b"signed"))) | {"data": "Zm9yZ2Vk"}
    async with ours(tmp_path) as box, client(box.http) as us:
        said = await us.ask("POST", f"/key/{KEY}", forged)
        assert (said.status, said.lines) == (502, [{"err": "Put failed"}])
        assert (await us.ask("GET", f"/key/{KEY}")).lines == []


@pytest.mark.parametrize("size", [0, 10, 3000, values.LARGEST])
async def test_values_of_any_size_pass(tmp_path: Path, size: int) -> None:
    put = {"id": "1", "type": 0, "data": base64.b64encode(bytes(size)).decode()}
    async with ours(tmp_path) as box, client(box.http) as us:
        assert (await us.ask("POST", f"/key/{KEY}", put)).lines == [put]
        assert (await us.ask("GET", f"/key/{KEY}")).lines == [put]


async def test_a_value_without_an_id_is_given_one_once(tmp_path: Path) -> None:
    async with ours(tmp_path) as box, client(box.http) as us:
        put = {"data": "AAAA", "permanent": {**PHONE, "platform": "android"}}
        first, again = [(await us.ask("POST", f"/key/{KEY}", put)).lines for _ in range(2)]
        assert first == again
        assert int(first[0]["id"]) > 0
        other = (await us.ask("POST", f"/key/{KEY}", {"data": "AAAA", "permanent": True})).lines
        assert other != first, "of another client"
        stats = (await us.ask("GET", "/node/stats")).lines[0]
        assert (stats["totalPermanentPuts"], stats["putCount"]) == (2, 1)


async def test_the_node_learns_whose_a_value_is(tmp_path: Path) -> None:
    node, alice = _Asked(), Endpoint(bytes([10, 0, 0, 9]), 4000)
    proxy = Proxy(node=node, push=lambda _: None, state=tmp_path)
    async with running(proxy):
        for is_permanent in (False, True):
            put = Put(values.make(5, b"hello"), is_permanent, None)
            await proxy.put(bytes(20), put, source=alice)
    assert node.sources == [alice.ip, alice.ip]


class _Asked:
    """Stands for a node; it has `sources` of what it was to put."""

    def __init__(self) -> None:
        self.sources: list[bytes] = []
        self.up = False

    def is_up(self) -> bool:
        return self.up

    def info(self) -> Info | None:
        return None

    def getting(self, key: bytes) -> AbstractContextManager[Waiting]:
        return nullcontext(Waiting())

    listening = getting

    @contextmanager
    def keeping(self, key: bytes, value: Value, *, source: bytes) -> Iterator[Waiting]:
        self.sources.append(source)
        events = Waiting()
        events.put_nowait(Done(1, ok=True))
        yield events

    async def put(self, key: bytes, value: Value, *, source: bytes) -> bool:
        with self.keeping(key, value, source=source):
            return True


async def test_a_listen_ends_with_what_is_no_chunk_when_the_node_goes(tmp_path: Path) -> None:
    """A client takes a whole answer for the last word, and would be deaf from then on."""
    async with ours(tmp_path) as box:
        reader, writer = await asyncio.open_connection("127.0.0.1", box.http)
        writer.write(f"GET /key/{KEY}/listen HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b"Transfer-Encoding: chunked" in await reader.readuntil(b"\r\n\r\n")
        box.proxy.streams.end()
        async with asyncio.timeout(DEADLINE_S):
            assert await reader.read() == b"lanjami ends this stream\r\n"
        writer.close()


async def test_while_the_node_is_down_clients_are_told_to_come_back(tmp_path: Path) -> None:
    async with ours(tmp_path) as box, client(box.http) as us:
        pass
    async with AsyncExitStack() as opened:
        # the HTTP server and the proxy stand; their node never ran
        box = await opened.enter_async_context(ours(tmp_path, has_node=False))
        us = await opened.enter_async_context(client(box.http))
        for request in (
            ("GET", "/"),
            ("GET", "/node/stats"),
            ("GET", f"/key/{KEY}"),
            ("GET", f"/key/{KEY}/listen"),
            ("POST", f"/key/{KEY}", TEXT),
        ):
            assert (await us.ask(*request)).status == 503, request
        assert len(box.proxy.streams) == 0


async def test_a_proxy_proves_nothing_while_its_node_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_service, "SWEEP_S", 0.01)
    node = _Asked()
    async with running(Proxy(node=node, push=lambda _: None, state=tmp_path)) as heard:
        assert (heard.reasons[-1], heard.proofs[-1]) == ("", False), "it may still come"
        for is_up in (True, False, True):
            node.up = is_up
            async with asyncio.timeout(5):
                while heard.proofs[-1] != is_up:
                    await asyncio.sleep(0.01)
            assert heard.reasons[-1] == ("" if is_up else "the DHT node behind it is not up")


async def test_five_hundred_listen_and_are_all_told(tmp_path: Path) -> None:
    async with ours(tmp_path) as box, client(box.http) as us, AsyncExitStack() as opened:
        keys = [sha1(f"inbox {number}").hex() for number in range(500)]
        heard = [await opened.enter_async_context(us.listen(key)) for key in keys]
        assert len(box.proxy.streams) == 500
        for key in keys:
            assert (await us.ask("POST", f"/key/{key}", TEXT)).status == 200
        for one in heard:
            assert await one.line() == TEXT
        await opened.aclose()
        async with asyncio.timeout(DEADLINE_S):
            while len(box.proxy.streams):
                await asyncio.sleep(0.05)
        info = box.node.info()
        assert info is not None
        assert info.operations == 0, "the node listens for nobody"


async def test_a_client_that_vanishes_is_noticed(tmp_path: Path) -> None:
    async with ours(tmp_path) as box:
        reader, writer = await asyncio.open_connection("127.0.0.1", box.http)
        writer.write(f"GET /key/{KEY}/listen HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        assert len(box.proxy.streams) == 1
        writer.transport.abort()
        async with asyncio.timeout(DEADLINE_S):
            while len(box.proxy.streams):
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("path", [f"/key/{KEY}/listen", f"/key/{KEY}"])
async def test_a_client_that_does_not_read_holds_one_value_at_a_time(
    tmp_path: Path, path: str
) -> None:
    value = base64.b64encode(bytes(values.LARGEST)).decode()
    async with ours(tmp_path) as box, client(box.http) as us, AsyncExitStack() as opened:
        for id in range(1, 51):
            await us.ask("POST", f"/key/{KEY}", {"id": str(id), "data": value})
        tracemalloc.start()
        opened.callback(tracemalloc.stop)
        before, _ = tracemalloc.get_traced_memory()
        for _again in range(5):
            sock = opened.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, ("127.0.0.1", box.http))
            await loop.sock_sendall(sock, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert await loop.sock_recv(sock, 15) == b"HTTP/1.1 200 OK"
        assert (await us.ask("GET", f"/key/{KEY}")).status == 200
        after, _ = tracemalloc.get_traced_memory()
        assert after - before < 5 * 4 * len(value), "of 50 that each is told"


async def test_where_memory_is_short_who_takes_nothing_for_longest_is_cut_off() -> None:
    streams = Streams(most_unwritten=1000)
    loop = asyncio.get_running_loop()
    with ExitStack() as opened:
        first, second, third = [
            opened.enter_context(streams.opened(transport, Waiting(), source=b"phone"))
            for transport in [await _transport(opened, loop) for _ in range(3)]
        ]
        with streams.writing(first, 400, now=0.0):
            pass
        for stream in (second, first, third):
            opened.enter_context(streams.writing(stream, 400, now=1.0))
        closing = [stream.transport.is_closing() for stream in (first, second, third)]
        assert closing == [False, True, False]


async def test_where_too_much_waits_to_be_told_who_has_most_to_hear_is_cut_off() -> None:
    streams = Streams(most_untold=1000)
    loop = asyncio.get_running_loop()
    with ExitStack() as opened:
        some, most, none = [
            opened.enter_context(streams.opened(transport, Waiting(), source=b"phone"))
            for transport in [await _transport(opened, loop) for _ in range(3)]
        ]
        large = Came(0, (values.make(1, bytes(400)),))
        for stream in (some, most, most):
            stream.events.put_nowait(large)
        most.events.get_nowait()
        streams.sweep(now=1.0)
        assert not most.transport.is_closing(), "what was taken does not wait"
        for _again in range(2):
            most.events.put_nowait(large)
        streams.sweep(now=2.0)
        closing = [stream.transport.is_closing() for stream in (some, most, none)]
        assert closing == [False, True, False]


async def test_who_takes_nothing_for_a_minute_is_cut_off_and_its_handler_woken() -> None:
    streams = Streams()
    with ExitStack() as opened:
        transport = await _transport(opened, asyncio.get_running_loop())
        stream = opened.enter_context(streams.opened(transport, Waiting(), source=b"phone"))
        streams.sweep(now=1e9)
        assert not transport.is_closing(), "nothing is to be told"
        opened.enter_context(streams.writing(stream, 400, now=1.0))
        streams.sweep(now=1.0 + WRITE_WITHIN_S)
        assert not transport.is_closing()
        streams.sweep(now=2.0 + WRITE_WITHIN_S)
        assert transport.is_closing()
        assert isinstance(stream.events.get_nowait(), Done)


async def _transport(opened: ExitStack, loop: asyncio.AbstractEventLoop) -> asyncio.Transport:
    ours, theirs = socket.socketpair()
    opened.enter_context(theirs)
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    opened.callback(transport.close)
    return transport


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (KEY, bytes.fromhex(KEY)),
        (KEY.upper(), bytes.fromhex(KEY)),
        (KEY + "more", bytes.fromhex(KEY)),
        ("hello", sha1("hello")),
        ("0" * 40, sha1("0" * 40)),
        ("g" * 40, sha1("g" * 40)),
        ("ä", sha1("ä")),
    ],
)
def test_a_key_is_read_as_the_reference_reads_it(text: str, key: bytes) -> None:
    assert proxy_api.parse_key(text) == key


@pytest.mark.parametrize(
    ("accept", "is_browser"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
    ],
)
def test_a_browser_is_told_from_a_client(accept: str, is_browser: bool) -> None:  # noqa: FBT001
    assert proxy_api.is_browser(accept) == is_browser


# --- real clients -------------------------------------------------------------------------------


@with_debian
async def test_debians_client_puts_gets_and_hears_through_us(tmp_path: Path) -> None:
    async with (
        ours(tmp_path) as box,
        debian(port=_port(), proxy=f"127.0.0.1:{box.http}") as phone,
        debian(port=_port(), bootstrap=f"127.0.0.1:{box.dht}") as computer,
    ):
        await phone.joined()
        await computer.joined()
        await phone.say("l lobby", "Listening, token")
        await computer.say("p lobby from-the-computer", "Put: success")
        await phone.printed('data.text/plain.:"from-the-computer"')
        await computer.say("l office", "Listening, token")
        for command in ("p", "pp", "s"):
            await phone.say(f"{command} office by-{command}", "Put( signed)?: success")
            await computer.printed(f'data.text/plain.:"by-{command}"')
        found = await computer.say("g office", "Get: completed")
        assert found.string.count("Value[id:") == 3
        await phone.say("g office", "signed .v0.*Get: completed")
        assert box.proxy.orders.permanent == 2, "its certificate, too"


@with_debian
async def test_debians_client_comes_back_after_a_restart_of_the_box(tmp_path: Path) -> None:
    http = free_port()
    async with ours(tmp_path, http=http) as box:
        pass
    async with AsyncExitStack() as kept:
        async with ours(tmp_path, http=http) as box:
            phone = await kept.enter_async_context(debian(port=_port(), proxy=f"127.0.0.1:{http}"))
            await phone.joined()
            await phone.say("l lobby", "Listening, token")
            await phone.say("pp home here-i-am", "Put: success")
        async with ours(tmp_path, http=http) as box, client(http) as us:
            # it looks once a minute whether its proxy is there
            async with asyncio.timeout(75):
                while not len(box.proxy.streams):
                    await asyncio.sleep(0.1)
            assert box.proxy.orders.permanent == 2, "its certificate, too"
            assert (await us.ask("GET", "/key/home")).lines[0]["utype"] == "text/plain"
            await us.ask("POST", "/key/lobby", TEXT)
            await phone.printed('data.text/plain.:"hello"')


async def test_the_wheel_meets_a_client_of_the_proxy(tmp_path: Path) -> None:
    async with ours(tmp_path) as box, client(box.http) as us, wheel(identity=True) as computer:
        await computer.joined("127.0.0.1", box.dht)
        key = sha1("lobby").hex()
        async with us.listen(key) as heard:
            await computer.ask("put_encrypted", "lobby", 3, 40)
            await computer.ask("put_signed", "lobby", 4, 600)
            lines = {line["id"]: line for line in [await heard.line(), await heard.line()]}
            assert "cypher" in lines["3"]
            assert lines["4"]["owner"].startswith("-----BEGIN PUBLIC KEY-----\n")
        put = {"id": "9", "type": 0, "data": base64.b64encode(b"phone").decode()}
        await us.ask("POST", f"/key/{key}", put)
        assert (await computer.got("lobby"))[9] == b"phone"


# --- clients that sleep -------------------------------------------------------------------------


async def test_a_subscriber_is_told_and_a_restart_does_not_end_it(tmp_path: Path) -> None:
    told: asyncio.Queue[Notice] = asyncio.Queue()
    phone = {**PHONE, "platform": "unifiedpush"}
    async with ours(tmp_path, push=told.put_nowait) as box, client(box.http) as us:
        assert (await us.ask("SUBSCRIBE", f"/key/{KEY}", phone)).lines == [{}]
        await us.ask("POST", f"/key/{KEY}", TEXT)
        assert await _ids_told(told) == "5"
        assert (await us.ask("SUBSCRIBE", f"/key/{KEY}", phone)).lines == [TEXT]
    async with ours(tmp_path, push=told.put_nowait) as box, client(box.http) as us:
        assert await _ids_told(told) == "5", "again, as it may have missed it"
        await us.ask("POST", f"/key/{KEY}", {**TEXT, "id": "6"})
        assert await _ids_told(told) == "6"
        await us.ask("UNSUBSCRIBE", f"/key/{KEY}", phone)
        async with asyncio.timeout(DEADLINE_S):
            while (await us.ask("GET", "/node/stats")).lines[0]["nodeInfo"]["ops"]:
                await asyncio.sleep(0.05)
        await us.ask("POST", f"/key/{KEY}", {**TEXT, "id": "7"})
        assert told.empty()
        assert (await us.ask("POST", "/node/pingPush", phone)).lines == [{}]
        assert (await told.get()).body == {"to": "alice", "pong": True}


async def test_orders_are_on_the_disk_soon_after_a_change_and_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy(node=_Asked(), push=lambda _: None, state=tmp_path, save_after_s=0.01)
    file, push = tmp_path / layout.PROXY_ORDERS, PushAddress("http://10.0.0.9/up", "alice")
    subscribe = partial(proxy.subscribe, push=push, source=Endpoint(bytes([10, 0, 0, 9]), 4000))
    async with running(proxy):
        for key in (sha1("first"), sha1("second"), sha1("first")):
            subscribe(key)
            async with asyncio.timeout(DEADLINE_S):
                while not file.exists():
                    await asyncio.sleep(0.01)
            file.unlink()
            await asyncio.sleep(0.2)  # in which what is written always would be there again
            assert not file.exists()
    assert not file.exists(), "nor at the end"
    async with running(proxy):
        proxy.unsubscribe(sha1("first"), push)
    assert file.exists()
    file.unlink()
    monkeypatch.setattr(time, "time", lambda: 1e9)
    async with running(proxy):
        pass
    assert file.exists(), "ends are in the time of the clock, which was set"


async def test_an_end_while_orders_are_written_leaves_a_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    began, sync = threading.Event(), os.fsync

    def slow_sync(file: int) -> None:
        began.set()
        time.sleep(0.2)  # as a card does
        sync(file)

    monkeypatch.setattr(os, "fsync", slow_sync)
    proxy = Proxy(node=_Asked(), push=lambda _: None, state=tmp_path, save_after_s=0.01)
    async with running(proxy):
        push, source = PushAddress("http://10.0.0.9/up", "alice"), Endpoint(bytes(4), 4000)
        proxy.subscribe(sha1("inbox"), push, source=source)
        assert await asyncio.to_thread(began.wait, DEADLINE_S)
    assert not caplog.text
    data = (tmp_path / layout.PROXY_ORDERS).read_bytes()
    assert len(proxy_state.unpack(data, now=0.0, unix_time=0.0)) == 1


async def _ids_told(told: "asyncio.Queue[Notice]") -> str:
    async with asyncio.timeout(DEADLINE_S):
        notice = await told.get()
    assert (notice.body["key"], notice.body["to"], notice.body["s"]) == (KEY, "alice", "s1")
    assert parse_topic(notice.to.topic) is None
    return str(notice.body["ids"])
