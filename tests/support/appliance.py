"""A box that runs `lanjami up` on a host of the lab, as a person would start it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.lab import Host, Process

OPENDHT = "lanjami.dhtnode.opendht"
LANJAMI = (sys.executable, "-m", "lanjami")


class Appliance:
    """`through` is a command that starts it, such as setpriv(1) with its arguments."""

    def __init__(self, host: Host, *settings: str, through: Sequence[str] = ()) -> None:
        self._host = host
        self._through = through
        self._settings = [word for setting in settings for word in ("--set", setting)]
        self._process: Process | None = None
        self.environment: dict[str, str] = {}
        self.state = host.lab.folder / f"{host.name}-state"

    @property
    def process(self) -> Process:
        assert self._process is not None, "the appliance was not started"
        return self._process

    async def start(self, *, healthy_within_s: float = 15.0) -> "Appliance":
        """Start it, and wait until it says that all is well."""
        self.launch()
        await self.healthy(within_s=healthy_within_s)
        return self

    def launch(self) -> Process:
        self._process = self._host.start(
            *(*self._through, *LANJAMI, "up", "-v"),
            *("--state", str(self.state), *self._settings),
            environment=self.environment,
            output="lanjami",
        )
        return self._process

    async def status(self) -> dict[str, Any] | None:
        """What `lanjami status --json` prints; None while it does not run."""
        asking = await asyncio.create_subprocess_exec(
            *(*LANJAMI, "status", "--json", "--state", str(self.state)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            printed, _ = await asking.communicate()
        except asyncio.CancelledError:  # it hangs, and must not be left to the next test
            asking.kill()
            await asking.communicate()
            raise
        return json.loads(printed) if asking.returncode in (0, 1) else None

    async def healthy(self, *, within_s: float = 15.0) -> dict[str, Any]:
        status = None
        try:
            async with asyncio.timeout(within_s):
                while (status := await self.status()) is None or not status["healthy"]:
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(
                f"not healthy within {within_s} s: {status}\n{self.process.output()}"
            ) from None
        return status

    def kill(self) -> None:
        """Pull its plug."""
        self.process.end()

    def stop(self) -> int:
        """Ask it to stop, and return its exit status; it has 3 s."""
        self.process.signal(signal.SIGTERM)
        return self.process.wait(within_s=3.0)

    @asynccontextmanager
    async def without_opendht(self) -> AsyncIterator[None]:
        """Kill the node that is OpenDHT, and each that is started in its place."""

        async def kill() -> None:
            while True:
                with suppress(FileNotFoundError, ProcessLookupError):  # it may just be going
                    for pid in children(self.process.pid, OPENDHT):
                        os.kill(pid, signal.SIGKILL)
                await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as tasks:
            killing = tasks.create_task(kill())
            yield
            killing.cancel()

    def cut_off(self, port: int) -> None:
        """Let no datagram reach or leave a UDP port of the box any more, not even its own."""
        self._host.run("nft", f"add table inet port{port}")
        for hook, end in (("input", "dport"), ("output", "sport")):
            chain = f"inet port{port} {hook}"
            self._host.run("nft", f"add chain {chain} {{ type filter hook {hook} priority 0; }}")
            self._host.run("nft", f"add rule {chain} udp {end} {port} drop")


def opendht_child(parent: int) -> int:
    """The pid of the OpenDHT child of the process `parent`."""
    found = child(parent, OPENDHT)
    assert found is not None, f"process {parent} has no OpenDHT child"
    return found


def child(parent: int, words: str) -> int | None:
    """The pid of the first of `children`."""
    return next(iter(children(parent, words)), None)


def children(parent: int, words: str) -> list[int]:
    """The pids of the children of the process `parent` that have these words in their command
    lines."""
    found = []
    for listed in Path("/proc", str(parent), "task").glob("*/children"):
        for pid in listed.read_text().split():
            with suppress(OSError):  # it has just ended
                if words.encode() in Path("/proc", pid, "cmdline").read_bytes():
                    found.append(int(pid))
    return found
