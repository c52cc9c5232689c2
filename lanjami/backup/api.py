"""A backup over HTTP: for the box's own user on its Unix socket, and for the operator."""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from lanjami.errors import HostError
from lanjami.runtime import disk

_CHUNK = 1 << 20  # bytes


_HEADERS = {
    "Content-Type": "application/zip",
    "Content-Disposition": 'attachment; filename="lanjami-backup.zip"',
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def sender(make: Callable[[Path], object], folder: Path) -> Answer:
    """Sends a backup that is made for it; `make` writes one to a path, which is in `folder` or,
    where that takes nothing, in the machine's folder for such things."""

    def made() -> BinaryIO:
        with ExitStack() as opened:
            try:
                scratch = opened.enter_context(disk.scratch(folder))
            except HostError:
                scratch = opened.enter_context(disk.scratch(Path(tempfile.gettempdir())))
            path = scratch / "backup.zip"
            make(path)
            return path.open("rb")  # and can be read also when it has no name any longer

    async def backup(request: web.Request) -> web.StreamResponse:
        file = await asyncio.to_thread(made)
        try:
            answer = web.StreamResponse(headers=_HEADERS)
            answer.content_length = os.fstat(file.fileno()).st_size
            await answer.prepare(request)
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                await answer.write(chunk)
            await answer.write_eof()
        finally:
            file.close()
        return answer

    return backup


def routes(send: Answer) -> list[web.RouteDef]:
    return [web.get("/backup", send)]
