"""How fast names are looked up and registered."""

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.bench import crowd, directory, footprint, nginx, scene, wrk
from tests.bench.table import Aim, Reference, Row, Samples

KNOWN = 1_000
REGISTERED = 2_000

LOOKING_UP_S = 3
_CROWD_S = 10
_ENOUGH = 16_000  # registrations, for as long as the crowd is there
_REGISTERED_WITHIN_S = 300
_P99 = 98  # of the 99 cuts between hundredths

LOOKUPS_HOW = f"""\
`lanjami up` that knows {KNOWN:,} names, and nginx with one worker that serves the same answers as
files, its access log off; both on the loopback interface, driven by wrk (one thread, 32
connections) for {LOOKING_UP_S} s in turns. Half of the requests are `GET /name/…`, whose answers
have 2 KB, half `GET /addr/…`. A Jami client makes a connection for each. Processor time is that
of all processes of the server, for one lookup."""

REGISTRATIONS_HOW = f"""\
{REGISTERED:,} names for a box that knows none, by {crowd.REGISTRANTS} clients on the loopback
interface, each with a connection for each registration, and its next as soon as the last is
answered. Every one has an RSA-4096 key of its own and a signature that holds, and is on the disk
(with fsync) before it is answered."""

CROWD_HOW = f"""\
{crowd.LOOKERS} clients look {KNOWN:,} names up for {_CROWD_S} s, each at random moments,
{crowd.EACH_PER_S:g} times a second on average, whether or not it has its answers, and each time
over a connection of its own; meanwhile {crowd.REGISTRANTS} clients register, without a pause. A
lookup lasts from the call that makes its connection to the moment that the kernel received the
last byte of the answer (SO_TIMESTAMPNS), so that the time in which the clients' process comes to
read it is not in it. The clients' processes come first at the processor (nice -10), as clients
have one of their own. nginx is asked by the same {crowd.LOOKERS} clients, and nobody registers."""


async def measure_lookups() -> list[Row]:
    """Lookups a second and the processor time of one, beside nginx's."""
    return await asyncio.to_thread(_lookups)


async def measure_registrations() -> list[Row]:
    """Registrations a second, and the processor time of one."""
    return await asyncio.to_thread(_registrations)


async def measure_crowd() -> list[Row]:
    """How long a lookup takes among many and while others register, beside nginx's."""
    return await asyncio.to_thread(_crowd)


def _lookups() -> list[Row]:
    rows = []
    with _box_and_nginx() as (known, box, peer):
        for keep_alive, what, aim in (
            (False, "a connection each", Aim(0.35, of="ratio", least=True)),
            (True, "over kept connections", Aim(0.25, of="ratio", least=True)),
        ):
            ours, theirs = list[wrk.Speed](), list[wrk.Speed]()
            for _ in range(scene.ROUNDS):
                for server, speeds in ((box, ours), (peer, theirs)):
                    speed = wrk.look_up(
                        server, known.file, seconds=LOOKING_UP_S, keep_alive=keep_alive
                    )
                    speeds.append(speed)
            rows += [
                Row(f"Lookups, {what}", _per_s(ours), Reference("nginx", _per_s(theirs)), aim),
                Row(f"Processor time of one, {what}", _cpu(ours), Reference("nginx", _cpu(theirs))),
            ]
    return rows


def _registrations() -> list[Row]:
    per_s, cpu_ms = [], []
    for _ in range(scene.ROUNDS):
        with directory.knowing(0) as nobody, directory.serving(nobody) as box:
            bodies = _bodies(nobody.folder, REGISTERED)
            pids = footprint.family(box.pid)
            before_s = footprint.cpu_s(pids)
            told = _told(_clients("registrations", box.port, bodies, _REGISTERED_WITHIN_S))
            spent_s = footprint.cpu_s(pids) - before_s
        assert told["registered"] == REGISTERED, told
        per_s.append(REGISTERED / told["took_s"])
        cpu_ms.append(1e3 * spent_s / REGISTERED)
    return [
        Row("Registrations", Samples(per_s, "/s", 0), aim=Aim(300, least=True)),
        Row("Processor time of one", Samples(cpu_ms, "ms", 2)),
    ]


def _crowd() -> list[Row]:
    took = defaultdict[str, list[list[float]]](list)
    failed_lookups, failed_registrations, per_s = [], [], []
    for _ in range(scene.ROUNDS):
        with _box_and_nginx() as (known, box, peer):
            bodies = _bodies(known.folder, _ENOUGH)
            alone = _told(_clients("lookups", peer.port, known.file, _CROWD_S))
            quiet = _told(_clients("lookups", box.port, known.file, _CROWD_S))
            registering = _clients("registrations", box.port, bodies, _CROWD_S)
            busy = _told(_clients("lookups", box.port, known.file, _CROWD_S))
            registered = _told(registering)
        assert not alone["failed"], "nginx left lookups without an answer"
        assert registered["left"], "there were too few registrations to make"
        for when, told in (("nginx", alone), ("quiet", quiet), ("busy", busy)):
            took[when].append(told["latencies_ms"])
        failed_lookups.append(quiet["failed"] + busy["failed"])
        failed_registrations.append(registered["failed"])
        per_s.append(registered["registered"] / registered["took_s"])
    peer_median, peer_tail = _summary(took["nginx"])
    rows = []
    for when, what, aim in (
        ("quiet", "nobody registers", None),
        ("busy", f"{crowd.REGISTRANTS} register", Aim(10)),
    ):
        median, tail = _summary(took[when])
        rows += [
            Row(f"A lookup, {what}, median", median, Reference("nginx", peer_median)),
            Row(f"A lookup, {what}, 99th percentile", tail, Reference("nginx", peer_tail), aim),
        ]
    return [
        *rows,
        Row("Lookups that failed", Samples(failed_lookups, "", 0), aim=Aim(0, of="worst")),
        Row(
            "Registrations that failed",
            Samples(failed_registrations, "", 0),
            aim=Aim(0, of="worst"),
        ),
        Row("Registrations meanwhile", Samples(per_s, "/s", 0)),
    ]


@contextlib.contextmanager
def _box_and_nginx() -> Iterator[tuple[directory.Directory, directory.Server, nginx.Nginx]]:
    """A box that knows names, and an nginx that answers as it does."""
    with (
        directory.knowing(KNOWN) as known,
        directory.serving(known) as box,
        nginx.answering_as(box.port, known.paths, known.folder / "nginx") as peer,
    ):
        yield known, box, peer


def _per_s(speeds: Sequence[wrk.Speed]) -> Samples:
    return Samples([speed.per_s for speed in speeds], "/s", 0)


def _cpu(speeds: Sequence[wrk.Speed]) -> Samples:
    return Samples([speed.cpu_us for speed in speeds], "µs", 1)


def _summary(rounds: Sequence[Sequence[float]]) -> tuple[Samples, Samples]:
    """The medians and the 99th percentiles of the rounds."""
    medians = [statistics.median(values) for values in rounds]
    tails = [statistics.quantiles(values, n=100)[_P99] for values in rounds]
    return Samples(medians, "ms", 2), Samples(tails, "ms", 2)


def _bodies(folder: Path, count: int) -> Path:
    """A file of so many registrations, as the clients' process reads it."""
    file = folder / "registrations"
    lines = (json.dumps(named) for named in directory.registrations(_ENOUGH)[:count])
    file.write_text("\n".join(lines))
    return file


def _clients(verb: str, port: int, file: Path, seconds: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            *("nice", "-n", "-10", sys.executable, "-m", crowd.__name__),
            *(verb, str(port), str(file), str(seconds)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )


def _told(clients: "subprocess.Popen[str]") -> Any:
    printed, _ = clients.communicate()
    assert clients.returncode == 0, "the clients' process failed"
    return json.loads(printed)
