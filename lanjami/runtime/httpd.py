"""HTTP servers: on every local address, and on a Unix socket."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
from aiohttp import web

from lanjami.errors import HostError, RequestError
from lanjami.runtime import log, net
from lanjami.runtime.service import Ready

_log = log.get(__name__)

LARGEST_BODY = 144 * 1024  # bytes: a value of 64 KiB in base64, with a key and a signature
MOST_CONNECTIONS = 256  # a client's lasts milliseconds; when they are full, the oldest goes
ACCEPTED_AT_ONCE = 64
IDLE_S = 10.0
LARGEST_IMPORT = 256 << 20  # bytes, from our own user only
RETRY_AFTER_S = 5
CHECK_EVERY_S = 10.0
CHECK_WITHIN_S = 5.0

Routes = Callable[[], Sequence[web.AbstractRouteDef]]


class HttpServer:
    """Serves `routes` on the first of `ports` that is free, and looks through the socket
    whether it answers `probe`, a path."""

    name = "http"

    def __init__(self, *, ports: Sequence[int], routes: Routes, probe: str) -> None:
        self._ports = ports
        self._routes = routes
        self._probe = probe
        self._port: int | None = None

    def port(self) -> int | None:
        """The port, while it is served."""
        return self._port

    async def run(self, ready: Ready) -> None:
        port, sockets = await asyncio.to_thread(listen_on_first, self._ports)
        async with _serving(self._routes, sockets, largest_body=LARGEST_BODY):
            try:
                while True:
                    await check(port, self._probe)
                    self._port = port
                    ready(f"TCP {port}, answers through the socket")
                    await asyncio.sleep(CHECK_EVERY_S)
            finally:
                self._port = None


class LocalServer:
    """Serves `routes` on the Unix socket at `path`, for the same user only."""

    name = "status"

    def __init__(self, *, path: Path, routes: Routes) -> None:
        self._path = path
        self._routes = routes

    async def run(self, ready: Ready) -> None:
        sock = await asyncio.to_thread(_listen_privately, self._path)
        async with _serving(self._routes, [sock], largest_body=LARGEST_IMPORT):
            try:
                ready(str(self._path))
                await asyncio.Event().wait()
            finally:
                await asyncio.to_thread(self._path.unlink, missing_ok=True)


def listen_on_first(ports: Sequence[int]) -> tuple[int, list[socket.socket]]:
    """The first of `ports` that is free and its listening sockets; HostError where none is."""
    reasons = []
    for port in ports:
        try:
            return port, net.listen(port)
        except HostError as error:
            reasons.append(str(error))
    raise HostError("; ".join(reasons))


def _listen_privately(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        sock.bind(str(path))
        path.chmod(0o600)
        sock.listen(64)
    except OSError as error:  # where the path is too long for a socket, without an errno
        sock.close()
        raise HostError(f"the socket {path} cannot be made: {error}") from error
    return sock


def json_answer(body: object, *, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/json"
    )


@contextlib.asynccontextmanager
async def _serving(
    routes: Routes, sockets: Sequence[socket.socket], *, largest_body: int
) -> AsyncIterator[None]:
    """Serve on listening sockets, which are closed at the end, whatever happens."""
    async with contextlib.AsyncExitStack() as opened:
        for sock in sockets:
            opened.enter_context(sock)
        app = web.Application(middlewares=[_errors], client_max_size=largest_body)
        app.add_routes(routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, keepalive_timeout=IDLE_S)
        opened.push_async_callback(runner.cleanup)
        await runner.setup()
        accept = _bounded(runner)
        loop = asyncio.get_running_loop()
        for sock in sockets:
            server = await loop.create_server(accept, sock=sock, backlog=ACCEPTED_AT_ONCE)
            opened.callback(server.close)
        yield


def _bounded(runner: web.AppRunner) -> Callable[[], asyncio.Protocol]:
    """Makes the handlers of connections; one too many ends the one that is open the longest, so
    that silent connections, however many, keep nobody out."""
    server = runner.server
    assert server is not None

    def accept() -> asyncio.Protocol:
        connections = server.connections
        if len(connections) >= MOST_CONNECTIONS and connections[0].transport is not None:
            connections[0].transport.abort()
        return server()

    return accept


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Every error as JSON with a sentence; a passing one never as 4xx, for clients take a 4xx
    as the last word."""
    try:
        return await handler(request)
    except RequestError as error:
        return json_answer(
            {"success": False, "error": str(error), **error.body}, status=error.status
        )
    except HostError as error:
        _log.debug("request refused", path=request.path, reason=error)
        answer = json_answer({"success": False, "error": str(error)}, status=503)
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
        return answer
    except web.HTTPException as error:
        if error.status < 400:
            raise
        answer = json_answer({"success": False, "error": error.reason}, status=error.status)
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer


async def check(port: int, path: str) -> None:
    """Ask ourselves over TCP; HostError where no HTTP answer comes."""
    try:
        async with asyncio.timeout(CHECK_WITHIN_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
                )
                answer = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise HostError(f"the HTTP server on port {port} does not answer: {error!r}") from error
    if not answer.startswith(b"HTTP/1.1 "):
        raise HostError(f"something else answers on TCP port {port}")
