"""How long the Raspberry Pi image takes from power to service, beside the Debian that it is of."""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from image import debian, payload
from image.screen import Screen
from image.steps import Steps
from tests.bench.table import Aim, Reference, Row, Samples
from tests.image import asking, emulator, power_cuts
from tests.image.built import Built
from tests.image.emulator import Emulated
from tests.support.ports import free_port

HOW = """\
QEMU emulates a machine of two Cortex-A53 on the processors of this one, which is several times
slower than a Raspberry Pi, and starts the image of the folder that `LANJAMI_IMAGE` names from its
card, for the first time. It serves when page, names, proxy and bootstrap have answered. The other
is the Debian that the image is made of, with the same packages and kernel and nothing of lanjami,
and none of the packages' services starts (ssh, chrony, coturn, hostapd, wpa_supplicant). It is
there when it asks who logs in. Memory in use is neither free nor cache. Three rounds, in turns."""

ROUNDS = 3
MOST_S = 300.0
LOGIN = re.compile("login: ")
BARE_MIB = 1024


async def measure() -> list[Row]:
    """Seconds to service and to a login, and the memory in use then."""
    folder = os.environ.get("LANJAMI_IMAGE")
    if folder is None:
        sys.exit("LANJAMI_IMAGE names no folder with an image: `make image` makes dist/image")
    return await asyncio.to_thread(_measured, Built(Path(folder).absolute()))


@dataclass(frozen=True)
class _Bare:
    """Debian without lanjami, on a disk of its own."""

    kernel: bytes
    initramfs: bytes

    def boot_file(self, path: str) -> bytes:
        line = b"console=ttyS1,115200 root=/dev/vda rw rootwait net.ifnames=0"
        return {"vmlinuz": self.kernel, "initrd.img": self.initramfs, "cmdline.txt": line}[path]


def _measured(built: Built) -> list[Row]:
    ours: list[float] = []
    memory: list[float] = []
    others: list[float] = []
    with tempfile.TemporaryDirectory(prefix="lanjami-bench-") as name:
        scratch = Path(name)
        bare, root = _bare(built, scratch)
        for _ in range(ROUNDS):
            took_s, used_mb = _served(built, emulator.new_card(built, scratch / "card"), scratch)
            ours.append(took_s)
            memory.append(used_mb)
            others.append(_asked_who(bare, power_cuts.copy(root, scratch / "card"), scratch))
    login = Reference("Debian to a login", Samples(others, "s", 1))
    return [
        Row("Power to service", Samples(ours, "s", 1), login, Aim(1.25, of="ratio")),
        Row("Memory in use then", Samples(memory, "MB", 0), aim=Aim(200)),
    ]


def _served(built: Built, card: Path, scratch: Path) -> tuple[float, float]:
    """Seconds until it serves, and MB in use then."""
    ports = free_port(), free_port()
    machine = Emulated(built, card, scratch, network=emulator.forwarded(*ports))
    try:
        took_s = _until(machine, lambda: asking.serves("127.0.0.1", *ports, patience_s=2))
        return took_s, machine.memory_in_use(within_s=MOST_S) / 1e6
    finally:
        machine.switch_off()


def _asked_who(bare: _Bare, disk: Path, scratch: Path) -> float:
    """Seconds until it asks who logs in."""
    network = emulator.forwarded(free_port(), free_port())
    machine = Emulated(bare, disk, scratch, network=network)
    try:
        return _until(machine, lambda: LOGIN.search(machine.said) is not None)
    finally:
        machine.switch_off()


def _until(machine: Emulated, holds: Callable[[], bool]) -> float:
    while not holds():
        assert machine.up_s < MOST_S, machine.said[-2000:]
        time.sleep(0.1)  # neither a serial line nor a port that QEMU forwards tells anybody
    return machine.up_s


def _bare(built: Built, scratch: Path) -> tuple[_Bare, Path]:
    """Made of what the build of the image has kept in its cache, else of the archive's packages."""
    cache = debian.usual_cache()
    cache.mkdir(parents=True, exist_ok=True)
    usual_s = {"Debian": 720.0, "its initramfs": 240.0}
    steps = Steps(scratch / "logs", usual_s, Screen(sys.stderr))
    with steps.step("Debian") as step:
        base = debian.make(step, debian.base(debian.Archive()), cache, fresh=False)
    with steps.step("its initramfs") as step:
        ours = scratch / "initramfs.tar"
        payload.pack_for_initramfs(ours, is_bare=True)
        initramfs = debian.initramfs(step, base, ours, cache)
    tree, root = scratch / "tree", scratch / "root"
    tree.mkdir()
    subprocess.run(["tar", "-xf", base, "-C", tree, "--exclude=./dev/*"], check=True)
    (tree / "dev").mkdir(exist_ok=True)
    for wanted in (tree / "etc/systemd/system/multi-user.target.wants").glob("*.service"):
        wanted.unlink()
    (tree / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    options = ("-q", "-t", "ext4", "-d")
    subprocess.run(["mke2fs", *options, tree, root, f"{BARE_MIB}M"], check=True)
    subprocess.run(["rm", "-rf", tree], check=True)
    return _Bare(built.boot_file("vmlinuz"), initramfs.read_bytes()), root
