"""The name server's HTTP interface, as Jami clients of 2023 and of 2026 use it.

What a status does to a client (jami-daemon src/jamidht/namedirectory.cpp): 404 for its own ID
makes it forget its name, 400 and 404 for a name mean invalid and free, any other 4xx to a
registration means "already taken", and 5xx means "try again later". All of it, for who writes
another client or server, is in openapi.json beside this module, which the box serves too.
"""

import importlib.resources
import re
from collections import Counter
from typing import Protocol, TypeVar

import msgspec
from aiohttp import web

from lanjami.errors import HostError, RequestError
from lanjami.nameserver import signature
from lanjami.nameserver.names import JamiId, Name, parse_id, parse_name
from lanjami.nameserver.record import Record
from lanjami.nameserver.signature import Registration
from lanjami.runtime.httpd import json_answer, refusal
from lanjami.runtime.plain import Answer, Request

_T = TypeVar("_T")

# A client's name server may be given with a path; a slash at the end changes nothing.
_PREFIX, _SLASH = "/{prefix:(?:.*/)?}", "{slash:/?}"

# Read with the module, for a route is made and answered on the event loop.
_DESCRIPTION = importlib.resources.files(__package__).joinpath("openapi.json").read_bytes()


_QUICK = re.compile("/name/([a-z0-9_-]{3,32})|/addr/([0-9a-f]{40})")

LARGEST_BODY = 16 * 1024  # bytes of a registration; one with an RSA-8192 key has 4 KiB

_REFUSED = {
    400: "malformed",
    401: "without proof",
    403: "taken or reserved",
    413: "too large",
}


class Names(Protocol):
    """Where names are looked up and registered; every method may raise HostError."""

    def by_name(self, name: Name) -> Record | None: ...
    def by_id(self, id: JamiId) -> Record | None: ...
    def name_of(self, id: JamiId) -> Name | None: ...
    async def register(self, wanted: Registration, *, source: str) -> None: ...


class Api:
    """Answers the three requests that clients make, and the others of the public reference
    server, and describes them; counts registrations, in `registered` and by the reason in
    `refused`."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self.registered = 0
        self.refused: Counter[str] = Counter()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(f"{_PREFIX}name/{{name}}/publickey{_SLASH}", self._key_of_name),
            web.get(f"{_PREFIX}name/{{name}}/signature{_SLASH}", self._signature_of_name),
            web.get(f"{_PREFIX}name/{{name}}/owner{_SLASH}", self._owner_of_name),
            # after the longer: "name/name/owner" is the owner of "name", not "owner" at a prefix
            web.get(f"{_PREFIX}name/{{name}}{_SLASH}", self._look_up_name),
            web.get(f"{_PREFIX}addr/{{id}}{_SLASH}", self._look_up_id),
            web.get(f"{_PREFIX}addr/{{id}}/publickey{_SLASH}", self._key_of_id),
            web.post(f"{_PREFIX}name/{{name}}{_SLASH}", self._register),
            web.get("/openapi.json", _describe),
        ]

    def quick(self, request: Request, _client: str) -> Answer | None:
        """What clients ask all the time, at once: the look-up of a name or an ID in lower case.

        None for everything else, and for what cannot be answered now.
        """
        asked = _QUICK.fullmatch(request.target)
        if asked is None:
            return None
        name, id = asked.groups()
        try:
            found = self._found_id(JamiId(id)) if name is None else self._found(Name(name))
        except RequestError as error:
            return Answer(error.status, refusal(error))
        except HostError:
            return None
        return Answer(200, msgspec.json.encode(found))

    async def _look_up_name(self, request: web.Request) -> web.Response:
        return json_answer(self._found(parse_name(request.match_info["name"])))

    async def _look_up_id(self, request: web.Request) -> web.Response:
        return json_answer(self._found_id(_id(request)))

    def _found(self, name: Name) -> dict[str, str]:
        found = _there(self._names.by_name(name), "name")
        answer = {"name": found.name, "addr": found.id}
        if not found.is_renamed:
            # a client that is given both verifies them, over this very name
            answer |= {"publickey": found.publickey, "signature": found.signature}
        return answer

    def _found_id(self, id: JamiId) -> dict[str, str]:
        return {"name": _there(self._names.name_of(id), "address")}

    async def _key_of_name(self, request: web.Request) -> web.Response:
        found = self._named(request)
        return json_answer({"name": found.name, "publickey": found.publickey})

    async def _signature_of_name(self, request: web.Request) -> web.Response:
        found = self._named(request)
        if found.is_renamed:
            raise RequestError(404, "the operator changed the name, its owner signed another")
        return json_answer({"name": found.name, "signature": found.signature})

    async def _owner_of_name(self, request: web.Request) -> web.Response:
        found = self._named(request)
        return json_answer({"name": found.name, "owner": f"0x{found.owner}"})

    async def _key_of_id(self, request: web.Request) -> web.Response:
        found = _there(self._names.by_id(_id(request)), "address")
        return json_answer({"addr": found.id, "publickey": found.publickey})

    async def _register(self, request: web.Request) -> web.Response:
        try:
            name = parse_name(request.match_info["name"])
            content = await request.read()
            if len(content) > LARGEST_BODY:
                raise RequestError(413, f"a registration has at most {LARGEST_BODY} bytes")
            wanted = signature.read(name, content)
            await self._names.register(wanted, source=request.remote or "")
        except RequestError as error:
            self.refused[_REFUSED[error.status]] += 1
            raise
        except HostError:
            self.refused["not now"] += 1
            raise
        self.registered += 1
        return json_answer({"success": True})

    def _named(self, request: web.Request) -> Record:
        return _there(self._names.by_name(parse_name(request.match_info["name"])), "name")


async def _describe(_request: web.Request) -> web.Response:
    return web.Response(body=_DESCRIPTION, content_type="application/json")


def _id(request: web.Request) -> JamiId:
    return parse_id(request.match_info["id"])


def _there(found: _T | None, what: str) -> _T:
    if found is None:
        raise RequestError(404, f"{what} not registered")
    return found
