"""The service that looks every minute how the machine itself is: disk, card, power."""

import asyncio
from pathlib import Path

from lanjami.doctor import machine, machine_checks
from lanjami.doctor.finding import Finding, Verdict
from lanjami.doctor.machine_checks import Disk
from lanjami.errors import HostError
from lanjami.runtime.service import Ready

LOOK_EVERY_S = 60.0


class MachineWatch:
    """Says what the doctor would say of the machine that has its state in the folder `state`."""

    name = "machine"

    def __init__(self, state: Path, *, every_s: float = LOOK_EVERY_S) -> None:
        self._state = state
        self._every_s = every_s

    async def run(self, ready: Ready) -> None:
        while True:
            findings = await asyncio.to_thread(_look, self._state)
            faults = [each.meaning for each in findings if each.verdict is Verdict.FAULT]
            well = [each.name for each in findings if each.verdict is Verdict.WELL]
            ready(f"well: {', '.join(well) or 'nothing tells'}", reason="; ".join(faults))
            await asyncio.sleep(self._every_s)


def _look(state: Path) -> list[Finding]:
    try:
        seen: Disk | str = machine.disk(state)
    except HostError as error:
        seen = str(error)
    throttled, alarm = machine.power()
    return [
        machine_checks.disk(seen),
        machine_checks.card(seen),
        machine_checks.power(throttled, alarm=alarm),
    ]
