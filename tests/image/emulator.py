"""A card in a machine that QEMU makes: 64-bit ARM, but no Raspberry Pi.

The card is a file, larger than the image, so that it can grow. Between starts it can be read and
changed with mtools and debugfs. What the machine has flushed is in it when the machine is gone.
"""

import json
import os
import re
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any, Protocol

from image import layout
from lanjami.box import slots
from tests.image.built import Built

CARD_SIZE = 4 << 30  # bytes
# Logs root in on the serial line of this machine alone; the image has no password. Credentials
# come from whoever starts the kernel: systemd.system-credentials(7).
LOGIN = "systemd.set_credential=agetty.autologin:root systemd.set_credential=login.noauth:yes"
PLAIN = "systemd.tty.term.console=dumb audit=0"
# What the kernel, services and QEMU itself say on the same line, whenever they like.
MEANWHILE = re.compile(r"^(\[ *\d+\.\d{6}\] |qemu-system-\S+: |usbnet: ).*\n?", re.MULTILINE)
END = "echo done-$((40+2))"
PROMPT = re.compile(r"root@\S+:\S*# ")


class Bootable(Protocol):
    """What has the files that a board's firmware reads: kernel, initramfs, the kernel's line."""

    def boot_file(self, path: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Board:
    """Which machine QEMU makes: `disk` is the device with the drive "card", `adapter` the one on
    the network "lan", and `console` what Linux calls the serial line."""

    machine: Sequence[str]
    disk: Sequence[str]
    adapter: Sequence[str]
    serial: Sequence[str]
    console: str
    line: str = ""  # what the kernel is told besides
    device_tree: str = ""  # a file of the card


VIRT = Board(
    machine=(
        *("-M", "virt,gic-version=3", "-cpu", "cortex-a53", "-smp", "2", "-m", "1024"),
        *("-accel", "tcg,thread=multi", "-device", "virtio-rng-pci"),
    ),
    disk=("-device", "virtio-blk-pci,drive=card"),
    adapter=("-device", "virtio-net-pci,netdev=lan,id=adapter,romfile="),
    serial=("-serial", "stdio"),
    console="ttyAMA0",
)
# Where an adapter or a stick can be plugged in while it runs.
USB = ("-device", "qemu-xhci,id=usb")


def forwarded(http_port: int, dht_port: int) -> list[str]:
    """A network with a router that gives addresses; two ports of this host lead to the box."""
    # not restricted: then QEMU passes no datagram of the machine on, not even an answer
    rules = [f"hostfwd={rule}" for rule in forwards(http_port, dht_port)]
    return ["-netdev", ",".join(["user", "id=lan", *rules])]


def forwards(http_port: int, dht_port: int) -> list[str]:
    """How two ports of this host lead to the box, in QEMU's words."""
    return [f"tcp:127.0.0.1:{http_port}-:80", f"udp:127.0.0.1:{dht_port}-:4222"]


def tap(interface: str) -> list[str]:
    """A cable to a TAP interface of this host, which is there already."""
    return ["-netdev", f"tap,id=lan,ifname={interface},script=no,downscript=no"]


def new_card(built: Built, card: Path) -> Path:
    """The image on a card."""
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", built.image, card], check=True)
    os.truncate(card, CARD_SIZE)
    return card


def write(card: Path, content: Path, partition: layout.Partition) -> None:
    """Begin a partition of a card with what is in a file."""
    where = f"seek={partition.start_mib}"
    words = ("bs=1M", where, "conv=notrunc", "status=none")
    subprocess.run(["dd", f"if={content}", f"of={card}", *words], check=True)


def put(card: Path, name: str, content: str) -> None:
    """A file onto the part of a card that every computer can read."""
    _mtools("mcopy", card, "-D", "o", "-", f"::{name}", given=content.encode())


def get(card: Path, name: str) -> str:
    """A file from there."""
    return _mtools("mtype", card, f"::{name}").decode()


def rename(card: Path, label: str) -> None:
    """Call that part of a card something else, as people and their computers do."""
    _mtools("mlabel", card, f"::{label}")


def good_slot(card: Path) -> bytes:
    """The sector of a card that names the slot to start."""
    with card.open("rb") as file:
        file.seek(slots.GOOD_SECTOR * slots.SECTOR)
        return file.read(slots.SECTOR)


def _mtools(command: str, card: Path, *words: str, given: bytes = b"") -> bytes:
    where = f"{card}@@{layout.FIRMWARE.start_mib}M"
    done = subprocess.run(
        [command, "-i", where, *words], input=given, capture_output=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
    return done.stdout


class Emulated:
    """A machine with the card, switched on. `folder` gets what it writes to its serial line, and
    what is on its network; `writes`, if given, what it writes to its card and when it flushes, as
    dm-log-writes has it. `reboots` says whether it goes on after its end; `through` is
    a command that starts QEMU, as on a host of the lab."""

    def __init__(
        self,
        built: Bootable,
        card: Path,
        folder: Path,
        *,
        network: Sequence[str],
        board: Board = VIRT,
        writes: Path | None = None,
        reboots: bool = False,
        extra: Sequence[str] = (),
        through: Sequence[str] = (),
    ) -> None:
        folder.mkdir(exist_ok=True)
        kernel = [*_files(built, folder, board), "-append", _line(built, board)]
        self.capture = folder / "lan.pcap"
        dump = f"filter-dump,id=dump,netdev=lan,file={self.capture}"
        self._popen = subprocess.Popen(
            [
                *(*through, "qemu-system-aarch64", *board.machine, "-nographic", *kernel),
                *(*_drive(card, writes), *board.disk),
                *([*network, *board.adapter, "-object", dump] if network else ["-nic", "none"]),
                *("-monitor", "none", *board.serial, *extra),
                *("-qmp", f"unix:{folder / 'qmp'},server=on,wait=off"),
                *([] if reboots else ["-no-reboot"]),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._on_since = time.monotonic()
        self._said = ""
        self._qmp = folder / "qmp"
        self._log = folder / "console.log"
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    @property
    def up_s(self) -> float:
        """Seconds since it was switched on."""
        return time.monotonic() - self._on_since

    @property
    def said(self) -> str:
        return self._said

    def run(self, command: str, *, within_s: float = 60.0, since: int = 0) -> str:
        """What a command prints to root on the serial line, after a prompt that came `since`."""
        self.wait_for(PROMPT, within_s=within_s, since=since)
        start = len(self._said)
        # the sum tells the answer from the echo of the question
        self._type(f"{command}; {END}\n")
        found = self.wait_for(re.compile("done-42"), within_s=within_s, since=start)
        said = self._said[start : found.start()].replace("\r", "")
        # The question comes back twice where the shell was not yet waiting for it, and not whole
        # where it is longer than a line.
        answer = said.rpartition(f"{END}\n")[2] if END in said else said.partition("\n")[2]
        return MEANWHILE.sub("", answer).strip()

    def wait_for(
        self, pattern: re.Pattern[str], *, within_s: float, since: int = 0
    ) -> re.Match[str]:
        until = time.monotonic() + within_s
        while (found := pattern.search(self._said, since)) is None:
            assert time.monotonic() < until, f"no {pattern.pattern!r}:\n{self._said[-4000:]}"
            assert self._popen.poll() is None, f"QEMU has ended:\n{self._said[-4000:]}"
            time.sleep(0.1)  # a serial line tells nobody that something has come
        return found

    def tell(self, command: str, **arguments: Any) -> None:
        """Have QEMU do something to the machine, as its QMP reference has it."""
        with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rwb") as lines:
            sock.connect(str(self._qmp))
            lines.readline()  # its greeting
            for words in ({"execute": "qmp_capabilities"}, _command(command, arguments)):
                lines.write(json.dumps(words).encode() + b"\n")
                lines.flush()
                answer = json.loads(lines.readline())
                while "event" in answer:
                    answer = json.loads(lines.readline())
                assert "return" in answer, f"{command}: {answer}"

    def memory_in_use(self, *, within_s: float = 60.0) -> int:
        """Bytes that are neither free nor a cache that goes where they are needed."""
        told = self.run("cat /proc/meminfo", within_s=within_s)
        kib = {name: int(size) for name, size in re.findall(r"(\w+): +(\d+) kB", told)}
        cache = kib["Buffers"] + kib["Cached"] + kib["SReclaimable"] - kib["Shmem"]
        return (kib["MemTotal"] - kib["MemFree"] - cache) * 1024

    def plug_in(self, stick: Path) -> None:
        """A USB stick, into a machine with `USB`."""
        file = {"driver": "file", "filename": str(stick), "read-only": True}
        self.tell("blockdev-add", driver="raw", node_name=stick.name, read_only=True, file=file)
        self.tell("device_add", driver="usb-storage", drive=stick.name, bus="usb.0")

    def wait_for_its_end(self, *, within_s: float) -> None:
        """It is shut down, and not by who switches it off."""
        try:
            status = self._popen.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it is still on:\n{self._said[-4000:]}") from None
        assert status == 0

    def switch_off(self) -> None:
        """Pull the plug."""
        self._popen.kill()
        self._reader.join()
        self._popen.communicate()

    def _type(self, text: str) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(text.encode())
        self._popen.stdin.flush()

    def _listen(self) -> None:
        assert self._popen.stdout is not None
        descriptor = self._popen.stdout.fileno()
        with self._log.open("wb") as log:
            while piece := os.read(descriptor, 4096):
                log.write(piece)
                log.flush()
                self._said += piece.decode("utf-8", "replace")


def _files(built: Bootable, folder: Path, board: Board) -> list[str | Path]:
    names = {"-kernel": "vmlinuz", "-initrd": "initrd.img", "-dtb": board.device_tree}
    words: list[str | Path] = []
    for option, name in names.items():
        if name:
            (folder / name).write_bytes(built.boot_file(name))
            words += [option, folder / name]
    return words


def _line(built: Bootable, board: Board) -> str:
    line = built.boot_file("cmdline.txt").decode().strip().replace("ttyS1", board.console)
    plain = f"{PLAIN} systemd.tty.term.{board.console}=dumb"
    return " ".join(filter(None, (line, LOGIN, plain, board.line)))


def _drive(card: Path, writes: Path | None) -> list[str]:
    """What the machine flushes leaves QEMU, and this host need not sync it: only QEMU is killed."""
    file = {"driver": "file", "cache": {"no-flush": True}}
    drive: dict[str, Any] = {"driver": "raw", "file": {**file, "filename": str(card)}}
    if writes is not None:
        writes.touch()
        log = {**file, "filename": str(writes)}
        drive = {"driver": "blklogwrites", "file": drive, "log": {"driver": "raw", "file": log}}
    return ["-blockdev", json.dumps({"node-name": "card", **drive})]


def _command(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "execute": name,
        "arguments": {key.replace("_", "-"): value for key, value in arguments.items()},
    }


def written_to(built: Built, card: Path, partition: layout.Partition) -> bool:
    """Whether a partition of a card differs from the image's."""
    size = partition.size_mib * layout.MIB
    with built.image.open("rb") as before, card.open("rb") as after:
        for file in (before, after):
            file.seek(partition.start_mib * layout.MIB)
        return any(
            before.read(layout.MIB) != after.read(layout.MIB) for _ in range(size // layout.MIB)
        )


def destinations(capture: Path) -> Iterator[IPv4Address]:
    """Where the IPv4 packets of a capture of Ethernet went (libpcap's format)."""
    content = capture.read_bytes()
    offset = 24
    while offset + 16 <= len(content):
        _, _, length, _ = struct.unpack_from("<IIII", content, offset)
        frame = content[offset + 16 : offset + 16 + length]
        offset += 16 + length
        if frame[12:14] == b"\x08\x00":
            address = ip_address(frame[30:34])
            assert isinstance(address, IPv4Address)
            yield address
