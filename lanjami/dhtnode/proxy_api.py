"""The DHT proxy's HTTP interface, as Jami clients of 2023 and of 2026 use it.

Facts: OpenDHT src/dht_proxy_server.cpp, createRestRouter and what it names; src/http.cpp and
src/dht_proxy_client.cpp for what clients make of an answer. A client that listens takes a stream
that ends as HTTP says for the answer to all it asked, and never asks again. So where a stream has
to end, it ends with what is no chunk: every client then looks whether the proxy is there, and
listens anew.
"""

import asyncio
import hashlib
import re
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
from aiohttp import web

from lanjami.dhtnode import info, webpush
from lanjami.dhtnode.endpoint import ID_LENGTH, Endpoint
from lanjami.dhtnode.events import Came, Done, Went
from lanjami.dhtnode.proxy import PLATFORMS, UNIFIED_PUSH, pong
from lanjami.dhtnode.proxy_service import Proxy
from lanjami.dhtnode.streams import Stream, Streams
from lanjami.dhtnode.value_json import LARGEST, PushAddress, read, read_push_address, write
from lanjami.errors import HostError, RequestError
from lanjami.lan import http_url, of_socket
from lanjami.runtime.plain import Answer, Quick, Request

LARGEST_BODY = LARGEST + 16 * 1024  # bytes; from `LARGEST` on, we say what is too large

_KEY = "/key/{key:[^/]+}"
_LEGACY_KEY = "/{key:[0-9a-fA-F]{40}}"  # no other word, as the front serves others, too

_WRITTEN_AT_ONCE = 16 * 1024  # bytes of small values; a large one goes alone

_LISTED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")  # a host that clients can read

_NO_CHUNK = b"lanjami ends this stream\r\n"

# A phone that left without a word: noticed within six minutes, and not asked so often that its
# radio stays on. A client sets its own, 120 s (DhtProxyClient::listenKeepIdle).
_KEEPALIVE = {"TCP_KEEPIDLE": 240, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 4}

_HEADERS = {"Access-Control-Allow-Origin": "*"}
_CORS = {
    "Access-Control-Allow-Methods": "OPTIONS, GET, POST, LISTEN",
    "Access-Control-Allow-Headers": "content-type",
    "Access-Control-Max-Age": "86400",
}

_Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(proxy: Proxy, *, page: _Handle | None = None) -> list[web.RouteDef]:
    """All that clients ask of a proxy. A browser that asks `/` gets `page`, where there is one."""
    api = _Api(proxy)

    async def root(request: web.Request) -> web.StreamResponse:
        if page is not None and is_browser(request.headers.get("Accept", "")):
            return await page(request)
        return await api.node_info(request)

    handlers = {
        ("GET", "/"): root,
        ("GET", "/node/info"): api.node_info,
        ("GET", "/node/stats"): api.statistics,
        ("POST", "/node/pingPush"): api.ping_push,
        ("GET", "/proxyList"): api.proxy_list,
        ("GET", f"{_KEY}/listen"): api.listen,
        ("OPTIONS", f"{_KEY}/listen"): api.options,
        ("GET", f"{_KEY}/options"): api.options,
    }
    for path in (_KEY, _LEGACY_KEY):
        handlers |= {
            ("GET", path): api.get,
            ("POST", path): api.put,
            ("OPTIONS", path): api.options,
            ("SUBSCRIBE", path): api.subscribe,
            ("UNSUBSCRIBE", path): api.unsubscribe,
        }
    return [web.route(*where, _answered(handle)) for where, handle in handlers.items()]


def quick(proxy: Proxy) -> Quick:
    """Answers at once how the node is, which a client asks before all else and then often."""

    def answer(request: Request, client: str) -> Answer | None:
        if request.target not in ("/", "/node/info") or request.may_want_html:
            return None
        try:
            return Answer(200, _node_info(proxy, client, request.target), is_public=True)
        except HostError:
            return None

    return answer


def is_browser(accept: str) -> bool:
    """Whether who accepts this is a person's browser: it wants HTML by name, which no client of
    a proxy does."""
    return "text/html" in accept.lower()


def parse_key(text: str) -> bytes:
    """A key as clients write it: 40 hex digits, or any text, which stands for its SHA-1."""
    try:
        key = bytes.fromhex(text[: 2 * ID_LENGTH]) if text[: 2 * ID_LENGTH].isalnum() else b""
    except ValueError:
        key = b""
    if len(key) == ID_LENGTH and any(key):
        return key
    return hashlib.sha1(text.encode(), usedforsecurity=False).digest()


class _Api:
    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._started_at = time.time()
        self._requests: Counter[str] = Counter()
        self._counted_since = self._started_at

    async def node_info(self, request: web.Request) -> web.StreamResponse:
        host, *_ = _transport(request).get_extra_info("peername")
        return _answer(_node_info(self._proxy, host, request.path))

    async def statistics(self, _: web.Request) -> web.StreamResponse:
        proxy, now = self._proxy, time.time()
        pushes = {
            f"{'unified' if platform == UNIFIED_PUSH else platform}Push": {
                "highPriorityCount": proxy.pushes[platform, True],
                "normalPriorityCount": proxy.pushes[platform, False],
            }
            for platform in PLATFORMS
        }
        node = info.as_json(proxy.info(), public_ip="")
        del node["public_ip"]
        return _json(
            {
                "listenCount": len(proxy.streams),
                "putCount": proxy.orders.keys,
                "totalPermanentPuts": proxy.orders.permanent,
                "pushListenersCount": proxy.orders.subscribers,
                "serverStartTime": int(self._started_at),
                "lastUpdated": int(now),
                **pushes,
                "requestRate": self._requests.total() / max(1.0, now - self._counted_since),
                "nodeInfo": node,
            }
        )

    async def proxy_list(self, request: web.Request) -> web.StreamResponse:
        """Ourselves, under the address that the client reached; by IPv6, under the name that it
        asked for. Clients' parser of such lists (jami-daemon src/jamidht/jamiaccount.cpp,
        getDhtProxyServer) knows no IPv6 addresses: in one it finds a host `http` and others. Where
        there is no list, they keep to the proxy that they are configured with."""
        own = _end(request, "sockname")
        host = str(own.address) if own.version == 4 else request.host.partition(":")[0]
        if not _LISTED.fullmatch(host):
            raise RequestError(404, "clients know no IPv6 addresses in a list: ask for a name")
        text = http_url(host, own.port) + "\n"
        return web.Response(text=text, content_type="text/plain", headers=_HEADERS)

    async def options(self, _: web.Request) -> web.StreamResponse:
        return web.Response(content_type="application/json", headers=_HEADERS | _CORS)

    async def get(self, request: web.Request) -> web.StreamResponse:
        self._requests["get"] += 1
        if self._proxy.ends_streams(_source(request).ip):
            return await _ended(request)
        return await self._values(request)

    async def put(self, request: web.Request) -> web.StreamResponse:
        self._requests["put"] += 1
        body = await request.read()
        if not body:
            raise RequestError(400, "Missing parameters")
        value = await self._proxy.put(_key(request), read(body), source=_source(request))
        return _answer(write(value))

    async def listen(self, request: web.Request) -> web.StreamResponse:
        self._requests["listen"] += 1
        if self._proxy.ends_streams(_source(request).ip):
            return await _ended(request)
        with (
            self._proxy.node.listening(_key(request)) as events,
            self._proxy.streams.opened(
                _transport(request), events, source=_source(request).ip
            ) as stream,
        ):
            response = _stream()
            await response.prepare(request)
            _notice_who_leaves(stream.transport)
            try:
                await _write(request, response, stream, self._proxy.streams)
            finally:
                if not stream.transport.is_closing():
                    stream.transport.write(_NO_CHUNK)
                    stream.transport.close()
        return response

    async def subscribe(self, request: web.Request) -> web.StreamResponse:
        self._requests["subscribe"] += 1
        push = await _push_address(request)
        is_new = self._proxy.subscribe(_key(request), push, source=_source(request))
        return _json({}) if is_new or push.refresh else await self._values(request)

    async def unsubscribe(self, request: web.Request) -> web.StreamResponse:
        self._requests["unsubscribe"] += 1
        self._proxy.unsubscribe(_key(request), read_push_address(await request.read()))
        return web.Response(content_type="application/json", headers=_HEADERS)

    async def ping_push(self, request: web.Request) -> web.StreamResponse:
        self._requests["pingPush"] += 1
        self._proxy.send(pong(await _push_address(request)))
        return _json({})

    async def _values(self, request: web.Request) -> web.StreamResponse:
        """Values as they are found, to the end of the search."""
        with (
            self._proxy.node.getting(_key(request)) as events,
            self._proxy.gets.opened(
                _transport(request), events, source=_source(request).ip
            ) as stream,
        ):
            response = _stream()
            await response.prepare(request)
            await _write(request, response, stream, self._proxy.gets)
            await response.write_eof()
        return response


def _answered(handle: _Handle) -> _Handle:
    """Every refusal in the form that a proxy's clients know."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handle(request)
        except RequestError as error:
            return _json({"err": str(error)}, status=error.status)
        except HostError as error:
            return _json({"err": str(error)}, status=503)

    return answer


async def _write(
    request: web.Request, response: web.StreamResponse, stream: Stream, streams: Streams
) -> None:
    """What the stream is told, to its end, and never more at once than the client takes."""
    loop = asyncio.get_running_loop()
    while not isinstance(event := await stream.events.get(), Done):
        for lines in _lines(event):
            with streams.writing(stream, len(lines), now=loop.time()):
                await response.write(lines)
                await request.writer.drain()
            if len(lines) >= _WRITTEN_AT_ONCE:
                await asyncio.sleep(0)  # thousands of values must not hold up everybody else


def _lines(event: Came | Went) -> Iterator[bytes]:
    """The values of an event, some at a time."""
    expired = isinstance(event, Went)
    lines = b""
    for value in event.values:
        lines += write(value, expired=expired)
        if len(lines) >= _WRITTEN_AT_ONCE:
            yield lines
            lines = b""
    if lines:
        yield lines


def _stream() -> web.StreamResponse:
    response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "application/json"})
    response.enable_chunked_encoding()
    return response


async def _ended(request: web.Request) -> web.StreamResponse:
    """A stream that ends at once, for the client to look after its proxy."""
    response, transport = _stream(), _transport(request)
    await response.prepare(request)
    transport.write(_NO_CHUNK)
    transport.close()
    return response


def _notice_who_leaves(transport: asyncio.Transport) -> None:
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        if hasattr(socket, option):  # macOS names the first one differently
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _key(request: web.Request) -> bytes:
    return parse_key(request.match_info["key"])


def _transport(request: web.Request) -> asyncio.Transport:
    if request.transport is None:
        raise RequestError(400, "the client is gone")
    return request.transport


def _source(request: web.Request) -> Endpoint:
    """Where the client is."""
    return _end(request, "peername")


def _end(request: web.Request, name: str) -> Endpoint:
    """One of the connection's ends."""
    host, port, *_ = _transport(request).get_extra_info(name)
    return Endpoint(of_socket(host).packed, port)


async def _push_address(request: web.Request) -> PushAddress:
    push = read_push_address(await request.read())
    if push.platform == UNIFIED_PUSH:
        webpush.parse_topic(push.topic)
    return push


def _node_info(proxy: Proxy, client: str, path: str) -> bytes:
    """How the node is, for a client at an address as its socket tells it. Clients ask `/`; people
    and their tools may look elsewhere, and be told all."""
    ip, found = of_socket(client), proxy.info()
    hides = path == "/" and proxy.hides_nodes(ip.packed)
    return _line(info.as_json(found, public_ip=str(ip), hides=hides))


def _line(body: dict[str, Any]) -> bytes:
    return msgspec.json.encode(body) + b"\n"


def _json(body: dict[str, Any], *, status: int = 200) -> web.Response:
    return _answer(_line(body), status=status)


def _answer(body: bytes, *, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json", headers=_HEADERS)
