"""The operator's pages as HTML. What is put into a template is escaped, without exception."""

from collections.abc import Mapping
from typing import Any

from lanjami.status.render import environment, part_key, part_title, part_when
from lanjami.status.texts import Catalogue


class Pages:
    """Draws pages from `templates` and, by language, `catalogues`. Slow to make."""

    def __init__(
        self,
        *,
        templates: Mapping[str, str],
        catalogues: Mapping[str, Catalogue],
        versions: Mapping[str, str],
    ) -> None:
        self._catalogues = catalogues
        self._templates = environment(templates, catalogues, versions)
        for name in templates:  # compiled now: the first page is drawn on the event loop
            self._templates.get_template(name)

    def draw(self, name: str, language: str, *, here: str, **values: Any) -> str:
        """A page; `here` is the path at which it can be asked for in another language."""
        t = self._catalogues[language]
        return self._templates.get_template(f"{name}.html").render(
            {
                "t": t,
                "here": here,
                "to": lambda path: f"{path}?lang={language}",
                "part": lambda name: part_key(t, name),
                "when": lambda part: part_when(t, part),
                "part_title": lambda name, host="": part_title(t, name, host),
                "csrf": "",
                "can_update": False,
                "said": None,
                **values,
            }
        )

    def sentence(self, language: str, key: str, **values: object) -> str:
        """A sentence of a catalogue, not escaped."""
        return self._catalogues[language](key, **values)
