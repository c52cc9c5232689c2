"""What Debian's security tracker knows against packages, by a copy of its data."""

import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

WHERE = "https://security-tracker.debian.org/tracker/data/json"
WORST = "high"  # the tracker's most urgent; it has no "critical", and most have none yet
HARMLESS = "unimportant"
UNSTABLE = "sid"


def sources(status: str) -> dict[str, str]:
    """The versions of the sources that packages are of, by the text of dpkg's status."""
    found = {}
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line)
        if fields.get("Status") == "install ok installed":
            source, _, version = fields.get("Source", fields["Package"]).partition(" ")
            found[source] = version.strip("()") or fields["Version"]
    return found


def worst(tracker: Mapping[str, Any], installed: Mapping[str, str], *, suite: str) -> Iterator[str]:
    """The flaws of the `installed` sources that Debian has mended in a later version for their
    suite, and the most urgent that are open.

    Not open ones that Debian leaves for a point release ("nodsa"). What is of the backports is what
    the unstable suite had, which mends something every day: there, only the most urgent count.
    """
    for source, shipped in installed.items():
        version, is_backport, _ = shipped.partition("~bpo")
        of = UNSTABLE if is_backport else suite
        for flaw, about in tracker.get(source, {}).items():
            release = about["releases"].get(of)
            if release is None or release["urgency"] == HARMLESS:
                continue
            is_worst = release["urgency"].startswith(WORST)
            if release["status"] == "open":
                counts = is_worst and "nodsa" not in release
            else:
                is_mended = _is_older(version, release.get("fixed_version", "0"))
                counts = is_mended and (is_worst or not is_backport)
            if counts:
                yield f"{flaw} in {source} {shipped}"


def _is_older(version: str, than: str) -> bool:
    compared = ("dpkg", "--compare-versions", version, "lt", than)
    return subprocess.run(compared, check=False).returncode == 0
