"""A copy of the newest backup where the data partition's death does not reach: in the slot that
does not run. An update replaces it, and it is made again."""

import shutil
from pathlib import Path

from lanjami.box import disks, places
from lanjami.box.disks import Card
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


def fetch(target: Path, *, card: Card, idle: Slot) -> bool:
    """Copy it to `target`, where there is one."""
    try:
        with disks.mounted(card.slot(idle), "ro") as folder:
            shutil.copyfile(folder / places.SPARE, target)
    except (HostError, OSError):
        return False
    return True
