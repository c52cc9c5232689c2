"""What Raspberry Pi Imager writes: the table, the boot partition, the file systems."""

import gzip
import hashlib
import json
import re
import struct
import subprocess
from pathlib import Path

import pytest

from image import layout
from tests.image.built import Built

SIZE_LIMIT = 200_000_000
BOARDS = {  # by the names that their firmware looks for
    "bcm2837-rpi-3-b.dtb",
    "bcm2837-rpi-3-b-plus.dtb",
    "bcm2711-rpi-4-b.dtb",
    "bcm2711-rpi-400.dtb",
    "bcm2711-rpi-cm4-io.dtb",
    "bcm2837-rpi-zero-2-w.dtb",
    "bcm2712-rpi-5-b.dtb",
    "bcm2712-d-rpi-5-b.dtb",
}


def test_it_is_small_enough_to_pass_on(built: Built) -> None:
    assert built.compressed.stat().st_size <= SIZE_LIMIT


def test_the_sums_are_those_of_the_files(built: Built) -> None:
    for line in (built.folder / "SHA256SUMS").read_text().splitlines():
        digest, _, name = line.partition("  ")
        with (built.folder / name).open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == digest, name


def test_the_compressed_image_is_the_image(built: Built) -> None:
    with subprocess.Popen(["xz", "-dc", built.compressed], stdout=subprocess.PIPE) as unpacking:
        compared = subprocess.run(["cmp", "-", built.image], stdin=unpacking.stdout, check=False)
    assert compared.returncode == 0
    assert unpacking.returncode == 0


def test_raspberry_pi_imager_is_told_what_it_checks(built: Built) -> None:
    (entry,) = json.loads((built.folder / "lanjami.rpi-imager.json").read_text())["os_list"]
    # doc/json-schema/os-list-schema.json of rpi-imager: what an entry must have
    needed = {"name", "description", "icon", "url", "extract_size", "extract_sha256"}
    assert needed | {"image_download_size", "release_date"} <= set(entry)
    assert entry["extract_size"] == built.image.stat().st_size
    with built.image.open("rb") as file:
        assert entry["extract_sha256"] == hashlib.file_digest(file, "sha256").hexdigest()
    assert entry["image_download_size"] == built.compressed.stat().st_size
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", entry["release_date"])


def test_the_table_is_the_layout(built: Built) -> None:
    dumped = subprocess.run(
        ["sfdisk", "--json", built.image], capture_output=True, check=True, text=True
    )
    table = json.loads(dumped.stdout)["partitiontable"]
    assert table["label"] == "dos"
    per_mib = layout.MIB // layout.SECTOR
    assert [(p["start"], p["size"], p["type"]) for p in table["partitions"]] == [
        (p.start_mib * per_mib, p.size_mib * per_mib, p.mbr_type) for p in layout.PARTITIONS
    ]


def test_the_first_slot_is_the_one_that_is_booted(built: Built) -> None:
    with built.image.open("rb") as file:
        for sector in layout.SLOT_STATE_SECTORS:
            file.seek(sector * layout.SECTOR)
            assert file.read(layout.SECTOR) == bytes(layout.SECTOR)


@pytest.mark.parametrize("partition", layout.PARTITIONS, ids=lambda p: p.label)
def test_each_file_system_is_sound_and_has_its_label(
    built: Built, tmp_path: Path, partition: layout.Partition
) -> None:
    cut = built.cut(partition, tmp_path / "partition")
    fat = partition is layout.FIRMWARE
    check = ["fsck.vfat", "-n"] if fat else ["e2fsck", "-f", "-n"]
    checked = subprocess.run([*check, cut], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    asked = ["blkid", "-p", "-o", "value", "-s", "LABEL", str(cut)]
    assert subprocess.check_output(asked, text=True).strip() == partition.label


def test_only_the_data_partition_has_a_journal_and_can_grow_far(
    built: Built, tmp_path: Path
) -> None:
    features = {}
    for partition in (layout.ROOT_A, layout.ROOT_B, layout.DATA):
        cut = built.cut(partition, tmp_path / "partition")
        told = subprocess.check_output(
            ["dumpe2fs", "-h", cut], stderr=subprocess.DEVNULL, text=True
        )
        features[partition.label] = dict(re.findall(r"^(.+?):\s+(.+)$", told, re.MULTILINE))
    assert [
        label for label, told in features.items() if "has_journal" in told["Filesystem features"]
    ] == [layout.DATA.label]
    blocks_of_descriptors = int(features[layout.DATA.label]["Reserved GDT blocks"])
    # a block of descriptors (64 bytes each) is for 64 groups of 128 MiB
    assert blocks_of_descriptors * 64 * 128 * layout.MIB >= 250e9
    assert {told["Block size"] for told in features.values()} == {"4096"}


def test_the_root_on_the_card_is_the_tree_that_the_other_tests_judge(
    built: Built, tmp_path: Path, tree: Path
) -> None:
    cut = built.cut(layout.ROOT_A, tmp_path / "partition")
    dumped = tmp_path / "dumped"
    dumped.mkdir()
    subprocess.run(["debugfs", "-R", f"rdump / {dumped}", cut], check=True, capture_output=True)
    (dumped / "lost+found").rmdir()
    compared = subprocess.run(
        ["diff", "--recursive", "--no-dereference", "--brief", tree, dumped],
        capture_output=True,
        text=True,
        check=False,
    )
    assert compared.returncode == 0, compared.stdout


def test_every_board_finds_its_device_tree(built: Built) -> None:
    assert set(built.boot_files()) >= BOARDS


def test_the_firmware_finds_what_it_is_told_of(built: Built) -> None:
    files = set(built.boot_files())
    assert {"bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat"} <= files
    config = built.boot_file("config.txt").decode()
    kernel = re.search(r"^kernel=(.+)$", config, re.MULTILINE)
    initramfs = re.search(r"^initramfs (\S+)$", config, re.MULTILINE)
    assert kernel is not None
    assert initramfs is not None
    assert {kernel[1], initramfs[1]} <= files
    # Documentation/arch/arm64/booting.rst: a magic number at 56
    head = gzip.decompress(built.boot_file(kernel[1]))[:64]
    assert struct.unpack_from("<I", head, 56) == (0x644D5241,)


def test_the_kernel_is_told_of_the_root_and_of_no_country(built: Built) -> None:
    line = built.boot_file("cmdline.txt").decode()
    assert line.count("\n") == 1
    assert {f"root=LABEL={layout.ROOT_A.label}", "ro", "rootwait"} <= set(line.split())
    assert "regdom" not in line  # whose law the radio keeps is not ours to guess
