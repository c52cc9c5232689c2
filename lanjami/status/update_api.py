"""Takes an update from a browser, piece by piece, and leaves it to the box's helpers to judge.

What is taken is only a file in a folder: `lanjami update` checks who signed it. The secret, which
the box's screen shows, keeps visitors from filling the disk and from having the box start anew.
"""

import asyncio
import hmac
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from lanjami.errors import HostError, RequestError
from lanjami.runtime import disk
from lanjami.runtime.httpd import json_answer
from lanjami.status.live import Live
from lanjami.status.page_api import HEADERS, language

LARGEST = 2 << 30  # bytes
PIECE = 64 << 10  # bytes, at most

_HEADERS = {**HEADERS, "Cache-Control": "no-store"}
_PART, _WHOLE = "incoming.part", "incoming.tar"  # the second is what lanjami-update.path waits for


class UpdateApi:
    """`folder` takes the file, `secret` tells what the uploader has to know ("" for: not now),
    `told` what became of the last one."""

    def __init__(
        self, live: Live, *, folder: Path, secret: Callable[[], str], told: Callable[[], list[str]]
    ) -> None:
        self._live = live
        self._folder = folder
        self._secret = secret
        self._told = told

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/update", self._page),
            web.put("/update/file", self._take),
            web.get("/update/told", self._tell),
        ]

    async def _page(self, request: web.Request) -> web.StreamResponse:
        text = self._live.renderer.update(language(request))
        return web.Response(text=text, content_type="text/html", headers=_HEADERS)

    async def _take(self, request: web.Request) -> web.StreamResponse:
        """The piece of the file `at` a byte `of` so many; says how much there is by now."""
        await self._require_secret(request)
        at, size = _number(request, "at"), _number(request, "of")
        piece = await request.read()
        if not 0 < size <= LARGEST or at + len(piece) > size:
            raise RequestError(413, "this is too large for an update")
        if len(piece) > PIECE:
            raise RequestError(413, f"a piece has {PIECE} bytes at most")
        try:
            have = await asyncio.to_thread(self._keep, piece, at=at, size=size)
        except OSError as error:
            raise HostError(f"{self._folder} takes nothing: {error.strerror}") from error
        return json_answer({"have": have})

    def _keep(self, piece: bytes, *, at: int, size: int) -> int:
        part = self._folder / _PART
        if (self._folder / _WHOLE).exists():
            raise RequestError(409, "another update is being looked at: wait for a minute")
        disk.make_private_folder(self._folder)
        if at == 0:
            disk.require_room(self._folder, size)
        with part.open("wb" if at == 0 else "ab") as file:
            if file.tell() != at:
                raise RequestError(409, "a piece is missing: begin anew")
            file.write(piece)
        if at + len(piece) == size:
            part.rename(self._folder / _WHOLE)
        return at + len(piece)

    async def _tell(self, request: web.Request) -> web.StreamResponse:
        await self._require_secret(request)
        waits = await asyncio.to_thread((self._folder / _WHOLE).exists)
        return json_answer({"waits": waits, "told": await asyncio.to_thread(self._told)})

    async def _require_secret(self, request: web.Request) -> None:
        """Only a script of our own page sends this header: other sites' are not let by browsers."""
        secret = await asyncio.to_thread(self._secret)
        given = request.headers.get("X-Lanjami-Secret", "")
        if not secret or not hmac.compare_digest(given.encode(), secret.encode()):
            raise RequestError(401, "the word is wrong: the screen of the box shows it")


def _number(request: web.Request, name: str) -> int:
    text = request.query.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise RequestError(400, f"`{name}` is a number of bytes")
    return int(text)
