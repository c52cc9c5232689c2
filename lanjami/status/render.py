"""The status page as HTML.

What comes from the network is escaped where it is put into a template, without exception.
"""

import hashlib
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import jinja2
import segno
from markupsafe import Markup

from lanjami.status import page, plot, quality
from lanjami.status.history import Course
from lanjami.status.page import Level, Now, Reached
from lanjami.status.texts import Catalogue

LIVE = (
    "verdict",
    "count",
    "parts",
    "people",
    "plots",
)  # the pieces that change while somebody looks

_NETWORK = "network-"


class Renderer:
    """Writes pages from `templates` and, by language, `catalogues`. `versions` are those of the
    files that a page loads, by name."""

    def __init__(
        self,
        *,
        templates: Mapping[str, str],
        catalogues: Mapping[str, Catalogue],
        versions: Mapping[str, str],
    ) -> None:
        self._catalogues = catalogues
        self._templates = environment(templates, catalogues, versions)

    def page(self, language: str, now: Now, reached: Reached, device: str) -> str:
        """The whole page for a visitor who came to `reached` with a `device`."""
        values = self._live(language, now)
        pieces = self._pieces(now, values)
        return self._write(
            "page.html",
            **values,
            pieces={name: Markup(text) for name, text in pieces.items()},  # noqa: S704 - drawn here
            seen=".".join(digest(name, text) for name, text in pieces.items()),
            reached=reached,
            devices=page.devices(reached, device),
            qr=qr(f"{reached.url}/") if reached.address else "",
        )

    def pieces(self, language: str, now: Now) -> dict[str, str]:
        """What changes while somebody looks, by the names in `LIVE`."""
        return self._pieces(now, self._live(language, now))

    def _pieces(self, now: Now, values: Mapping[str, Any]) -> dict[str, str]:
        shown = [name for name in LIVE if name != "people" or now.present is not None]
        return {name: self._write(f"{name}.html", **values) for name in shown}

    def result(self, language: str, line: quality.Line) -> str:
        """What a measured line bears."""
        return self._write(
            "result.html",
            t=self._catalogues[language],
            line=line,
            uses=quality.USES,
            verdicts=quality.verdicts(line),
        )

    def _live(self, language: str, now: Now) -> dict[str, Any]:
        t = self._catalogues[language]

        return {
            "t": t,
            "snapshot": now.snapshot,
            "verdict": page.verdict(now.snapshot),
            "parts": page.parts(now.snapshot),
            "part": partial(part_key, t),
            "when": partial(part_when, t),
            "title": partial(part_title, t, host=now.snapshot.host),
            "here": None if now.present is None else page.here(now.present),
            "hours": now.course.hours,
            "minutes": now.course.minutes,
            "plots": _plots(now.course),
        }

    def _write(self, template: str, **values: Any) -> str:
        return self._templates.get_template(template).render(values)


def environment(
    templates: Mapping[str, str], catalogues: Mapping[str, Catalogue], versions: Mapping[str, str]
) -> jinja2.Environment:
    """What draws `templates`, and escapes all that is put into them."""
    made = jinja2.Environment(
        loader=jinja2.DictLoader({name: _lean(text) for name, text in templates.items()}),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "languages": list(catalogues.values()),
        "version_of": versions,
        "width": plot.WIDTH,
        "height": plot.HEIGHT,
    }
    return made


def digest(name: str, text: str) -> str:
    """By which a page says that it has a piece already."""
    return hashlib.blake2s(f"{name} {text}".encode(), digest_size=5).hexdigest()


def _lean(template: str) -> str:
    """Without the depth of the indentation, which is for who writes templates; a page has a
    kilobyte of it. A space stays, for it may be between two words."""
    return re.sub(r"(?m)^ +", " ", template)


def part_key(t: Catalogue, name: str) -> str:
    """Where the catalogue speaks of a service."""
    # one for each interface where the box is the network
    known = "part.network" if name.startswith(_NETWORK) else f"part.{name}"
    return known if f"{known}.title" in t else "part.other"


def part_title(t: Catalogue, name: str, host: str) -> str:
    """What a service is called to people; by its own name where nobody described it."""
    known = f"{part_key(t, name)}.title"
    if known not in t:
        return name
    return t(known, host=host or "lanjami.local", interface=name.removeprefix(_NETWORK))


def part_when(t: Catalogue, part: page.Part) -> str:
    """When a service was last seen to work; "" where that is not asked, or never was."""
    match part.level:
        case Level.UNUSED:
            return ""
        case Level.BROKEN:
            return t.well(part.proved_s)
        case Level.LIMITED:
            return t.passed(part.proved_s)
    return t.ago(part.proved_s)


def qr(text: str) -> Markup:
    """A QR code as SVG. Of nothing but what this program says itself: it is not escaped."""
    return Markup(segno.make(text, error="m", micro=False).svg_inline(border=4, omitsize=True))  # noqa: S704


def _plots(course: Course) -> dict[str, plot.Plot]:
    return {
        "clients": plot.draw(course.clients),
        "messages": plot.draw(course.messages),
        "answers": plot.draw(course.answers),
    }
