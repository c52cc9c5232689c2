"""What the appliance costs while nobody needs it: memory and processor."""

import asyncio
import re
import time
from collections import Counter
from pathlib import Path

from tests.bench import scene
from tests.bench.table import Aim, Row, Samples
from tests.support.appliance import Appliance

HOW = """\
An appliance on a LAN with nobody else, for a minute from five seconds after it is healthy, in
five parts. Memory is the proportional set size (Pss), which is less where other programs of the
machine share pages with the box, and what it would be with no such programs. Processor time is
that of all threads. All are sums over the box's processes."""

_SETTLE_S = 5.0
_MINUTE_S = 60.0
_KB = 1024


async def measure() -> list[Row]:
    """Memory and processor over an idle minute."""
    with scene.lab() as lab:
        box, _ = scene.lan(lab, "lanjami")
        appliance = await Appliance(box).start()
        await asyncio.sleep(_SETTLE_S)
        pids = family(appliance.process.pid)
        memory, alone, shares = [], [], []
        for _ in range(scene.ROUNDS):
            before, started_at = cpu_s(pids), time.monotonic()
            await asyncio.sleep(_MINUTE_S / scene.ROUNDS)
            shares.append(100 * (cpu_s(pids) - before) / (time.monotonic() - started_at))
            memory.append(pss_mb(pids))
            alone.append(alone_mb(pids))
        assert family(appliance.process.pid) == pids, "a process of the box was restarted"
    return [
        *rows("an idle box", memory, alone),
        Row("Processor time of an idle box", Samples(shares, "% of a core", 2), aim=Aim(1)),
    ]


def rows(whose: str, pss: list[float], alone: list[float]) -> list[Row]:
    """What the memory of a box comes to, counted both ways."""
    return [
        Row(f"Memory of {whose}, Pss", Samples(pss, "MB", 1), aim=Aim(80)),
        Row(
            f"Memory of {whose}, no other program sharing",
            Samples(alone, "MB", 1),
            aim=Aim(80),
        ),
    ]


def family(pid: int) -> list[int]:
    """A process and all that it and its children started."""
    children = [
        int(child)
        for listed in Path("/proc", str(pid), "task").glob("*/children")
        for child in listed.read_text().split()
    ]
    return [pid, *(member for child in children for member in family(child))]


def pss_mb(pids: list[int]) -> float:
    """Megabytes (10^6) of memory, each page divided among all processes that share it."""
    rollups = [_proc(pid, "smaps_rollup") for pid in pids]
    return sum(_sum_kb(rollup, "Pss") for rollup in rollups) * _KB / 1e6


def alone_mb(pids: list[int]) -> float:
    """Megabytes (10^6) of memory, pages that others share counted as if nobody did.

    Of a file that several of `pids` share, the larger part counts, once.
    """
    own_kb = 0
    shared_kb: dict[str, int] = {}
    for pid in pids:
        of_process: Counter[str] = Counter()
        for mapping in _MAPPING.finditer(_proc(pid, "smaps")):
            own_kb += _sum_kb(mapping[2], "Private_Clean", "Private_Dirty")
            of_process[mapping[1]] += _sum_kb(mapping[2], "Shared_Clean", "Shared_Dirty")
        for file, kb in of_process.items():
            shared_kb[file] = max(kb, shared_kb.get(file, 0))
    return (own_kb + sum(shared_kb.values())) * _KB / 1e6


def cpu_s(pids: list[int]) -> float:
    """Seconds that the processes ran, to the nanosecond."""
    return sum(time.clock_gettime(_cpu_clock(pid)) for pid in pids)


def _cpu_clock(pid: int) -> int:
    """clock_getcpuclockid(3), which Python lacks: Linux include/linux/posix-timers.h,
    make_process_cpuclock(pid, CPUCLOCK_SCHED)."""
    return (~pid << 3) | 2


# proc_pid_smaps(5): "START-END PERMS OFFSET DEVICE INODE FILE", then lines of "NAME: N kB"
_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ (?:\S+ +){4}(.*)\n((?:[A-Z].*\n)*)", re.MULTILINE)


def _proc(pid: int, file: str) -> str:
    return Path("/proc", str(pid), file).read_text()


def _sum_kb(fields: str, *names: str) -> int:
    pattern = rf"^(?:{'|'.join(names)}):\s+(\d+) kB$"
    return sum(int(kb) for kb in re.findall(pattern, fields, re.MULTILINE))
