"""A box that runs `lanjami up` on a host of the lab, as a person would start it."""

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.lab import Host, Process

LANJAMI = (sys.executable, "-m", "lanjami")


class Appliance:
    """`through` is a command that starts it, such as setpriv(1) with its arguments."""

    def __init__(self, host: Host, *settings: str, through: Sequence[str] = ()) -> None:
        self._host = host
        self._through = through
        self._settings = [word for setting in settings for word in ("--set", setting)]
        self._process: Process | None = None
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
    found = child(parent, "lanjami.dhtnode.opendht")
    assert found is not None, f"process {parent} has no OpenDHT child"
    return found


def child(parent: int, words: str) -> int | None:
    """The pid of the child of the process `parent` that has these words in its command line."""
    for children in Path("/proc", str(parent), "task").glob("*/children"):
        for pid in children.read_text().split():
            with suppress(OSError):  # it has just ended
                if words.encode() in Path("/proc", pid, "cmdline").read_bytes():
                    return int(pid)
    return None
