"""A status page whose box is in the state that a test chooses, served on loopback."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_interface

from lanjami.lan import Address, Interface
from lanjami.runtime.httpd import HttpServer
from lanjami.status.history import STEP_S, Tally
from lanjami.status.live import Live
from lanjami.status.page import Present, Reached
from lanjami.status.page_api import PageApi
from lanjami.status.quality import CHUNK
from lanjami.status.quality_api import QualityApi
from lanjami.status.snapshot import Dht, Discovery, Registrations, Service, Snapshot
from tests.support.ports import free_port
from tests.support.running import running

UP = Service("up", "UDP 4222", "", 0, 3)
DOWN = Service("down", "", "gone", 1, 30)


@dataclass(slots=True)
class Stage:
    """A box whose state the tests choose."""

    services: dict[str, Service] = field(default_factory=lambda: {"dhtnode": UP, "names": UP})
    present: Present | None = field(default_factory=Present)
    tally: Callable[[], Tally] = lambda: Tally(0, {}, {})
    relay: str = ""
    port: int = field(default_factory=free_port)
    live: Live = field(init=False)

    def snapshot(self) -> Snapshot:
        return Snapshot(
            version="1.0",
            healthy=all(one.state == "up" and not one.reason for one in self.services.values()),
            services=dict(self.services),
            dht=Dht("", 4222, 0, 0, 0, 0),
            discovery=Discovery([], 0, 0, 0, 0, {}, []),
            addresses=["10.0.0.5"],
            host="lanjami.local",
            name_server="",
            names=0,
            registrations=Registrations(0, 0, {}),
        )


def _lan() -> list[Interface]:
    return [Interface("eth0", 2, (Address(ip_interface("10.0.0.5/24")),))]


@asynccontextmanager
async def served(
    stage: Stage, *, write_within_s: float = 10.0, sample_every_s: float = STEP_S
) -> AsyncIterator[Stage]:
    live = stage.live = Live(
        snapshot=stage.snapshot,
        present=lambda: stage.present,
        tally=stage.tally,
        look_every_s=0.05,
        sample_every_s=sample_every_s,
    )
    page = PageApi(
        live,
        lan=_lan,
        reach=lambda address, port: Reached(address, port, 4222, has_proxy=True, relay=stage.relay),
        write_within_s=write_within_s,
    )
    server = HttpServer(
        ports=[stage.port],
        routes=lambda: [*page.routes(with_root=True), *QualityApi(live).routes()],
        probe="/",
        largest_body=CHUNK,
        request_within_s=2.0,  # also for who has left, to be seen as gone
    )
    async with running(live), running(server):
        yield stage
