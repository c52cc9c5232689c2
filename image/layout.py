"""Where things are on the card. MBR, since older boards' firmware knows no GPT."""

from dataclasses import dataclass

MIB = 1 << 20
SECTOR = 512
DISK_ID = 0x6C616E6A
SLOT_STATE_SECTORS = (2048, 2049)  # between table and first partition: which root is booted


@dataclass(frozen=True, slots=True)
class Partition:
    number: int
    label: str
    mbr_type: str  # as sfdisk(8) has it
    start_mib: int
    size_mib: int
    volume_id: str  # of FAT eight hexadecimal digits, of ext4 a UUID


FIRMWARE = Partition(1, "LANJAMI", "c", 4, 384, "6c616e6a")
ROOT_A = Partition(2, "root-a", "83", 388, 768, "6c616e6a-0000-4000-8000-00000000000a")
ROOT_B = Partition(3, "root-b", "83", 1156, 768, "6c616e6a-0000-4000-8000-00000000000b")
DATA = Partition(4, "lanjami-data", "83", 1924, 256, "6c616e6a-0000-4000-8000-00000000000d")
PARTITIONS = (FIRMWARE, ROOT_A, ROOT_B, DATA)
SIZE_MIB = DATA.start_mib + DATA.size_mib


def table() -> str:
    """What sfdisk(8) reads to write the table."""
    lines = ["label: dos", f"label-id: 0x{DISK_ID:08x}", "unit: sectors"]
    per_mib = MIB // SECTOR
    for p in PARTITIONS:
        active = ", bootable" if p is FIRMWARE else ""
        start, size = p.start_mib * per_mib, p.size_mib * per_mib
        lines.append(f"start={start}, size={size}, type={p.mbr_type}{active}")
    return "\n".join(lines) + "\n"


def variables() -> str:
    """The same for the scripts of the second stage, as lines of sh."""
    lines = [f"SIZE_MIB={SIZE_MIB}"]
    for name, p in (("FIRMWARE", FIRMWARE), ("ROOT_A", ROOT_A), ("ROOT_B", ROOT_B), ("DATA", DATA)):
        lines += [
            f"{name}_LABEL={p.label}",
            f"{name}_START_MIB={p.start_mib}",
            f"{name}_SIZE_MIB={p.size_mib}",
            f"{name}_ID={p.volume_id}",
        ]
    return "\n".join(lines) + "\n"
