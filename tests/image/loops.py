"""Cards made of files, for tests on Linux as root."""

import contextlib
import fcntl
import os
import re
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from image import layout

MIB = 1 << 20

_FS_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32), Linux include/uapi/linux/fs.h since 6.8
_NO_LOG_FLUSH = 2  # as a power cut: not even the journal is written out

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="loop devices and mounts need root")


needs_vfat = pytest.mark.skipif(
    not re.search(r"\bvfat$", Path("/proc/filesystems").read_text(), re.MULTILINE),
    reason="this kernel knows no FAT",
)

_SYS_RESOURCE = 1 << 24  # Linux include/uapi/linux/capability.h
_rights = re.search(r"^CapEff:\t([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
needs_sys_resource = pytest.mark.skipif(
    _rights is None or not int(_rights[1], 16) & _SYS_RESOURCE,
    reason="a mounted file system grows with CAP_SYS_RESOURCE only",
)


def run(*command: str | Path, given: str = "") -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, input=given)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def file_of(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


@contextlib.contextmanager
def mounted(device: Path, folder: Path, *options: str) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    run("mount", *(["-o", ",".join(options)] if options else []), device, folder)
    try:
        yield folder
    finally:
        run("umount", folder)


def pull_the_plug(folder: Path) -> None:
    """Have the file system forget what is not on its disk, and take nothing more."""
    file = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(file, _FS_IOC_SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
    finally:
        os.close(file)


@contextlib.contextmanager
def card(path: Path, *, size: int, data: int, visible: int = 16) -> Iterator[Path]:
    """A loop device with the four partitions of a card, of which the last has `data` MiB and the
    first `visible`, none with a file system."""
    file_of(path, size)
    table = f"label: dos\nlabel-id: {layout.DISK_ID:#x}\nstart=4MiB, size={visible}MiB, type=c\n"
    slots = "size=16MiB\nsize=16MiB\n"
    run("sfdisk", "--quiet", path, given=f"{table}{slots}size={data}MiB\n")
    device = Path(run("losetup", "--find", "--show", path).strip())
    made = []
    try:
        run("partx", "--add", device)
        for number in range(1, 5):
            name = f"{device.name}p{number}"
            node = Path("/dev", name)
            if not node.exists():  # without udev
                major, minor = Path("/sys/class/block", name, "dev").read_text().split(":")
                os.mknod(node, 0o600 | 0o060000, os.makedev(int(major), int(minor)))
                made.append(node)
        yield device
    finally:
        run("partx", "--delete", device)
        run("losetup", "--detach", device)
        for node in made:
            node.unlink()
