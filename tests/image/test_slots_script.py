"""Which slot starts, as the initramfs decides it, against what the program writes on the card."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lanjami.box import disks, places, slots
from lanjami.box.disks import Card
from lanjami.box.slots import Slot
from lanjami.errors import HostError

ROOTFS = Path(__file__).resolve().parents[2] / "image/rootfs"
SCRIPT = ROOTFS / "usr/lib/lanjami/slots.sh"
SHELLS = [shell for shell in ("dash", "busybox") if shutil.which(shell)]


@pytest.fixture
def card(tmp_path: Path) -> Card:
    device = tmp_path / "card"
    with device.open("wb") as file:
        file.truncate(4 << 20)
    return Card(device, f"{device}p")


def _sh(command: str, *arguments: str | Path, shell: str = "dash") -> str:
    asked = [shell, *(["sh"] if shell == "busybox" else []), "-c", f'. {SCRIPT}; {command} "$@"']
    return subprocess.run(
        [*asked, "sh", *arguments], capture_output=True, text=True, check=True
    ).stdout


def _start(card: Card, *, shell: str = "dash") -> str:
    return _sh("choose_slot", card.device, shell=shell)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_new_card_starts_its_first_slot(card: Card, shell: str) -> None:
    assert _start(card, shell=shell) == "a"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("good", ["a", "b"])
def test_a_slot_is_tried_once_and_no_more(card: Card, good: Slot, shell: str) -> None:
    new = slots.other(good)
    disks.write_good(card, good)
    disks.write_try(card, new)
    assert _start(card, shell=shell) == f"{new} tried"
    assert _start(card, shell=shell) == good
    assert _start(card, shell=shell) == good


def test_a_slot_that_passed_its_test_starts_from_then_on(card: Card) -> None:
    disks.write_try(card, "b")
    assert _start(card) == "b tried"
    disks.write_good(card, "b")
    assert _start(card) == "b"


def test_what_is_already_good_is_not_tried(card: Card) -> None:
    disks.write_try(card, "a")
    assert _start(card) == "a"


def test_an_update_that_was_called_off_is_not_tried(card: Card) -> None:
    disks.write_try(card, "b")
    disks.write_try(card, None)
    assert _start(card) == "a"


@pytest.mark.parametrize("content", [os.urandom(512), b"\xff" * 512, b"lanjami_try=c\n", b"b"])
def test_noise_in_the_sectors_starts_the_first_slot(card: Card, content: bytes) -> None:
    for sector in (slots.GOOD_SECTOR, slots.TRY_SECTOR):
        with card.device.open("r+b") as file:
            file.seek(sector * slots.SECTOR)
            file.write(content)
    assert _start(card) == "a"


def test_what_cannot_be_forgotten_is_not_tried(card: Card) -> None:
    """A card that takes nothing would try a bad slot for ever."""
    disks.write_try(card, "b")
    shell = f'. {SCRIPT}; dd() {{ case $* in *of=*) return 1 ;; *) command dd "$@" ;; esac; }}; '
    asked = [*("dash", "-c", f'{shell} choose_slot "$1"', "sh"), str(card.device)]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == "a"


def test_nothing_but_its_sector_is_written(card: Card) -> None:
    before = card.device.read_bytes()
    disks.write_good(card, "b")
    _start(card)
    after = card.device.read_bytes()
    changed = {at // slots.SECTOR for at in range(len(after)) if before[at] != after[at]}
    assert changed == {slots.GOOD_SECTOR}


@pytest.mark.parametrize(
    ("disk", "found"),
    [("/dev/mmcblk0", "/dev/mmcblk0p3"), ("/dev/sda", "/dev/sda3"), ("/dev/loop1", "/dev/loop1p3")],
)
def test_partitions_are_called_as_linux_calls_them(disk: str, found: str) -> None:
    assert _sh("slot_partition", disk, "b") == found


@pytest.mark.parametrize("disk", ["/dev/mmcblk0", "/dev/sda", "/dev/nvme0n1"])
def test_the_program_calls_them_as_the_scripts_do(tmp_path: Path, disk: str) -> None:
    file = tmp_path / places.DISK[1:]
    file.parent.mkdir(parents=True)
    file.write_text(f"{disk}\n")
    card = disks.find(root=tmp_path)
    assert card.device == Path(disk)
    for slot in slots.PARTITIONS:
        assert str(card.slot(slot)) == _sh("slot_partition", disk, slot)


def test_other_machines_have_no_card(tmp_path: Path) -> None:
    with pytest.raises(HostError):
        disks.find(root=tmp_path)
