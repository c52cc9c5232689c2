"""What the units of the Raspberry Pi image run: `python -m lanjami.cli.box …`.

A program of its own, so that an early start need not load what only `lanjami up` needs.
"""

import logging
import time
from pathlib import Path

import click
import msgspec

from lanjami import layout
from lanjami.box import disks, notices, setup, slots, spare, standing, updating, watch
from lanjami.box.setup import Box
from lanjami.box.watch import Watch, World
from lanjami.cli import control
from lanjami.cli.failure import sentences
from lanjami.cli.places import SYSTEM_STATE
from lanjami.errors import HostError, RequestError
from lanjami.runtime import log
from lanjami.runtime.notify import notify
from lanjami.status.snapshot import Snapshot

_log = log.get(__name__)

ANSWER_WITHIN_S = 4.0


@click.group()
def box() -> None:
    """The parts of a box that starts from lanjami's image; its units call them."""
    log.to_stderr(level=logging.INFO, journal=True)


@box.command("setup")
@sentences
def set_up() -> None:
    """Make the settings of this start, from the card and from what is kept."""
    machine = Box(set_password=_set_password)
    running = disks.running()
    if running is not None:
        updating.stand(updating.settle(running))
        idle = slots.other(running.slot)
        if told := spare.bring_in(machine, SYSTEM_STATE, card=disks.find(), idle=idle):
            notices.write("names", [told])
    notices.write("card", setup.set_up(machine))


def _set_password(password: str) -> None:
    from lanjami.status.operator import passwords  # noqa: PLC0415 - seldom needed

    passwords.keep(SYSTEM_STATE / layout.OPERATOR, password)


@box.command("spare")
@sentences
def keep_spare() -> None:
    """Copy the newest backup to where the data partition's death does not reach."""
    running = disks.running()
    if running is None:
        raise HostError("this machine did not start from lanjami's image")
    spare.keep(SYSTEM_STATE / layout.BACKUPS, card=disks.find(), idle=slots.other(running.slot))


@box.command("update")
@click.argument("file", type=click.Path(path_type=Path))
@sentences
def update(file: Path) -> None:
    """Take the update that came by the page, and start it; the page is told what becomes of it."""
    from lanjami.cli.update import bring  # noqa: PLC0415 - seldom needed

    try:
        bring(file, again=False)
    except HostError as error:  # which is no fault of the unit's
        _log.error("the update is refused", reason=error)
        updating.stand(standing.refused(error))
        file.unlink(missing_ok=True)
        return
    file.unlink(missing_ok=True)  # before the start, which would find it again
    disks.run(["systemctl", "--no-block", "reboot"])


@box.command("watch")
@sentences
def keep_watch() -> None:
    """Watch over cables, services and updates, until stopped."""
    running = disks.running()
    if running is None:
        raise HostError("this machine did not start from lanjami's image")
    world = World(box=Box(), ask=_ask, seen=watch.cables, running=running, card=disks.find)
    keeper = Watch(world, began=watch.uptime())
    notify("READY=1")
    while True:
        keeper.tick(watch.uptime())
        notify("WATCHDOG=1")
        time.sleep(watch.LOOK_EVERY_S)


def _ask() -> Snapshot | None:
    try:
        asked = control.find([SYSTEM_STATE], within_s=ANSWER_WITHIN_S)
        if asked is None:
            return None
        return msgspec.json.decode(asked.ask("GET", "/status"), type=Snapshot)
    except (HostError, RequestError, msgspec.DecodeError):
        return None


if __name__ == "__main__":
    box(prog_name="lanjami.cli.box")
