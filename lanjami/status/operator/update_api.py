"""Updates by the page: a script of it sends a file in pieces, and follows what becomes of it.

Behind the gate as all of the desk is. What is refused is told to the script as a sentence in the
operator's language: `{"error": …}`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

from aiohttp import web

from lanjami.box.standing import UpdateError
from lanjami.errors import RequestError
from lanjami.runtime import log
from lanjami.runtime.httpd import json_answer
from lanjami.status.operator.box import Updates
from lanjami.status.operator.gate_api import ROOT, Gate, Visit
from lanjami.status.operator.sessions import Said

_log = log.get(__name__)
_T = TypeVar("_T")

PAGE = f"{ROOT}/update"


class UpdateApi:
    """Serves who passes the `gate`. A request has a `piece` of that many bytes, and `version` is
    what runs."""

    def __init__(self, updates: Updates, gate: Gate, *, version: str, piece: int) -> None:
        self._updates = updates
        self._gate = gate
        self._version = version
        self._piece = piece
        self._silence: asyncio.TimerHandle | None = None

    def routes(self) -> list[web.RouteDef]:
        see, do = self._gate.looking, self._gate.acting
        return [
            web.get(PAGE, see(self._page)),
            web.post(f"{PAGE}/begin", do(partial(self._told, self._begin))),
            web.post(
                f"{PAGE}/piece",
                self._gate.taking(partial(self._told, self._add), largest=self._piece),
            ),
            web.post(f"{PAGE}/end", do(partial(self._told, self._finish))),
        ]

    async def _page(self, visit: Visit) -> web.StreamResponse:
        standing = await asyncio.to_thread(self._updates.standing)
        return await self._gate.show(
            visit, "update", standing=standing, version=self._version, piece=self._piece
        )

    async def _begin(self, visit: Visit) -> dict[str, object]:
        size = _number(visit.form, "size")
        token = await self._blocking(self._updates.begin, visit.session.csrf, size, now=_now())
        _log.info("the operator sends an update", bytes=size, source=visit.request.remote)
        return {"token": token}

    async def _add(self, visit: Visit) -> dict[str, object]:
        query, body = visit.request.query, await visit.request.read()
        token, at = query.get("token", ""), _number(query, "at")
        have = await self._blocking(
            self._updates.add, visit.session.csrf, token, at, body, now=_now()
        )
        return {"have": have}

    async def _finish(self, visit: Visit) -> dict[str, object]:
        token = visit.form.get("token", "")
        await asyncio.to_thread(self._updates.finish, visit.session.csrf, token)
        _log.warning("the operator updates the box", source=visit.request.remote)
        return {"then": f"{PAGE}?lang={visit.language}"}

    async def _told(
        self, act: Callable[[Visit], Awaitable[dict[str, object]]], visit: Visit
    ) -> web.StreamResponse:
        try:
            answer = json_answer(await act(visit))
        except UpdateError as error:
            _log.warning("an update is refused", reason=error, source=visit.request.remote)
            said = Said(f"operator.update.fault.{error.fault}")
            answer = json_answer({"error": await self._gate.sentence(visit, said)}, status=409)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    async def _blocking(self, act: Callable[..., _T], *args: object, now: float) -> _T:
        """Do a part of an upload in a thread, and have it given up where no other follows."""
        done = await asyncio.to_thread(act, *args, now=now)
        if self._silence is not None:
            self._silence.cancel()
        self._silence = asyncio.get_running_loop().call_later(self._updates.silent_s, self._give_up)
        return done

    def _give_up(self) -> None:
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, partial(self._updates.drop_silent, now=loop.time()))


def _number(fields: Mapping[str, str], name: str) -> int:
    text = fields.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise RequestError(400, f"{name} is no number")
    return int(text)


def _now() -> float:
    return asyncio.get_running_loop().time()
