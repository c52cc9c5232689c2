"""The service that looks how the machine itself is: every minute at disk and card, every second at
its power, for Linux forgets a dip after two (drivers/hwmon/raspberrypi-hwmon.c)."""

import asyncio
from pathlib import Path

from lanjami.doctor import machine, machine_checks
from lanjami.doctor.finding import Finding, Verdict
from lanjami.doctor.machine_checks import Disk
from lanjami.errors import HostError
from lanjami.runtime.service import Ready

LOOK_EVERY_S = 60.0
POWER_EVERY_S = 1.0
TOLD_S = 3600.0  # of a dip, for somebody has to come and see


class MachineWatch:
    """Says what the doctor would say of the machine that has its state in the folder `state`, and
    of too little power for `told_s` longer."""

    name = "machine"

    def __init__(
        self,
        state: Path,
        *,
        every_s: float = LOOK_EVERY_S,
        power_every_s: float = POWER_EVERY_S,
        told_s: float = TOLD_S,
    ) -> None:
        self._state = state
        self._every_s = every_s
        self._power_every_s = power_every_s
        self._told_s = told_s

    async def run(self, ready: Ready) -> None:
        loop = asyncio.get_running_loop()
        low_at, look_at = float("-inf"), float("-inf")
        storage, told = list[Finding](), ""
        while True:
            throttled, alarm = await asyncio.to_thread(machine.power)
            now = loop.time()
            if machine_checks.is_power_low(throttled, alarm=alarm):
                low_at = now
            power = machine_checks.power(
                throttled, alarm=alarm, was_low=now < low_at + self._told_s
            )
            if now >= look_at:
                storage = await asyncio.to_thread(_storage, self._state)
                look_at = now + self._every_s
                told = ""
            if power.meaning != told:
                told = power.meaning
                _tell([*storage, power], ready)
            is_told = power.verdict is not Verdict.SKIPPED
            await asyncio.sleep(self._power_every_s if is_told else self._every_s)


def _tell(findings: list[Finding], ready: Ready) -> None:
    faults = [each.meaning for each in findings if each.verdict is Verdict.FAULT]
    well = [each.name for each in findings if each.verdict is Verdict.WELL]
    ready(f"well: {', '.join(well) or 'nothing tells'}", reason="; ".join(faults))


def _storage(state: Path) -> list[Finding]:
    try:
        seen: Disk | str = machine.disk(state)
    except HostError as error:
        seen = str(error)
    return [machine_checks.disk(seen), machine_checks.card(seen)]
