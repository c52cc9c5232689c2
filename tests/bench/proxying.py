"""What the DHT proxy serves, beside Debian's `dhtnode --proxyserver`."""

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench import footprint, phones, scene
from tests.bench.table import Aim, Reference, Row, Samples
from tests.support.appliance import Appliance
from tests.support.lab import Host, Process

ROUNDS = 3
SECOND_SOURCE = "10.77.0.3"
WITHIN_S = 120.0

HOW = f"""\
A box and a client that speaks for many phones, on a switch; the other proxy is Debian's dhtnode
in the box's place, with a second node beside it, as a proxy with no other node serves nobody.
Requests go over {phones.CONNECTIONS} connections that stay, for {phones.ASK_S:g} s of each kind,
a get and a put each for one of {phones.KEYS} keys of the connection's own, with one small value.
The latency is from a put until a listener has the line, the median of {phones.PUTS}.
{phones.LISTENS:,} listens are opened {phones.OPENING} at once, and the memory is that of the
proxy's process, per listen. Medians of {ROUNDS} rounds."""

_KINDS = {"info": "Node infos", "get": "Gets", "put": "Puts"}


async def measure() -> list[Row]:
    """Requests a second, latency and listens, of the box and of Debian's proxy."""
    box = [await _round(f"box{number}", _start_box) for number in range(ROUNDS)]
    debian = [await _round(f"debian{number}", _start_debian) for number in range(ROUNDS)]
    rows = [
        Row(
            f"{title} a second",
            Samples([said["rates"][kind] for said in box], "", 0),
            Reference("dhtnode", Samples([said["rates"][kind] for said in debian], "", 0)),
            Aim(0.5, of="ratio", least=True),
        )
        for kind, title in _KINDS.items()
    ]
    for what, member, unit, digits, aim in (
        ("From a put to who listens", "latency_ms", "ms", 2, Aim(2, of="ratio")),
        (f"{phones.LISTENS:,} listens opened", "took_s", "s", 1, None),
        ("Memory of an open listen", "kb_per_listen", "kB", 1, None),
    ):
        ours, theirs = ([said[member] for said in rounds] for rounds in (box, debian))
        rows.append(
            Row(
                what,
                Samples(ours, unit, digits),
                Reference("dhtnode", Samples(theirs, unit, digits)),
                aim,
            )
        )
    return rows


async def _round(name: str, start: Any) -> dict[str, Any]:
    with scene.lab() as lab:
        server, client = scene.lan(lab, name)
        client.ip("addr", "add", f"{SECOND_SOURCE}/24", "dev", "eth0")
        pid = await start(server)
        said = _said(await _told(client, "ask"))
        said["latency_ms"] = statistics.median(said["latency_ms"])
        before = footprint.pss_mb([pid])
        listening = await _told(client, "listen", scene.CLIENT, SECOND_SOURCE)
        said |= _said(listening)
        await asyncio.sleep(1)
        said["kb_per_listen"] = 1024 * (footprint.pss_mb([pid]) - before) / said["opened"]
        return said


async def _start_box(server: Host) -> int:
    appliance = await Appliance(server).start()
    return appliance.process.pid


async def _start_debian(server: Host) -> int:
    server.start("dhtnode", "-s", "-p", "4223", output="second")
    await asyncio.sleep(1)
    entry = ("-b", "127.0.0.1:4223")
    proxy = server.start("dhtnode", "-s", "-p", "4222", *entry, "--proxyserver", "80")
    await asyncio.sleep(3)
    return proxy.pid


async def _told(client: Host, what: str, *sources: str) -> Process:
    """The program that speaks for the phones, once it has said what it measured."""
    program = str(Path(phones.__file__))
    process = client.start(sys.executable, program, what, scene.BOX, "80", *sources, output=what)
    until = time.monotonic() + WITHIN_S
    while not process.output().endswith("\n") and time.monotonic() < until:
        await asyncio.sleep(0.1)
    return process


def _said(process: Process) -> dict[str, Any]:
    return dict(json.loads(process.output()))
