"""A line between two switches that is far, lossy or narrow, made by the kernel's netem.

Not every kernel has netem, so there is a machine with one that has: Debian's, which
`scripts/lab-packages` unpacks, with busybox and iproute2 and nothing else. It bridges two network
cards. QEMU emulates it in software, so that it is the same with and without KVM.
"""

import re
import socket
from pathlib import Path

from tests.support.lab import Lab, Switch, run

KERNEL = Path("/var/cache/lanjami-lab/kernel")
# In the order of their needs. Without them a virtio card is none.
_CARD = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci")
_MODULES = (*_CARD, "failover", "net_failover", "virtio_net", "llc", "stp", "bridge", "sch_netem")
# What is lost on a line is one packet of 1500 bytes, so nothing on the way joins several into one.
_ONE_BY_ONE = ",".join(
    f"{feature}=off"
    for feature in (
        *("csum", "gso", "host_tso4", "host_tso6", "host_ecn", "host_ufo"),
        *("guest_csum", "guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo"),
    )
)
_INIT = """#!/bin/busybox sh
PATH=/sbin:/bin
busybox mkdir /proc
busybox mount -t proc proc /proc  # which tells tc how long the kernel's ticks are
for module in {modules}; do busybox insmod /$module.ko; done
ip link add br0 type bridge mcast_snooping 0
for card in eth0 eth1; do ip link set $card gro_max_size 1500 master br0 up; done
ip link set br0 up
echo ready
while read -r words; do
    for card in eth0 eth1; do
        tc qdisc del dev $card root 2>/dev/null  # a change keeps what it does not name
        tc qdisc add dev $card root netem $words || exit
    done
    echo done
done
"""
_BOOT_WITHIN_S = 60.0


class Line:
    """Joins two switches. To be made before hosts speak on either, for bridges learn."""

    def __init__(self, lab: Lab, near: Switch, far: Switch) -> None:
        host = lab.host("line")
        initrd = lab.folder / "line-initrd"
        initrd.write_bytes(_initrd())
        console = lab.folder / "line-console"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(console))
            listening.listen()
            listening.settimeout(_BOOT_WITHIN_S)
            host.start(
                *("qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", "128"),
                *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
                *("-kernel", str(next(KERNEL.glob("boot/vmlinuz-*"))), "-initrd", str(initrd)),
                *("-append", "console=ttyS0 quiet panic=-1", "-serial", f"unix:{console}"),
                *(word for card in ("near", "far") for word in _card(card)),
            )
            self._console, _ = listening.accept()
        self._console.settimeout(_BOOT_WITHIN_S)
        self._lines = self._console.makefile(encoding="utf-8", errors="replace", newline="\n")
        self._await("ready")
        for card, switch in (("near", near), ("far", far)):
            host.ip("link", "set", card, "netns", switch.namespace)
            switch.ip("link", "set", card, "master", "br0", "up")

    def becomes(self, netem: str) -> None:
        """In each direction, in the words of tc-netem(8)."""
        self._console.sendall(f"{netem}\n".encode())
        self._await("done")

    def close(self) -> None:
        self._lines.close()
        self._console.close()

    def _await(self, said: str) -> None:
        heard = []
        while (line := self._lines.readline()).strip() != said:
            heard.append(line)
            assert line, f"the line's machine has ended: {''.join(heard)[-2000:]}"


def _card(name: str) -> tuple[str, ...]:
    tap = f"tap,id={name},ifname={name},script=no,downscript=no"
    return ("-netdev", tap, "-device", f"virtio-net-pci,netdev={name},romfile=,{_ONE_BY_ONE}")


def _initrd() -> bytes:
    files = {"init": _INIT.format(modules=" ".join(_MODULES)).encode()}
    for program in ("/bin/busybox", "/sbin/ip", "/sbin/tc"):
        libraries = re.findall(r"(/\S+) \(0x", run("ldd", program))
        files |= {path[1:]: Path(path).read_bytes() for path in (program, *libraries)}
    modules = {path.stem: path for path in KERNEL.glob("lib/modules/**/*.ko")}
    files |= {f"{module}.ko": modules[module].read_bytes() for module in _MODULES}
    return _cpio(files)


def _cpio(files: dict[str, bytes]) -> bytes:
    """An archive as the kernel takes it: Documentation/driver-api/early-userspace/buffer-format."""
    folders = {str(folder): b"" for path in files for folder in Path(path).parents[:-1]}
    entries = [
        *((path, 0o040755, b"") for path in sorted(folders)),
        *((path, 0o100755, content) for path, content in files.items()),
        ("TRAILER!!!", 0, b""),
    ]
    return b"".join(_entry(*entry) for entry in entries)


def _entry(path: str, mode: int, content: bytes) -> bytes:
    name = path.encode() + b"\0"
    numbers = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)
