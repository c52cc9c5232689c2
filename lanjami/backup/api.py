"""A backup over HTTP: for the box's own user on its Unix socket, and for the operator."""

import asyncio
import os
from collections.abc import Awaitable, Callable
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
    where that does not take it, in the machine's folder for such things."""

    async def backup(request: web.Request) -> web.StreamResponse:
        file = await asyncio.to_thread(_made, make, folder)
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


def _made(make: Callable[[Path], object], folder: Path) -> BinaryIO:
    try:
        return _made_in(folder, make)
    except HostError as refused:
        try:
            return _made_in(disk.temporary(), make)
        except HostError:
            raise refused from None  # it is what the operator can do something about


def _made_in(folder: Path, make: Callable[[Path], object]) -> BinaryIO:
    with disk.scratch(folder) as scratch:
        path = scratch / "backup.zip"
        make(path)
        return path.open("rb")  # and can be read also when it has no name any longer


def routes(send: Answer) -> list[web.RouteDef]:
    return [web.get("/backup", send)]
