"""The operator's verbs over HTTP, for the box's own user on its Unix socket.

`POST /names` with a verb in JSON; what is told of many names comes as JSON Lines, where an empty
line means that it goes on, and one with `error` alone that it does not. `POST /names/import` takes
JSON Lines, and answers a `Reading` now and then and how many names were new at the end.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec
from aiohttp import web

from lanjami.errors import HostError, LanjamiError, RequestError
from lanjami.nameserver.admin import Reading, Request, Survey
from lanjami.runtime import disk
from lanjami.runtime.httpd import json_answer
from lanjami.runtime.service import until

TELL_EVERY_S = 0.5  # how far an import is

_CHUNK = 256 << 10  # bytes


class Names(Protocol):
    """Where the names are looked after; every method may raise HostError."""

    async def perform(self, request: Request) -> Any: ...
    def survey(self, request: Survey) -> Iterator[bytes]: ...
    async def take(self, file: BinaryIO) -> int: ...


def routes(names: Names, folder: Path, *, tell_every_s: float = TELL_EVERY_S) -> list[web.RouteDef]:
    """`folder` has room for what is imported, while it is checked."""

    async def ask(request: web.Request) -> web.StreamResponse:
        try:
            asked = msgspec.json.decode(await request.read(), type=Request | Survey)
        except msgspec.DecodeError as error:
            raise RequestError(400, f"not a verb for names: {error}") from error
        if isinstance(asked, Survey):
            return await _paged(request, names.survey(asked))
        return json_answer(await names.perform(asked))

    async def take(request: web.Request) -> web.StreamResponse:
        size = 0
        async with _in_thread(disk.spool(folder)) as file:
            async for chunk in request.content.iter_chunked(_CHUNK):
                size += await asyncio.to_thread(file.write, chunk)

            def read() -> Reading:
                return Reading(os.lseek(file.fileno(), 0, os.SEEK_CUR), size)

            return await _told(request, names.take(file), read, every_s=tell_every_s)

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


async def _told(
    request: web.Request,
    taking: Coroutine[Any, Any, int],
    read: Callable[[], Reading],
    *,
    every_s: float,
) -> web.StreamResponse:
    """How far it is `read`, until it is taken; a client that is gone misses the rest."""
    answer = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
    new = 0

    async def take() -> None:
        nonlocal new
        new = await taking

    async def write(body: object) -> None:
        with contextlib.suppress(ConnectionError):
            if not answer.prepared:
                await answer.prepare(request)
            await answer.write(msgspec.json.encode(body) + b"\n")

    async def tell() -> None:
        while True:
            await asyncio.sleep(every_s)
            await write(read())

    try:
        await until(take(), tell())
    except LanjamiError as error:
        if not answer.prepared:
            raise
        await write({"error": str(error)})
    else:
        await write(new)
    return answer


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
