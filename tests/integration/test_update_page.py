"""An update that a browser sends: what is taken, and what is not."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from lanjami.runtime.httpd import HttpServer
from lanjami.status.history import Tally
from lanjami.status.live import Live
from lanjami.status.update_api import LARGEST, PIECE, UpdateApi
from tests.support.http_client import Answer, connected, get
from tests.support.page_stage import Stage
from tests.support.ports import free_port
from tests.support.running import running

SECRET = "abcd-efgh-jkmn-pqrs"


class Page:
    """The page of a box, whose folder for updates is `folder`."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self.folder = folder

    @property
    def whole(self) -> Path:
        return self.folder / "incoming.tar"

    async def ask(self, method: str, target: str, body: bytes = b"", word: str = SECRET) -> Answer:
        head = f"{method} {target} HTTP/1.1\r\nHost: box\r\nX-Lanjami-Secret: {word}\r\n"
        async with connected(self.port) as client:
            return await client.ask(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def send(self, piece: bytes, at: int, size: int, word: str = SECRET) -> Answer:
        return await self.ask("PUT", f"/update/file?at={at}&of={size}", piece, word)


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    stage = Stage()
    live = Live(snapshot=stage.snapshot, present=lambda: None, tally=lambda: Tally(0, {}, {}))
    api = UpdateApi(
        live, folder=tmp_path / "update", secret=lambda: SECRET, told=lambda: ["not taken"]
    )
    port = free_port()
    server = HttpServer(
        ports=[port],
        routes=api.routes,
        quick=lambda _: None,
        probe="/update",
        largest_body=2 * PIECE,
    )
    async with running(live), running(server):
        yield Page(port, tmp_path / "update")


async def test_a_file_comes_whole_piece_by_piece(page: Page) -> None:
    content = bytes(range(256)) * 600
    for at in range(0, len(content), PIECE):
        assert not page.whole.exists()
        answer = await page.send(content[at : at + PIECE], at, len(content))
        assert answer.status == 200
        assert msgspec.json.decode(answer.body) == {"have": min(at + PIECE, len(content))}
    assert page.whole.read_bytes() == content
    told = await page.ask("GET", "/update/told")
    assert msgspec.json.decode(told.body) == {"waits": True, "told": ["not taken"]}


@pytest.mark.parametrize("word", ["", "abcd", SECRET.upper(), "ä"])
async def test_who_does_not_know_the_word_leaves_nothing(page: Page, word: str) -> None:
    assert (await page.send(b"x", 0, 1, word)).status == 401
    assert (await page.ask("GET", "/update/told", word=word)).status == 401
    assert not page.folder.exists()


async def test_a_missing_piece_is_noticed(page: Page) -> None:
    await page.send(b"x" * 10, 0, 30)
    assert (await page.send(b"x" * 10, 20, 30)).status == 409
    assert not page.whole.exists()


async def test_a_torn_upload_begins_anew(page: Page) -> None:
    await page.send(b"old", 0, 30)
    await page.send(b"new", 0, 3)
    assert page.whole.read_bytes() == b"new"


async def test_while_one_is_looked_at_no_other_is_taken(page: Page) -> None:
    await page.send(b"one", 0, 3)
    assert (await page.send(b"two", 0, 3)).status == 409
    assert page.whole.read_bytes() == b"one"


@pytest.mark.parametrize(
    "query", ["at=0", "at=-1&of=3", "at=0&of=x", "at=0&of=0", f"at=0&of={LARGEST + 1}", "at=2&of=3"]
)
async def test_what_is_no_piece_is_refused(page: Page, query: str) -> None:
    answer = await page.ask("PUT", f"/update/file?{query}", b"xxx")
    assert answer.status in (400, 413)
    assert not page.folder.exists()


async def test_a_piece_is_small(page: Page) -> None:
    assert (await page.send(b"x" * (PIECE + 1), 0, 2 * PIECE)).status == 413


async def test_the_page_speaks_the_visitors_language_and_loads_only_its_own(page: Page) -> None:
    async with connected(page.port) as client:
        answer = await client.ask(get("/update", "Accept-Language: de"))
    assert "Aktualisierung" in answer.body.decode()
    assert answer.fields["content-security-policy"].startswith("default-src 'none'")
    assert b"<script>" not in answer.body
