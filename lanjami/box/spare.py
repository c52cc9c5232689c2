"""A copy of the newest backup where the data partition's death does not reach: in the slot that
does not run. An update replaces it, and it is made again."""

import shutil
import sys
from pathlib import Path

from lanjami import layout
from lanjami.box import disks, places, roles, setup
from lanjami.box.disks import Card
from lanjami.box.setup import Box
from lanjami.box.slots import Slot
from lanjami.errors import HostError
from lanjami.runtime import disk


def keep(backups: Path, *, card: Card, idle: Slot) -> Path | None:
    """Copy the newest of the `backups` into the idle slot; returns which, None where there is
    none. HostError where the slot takes none."""
    newest = max(backups.glob("backup-*.zip"), default=None, key=lambda file: file.name)
    if newest is None:
        return None
    slot = card.slot(idle)
    # It may have to start, whenever the power goes: what an image has no need of, this has.
    disks.run(["e2fsck", "-p", slot], well=disks.MENDED)
    disks.run(["tune2fs", "-O", "has_journal", slot])
    with disks.mounted(slot) as folder:
        disk.require_room(folder, newest.stat().st_size)
        with disk.made_whole(folder / places.SPARE) as copy, newest.open("rb") as backup:
            shutil.copyfileobj(backup, copy)
    return newest


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
