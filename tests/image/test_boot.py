"""The image as it is, started on a machine; the plug pulled while names are registered; and the
next start."""

import asyncio
import contextlib
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from image import layout
from lanjami import layout as state_layout
from lanjami.nameserver import opening
from tests.image import asking, emulator, power_cuts
from tests.image.built import Built
from tests.image.emulator import Emulated
from tests.support.asker import Asker
from tests.support.kept import kept_at
from tests.support.ports import free_port
from tests.support.registrations import ClientKeys

BOOT_S = 90.0
MEMORY_MOST = 200e6  # bytes
SELF_TEST = re.compile(r"lanjami self-test: (.*)\r")
CLIENTS = 4
ACKNOWLEDGED = 60  # names, before the plug is pulled
CUTS = 100


@dataclass
class Box:
    """A machine with a card, and the ports of this host that lead to it."""

    built: Built
    card: Path
    folder: Path
    ports: tuple[int, int] = field(default_factory=lambda: (free_port(), free_port()))

    @contextlib.contextmanager
    def started(self, **options: Path) -> Iterator[Emulated]:
        """Switched on; it answers what clients ask."""
        network = emulator.forwarded(*self.ports)
        machine = Emulated(self.built, self.card, self.folder, network=network, **options)
        with contextlib.closing(contextlib.ExitStack()) as at_end:
            at_end.callback(machine.switch_off)
            while wrong := asking.wrong("127.0.0.1", *self.ports, patience_s=3):
                assert machine.up_s < BOOT_S, f"no {wrong}, {BOOT_S} s:\n{machine.said[-4000:]}"
                time.sleep(0.5)  # a port that QEMU forwards is open all the time
            yield machine
