"""What it costs a box to know many names."""

import asyncio
import contextlib
import statistics
from dataclasses import dataclass, field

from tests.bench import directory, footprint, scene, wrk
from tests.bench.names import LOOKING_UP_S
from tests.bench.table import Aim, Reference, Row, Samples

SIZES = (1_000, 10_000, 100_000)

HOW = f"""\
A box that knows {", ".join(f"{size:,}" for size in SIZES)} names, as large as those of clients; the
system may have the file in memory. "First answer" is that to a lookup of a known name, from the
start of the program. Lookups are over all the names in any order, half by name and half by ID, a
connection for each, driven by wrk as above for {LOOKING_UP_S} s. Memory is what the main process
has after them (Pss), less the median of what it has where nobody is known."""


async def measure() -> list[Row]:
    """The first answer, the memory and the lookups, among more and more names."""
    return await asyncio.to_thread(_measure)


@dataclass(frozen=True, slots=True)
class _Rounds:
    """The same box, started again for each round, in turns with the others."""

    first_answer_s: list[float] = field(default_factory=list)
    per_s: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    pss_mb: list[float] = field(default_factory=list)


def _measure() -> list[Row]:
    rounds = _rounds()
    bare_mb = statistics.median(rounds.pop(0).pss_mb)
    per_s = {size: Samples(taken.per_s, "/s", 0) for size, taken in rounds.items()}
    cpu = {size: Samples(taken.cpu_us, "µs", 1) for size, taken in rounds.items()}
    fewest, *more = SIZES
    among = f"{fewest:,} names"
    rows = []
    for size, taken in rounds.items():
        memory = [pss_mb - bare_mb for pss_mb in taken.pss_mb]
        rows += [
            Row(f"{size:,} names, first answer", Samples(taken.first_answer_s, "s", 2), aim=Aim(2)),
            Row(f"{size:,} names, memory for them", Samples(memory, "MB", 1), aim=Aim(60)),
        ]
    for size in more:
        rows += [
            Row(
                f"{size:,} names, lookups",
                per_s[size],
                Reference(among, per_s[fewest]),
                Aim(0.8, of="ratio", least=True),
            ),
            Row(
                f"{size:,} names, processor time of a lookup",
                cpu[size],
                Reference(among, cpu[fewest]),
                Aim(1.25, of="ratio"),
            ),
        ]
    return rows


def _rounds() -> dict[int, _Rounds]:
    """All sizes in turns, so that what else the machine does is the same for all; 0 is a box
    that knows nobody."""
    taken = {size: _Rounds() for size in (0, *SIZES)}
    with contextlib.ExitStack() as made:
        known = {size: made.enter_context(directory.knowing(size)) for size in taken}
        for _ in range(scene.ROUNDS):
            for size, rounds in taken.items():
                with directory.serving(known[size]) as box:
                    speed = wrk.look_up(box, known[size].file, seconds=LOOKING_UP_S)
                    rounds.first_answer_s.append(box.first_answer_s)
                    rounds.per_s.append(speed.per_s)
                    rounds.cpu_us.append(speed.cpu_us)
                    rounds.pss_mb.append(footprint.pss_mb([box.pid]))
    return taken
