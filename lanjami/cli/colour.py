"""Colours, which a terminal shows and nobody else is given."""

import os

import click

from lanjami.tone import Tone

_COLOURS: dict[Tone, str] = {"good": "green", "warning": "yellow", "bad": "red"}


def paint(text: str, tone: Tone) -> str:
    """A text in the colour of its tone; `click.echo` takes that out where nobody sees it."""
    return click.style(text, fg=_COLOURS[tone])


def is_unwanted() -> bool:
    """Whether the person wants none (https://no-color.org), or the terminal knows none."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
