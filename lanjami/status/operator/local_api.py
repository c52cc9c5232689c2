"""What the operator's commands ask of the gate, on the box's Unix socket.

`POST /operator/link` makes a link, at each of the box's addresses; `PUT /operator/password` sets a
password, and `DELETE` forgets it.
"""

from collections.abc import Callable, Sequence

from aiohttp import web

from lanjami.errors import RequestError
from lanjami.runtime.httpd import json_answer
from lanjami.status.operator import rules
from lanjami.status.operator.gate_api import Gate


def routes(gate: Gate, urls: Callable[[], Sequence[str]]) -> list[web.RouteDef]:
    """`urls` are those of the page."""

    async def link(_: web.Request) -> web.Response:
        token = gate.make_link()
        return json_answer([f"{url}/operator/link?token={token}" for url in urls()])

    async def keep(request: web.Request) -> web.Response:
        password = (await request.read()).decode("utf-8", "replace")
        if fault := rules.fault_of(password, password):
            raise RequestError(400, rules.REFUSALS[fault])
        await gate.keep_password(password)
        return json_answer(None)

    async def forget(_: web.Request) -> web.Response:
        await gate.forget_password()
        return json_answer(None)

    return [
        web.post("/operator/link", link),
        web.put("/operator/password", keep),
        web.delete("/operator/password", forget),
    ]
