"""`lanjami doctor`: what is wrong, what it means and what to do."""

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from lanjami.cli import control, places
from lanjami.cli.colour import paint
from lanjami.cli.examining import Patient, examine
from lanjami.cli.failure import sentences
from lanjami.config import Config
from lanjami.doctor import from_client
from lanjami.doctor.finding import Finding, exit_status, table
from lanjami.errors import LanjamiError
from lanjami.status.snapshot import Snapshot

ANSWER_WITHIN_S = 5.0


@click.command()
@places.state_option
@places.config_option
@places.set_option
@click.option(
    "--from-client",
    "host",
    metavar="HOST",
    help="Test the way from this machine to the box at HOST instead.",
)
@click.option(
    "--peer",
    metavar="ADDRESS",
    help="With --from-client: another device of the LAN, to see whether clients reach each other.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@sentences
def doctor(
    *,
    state: Path | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    host: str | None,
    peer: str | None,
    as_json: bool,
) -> None:
    """Check everything as a client would meet it, and say what to do.

    Run it as root to see all. Nothing is sent outside of the local networks. Ends with 0 when all
    is well, 1 when there is a fault, 3 when the box does not run.
    """
    if host is not None:
        words = [host, *(["--peer", peer] if peer else []), *(["--json"] if as_json else [])]
        sys.exit(from_client.main(words))
    config, _ = places.read_config(config_file, overrides, places.state_folders_to_look_in(state))
    patient = find_patient(config, state)
    findings = asyncio.run(examine(patient))
    click.echo(as_text(findings) if as_json else table(findings, paint=paint))
    sys.exit(exit_status(findings, is_running=patient.snapshot is not None))


def find_patient(config: Config, state: Path | None) -> Patient:
    """The box that runs here or, where none does, the one that would."""
    folders = places.state_folders_to_look_in(state)
    try:
        box = control.find(folders, within_s=ANSWER_WITHIN_S)
        if box is None:
            return Patient(config, folders[0], None)
        snapshot = msgspec.json.decode(box.ask("GET", "/status"), type=Snapshot)
    except LanjamiError as error:
        return Patient(config, folders[0], None, str(error))
    return Patient(config, box.state, snapshot)


def as_text(findings: list[Finding]) -> str:
    """The findings as JSON."""
    return msgspec.json.format(msgspec.json.encode({"findings": findings}), indent=2).decode()
