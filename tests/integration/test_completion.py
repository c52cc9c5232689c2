"""`lanjami na<TAB>` in the shells that people use."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.terminal import SCRIPTS, running_in_terminal

SHARE = Path("packaging/share").absolute()

# How each is started without the settings of whoever runs the tests, and what has it complete: what
# the command prints, or what is installed.
BASH = ("bash", "--norc", "--noprofile", "-i")
ZSH = ("zsh", "-f", "-i")
SETTINGS_UP = [
    pytest.param(BASH, "source <(lanjami completion bash)", id="bash"),
    pytest.param(BASH, f"source {SHARE}/bash-completion/completions/lanjami", id="bash, installed"),
    pytest.param(
        ZSH, "autoload -U compinit; compinit -D; source <(lanjami completion zsh)", id="zsh"
    ),
    pytest.param(
        ZSH,
        f"fpath=({SHARE}/zsh/site-functions $fpath); autoload -U compinit; compinit -u -D",
        id="zsh, installed",
    ),
]


def _require(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")


@pytest.mark.parametrize(("command", "setting_up"), SETTINGS_UP)
def test_a_command_is_completed(command: tuple[str, ...], setting_up: str, tmp_path: Path) -> None:
    _require(command[0])
    with running_in_terminal(command, environment={"HOME": str(tmp_path)}) as (terminal, _):
        terminal.type(f"{setting_up}; echo rea''dy\n")
        terminal.wait_for("ready")
        terminal.type("lanjami na\t")
        terminal.wait_for("mes")
        terminal.type("--hel\t\n")
        terminal.wait_for("Usage: lanjami names ")


@pytest.mark.parametrize("setting_up", ["lanjami completion fish | source;", ""])
def test_a_command_is_completed_in_fish(setting_up: str, tmp_path: Path) -> None:
    _require("fish")
    done = subprocess.run(
        ["fish", "-c", f"{setting_up} complete -C 'lanjami na'"],
        capture_output=True,
        text=True,
        check=True,
        env={
            "PATH": f"{SCRIPTS}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "XDG_DATA_DIRS": "/usr/share" if setting_up else f"{SHARE}:/usr/share",
        },
    )
    assert done.stdout.split()[:1] == ["names"]
