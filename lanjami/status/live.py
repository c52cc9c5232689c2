"""The service that draws the status page, remembers a day of use, and wakes who looks."""

import asyncio
import hashlib
import importlib.resources
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lanjami.errors import HostError
from lanjami.runtime.service import Ready
from lanjami.status import texts
from lanjami.status.history import STEP_S, History, Tally
from lanjami.status.page import Now, Present, Reached
from lanjami.status.render import Renderer
from lanjami.status.snapshot import Snapshot

LOOK_EVERY_S = 1.0  # how old may be what is shown
PROVE_EVERY_S = 10.0
MOST_WATCHING = 64
MOST_OF_ONE = 8  # of one address
MOST_PAGES = 32  # of one look, kept by language, address and device

LANGUAGES = ("en", "de")
STATIC = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "operator.css": "text/css",
    "operator.js": "text/javascript",
    "update.js": "text/javascript",
}


class Live:
    """Draws what `snapshot`, `present` and `tally` tell, at most every `look_every_s`, with a
    sample for the plots every `sample_every_s`."""

    name = "page"

    def __init__(
        self,
        *,
        snapshot: Callable[[], Snapshot],
        present: Callable[[], Present | None],
        tally: Callable[[], Tally],
        look_every_s: float = LOOK_EVERY_S,
        sample_every_s: float = STEP_S,
    ) -> None:
        self._snapshot = snapshot
        self._present = present
        self._tally = tally
        self._look_every_s = look_every_s
        self._sample_every_s = sample_every_s
        self._history = History()
        self._renderer: Renderer | None = None
        self._now: Now | None = None
        self._pieces: dict[str, dict[str, str]] = {}
        self._pages: OrderedDict[tuple[str, Reached, str], str] = OrderedDict()
        self._looked = asyncio.Event()
        self._watching: Counter[str] = Counter()

    async def run(self, ready: Ready) -> None:
        loop = asyncio.get_running_loop()
        self._renderer = await asyncio.to_thread(load)
        sample_at = prove_at = loop.time()
        try:
            while True:
                if loop.time() >= sample_at:
                    self._history.add(self._tally())
                    sample_at += self._sample_every_s
                self._look()
                if loop.time() >= prove_at:
                    self.pieces(LANGUAGES[0])
                    ready(f"drawn for a test, {self._watching.total()} look at it")
                    prove_at = loop.time() + PROVE_EVERY_S
                await asyncio.sleep(self._look_every_s)
        finally:
            self._renderer = None

    @property
    def renderer(self) -> Renderer:
        """Raises HostError while the page is not served."""
        if self._renderer is None:
            raise HostError("the page is being prepared")
        return self._renderer

    def page(self, language: str, reached: Reached, device: str) -> str:
        """The whole page, as of the last look."""
        renderer, key = self.renderer, (language, reached, device)
        found = self._pages.get(key)
        if found is None:
            if len(self._pages) == MOST_PAGES:
                self._pages.popitem(last=False)
            found = renderer.page(language, self._last(), reached, device)
            self._pages[key] = found
        return found

    def pieces(self, language: str) -> dict[str, str]:
        """What may have changed, as of the last look; see `Renderer.pieces`."""
        renderer, found = self.renderer, self._pieces.get(language)
        if found is None:
            found = self._pieces[language] = renderer.pieces(language, self._last())
        return found

    async def next_look(self) -> None:
        await self._looked.wait()

    @contextmanager
    def watching(self, source: str) -> Iterator[bool]:
        """Somebody at `source` looks; whether there is a place for them to stay."""
        if self._watching.total() >= MOST_WATCHING or self._watching[source] >= MOST_OF_ONE:
            yield False
            return
        self._watching[source] += 1
        try:
            yield True
        finally:
            self._watching[source] -= 1
            if not self._watching[source]:
                del self._watching[source]

    def _look(self) -> None:
        self._now = None
        self._pieces.clear()
        self._pages.clear()
        self._looked.set()
        self._looked = asyncio.Event()

    def _last(self) -> Now:
        if self._now is None:
            self._now = Now(self._snapshot(), self._present(), self._history.course())
        return self._now


def read_static() -> dict[str, bytes]:
    """The files that a page loads, by name."""
    folder = importlib.resources.files(__package__) / "static"
    return {name: (folder / name).read_bytes() for name in STATIC}


def read_catalogues() -> dict[str, texts.Catalogue]:
    """What the page says, by language."""
    folder = importlib.resources.files(__package__) / "texts"
    return {
        language: texts.parse(language, (folder / f"{language}.toml").read_text("utf-8"))
        for language in LANGUAGES
    }


def read_templates() -> dict[str, str]:
    """The templates of the public page. Blocks."""
    folder = importlib.resources.files(__package__) / "templates"
    return {file.name: file.read_text("utf-8") for file in folder.iterdir()}


def versions() -> dict[str, str]:
    """The versions of the files that pages load, by name. Blocks."""
    return {
        name: hashlib.sha256(content).hexdigest()[:10] for name, content in read_static().items()
    }


def load() -> Renderer:
    """Read what pages are made of. Blocks."""
    return Renderer(templates=read_templates(), catalogues=read_catalogues(), versions=versions())
