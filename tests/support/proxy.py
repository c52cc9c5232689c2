"""DHT proxies on loopback: ours, around a real node of our own, and Debian's; and a client that
says what it gets."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from lanjami.dhtnode import proxy_api
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.proxy import Notice
from lanjami.dhtnode.proxy_service import SAVE_AFTER_S, Proxy
from lanjami.dhtnode.python_node import PythonNode
from lanjami.runtime.httpd import HttpServer
from tests.support.ports import free_port, served
from tests.support.programs import program
from tests.support.running import running


@dataclass(slots=True)
class Ours:
    """A running proxy, and its node."""

    node: PythonNode
    proxy: Proxy
    dht: int
    http: int
    http_reasons: list[str]  # what the HTTP server has to complain of


def python_node(state: Path, port: int, *entries: int) -> PythonNode:
    return PythonNode(
        port=port,
        routed=False,
        state=state,
        lan=lambda: (),
        entries=lambda: [Endpoint(bytes([127, 0, 0, 1]), entry) for entry in entries],
        changed=lambda: None,
    )


@asynccontextmanager
async def ours(
    state: Path,
    *entries: int,
    push: Callable[[Notice], None] = lambda _: None,
    http: int | None = None,
    also: Sequence[int] = (),
    page: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None,
    has_node: bool = True,
    boot: str = "",
    save_after_s: float = SAVE_AFTER_S,
) -> AsyncIterator[Ours]:
    """Our proxy; its node looks for others at the `entries`, ports on loopback. Without
    `has_node`, that does not run."""
    dht, port = free_port(socket.SOCK_DGRAM), http or free_port()
    node = python_node(state, dht, *entries)
    proxy = Proxy(node=node, push=push, state=state, boot=boot, save_after_s=save_after_s)
    server = HttpServer(
        ports=[port],
        also=also,
        largest_body=proxy_api.LARGEST_BODY,
        routes=lambda: proxy_api.routes(proxy, page=page),
        quick=[proxy_api.quick(proxy)],
        probe="/proxyList",
    )
    async with AsyncExitStack() as opened:
        if has_node:
            await opened.enter_async_context(running(node))
        await opened.enter_async_context(running(proxy))
        heard = await opened.enter_async_context(running(server))
        yield Ours(node, proxy, dht, port, heard.reasons)


@asynccontextmanager
async def debians(dht: int, *, bootstrap: int | None = None) -> AsyncIterator[int]:
    """Debian's dhtnode as a proxy server beside its own node on the port `dht`; the port."""
    http = free_port()
    entry = ["-b", f"127.0.0.1:{bootstrap}"] if bootstrap else []
    async with program(
        *("dhtnode", "-p", str(dht), "--proxyserver", str(http), *entry),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    ):
        await served(http)
        yield http


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: `lines` are its body, as JSON where it is."""

    status: int
    headers: dict[str, str]
    lines: list[Any]


class Client:
    """Speaks to a proxy on loopback, as a phone does."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._url = f"http://127.0.0.1:{port}"

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        accept: str = "*/*",
    ) -> Said:
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        headers = {"Accept": accept}
        async with self._session.request(
            method, self._url + path, data=data, headers=headers
        ) as answer:
            lines = (await answer.read()).splitlines()
            return Said(answer.status, dict(answer.headers), [_json(line) for line in lines])

    @asynccontextmanager
    async def listen(self, key: str) -> AsyncIterator["Listen"]:
        async with self._session.get(f"{self._url}/key/{key}/listen") as answer:
            yield Listen(answer)


class Listen:
    """A listen that is open."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def line(self, *, within_s: float = 10.0) -> Any:
        async with asyncio.timeout(within_s):
            return json.loads(await self.answer.content.readline())


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return line.decode()


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Client]:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        yield Client(session, port)
