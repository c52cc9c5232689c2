"""The operator's desk: parts, names, backup, log, network, and how it all ends.

All of it is behind the gate: see `Gate.looking` and `Gate.acting`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from lanjami.errors import HostError, RequestError
from lanjami.nameserver.record import Record
from lanjami.runtime import log
from lanjami.status import page
from lanjami.status.operator import settings
from lanjami.status.operator.box import Box, End, Line
from lanjami.status.operator.gate_api import ROOT, Gate, Visit, say
from lanjami.status.operator.sessions import Said
from lanjami.status.operator.settings import FormError

_log = log.get(__name__)

MOST_NAMES = 60  # on a page; who seeks one of more narrows the search
MOST_LINES = 500
RESTART_IN_S = 0.3  # when the answer is out, also of a part that gives answers

_NAMES, _NETWORK, _BOX = f"{ROOT}/names", f"{ROOT}/network", f"{ROOT}/box"

Download = Callable[[web.Request], Awaitable[web.StreamResponse]]


class DeskApi:
    """Serves who passes the `gate`; `backup` sends a backup."""

    def __init__(self, box: Box, gate: Gate, *, backup: Download) -> None:
        self._box = box
        self._gate = gate
        self._backup = backup
        self._is_backing_up = False

    def routes(self) -> list[web.RouteDef]:
        see, do = self._gate.looking, self._gate.acting
        return [
            web.get(ROOT, see(self._parts)),
            web.post(f"{ROOT}/restart", do(self._restart)),
            web.get(_NAMES, see(self._names)),
            web.get(f"{_NAMES}/one", see(self._name)),
            web.post(f"{_NAMES}/rename", do(self._rename)),
            web.post(f"{_NAMES}/remove", do(self._remove)),
            web.post(f"{_NAMES}/reserve", do(self._reserve)),
            web.post(f"{_NAMES}/unreserve", do(self._unreserve)),
            web.post(f"{ROOT}/backup", do(self._send_backup)),
            web.get(f"{ROOT}/log", see(self._lines)),
            web.get(_NETWORK, see(self._network)),
            web.post(_NETWORK, do(self._keep_network)),
            web.post(f"{_NETWORK}/forget", do(self._forget_network)),
            web.get(_BOX, see(self._own)),
            web.post(f"{_BOX}/end", do(self._end)),
        ]

    # --- parts -----------------------------------------------------------------------------

    async def _parts(self, visit: Visit) -> web.StreamResponse:
        snapshot = self._box.snapshot()
        return await self._gate.show(
            visit,
            "desk",
            verdict=page.verdict(snapshot),
            parts=[(part, snapshot.services[part.name]) for part in page.parts(snapshot)],
            snapshot=snapshot,
        )

    async def _restart(self, visit: Visit) -> web.StreamResponse:
        name = visit.form.get("part", "")
        if name not in self._box.snapshot().services:
            raise RequestError(404, "there is no such part")
        _log.info("the operator starts a part again", part=name, source=visit.request.remote)
        asyncio.get_running_loop().call_later(RESTART_IN_S, self._box.restart, name)
        return await self._wait(visit, "restart", ROOT, part=name)

    # --- names -----------------------------------------------------------------------------

    async def _names(self, visit: Visit) -> web.StreamResponse:
        sought = visit.request.query.get("q", "").strip().lower()[:40]
        pattern = sought if any(sign in sought for sign in "*?[") else f"*{sought}*"
        found = await self._box.names.matching(pattern, at_most=MOST_NAMES + 1)
        return await self._gate.show(
            visit,
            "names",
            sought=sought,
            names=[(record, _day(record)) for record in found[:MOST_NAMES]],
            are_more=len(found) > MOST_NAMES,
            known=self._box.snapshot().names,
            reserved=await self._box.names.reserved(),
        )

    async def _name(self, visit: Visit) -> web.StreamResponse:
        try:
            record, fault = await self._box.names.show(visit.request.query.get("name", ""))
        except RequestError:
            return say(visit, _NAMES, Said("operator.names.fault.404", is_fault=True))
        return await self._gate.show(
            visit, "name", here=_NAMES, record=record, fault=fault, day=_day(record)
        )

    async def _rename(self, visit: Visit) -> web.StreamResponse:
        name, new = _name_in(visit, "name"), _name_in(visit, "new")
        return await self._changed(
            visit, self._box.names.rename(name, new), "renamed", name=name, new=new
        )

    async def _remove(self, visit: Visit) -> web.StreamResponse:
        name = _name_in(visit, "name")
        return await self._changed(visit, self._box.names.remove(name), "removed", name=name)

    async def _reserve(self, visit: Visit) -> web.StreamResponse:
        name = _name_in(visit, "name")
        return await self._changed(visit, self._box.names.reserve(name), "reserved", name=name)

    async def _unreserve(self, visit: Visit) -> web.StreamResponse:
        name = _name_in(visit, "name")
        return await self._changed(visit, self._box.names.unreserve(name), "unreserved", name=name)

    async def _changed(
        self, visit: Visit, change: Awaitable[None], done: str, **values: str
    ) -> web.StreamResponse:
        """What became of a change of the names."""
        try:
            await change
        except RequestError as error:
            told = {"name": values.get("new", values["name"])}
            return say(
                visit, _NAMES, Said(f"operator.names.fault.{error.status}", told, is_fault=True)
            )
        _log.info("the operator changed the names", change=done, source=visit.request.remote)
        return say(visit, _NAMES, Said(f"operator.said.{done}", values))

    # --- backup and log --------------------------------------------------------------------

    async def _send_backup(self, visit: Visit) -> web.StreamResponse:
        if self._is_backing_up:
            raise HostError("a backup is being made already")
        self._is_backing_up = True
        try:
            _log.info("the operator takes a backup", source=visit.request.remote)
            return await self._backup(visit.request)
        finally:
            self._is_backing_up = False

    async def _lines(self, visit: Visit) -> web.StreamResponse:
        only_bad = "bad" in visit.request.query
        lines = [line for line in self._box.log() if not only_bad or line.level != "INFO"]
        return await self._gate.show(
            visit,
            "log",
            only_bad=only_bad,
            lines=[(_time_of(line), line) for line in lines[:MOST_LINES]],
            are_more=len(lines) > MOST_LINES,
            now=time.strftime("%Y-%m-%d %H:%M:%S"),
        )

    # --- network ---------------------------------------------------------------------------

    async def _network(self, visit: Visit, *, status: int = 200) -> web.StreamResponse:
        """The settings as they are kept and, of a form that was not taken, as they were typed."""
        kept = await asyncio.to_thread(self._box.kept_settings)
        config = settings.current(self._box.sources, kept)
        return await self._gate.show(
            visit,
            "network",
            status=status,
            here=_NETWORK,
            typed=visit.form,
            places=settings.places(config, await asyncio.to_thread(self._box.interfaces)),
            radios=sorted(
                {*await asyncio.to_thread(self._box.radios), config.wifi.interface} - {""}
            ),
            wifi=config.wifi,
            is_pending=kept != self._box.sources.page,
            is_kept=bool(kept),
            has_rights=self._box.has_rights(),
        )

    async def _keep_network(self, visit: Visit) -> web.StreamResponse:
        kept = await asyncio.to_thread(self._box.kept_settings)
        try:
            text = settings.read_form(
                visit.form,
                self._box.sources,
                kept,
                await asyncio.to_thread(self._box.interfaces),
            )
        except FormError as error:
            told = {"interface": error.interface, "detail": error.detail}
            key = f"operator.network.fault.{error.key}"
            visit.session.said = Said(key, told, is_fault=True)
            return await self._network(visit, status=400)
        await asyncio.to_thread(self._box.keep_settings, text)
        _log.info("the operator set the network", source=visit.request.remote)
        return say(visit, _NETWORK, Said("operator.said.network"))

    async def _forget_network(self, visit: Visit) -> web.StreamResponse:
        await asyncio.to_thread(self._box.keep_settings, "")
        _log.info("the operator forgot what was set on the page", source=visit.request.remote)
        return say(visit, _NETWORK, Said("operator.said.forgotten"))

    # --- the box ---------------------------------------------------------------------------

    async def _own(self, visit: Visit) -> web.StreamResponse:
        return await self._gate.show(
            visit,
            "box",
            by_link=visit.session.by_link,
            ends=[str(end) for end in self._box.ends],
        )

    async def _end(self, visit: Visit) -> web.StreamResponse:
        wanted = visit.form.get("end", "")
        if wanted not in self._box.ends:
            raise RequestError(400, "this box cannot end so")
        if wanted != End.AGAIN and "sure" not in visit.form:
            return say(visit, _BOX, Said("operator.box.unsure", is_fault=True))
        _log.warning("the operator ends lanjami", how=wanted, source=visit.request.remote)
        asyncio.get_running_loop().call_later(RESTART_IN_S, self._box.end, End(wanted))
        return await self._wait(visit, wanted, f"{ROOT}/login")

    async def _wait(self, visit: Visit, what: str, then: str, *, part: str = "") -> web.Response:
        """Shown while something is not there; it goes on to `then` where it will be again."""
        comes_back = what in ("restart", End.AGAIN)
        return await self._gate.show(
            visit, "wait", here=then, what=what, then=then, part=part, comes_back=comes_back
        )


def _name_in(visit: Visit, field: str) -> str:
    return visit.form.get(field, "").strip()[:64]


def _day(record: Record) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(record.registered))


def _time_of(line: Line) -> str:
    return time.strftime("%H:%M:%S", time.localtime(line.at))
