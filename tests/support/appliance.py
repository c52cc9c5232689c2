"""A box that runs `lanjami up` on a host of the lab, as a person would start it."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from tests.support.lab import Host, Process

LANJAMI = (sys.executable, "-m", "lanjami")


class Appliance:
    def __init__(self, host: Host, *settings: str) -> None:
        self._host = host
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
            *(*LANJAMI, "up", "-v", "--state", str(self.state), *self._settings),
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
        printed, _ = await asking.communicate()
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


def opendht_child(parent: int) -> int:
    """The pid of the OpenDHT child of the process `parent`."""
    for children in Path("/proc", str(parent), "task").glob("*/children"):
        for pid in children.read_text().split():
            if b"lanjami.dhtnode.opendht" in Path("/proc", pid, "cmdline").read_bytes():
                return int(pid)
    raise AssertionError(f"process {parent} has no OpenDHT child")
