"""What Debian's security tracker knows against packages, by a copy of its data."""

import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

WHERE = "https://security-tracker.debian.org/tracker/data/json"
WORST = "high"  # the tracker's most urgent; it has no "critical"
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
    """The most urgent flaws of the `installed` sources that are open, or mended in a later version.

    Not those that Debian leaves for a point release ("nodsa"). What is of the backports is what
    the unstable suite had.
    """
    for source, shipped in installed.items():
        version, is_backport, _ = shipped.partition("~bpo")
        of = UNSTABLE if is_backport else suite
        for flaw, about in tracker.get(source, {}).items():
            release = about["releases"].get(of)
            if release is None or not release["urgency"].startswith(WORST) or "nodsa" in release:
                continue
            if release["status"] == "open" or _is_older(version, release.get("fixed_version", "0")):
                yield f"{flaw} in {source} {shipped}"


def _is_older(version: str, than: str) -> bool:
    compared = ("dpkg", "--compare-versions", version, "lt", than)
    return subprocess.run(compared, check=False).returncode == 0
