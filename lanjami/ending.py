"""How the program ends: for good, or to begin again as it was begun."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from lanjami.runtime.notify import systemd_listens
from lanjami.status.operator.box import End

STOPPED = 100  # exit status where the operator wants it: the unit does not start it again then
POWER_OFF = "LANJAMI_POWER_OFF"  # where the unit says which file has the machine shut down


def possible() -> list[End]:
    """How this box can end, as it was started."""
    return [End.AGAIN, End.STOP, *([End.POWER_OFF] if os.environ.get(POWER_OFF) else [])]


def power_off() -> None:
    """Ask for the machine to be shut down, which ends us as well. Raises OSError."""
    Path(os.environ[POWER_OFF]).touch()


def leave(end: End | None, *, at_once: bool = False) -> NoReturn:
    """End the process, `at_once` without waiting for anything that still runs."""
    sys.stdout.flush()
    if end is End.AGAIN and not systemd_listens():  # which starts us again itself
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - as we were
    status = STOPPED if end is End.STOP and systemd_listens() else 0
    if at_once:
        os._exit(status)
    sys.exit(status)
