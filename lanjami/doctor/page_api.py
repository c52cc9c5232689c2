"""Hands the test of a client's way to the box to whoever asks, as one file: /doctor.py."""

import importlib.resources

from aiohttp import web

_FILE = (importlib.resources.files(__package__) / "from_client.py").read_bytes()
_HEADERS = {
    "Content-Disposition": 'attachment; filename="doctor.py"',
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def routes() -> list[web.RouteDef]:
    return [web.get("/doctor.py", _download)]


async def _download(_: web.Request) -> web.Response:
    return web.Response(body=_FILE, content_type="text/x-python", charset="utf-8", headers=_HEADERS)
