"""A start up to the root's change, by the scripts of the initramfs: real partitions, real mounts.

The scripts run in a folder that stands for the initramfs, in a mount namespace of their own.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanjami.box import disks, places
from lanjami.box.disks import Card
from tests.image import loops
from tests.image.loops import MIB, needs_root, needs_vfat

pytestmark = needs_root

FAT32_MIB = 40  # below, mtools takes it for a FAT16
DIRTY = 65  # the byte of a FAT32 that says that it is being written to
ROOTFS = Path(__file__).resolve().parents[2] / "image/rootfs"

# What initramfs-tools does around the scripts, and at the end what the started system would see.
_START = r"""
set -eu
tree=$1 device=$2
mount --make-rprivate /
mount -t tmpfs initramfs "$tree"
cd "$tree"
mkdir dev proc sys run conf root usr scripts tmp slot
mount -t overlay -o lowerdir="$3/usr:/usr" usr usr
for name in bin lib lib64 sbin; do ln -s "usr/$name" "$name"; done
mount -t proc proc proc
mount --rbind /sys sys
mount -t tmpfs dev dev
cp -a /dev/null /dev/zero /dev/urandom "$device"* dev/
mkdir -p dev/disk/by-label dev/disk/by-partuuid
first=${device}p1
ln -s "/dev/${first##*/}" "dev/disk/by-label/$(blkid -p -s LABEL -o value "$first")"
ln -s "/dev/${first##*/}" "dev/disk/by-partuuid/$(blkid -p -s PART_ENTRY_UUID -o value "$first")"
cp -r "$3/etc/initramfs-tools/scripts/." scripts/
cat >scripts/functions <<'EOT'
log_warning_msg() { echo "warning: $*"; }
panic() { echo "panic: $*"; exit 1; }
modprobe() { :; }
EOT
export rootmnt=/root
chroot . /scripts/init-premount/lanjami
. ./conf/param.conf
mount -t ext4 -o ro "$tree$ROOT" root
chroot . /scripts/local-bottom/lanjami
echo "slot: $(cat run/lanjami-box/slot)"
echo "root: $(cat root/etc/which) $(stat -f -c %T root)"
echo "id: $(cat root/etc/machine-id)"
echo "data: $(ls root/data)"
echo "visible: $(ls root/boot/firmware)"
echo changed >root/etc/which
"""


class Box:
    """A card with two systems and a data partition."""

    def __init__(self, folder: Path, device: Path) -> None:
        self.folder = folder
        self.card = Card(device, f"{device}p")
        loops.run("mkfs.vfat", "-F", "32", "-n", "LANJAMI", self.card.partition(1))
        settings = folder / places.SETTINGS
        settings.touch()
        loops.run("mcopy", "-i", self.card.partition(1), settings, "::")
        for slot in ("a", "b"):
            self.fill(slot)
        data = folder / "content-data/box"
        data.mkdir(parents=True)
        loops.run("mke2fs", "-q", "-t", "ext4", "-d", data.parent, self.card.partition(4))

    def fill(self, slot: str) -> None:
        content = self.folder / f"content-{slot}"
        (content / "usr/lib/systemd").mkdir(parents=True)
        (content / "usr/lib/systemd/systemd").touch()
        (content / "etc").mkdir()
        (content / "etc/which").write_text(f"system {slot}\n")
        place = self.card.slot("a" if slot == "a" else "b")
        loops.run("mke2fs", "-q", "-t", "ext4", "-F", "-d", content, place)

    def start(self) -> dict[str, str]:
        """What a start told, by its first words."""
        tree = self.folder / "tree"
        tree.mkdir(exist_ok=True)
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", _START, "sh", tree, self.card.device, ROOTFS],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [line.partition(": ") for line in done.stdout.splitlines()]
        return {first: rest.strip() for first, _, rest in lines}


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with loops.card(tmp_path / "card", size=96 * MIB, data=16, visible=FAT32_MIB) as device:
        yield Box(tmp_path, device)


def test_the_root_is_a_layer_in_memory_that_the_next_start_does_not_have(box: Box) -> None:
    first = box.start()
    assert first["slot"] == "a"
    assert first["root"] == "system a overlayfs"
    assert box.start()["root"] == "system a overlayfs"


@needs_vfat
def test_the_cards_visible_part_is_there(box: Box) -> None:
    assert box.start()["visible"] == places.SETTINGS


@pytest.mark.parametrize("was_written_to", [False, True])
def test_a_card_that_was_being_written_to_is_mended(box: Box, *, was_written_to: bool) -> None:
    visible = box.card.partition(1)
    with visible.open("r+b") as file:
        file.seek(DIRTY)
        file.write(b"\1" if was_written_to else b"\0")
    box.start()
    with visible.open("rb") as file:
        file.seek(DIRTY)
        assert file.read(1) == b"\0"
    assert places.SETTINGS in loops.run("mdir", "-b", "-i", visible, "::")


def test_a_card_is_found_whatever_its_visible_part_is_called(box: Box) -> None:
    """A computer that it was in offers to rename it."""
    loops.run("fatlabel", box.card.partition(1), "HALL")
    assert box.start()["slot"] == "a"


def test_a_card_with_a_table_of_its_own_is_found_by_its_name(box: Box) -> None:
    loops.run("sfdisk", "--disk-id", box.card.device, "0x12345678")
    assert box.start()["slot"] == "a"


def test_a_tried_slot_is_started_once(box: Box) -> None:
    disks.write_try(box.card, "b")
    tried = box.start()
    assert (tried["slot"], tried["root"]) == ("b tried", "system b overlayfs")
    assert box.start()["slot"] == "a"


@pytest.mark.parametrize("damage", ["no file system", "no system"])
def test_a_slot_without_a_system_is_passed_over(box: Box, damage: str) -> None:
    disks.write_good(box.card, "b")
    if damage == "no system":
        loops.run("mke2fs", "-q", "-t", "ext4", "-F", box.card.slot("b"))
    else:
        _overwrite(box.card.slot("b"), MIB)
    started = box.start()
    assert (started["slot"], started["root"]) == ("a", "system a overlayfs")
    assert "slot b has no system" in started["warning"]


def test_the_machine_keeps_its_id_once_it_is_kept(box: Box) -> None:
    first = box.start()
    assert len(first["id"]) == 32
    assert first["id"] != box.start()["id"]
    with loops.mounted(box.card.partition(4), box.folder / "data") as folder:
        kept = folder / places.KEPT.removeprefix(places.DATA)[1:] / "machine-id"
        kept.write_text("0123456789abcdef0123456789abcdef\n")
    assert box.start()["id"] == "0123456789abcdef0123456789abcdef"


def test_a_start_goes_on_without_what_is_written_to(box: Box) -> None:
    assert "box" in box.start()["data"]
    _overwrite(box.card.partition(4), 8 * MIB)
    started = box.start()
    assert (started["root"], started["data"]) == ("system a overlayfs", "")
    assert len(started["id"]) == 32


def test_a_new_card_that_takes_nothing_is_left_to_what_tells_of_it(box: Box) -> None:
    data = box.card.partition(4)
    loops.run("mke2fs", "-q", "-t", "ext4", "-F", data)
    loops.run("blockdev", "--setro", data)
    try:
        assert box.start()["data"] == ""
    finally:
        loops.run("blockdev", "--setrw", data)
    assert box.start()["data"] == "box", "which is made, where it can be"


def _overwrite(device: Path, size: int) -> None:
    with device.open("r+b") as file:
        file.write(b"\0" * size)
