"""`lanjami config`: check, show and init, as a person calls them."""

import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from lanjami.cli import places
from lanjami.config import Config, parse
from lanjami.errors import HostError
from tests.support.appliance import LANJAMI

SHIPPED = (files("lanjami") / "lanjami.toml").read_text("utf-8")

# Called by a user (a UID) who looks for a configuration in a folder.
AS_USER = "import os; os.geteuid = lambda: {}; from lanjami.cli.main import main; main()"


def _config(*words: str, user: int = 1000, folder: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", AS_USER.format(user), "config", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_CONFIG_HOME": str(folder)},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(autouse=True)
def _no_system_config() -> None:
    if places.SYSTEM_CONFIG.exists():
        pytest.skip(f"{places.SYSTEM_CONFIG} would be found first")


def _written(folder: Path, text: str) -> Path:
    file = folder / "lanjami" / "lanjami.toml"
    file.parent.mkdir()
    file.write_text(text)
    return file


# --- check --------------------------------------------------------------------------------------


def test_a_right_file_is_right(tmp_path: Path) -> None:
    assert _config("check", folder=tmp_path) == (
        0,
        "there is no file; the settings are right\n",
        "",
    )
    file = _written(tmp_path, SHIPPED)
    assert _config("check", folder=tmp_path) == (0, f"{file} is right\n", "")
    other = tmp_path / "other.toml"
    other.write_text("[dht]\nport = 1\n")
    assert _config("check", str(other), folder=tmp_path) == (0, f"{other} is right\n", "")


@pytest.mark.parametrize(
    ("text", "place"),
    [("[dht\n", "line 1"), ("[dht]\nport = 0\n", "`$.dht.port`"), (b"\xff".decode("latin-1"), "")],
)
def test_a_wrong_one_is_refused_as_up_would(tmp_path: Path, text: str, place: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_bytes(text.encode("latin-1"))
    exit_status, printed, told = _config("check", str(file), folder=tmp_path)
    assert (exit_status, printed) == (78, "")
    assert told.count("\n") == 1
    assert str(file) in told
    assert place in told
    up = subprocess.run(
        [*LANJAMI, "up", "--config", str(file)], capture_output=True, text=True, check=False
    )
    assert (up.returncode, up.stderr) == (78, told)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    exit_status, _, told = _config("check", str(tmp_path / "none.toml"), folder=tmp_path)
    assert exit_status == 78
    assert "none.toml cannot be read" in told


def test_what_cannot_work_here_is_said_and_refuses_nothing(tmp_path: Path) -> None:
    text = "[network.nowhere0]\nserve = ['ntp']\n[turn]\ncertificate = '/no/c'\nkey = '/no/k'\n"
    file = _written(tmp_path, text + "[dns]\nupstream = ['127.0.0.1']\n")
    exit_status, printed, told = _config("check", folder=tmp_path)
    assert (exit_status, printed) == (0, f"{file} is right\n")
    assert "lanjami: network.nowhere0: there is no interface nowhere0 here" in told
    assert "lanjami: turn.certificate: /no/c cannot be read: No such file or directory" in told
    assert "lanjami: dns.upstream: 127.0.0.1 is this machine" in told


# --- show ---------------------------------------------------------------------------------------


def test_what_is_in_force_is_shown_with_where_it_comes_from(tmp_path: Path) -> None:
    file = _written(tmp_path, "[dht]\nport = 4230\n")
    exit_status, printed, told = _config("show", "--set", "mdns.host=box", folder=tmp_path)
    assert (exit_status, told) == (0, "")
    assert f"[dht]\nport = 4230  # {file}\nrouted = false  # default\n" in printed
    assert '\nhost = "box"  # --set\n' in printed
    assert parse(printed) == parse("[dht]\nport = 4230\n[mdns]\nhost = 'box'\n")


def test_programs_are_shown_it_too(tmp_path: Path) -> None:
    _, printed, _ = _config("show", "--json", folder=tmp_path)
    assert json.loads(printed)["file"] is None
    file = _written(tmp_path, "[dht]\nport = 4230\n")
    _, printed, _ = _config("show", "--json", "--config", str(file), folder=tmp_path)
    shown = json.loads(printed)
    assert shown["file"] == str(file)
    assert {"table": ["dht"], "key": "port", "value": 4230, "origin": "file"} in shown["settings"]


def test_a_wrong_one_is_not_shown(tmp_path: Path) -> None:
    assert _config("show", "--set", "dht.port=0", folder=tmp_path)[:2] == (78, "")


# --- init ---------------------------------------------------------------------------------------


def test_a_file_is_written_to_where_it_is_found(tmp_path: Path) -> None:
    file = tmp_path / "lanjami" / "lanjami.toml"
    exit_status, printed, told = _config("init", folder=tmp_path)
    assert (exit_status, printed, told) == (0, f"{file} has every setting at its default\n", "")
    assert file.read_text("utf-8") == SHIPPED
    assert file.stat().st_mode & 0o777 == 0o600
    assert _config("check", folder=tmp_path)[1] == f"{file} is right\n"


def test_the_administrator_writes_for_the_system_and_nobody_what_is_not_read() -> None:
    own = places.config_file_of(1000, None)
    assert own != places.SYSTEM_CONFIG
    assert places.config_file_of(1000, own) == own
    for found in (None, own, places.SYSTEM_CONFIG):
        assert places.config_file_of(0, found) == places.SYSTEM_CONFIG
    with pytest.raises(HostError, match=f"{places.SYSTEM_CONFIG} is there, and is read in place"):
        places.config_file_of(1000, places.SYSTEM_CONFIG)


def test_what_the_administrator_writes_the_system_s_box_may_read(tmp_path: Path) -> None:
    file = tmp_path / "chosen.toml"
    assert _config("init", str(file), user=0, folder=tmp_path)[0] == 0
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    file = _written(tmp_path, "[dht]\nport = 4230\n")
    exit_status, printed, told = _config("init", folder=tmp_path)
    assert (exit_status, printed) == (69, "")
    assert told == f"lanjami: {file} is there already; --force replaces it, and keeps it beside\n"
    assert file.read_text() == "[dht]\nport = 4230\n"


def test_with_force_it_is_kept_beside(tmp_path: Path) -> None:
    file = _written(tmp_path, "[dht]\nport = 4230\n")
    file.chmod(0o640)
    exit_status, printed, _ = _config("init", "--force", folder=tmp_path)
    kept = file.with_name("lanjami.toml.before-init-1")
    assert exit_status == 0
    assert f"what was there is in {kept}\n" in printed
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("[dht]\nport = 4230\n", 0o640)
    assert parse(file.read_text()) == Config()


def test_a_dangling_link_is_something_too(tmp_path: Path) -> None:
    file = tmp_path / "chosen.toml"
    file.symlink_to(tmp_path / "nowhere")
    assert _config("init", str(file), folder=tmp_path)[0] == 69
    assert file.is_symlink()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "lanjami").write_text("")
    exit_status, _, told = _config("init", folder=tmp_path)
    assert exit_status == 69
    assert told.startswith("lanjami: ")
    assert told.count("\n") == 1
