"""A backup over HTTP, for the box's own user on its Unix socket."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from lanjami.runtime import disk

_CHUNK = 1 << 20  # bytes


def routes(make: Callable[[Path], object], folder: Path) -> list[web.RouteDef]:
    """`make` writes a backup to a path, which is in `folder`."""

    def made() -> BinaryIO:
        with disk.scratch(folder) as scratch:
            path = scratch / "backup.zip"
            make(path)
            return path.open("rb")  # and can be read also when it has no name any longer

    async def backup(request: web.Request) -> web.StreamResponse:
        file = await asyncio.to_thread(made)
        try:
            answer = web.StreamResponse(headers={"Content-Type": "application/zip"})
            answer.content_length = os.fstat(file.fileno()).st_size
            await answer.prepare(request)
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                await answer.write(chunk)
            await answer.write_eof()
        finally:
            file.close()
        return answer

    return [web.get("/backup", backup)]
