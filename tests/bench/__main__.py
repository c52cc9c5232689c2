"""Measures the appliance, mostly on networks of namespaces: `python -m tests.bench [NAME ...]`.

What is measured takes its place in docs/benchmarks.md; without names, all is. Needs root on Linux.
"""

import asyncio
import os
import re
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import (
    booting,
    core,
    dht,
    footprint,
    joining,
    late_box,
    machine,
    many_names,
    names,
    proxying,
    queries,
    scene,
    zero_settings,
)
from tests.bench.table import Row, markdown

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"

INTRODUCTION = f"""\
Written by `make bench`, or a section of it by `python -m tests.bench NAME`. All hosts are network
namespaces on one machine, joined by virtual cables; names are looked up and registered on its
loopback interface. Values are medians of {scene.ROUNDS} rounds, with the lowest and the highest
round in brackets, if nothing else is said. "Ratio" is that of the
two medians, and an aim that is a ratio means the one in its own row."""


@dataclass(frozen=True, slots=True)
class Measurement:
    name: str
    title: str
    how: str
    measure: Callable[[], Coroutine[Any, Any, list[Row]]]


MEASUREMENTS = (
    Measurement("join", "A client starts", joining.HOW, joining.measure),
    Measurement("late", "The box starts after the client", late_box.HOW, late_box.measure),
    Measurement("zero", "Nobody changes a setting", zero_settings.HOW, zero_settings.measure),
    Measurement("latency", "The answer to a query", queries.LATENCY_HOW, queries.measure_latency),
    Measurement("load", "Many clients at once", queries.LOAD_HOW, queries.measure_load),
    Measurement("core", "The DHT node in Python by itself", core.HOW, core.measure),
    Measurement("dht", "The DHT node in Python", dht.HOW, dht.measure),
    Measurement("proxy", "Phones", proxying.HOW, proxying.measure),
    Measurement("idle", "An idle box", footprint.HOW, footprint.measure),
    Measurement("lookups", "Looking names up", names.LOOKUPS_HOW, names.measure_lookups),
    Measurement(
        "register", "Registering names", names.REGISTRATIONS_HOW, names.measure_registrations
    ),
    Measurement("crowd", "Looking up while others register", names.CROWD_HOW, names.measure_crowd),
    Measurement("many", "Many names", many_names.HOW, many_names.measure),
    Measurement("boot", "The Raspberry Pi image starts", booting.HOW, booting.measure),
)


def main(names: Sequence[str]) -> None:
    known = {measurement.name: measurement for measurement in MEASUREMENTS}
    if unknown := set(names) - known.keys():
        sys.exit(f"no benchmark is called {', '.join(unknown)}; there are: {', '.join(known)}")
    if sys.platform != "linux" or os.geteuid() != 0:
        sys.exit("the benchmarks make network namespaces: run them as root on Linux")
    sections = _written()
    for name in names or _possible(known):
        started_at = time.monotonic()
        conditions = f"Measured {machine.now()}."
        rows = asyncio.run(known[name].measure())
        sections[known[name].title] = f"{known[name].how}\n\n{conditions}\n\n{markdown(rows)}\n"
        took_s = time.monotonic() - started_at
        sys.stdout.write(f"{sections[known[name].title]}\n{name}: {took_s:.0f} s\n\n")
        sys.stdout.flush()
        _write(sections)


def _possible(known: Iterable[str]) -> list[str]:
    """Those for which there is all that they need: an image takes a quarter of an hour."""
    return [name for name in known if name != "boot" or "LANJAMI_IMAGE" in os.environ]


def _written() -> dict[str, str]:
    """The sections of the page as it is, by title."""
    parts = re.split(r"^## (.+)\n\n", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _write(sections: Mapping[str, str]) -> None:
    page = [f"# Benchmarks\n\n{INTRODUCTION}\n\n{_machine()}\n"]
    page += [
        f"## {one.title}\n\n{sections[one.title].strip()}\n"
        for one in MEASUREMENTS
        if one.title in sections
    ]
    PAGE.write_text("\n".join(page), "utf-8")


def _machine() -> str:
    return "\n".join(["| | |", "|---|---|"] + [f"| {k} | {v} |" for k, v in machine.description()])


if __name__ == "__main__":
    main(sys.argv[1:])
