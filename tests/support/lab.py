"""A LAN of network namespaces: hosts with cables to switches, and nothing else.

All that a lab made is gone after `close`; every process is ended by the pid it was started with.
"""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

_ANNOUNCE = """
import socket, sys
interface, address = sys.argv[1], socket.inet_aton(sys.argv[2])
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
    sock.bind((interface, 0x0806))
    mac = sock.getsockname()[4]
    request = b"\\0\\1\\x08\\0\\6\\4\\0\\1" + mac + address + bytes(6) + address
    sock.send(b"\\xff" * 6 + mac + b"\\x08\\6" + request)
"""

_numbers = itertools.count(1)


def run(*command: str, check: bool = True) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


@contextmanager
def tmpfs(folder: Path, *, size: str) -> Iterator[Path]:
    """A folder on a disk of its own while the block runs; `size` is as in tmpfs(5)."""
    folder.mkdir(mode=0o700)
    run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        run("umount", "--lazy", str(folder))


class Process:
    """A program that runs on a host, its output in a file."""

    def __init__(self, popen: "subprocess.Popen[bytes]", output: Path) -> None:
        self._popen = popen
        self._output = output

    @property
    def pid(self) -> int:
        return self._popen.pid

    def output(self) -> str:
        return self._output.read_text("utf-8", "replace")

    def signal(self, number: int) -> None:
        self._popen.send_signal(number)

    def wait(self, *, within_s: float) -> int:
        return self._popen.wait(within_s)

    def end(self) -> None:
        """Kill it, if it still runs."""
        if self._popen.poll() is None:
            self._popen.kill()
            self._popen.wait()


class Host:
    """A network namespace that stands for one machine."""

    def __init__(self, lab: "Lab", name: str) -> None:
        self.lab = lab
        self.name = name
        self.namespace = f"lj{os.getpid() % 100000}-{next(_numbers)}"
        self._processes: list[Process] = []
        run("ip", "netns", "add", self.namespace)
        self.ip("link", "set", "lo", "up")

    def ip(self, *arguments: str) -> str:
        return run("ip", "-n", self.namespace, *arguments)

    def run(self, *command: str, check: bool = True) -> str:
        return run("ip", "netns", "exec", self.namespace, *command, check=check)

    def start(
        self, *command: str, environment: Mapping[str, str] | None = None, output: str | None = None
    ) -> Process:
        """Start a program on this host."""
        path = self.lab.folder / f"{self.name}-{output or Path(command[0]).name}.log"
        with path.open("ab") as out:
            popen = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
            )
        process = Process(popen, path)
        self._processes.append(process)
        return process

    def without_ipv6(self) -> Self:
        """jamid 20230206 hangs for ever on recent kernels where there is IPv6."""
        for scope in ("all", "default"):
            self.run("sysctl", "-qw", f"net.ipv6.conf.{scope}.disable_ipv6=1")
        return self

    def plug(
        self,
        switch: "Switch",
        *addresses: str,
        gateway: str | None = None,
        interface: str = "eth0",
    ) -> Self:
        """Connect an interface to a switch, with addresses such as "10.0.0.5/24"."""
        port = f"p{next(_numbers)}"
        switch.ip(
            *("link", "add", port, "type", "veth"),
            *("peer", "name", interface, "netns", self.namespace),
        )
        switch.ip("link", "set", port, "master", "br0", "up")
        for address in addresses:
            nodad = ["nodad"] if ":" in address else []
            self.ip("addr", "add", address, "dev", interface, *nodad)
        self.ip("link", "set", interface, "up")
        if gateway:
            self.ip("route", "add", "default", "via", gateway, "dev", interface)
        return self

    def announce(self, address: str, interface: str = "eth0") -> None:
        """Tell the LAN by ARP who has an IPv4 address now, as NetworkManager does (RFC 5227)."""
        self.run(sys.executable, "-c", _ANNOUNCE, interface, address)

    def forwards(self) -> Self:
        """Make it a router."""
        for setting in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
            self.run("sysctl", "-qw", f"net.{setting}=1")
        return self

    def capture(self, name: str, *filter_words: str) -> "Capture":
        """Record what passes this host's interfaces until the capture is ended."""
        return Capture(self, name, filter_words)

    def unplug(self, interface: str = "eth0") -> None:
        self.ip("link", "del", interface)

    def close(self) -> None:
        for process in reversed(self._processes):
            process.end()
        with suppress(AssertionError):
            run("ip", "netns", "del", self.namespace)


class Capture:
    """A packet capture by tcpdump on all interfaces of a host."""

    def __init__(self, host: Host, name: str, filter_words: tuple[str, ...]) -> None:
        self._file = host.lab.folder / f"{host.name}-{name}.pcap"
        self._process = host.start(
            *("tcpdump", "-i", "any", "-n", "-U", "--immediate-mode", "-Z", "root"),
            *("-w", str(self._file), *filter_words),
            output=f"tcpdump-{name}",
        )
        while "listening on" not in self._process.output():
            time.sleep(0.02)  # its output goes to a file, which can only be read again

    def so_far(self, *options: str) -> list[str]:
        """A line for each packet, without its time; `options` are those of tcpdump."""
        printed = run("tcpdump", "-n", "-t", *options, "-r", str(self._file), check=False)
        return printed.splitlines()

    def packets(self, *options: str) -> list[str]:
        """End the capture; its lines are as those `so_far`."""
        self._process.signal(signal.SIGINT)
        self._process.wait(within_s=10)
        return self.so_far(*options)


class Switch(Host):
    """A bridge that floods multicast, as a cheap switch does."""

    def __init__(self, lab: "Lab", name: str) -> None:
        super().__init__(lab, name)
        self.without_ipv6()
        self.ip("link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        self.ip("link", "set", "br0", "up")

    def tap(self) -> str:
        """A port for a machine that is emulated on this host."""
        port = f"p{next(_numbers)}"
        self.ip("tuntap", "add", "dev", port, "mode", "tap")
        self.ip("link", "set", port, "master", "br0", "up")
        return port


class Lab:
    """Makes hosts and switches, and takes them down again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._hosts: list[Host] = []

    def switch(self, name: str = "switch") -> Switch:
        switch = Switch(self, name)
        self._hosts.append(switch)
        return switch

    def host(self, name: str) -> Host:
        host = Host(self, name)
        self._hosts.append(host)
        return host

    def close(self) -> None:
        for host in reversed(self._hosts):
            host.close()
