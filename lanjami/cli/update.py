"""`lanjami update`: bring a new version to a box that starts from lanjami's image."""

from pathlib import Path

import click

import lanjami
from lanjami.box import disks, updating
from lanjami.cli.failure import sentences
from lanjami.errors import HostError


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--again", is_flag=True, help="Also one that did not pass its test here before.")
@click.option("--no-reboot", is_flag=True, help="Leave it to the next start.")
@sentences
def update(file: Path, *, again: bool, no_reboot: bool) -> None:
    """Bring the version in FILE to this box, and start it.

    Only what who made this box's system has signed is taken. The new version is tried once: where
    it does not serve within some minutes, the box goes back to this one by itself.
    """
    running = disks.running()
    if running is None:
        raise HostError(
            "this machine did not start from lanjami's image: update it as it was installed "
            "(docs/system-service.md)"
        )
    if running.tried:
        raise HostError("an update is being tried right now: wait for some minutes")
    manifest = updating.install(
        file,
        key=updating.read_key(),
        card=disks.find(),
        now=running.slot,
        version=lanjami.__version__,
        again=again,
    )
    click.echo(f"lanjami {manifest.version} is tried at the next start")
    if not no_reboot:
        disks.run(["systemctl", "--no-block", "reboot"])
