"""How a word in a text for people sounds, where it can be coloured."""

from collections.abc import Callable
from typing import Literal

Tone = Literal["good", "warning", "bad"]

# Colours a text, which keeps its width on a screen.
Paint = Callable[[str, Tone], str]


def plain(text: str, _: Tone) -> str:
    """The text as it is."""
    return text
