"""What is in a backup, and which backups are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from lanjami.errors import HostError

FORMAT = 1
KEPT = 7
LARGEST_TOTAL = 1 << 30  # bytes of all that are kept; the newest is kept however large it is


class File(msgspec.Struct, frozen=True):
    size: int  # bytes
    sha256: str  # 64 hexadecimal digits


class Manifest(msgspec.Struct, frozen=True):
    """`created` is the box's time, as in RFC 3339; `files` are the other members by their name.

    People are shown all but the sizes, so that no text may speak to their terminal.
    """

    format: int
    version: Annotated[str, Meta(pattern=r"^[0-9A-Za-z.+-]{1,64}\Z")]
    created: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")]
    files: dict[Annotated[str, Meta(pattern=r"^[0-9a-z.-]{1,64}\Z")], File]


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that is kept, and the size of its file in bytes; a higher number is newer."""

    number: int
    size: int
    manifest: Manifest


def parse(content: bytes) -> Manifest:
    """The manifest in `content`; HostError with a sentence where there is none we understand."""
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HostError(f"its list of contents cannot be read: {error}") from error
    if manifest.format > FORMAT:
        raise HostError(
            f"it was made by a newer lanjami ({manifest.version}); install that one to use it"
        )
    return manifest


def surplus(kept: Sequence[Backup]) -> list[Backup]:
    """Those that may go: what a newer one has unchanged, and the oldest beyond the limits."""
    gone, seen = [], list[dict[str, File]]()
    total = 0
    for backup in sorted(kept, key=lambda one: one.number, reverse=True):
        total += backup.size
        if backup.manifest.files in seen or (seen and total > LARGEST_TOTAL) or len(seen) == KEPT:
            gone.append(backup)
            total -= backup.size
        else:
            seen.append(backup.manifest.files)
    return gone
