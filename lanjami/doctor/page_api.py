"""Hands the test of a client's way to the box to whoever asks, as one file: /doctor.py; and tells
that test what there is to be tested: /doctor.json."""

import importlib.resources
from collections.abc import Callable, Sequence

import msgspec
from aiohttp import web

import lanjami
from lanjami.discovery.wire import Beacon
from lanjami.doctor import from_client
from lanjami.runtime.httpd import json_answer

_FILE = (importlib.resources.files(__package__) / "from_client.py").read_bytes()
_PORTS = from_client.HTTP_PORTS
_HEADERS = {
    "Content-Disposition": 'attachment; filename="doctor.py"',
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Served(msgspec.Struct, frozen=True):
    """What clients are served by how the box is set up, whether it is up now or not: the ports of
    its DHT nodes, whether it has a proxy, and the port of its relay, None where it has none."""

    dht: list[int]
    proxy: bool
    turn: int | None


def routes(served: Served, *, beacons: Callable[[], Sequence[Beacon]]) -> list[web.RouteDef]:
    """`beacons` tells of the DHT nodes that are up."""

    async def tell(_: web.Request) -> web.Response:
        nodes = [beacon.node_id.hex() for beacon in beacons()]
        told = {"lanjami": lanjami.__version__, "nodes": nodes, **msgspec.to_builtins(served)}
        return json_answer(told)

    return [web.get("/doctor.py", _download), web.get("/doctor.json", tell)]


async def _download(request: web.Request) -> web.Response:
    body = _FILE
    if request.transport is not None:
        _, port, *_ = request.transport.get_extra_info("sockname")
        body = _asking(port)
    return web.Response(body=body, content_type="text/x-python", charset="utf-8", headers=_HEADERS)


def _asking(port: int) -> bytes:
    """The file that finds a box with a port of its own, too."""
    if port in _PORTS:
        return _FILE
    return _FILE.replace(b"HTTP_PORTS = %a" % (_PORTS,), b"HTTP_PORTS = %a" % ((port, *_PORTS),))
