"""A whole building of real OpenDHT nodes that know the box alone."""

import asyncio
import secrets
import sys
from collections.abc import Sequence

from tests.bench import footprint
from tests.support.appliance import Appliance
from tests.support.building import Crowd, ask_all, building, join
from tests.support.lab import Lab, Switch

HOSTS, EACH = 10, 30
KEYS = 240  # of each host
MISSING = 2  # of 2,400: 99.9 % are found
PYTHONS = (sys.executable, "/usr/bin/python3")  # the wheel and Debian's OpenDHT
ACQUAINTED = 16  # nodes; a value is put at eight
MEMORY_MB = 100


async def test_three_hundred_nodes_find_what_others_put(lab: Lab, switch: Switch) -> None:
    box = lab.host("box").plug(switch, "10.77.0.1/16")
    async with building(lab, switch, box, hosts=HOSTS, each=EACH, pythons=PYTHONS) as crowds:
        appliance = await Appliance(box).start()
        assert None not in await join(crowds, "10.77.0.1", 4222)
        await _acquainted(crowds)
        keys = [_keys(KEYS) for _ in range(HOSTS)]
        stored = await ask_all(crowds, *(("put", mine) for mine in keys))
        assert sum(stored) == HOSTS * KEYS
        others = keys[1:] + keys[:1]
        found = await ask_all(crowds, *(("get", theirs) for theirs in others))
        assert sum(found) >= HOSTS * KEYS - MISSING
        status = await appliance.healthy()
        assert all(node["good"] > ACQUAINTED for node in status["dht"]["nodes"])
        assert footprint.alone_mb(footprint.family(appliance.process.pid)) < MEMORY_MB


async def _acquainted(crowds: Sequence[Crowd]) -> None:
    """Have everybody put and get, as clients do, until each knows others in every direction:
    before, what OpenDHT puts or asks for may stop at a node that knows too few."""
    async with asyncio.timeout(30):
        while min(min(known) for known in await ask_all(crowds, ("known",))) < ACQUAINTED:
            for verb in ("put", "get"):
                await ask_all(crowds, *((verb, _keys()) for _ in range(HOSTS)))


def _keys(number: int = 2 * EACH) -> list[str]:
    """Keys that nobody has used yet."""
    return [secrets.token_hex() for _ in range(number)]
