"""The status over HTTP, for `lanjami status` on the Unix socket."""

from collections.abc import Callable

from aiohttp import web

from lanjami.runtime.httpd import json_answer
from lanjami.status.snapshot import Snapshot


def routes(snapshot: Callable[[], Snapshot]) -> list[web.RouteDef]:
    async def status(_: web.Request) -> web.Response:
        return json_answer(snapshot())

    return [web.get("/status", status)]
