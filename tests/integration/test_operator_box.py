"""The operator's part of a box that runs as a program: what its commands and its pages do."""

import os
import re
import socket
import sys
import time
import zipfile
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest

from lanjami.ending import POWER_OFF, STOPPED
from tests.support.box import Box
from tests.support.operator_browser import Desk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")

PASSWORD = "correct horse battery"


@pytest.fixture
def desk(box: Box) -> Desk:
    return _desk(box)


def _desk(box: Box) -> Desk:
    return Desk(box.http, f"localhost:{box.http}")


def _link(box: Box, desk: Desk) -> str:
    """A new one's path."""
    exit_status, printed, told = box.run("admin-link", "--state", str(box.state))
    assert exit_status == 0, told
    return desk.link(printed)


def _running_at_the_desk(box: Box, desk: Desk, *more: str) -> None:
    box.running(*more)
    desk.follow(_link(box, desk))


def _set_password(box: Box, password: str, *more: str) -> tuple[int, str, str]:
    return box.run("admin-password", "--state", str(box.state), *more, given=f"{password}\n")


def test_a_link_of_a_box_that_does_not_run_is_refused(box: Box) -> None:
    exit_status, printed, told = box.run("admin-link", "--state", str(box.state))
    assert (exit_status, printed) == (69, "")
    assert "lanjami does not run" in told


def test_a_box_of_another_system_offers_no_updates(box: Box, desk: Desk) -> None:
    _running_at_the_desk(box, desk)
    status, page = desk.get("/operator/box")
    assert (status, b"/operator/update" in page) == (200, False)
    assert desk.get("/operator/update")[0] == 404


def test_a_link_lets_in_once(box: Box, desk: Desk) -> None:
    box.running()
    link = _link(box, desk)
    assert desk.get(link)[0] == 200
    desk.follow(link)
    assert desk.get("/operator")[0] == 200
    assert _desk(box).post("/operator/link", {"token": link.partition("=")[2]})[0] == 403


@pytest.mark.parametrize("is_running", [True, False])
def test_a_password_is_set_and_forgotten_by_command(box: Box, desk: Desk, is_running: bool) -> None:  # noqa: FBT001
    if is_running:
        box.running()
    assert _set_password(box, "short")[0] == 69
    assert _set_password(box, PASSWORD)[:2] == (0, "the password is set\n")
    assert (box.state / "operator-password").stat().st_mode & 0o777 == 0o600
    if not is_running:
        box.running()
    assert not desk.sign_in("wrong password")
    assert desk.sign_in(PASSWORD)
    assert desk.get("/operator")[0] == 200
    assert _set_password(box, "", "--reset")[0] == 0
    assert desk.get("/operator")[0] == 303, "nobody stays signed in"
    assert not desk.sign_in(PASSWORD)


def test_a_password_outlasts_a_restart_and_a_session_does_not(box: Box, desk: Desk) -> None:
    process = box.running()
    _set_password(box, PASSWORD)
    assert desk.sign_in(PASSWORD)
    process.terminate()
    process.wait(5)
    box.running()
    assert desk.get("/operator")[0] == 303
    assert desk.sign_in(PASSWORD)


def test_the_log_of_a_quiet_box_is_there(box: Box, desk: Desk) -> None:
    _running_at_the_desk(box, desk)
    page = desk.get("/operator/log")[1].decode()
    assert "service up service=names" in page
    assert "no network interface is up" in page
    assert "the operator signed in" in page


def test_settings_that_the_disk_does_not_let_go_of_are_told_of(box: Box, desk: Desk) -> None:
    _running_at_the_desk(box, desk)
    (box.state / "page-settings.toml").mkdir()  # as on a read-only disk, root cannot remove it
    status, page = desk.post("/operator/network/forget")
    assert status == 503
    assert b"The box cannot do this at the moment." in page
    assert b"page-settings.toml cannot be removed" in page


def test_parts_start_again_and_the_rest_stays(box: Box, desk: Desk) -> None:
    _running_at_the_desk(box, desk)
    for part in ("names", "dhtnode", "http"):
        assert desk.post("/operator/restart", {"part": part})[0] == 200
        _until(partial(_is_logged, desk, f"as was asked service={part}"))
    status = box.status()[1]
    assert [status["services"][part]["failures"] for part in ("names", "dhtnode")] == [0, 0]


def _is_logged(desk: Desk, words: str) -> bool:
    try:
        return words in desk.get("/operator/log")[1].decode()
    except OSError:  # of the part that gives the answers
        return False


def _until(holds: Callable[[], bool], *, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_is_set_on_the_page_holds_from_the_next_start_on(box: Box, desk: Desk) -> None:
    config = box.folder / "lanjami.toml"
    config.write_text('# mine\n[mdns]\nhost = "attic"\n')
    _running_at_the_desk(box, desk, "--config", str(config))
    (process,) = box.started
    form = {"role.nowhere0": "network", "wifi.interface": ""}
    assert desk.post("/operator/network", form)[0] == 303
    assert b"takes effect when lanjami starts again" in desk.get("/operator/network")[1]
    kept = box.state / "page-settings.toml"
    assert kept.stat().st_mode & 0o777 == 0o600
    kept.write_text('[network.nowhere0]\nserve = ["dns"]\n')
    assert b"Not yet in effect" in desk.get("/operator/network")[1]

    assert desk.post("/operator/box/end", {"end": "again"})[0] == 200
    assert process.stdout is not None
    while not process.stdout.readline().startswith("lanjami 0.1.0 is running"):
        assert process.poll() is None
    assert "network-nowhere0" in box.status()[1]["services"]
    assert config.read_text().startswith("# mine")
    assert desk.get("/operator")[0] == 303, "a session is not kept"

    desk.follow(_link(box, desk))
    assert b"Not yet in effect" not in desk.get("/operator/network")[1]
    backup = desk.post("/operator/backup")[1]
    with zipfile.ZipFile(BytesIO(backup)) as archive:
        assert "page-settings.toml" in archive.namelist()
        assert "operator-password" not in archive.namelist()
    assert desk.post("/operator/network/forget")[0] == 303
    assert not kept.exists()


def test_settings_that_went_bad_are_named_with_their_file(box: Box) -> None:
    box.state.mkdir(mode=0o700)
    (box.state / "page-settings.toml").write_text("[wifi]\nchannel = 99\n")
    exit_status, told = box.refused()
    assert exit_status == 78
    assert f"{box.state}/page-settings.toml, which was set on the page: " in told


@pytest.mark.parametrize("has_settings", [True, False])
def test_a_restored_box_has_the_settings_of_its_backup(
    box: Box,
    tmp_path: Path,
    has_settings: bool,  # noqa: FBT001
) -> None:
    box.running()
    kept = box.state / "page-settings.toml"
    text = '[network.eth9]\nserve = ["dns"]\n'
    if has_settings:
        kept.write_text(text)
    file = tmp_path / "box.backup"
    assert box.run("backup", str(file), "--state", str(box.state))[0] == 0
    box.end()
    kept.write_text("[network.eth1]\nserve = ['ntp']\n")
    assert box.run("restore", str(file), "--state", str(box.state))[0] == 0
    assert kept.read_text() == (text if has_settings else "")
    assert "eth1" in (box.state / "before-restore-1" / "page-settings.toml").read_text()


def test_names_are_restored_though_the_page_does_not_go_with_the_file(
    box: Box, tmp_path: Path
) -> None:
    box.running()
    (box.state / "page-settings.toml").write_text("[wifi]\nchannel = 99\n")
    file = tmp_path / "box.backup"
    assert box.run("backup", str(file), "--state", str(box.state))[0] == 0
    box.end()
    other = tmp_path / "other"
    status, printed, told = box.run("restore", str(file), "--state", str(other))
    assert (status, told) == (0, "")
    assert "what was set on its page is left out: " in printed
    assert (other / "page-settings.toml").read_text() == ""
    assert (other / "names.sqlite").exists()


def test_the_operator_stops_it(box: Box, desk: Desk) -> None:
    _running_at_the_desk(box, desk)
    assert desk.post("/operator/box/end", {"end": "power-off", "sure": "1"})[0] == 400
    assert desk.post("/operator/box/end", {"end": "stop", "sure": "1"})[0] == 200
    assert box.started[0].wait(5) == 0


@pytest.mark.parametrize(("end", "exit_status"), [("stop", STOPPED), ("again", 0)])
def test_a_service_ends_so_that_systemd_knows_what_is_wanted(
    box: Box, desk: Desk, tmp_path: Path, end: str, exit_status: int
) -> None:
    unit = Path("packaging/lanjami.service").read_text()
    assert "Restart=always" in unit
    assert re.search(rf"^RestartPreventExitStatus=.*\b{STOPPED}\b", unit, re.MULTILINE)
    assert re.search(rf"^SuccessExitStatus={STOPPED}$", unit, re.MULTILINE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        process = box.up(NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert process.stdout is not None
        process.stdout.readline()
        desk.follow(_link(box, desk))
        assert desk.post("/operator/box/end", {"end": end, "sure": "1"})[0] == 200
        assert process.wait(5) == exit_status


def test_an_appliance_is_shut_down(box: Box, desk: Desk, tmp_path: Path) -> None:
    wanted = tmp_path / "power-off"
    box.up(**{POWER_OFF: str(wanted)})
    (process,) = box.started
    assert process.stdout is not None
    process.stdout.readline()
    desk.follow(_link(box, desk))
    assert desk.post("/operator/box/end", {"end": "power-off"})[0] == 303, "it asks first"
    assert not wanted.exists()
    assert desk.post("/operator/box/end", {"end": "power-off", "sure": "1"})[0] == 200
    _until(wanted.exists)
    assert process.poll() is None, "the machine ends it"
    assert os.access(wanted, os.R_OK)
