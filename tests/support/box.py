"""A box on the loopback interface, run as a program."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.appliance import LANJAMI
from tests.support.ports import free_pair, free_port


@dataclass(slots=True)
class Box:
    """A box that serves no LAN, with ports of its own."""

    folder: Path
    dht: int = field(default_factory=free_pair)
    http: int = field(default_factory=free_port)
    started: "list[subprocess.Popen[str]]" = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def command(self, *more: str) -> list[str]:
        """What `up` starts."""
        return [
            *(*LANJAMI, "up", "--state", str(self.state)),
            *("--set", 'discovery.ignored_interfaces=["*"]'),
            *("--set", f"dht.port={self.dht}", "--set", f"http.ports=[{self.http}]", *more),
        ]

    def up(self, *more: str, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            self.command(*more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.started.append(process)
        return process

    def refused(self, *more: str) -> tuple[int, str]:
        """The exit status and the words of a box that does not start."""
        process = self.up(*more)
        printed, told = process.communicate(timeout=20)
        assert printed == ""
        return process.returncode, told

    def status(self) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [*LANJAMI, "status", "--json", "--state", str(self.state)],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, json.loads(done.stdout) if done.stdout else {}

    def run(self, *words: str, given: str | None = None) -> tuple[int, str, str]:
        """Run another command on the box's state: its exit status and what it printed."""
        done = subprocess.run(
            [*LANJAMI, *words],
            capture_output=True,
            text=True,
            check=False,
            input=given,
        )
        return done.returncode, done.stdout, done.stderr

    def running(self, *more: str) -> "subprocess.Popen[str]":
        """Started, and the words for the person who waits are printed."""
        process = self.up(*more)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("lanjami 0.1.0 is running")
        return process

    def end(self) -> None:
        """Kill all that was started and still runs."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()
