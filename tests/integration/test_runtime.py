"""What the parts under the services do with a real kernel."""

import asyncio
import contextlib
import errno
import logging
import os
import re
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanjami.errors import HostError
from lanjami.runtime import disk, httpd, log, net, process
from tests.support.lab import run, tmpfs
from tests.support.ports import free_port
from tests.support.running import running


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    for content in (b"first", b"second"):
        disk.write_atomically(file, content)
        assert file.read_bytes() == content
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"missing/secret cannot be written: No such file"):
        disk.write_atomically(tmp_path / "missing" / "secret", b"")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match=r"file/state cannot be made"):
        disk.make_private_folder(tmp_path / "file" / "state")


def test_a_lock_is_held_by_one_and_names_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        disk.locked(lock),
        pytest.raises(HostError, match=rf"process {os.getpid()}"),
        disk.locked(lock),
    ):
        pass
    with disk.locked(lock):
        pass


def test_a_full_or_read_only_disk_does_not_keep_the_lock_from_being_held(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.symlink_to("/dev/full")  # takes nothing
    with disk.locked(lock):
        pass


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "locked before"])
def test_a_disk_that_is_only_read_is_locked_as_well(mounted: Path, *, is_there: bool) -> None:
    lock = mounted / "lock"
    if is_there:
        lock.touch()
    run("mount", "-o", "remount,ro", str(mounted))
    with (
        disk.locked(lock),
        pytest.raises(HostError, match=r"already runs .* \(process unknown\)"),
        disk.locked(lock),
    ):
        pass
    with disk.locked(lock):
        pass


def test_a_port_below_1024_needs_a_right() -> None:
    if os.geteuid() == 0:
        with pytest.raises(HostError, match="taken by"), _taken() as port:
            net.listen(port)
    else:
        with pytest.raises(HostError, match="needs the right"):
            net.listen(80)


def _taken() -> "_TakenPort":
    return _TakenPort()


class _TakenPort:
    def __enter__(self) -> int:
        self._sock = socket.create_server(("", 0))
        return int(self._sock.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._sock.close()


def test_loopback_serves_no_lan() -> None:
    assert "lo" not in {interface.name for interface in net.interfaces(ignored=[])}


def test_ignored_interfaces_are_left_out() -> None:
    assert net.interfaces(ignored=["*"]) == ()


def test_every_interface_has_its_own_index_and_addresses() -> None:
    for interface in net.interfaces(ignored=[]):
        assert interface.index == socket.if_nametoindex(interface.name)
        assert interface.addresses


def test_the_addresses_of_ipv4_are_all_but_loopbacks() -> None:
    found = set(net.own_ipv4())
    assert not any(at.is_loopback for _, at in found)
    for interface in net.interfaces(ignored=[]):
        own = {address.at for address in interface.addresses if address.ip.version == 4}
        assert {at for name, at in found if name == interface.name} == own


async def test_a_child_is_asked_and_stopped() -> None:
    echo = "import sys\nfor line in sys.stdin: print('heard', line, end='', flush=True)"
    async with process.child("the child", _python(echo), environment=dict(os.environ)) as child:
        assert await child.ask("hello", timeout_s=5) == "heard hello"
        await child.stop(within_s=5)
        with pytest.raises(HostError, match="the child ended with status 0"):
            await child.ended()


async def test_a_child_that_says_nothing_hangs() -> None:
    sleeper = "import time; time.sleep(60)"
    async with process.child("the child", _python(sleeper), environment=dict(os.environ)) as child:
        with pytest.raises(HostError, match=r"the child hangs: it said nothing for 0.2 s"):
            await child.ask("hello", timeout_s=0.2)
        await child.stop(within_s=0.1)
        with pytest.raises(HostError, match="was killed by SIGKILL"):
            await child.ended()


async def test_what_a_child_says_on_stderr_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    crier = "import sys; sys.stderr.write('help\\n'); sys.exit(3)"
    async with process.child("the child", _python(crier), environment=dict(os.environ)) as child:
        with caplog.at_level(logging.WARNING), pytest.raises(HostError) as caught:
            await child.watch()
    assert str(caught.value) == "the child ended with status 3: help"
    assert "child says child='the child' line=help" in caplog.text


async def test_what_is_routine_is_no_news_and_no_reason(caplog: pytest.LogCaptureFixture) -> None:
    crier = "import sys; sys.stderr.write('why\\nstarted\\n'); sys.exit(3)"
    async with process.child("the child", _python(crier), environment=dict(os.environ)) as child:
        with caplog.at_level(logging.INFO), pytest.raises(HostError, match=r"status 3: why$"):
            await child.watch(routine=re.compile("started"))
    assert "started" not in caplog.text


async def test_a_foreign_program_ends_with_whoever_started_it() -> None:
    starter = (
        "import subprocess, time\n"
        "from lanjami.runtime import process\n"
        "print(subprocess.Popen(process.tethered(['/bin/sleep', '60'])).pid, flush=True)\n"
        "time.sleep(60)"
    )
    async with process.child(
        "the starter", _python(starter), environment=process.python_environment()
    ) as child:
        pid = int(await child.hear(timeout_s=5))
        async with asyncio.timeout(5):
            while _command_of(pid) != b"/bin/sleep\x0060\x00":
                await asyncio.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)  # it alone, not its group
        async with asyncio.timeout(5):
            while _command_of(pid):
                await asyncio.sleep(0.01)


def _command_of(pid: int) -> bytes:
    """The command line of a process; empty where it is dead."""
    with contextlib.suppress(OSError):
        return Path("/proc", str(pid), "cmdline").read_bytes()
    return b""


async def test_a_child_is_asked_to_end_by_its_signal() -> None:
    stubborn = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    async with process.child(
        "the child", _python(stubborn), environment=dict(os.environ), ends_by=signal.SIGTERM
    ) as child:
        await child.hear(timeout_s=5)
        await child.stop(within_s=5)
        with pytest.raises(HostError, match="with status 7"):
            await child.ended()


async def test_a_program_has_its_folder_where_it_can_be_written_to(tmp_path: Path) -> None:
    async with process.workplace(tmp_path / "a" / "b") as folder:
        assert folder == tmp_path / "a" / "b"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert not list(folder.iterdir())


@pytest.mark.parametrize("options", ["remount,ro", "remount,size=64k"])
async def test_a_program_has_a_copy_where_its_disk_takes_nothing(
    tmp_path: Path, mounted: Path, options: str, caplog: pytest.LogCaptureFixture
) -> None:
    (mounted / "leases").write_bytes(bytes(64 << 10))  # all of what it may have
    (mounted / "leases").chmod(0o640)
    (mounted / "hostapd").mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(mounted / "control"))
    run("mount", "-o", options, str(mounted))
    async with process.workplace(mounted) as folder:
        assert folder.parent != mounted.parent
        assert folder.stat().st_mode & 0o777 == 0o700
        assert [file.name for file in folder.iterdir()] == ["leases"]
        assert (folder / "leases").stat().st_mode & 0o777 == 0o640
        (folder / "leases").write_text("another")
    assert not folder.exists()
    assert (mounted / "leases").stat().st_size == 64 << 10
    assert "is lost with its program" in caplog.text


async def test_a_program_has_one_also_where_its_folder_cannot_be_made(
    mounted: Path,
) -> None:
    run("mount", "-o", "remount,ro", str(mounted))
    async with process.workplace(mounted / "turn") as folder:
        (folder / "users").touch()


@pytest.fixture
def only_read(mounted: Path) -> Path:
    """What a program had on a disk that takes nothing any more."""
    (mounted / "small").write_bytes(bytes(64 << 10))
    (mounted / "large").write_bytes(bytes(256 << 10))
    run("mount", "-o", "remount,ro", str(mounted))
    return mounted


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """That of a machine on which no folder for temporary files takes anything."""

    def refuse() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    with tmpfs(tmp_path / "memory", size="1m") as folder:
        monkeypatch.setattr(disk, "MEMORY", folder)
        monkeypatch.setattr(tempfile, "gettempdir", refuse)
        yield folder


async def test_a_copy_is_in_memory_where_every_disk_is_full(only_read: Path, memory: Path) -> None:
    (memory / "lanjami-work-killed").mkdir()
    async with process.workplace(only_read) as folder:
        assert list(memory.iterdir()) == [folder], "what a killed program left is gone"
        sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
        assert sizes == {"small": 64 << 10, "large": 256 << 10}


async def test_half_a_file_is_no_copy(only_read: Path, memory: Path) -> None:
    run("mount", "-o", "remount,size=128k", str(memory))
    async with process.workplace(only_read) as folder:
        assert [file.name for file in folder.iterdir()] == ["small"]


async def test_a_machine_that_takes_no_copy_anywhere_is_told_of_in_a_sentence(
    only_read: Path, memory: Path
) -> None:
    run("mount", "-o", "remount,size=4k", str(memory))
    with pytest.raises(HostError, match=r"^[^;]*/memory takes nothing: No space left on device$"):
        async with process.workplace(only_read):
            pass


async def test_what_a_killed_program_worked_with_is_gone_also_where_its_disk_is_well_again(
    tmp_path: Path,
) -> None:
    left = Path(tempfile.mkdtemp(prefix="lanjami-work-"))
    (left / "hostapd.conf").write_text("wpa_passphrase=correct horse battery\n")
    async with process.workplace(tmp_path):
        assert not left.exists()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own."""
    with tmpfs(tmp_path / "disk", size="1m") as folder:
        yield folder


async def test_what_a_program_printed_is_returned_or_why_it_failed() -> None:
    assert await process.output_of(["/bin/echo", "hello"]) == "hello\n"
    with pytest.raises(HostError, match="ls /nowhere: "):
        await process.output_of(["/bin/ls", "/nowhere"])
    with pytest.raises(HostError, match=r"sleep took longer than 0.1 s"):
        await process.output_of(["/bin/sleep", "60"], within_s=0.1)
    with pytest.raises(HostError, match="nowhere cannot be started"):
        await process.output_of(["/nowhere"])


def test_a_program_that_is_not_installed_is_named_with_its_package() -> None:
    assert process.installed("sh", package="dash").endswith("/sh")
    with pytest.raises(HostError, match="no-such-program is not installed: apt install some"):
        process.installed("no-such-program", package="some")


async def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(HostError, match="the child cannot be started: No such file"):
        async with process.child("the child", ["/nowhere"], environment={}):
            pass


def _python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


async def test_a_socket_path_that_is_too_long_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120)
    with pytest.raises(HostError, match="cannot be made"):
        async with running(httpd.LocalServer(paths=[path], routes=list)):
            pass


async def test_a_socket_is_made_in_the_first_folder_that_takes_it_and_is_ours_alone(
    tmp_path: Path,
) -> None:
    too_long, open_to_all, own = tmp_path / ("x" * 120), tmp_path / "all" / "s", tmp_path / "own/s"
    open_to_all.parent.mkdir(mode=0o755)
    async with running(httpd.LocalServer(paths=[too_long, open_to_all, own], routes=list)) as heard:
        assert heard.details == [str(own)]
        assert own.parent.stat().st_mode & 0o777 == 0o700
        assert own.stat().st_mode & 0o777 == 0o600
    assert not own.exists()
    with pytest.raises(HostError, match="is not ours alone"):
        async with running(httpd.LocalServer(paths=[too_long, open_to_all], routes=list)):
            pass


async def test_a_server_that_is_not_http_is_noticed() -> None:
    async def say_no(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"no\n")
        writer.close()

    port = free_port()
    async with await asyncio.start_server(say_no, "127.0.0.1", port):
        with pytest.raises(HostError, match=f"something else answers on TCP port {port}"):
            await httpd.check(port, "/")


def test_a_record_is_an_event_with_fields(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log.get("test").info("interface served", interface="eth0", note="two words", empty="")
    assert caplog.messages == ["interface served interface=eth0 note='two words' empty=''"]
