"""What a box that started from the image says of itself in the status."""

import asyncio
import re
from pathlib import Path

import pytest

from lanjami.box import notices
from lanjami.box.notices import Notices
from lanjami.doctor import machine
from lanjami.doctor.machine_checks import Disk
from lanjami.doctor.watch import POWER_EVERY_S, MachineWatch
from lanjami.errors import HostError
from tests.support.running import running


def test_each_helper_has_its_say_and_takes_it_back(tmp_path: Path) -> None:
    folder = tmp_path / "notices"
    notices.write("card", ["hostname is wrong"], folder=folder)
    notices.write("watch", ["started again", "twice\nin a row"], folder=folder)
    assert notices.read(folder=folder) == ["hostname is wrong", "started again", "twice in a row"]
    notices.write("watch", [], folder=folder)
    assert notices.read(folder=folder) == ["hostname is wrong"]


def test_before_anybody_spoke_there_is_nothing(tmp_path: Path) -> None:
    assert notices.read(folder=tmp_path / "none") == []


async def test_what_helpers_have_to_say_is_a_reason_to_look(tmp_path: Path) -> None:
    async with running(Notices(folder=tmp_path)) as heard:
        assert heard.reasons == [""]
    await asyncio.to_thread(notices.write, "card", ["hostname is wrong"], folder=tmp_path)
    async with running(Notices(folder=tmp_path)) as heard:
        assert heard.reasons == ["hostname is wrong"]


async def test_the_machine_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "power", lambda: (1, None))
    async with running(MachineWatch(tmp_path)) as heard:
        (reason,) = heard.reasons
    assert "too little power (now)" in reason


async def test_a_dip_of_the_power_is_seen_and_told_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux forgets one after 2 s (drivers/hwmon/raspberrypi-hwmon.c)."""
    looks = iter([False, False, True, *[False] * 40])
    monkeypatch.setattr(machine, "power", lambda: (None, next(looks, False)))
    assert POWER_EVERY_S < 2.0
    async with running(MachineWatch(tmp_path, power_every_s=0.01, told_s=0.2)) as heard:
        async with asyncio.timeout(10.0):
            while len(heard.reasons) < 4:
                heard.ready.clear()
                await heard.ready.wait()
    when = [re.findall(r"\((.*?)\)", reason) for reason in heard.reasons]
    assert when == [[], ["now"], ["a while ago"], []]


async def test_a_machine_that_tells_nothing_is_not_ill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unseen(_: Path) -> Disk:
        raise HostError("the disk cannot be looked at")

    monkeypatch.setattr(machine, "disk", unseen)
    monkeypatch.setattr(machine, "power", lambda: (None, None))
    async with running(MachineWatch(tmp_path)) as heard:
        assert heard.reasons == [""]
