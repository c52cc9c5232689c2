"""Measures the appliance, mostly on networks of namespaces: `python -m tests.bench [NAME ...]`.

Without names all is measured, and docs/benchmarks.md is written. Needs root on Linux.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import (
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
Written by `make bench`. All hosts are network namespaces on one machine, joined by virtual
cables; names are looked up and registered on its loopback interface. Values are medians of
{scene.ROUNDS} rounds, with the lowest and the highest round in brackets. "Ratio" is that of the
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
)


def main(names: Sequence[str]) -> None:
    known = {measurement.name: measurement for measurement in MEASUREMENTS}
    if unknown := set(names) - known.keys():
        sys.exit(f"no benchmark is called {', '.join(unknown)}; there are: {', '.join(known)}")
    if sys.platform != "linux" or os.geteuid() != 0:
        sys.exit("the benchmarks make network namespaces: run them as root on Linux")
    page = [f"# Benchmarks\n\n{INTRODUCTION}\n\n{_machine()}\n"]
    for name in names or known:
        started_at = time.monotonic()
        rows = asyncio.run(known[name].measure())
        page.append(f"## {known[name].title}\n\n{known[name].how}\n\n{markdown(rows)}\n")
        sys.stdout.write(f"{page[-1]}\n{name}: {time.monotonic() - started_at:.0f} s\n\n")
        sys.stdout.flush()
    if not names:
        PAGE.write_text("\n".join(page), "utf-8")
        sys.stdout.write(f"written: {PAGE}\n")


def _machine() -> str:
    return "\n".join(["| | |", "|---|---|"] + [f"| {k} | {v} |" for k, v in machine.description()])


if __name__ == "__main__":
    main(sys.argv[1:])
