"""The image as it is, started on what QEMU makes of a Raspberry Pi 3B: with that board's device
tree, its processor, memory and card slot.

QEMU has no firmware for it (`config.txt` is not read, the kernel is handed over by QEMU), no radio,
and for the board's own network adapter another one on USB. Its watchdog ends QEMU, so Linux is
told to leave it alone; then lanjami says so.
"""

import re
import time
from pathlib import Path

import pytest

from tests.image import asking, emulator
from tests.image.built import Built
from tests.image.emulator import Board, Emulated
from tests.support.ports import free_port

pytestmark = pytest.mark.timeout(600)  # a start, and what is told of it

PI_3B = Board(
    machine=("-M", "raspi3b", "-accel", "tcg,thread=multi"),
    # the board's own slot takes a drive, and no block device that is named
    disk=("-drive", 'if=sd,file=json:{"driver":"raw",,"file":"card"}'),
    adapter=("-device", "usb-net,netdev=lan,id=adapter"),
    serial=("-serial", "null", "-serial", "stdio"),
    console="ttyS1",
    line="module_blacklist=bcm2835_wdt",
    device_tree="bcm2837-rpi-3-b.dtb",
)
BOOT_S = 240.0  # four cores and a card that QEMU makes on two
SLOW_S = 120.0  # for what takes a second on a board
TOLD_S = 90.0  # where it started before the driver was there, it looks again after a minute
# As Linux's driver tells of what the firmware says; QEMU's says that all is well.
ALARM = "$(dirname $(grep -lx rpi_volt /sys/class/hwmon/*/name))/in0_lcrit_alarm"
SELF_TEST = re.compile(r"lanjami self-test: (\w+)")


def test_a_raspberry_pi_3_starts_and_answers(built: Built, tmp_path: Path) -> None:
    ports = free_port(), free_port()
    card = emulator.new_card(built, tmp_path / "card.img")
    network = emulator.forwarded(*ports)
    machine = Emulated(built, card, tmp_path, network=network, board=PI_3B)
    try:
        while wrong := asking.wrong("127.0.0.1", *ports, patience_s=3):
            assert machine.up_s < BOOT_S, f"no {wrong}, {BOOT_S} s:\n{machine.said[-4000:]}"
            time.sleep(0.5)  # a port that QEMU forwards is open all the time
        said = machine.wait_for(SELF_TEST, within_s=BOOT_S - machine.up_s)[1]
        assert said == "passed"
        failed = machine.run("systemctl --failed --no-legend --plain --no-pager", within_s=SLOW_S)
        assert failed == ""
        assert "Raspberry Pi 3 Model B" in machine.run("tr -d '\\0' </proc/device-tree/model")
        assert machine.run("findmnt -no SOURCE /data") == "/dev/mmcblk0p4"
        _wait_until_told(machine, "well: disk, card, power")  # as its firmware says
        machine.run(f"echo 1 >/run/low && mount --bind /run/low {ALARM}", within_s=SLOW_S)
        _wait_until_told(machine, "too little power (now)")
    finally:
        machine.switch_off()


def _wait_until_told(machine: Emulated, what: str) -> None:
    """By `lanjami status`."""
    until_s = machine.up_s + TOLD_S
    while what not in (told := machine.run("lanjami status", within_s=SLOW_S)):
        assert machine.up_s < until_s, told
