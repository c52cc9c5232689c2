"""What the status page says, in more than one language.

A catalogue is a TOML file: tables of sentences, with `{placeholders}` for what changes. A sentence
is found by its dotted key, such as "verdict.good.title". Every catalogue has the same keys and
placeholders; a further language is a further file.
"""

import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

LATELY_S = 20  # twice the time between two checks
MOST_WISHES = 16  # languages of an Accept-Language that are looked at
MOST_MARKS = 2  # combining marks on one letter; more is no language, and paints over other lines


class Catalogue:
    """The sentences of one `language` (a tag such as "de")."""

    def __init__(self, language: str, sentences: Mapping[str, str]) -> None:
        self.language = language
        self.sentences = sentences

    def __call__(self, key: str, **values: object) -> str:
        """A sentence with its placeholders filled. Raises KeyError where there is none."""
        return self.sentences[key].format(**values)

    def __contains__(self, key: str) -> bool:
        return key in self.sentences

    def number(self, value: float, digits: int = 0) -> str:
        """A number as the language writes it."""
        return f"{value:.{digits}f}".replace(".", self("units.decimal"))

    def ago(self, seconds: int | None) -> str:
        """How long ago something was checked; "" for what never was."""
        return "" if seconds is None else self._lasting("ago", seconds)

    def well(self, seconds: int | None) -> str:
        """Until when something that is down was well; "" for what never was."""
        return "" if seconds is None else self._lasting("well", seconds)

    def passed(self, seconds: int | None) -> str:
        """When something that is worse off last passed its check; "" for what never did."""
        return "" if seconds is None else self._lasting("passed", seconds)

    def since(self, seconds: int) -> str:
        """For how long something has been."""
        return self._lasting("since", seconds)

    def _lasting(self, kind: str, seconds: int) -> str:
        """In the largest unit of which there are two or more; "now" for what is lately, so that
        a page does not flicker with seconds."""
        for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
            if seconds >= 2 * size:
                return self(f"{kind}.{unit}", n=seconds // size)
        return self(f"{kind}.now" if seconds < LATELY_S else f"{kind}.s", n=seconds // 10 * 10)


def parse(language: str, text: str) -> Catalogue:
    """The catalogue in a TOML file."""
    return Catalogue(language, dict(_flat(tomllib.loads(text), "")))


def _flat(table: Mapping[str, Any], above: str) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield above + key, str(value)


def choose(wished: str, accept: str, offered: Sequence[str]) -> str:
    """The language to speak: the one that was `wished` for, else the best that the header
    Accept-Language (RFC 9110, 12.5.4) asks for, else the first that is offered."""
    if wished in offered:
        return wished
    wishes = []
    for place, part in enumerate(islice(accept.split(","), MOST_WISHES)):
        found = _WISH.fullmatch(part.strip())
        if found is not None and (language := found[1].lower()) in offered:
            wishes.append((-float(found[2] or 1), place, language))
    best = min(wishes, default=None)
    return offered[0] if best is None or best[0] == 0 else best[2]


_WISH = re.compile(r"([A-Za-z]{1,8})(?:-[A-Za-z0-9]{1,8}){0,4}(?:\s*;\s*q=([01](?:\.\d{0,3})?))?")

# Control and format characters, which turn the text's direction around or hide in it; surrogates,
# private and unassigned ones, which nobody can read.
_ILLEGIBLE = {"Cc", "Cf", "Cs", "Co", "Cn"}


def legible(text: str, *, at_most: int) -> str:
    """What somebody on the network calls themselves, on one line and without what could disturb
    or forge the text around it: `at_most` characters, and one that says that there were more."""
    kept: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if character.isspace():
            kept.append(" ")
        elif category not in _ILLEGIBLE and marks <= MOST_MARKS:
            kept.append(character)
    shown = " ".join("".join(kept).split())
    return shown if len(shown) <= at_most else shown[: at_most - 1].rstrip() + "…"
