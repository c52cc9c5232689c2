"""Measuring the line between a visitor and the box: one at a time, bounded on this side.

Who measures asks for a turn until nobody is in front, then for echoes, streams from the box, and
sends to it; what they measured comes back as a result. Nothing is done without a ticket, and a
ticket is only given to a request that no foreign page can make a browser send.
"""

import asyncio
import os
import secrets
from typing import Any

import msgspec
from aiohttp import web

from lanjami.errors import RequestError
from lanjami.runtime.httpd import json_answer
from lanjami.status import quality
from lanjami.status.live import Live
from lanjami.status.page_api import HEADERS, language
from lanjami.status.quality import LANES, SLOW_STREAM_S, STREAM_BYTES
from lanjami.status.turns import Turns

_HEADERS = {**HEADERS, "Cache-Control": "no-store"}
_PIECE = 64 * 1024  # bytes of the stream from the box that are written at a time


class _Asked(msgspec.Struct, frozen=True):
    """`ticket` is that of the answer before, "" at first."""

    ticket: str = ""


class QualityApi:
    """Serves who measures; `live` writes what they measured as HTML."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._turns = Turns()
        self._noise = os.urandom(_PIECE)  # which no link on the way compresses

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/status/quality/turn", self._turn),
            web.get("/status/quality/echo", self._echo),
            web.get("/status/quality/down", self._down),
            web.post("/status/quality/up", self._up),
            web.post("/status/quality/result", self._end),
            web.post("/status/quality/leave", self._leave),
        ]

    async def _turn(self, request: web.Request) -> web.Response:
        """A place in the queue: `ahead` others, and how to measure once there is none."""
        if request.content_type != "application/json":
            raise RequestError(415, "a turn is asked for with JSON")
        try:
            asked = msgspec.json.decode(await request.read(), type=_Asked)
        except (msgspec.DecodeError, RecursionError) as error:
            raise RequestError(400, f"this asks for no turn: {error}") from error
        ticket = asked.ticket if asked.ticket in self._turns else secrets.token_urlsafe(16)
        ahead = self._turns.ask(ticket, source=request.remote or "", now=_now())
        return _json(
            {
                "ticket": ticket,
                "ahead": ahead,
                "round_trips": quality.ROUND_TRIPS,
                "lanes": quality.LANES,
                "lane_trips": quality.LANE_TRIPS,
                "fewest_trips": quality.FEWEST_TRIPS,
                "trips_s": quality.TRIPS_S,
                "stream_s": quality.STREAM_S,
                "enough_bytes": quality.ENOUGH_BYTES,
                "slow_stream_s": SLOW_STREAM_S,
                "ramp_s": quality.RAMP_S,
                "stream_bytes": STREAM_BYTES,
                "chunk": quality.CHUNK,
                "first_chunk": quality.FIRST_CHUNK,
                "chunk_s": quality.CHUNK_S,
                "stall_ms": quality.STALL_MS,
            }
        )

    async def _echo(self, request: web.Request) -> web.Response:
        self._spend(request, 0)
        return web.Response(status=204, headers=_HEADERS)

    async def _down(self, request: web.Request) -> web.StreamResponse:
        self._spend(request, STREAM_BYTES // LANES)
        response = web.StreamResponse(
            headers={**_HEADERS, "Content-Type": "application/octet-stream"}
        )
        await response.prepare(request)
        end = asyncio.get_running_loop().time() + SLOW_STREAM_S
        try:
            async with asyncio.timeout_at(end + quality.GRACE_S):
                for _ in range(STREAM_BYTES // LANES // _PIECE):
                    if _now() >= end:
                        break
                    await response.write(self._noise)
                    await asyncio.sleep(0)  # let everybody else have their turn
                await response.write_eof()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        return response

    async def _up(self, request: web.Request) -> web.Response:
        self._spend(request, len(await request.read()))
        return web.Response(status=204, headers=_HEADERS)

    async def _end(self, request: web.Request) -> web.Response:
        self._spend(request, 0)
        measured = quality.parse(await request.read())
        self._turns.leave(request.query["ticket"])
        text = self._live.renderer.result(language(request), quality.judge(measured))
        return web.Response(text=text, content_type="text/html", headers=_HEADERS)

    async def _leave(self, request: web.Request) -> web.Response:
        """Who stops makes room at once, for others and for trying again."""
        self._turns.leave(request.query.get("ticket", ""))
        return web.Response(status=204, headers=_HEADERS)

    def _spend(self, request: web.Request, size: int) -> None:
        self._turns.spend(request.query.get("ticket", ""), size, now=_now())


def _now() -> float:
    return asyncio.get_running_loop().time()


def _json(body: dict[str, Any]) -> web.Response:
    answer = json_answer(body)
    answer.headers.update(_HEADERS)
    return answer
