"""Puts rules into nftables and takes them out, by `nft`."""

import os
import subprocess

from lanjami.errors import HostError
from lanjami.firewall import rules, ruleset
from lanjami.runtime import process

WITHIN_S = 20.0


def replace(commands: list[str]) -> list[rules.Chain]:
    """Take out all that is ours, and put in what the `commands` say, in one step; returns the
    chains that refuse what none of their rules accepts."""
    _run(["-f", "-"], "\n".join([*_removal(), *commands, ""]))
    return ruleset.dropping(listing())


def remove() -> None:
    """Take out all that is ours."""
    _run(
        ["-f", "-"],
        "\n".join([*_removal(), f"table {rules.TABLE}", f"delete table {rules.TABLE}", ""]),
    )


def _removal() -> list[str]:
    return [f"delete rule {rule.chain} handle {rule.handle}" for rule in ruleset.ours(listing())]


def listing() -> str:
    """All rules that there are, in nftables' JSON; needs root."""
    return _run(["--json", "list", "ruleset"], "")


def _run(arguments: list[str], given: str) -> str:
    nft = process.installed("nft", package="nftables")
    try:
        done = subprocess.run(  # noqa: S603 - its path was looked up
            [nft, *arguments],
            input=given,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"nft cannot be run: {error}") from error
    if done.returncode:
        told = done.stderr.strip().partition("\n")[0] or f"status {done.returncode}"
        hint = "" if os.geteuid() == 0 else "; it needs root"
        raise HostError(f"nft refuses: {told}{hint}")
    return done.stdout
