"""The DHT node in Python beside Debian's dhtnode: a storm of clients, puts, queries, memory."""

import asyncio
import json
import statistics
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import dht_asker, footprint, scene
from tests.bench.table import Aim, Reference, Row, Samples
from tests.support import building
from tests.support.appliance import Appliance
from tests.support.lab import Host, Lab, Process

ROUNDS = 3
HOSTS, EACH = 10, 30  # of the storm
SOURCES = 10
WORDS = 100

HOW = f"""\
A box whose only node is the one in Python, and Debian's `dhtnode` in its place. The storm:
{HOSTS * EACH} real clients ({HOSTS} processes with {EACH} nodes of OpenDHT's wheel each, every one
at an address of its own) are started at once and know this node alone; until the last is
connected. Two processors are shared by all of them, so most of the time is the clients' own.
A listener: the median of {dht_asker.PUTS} puts, each from the datagram that one client sends to
the one that another has; and that of {WORDS} puts between two clients of OpenDHT's wheel, from
the call of the one to the call-back of the other. Queries: {dht_asker.PER_S:,} a second from
{SOURCES} addresses for {dht_asker.LOAD_S:g} s, a quarter each of put, get, find and ping; how
many a second one processor would do at this rate's cost. A newcomer: one address sends
{dht_asker.FLOOD_PER_S:,} queries a second, three times its limit; meanwhile {dht_asker.NEWCOMERS}
come at a second address, one after the other, until each has its first answer; the longest of
those times. Memory: what {dht_asker.VALUES:,} values of {len(dht_asker.VALUE)} bytes, each at a
key of its own, add to the process. Medians of {ROUNDS} rounds."""

_CLIENT = str(Path(__file__).with_name("wheel_words.py"))

Start = Callable[[Host], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class _Round:
    joined_s: float
    heard_ms: float
    called_ms: float
    queries_per_s: float
    unanswered: float
    newcomer_ms: float
    memory_mb: float


async def measure() -> list[Row]:
    """The storm, the way to a listener, queries and memory, of both nodes."""
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(await _round(_start_box))
        theirs.append(await _round(_start_debian))
    rows = []
    for what, member, unit, digits, aim in (
        (
            f"Until the last of {HOSTS * EACH} clients is connected",
            "joined_s",
            "s",
            2,
            Aim(1.5, of="ratio"),
        ),
        ("From a put to who listens, datagrams", "heard_ms", "ms", 2, Aim(2, of="ratio")),
        ("From a put to who listens, OpenDHT 4.4.2", "called_ms", "ms", 2, Aim(2, of="ratio")),
        ("Queries a second and processor", "queries_per_s", "", 0, None),
        ("Queries that were not answered", "unanswered", "", 0, None),
        (
            "A newcomer's first answer, one source at its limit",
            "newcomer_ms",
            "ms",
            1,
            Aim(100, of="worst"),
        ),
        (f"Memory for {dht_asker.VALUES:,} values", "memory_mb", "MB", 1, None),
    ):
        measured, compared = (
            Samples([getattr(one, member) for one in rounds], unit, digits)
            for rounds in (ours, theirs)
        )
        rows.append(Row(what, measured, Reference("dhtnode", compared), aim))
    return rows


async def _round(start: Start) -> _Round:
    joined_s = await _storm(start)
    with scene.lab() as lab:
        pid, ask = await _asked(lab, start)
        heard_ms = statistics.median(await ask("latency"))
        before_s = footprint.cpu_s([pid])
        load = await ask("load")
        took_s = footprint.cpu_s([pid]) - before_s
        newcomer_ms = max(await ask("newcome"))
    with scene.lab() as lab:
        pid, ask = await _asked(lab, start)
        before_mb = footprint.pss_mb([pid])
        stored = await ask("fill")
        assert stored == dht_asker.VALUES, f"only {stored} values were stored"
        memory_mb = footprint.pss_mb([pid]) - before_mb
    return _Round(
        joined_s=joined_s,
        heard_ms=heard_ms,
        called_ms=await _called_ms(start),
        queries_per_s=load["answered"] / took_s,
        unanswered=load["asked"] - load["answered"],
        newcomer_ms=newcomer_ms,
        memory_mb=memory_mb,
    )


async def _storm(start: Start) -> float:
    with scene.lab() as lab:
        switch = lab.switch()
        box = lab.host("box").plug(switch, f"{scene.BOX}/16")
        await start(box)
        async with building.building(
            lab, switch, box, hosts=HOSTS, each=EACH, pythons=[sys.executable]
        ) as crowds:
            joined = await building.join(crowds, scene.BOX, dht_asker.PORT)
    took = [one for one in joined if one is not None]
    assert len(took) == HOSTS * EACH, f"only {len(took)} clients joined"
    return max(took)


async def _called_ms(start: Start) -> float:
    """Milliseconds from a client's put to the call-back of one that listens."""
    with scene.lab() as lab:
        switch = lab.switch()
        await start(lab.host("box").plug(switch, f"{scene.BOX}/24"))
        speaking = []
        for number, verb in enumerate(("hear", "put"), start=2):
            client = lab.host(verb).plug(switch, f"10.77.0.{number}/24")
            speaking.append(
                client.start(
                    sys.executable, _CLIENT, verb, scene.BOX, "words", str(WORDS), output=verb
                )
            )
            while "ready" not in speaking[-1].output():
                await asyncio.sleep(0.05)  # who has to hear the first word is there before it
        heard, put = [await _moments(process) for process in speaking]
        return statistics.median(1000 * (heard[id] - put[id]) for id in put)


async def _moments(process: Process) -> dict[str, float]:
    assert await asyncio.to_thread(process.wait, within_s=60.0) == 0, process.output()
    _, *lines = process.output().splitlines()
    return {id: float(at_s) for id, at_s in (line.split() for line in lines)}


async def _asked(lab: Lab, start: Start) -> tuple[int, Callable[[str], Awaitable[Any]]]:
    """A node's process, and what asks it."""
    server, client, sources = scene.cable(lab, "dht", sources=SOURCES)
    pid = await start(server)

    async def ask(verb: str) -> Any:
        program = ("-m", "tests.bench.dht_asker", verb, scene.BOX, *sources)
        asking = client.start(sys.executable, *program, output=verb)
        assert await asyncio.to_thread(asking.wait, within_s=60.0) == 0, asking.output()
        return json.loads(asking.output())

    return pid, ask


async def _start_box(server: Host) -> int:
    appliance = await Appliance(server, 'dht.engines=["python"]').start()
    return appliance.process.pid


async def _start_debian(server: Host) -> int:
    node = server.start("dhtnode", "-s", "-p", str(dht_asker.PORT))
    await asyncio.sleep(1)  # it says nothing when it is there
    return node.pid
