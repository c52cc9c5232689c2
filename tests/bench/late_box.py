"""How long a client that was there first needs when the appliance comes up."""

import asyncio
import time

from tests.bench import clients, scene
from tests.bench.table import Aim, Row, Samples
from tests.support.appliance import Appliance

HOW = """\
The client starts alone on the LAN and asks its only question; two seconds later `lanjami up` is
started. Measured from the moment that the appliance's log says its DHT node is up, and from its
launch, to the client's first good node. Each round has a new network and a new state folder."""

_HEAD_START_S = 2.0  # the client's question is long unanswered by then
_READY_WITHIN_S = 20.0
_READY = "service up service=dhtnode"


async def measure() -> list[Row]:
    """Each kind of client, from readiness and from launch."""
    rows = []
    for client in (clients.wheel(), clients.debian()):
        rounds = [await _round(client) for _ in range(scene.ROUNDS)]
        after_ready, after_launch = zip(*rounds, strict=True)
        rows += [
            Row(
                f"{client.name}, after the box is ready",
                Samples(after_ready, "s", 3),
                aim=Aim(2.0, of="worst"),
            ),
            Row(f"{client.name}, after the box is launched", Samples(after_launch, "s", 3)),
        ]
    return rows


async def _round(client: clients.Client) -> tuple[float, float]:
    """Seconds from readiness, and from launch, to the client being connected."""
    with scene.lab() as lab:
        box, host = scene.lan(lab, "lanjami")
        waiting = client.start(host)
        await asyncio.sleep(_HEAD_START_S)
        appliance = Appliance(box)
        launched_at = time.monotonic()
        appliance.launch()
        ready_at = await _ready(appliance)
        connected_at = (await waiting.joined()).connected_at
        return connected_at - ready_at, connected_at - launched_at


async def _ready(appliance: Appliance) -> float:
    """When the DHT node was up, give or take two milliseconds."""
    async with asyncio.timeout(_READY_WITHIN_S):
        while _READY not in appliance.process.output():
            await asyncio.sleep(0.002)
    return time.monotonic()
