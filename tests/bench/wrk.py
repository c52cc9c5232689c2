"""Looks names up as fast as they are answered, with wrk."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from tests.bench import footprint

CONNECTIONS = 32
_SCRIPT = Path(__file__).with_name("lookups.lua")


class Server(Protocol):
    """What is asked, on the loopback interface."""

    @property
    def pid(self) -> int: ...
    @property
    def port(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Speed:
    """Lookups a second, and microseconds of all the server's processes for one."""

    per_s: float
    cpu_us: float


def look_up(server: Server, paths: Path, *, seconds: int, keep_alive: bool = False) -> Speed:
    """Look up the paths in a file, one a line, over so many connections at once.

    Each serves one request, as a client's does, or all with `keep_alive`. The server has to know
    all the names, or none.
    """
    pids = footprint.family(server.pid)
    before_s = footprint.cpu_s(pids)
    done = subprocess.run(
        [
            *("wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "-s", str(_SCRIPT)),
            *([] if keep_alive else ["-H", "Connection: close"]),
            *(f"http://127.0.0.1:{server.port}", "--", str(paths)),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    spent_s = footprint.cpu_s(pids) - before_s
    summary = msgspec.json.decode(done.stdout.splitlines()[-1], type=_Summary)
    assert not summary.broken, done.stdout
    assert summary.refused in (0, summary.answered), done.stdout
    return Speed(summary.answered / summary.took_s, 1e6 * spent_s / summary.answered)


class _Summary(msgspec.Struct, frozen=True):
    """What lookups.lua tells; `refused` are answers with another status than 2xx and 3xx."""

    answered: int
    took_s: float
    refused: int
    broken: int
