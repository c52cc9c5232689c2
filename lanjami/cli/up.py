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
    from lanjami import app, ending  # noqa: PLC0415 - `lanjami status` need not load what only this needs

    folder = places.state_folder(state)
    config, sources = places.read_config(config_file, overrides, [folder])
    journal = "JOURNAL_STREAM" in os.environ
    quiet = logging.INFO if journal or verbose else logging.WARNING
    log.to_stderr(level=logging.DEBUG if verbose > 1 else quiet, journal=journal)
    box = app.App(
        config,
        folder,
        control=places.control_sockets(folder),
        sources=sources,
        command=places.own_command(),
    )
    ending.leave(app.serve(box, started=click.echo))
