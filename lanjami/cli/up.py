"""`lanjami up`: run the appliance."""

import logging
import os
from pathlib import Path

import click

from lanjami.cli import places
from lanjami.cli.failure import sentences
from lanjami.runtime import log


@click.command()
@places.config_option
@places.state_option
@click.option(
    "--set",
    "overrides",
    metavar="SECTION.KEY=VALUE",
    multiple=True,
    help="Override one setting; may be repeated.",
)
@click.option("-v", "--verbose", count=True, help="Tell what happens; twice: every packet.")
@sentences
def up(
    config_file: Path | None, state: Path | None, overrides: tuple[str, ...], verbose: int
) -> None:
    """Let everybody on this LAN use Jami, until Ctrl+C."""
    from lanjami import app  # noqa: PLC0415 - `lanjami status` need not load what only this needs

    config, text = places.read_config(config_file, overrides)
    journal = "JOURNAL_STREAM" in os.environ
    quiet = logging.INFO if journal or verbose else logging.WARNING
    log.to_stderr(level=logging.DEBUG if verbose > 1 else quiet, journal=journal)
    folder = places.state_folder(state)
    box = app.App(
        config,
        folder,
        control=places.control_sockets(folder),
        config_text=text,
        command=places.own_command(),
    )
    app.serve(box, started=click.echo)
