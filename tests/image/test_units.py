"""The units of the box, judged by systemd itself, and what they run."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from image import payload
from lanjami.box import watch
from tests.support.exposure import MOST, exposure

ROOTFS = Path(__file__).resolve().parents[2] / "image/rootfs"
UNITS = ROOTFS / "usr/lib/systemd/system"
SERVICES = sorted(UNITS.glob("*.service"))
PRESET = ROOTFS / "usr/lib/systemd/system-preset/00-lanjami.preset"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze judges it"
)


def _named(unit: Path) -> str:
    return unit.name


@needs_systemd
@pytest.mark.parametrize("unit", SERVICES, ids=_named)
def test_the_exposure_of_every_service_is_low(tmp_path: Path, unit: Path) -> None:
    judged = tmp_path / unit.name.replace("@", "@sda1")
    shutil.copy(unit, judged)
    assert exposure(judged) <= MOST


@needs_systemd
def test_the_exposure_of_the_box_itself_is_low_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    units = tmp_path / "usr/lib/systemd/system"
    for source, place in payload.PLACES.items():
        if place.startswith(payload.UNITS):
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(payload.CHECKOUT / source, tmp_path / place)
    shutil.copytree(UNITS, units, dirs_exist_ok=True)
    services = {Path(place).name for place in payload.PLACES.values() if place.endswith(".service")}
    assert {"lanjami.service", "lanjami-power-off.service"} <= services
    for service in services:
        assert exposure(service, root=tmp_path) <= MOST, service


@needs_systemd
@pytest.mark.parametrize("unit", sorted(p for p in UNITS.iterdir() if p.is_file()), ids=_named)
def test_systemd_understands_every_line(tmp_path: Path, unit: Path) -> None:
    made = tmp_path / unit.name.replace("@", "@sda1")
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = re.sub(r"^(Exec\w+=\W*)/\S+", rf"\1{program}", unit.read_text(), flags=re.MULTILINE)
    made.write_text(text)
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", made], capture_output=True, text=True, check=False
    )
    complaints = [line for line in told.stderr.splitlines() if made.name in line]
    # the state's mount needs what only the box has
    assert not [line for line in complaints if "Unknown" in line or "Failed to parse" in line]


@pytest.mark.parametrize("unit", SERVICES, ids=_named)
def test_what_a_service_runs_is_there(unit: Path) -> None:
    programs = re.findall(r"^Exec\w+=\W*(/\S+)", unit.read_text(), flags=re.MULTILINE)
    assert programs
    for program in programs:
        if program.startswith("/usr/lib/lanjami/"):
            mode = (ROOTFS / program[1:]).stat().st_mode
            assert mode & stat.S_IXUSR


def test_every_service_is_enabled_or_started_by_another_unit() -> None:
    enabled = set(re.findall(r"^enable (\S+)$", PRESET.read_text(), flags=re.MULTILINE))
    later = (UNITS / "lanjami-later.target").read_text()
    started = {*re.findall(r"lanjami-\S+", later), "lanjami-later.target"}
    started |= {"lanjami-update.service", "lanjami-usb@.service"}
    assert {unit.name for unit in SERVICES} <= enabled | started
    assert {unit.name for unit in UNITS.iterdir() if unit.is_file()} <= enabled | started
    enabled.discard("lanjami-power-off.path")  # of packaging/
    for name in enabled:
        unit = UNITS / name
        assert not unit.exists() or "WantedBy=" in unit.read_text(), name


@pytest.mark.parametrize("unit", SERVICES, ids=_named)
def test_a_service_starts_also_where_the_card_has_no_folder_for_it(unit: Path) -> None:
    places = re.findall(r"^ReadWritePaths=(.*)$", unit.read_text(), flags=re.MULTILINE)
    assert "/data/box" not in " ".join(places).split(), "-/data/box"


def test_the_watch_knows_what_systemd_leaves_alone() -> None:
    unit = (ROOTFS.parents[1] / "packaging/lanjami.service").read_text()
    (line,) = re.findall(r"^RestartPreventExitStatus=(.*)$", unit, flags=re.MULTILINE)
    assert tuple(map(int, line.split())) == watch.LEFT_ALONE


def test_nothing_else_is_enabled() -> None:
    assert PRESET.read_text().rstrip().endswith("\ndisable *")


def test_scripts_are_programs() -> None:
    for script in (ROOTFS / "etc/initramfs-tools").rglob("lanjami"):
        assert os.access(script, os.X_OK), script


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck judges it")
def test_the_scripts_are_sound() -> None:
    scripts = [
        file
        for folder in (ROOTFS / "usr/lib/lanjami", ROOTFS / "etc/initramfs-tools")
        for file in folder.rglob("*")
        if file.is_file() and (file.suffix == ".sh" or file.read_text().startswith("#!/bin/sh"))
    ]
    assert len(scripts) > 6
    # sourced files elsewhere, variables of initramfs-tools, words that are to be split
    left_out = "--exclude=SC1091,SC2154,SC2046,SC2086"
    told = subprocess.run(
        ["shellcheck", "--shell=sh", left_out, *scripts],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout
