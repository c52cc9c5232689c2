"""The system service, judged by systemd itself."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path("packaging/lanjami.service")
WORST = 2.0  # of 10

# what the kernel lets through, and RFC 6598 (100.64.0.0/10) is not among it
LAN = {
    *("localhost", "link-local", "multicast", "255.255.255.255/32"),
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
}

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze judges it"
)


@needs_systemd
def test_its_exposure_is_low() -> None:
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
        check=True,
    )
    level = re.search(r"exposure level for lanjami.service: ([0-9.]+)", judged.stdout)
    assert level is not None
    assert float(level[1]) <= WORST


@needs_systemd
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    program = tmp_path / "lanjami"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "lanjami.service"
    unit.write_text(UNIT.read_text().replace("/opt/lanjami/bin/lanjami", str(program)))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "lanjami" not in checked.stderr, checked.stderr
    assert checked.returncode == 0


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
