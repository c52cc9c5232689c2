"""Clients of two generations of OpenDHT, started on a host of the lab and timed."""

import asyncio
import importlib.metadata
import itertools
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.lab import Host, Process, run

_JOIN_WITHIN_S = 20.0
_POLL_S = 0.002
_ANY_KEY = "0123456789" * 4
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Join:
    """When a client started and when it was connected, in seconds of CLOCK_MONOTONIC."""

    started_at: float
    connected_at: float

    @property
    def took_s(self) -> float:
        return self.connected_at - self.started_at


@dataclass(frozen=True, slots=True)
class Client:
    """A kind of client.

    `command` makes its command line from a bootstrap's address, None for discovery, a path that
    may be used, and whether it shall listen for values from its start, as Jami does for
    invitations. `started` and `connected` find the two times in what it writes.
    """

    name: str
    command: Callable[[str | None, Path, bool], list[str]]
    started: re.Pattern[str]
    connected: re.Pattern[str]

    def start(self, host: Host, *, bootstrap: str | None = None, listens: bool = False) -> "Run":
        name = f"client-{next(_numbers)}"
        command = self.command(bootstrap, host.lab.folder / name, listens)
        return Run(self, host.start(*command, output=name))


@dataclass(frozen=True, slots=True)
class Run:
    """A client that runs."""

    client: Client
    process: Process

    async def joined(self) -> Join:
        """Wait until it is connected."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_JOIN_WITHIN_S):
                while True:
                    output = self.process.output()
                    started = self.client.started.search(output)
                    connected = self.client.connected.search(output)
                    if started and connected:
                        return Join(float(started[1]), float(connected[1]))
                    await asyncio.sleep(_POLL_S)
        raise AssertionError(
            f"{self.client.name} did not connect in {_JOIN_WITHIN_S:g} s\n{self.process.output()}"
        )


async def timed(
    client: Client, host: Host, *, bootstrap: str | None = None, listens: bool = False
) -> float:
    """Seconds from the start of a new client to its being connected; it is ended then."""
    running = client.start(host, bootstrap=bootstrap, listens=listens)
    try:
        return (await running.joined()).took_s
    finally:
        running.process.end()


def wheel() -> Client:
    """The newest OpenDHT, as current Jami clients have it."""
    return Client(
        f"OpenDHT {importlib.metadata.version('opendht')} client",
        _wheel_command,
        re.compile(r"^started (\S+)$", re.MULTILINE),
        re.compile(r"^connected (\S+)$", re.MULTILINE),
    )


def debian() -> Client:
    """Debian's OpenDHT. Its log is stamped with CLOCK_MONOTONIC (std::chrono::steady_clock)."""
    version = run("dpkg-query", "-W", "-f", "${Version}", "dhtnode").partition("-")[0]
    return Client(
        f"OpenDHT {version} client",
        _debian_command,
        re.compile(r"\[(\d+\.\d+)\] \[runner \w+\] state changed to Running"),
        re.compile(r"\[(\d+\.\d+)\] Connectivity changed: IPv4: connected"),
    )


def debian_node(host: Host) -> Process:
    """Debian's DHT node on UDP 4222 as a bootstrap, with OpenDHT's own peer discovery."""
    return host.start("dhtnode", "-s", "-v", "-D", "-p", "4222")


def _wheel_command(bootstrap: str | None, _path: Path, listens: bool) -> list[str]:  # noqa: FBT001
    command = [sys.executable, str(Path(__file__).with_name("wheel_client.py"))]
    command += ["--bootstrap", bootstrap] if bootstrap else []
    return [*command, "--listen"] if listens else command


def _debian_command(bootstrap: str | None, path: Path, listens: bool) -> list[str]:  # noqa: FBT001
    node = ["dhtnode", "-v", *(["-b", f"{bootstrap}:4222"] if bootstrap else ["-D"])]
    if not listens:
        return [*node, "-s"]
    # "l KEY" is the shell's command to listen; a pipe that is open for writing too never ends,
    # so that the shell waits for more
    script = 'mkfifo "$0" && exec 3<>"$0" && echo "l $1" >&3 && shift && exec "$@" <&3'
    return ["sh", "-c", script, str(path), _ANY_KEY, *node]
