"""What aiohttp's handler of a connection lacks: patience that ends, half-closed clients, refusals
in JSON that arrive."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from lanjami.runtime import log
from lanjami.runtime.connections import Connections
from lanjami.runtime.fastlane import Guest

_log = log.get(__name__)

# For a client that said that it will ask no more: to begin with what it asked before. An answer
# that is begun then has as long as a request, for who is gone for good looks the same at first.
LAST_ANSWERS_WITHIN_S = 0.2
LINGER_S = 2.0  # for a refused client to end what it is sending, and read why

_OPTIONS: dict[str, Any] = {"access_log": None, "lingering_time": LINGER_S}


class Handlers:
    """What the handlers of one server share, and their end."""

    def __init__(
        self, connections: Connections, *, patience_s: float, malformed: Callable[[], None]
    ) -> None:
        """`malformed` is called for each request that does not follow HTTP."""
        self.connections = connections
        self.patience_s = patience_s
        self.malformed = malformed
        self.tasks: set[asyncio.Task[None]] = set()

    async def end(self, *, within_s: float) -> None:
        """Close every connection, and wait for the tasks behind them."""
        self.connections.cut_all()
        await asyncio.sleep(0)  # a transport closes its socket in the next round of the loop
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=within_s)


class Handler(web.RequestHandler):
    """Serves one connection."""

    def __init__(self, server: web.Server, handlers: Handlers, guest: Guest) -> None:
        self._clock = asyncio.get_running_loop()
        super().__init__(server, loop=self._clock, **_OPTIONS)
        self._handlers = handlers
        self._guest = guest
        self._wire: asyncio.Transport | None = None  # the library forgets its own before the end
        self._is_answering = False
        self._ending: asyncio.TimerHandle | None = None  # since the client asks no more
        self._silence: asyncio.Future[None] | None = None  # awaited of a refused client

    async def start(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.tasks.add(task)
        try:
            await super().start()
        finally:
            self._handlers.tasks.discard(task)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._wire = transport
        super().connection_made(transport)
        self._guest.arrived(transport)

    def data_received(self, data: bytes) -> None:
        if self._silence is None:
            super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override]  # which asyncio allows
        """Keep the connection: who asks no more may still wait for answers."""
        self._be_silent()
        self._end_soon()
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        self._handlers.connections.leave(self._guest)
        self._be_silent()
        if self._ending is not None:
            self._ending.cancel()
        super().connection_lost(exc)

    async def answer(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Read the whole body, in time, then answer for as long as it takes."""
        connections = self._handlers.connections
        connections.waits(self._guest, now=self._clock.time())
        try:
            await request.read()
        except web.RequestPayloadError:
            self._handlers.malformed()
            return self._refusal("the body does not follow HTTP", status=400)
        connections.is_answered(self._guest)
        self._set_answering(is_answering=True)
        try:
            return await handler(request)
        finally:
            connections.waits(self._guest, now=self._clock.time())
            self._set_answering(is_answering=False)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no request, with `message` from the parser, or to our bug."""
        if request.writer.output_size > 0 or self.transport is None:
            raise ConnectionError("too late for another answer")
        if status >= 500:
            _log.exception("a request failed", path=request.path)
            sentence = "this server has a bug"
        else:
            self._handlers.malformed()
            # the rest of it quotes what came
            sentence = "this is no HTTP request: " + (message or "").partition("\n")[0][:80]
        return self._refusal(sentence, status=status)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Of a body that cannot be read, the library complains again after it was answered."""
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)

    def _refusal(self, sentence: str, *, status: int) -> web.StreamResponse:
        refusal = _Refusal(sentence, status=status, heard=self._hear_out)
        refusal.force_close()
        return refusal

    async def _hear_out(self) -> None:
        """Throw away what a refused client still sends, until it is silent: what is unread when a
        connection is closed destroys the answer (RST)."""
        if self._wire is None or self._ending is not None or self._wire.is_closing():
            return
        self._silence = self._clock.create_future()
        self._wire.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                await self._silence

    def _be_silent(self) -> None:
        if self._silence is not None and not self._silence.done():
            self._silence.set_result(None)

    def _set_answering(self, *, is_answering: bool) -> None:
        self._is_answering = is_answering
        if self._ending is not None:
            self._end_soon()

    def _end_soon(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
        within_s = self._handlers.patience_s if self._is_answering else LAST_ANSWERS_WITHIN_S
        self._ending = self._clock.call_later(within_s, self._end)

    def _end(self) -> None:
        assert self._wire is not None
        if self._is_answering:
            self._wire.abort()  # what is not taken would keep it open
        else:
            self._wire.close()


@web.middleware
async def timed(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Lets a `Handler` know when a request is there and when it is answered."""
    connection = request.protocol
    assert isinstance(connection, Handler)
    return await connection.answer(request, handler)


class _Refusal(web.Response):
    """An answer after which the client is `heard` out."""

    def __init__(self, sentence: str, *, status: int, heard: Callable[[], Awaitable[None]]) -> None:
        body = msgspec.json.encode({"success": False, "error": sentence})
        super().__init__(body=body, status=status, content_type="application/json")
        self._heard = heard

    async def write_eof(self, data: bytes = b"") -> None:
        await super().write_eof(data)
        await self._heard()
