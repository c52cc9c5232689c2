"""What the box's root has, and what it must not have."""

import json
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from image import debian, payload
from tests.image import flaws
from tests.image.built import Built
from tests.support.exposure import MOST, exposure

PROGRAMS = {
    "opt/lanjami/bin/lanjami",
    "usr/bin/lanjami",
    "usr/bin/python3.13",
    "usr/bin/turnserver",
    "usr/sbin/chronyd",
    "usr/sbin/dnsmasq",
    "usr/sbin/hostapd",
    "usr/sbin/nft",
    "usr/lib/python3/dist-packages/systemd/daemon.py",
}
# What compiles, fetches, or speaks to others by itself.
UNWANTED = re.compile(
    r"(^|/)(apt|apt-get|aptitude|gcc|cc|g\+\+|as|make|pip3?|pip3\.13|curl|wget|avahi-daemon|"
    r"systemd-timesyncd|unattended-upgrade|popularity-contest)$"
)
SETUID: set[str] = set()  # nobody but root and the services' users is on a box
CAPABLE = {"usr/bin/ping"}
# The timers of the units that are there; what they start stays on the box.
TIMERS = {"systemd-tmpfiles-clean.timer"}
TRACKER = os.environ.get("LANJAMI_TRACKER")
SECRET = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/]")


def test_the_programs_that_lanjami_runs_are_there(built: Built) -> None:
    assert set(built.root) >= PROGRAMS


def test_nothing_compiles_fetches_or_answers_for_others(built: Built) -> None:
    found = [
        path
        for path, entry in built.root.items()
        if UNWANTED.search(path) and entry.isreg() and entry.mode & 0o111
    ]
    assert not found


def test_no_timer_asks_the_internet(built: Built) -> None:
    pulled_in = {
        Path(path).name
        for path in built.root
        if re.match(r"(etc|usr/lib)/systemd/system/timers.target.wants/.", path)
    }
    assert pulled_in <= TIMERS


def test_every_box_gets_an_identity_of_its_own(built: Built) -> None:
    assert built.read("etc/machine-id") in {b"", b"uninitialized\n"}
    shared = re.compile(r"etc/ssh/ssh_host_|/random-seed$|var/lib/dbus/machine-id$")
    assert not [path for path in built.root if shared.search(path)]


def test_no_file_is_a_private_key(built: Built, tree: Path) -> None:
    found = []
    for path, entry in built.root.items():
        if entry.isreg() and entry.size < 1_000_000:
            content = (tree / path).read_bytes()
            # programs have the words in them, to write keys with
            if not content.startswith(b"\x7fELF") and SECRET.search(content):
                found.append(path)
    assert not found


def test_nobody_has_a_password(built: Built) -> None:
    for line in built.read("etc/shadow").decode().splitlines():
        name, password = line.split(":")[:2]
        assert password.startswith(("*", "!")), name


def test_nobody_but_root_may_write(built: Built) -> None:
    writable = {
        path
        for path, entry in built.root.items()
        if not entry.issym() and entry.mode & stat.S_IWOTH and not entry.mode & stat.S_ISVTX
    }
    assert not writable


def test_nothing_makes_its_caller_another(built: Built) -> None:
    special = stat.S_ISUID | stat.S_ISGID
    assert {
        path for path, entry in built.root.items() if entry.isreg() and entry.mode & special
    } <= SETUID
    capable = {
        path
        for path, entry in built.root.items()
        if any("security.capability" in name for name in entry.pax_headers)
    }
    assert capable <= CAPABLE


def test_no_file_is_younger_than_the_commit(built: Built) -> None:
    about = json.loads(built.read("usr/share/lanjami/image.json"))
    assert max(entry.mtime for entry in built.root.values()) <= about["built"]


def test_the_wheels_are_the_locked_ones(built: Built) -> None:
    locked = dict(
        re.findall(
            r"^([a-z0-9-]+)==(\S+)",
            (payload.CHECKOUT / "requirements/image.txt").read_text(),
            re.MULTILINE,
        )
    )
    site = f"{payload.VENV}/lib/python{payload.PYTHON}/site-packages/"
    there = {}
    for path in built.root:
        if found := re.fullmatch(rf"{re.escape(site)}([^/]+)-([^/-]+)\.dist-info", path):
            there[found[1].lower().replace("_", "-")] = found[2]
    assert there.pop("lanjami") == json.loads(built.read("usr/share/lanjami/image.json"))["version"]
    assert there == locked


def test_python_never_compiles_on_the_box(built: Built, tree: Path) -> None:
    site = f"{payload.VENV}/lib/python{payload.PYTHON}/site-packages/lanjami/"
    sources = [path for path in built.root if path.startswith(site) and path.endswith(".py")]
    assert sources
    for source in sources:
        path = Path(source)
        compiled = tree / path.parent / "__pycache__" / f"{path.stem}.cpython-313.pyc"
        # PEP 552: flags, of which 1 says "by hash" and 2 says "check it"
        assert compiled.read_bytes()[4:8] == b"\1\0\0\0", source


def test_the_bill_names_every_package(built: Built) -> None:
    parts = {part["SPDXID"]: part["versionInfo"] for part in built.bill["packages"]}
    for name in debian.listed(debian.FOLDER / "base/packages"):
        assert f"SPDXRef-deb-{name.partition('/')[0]}" in parts
    status = built.read("var/lib/dpkg/status").decode()
    installed = status.count("\nStatus: install ok installed\n")
    compiled = sum(part.startswith("SPDXRef-deb-linux-source-") for part in parts)
    assert compiled == 1, "what the driver was made of"
    assert sum(part.startswith("SPDXRef-deb-") for part in parts) == installed + compiled
    assert "SPDXRef-pypi-opendht" in parts


@pytest.mark.skipif(TRACKER is None, reason=f"LANJAMI_TRACKER names no copy of {flaws.WHERE}")
def test_no_package_has_an_open_flaw_of_the_worst_kind(built: Built) -> None:
    assert TRACKER
    installed = flaws.sources(built.read("var/lib/dpkg/status").decode())
    tracker = json.loads(Path(TRACKER).read_bytes())
    assert not list(flaws.worst(tracker, installed, suite=debian.SUITE))


def test_licences_of_what_is_not_free_are_there(built: Built) -> None:
    for package in ("firmware-brcm80211", "raspi-firmware"):
        assert f"usr/share/doc/{package}/copyright" in built.root


def test_lanjami_starts_and_what_it_runs_does_not(built: Built) -> None:
    enabled = {
        Path(path).name
        for path, entry in built.root.items()
        if entry.issym() and re.match(r"etc/systemd/system/.+\.wants/", path)
    }
    assert "lanjami.service" in enabled
    assert not enabled & {
        *("chrony.service", "coturn.service", "hostapd.service", "dnsmasq.service"),
        *("ssh.socket", "wpa_supplicant.service", "chrony-wait.service"),
    }
    # with a key on the card only
    assert b"\nConditionPath" in built.read(f"{payload.UNITS}/ssh.service.d/lanjami.conf")
    assert built.root["etc/systemd/system/default.target"].linkname.endswith("multi-user.target")


def _units(built: Built) -> list[str]:
    """The names of the units that are ours."""
    ours = [path for path in (debian.FOLDER / "rootfs").rglob("*") if path.is_file()]
    suffixes = {".service", ".timer", ".target", ".mount", ".path", ".socket"}
    units = {path.name for path in ours if path.suffix in suffixes}
    return sorted({"lanjami.service", *units} & {Path(path).name for path in built.root})


def test_systemd_understands_every_unit(built: Built, tree: Path) -> None:
    for unit in _units(built):
        checked = subprocess.run(
            ["systemd-analyze", f"--root={tree}", "verify", "--man=no", unit],
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, f"{unit}: {checked.stderr}"


@pytest.mark.parametrize("service", ["lanjami.service", "lanjami-power-off.service"])
def test_what_serves_is_locked_in(tree: Path, service: str) -> None:
    """As it is, with all that the image adds to it; the image's own services: test_units.py."""
    assert exposure(service, root=tree) <= MOST


def test_linux_makes_no_addresses_where_the_box_does(built: Built) -> None:
    """lanjami, which would tell it so, may not."""
    assert b"\n-net.ipv6.conf.*.autoconf=0\n" in built.read("etc/sysctl.d/lanjami.conf")
    assert "usr/lib/systemd/system/sysinit.target.wants/systemd-sysctl.service" in built.root
