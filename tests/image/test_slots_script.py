"""Which slot starts, as the initramfs decides it, against what the program writes on the card."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lanjami.box import disks, slots
from lanjami.box.disks import Card
from lanjami.box.slots import Slot

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


@pytest.mark.parametrize("name", ["mmcblk0", "sda"])
def test_the_card_is_found_by_a_partition(tmp_path: Path, name: str) -> None:
    prefix = f"{name}p" if name[-1].isdigit() else name
    folder = tmp_path / "devices/block" / name / f"{prefix}1"
    folder.mkdir(parents=True)
    (folder / "partition").write_text("1\n")
    (tmp_path / "class/block").mkdir(parents=True)
    (tmp_path / "class/block" / folder.name).symlink_to(folder)
    card = disks.card_of(folder.name, sys=tmp_path)
    assert (str(card.device), str(card.slot("b"))) == (f"/dev/{name}", f"/dev/{prefix}3")
