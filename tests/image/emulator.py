"""A card in a machine that QEMU makes: 64-bit ARM, but no Raspberry Pi, and no way out.

The card is a layer over the image, which stays as it is, in a larger size: so it can grow.
"""

import json
import os
import re
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address
from pathlib import Path

from tests.image.built import Built

CARD_SIZE = "4G"
# Logs root in on the serial line of this machine alone; the image has no password. Credentials
# come from whoever starts the kernel: systemd.system-credentials(7).
LOGIN = "systemd.set_credential=agetty.autologin:root systemd.set_credential=login.noauth:yes"
PLAIN = "systemd.tty.term.console=dumb systemd.tty.term.ttyAMA0=dumb audit=0"
PROMPT = re.compile(r"root@\S+:\S*# ")


class Emulated:
    """A machine with the card, switched on; `log` gets what it writes to its serial line."""

    def __init__(self, built: Built, folder: Path, *, http_port: int, dht_port: int) -> None:
        self._card = card = folder / "card.qcow2"
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(built.image)]
        if not card.exists():
            subprocess.run([*create, card, CARD_SIZE], check=True)
        for name in ("vmlinuz", "initrd.img"):
            (folder / name).write_bytes(built.boot_file(name))
        line = built.boot_file("cmdline.txt").decode().strip().replace("ttyS1,115200", "ttyAMA0")
        self.capture = folder / "lan.pcap"
        forward = f"hostfwd=tcp:127.0.0.1:{http_port}-:80,hostfwd=udp:127.0.0.1:{dht_port}-:4222"
        self._popen = subprocess.Popen(
            [
                *("qemu-system-aarch64", "-M", "virt,gic-version=3", "-cpu", "cortex-a53"),
                *("-smp", "2", "-m", "1024", "-accel", "tcg,thread=multi", "-nographic"),
                *("-kernel", folder / "vmlinuz", "-initrd", folder / "initrd.img"),
                *("-append", f"{line} {LOGIN} {PLAIN}"),
                *("-drive", f"if=none,id=card,file={card},cache=unsafe"),
                *("-device", "virtio-blk-pci,drive=card", "-device", "virtio-rng-pci"),
                *("-netdev", f"user,id=lan,restrict=on,{forward}"),
                *("-device", "virtio-net-pci,netdev=lan,romfile="),
                *("-object", f"filter-dump,id=dump,netdev=lan,file={self.capture}"),
                *("-monitor", "none", "-serial", "stdio", "-no-reboot"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._on_since = time.monotonic()
        self._said = ""
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

    def run(self, command: str, *, within_s: float = 60.0) -> str:
        """What a command prints to root on the serial line."""
        self.wait_for(PROMPT, within_s=within_s)
        start = len(self._said)
        # the sum tells the answer from the echo of the question
        self._type(f"{command}; echo done-$((40+2))\n")
        found = self.wait_for(re.compile("done-42"), within_s=within_s, since=start)
        answer = self._said[start : found.start()]
        return answer.replace("\r", "").partition("\n")[2].strip()

    def wait_for(
        self, pattern: re.Pattern[str], *, within_s: float, since: int = 0
    ) -> re.Match[str]:
        until = time.monotonic() + within_s
        while (found := pattern.search(self._said, since)) is None:
            assert time.monotonic() < until, f"no {pattern.pattern!r}:\n{self._said[-4000:]}"
            assert self._popen.poll() is None, f"QEMU has ended:\n{self._said[-4000:]}"
            time.sleep(0.1)  # a serial line tells nobody that something has come
        return found

    def written(self) -> list[range]:
        """Which bytes of the card have been written to since it left the image."""
        mapped = subprocess.check_output(
            ["qemu-img", "map", "--force-share", "--output=json", self._card]
        )
        return [
            range(extent["start"], extent["start"] + extent["length"])
            for extent in json.loads(mapped)
            if extent["depth"] == 0 and extent["present"]
        ]

    def switch_off(self) -> None:
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
