"""The system service, judged by systemd itself."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lanjami.ending import POWER_OFF
from lanjami.network import access_point, lan_server
from tests.support.exposure import MOST, exposure

UNIT = Path("packaging/lanjami.service")
NETWORK = Path("packaging/lanjami-network.conf")

# what the kernel lets through, and RFC 6598 (100.64.0.0/10) is not among it
LAN = {
    *("localhost", "link-local", "multicast", "255.255.255.255/32"),
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
}

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze judges it"
)


@needs_systemd
@pytest.mark.parametrize("unit", ["lanjami.service", "lanjami-power-off.service"])
def test_the_exposure_of_every_service_is_low(unit: str) -> None:
    assert exposure(UNIT.with_name(unit)) <= MOST


@needs_systemd
@pytest.mark.parametrize(("left_out", "most"), [("CLOCK", MOST), ("NOTHING", 2.4)])
def test_as_the_network_it_is_exposed_by_the_clock_alone(
    tmp_path: Path, left_out: str, most: float
) -> None:
    """The image gives that right to a service of its own (lanjami-clock.service)."""
    units = tmp_path / "usr/lib/systemd/system"
    drop_in = units / "lanjami.service.d/network.conf"
    drop_in.parent.mkdir(parents=True)
    (units / "lanjami.service").write_text(UNIT.read_text())
    text = NETWORK.read_text()
    if left_out == "CLOCK":
        for words in (" CAP_SYS_TIME", "ProtectClock=no", "@clock "):
            assert words in text
            text = text.replace(words, "")
    drop_in.write_text(text)
    level = exposure("lanjami.service", root=tmp_path)
    assert most - 0.1 < level <= most


def _verified(folder: Path, *, network: str | None = None) -> "subprocess.CompletedProcess[str]":
    """What systemd says of the unit; `network` is the text of its drop-in."""
    program = folder / "lanjami"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = folder / "lanjami.service"
    unit.write_text(UNIT.read_text().replace("/opt/lanjami/bin/lanjami", str(program)))
    if network is not None:
        drop_in = folder / "lanjami.service.d" / "network.conf"
        drop_in.parent.mkdir(exist_ok=True)
        drop_in.write_text(network)
    return subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )


@needs_systemd
@pytest.mark.parametrize("network", [None, NETWORK.read_text()], ids=["guest", "network"])
def test_systemd_understands_every_line(tmp_path: Path, network: str | None) -> None:
    checked = _verified(tmp_path, network=network)
    assert "lanjami" not in checked.stderr, checked.stderr
    assert checked.returncode == 0


@needs_systemd
def test_systemd_understands_how_the_machine_is_shut_down(tmp_path: Path) -> None:
    for name in ("lanjami-power-off.path", "lanjami-power-off.service"):
        (tmp_path / name).write_text((UNIT.parent / name).read_text())
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, tmp_path.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "power-off" not in checked.stderr, checked.stderr
    assert checked.returncode == 0


def test_what_the_box_writes_is_what_shuts_the_machine_down() -> None:
    settings = (UNIT.parent / "lanjami-power-off.conf").read_text()
    told = re.search(rf"^Environment={POWER_OFF}=(.*)$", settings, re.MULTILINE)
    waits = (UNIT.parent / "lanjami-power-off.path").read_text()
    assert told is not None
    assert f"\nPathExists={told[1]}\n" in waits
    assert told[1].startswith("/run/lanjami/"), "where nobody else writes"


@needs_systemd
def test_systemd_would_not_understand_another_line(tmp_path: Path) -> None:
    checked = _verified(tmp_path, network=NETWORK.read_text() + "Ambition=CAP_NET_ADMIN\n")
    assert "Ambition" in checked.stderr


def test_the_network_has_the_rights_that_its_programs_need() -> None:
    lines = [line.partition("=") for line in NETWORK.read_text().splitlines()]
    granted = {
        key: set(value.split()) for key, _, value in lines if key.endswith(("ties", "BoundingSet"))
    }
    assert granted["AmbientCapabilities"] == granted["CapabilityBoundingSet"]
    needed = {
        "CAP_SYS_TIME",
        *access_point.RIGHTS,
        *(r for rights in lan_server.RIGHTS.values() for r in rights),
    }
    assert granted["AmbientCapabilities"] == needed - {"CAP_NET_BIND_SERVICE"}  # which the unit has


def test_the_kernel_keeps_it_on_the_lan() -> None:
    lines = [line for line in UNIT.read_text().splitlines() if "IPAddress" in line]
    allowed = {
        word
        for line in lines
        if line.startswith("IPAddressAllow=")
        for word in line.partition("=")[2].split()
    }
    assert "IPAddressDeny=any" in lines
    assert allowed == LAN
