"""`lanjami na<TAB>` in the shells that people use."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.terminal import SCRIPTS, running_in_terminal

SHARE = Path("packaging/share")

# How each is started without the settings of whoever runs the tests, and what has it complete.
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source <(lanjami completion bash)"),
    "zsh": (
        ["zsh", "-f", "-i"],
        "autoload -U compinit; compinit -D; source <(lanjami completion zsh)",
    ),
}


def _require(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_command_is_completed(shell: str, tmp_path: Path) -> None:
    _require(shell)
    command, setting_up = SHELLS[shell]
    with running_in_terminal(command, environment={"HOME": str(tmp_path)}) as (terminal, _):
        terminal.type(f"{setting_up}; echo rea''dy\n")
        terminal.wait_for("ready")
        terminal.type("lanjami na\t")
        terminal.wait_for("mes")
        terminal.type("--hel\t\n")
        terminal.wait_for("Usage: lanjami names ")


def test_a_command_is_completed_in_fish(tmp_path: Path) -> None:
    _require("fish")
    done = subprocess.run(
        ["fish", "--no-config", "-c", "lanjami completion fish | source; complete -C 'lanjami na'"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": f"{SCRIPTS}:/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert done.stdout.split()[0] == "names"


def test_what_is_installed_is_where_bash_looks(tmp_path: Path) -> None:
    script = SHARE / "bash-completion/completions/lanjami"
    words = (
        "COMP_WORDS=(lanjami fire) COMP_CWORD=1; _lanjami_completion lanjami; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", f". {script}; {words}"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": f"{SCRIPTS}:/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert done.stdout.strip() == "firewall"
