"""HTTP servers: on every local address, and on a Unix socket."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from lanjami.errors import HostError, RequestError
from lanjami.runtime import disk, log, net
from lanjami.runtime.connections import Connections, places
from lanjami.runtime.fastlane import FastLane
from lanjami.runtime.handler import Handler, Handlers, timed
from lanjami.runtime.plain import Quick
from lanjami.runtime.service import Ready, together

_log = log.get(__name__)

LARGEST_BODY = 16 * 1024  # bytes, of one that is read as a whole
REQUEST_WITHIN_S = 10.0  # from the opening, or the answer before, to its last byte
STOP_S = 0.15  # for what is being answered; the library may take it twice
ENDED_WITHIN_S = 0.05  # for what was cancelled then
RETRY_AFTER_S = 5
CHECK_EVERY_S = 10.0
CHECK_WITHIN_S = 5.0

Routes = Callable[[], Sequence[web.AbstractRouteDef]]


class HttpServer:
    """Serves on the first of `ports` that is free, and looks through the socket whether it answers
    `probe`, a path: what one of `quick` answers at once, and `routes` for all the rest. It serves
    on all of `also`, too; one that is taken is missed, and said.

    A request has at most `largest_body` bytes, and a client `request_within_s` for each; streams
    may be answered for ever.
    """

    name = "http"

    def __init__(
        self,
        *,
        ports: Sequence[int],
        routes: Routes,
        probe: str,
        quick: Sequence[Quick] = (),
        also: Sequence[int] = (),
        largest_body: int = LARGEST_BODY,
        request_within_s: float = REQUEST_WITHIN_S,
    ) -> None:
        self._ports = ports
        self._also = also
        self._largest_body = largest_body
        self._routes = routes
        self._probe = probe
        self._quick = quick
        self._request_within_s = request_within_s
        self._port: int | None = None
        self.malformed = 0  # requests that did not follow HTTP

    def port(self) -> int | None:
        """The port, while it is served."""
        return self._port

    async def run(self, ready: Ready) -> None:
        port, listeners = await asyncio.to_thread(listen_on_first, self._ports)
        others, missed = await asyncio.to_thread(_listen_on_all, set(self._also) - {port})
        listeners += others
        connections = Connections(most=places(), patience_s=self._request_within_s)
        async with contextlib.AsyncExitStack() as opened:
            for listener in listeners:
                opened.enter_context(listener)
            handlers = Handlers(
                connections, patience_s=self._request_within_s, malformed=self._count_malformed
            )
            opened.push_async_callback(handlers.end, within_s=ENDED_WITHIN_S)
            server = await opened.enter_async_context(
                _serving(
                    self._routes, middlewares=[_errors, timed], largest_body=self._largest_body
                )
            )
            lane = FastLane(
                listeners=listeners,
                quick=self._quick,
                protocols=lambda guest: Handler(server, handlers, guest),
                connections=connections,
            )
            await together(lane.run(), self._watch(port, missed, ready))

    def _count_malformed(self) -> None:
        self.malformed += 1

    async def _watch(self, port: int, missed: str, ready: Ready) -> None:
        try:
            while True:
                await check(port, self._probe)
                self._port = port
                ready(f"TCP {port}, answers through the socket", reason=missed, proved=True)
                await asyncio.sleep(CHECK_EVERY_S)
        finally:
            self._port = None


class LocalServer:
    """Serves `routes` on a Unix socket, for the same user only: at the first of `paths` that can
    be made. The folders of the others are made, too, and have to be ours alone."""

    name = "status"

    def __init__(self, *, paths: Sequence[Path], routes: Routes) -> None:
        self._paths = paths
        self._routes = routes

    async def run(self, ready: Ready) -> None:
        path, sock = await asyncio.to_thread(_listen_on_first_path, self._paths)
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as opened:
            opened.enter_context(sock)
            server = await opened.enter_async_context(_serving(self._routes, middlewares=[_errors]))
            listening = await loop.create_server(server, sock=sock)
            opened.callback(listening.close)
            try:
                ready(str(path))
                await asyncio.Event().wait()
            finally:
                await asyncio.to_thread(path.unlink, missing_ok=True)


def listen_on_first(ports: Sequence[int]) -> tuple[int, list[socket.socket]]:
    """The first of `ports` that is free and its listening sockets; HostError where none is."""
    reasons = []
    for port in ports:
        try:
            return port, net.listen(port)
        except HostError as error:
            reasons.append(str(error))
    raise HostError("; ".join(reasons))


def _listen_on_all(ports: Iterable[int]) -> tuple[list[socket.socket], str]:
    """The listening sockets on those of `ports` that are free, and why on others there are none."""
    sockets, reasons = [], []
    for port in sorted(ports):
        try:
            sockets += net.listen(port)
        except HostError as error:
            reasons.append(str(error))
    return sockets, "; ".join(reasons)


def _listen_on_first_path(paths: Sequence[Path]) -> tuple[Path, socket.socket]:
    reasons = []
    for path in paths:
        try:
            if path != paths[0]:
                _make_own_folder(path.parent)
            return path, _listen_privately(path)
        except HostError as error:
            reasons.append(str(error))
    raise HostError("; ".join(reasons))


def _make_own_folder(folder: Path) -> None:
    """Make a folder in one that may be everybody's."""
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        if not disk.is_private(folder):
            raise HostError(f"{folder} is not ours alone")
    except OSError as error:
        raise HostError(f"the folder {folder} cannot be made: {error.strerror}") from error


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


def refusal(error: RequestError) -> bytes:
    """What a client is told that must ask differently, as JSON."""
    return msgspec.json.encode({"success": False, "error": str(error), **error.body})


@contextlib.asynccontextmanager
async def _serving(
    routes: Routes, *, middlewares: Sequence[Middleware], largest_body: int = LARGEST_BODY
) -> AsyncIterator[web.Server]:
    """Makes handlers of connections; at the end, what is being answered has `STOP_S`."""
    app = web.Application(middlewares=middlewares, client_max_size=largest_body)
    app.add_routes(routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_S)
    try:
        await runner.setup()
        assert runner.server is not None
        yield runner.server
    finally:
        await runner.cleanup()


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Every error as JSON with a sentence; a passing one never as 4xx, for clients take a 4xx
    as the last word."""
    try:
        return await handler(request)
    except RequestError as error:
        return web.Response(
            body=refusal(error), status=error.status, content_type="application/json"
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
