"""The settings file on the card: its secrets go into the box, and out of what a reader sees.

Whoever puts the card into a computer sees a small FAT partition with `lanjami.toml` on it. A secret
in it is taken over once, and `KEPT` stands in its place from then on.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lanjami.config import Config, parse
from lanjami.errors import ConfigError

KEPT = "(kept in the box)"
# In an empty file, from when it was heeded on: what is set on the page later is to stay.
BEGUN = (
    "# This file was empty, so the box began anew: what was set here and on its page before is\n"
    "# forgotten. Settings may be written here.\n"
)

Place = tuple[str, ...]
PASSWORD: Place = ("box", "password")  # of which the box itself keeps only a hash, elsewhere
SECRETS: tuple[Place, ...] = (("wifi", "passphrase"), ("box", "wifi", "passphrase"), PASSWORD)


@dataclass(frozen=True, slots=True)
class Taken:
    """What was read: the configuration, its `text` with the secrets for the box, and `visible`,
    the text for the card without any. `password` is a new one to set, which is in neither, or
    `KEPT`, or ""."""

    config: Config
    text: str
    visible: str
    password: str = ""


def take(content: bytes, *, kept: str) -> Taken:
    """Read the file on the card; `kept` is the text that the box has from before, "" for none.

    Raises ConfigError where it is refused; then nothing of it is to be used.
    """
    text = _decoded(content)
    if parse(text).fallback:
        raise ConfigError("[fallback] is written by the box itself: leave it out")
    found = secrets(text)
    known = secrets(kept) | {PASSWORD: KEPT}
    missing = [place for place, value in found.items() if value == KEPT and place not in known]
    if missing:
        raise ConfigError(
            f"{'.'.join(missing[0])} says that it is kept in the box, but this box has none: "
            "write it again"
        )
    whole = {place: known[place] if value == KEPT else value for place, value in found.items()}
    if PASSWORD in found:
        whole[PASSWORD] = KEPT
    complete = _with_secrets(text, whole)
    visible = _with_secrets(text, dict.fromkeys(found, KEPT))
    return Taken(parse(complete), complete, visible, found.get(PASSWORD, ""))


def is_empty(content: bytes) -> bool:
    """Whether the file is a wish for a new beginning."""
    return not content.removeprefix(b"\xef\xbb\xbf").strip()


def secrets(text: str) -> dict[Place, str]:
    """The secrets in a configuration by where they are, without empty ones; none where it is not
    TOML."""
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError):
        return {}
    found = {}
    for place in SECRETS:
        value = _at(tree, place)
        if isinstance(value, str) and value:
            found[place] = value
    return found


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")  # as editors on Windows save it
    except UnicodeDecodeError as error:
        raise ConfigError("the file is not text in UTF-8: save it as such") from error


def _at(tree: Any, place: Place) -> Any:
    for name in place:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_.-]+)\s*\]\s*(#.*)?")
_LINE = re.compile(r"\s*([a-z_]+)\s*=\s*(\"(?:[^\"\\]|\\.)*\"|'[^']*')\s*(#.*)?")


def _with_secrets(text: str, values: Mapping[Place, str]) -> str:
    """The text with other values at these places, which are strings on lines of their own; their
    comments go, for one may repeat an old secret."""
    table: Place = ()
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if header := _HEADER.fullmatch(line):
            table = tuple(header[1].split("."))
        elif (setting := _LINE.fullmatch(line)) and (*table, setting[1]) in values:
            lines[number] = f"{setting[1]} = {_quoted(values[*table, setting[1]])}"
    changed = "\n".join(lines)
    if secrets(changed) != dict(values):
        names = " and ".join(".".join(place) for place in values)
        raise ConfigError(
            f'{names} cannot be taken over: write `name = "…"` on a line of its own, below the '
            "name of its table in brackets"
        )
    return changed


def _quoted(value: str) -> str:
    """A string of TOML; secrets are of printable ASCII (see `config`)."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
