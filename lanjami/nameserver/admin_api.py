"""The operator's verbs over HTTP, for the box's own user on its Unix socket.

`POST /names` with a verb in JSON; what is told of many names comes as JSON Lines, where an empty
line means that it goes on, and one with `error` alone that it does not. `POST /names/import` takes
JSON Lines.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec
from aiohttp import web

from lanjami.errors import HostError, RequestError
from lanjami.nameserver.admin import Request, Survey
from lanjami.runtime import disk
from lanjami.runtime.httpd import json_answer

_CHUNK = 256 << 10  # bytes


class Names(Protocol):
    """Where the names are looked after; every method may raise HostError."""

    async def perform(self, request: Request) -> Any: ...
    def survey(self, request: Survey) -> Iterator[bytes]: ...
    async def take(self, file: BinaryIO) -> int: ...


def routes(names: Names, folder: Path) -> list[web.RouteDef]:
    """`folder` has room for what is imported, while it is checked."""

    async def ask(request: web.Request) -> web.StreamResponse:
        try:
            asked = msgspec.json.decode(await request.read(), type=Request | Survey)
        except msgspec.DecodeError as error:
            raise RequestError(400, f"not a verb for names: {error}") from error
        if isinstance(asked, Survey):
            return await _paged(request, names.survey(asked))
        return json_answer(await names.perform(asked))

    async def take(request: web.Request) -> web.Response:
        async with _in_thread(disk.spool(folder)) as file:
            async for chunk in request.content.iter_chunked(_CHUNK):
                await asyncio.to_thread(file.write, chunk)
            return json_answer(await names.take(file))

    return [web.post("/names", ask), web.post("/names/import", take)]


@asynccontextmanager
async def _in_thread(manager: AbstractContextManager[BinaryIO]) -> AsyncIterator[BinaryIO]:
    """Enter and leave where it may take long: a large file is slow to close for the last time."""
    file = await asyncio.to_thread(manager.__enter__)
    try:
        yield file
    except BaseException as error:
        await asyncio.to_thread(manager.__exit__, type(error), error, error.__traceback__)
        raise
    await asyncio.to_thread(manager.__exit__, None, None, None)


async def _paged(request: web.Request, pages: Iterator[bytes]) -> web.StreamResponse:
    """One page at a time, in a thread that is left between them."""
    page = await asyncio.to_thread(next, pages, b"")
    answer = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
    await answer.prepare(request)
    try:
        while page:
            await answer.write(page)
            page = await asyncio.to_thread(next, pages, b"")
    except HostError as error:  # too late for a status
        await answer.write(msgspec.json.encode({"error": str(error)}) + b"\n")
    await answer.write_eof()
    return answer
