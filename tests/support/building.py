"""A building full of real OpenDHT nodes: on each of its hosts many, each with an address of its
own, that know the box alone."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support import opendht_crowd
from tests.support.lab import Host, Lab, Switch
from tests.support.programs import program

HEAD_START_S = 0.5  # until every process has heard when to start


class Crowd:
    """The nodes of one host; its commands are those of `opendht_crowd`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, *question: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        line = await self._process.stdout.readline()
        assert line, f"the process with the nodes ended: {self._process.returncode}"
        return json.loads(line)


@asynccontextmanager
async def crowd(host: Host, addresses: Sequence[str], *, python: str) -> AsyncIterator[Crowd]:
    async with program(
        *("ip", "netns", "exec", host.namespace, python, str(Path(opendht_crowd.__file__))),
        *addresses,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
    ) as process:
        yield Crowd(process)


@asynccontextmanager
async def building(
    lab: Lab, switch: Switch, box: Host, *, hosts: int, each: int, pythons: Sequence[str]
) -> AsyncIterator[list[Crowd]]:
    """Hosts with nodes at 10.77.HOST.NODE, from 10.77.1.1 on, and the box at 10.77.0.1/16; the
    hosts' interpreters in turns."""
    addresses = {box: ["10.77.0.1"]}
    for number in range(1, hosts + 1):
        host = lab.host(f"floor{number}").without_ipv6()
        addresses[host] = [f"10.77.{number}.{node}" for node in range(1, each + 1)]
        host.plug(switch, *(f"{address}/16" for address in addresses[host]))
    _know_each_other(addresses)
    async with AsyncExitStack() as opened:
        floors = list(addresses.items())[1:]
        crowds = [
            await opened.enter_async_context(crowd(host, own, python=python))
            for (host, own), python in zip(floors, itertools.cycle(pythons), strict=False)
        ]
        await ask_all(crowds, ("put", []))  # until they hear us
        yield crowds


def _know_each_other(addresses: Mapping[Host, Sequence[str]]) -> None:
    """Tell every host where the addresses of all others are. What it would learn by ARP does not
    fit: Linux has one table for all namespaces, with 1,024 places (arp(7), gc_thresh3) that what
    is permanent does not take."""
    macs = {
        host: json.loads(host.ip("-j", "link", "show", "eth0"))[0]["address"] for host in addresses
    }
    for host in addresses:
        batch = host.lab.folder / f"{host.name}-neighbours"
        batch.write_text(
            "".join(
                f"neigh add {address} lladdr {macs[other]} dev eth0 nud permanent\n"
                for other, theirs in addresses.items()
                for address in theirs
                if other is not host
            )
        )
        host.ip("-batch", str(batch))


async def ask_all(crowds: Sequence[Crowd], *questions: Sequence[object]) -> list[Any]:
    """Ask all at once: each its own question, or all the same."""
    asked = questions if len(questions) > 1 else questions * len(crowds)
    async with asyncio.TaskGroup() as tasks:
        answers = [
            tasks.create_task(crowd.ask(*question))
            for crowd, question in zip(crowds, asked, strict=True)
        ]
    return [answer.result() for answer in answers]


async def join(crowds: Sequence[Crowd], ip: str, port: int) -> list[float | None]:
    """All at once; for each node the seconds until it was connected, None where it is not."""
    moment = time.monotonic() + HEAD_START_S
    joined = await ask_all(crowds, ("join", moment, ip, port))
    return [took for one in joined for took in one]
