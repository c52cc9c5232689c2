"""A copy of the newest backup where the data partition's death does not reach: in the slot that
does not run. An update replaces it, and it is made again."""

import shutil
import sys
from pathlib import Path

from lanjami import layout
from lanjami.box import disks, places, roles, setup, slots, updating
from lanjami.box.disks import Card, Running
from lanjami.box.setup import Box
from lanjami.box.slots import Slot
from lanjami.errors import HostError
from lanjami.runtime import disk


def keep(
    backups: Path,
    *,
    card: Card,
    running: Running,
    kept: Path = updating.KEPT,
    run: Path = Path(places.RUN),
) -> str:
    """Copy the newest of the `backups` into the slot that does not run, where there is one and
    that slot is nobody's way back. Returns what is to be told, "" for nothing. HostError where the
    slot takes no copy."""
    idle = slots.other(running.slot)
    slot = card.slot(idle)
    with disks.locked(places.IDLE_SLOT, run=run):
        if running.tried or updating.told(kept).slot == idle:
            return ""
        newest = max(backups.glob("backup-*.zip"), default=None, key=lambda file: file.name)
        if newest is None:
            return ""
        told = _make_sound(slot, idle)
        # It may have to start, whenever the power goes: what an image has no need of, this has.
        disks.run(["tune2fs", "-O", "has_journal", slot])
        with disks.mounted(slot) as folder:
            disk.require_room(folder, newest.stat().st_size)
            with disk.made_whole(folder / places.SPARE) as copy, newest.open("rb") as backup:
                shutil.copyfileobj(backup, copy)
        return told


def _make_sound(slot: Path, name: Slot) -> str:
    """An update that broke off leaves no file system, or one that must not start."""
    if disks.is_sound(slot):
        disks.run(["resize2fs", slot])
        return ""
    like_the_image = ["-t", "ext4", "-b", "4096", "-m", "0", "-L", f"root-{name}"]
    disks.run(["mke2fs", "-q", "-F", *like_the_image, slot])
    return (
        "the slot that does not run was damaged, as by an update that broke off, and is made anew: "
        "there is nothing to go back to until the next update"
    )


def bring_in(box: Box, state: Path, *, card: Card, idle: Slot) -> str:
    """Where the state was lost with the data partition: restore it and the settings from the copy.
    Returns what became of that; "" where nothing was lost or there is no copy."""
    if any((state / name).exists() for name in (layout.NAMES, *layout.NODE_IDS)):
        return ""
    run = box.path(places.RUN)
    backup, settings = run / places.SPARE, run / "restored.toml"
    try:
        with disks.mounted(card.slot(idle), "ro") as folder:
            shutil.copyfile(folder / places.SPARE, backup)
    except (HostError, OSError):
        return ""
    command: list[str | Path] = ["restore", backup, "--state", state, "--config", settings]
    try:
        told = box.run([sys.executable, "-m", "lanjami", *command]).splitlines()[0]
    except HostError as error:
        told = str(error)
    if settings.exists():
        setup.keep_settings(box, roles.without_roles(settings.read_text("utf-8")))
        settings.unlink()
    backup.unlink()
    return f"its memory was lost: {told}"
