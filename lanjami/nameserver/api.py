"""The name server's HTTP interface, as Jami clients of 2023 and of 2026 use it.

What a status does to a client (jami-daemon src/jamidht/namedirectory.cpp): 404 for its own ID
makes it forget its name, 400 and 404 for a name mean invalid and free, any other 4xx to a
registration means "already taken", and 5xx means "try again later". All of it, for who writes
another client or server, is in openapi.json beside this module, which the box serves too.
"""

import asyncio
import importlib.resources
from typing import Protocol

from aiohttp import web

from lanjami.errors import RequestError
from lanjami.nameserver import signature
from lanjami.nameserver.names import JamiId, Name, parse_id, parse_name
from lanjami.nameserver.record import Record
from lanjami.nameserver.signature import Registration
from lanjami.runtime.httpd import json_answer

# A client's name server may be given with a path; a slash at the end changes nothing.
_PREFIX, _SLASH = "/{prefix:(?:.*/)?}", "{slash:/?}"

# Read with the module, for a route is made and answered on the event loop.
_DESCRIPTION = importlib.resources.files(__package__).joinpath("openapi.json").read_bytes()


class Names(Protocol):
    """Where names are looked up and registered; every method may raise HostError."""

    async def by_name(self, name: Name) -> Record | None: ...
    async def by_id(self, id: JamiId) -> Record | None: ...
    async def register(self, wanted: Registration) -> None: ...


def routes(names: Names) -> list[web.RouteDef]:
    """The three requests that clients make, the others of the public reference server, and the
    description of them all."""
    api = _Api(names)
    return [
        web.get(f"{_PREFIX}name/{{name}}/publickey{_SLASH}", api.key_of_name),
        web.get(f"{_PREFIX}name/{{name}}/signature{_SLASH}", api.signature_of_name),
        web.get(f"{_PREFIX}name/{{name}}/owner{_SLASH}", api.owner_of_name),
        # after the longer ones: "name/name/owner" is the owner of "name", not "owner" at a prefix
        web.get(f"{_PREFIX}name/{{name}}{_SLASH}", api.look_up_name),
        web.get(f"{_PREFIX}addr/{{id}}{_SLASH}", api.look_up_id),
        web.get(f"{_PREFIX}addr/{{id}}/publickey{_SLASH}", api.key_of_id),
        web.post(f"{_PREFIX}name/{{name}}{_SLASH}", api.register),
        web.get("/openapi.json", _describe),
    ]


async def _describe(_request: web.Request) -> web.Response:
    return web.Response(body=_DESCRIPTION, content_type="application/json")


class _Api:
    def __init__(self, names: Names) -> None:
        self._names = names

    async def look_up_name(self, request: web.Request) -> web.Response:
        found = await self._named(request)
        answer = {"name": found.name, "addr": found.id}
        if not found.is_renamed:
            # a client that is given both verifies them, over this very name
            answer |= {"publickey": found.publickey, "signature": found.signature}
        return json_answer(answer)

    async def look_up_id(self, request: web.Request) -> web.Response:
        return json_answer({"name": (await self._identified(request)).name})

    async def key_of_name(self, request: web.Request) -> web.Response:
        found = await self._named(request)
        return json_answer({"name": found.name, "publickey": found.publickey})

    async def signature_of_name(self, request: web.Request) -> web.Response:
        found = await self._named(request)
        if found.is_renamed:
            raise RequestError(404, "the operator changed the name, its owner signed another")
        return json_answer({"name": found.name, "signature": found.signature})

    async def owner_of_name(self, request: web.Request) -> web.Response:
        found = await self._named(request)
        return json_answer({"name": found.name, "owner": f"0x{found.owner}"})

    async def key_of_id(self, request: web.Request) -> web.Response:
        found = await self._identified(request)
        return json_answer({"addr": found.id, "publickey": found.publickey})

    async def register(self, request: web.Request) -> web.Response:
        name = parse_name(request.match_info["name"])
        wanted = signature.read(name, await request.read())
        await asyncio.to_thread(signature.verify, wanted)
        await self._names.register(wanted)
        return json_answer({"success": True})

    async def _named(self, request: web.Request) -> Record:
        found = await self._names.by_name(parse_name(request.match_info["name"]))
        if found is None:
            raise RequestError(404, "name not registered")
        return found

    async def _identified(self, request: web.Request) -> Record:
        found = await self._names.by_id(parse_id(request.match_info["id"]))
        if found is None:
            raise RequestError(404, "address not registered")
        return found
