"""The machine that the numbers are of."""

import datetime as dt
import os
import platform
import re
from pathlib import Path

import lanjami


def description() -> list[tuple[str, str]]:
    """What a reader needs to know to judge the numbers, as pairs of name and value."""
    return [
        ("Processor", f"{_processor()}, {os.cpu_count()} cores"),
        ("Memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.1f} GB"),
        ("Kernel", f"{platform.system()} {platform.release()}"),
        ("System", platform.freedesktop_os_release()["PRETTY_NAME"]),
        ("Python", platform.python_version()),
        ("lanjami", lanjami.__version__),
    ]


def now() -> str:
    """When something is measured, and what else the machine does then."""
    load = os.getloadavg()[0]  # the average over a minute
    return f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC, beginning at a load of {load:.2f}"


def _processor() -> str:
    """The model's name; an ARM kernel tells it in the device tree only."""
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    if found:
        return found[1]
    board = Path("/proc/device-tree/model")
    return board.read_text().rstrip("\0") if board.exists() else platform.machine()
