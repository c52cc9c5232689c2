"""`lanjami status`: how the running box is."""

import sys
from pathlib import Path

import click
import msgspec

from lanjami.cli import control, places
from lanjami.cli.colour import paint
from lanjami.cli.failure import sentences
from lanjami.status.snapshot import Snapshot, table

NOT_RUNNING = 3  # as `systemctl status` has it
WORSE_OFF = 1
ANSWER_WITHIN_S = 5.0


@click.command()
@places.state_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@sentences
def status(*, state: Path | None, as_json: bool) -> None:
    """Show how the box is doing.

    Ends with 0 when all is well, 1 when something is worse off, 3 when it does not run.
    """
    box = control.find(places.state_folders_to_look_in(state), within_s=ANSWER_WITHIN_S)
    if box is None:
        command = places.own_command()
        click.echo(
            f"lanjami is not running as this user or as the system service; "
            f"start it with: {command} up",
            err=True,
        )
        sys.exit(NOT_RUNNING)
    answer = box.ask("GET", "/status")
    snapshot = msgspec.json.decode(answer, type=Snapshot)
    click.echo(
        msgspec.json.format(answer, indent=2).decode() if as_json else table(snapshot, paint=paint)
    )
    sys.exit(0 if snapshot.healthy else WORSE_OFF)
