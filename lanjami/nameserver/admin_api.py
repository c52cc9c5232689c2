"""The operator's verbs over HTTP, for the box's own user on its Unix socket."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from lanjami.errors import RequestError
from lanjami.nameserver.admin import Request
from lanjami.runtime.httpd import json_answer


def routes(perform: Callable[[Request], Awaitable[Any]]) -> list[web.RouteDef]:
    async def names(request: web.Request) -> web.Response:
        try:
            asked = msgspec.json.decode(await request.read(), type=Request)
        except msgspec.DecodeError as error:
            raise RequestError(400, f"not a verb for names: {error}") from error
        return json_answer(await perform(asked))

    return [web.post("/names", names)]
