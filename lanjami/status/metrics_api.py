"""The metrics over HTTP, for who is let to read them."""

from collections.abc import Callable, Sequence

from aiohttp import web

from lanjami import lan
from lanjami.config import Metrics
from lanjami.errors import RequestError
from lanjami.status import metrics, snapshot
from lanjami.status.page_api import HEADERS

_HEADERS = {**HEADERS, "Cache-Control": "no-store", "Vary": "Accept"}


class MetricsApi:
    """Serves `/metrics` to the networks in `settings`; `interfaces` are those of the box, whose
    neighbours are local."""

    def __init__(
        self,
        settings: Metrics,
        *,
        snapshot: Callable[[], snapshot.Snapshot],
        interfaces: Callable[[], Sequence[lan.Interface]],
    ) -> None:
        self._settings = settings
        self._snapshot = snapshot
        self._interfaces = interfaces
        self._scrapes = 0
        self._refused = 0

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/metrics", self._answer)]

    def counts(self) -> snapshot.Metrics:
        return snapshot.Metrics(self._scrapes, self._refused)

    async def _answer(self, request: web.Request) -> web.Response:
        if not self._settings.networks:
            self._refused += 1
            raise RequestError(404, "this box gives out no metrics (metrics.networks is empty)")
        addresses = [address for each in self._interfaces() for address in each.addresses]
        if not self._settings.may_ask(_source(request), addresses):
            self._refused += 1
            raise RequestError(403, "the metrics of this box are not for your address")
        self._scrapes += 1
        openmetrics = metrics.prefers_openmetrics(request.headers.get("Accept", ""))
        text = metrics.render(self._snapshot(), openmetrics=openmetrics)
        kind = metrics.OPENMETRICS if openmetrics else metrics.TEXT
        return web.Response(body=text.encode(), headers={**_HEADERS, "Content-Type": kind})


def _source(request: web.Request) -> lan.Ip:
    if request.remote is None:
        raise RequestError(400, "the client is gone")
    return lan.of_socket(request.remote)
