"""`lanjami update`: bring a new version to a box that starts from lanjami's image."""

import time
from pathlib import Path

import click

import lanjami
from lanjami.box import disks, updating
from lanjami.box.slots import Manifest
from lanjami.box.standing import Standing, UpdateError, refused
from lanjami.cli import progress
from lanjami.cli.failure import sentences
from lanjami.errors import HostError

_TELL_EVERY_S = 0.5
_LABELS = {"writing": "Writing lanjami {}", "reading": "Reading it back"}


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
    manifest = bring(file, again=again)
    click.echo(f"lanjami {manifest.version} is tried at the next start")
    if not no_reboot:
        disks.run(["systemctl", "--no-block", "reboot"])


def bring(file: Path, *, again: bool) -> Manifest:
    """Write an update to the slot that does not run, and tell how far it is: on a terminal, and to
    who looks at the page. HostError where it is refused."""
    running = disks.running()
    if running is None:
        raise HostError(
            "this machine did not start from lanjami's image: update it as it was installed "
            "(docs/system-service.md)"
        )
    if running.tried:
        raise UpdateError("busy", "an update is being tried right now: wait for some minutes")
    with updating.alone(), progress.shown("Checking") as bar:
        told = _Told(bar)
        try:
            manifest = updating.install(
                file,
                key=updating.read_key(),
                card=disks.find(),
                now=running.slot,
                version=lanjami.__version__,
                again=again,
                progress=told.tell,
            )
        except BaseException as error:
            if told.is_begun:  # nothing moves any longer, also where a person broke it off
                why = error if isinstance(error, HostError) else HostError("it was broken off")
                updating.stand(refused(why))
            raise
        updating.stand(Standing("starting", manifest.version))
        return manifest


class _Told:
    """Shows on a `bar` how far an update is, and on the page once in a while."""

    def __init__(self, bar: progress.Bar) -> None:
        self._bar = bar
        self._at = -_TELL_EVERY_S
        self.is_begun = False

    def tell(self, how: Standing) -> None:
        self._bar.begin(_LABELS[how.state].format(how.version), how.total)
        self._bar.reach(how.done)
        if time.monotonic() >= self._at + _TELL_EVERY_S:
            self._at = time.monotonic()
            updating.stand(how)
        self.is_begun = True
