"""How fast discovery answers, whether it answers all, and what the box holds afterwards."""

import asyncio
import itertools
import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.bench import asker, footprint, scene
from tests.bench.table import Aim, Reference, Row, Samples
from tests.support.appliance import Appliance
from tests.support.lab import Host, Process

SOURCES = 500

_Rounds = list[list[float]]  # milliseconds of the queries of each round

LATENCY_HOW = f"""\
One query from each of {SOURCES} addresses over a veth pair, one after the other, until the
unicast answer is received. "First" includes that the box has to find the asker's hardware
address (ARP); "again" does not. A round's values are the median and the 99th percentile of its
{SOURCES} queries; the table has the medians of the rounds. "Echo" is a loop of Python's that sends
the same few bytes to everybody, on a cable of its own: what the machine itself takes."""

LOAD_HOW = f"""\
{asker.QUERIES:,} queries from {SOURCES} addresses, evenly over {asker.LOAD_S:g} s, over a veth
pair; each is to be answered by unicast, once. Each round has a box of its own, whose memory is
taken at the end."""

_numbers = itertools.count(1)
_P99 = 98  # of the 99 cuts between hundredths


async def measure_latency() -> list[Row]:
    """Median and 99th percentile, first and again, beside those of a bare echo."""
    box_rounds, echo_rounds = defaultdict[str, _Rounds](list), defaultdict[str, _Rounds](list)
    with scene.lab() as lab:
        box, box_client, addresses = scene.cable(lab, "lanjami", sources=SOURCES)
        echo, echo_client, _ = scene.cable(lab, "echo", sources=SOURCES)
        echo.start(sys.executable, str(Path(__file__).with_name("echo.py")), scene.BOX)
        await Appliance(box).start()
        for _ in range(scene.ROUNDS):
            for server, client, rounds in (
                (box, box_client, box_rounds),
                (echo, echo_client, echo_rounds),
            ):
                server.ip("neigh", "flush", "dev", "eth0")
                for when in ("first", "again"):
                    rounds[when].append(await _latencies(client, addresses))
    rows = []
    for when, taken in box_rounds.items():
        medians, tails = _summary(taken)
        echo_medians, echo_tails = _summary(echo_rounds[when])
        rows += [
            Row(f"{when.capitalize()}, median", medians, Reference("echo", echo_medians), Aim(1)),
            Row(f"{when.capitalize()}, 99th percentile", tails, Reference("echo", echo_tails)),
        ]
    return rows


async def measure_load() -> list[Row]:
    """Unanswered queries, answers given twice, and the memory afterwards."""
    counts, memory, alone = [], [], []
    for _ in range(scene.ROUNDS):
        with scene.lab() as lab:
            box, client, addresses = scene.cable(lab, "lanjami", sources=SOURCES)
            appliance = await Appliance(box).start()
            counts.append(await _ask(client, "load", addresses))
            pids = footprint.family(appliance.process.pid)
            memory.append(footprint.pss_mb(pids))
            alone.append(footprint.alone_mb(pids))
    asked = f"{asker.QUERIES:,} queries from {SOURCES} sources in {asker.LOAD_S:g} s"
    return [
        Row(
            f"{asked}: unanswered",
            Samples([count["unanswered"] for count in counts], "", 0),
            aim=Aim(0, of="worst"),
        ),
        Row(
            f"{asked}: answers given twice",
            Samples([count["repeated"] for count in counts], "", 0),
            aim=Aim(0, of="worst"),
        ),
        *footprint.rows("the box after that", memory, alone),
    ]


def _summary(rounds: _Rounds) -> tuple[Samples, Samples]:
    """The medians and the 99th percentiles of the rounds."""
    medians = [statistics.median(values) for values in rounds]
    tails = [statistics.quantiles(values, n=100)[_P99] for values in rounds]
    return Samples(medians, "ms", 3), Samples(tails, "ms", 3)


async def _latencies(client: Host, addresses: list[str]) -> list[float]:
    values = await _ask(client, "latency", addresses)
    return [asker.ANSWER_WITHIN_S * 1e3 if value is None else value for value in values]


async def _ask(client: Host, what: str, addresses: list[str]) -> Any:
    name = f"asker-{next(_numbers)}"
    file = client.lab.folder / name
    file.write_text(json.dumps(addresses))
    program = str(Path(__file__).with_name("asker.py"))
    asking = client.start(sys.executable, program, what, str(file), output=name)
    return await asyncio.to_thread(_result, asking)


def _result(asking: Process) -> Any:
    assert asking.wait(within_s=60.0) == 0, asking.output()
    return json.loads(asking.output())
