"""The status page over HTTP: the page, what it loads, and what changes while it is open."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
from aiohttp import web

from lanjami import lan
from lanjami.errors import RequestError
from lanjami.lan import Ip
from lanjami.status import texts
from lanjami.status.live import LANGUAGES, STATIC, Live, read_static
from lanjami.status.page import Reached, address_for, guess_device
from lanjami.status.render import digest

BEAT_S = 5.0  # between two words to a page that is open, also where nothing changed
PATIENCE_S = 15.0  # of silence, after which a page takes the box to be gone
RETRY_S = 2.0
COME_AGAIN_S = 20.0  # for who has no place to stay
WRITE_WITHIN_S = 20.0  # for a page to take what it is told

# Nothing but what this box serves is loaded, run or sent to; nobody frames the page.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_FRESH = {**HEADERS, "Cache-Control": "no-store"}
_FOR_EVER = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}

_STATIC = read_static()  # with the module, for a route is answered on the event loop

# How a visitor reaches the box, by the address and port that they came to.
Reach = Callable[[str, int], Reached]


class PageApi:
    """Serves what `live` draws; `lan` and `reach` tell what a visitor has to type."""

    def __init__(
        self,
        live: Live,
        *,
        lan: Callable[[], Sequence[lan.Interface]],
        reach: Reach,
        write_within_s: float = WRITE_WITHIN_S,
    ) -> None:
        self._live = live
        self._lan = lan
        self._reach = reach
        self._write_within_s = write_within_s

    def routes(self, *, with_root: bool) -> list[web.RouteDef]:
        """All but `/`, where somebody else has it and gives it to `page`."""
        return [
            *([web.get("/", self.page)] if with_root else []),
            web.get("/status/events", self._events),
            *static_routes(),
        ]

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The page, for a browser that asks `/`."""
        address, port = visited(request)
        text = self._live.page(
            language(request),
            self._reach(address_for(address, self._lan()), port),
            guess_device(request.headers.get("User-Agent", "")),
        )
        headers = {
            **_FRESH,
            "Vary": "Accept, Accept-Language",
            "Content-Language": language(request),
        }
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """What changes, as server-sent events (HTML, 9.2); each carries the pieces that differ,
        the first those that were not drawn with the page."""
        spoken, loop = language(request), asyncio.get_running_loop()
        with self._live.watching(request.remote or "") as may_stay:
            told = self._live.pieces(spoken)
            news = _unseen(request, told)
            response = web.StreamResponse(headers={**_FRESH, "Content-Type": "text/event-stream"})
            await response.prepare(request)
            if not may_stay:
                await response.write(
                    _event(news, patience_s=2 * COME_AGAIN_S, retry_s=COME_AGAIN_S)
                )
                return response
            await self._tell(
                request, response, _event(news, patience_s=PATIENCE_S, retry_s=RETRY_S)
            )
            told_at = loop.time()
            while True:
                await self._live.next_look()
                pieces = self._live.pieces(spoken)
                changed = {name: text for name, text in pieces.items() if told[name] != text}
                if changed or loop.time() >= told_at + BEAT_S:
                    await self._tell(request, response, _event(changed, patience_s=PATIENCE_S))
                    told, told_at = pieces, loop.time()

    async def _tell(self, request: web.Request, response: web.StreamResponse, event: bytes) -> None:
        """Write to a page; cut off one that does not take it."""
        try:
            async with asyncio.timeout(self._write_within_s):
                await response.write(event)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("a page does not take what it is told") from None


def static_routes() -> list[web.RouteDef]:
    """What pages load."""
    return [web.get(f"/status/{name}", _static(name)) for name in STATIC]


def language(request: web.Request) -> str:
    """The language to speak to a visitor."""
    return texts.choose(
        request.query.get("lang", ""), request.headers.get("Accept-Language", ""), LANGUAGES
    )


def visited(request: web.Request) -> tuple[Ip, int]:
    """The address and port that a visitor came to, IPv4 also where the socket is for both."""
    if request.transport is None:
        raise RequestError(400, "the client is gone")
    host, port, *_ = request.transport.get_extra_info("sockname")
    return lan.of_socket(host), port


def _static(name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        headers = _FOR_EVER if "v" in request.query else _FRESH
        return web.Response(
            body=_STATIC[name], content_type=STATIC[name], charset="utf-8", headers=headers
        )

    return answer


def _unseen(request: web.Request, pieces: Mapping[str, str]) -> Mapping[str, str]:
    """Those of the pieces that a page does not have yet. One that was told something before, as a
    browser says by the id of what it heard last, has others than it was drawn with."""
    if "Last-Event-ID" in request.headers:
        return pieces
    seen = request.query.get("seen", "").split(".")
    return {name: text for name, text in pieces.items() if digest(name, text) not in seen}


def _event(pieces: Mapping[str, str], *, patience_s: float, retry_s: float | None = None) -> bytes:
    """The `pieces` that a page puts in the place of what it has. One line, as JSON is, so nothing
    in it ends the event."""
    body = msgspec.json.encode({"patience": patience_s, "pieces": pieces})
    first = b"" if retry_s is None else b"id: 1\nretry: %d\n" % (1000 * retry_s)
    return first + b"data: " + body + b"\n\n"
