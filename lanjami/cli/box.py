"""What the units of the Raspberry Pi image run: `python -m lanjami.cli.box …`.

A program of its own, so that an early start need not load what only `lanjami up` needs; each
command loads what only it needs, for a start waits for `setup`.
"""

import logging
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lanjami import layout
from lanjami.box import disks, slots
from lanjami.cli.failure import sentences
from lanjami.errors import HostError, RequestError
from lanjami.runtime import log

if TYPE_CHECKING:
    from lanjami.box.setup import Box
    from lanjami.status.snapshot import Snapshot

_log = log.get(__name__)

STATE = Path("/var/lib/lanjami")
ANSWER_WITHIN_S = 4.0


@click.group()
def box() -> None:
    """The parts of a box that starts from lanjami's image; its units call them."""
    log.to_stderr(level=logging.INFO, journal=True)


@box.command("setup")
@sentences
def set_up() -> None:
    """Make the settings of this start, from the card and from what is kept."""
    from lanjami.box import setup  # noqa: PLC0415 - for this one only

    make_settings(setup.Box(set_password=_set_password), STATE)


def make_settings(machine: "Box", state: Path) -> None:
    """Whatever goes wrong before: without the settings of this start the box has no network."""
    from lanjami.box import notices, places, setup, spare, updating  # noqa: PLC0415 - as above

    told, running = machine.path(places.NOTICES), disks.running(root=machine.root)

    def settle_update() -> None:
        if running is not None:
            how = updating.settle_update(running, kept=machine.path(places.KEPT))
            updating.stand(how, machine.path(places.UPDATE))

    def bring_in() -> None:
        if running is not None:
            card, idle = disks.find(root=machine.root), slots.other(running.slot)
            if lost := spare.bring_in(machine, state, card=card, idle=idle):
                notices.write("names", [lost], folder=told)

    wrong: list[str] = []
    for step in (settle_update, bring_in):
        try:
            step()
        except (HostError, OSError) as error:
            _log.error("a start goes on without it", reason=error)
            wrong.append(str(error))
    wrong += setup.set_up(machine)
    notices.write("card", wrong, folder=told)


def _set_password(password: str) -> None:
    from lanjami.status.operator import passwords  # noqa: PLC0415 - seldom needed

    passwords.keep(STATE / layout.OPERATOR, password)


@box.command("spare")
@sentences
def keep_spare() -> None:
    """Copy the newest backup to where the data partition's death does not reach."""
    from lanjami.box import notices, spare  # noqa: PLC0415 - for this one only

    running = disks.running()
    if running is None:
        raise HostError("this machine did not start from lanjami's image")
    faults = []
    try:
        if told := spare.keep(STATE / layout.BACKUPS, card=disks.find(), running=running):
            notices.write("slot", [told])
    except HostError as error:  # which is no fault of the unit's
        faults = [f"no copy of the newest backup is kept beside the data partition: {error}"]
    notices.write("spare", faults)


@box.command("update")
@click.argument("file", type=click.Path(path_type=Path))
@sentences
def update(file: Path) -> None:
    """Take the update that came by the page, and start it; the page is told what becomes of it."""
    from lanjami.box import standing, updating  # noqa: PLC0415 - for this one only
    from lanjami.cli.update import bring  # noqa: PLC0415

    try:
        updating.require_removable(file)
        bring(file, again=False)
    except HostError as error:  # which is no fault of the unit's
        _log.error("the update is refused", reason=error)
        updating.stand(standing.refused(error))
        updating.remove(file)
        return
    updating.remove(file)  # before the start, which would find it again
    disks.run(["systemctl", "--no-block", "reboot"])


@box.command("watch")
@sentences
def keep_watch() -> None:
    """Watch over cables, services and updates, until stopped. The outcome of the self-test is a
    line on stdout."""
    from lanjami.box import places, rivals, setup, watch  # noqa: PLC0415 - for this one only
    from lanjami.runtime.notify import notify  # noqa: PLC0415

    running = disks.running()
    if running is None:
        raise HostError("this machine did not start from lanjami's image")
    world = watch.World(
        box=setup.Box(),
        ask=_ask,
        seen=watch.cables,
        lans=watch.lans,
        rivals=rivals.Ear().look,
        running=running,
        card=disks.find,
        say=partial(print, flush=True),
        lasts=Path(places.DATA).is_mount,
    )
    keeper = watch.Watch(world, began=watch.uptime())
    notify("READY=1")
    while True:
        keeper.tick(watch.uptime())
        notify("WATCHDOG=1")
        time.sleep(watch.LOOK_EVERY_S)  # nothing tells of all that it looks at


def _ask() -> "Snapshot | None":
    import msgspec  # noqa: PLC0415

    from lanjami.cli import control  # noqa: PLC0415 - for the watch only
    from lanjami.status.snapshot import Snapshot  # noqa: PLC0415

    try:
        asked = control.find([STATE], within_s=ANSWER_WITHIN_S)
        if asked is None:
            return None
        return msgspec.json.decode(asked.ask("GET", "/status"), type=Snapshot)
    except (HostError, RequestError, msgspec.DecodeError):
        return None


if __name__ == "__main__":
    box(prog_name="lanjami.cli.box")
