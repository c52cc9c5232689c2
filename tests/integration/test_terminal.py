"""What a terminal is shown, and what only a terminal is shown: colours, and how far work is."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from lanjami.nameserver import record
from lanjami.nameserver.database import Database
from tests.support.appliance import LANJAMI
from tests.support.box import Box
from tests.support.registrations import registration
from tests.support.terminal import running_in_terminal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")

ESCAPE = "\x1b"


@pytest.fixture(params=["running", "stopped"])
def named(box: Box, request: pytest.FixtureRequest) -> Box:
    """A box with names, once running and once not."""
    box.state.mkdir(mode=0o700)
    with closing(Database(box.state / "names.sqlite")) as database:
        for name, number in (("alice", 1), ("bobby", 2)):
            database.add([record.of(registration(name, number), when=number)])
    if request.param == "running":
        box.running()
    return box


def _shown(
    words: Sequence[str],
    *,
    stdout: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """The exit status of `lanjami`, and what it shows in a terminal."""
    command = [*LANJAMI, *words]
    with running_in_terminal(command, environment=environment, stdout=stdout) as (terminal, run):
        shown = terminal.read_all()
        return run.wait(10), shown


def test_a_terminal_has_colours_and_who_wants_none_has_none(box: Box) -> None:
    box.running()
    words = ["status", "--state", str(box.state)]
    assert f"{ESCAPE}[32mup{ESCAPE}[0m" in _shown(words)[1]
    plain = box.run(*words)[1]
    assert ESCAPE not in plain
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        exit_status, shown = _shown(words, environment=environment)
        assert (exit_status, ESCAPE in shown) == (1, False)
        assert "no network interface is up" in shown
    assert ESCAPE in _shown(words, environment={"NO_COLOR": ""})[1]


def test_a_person_sees_how_far_a_backup_is(named: Box, tmp_path: Path) -> None:
    words = ["backup", "--state", str(named.state), str(tmp_path / "b.zip")]
    exit_status, shown = _shown(words)
    assert exit_status == 0
    for part in ("Collecting", "Writing", "Checking"):
        assert f"\r{part}" in shown
    assert shown.endswith(f"is in {tmp_path}/b.zip\r\n")
    assert ESCAPE not in shown
    exit_status, printed, told = named.run(*words)
    assert (exit_status, told) == (0, "")
    assert "Writing" not in printed


def test_a_person_sees_how_far_a_restore_is(box: Box, tmp_path: Path) -> None:
    box.state.mkdir(mode=0o700)
    with closing(Database(box.state / "names.sqlite")) as database:
        database.add([record.of(registration("alice", 1), when=1)])
    file = str(tmp_path / "b.zip")
    assert box.run("backup", "--state", str(box.state), file)[0] == 0
    exit_status, shown = _shown(["restore", "--state", str(tmp_path / "other"), file])
    assert exit_status == 0
    assert "\rUnpacking" in shown
    assert "\rChecking the names" in shown
    assert ESCAPE not in shown


def test_a_person_sees_how_far_the_names_are(named: Box, tmp_path: Path) -> None:
    state, file = ["--state", str(named.state)], tmp_path / "names.jsonl"
    exit_status, shown = _shown(["names", *state, "export", str(file)])
    assert exit_status == 0
    assert "\rExporting  [" in shown
    assert file.read_bytes().count(b"\n") == 2
    exit_status, shown = _shown(["names", *state, "import", str(file)])
    assert exit_status == 0
    assert "\rReading  [" in shown
    assert shown.endswith("0 names were new\r\n")
    exit_status, shown = _shown(["names", *state, "audit"])
    assert exit_status == 0
    assert "\rChecking  [" in shown
    assert shown.endswith("every proof holds\r\n")
    assert ESCAPE not in shown


def test_what_is_exported_to_the_terminal_is_left_alone(named: Box, tmp_path: Path) -> None:
    words = ["names", "--state", str(named.state), "export"]
    exit_status, shown = _shown(words)
    assert exit_status == 0
    assert "Exporting" not in shown
    assert shown.replace("\r\n", "\n") == named.run(*words)[1]
    with (tmp_path / "names.jsonl").open("wb") as file:  # as the shell's >
        assert "\rExporting" in _shown(words, stdout=file.fileno())[1]


def test_who_is_piped_to_sees_only_what_is_said(named: Box) -> None:
    done = subprocess.run(
        [*LANJAMI, "names", "--state", str(named.state), "audit"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("every proof holds\n", "")
