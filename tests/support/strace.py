"""Runs a program under strace and tells what it asked of the kernel, in order.

strace stops a thread before and after each call and writes a line there, so of a call that is in
this list, it is certain that it took effect between the moments `begin` and `end`.
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from posixpath import join, normpath

import pytest

# Everything that changes files, their names or what the disk has of them, and what is said.
_TRACED = (
    *("open", "openat", "openat2", "creat", "write", "pwrite64", "writev", "pwritev"),
    *("pwritev2", "lseek", "ftruncate", "truncate", "fallocate", "sendfile", "copy_file_range"),
    *("splice", "mmap", "fsync", "fdatasync", "sync_file_range", "msync", "sync", "syncfs"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
    *("unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "recvfrom", "sendto", "sendmsg"),
)
_LINE = re.compile(r"(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)")
_DONE = re.compile(r"(.*?)\) += (-?\d+|\?|0x[0-9a-f]+)")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FILE = re.compile(r"(-?\w+)<((?:\\x[0-9a-f]{2})*)>(\(deleted\))?")


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that succeeded: its arguments as strace prints them, and two moments."""

    name: str
    arguments: tuple[str, ...]
    result: int
    begin: int
    end: int

    def file(self, number: int = 0) -> tuple[int, str]:
        """The descriptor in an argument and its path; "" for a file that has no name any more."""
        found = _FILE.fullmatch(self.arguments[number])
        if found is None:
            return -1, ""
        fd = -1 if found[1] == "AT_FDCWD" else int(found[1])
        return fd, "" if found[3] else _bytes(found[2]).decode()

    def path(self, number: int) -> str:
        """The path in an argument, relative to the folder in the one before it, if any."""
        folder = self.file(number - 1)[1] if number else ""
        return normpath(join(folder, self.content(number).decode()))

    def content(self, number: int) -> bytes:
        """The string in an argument."""
        found = _STRING.fullmatch(self.arguments[number])
        assert found is not None, f"{self.name}: no whole string in {self.arguments[number][:80]}"
        return _bytes(found[1])

    def contents(self) -> bytes:
        """All strings in the arguments, one after the other."""
        return b"".join(_bytes(found) for found in _STRING.findall(", ".join(self.arguments)))


class Traced:
    """A program that runs under strace; `pid` is its own."""

    def __init__(self, popen: "subprocess.Popen[str]", output: Path) -> None:
        self._popen = popen
        self._output = output

    def line(self) -> str:
        """The next line that it prints."""
        assert self._popen.stdout is not None
        return self._popen.stdout.readline()

    def stop(self) -> None:
        """Ask it to end."""
        folder = Path("/proc", str(self._popen.pid), "task", str(self._popen.pid))
        os.kill(int((folder / "children").read_text().split()[0]), signal.SIGTERM)

    def calls(self) -> list[Call]:
        """Wait until it has ended by itself; what it called, in the order of the ends."""
        printed, told = self._popen.communicate(timeout=60)
        assert self._popen.returncode == 0, f"{printed}{told}"
        return sorted(_parsed(self._output), key=lambda call: call.end)


@contextmanager
def traced(command: Sequence[str], *, output: Path) -> Iterator[Traced]:
    """Start a program, which is killed at the end if it still runs."""
    strace = require()
    popen = subprocess.Popen(
        [
            *(strace, "--seccomp-bpf", "-f", "-y", "-xx", "-s", str(1 << 24), "-o", str(output)),
            *("-e", f"trace={','.join(f'?{name}' for name in _TRACED)}", "-e", "signal=none"),
            *("--", *command),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Traced(popen, output)
    finally:
        if popen.poll() is None:
            children = Path("/proc", str(popen.pid), "task", str(popen.pid), "children")
            for pid in children.read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        popen.communicate()


def require() -> str:
    """Where strace is; without it, the test fails where all is to be tested, else it is skipped."""
    found = shutil.which("strace")
    if found is None:
        why = "strace is missing: sudo apt install strace"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return found


def _parsed(output: Path) -> Iterator[Call]:
    begun: dict[str, tuple[int, str, str]] = {}  # by thread
    with output.open("r", encoding="ascii") as lines:
        for moment, line in enumerate(lines):
            found = _LINE.match(line)
            if found is None:  # the end of a thread
                continue
            thread, resumed, name, rest = found.groups()
            begin, before = 2 * moment, ""
            if resumed:
                begin, name, before = begun.pop(thread)
            if rest.endswith("<unfinished ...>"):
                begun[thread] = begin, name, rest.removesuffix(" <unfinished ...>")
                continue
            done = _DONE.match(rest)
            assert done is not None, f"strace: {line[:200]}"
            if done[2] == "?" or int(done[2], 0) < 0:
                continue
            arguments = tuple((before + done[1]).split(", "))
            yield Call(name, arguments, int(done[2], 0), begin, 2 * moment + 1)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
