"""The status page over HTTP: headers, what changes while it is open, and measuring the line."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from lanjami.errors import HostError
from lanjami.status.live import MOST_OF_ONE
from lanjami.status.page import Heard, Present, Reached
from lanjami.status.page_api import CONTENT_SECURITY_POLICY
from lanjami.status.quality import CHUNK, LANES, STREAM_BYTES
from lanjami.status.render import LIVE
from tests.support.http_client import Answer, Client, connected, get
from tests.support.page_stage import DOWN, UP, Stage, served


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with served(Stage()) as stage:
        yield stage


async def _ask(stage: Stage, request: bytes) -> Answer:
    async with connected(stage.port) as client:
        return await client.ask(request)


def _post(target: str, body: bytes, *fields: str) -> bytes:
    head = [f"POST {target} HTTP/1.1", "Host: box", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*head, "", ""]).encode() + body


# --- the page -----------------------------------------------------------------------------------


async def test_the_page_and_what_it_loads_have_strict_headers(stage: Stage) -> None:
    for target in ("/", "/status/page.css", "/status/page.js?v=1", "/status/icon.svg"):
        answer = await _ask(stage, get(target))
        assert answer.status == 200, target
        assert answer.fields["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.fields["x-content-type-options"] == "nosniff"
        assert answer.fields["referrer-policy"] == "no-referrer"
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY
    assert "frame-ancestors 'none'" in CONTENT_SECURITY_POLICY


async def test_only_what_has_its_version_in_its_address_is_kept_by_browsers(stage: Stage) -> None:
    page = await _ask(stage, get("/"))
    assert page.fields["cache-control"] == "no-store"
    (sheet,) = [part for part in page.body.decode().split('"') if "page.css" in part]
    assert "immutable" in (await _ask(stage, get(sheet))).fields["cache-control"]
    plain = await _ask(stage, get("/status/page.css"))
    assert plain.fields["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("target", "field", "language"),
    [
        ("/", "Accept-Language: de-AT, en;q=0.5", "de"),
        ("/", "Accept-Language: fr", "en"),
        ("/?lang=de", "Accept-Language: en", "de"),
        ("/?lang=%3Cscript%3E", "Accept-Language: de", "de"),
    ],
)
async def test_the_page_speaks_the_visitors_language(
    stage: Stage, target: str, field: str, language: str
) -> None:
    answer = await _ask(stage, get(target, field))
    assert f'<html lang="{language}">' in answer.body.decode()
    assert answer.fields["content-language"] == language
    assert b"<script>" not in answer.body


async def test_nothing_of_a_request_is_repeated(stage: Stage) -> None:
    answer = await _ask(
        stage, get("/?x=needle", "X-Forwarded-Host: needle", "User-Agent: needle Android")
    )
    assert b"needle" not in answer.body


async def test_the_address_is_that_of_the_box_on_the_lan(stage: Stage) -> None:
    text = (await _ask(stage, get("/"))).body.decode()
    assert f"http://10.0.0.5:{stage.port}" in text
    assert "10.0.0.5:4222" in text
    assert "127.0.0.1" not in text


async def test_what_is_remembered_is_not_shown_once_the_page_is_down() -> None:
    stage = Stage()
    async with served(stage):
        await _ask(stage, get("/"))
        assert stage.live.pieces("en")
    with pytest.raises(HostError, match="prepared"):
        stage.live.page("en", Reached("10.0.0.5", stage.port, 4222, has_proxy=True), "desktop")
    with pytest.raises(HostError, match="prepared"):
        stage.live.pieces("en")


async def test_the_page_is_drawn_once_a_look_however_many_ask() -> None:
    stage, drawn = Stage(), 0

    def counted() -> Present:
        nonlocal drawn
        drawn += 1
        return Present()

    async with served(stage):
        stage.live._present = counted  # noqa: SLF001 - counts how often it is asked
        async with asyncio.TaskGroup() as tasks:
            for _ in range(50):
                tasks.create_task(_ask(stage, get("/")))
        looks = drawn
    assert looks < 50


# --- while it is open ---------------------------------------------------------------------------


class Events:
    """What a page that is open is told."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._chunks = b""
        self.retry_ms = 0

    async def next(self) -> dict[str, Any]:
        while True:
            event = await self._line_block()
            for line in event.splitlines():
                if line.startswith("retry: "):
                    self.retry_ms = int(line.removeprefix("retry: "))
                if line.startswith("data: "):
                    told: dict[str, Any] = json.loads(line.removeprefix("data: "))
                    return told

    async def until(self, holds: Callable[[dict[str, str]], bool]) -> dict[str, str]:
        """The newest of each piece, once they are as they should be."""
        pieces: dict[str, str] = {}
        async with asyncio.timeout(10):
            while not holds(pieces):
                pieces |= (await self.next())["pieces"]
        return pieces

    async def _line_block(self) -> str:
        reader = self._client._reader  # noqa: SLF001 - a stream has no answer that ends
        async with asyncio.timeout(10):
            while b"\n\n" not in self._chunks:
                size = int(await reader.readline(), 16)
                assert size, "the stream ended"
                self._chunks += await reader.readexactly(size)
                await reader.readexactly(2)
        block, _, self._chunks = self._chunks.partition(b"\n\n")
        return block.decode()


@asynccontextmanager
async def _watching(stage: Stage, *fields: str, seen: str = "") -> AsyncIterator[Events]:
    async with connected(stage.port) as client:
        client.send(get(f"/status/events?lang=en&seen={seen}", *fields))
        head = await client.answer(has_body=False)
        assert head.status == 200
        assert head.fields["content-type"] == "text/event-stream"
        assert head.fields["cache-control"] == "no-store"
        yield Events(client)


async def test_an_open_page_hears_of_what_goes_down_and_comes_back(stage: Stage) -> None:
    async with _watching(stage) as events:
        first = (await events.next())["pieces"]
        assert first.keys() == {"verdict", "count", "parts", "people", "plots"}
        assert "Jami works here." in first["verdict"]
        stage.services["dhtnode"] = DOWN
        pieces = await events.until(lambda p: "does not work" in p.get("verdict", ""))
        assert pieces.keys() >= {"verdict", "parts"}
        assert "plots" not in pieces, "what is the same is not told again"
        stage.services["dhtnode"] = UP
        await events.until(lambda p: "Jami works here." in p.get("verdict", ""))


async def test_an_open_page_hears_something_also_where_nothing_changes(stage: Stage) -> None:
    async with _watching(stage) as events:
        told = await events.next()
        loop = asyncio.get_running_loop()
        before = loop.time()
        assert (await events.next())["pieces"] == {}
        assert loop.time() - before < told["patience"]


async def test_names_from_the_network_reach_open_pages_as_text(stage: Stage) -> None:
    async with _watching(stage) as events:
        await events.next()
        stage.present = Present(heard=[Heard("<b>\u202eAnn</b>\n\ndata: x", "", 1)])
        pieces = await events.until(lambda p: "Ann" in p.get("people", ""))
        assert "&lt;b&gt;Ann&lt;/b&gt; data: x" in pieces["people"]


async def test_who_finds_no_place_is_told_all_and_to_come_again(stage: Stage) -> None:
    async with AsyncExitStack() as stay:
        leaves = AsyncExitStack()
        await (await leaves.enter_async_context(_watching(stage))).next()
        for _ in range(MOST_OF_ONE - 1):
            await (await stay.enter_async_context(_watching(stage))).next()
        async with _watching(stage) as late:
            told = await late.next()
            assert "Jami works here." in told["pieces"]["verdict"]
            assert told["patience"] * 1000 > late.retry_ms > 5000
            with pytest.raises(AssertionError, match="ended"):
                await late.next()
        await leaves.aclose()
        async with asyncio.timeout(10):
            while not await _has_a_place(stage):
                await asyncio.sleep(0.05)


async def _has_a_place(stage: Stage) -> bool:
    async with _watching(stage) as events:
        await events.next()
        return events.retry_ms < 5000


async def test_a_page_that_takes_nothing_is_cut_off() -> None:
    stage = Stage()
    async with served(stage, write_within_s=0.3):
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(slow, ("127.0.0.1", stage.port))
            await loop.sock_sendall(slow, get("/status/events"))
            async with asyncio.timeout(20):
                while not stage.live._watching:  # noqa: SLF001 - there is no other sign of it
                    await asyncio.sleep(0.02)
                number = 0
                while stage.live._watching:  # noqa: SLF001
                    number += 1
                    stage.services[f"{number}-{'x' * 500_000}"] = UP
                    stage.services = {k: stage.services[k] for k in list(stage.services)[-3:]}
                    await asyncio.sleep(0.05)
        assert (await _ask(stage, get("/status/page.css"))).status == 200


async def _seen(stage: Stage) -> str:
    """What a page says of what was drawn with it."""
    text = (await _ask(stage, get("/?lang=en"))).body.decode()
    return text.partition('data-seen="')[2].partition('"')[0]


async def test_what_was_drawn_with_the_page_is_not_told_again(stage: Stage) -> None:
    seen = await _seen(stage)
    async with _watching(stage, seen=seen) as events:
        assert (await events.next())["pieces"] == {}
    stage.services = {"dhtnode": UP, "names": DOWN}
    async with _watching(stage, seen=seen) as events:
        pieces = await events.until(lambda pieces: "Usernames may not" in pieces.get("parts", ""))
        assert pieces.keys() == {"verdict", "count", "parts"}


async def test_a_page_that_comes_again_is_told_all(stage: Stage) -> None:
    """It was told something since it was drawn."""
    seen = await _seen(stage)
    for fields, known in (((), ""), (("Last-Event-ID: 1",), seen), ((), "x.y"), ((), seen[::-1])):
        async with _watching(stage, *fields, seen=known) as events:
            assert (await events.next())["pieces"].keys() == set(LIVE)


# --- measuring ----------------------------------------------------------------------------------


async def _turn(stage: Stage, ticket: str = "") -> dict[str, Any]:
    body = json.dumps({"ticket": ticket}).encode()
    answer = await _ask(
        stage, _post("/status/quality/turn", body, "Content-Type: application/json")
    )
    assert answer.status == 200, answer
    told: dict[str, Any] = answer.json
    return told


RESULT = {
    "round_trips_ms": [2.0, 3.0, 2.0],
    "lane_trips_ms": [2.0, 2.0],
    "down_mbit": 80.0,
    "up_mbit": 80.0,
}


async def test_a_line_is_measured_and_judged(stage: Stage) -> None:
    turn = await _turn(stage)
    assert turn["ahead"] == 0
    ticket = turn["ticket"]
    async with connected(stage.port) as client:
        for _ in range(5):
            client.send(get(f"/status/quality/echo?ticket={ticket}"))
            assert (await client.answer(has_body=False)).status == 204
        client.send(_post(f"/status/quality/up?ticket={ticket}", bytes(CHUNK)))
        assert (await client.answer(has_body=False)).status == 204
    async with connected(stage.port) as client:
        client.send(get(f"/status/quality/down?ticket={ticket}", "Connection: close"))
        received = await client.rest(within_s=20)
    assert 0 < len(received) < STREAM_BYTES / LANES * 1.01
    answer = await _ask(
        stage, _post(f"/status/quality/result?lang=en&ticket={ticket}", json.dumps(RESULT).encode())
    )
    assert answer.status == 200
    assert "80.0 Mbit/s" in answer.body.decode()
    assert answer.body.decode().count('class="good"') == 5
    again = await _ask(stage, get(f"/status/quality/echo?ticket={ticket}"))
    assert again.status == 403, "a result ends the turn"


async def test_one_measures_at_a_time(stage: Stage) -> None:
    first, second = await _turn(stage), await _turn(stage)
    assert (first["ahead"], second["ahead"]) == (0, 1)
    assert first["ticket"] != second["ticket"]
    early = await _ask(stage, get(f"/status/quality/down?ticket={second['ticket']}"))
    assert early.status == 403
    result = _post(f"/status/quality/result?ticket={first['ticket']}", json.dumps(RESULT).encode())
    assert (await _ask(stage, result)).status == 200
    assert (await _turn(stage, second["ticket"]))["ahead"] == 0


async def test_who_stops_makes_room_at_once(stage: Stage) -> None:
    first, second = await _turn(stage), await _turn(stage)
    left = await _ask(stage, _post(f"/status/quality/leave?ticket={first['ticket']}", b""))
    assert left.status == 204
    assert (await _turn(stage, second["ticket"]))["ahead"] == 0
    for nobody in ("", "?ticket=", "?ticket=guess"):
        assert (await _ask(stage, _post(f"/status/quality/leave{nobody}", b""))).status == 204
    assert (await _turn(stage, second["ticket"]))["ahead"] == 0


async def test_the_box_counts_what_is_streamed(stage: Stage) -> None:
    ticket = (await _turn(stage))["ticket"]
    for _ in range(2 * LANES):
        async with connected(stage.port) as client:
            client.send(get(f"/status/quality/down?ticket={ticket}", "Connection: close"))
            await client.rest(within_s=20)
    over = await _ask(stage, get(f"/status/quality/down?ticket={ticket}"))
    assert over.status == 403


@pytest.mark.parametrize("what", ["echo", "down", "up", "result"])
async def test_nothing_is_done_without_a_ticket(stage: Stage, what: str) -> None:
    is_get = what in ("echo", "down")
    for target in (f"/status/quality/{what}", f"/status/quality/{what}?ticket=guess"):
        request = get(target) if is_get else _post(target, b"{}")
        assert (await _ask(stage, request)).status == 403


@pytest.mark.parametrize(
    ("body", "field", "status"),
    [
        (b'{"ticket": ""}', "Content-Type: text/plain", 415),
        (b'{"ticket": ""}', "Content-Type: application/x-www-form-urlencoded", 415),
        (b"", "Content-Type: application/json", 400),
        (b'{"ticket": 1}', "Content-Type: application/json", 400),
    ],
)
async def test_a_turn_is_not_given_to_what_a_foreign_page_can_send(
    stage: Stage, body: bytes, field: str, status: int
) -> None:
    assert (await _ask(stage, _post("/status/quality/turn", body, field))).status == status


async def test_a_ticket_is_never_the_visitors_choice(stage: Stage) -> None:
    turn = await _turn(stage, "x" * 1000)
    assert turn["ticket"] != "x" * 1000
    assert len(turn["ticket"]) < 40
