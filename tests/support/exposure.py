"""What systemd says of how much a service could do, if it were taken over."""

import re
import subprocess
from pathlib import Path

MOST = 2.0  # of 10, that one of ours may have


def exposure(unit: Path | str, *, root: Path | None = None) -> float:
    """systemd-analyze's verdict on a unit's file; or, by its name, on the one that is installed
    below `root`, with all that belongs to it."""
    where = [] if root is None else [f"--root={root}"]
    judged = subprocess.run(
        ["systemd-analyze", *where, "security", "--offline=true", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=True,
    )
    level = re.search(r"exposure level for \S+: ([0-9.]+)", judged.stdout)
    assert level is not None, judged.stdout
    return float(level[1])
