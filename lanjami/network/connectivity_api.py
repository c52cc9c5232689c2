"""Answers those who look whether this network has the Internet, so that they stay in it."""

from aiohttp import web

from lanjami.errors import RequestError
from lanjami.network import connectivity

PAGE = "/connectivity"

_EXPLAINED = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>This network has no Internet</title>
<h1>This network has no Internet</h1>
<p>It carries Jami inside this building: write, call and look names up as usual. Web pages and
other apps have nothing to reach.
<p>Phones and computers leave a network that has no Internet. So that yours stays, this box answers
the question by which it finds out. A phone may still say "limited connection": choose to stay
connected, and switch mobile data off where it keeps going there.
<p>Whoever runs the box switches these answers off with <code>dns.connectivity_checks</code>.
</html>
"""


def routes() -> list[web.RouteDef]:
    """The checks, by their hosts, and a page that says what they are about."""
    return [
        *(web.get(path, _answer) for path in connectivity.PATHS),
        web.get(PAGE, _explain),
    ]


async def _answer(request: web.Request) -> web.Response:
    found = connectivity.expected(request.host, request.path)
    if found is None:
        raise RequestError(404, "nothing is here")
    headers = {"Cache-Control": "no-store", "Content-Type": found.kind}
    if not found.kind:
        del headers["Content-Type"]
    return web.Response(status=found.status, body=found.body.encode() or None, headers=headers)


async def _explain(_: web.Request) -> web.Response:
    return web.Response(text=_EXPLAINED, content_type="text/html")
