"""Updates as people and units bring them to a box: by `lanjami update`, and by the page's unit."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanjami import layout
from lanjami.box import slots
from lanjami.box.standing import Standing
from tests.image import loops
from tests.image.loops import needs_root
from tests.support.appliance import LANJAMI
from tests.support.imaged import Imaged, imaged
from tests.support.terminal import running_in_terminal

pytestmark = needs_root

SERVICE = (
    Path(__file__).resolve().parents[2]
    / "image/rootfs/usr/lib/systemd/system/lanjami-update.service"
)
UNIT = (sys.executable, "-m", "lanjami.cli.box", "update")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Imaged]:
    with imaged(tmp_path / "box") as box:
        yield box


def _run(box: Imaged, *command: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*box.through, *command],
        capture_output=True,
        text=True,
        check=False,
    )


def _is_tried(box: Imaged) -> bool:
    sector = (box.folder / "card0").read_bytes()[slots.TRY_SECTOR * slots.SECTOR :][: slots.SECTOR]
    return sector == slots.try_sector("b")


def test_a_terminal_shows_how_far_an_update_is(box: Imaged) -> None:
    command = [*box.through, *LANJAMI, "update", str(box.update())]
    with running_in_terminal(command) as (terminal, run):
        shown = terminal.read_all()
        assert run.wait(20) == 0, shown
    assert "Writing lanjami 9.0.0  [-" in shown
    assert "Reading it back  [-" in shown
    assert shown.rstrip().endswith("lanjami 9.0.0 is tried at the next start")
    assert _is_tried(box)
    assert box.standing == Standing("starting", "9.0.0")
    assert box.asked_of_systemd == ["--no-block reboot"]
    with loops.mounted(box.spare_slot, box.folder / "slot", "ro") as folder:
        assert (folder / "file").read_text() == "of 9.0.0"


def test_nobody_else_is_shown_a_bar(box: Imaged) -> None:
    done = _run(box, *LANJAMI, "update", "--no-reboot", box.update())
    assert done.stdout == "lanjami 9.0.0 is tried at the next start\n"
    assert done.stderr == ""
    assert box.asked_of_systemd == []


def test_what_breaks_off_is_told_on_the_page_as_well(box: Imaged) -> None:
    done = _run(box, *LANJAMI, "update", box.update(changed="root"))
    assert done.returncode == 69
    assert "it is not what its maker signed" in done.stderr
    assert (box.standing.state, box.standing.fault) == ("refused", "damaged")
    assert not _is_tried(box)


def test_what_is_refused_before_is_nothing_to_the_page(box: Imaged) -> None:
    done = _run(box, *LANJAMI, "update", box.update(version="0.0.1"))
    assert (done.returncode, "runs here already" in done.stderr) == (69, True)
    assert box.standing == Standing()


def test_what_came_by_the_page_is_taken_and_gone(box: Imaged) -> None:
    update = box.update()
    done = _run(box, *UNIT, update)
    assert done.returncode == 0, done.stderr
    assert not update.exists()
    assert _is_tried(box)
    assert box.asked_of_systemd == ["--no-block reboot"]


@pytest.mark.parametrize(
    ("version", "changed", "fault"),
    [("9.0.0", "cut", "damaged"), ("9.0.0", "manifest", "signature"), ("0.0.1", "", "old")],
)
def test_what_came_by_the_page_and_is_refused_is_told_there(
    box: Imaged, version: str, changed: str, fault: str
) -> None:
    update = box.update(version=version, changed=changed)
    done = _run(box, *UNIT, update)
    assert done.returncode == 0, "it is no fault of the unit's"
    assert not update.exists()
    assert (box.standing.state, box.standing.fault) == ("refused", fault)
    assert box.asked_of_systemd == []
    assert not _is_tried(box)


# --- a card that takes nothing any longer ------------------------------------------------------


@pytest.fixture
def state(box: Imaged) -> Iterator[Path]:
    """What the page leaves an update in, on a disk of its own."""
    folder = box.folder / "state"
    folder.mkdir()
    loops.run("mount", "-t", "tmpfs", "tmpfs", folder)
    try:
        yield folder
    finally:
        loops.run("umount", folder)


def _left_by_the_page(box: Imaged, state: Path) -> Path:
    return Path(shutil.copy(box.update(), state / layout.UPDATE))


def _end(box: Imaged, update: Path) -> None:
    """What systemd runs at the unit's end."""
    (line,) = re.findall(r"^ExecStopPost=(.*)$", SERVICE.read_text(), flags=re.MULTILINE)
    command = shlex.split(line.replace(f"/var/lib/lanjami/{layout.UPDATE}", str(update)))
    done = _run(box, *command)
    assert done.returncode == 0, done.stderr


def test_what_could_not_be_removed_is_not_written(box: Imaged, state: Path) -> None:
    update = _left_by_the_page(box, state)
    loops.run("mount", "-o", "remount,ro", state)
    done = _run(box, *UNIT, update)
    assert done.returncode == 0, done.stderr
    assert (box.standing.state, box.standing.fault) == ("refused", "failed")
    assert "takes nothing: Read-only file system" in box.standing.reason
    assert not any(box.spare_slot.read_bytes())
    assert not _is_tried(box)
    assert box.asked_of_systemd == []


def test_what_could_not_be_removed_is_not_looked_at_again(box: Imaged, state: Path) -> None:
    update = _left_by_the_page(box, state)
    loops.run("mount", "-o", "remount,ro", state)
    _end(box, update)
    assert box.asked_of_systemd == ["stop lanjami-update.path"]


def test_what_was_killed_is_not_taken_again(box: Imaged, state: Path) -> None:
    update = _left_by_the_page(box, state)
    for _ in ("once", "again"):
        _end(box, update)
        assert not update.exists()
    assert box.asked_of_systemd == []


def test_an_update_starts_also_where_the_disk_took_nothing_at_its_end(
    box: Imaged, state: Path
) -> None:
    update = _left_by_the_page(box, state)
    last = box.folder / "bin/tune2fs"
    last.write_text(f'#!/bin/sh\nmount -o remount,ro "{state}"\nexec /usr/sbin/tune2fs "$@"\n')
    last.chmod(0o755)
    done = _run(box, *UNIT, update)
    assert done.returncode == 0, done.stderr
    assert update.exists()
    assert _is_tried(box)
    assert box.standing == Standing("starting", "9.0.0")
    assert box.asked_of_systemd == ["--no-block reboot"]
