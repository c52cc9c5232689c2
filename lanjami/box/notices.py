"""What the box has to say of itself: sentences of its helpers, for the screen and the status.

Each helper has a file of its own in a folder that is gone at every start.
"""

import asyncio
from pathlib import Path

from lanjami.box import places
from lanjami.runtime import disk
from lanjami.runtime.service import Ready

FOLDER = Path(places.NOTICES)
LOOK_EVERY_S = 2.0


def write(source: str, sentences: list[str], *, folder: Path = FOLDER) -> None:
    """Replace what the helper `source` says."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    text = "".join(" ".join(sentence.split()) + "\n" for sentence in sentences)
    file = folder / source
    if not file.exists() or file.read_text("utf-8") != text:
        disk.write_atomically(file, text.encode(), mode=0o644)


def read(*, folder: Path = FOLDER) -> list[str]:
    """What all of them say."""
    try:
        files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
        return [line for file in files for line in file.read_text("utf-8", "replace").splitlines()]
    except OSError:  # nobody has said anything yet, or is saying it now
        return []


class Notices:
    """The service that brings the notices into the status."""

    name = "setup"

    def __init__(self, *, folder: Path = FOLDER) -> None:
        self._folder = folder

    async def run(self, ready: Ready) -> None:
        while True:
            told = await asyncio.to_thread(read, folder=self._folder)
            ready("the settings on the card are used" if not told else "", reason="; ".join(told))
            await asyncio.sleep(LOOK_EVERY_S)
