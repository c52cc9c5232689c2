"""What is seen of a machine, with folders that stand for what Linux tells of it."""

import os
import socket
import subprocess
import sys
import time
from ipaddress import ip_interface
from pathlib import Path

import pytest

from lanjami.doctor import machine, machine_checks
from lanjami.doctor.finding import Finding, Verdict
from lanjami.doctor.machine_checks import Past
from lanjami.firewall.openings import Opening
from lanjami.lan import Address, Interface
from tests.support.ports import free_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


def _file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_card_tells_of_errors_and_age(tmp_path: Path) -> None:
    seen = machine.disk(tmp_path, root=tmp_path)
    assert (seen.errors, seen.worn, seen.is_read_only) == (None, None, False)
    assert seen.free > 0
    number = tmp_path.stat().st_dev
    partition = tmp_path / "sys/devices/mmc0/block/mmcblk0/mmcblk0p2"
    partition.mkdir(parents=True)
    link = tmp_path / f"sys/dev/block/{os.major(number)}:{os.minor(number)}"
    link.parent.mkdir(parents=True)
    link.symlink_to(partition)
    _file(tmp_path / "sys/fs/ext4/mmcblk0p2/errors_count", "7\n")
    _file(partition.parent / "device/life_time", "0x02 0x0b\n")
    seen = machine.disk(tmp_path / "not" / "there", root=tmp_path)
    assert (seen.errors, seen.worn, seen.path) == (7, 11, str(tmp_path))


def test_a_raspberry_pi_tells_of_its_power(tmp_path: Path) -> None:
    assert machine.power(root=tmp_path) == (None, None)
    _file(tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n")
    _file(tmp_path / "sys/class/hwmon/hwmon0/name", "cpu_thermal\n")
    _file(tmp_path / "sys/class/hwmon/hwmon1/name", "rpi_volt\n")
    _file(tmp_path / "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n")
    assert machine.power(root=tmp_path) == (0x50005, True)


def test_the_newest_file_tells_what_time_has_passed(tmp_path: Path) -> None:
    before = machine.passed(tmp_path / "nothing")
    assert before.told_by == ""
    file = tmp_path / "file"
    file.touch()
    os.utime(file, (before.at + 1000, before.at + 1000))
    assert machine.passed(tmp_path) == Past(before.at + 1000, str(file))


def test_the_advice_mends_dates_of_a_clock_that_was_wrong_once(tmp_path: Path) -> None:
    later = time.time() + 3e8
    for name in ("a file", "backups"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (later, later))

    def look() -> Finding:
        past = machine.passed(tmp_path)
        return machine_checks.clock_is_sane(machine.now(), past, made_at=machine.made_at())

    found = look()
    assert found.verdict is Verdict.FAULT
    (_, command, *_) = found.advice.rpartition("once: ")[2].split("`")
    subprocess.run(["sh", "-c", command], check=True)
    assert look().verdict is Verdict.WELL


def test_a_port_is_ours_where_the_box_or_its_child_has_it() -> None:
    port = free_port(socket.SOCK_DGRAM)
    openings = [Opening("dht", "udp", port, port), Opening("relays", "udp", port, port + 5)]
    assert machine.held(openings, [], box=None) == []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", port))
        (held,) = machine.held(openings, [], box=os.getpid())
        assert held.is_ours
        assert held.owner.endswith(f"(process {os.getpid()})")
        (held,) = machine.held(openings, [], box=os.getppid())
        assert held.is_ours
        for box in (None, 999_999_999):
            (held,) = machine.held(openings, [], box=box)
            assert not held.is_ours


def test_who_shares_the_port_of_a_group_is_in_nobodys_way() -> None:
    port = free_port(socket.SOCK_DGRAM)
    mdns = Opening("mdns", "udp", port, port, groups=("224.0.0.251",))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", port))
        assert machine.held([mdns], [], box=None) == []
        assert machine.held([Opening("dht", "udp", port, port)], [], box=None) != []
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        (held,) = machine.held([mdns], [], box=None)
        assert held.owner.endswith(f"(process {os.getpid()})")


def test_dns_is_in_the_way_only_of_who_has_that_address() -> None:
    port = free_port(socket.SOCK_DGRAM)
    dns = Opening("dns", "udp", port, port, interface="eth0")

    def lan(*addresses: str) -> list[Interface]:
        return [Interface("eth0", 2, tuple(Address(ip_interface(text)) for text in addresses))]

    for family, at in ((socket.AF_INET, "127.0.0.53"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((at, port))
            assert machine.held([dns], lan("10.0.0.5/24"), box=None) == []
            assert machine.held([dns], lan("10.0.0.5/24", at), box=None) != []
            assert machine.held([Opening("dht", "udp", port, port)], [], box=None) != []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", port))
        assert machine.held([dns], lan("10.0.0.5/24"), box=None) != []
