"""The name server's HTTP interface, as Jami clients of 2023 and of 2026 use it.

What a status does to a client (jami-daemon src/jamidht/namedirectory.cpp): 404 for its own ID
makes it forget its name, 400 and 404 for a name mean invalid and free, any other 4xx to a
registration means "already taken", and 5xx means "try again later".
"""

import asyncio
from typing import Protocol

from aiohttp import web

from lanjami.errors import RequestError
from lanjami.nameserver import signature
from lanjami.nameserver.names import JamiId, Name, parse_id, parse_name
from lanjami.nameserver.signature import Registration
from lanjami.runtime.httpd import json_answer


class Names(Protocol):
    """Where names are looked up and registered; every method may raise HostError."""

    async def by_name(self, name: Name) -> Registration | None: ...
    async def by_id(self, id: JamiId) -> Registration | None: ...
    async def register(self, wanted: Registration) -> None: ...


def routes(names: Names) -> list[web.RouteDef]:
    """The three requests that clients make."""

    async def look_up_name(request: web.Request) -> web.Response:
        found = await names.by_name(parse_name(request.match_info["name"]))
        if found is None:
            raise RequestError(404, "name not registered")
        return json_answer(
            {
                "name": found.name,
                "addr": found.id,
                "publickey": found.publickey,
                "signature": found.signature,
            }
        )

    async def look_up_id(request: web.Request) -> web.Response:
        found = await names.by_id(parse_id(request.match_info["id"]))
        if found is None:
            raise RequestError(404, "address not registered")
        return json_answer({"name": found.name})

    async def register(request: web.Request) -> web.Response:
        wanted = signature.read(parse_name(request.match_info["name"]), await request.read())
        await asyncio.to_thread(signature.verify, wanted)
        await names.register(wanted)
        return json_answer({"success": True})

    return [
        web.get("/name/{name}", look_up_name),
        web.get("/addr/{id}", look_up_id),
        web.post("/name/{name}", register),
    ]
