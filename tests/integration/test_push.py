"""Pushes to a UnifiedPush server: what arrives, what is tried again, and where none goes."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from lanjami.dhtnode import push
from lanjami.dhtnode.proxy import Notice, Recipient
from lanjami.dhtnode.push import Pusher
from lanjami.lan import Ip
from tests.support.dht_values import sha1
from tests.support.ports import free_port
from tests.support.proxy import client, ours
from tests.support.push_receiver import Application, Receiver, receiver, settled
from tests.support.running import Heard, running

KEY = sha1("inbox").hex()
DEADLINE_S = 10.0


def _any(_: Ip) -> bool:
    return True


@asynccontextmanager
async def _pushing(
    *,
    is_lan: Callable[[Ip], bool] = _any,
    retry_s: float = push.FIRST_RETRY_S,
    turn_within_s: float = push.TURN_WITHIN_S,
) -> AsyncIterator[tuple[Pusher, Receiver, Heard]]:
    pusher = Pusher(is_lan=is_lan, retry_s=retry_s, turn_within_s=turn_within_s)
    async with receiver() as server, running(pusher) as heard:
        yield pusher, server, heard


def _notice(
    url: str,
    *,
    topic: str = "",
    platform: str = "unifiedpush",
    number: int = 1,
    urgent: bool = True,
) -> Notice:
    return Notice(Recipient(url, platform, topic), {"ids": str(number)}, urgent)


async def test_a_plain_push_is_the_reference_s() -> None:
    async with _pushing() as (pusher, server, _):
        pusher.send(_notice(server.url("up?id=1")))
        pusher.send(_notice(server.url(), urgent=False))
        first, second = await server.until(2)
        assert (first.path, first.json()) == ("/up", {"ids": "1"})
        assert {first.headers["Urgency"], second.headers["Urgency"]} == {"high", "normal"}
        assert first.headers["TTL"] == "86400"
        assert first.headers["Content-Type"] == "application/json"
        assert "Content-Encoding" not in first.headers
        assert await settled(pusher) == {"sent": 2}


async def test_an_encrypted_push_is_read_by_its_receiver() -> None:
    application = Application()
    async with _pushing() as (pusher, server, _):
        for _again in range(2):
            pusher.send(_notice(server.url(), topic=application.topic))
        first, second = await server.until(2)
        assert first.headers["Content-Encoding"] == "aes128gcm"
        assert json.loads(application.read(first.body)) == {"ids": "1"}
        assert first.body[:86] != second.body[:86], "another salt and key each time"


async def test_what_is_longer_than_a_push_is_not_sent() -> None:
    async with _pushing() as (pusher, server, _):
        to = Recipient(server.url(), "unifiedpush", Application().topic)
        pusher.send(Notice(to, {"to": "\x00" * 700}, is_urgent=False))
        assert await settled(pusher) == {"too long": 1}


@pytest.mark.parametrize("status", [500, 503])
async def test_a_server_in_trouble_is_tried_again(status: int) -> None:
    async with _pushing(retry_s=0.01) as (pusher, server, _):
        server.status = lambda number: status if number < 3 else 200
        pusher.send(_notice(server.url()))
        await server.until(3)
        assert await settled(pusher) == {"retried": 2, "sent": 1}


async def test_who_does_not_answer_is_given_up_after_some_tries() -> None:
    async with _pushing(retry_s=0.01) as (pusher, server, _):
        pusher.send(_notice(f"http://127.0.0.1:{free_port()}/up"))
        pusher.send(_notice(server.url()))
        assert await settled(pusher) == {
            "sent": 1, "retried": push.TRIES - 1, "not answered": 1,
        }  # fmt: skip


async def test_what_a_server_takes_slowly_waits_for_its_turn() -> None:
    async with _pushing(retry_s=0.01) as (pusher, server, _):
        server.status = lambda number: 200 if number % (push.TRIES + 1) == 0 else 429
        for number in range(8):
            pusher.send(_notice(server.url(), number=number))
        told = await settled(pusher)
        assert told == {"sent": 8, "held back": 8 * push.TRIES}


async def test_a_server_that_takes_no_more_is_left_alone_for_a_while() -> None:
    async with _pushing(retry_s=60.0) as (pusher, server, _):
        server.status = lambda _: 429
        for number in range(50):
            pusher.send(_notice(server.url(), number=number))
        await server.until(push.MOST_AT_ONE)
        other = server.url().replace("127.0.0.1", "localhost")
        pusher.send(_notice(other))
        await server.until(push.MOST_AT_ONE + 1)
        assert len(server.pushed) == push.MOST_AT_ONE + 1
        assert pusher.waiting == 51


async def test_what_was_held_back_has_all_its_tries_left() -> None:
    async with _pushing(retry_s=0.01) as (pusher, server, _):
        answers = [429] * push.TRIES + [503, 200]
        server.status = lambda number: answers[number - 1]
        pusher.send(_notice(server.url()))
        assert await settled(pusher) == {"held back": push.TRIES, "retried": 1, "sent": 1}


async def test_a_server_that_dies_after_it_held_back_is_waited_for_in_peace() -> None:
    """What is sent there is answered by nobody, and the others wait for that."""
    async with _pushing(retry_s=0.01) as (pusher, server, _):
        server.status, server.most = lambda _: 429, push.MOST_AT_ONE
        for number in range(3 * push.MOST_AT_ONE):
            pusher.send(_notice(server.url(), number=number))
        await server.until(2 * push.MOST_AT_ONE)
        began = time.process_time()
        await asyncio.sleep(0.5)
        assert time.process_time() - began < 0.2


async def test_what_waited_too_long_for_its_turn_is_dropped() -> None:
    async with _pushing(retry_s=0.01, turn_within_s=0.1) as (pusher, server, _):
        server.status = lambda _: 429
        pusher.send(_notice(server.url()))
        told = await settled(pusher)
        assert told["held back for too long"] == 1
        assert told.keys() == {"held back", "held back for too long"}


@pytest.mark.parametrize(
    ("status", "why"),
    [(404, "gone"), (410, "gone"), (400, "refused with 400"), (413, "refused with 413"),
     (302, "refused with 302")],
)  # fmt: skip
async def test_a_refusal_is_final_and_no_redirect_is_followed(status: int, why: str) -> None:
    async with _pushing() as (pusher, server, _):
        server.status = lambda _: status
        pusher.send(_notice(server.url()))
        assert await settled(pusher) == {why: 1}
        assert [pushed.path for pushed in server.pushed] == ["/up"]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127\u30020\u30020\u30021",
     "\uff11\uff12\uff17.0.0.1", "\u2460\u2461\u2466.0.0.1"],
)  # fmt: skip
async def test_nothing_goes_where_the_lan_is_not(host: str) -> None:
    asked = []

    def is_lan(ip: Ip) -> bool:
        asked.append(ip)
        return False

    async with _pushing(is_lan=is_lan) as (pusher, server, _):
        pusher.send(_notice(server.url().replace("127.0.0.1", host)))
        assert await settled(pusher) == {"not on the LAN": 1}
        assert all(ip.is_loopback or ip.version == 6 for ip in asked)
        assert asked
        assert server.pushed == []


async def test_a_number_is_no_way_around_the_guard() -> None:
    async with _pushing(is_lan=lambda _: False) as (pusher, server, _):
        pusher.send(_notice(server.url().replace("127.0.0.1", "2130706433")))
        assert await settled(pusher) == {"no HTTP address": 1}
        assert server.pushed == []


async def test_a_name_is_asked_for_at_its_addresses_on_the_lan_only() -> None:
    async with _pushing(is_lan=lambda ip: ip == ip_address("127.0.0.1")) as (pusher, server, _):
        pusher.send(_notice(server.url().replace("127.0.0.1", "localhost")))
        assert await settled(pusher) == {"sent": 1}


@pytest.mark.parametrize(
    "url",
    ["", "token-of-google", "ftp://10.0.0.1/", "http://", "http://user@10.0.0.1/", "http://[::",
     "http://[]@",     "http://10.0.0.1:99999/", "unix:///run/x"],
)  # fmt: skip
async def test_what_is_no_address_is_dropped(url: str) -> None:
    async with _pushing() as (pusher, _, _heard):
        pusher.send(_notice(url))
        assert pusher.counts() == {"no HTTP address": 1}


async def test_what_needs_google_or_apple_is_counted() -> None:
    async with _pushing() as (pusher, server, _):
        for platform in ("android", "ios", ""):
            pusher.send(_notice(server.url(), platform=platform))
        assert pusher.counts() == {"needs Google or Apple": 3}


async def test_keys_that_are_none_are_not_written_to_in_the_clear() -> None:
    async with _pushing() as (pusher, server, _):
        pusher.send(_notice(server.url(), topic="a|b"))
        assert await settled(pusher) == {"keys that are none": 1}
        assert server.pushed == []


async def test_a_slow_server_does_not_hold_up_the_others() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as stuck:
        port = stuck.getsockname()[1]
        await _push_beside(port)


async def _push_beside(port: int) -> None:
    async with _pushing() as (pusher, server, heard):
        for number in range(50):
            pusher.send(_notice(f"http://127.0.0.1:{port}/up", number=number))
            pusher.send(_notice(server.url(), number=number))
        pushed = await server.until(50, within_s=5.0)
        assert {told.json()["ids"] for told in pushed} == {str(number) for number in range(50)}
        async with asyncio.timeout(DEADLINE_S):
            while pusher.counts() != {"sent": 50}:
                await asyncio.sleep(0.01)
        assert pusher.waiting == 50
        assert heard.reasons[-1] == ""


async def test_what_waits_is_bounded() -> None:
    pusher = Pusher(is_lan=_any)
    for number in range(push.MOST_WAITING + 5):
        pusher.send(_notice(f"http://10.0.0.{number % 256}/", number=number))
    assert pusher.counts() == {"too many wait": 5}
    assert pusher.waiting == push.MOST_WAITING


async def test_a_dead_server_leaves_room_for_what_is_for_others() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as stuck:
        async with _pushing() as (pusher, server, _):
            for number in range(push.MOST_WAITING):
                pusher.send(_notice(f"http://127.0.0.1:{stuck.getsockname()[1]}/{number}"))
            waiting = pusher.waiting
            pusher.send(_notice(server.url()))
            assert [pushed.path for pushed in await server.until(1)] == ["/up"]
            while pusher.waiting > waiting:
                await asyncio.sleep(0.01)


async def test_what_is_over_makes_room() -> None:
    async with _pushing(retry_s=0.01) as (pusher, server, _):
        server.status = lambda number: 503 if number < 3 else 200
        dead = f"http://127.0.0.1:{free_port()}/up"
        for url in (server.url(), dead, server.url(), "http://[::1]:1/"):
            pusher.send(_notice(url))
        await settled(pusher)
        for _again in range(push.MOST_WAITING_AT_ONE):
            pusher.send(_notice(dead))
        assert "too many wait" not in pusher.counts()


async def test_a_phone_that_sleeps_is_woken_by_a_value(tmp_path: Path) -> None:
    """The whole way: a subscription over HTTP, a value over HTTP, a push at the server."""
    async with (
        _pushing() as (pusher, server, _),
        ours(tmp_path, push=pusher.send) as box,
        client(box.http) as us,
    ):
        phone = {
            "key": server.url("phone"), "client_id": "alice", "session_id": "s1", "topic": "",
            "platform": "unifiedpush",
        }  # fmt: skip
        assert (await us.ask("SUBSCRIBE", f"/key/{KEY}", phone)).lines == [{}]
        put = {"id": "7", "data": "aGVsbG8=", "pt": "call"}
        assert (await us.ask("POST", f"/key/{KEY}", put)).status == 200
        (pushed,) = await server.until(1)
        told = pushed.json()
        assert isinstance(told.pop("t"), int)
        assert told == {"key": KEY, "to": "alice", "s": "s1", "ids": "7", "pt": "call"}
        assert pushed.headers["Urgency"] == "high"
        found = (await us.ask("GET", f"/key/{told['key']}")).lines
        assert [value["id"] for value in found] == told["ids"].split(",")
        stats = (await us.ask("GET", "/node/stats")).lines[0]
        assert stats["unifiedPush"] == {"highPriorityCount": 1, "normalPriorityCount": 0}
        assert stats["pushListenersCount"] == 1
        await us.ask("POST", "/node/pingPush", phone)
        assert (await server.until(2))[1].json() == {"to": "alice", "pong": True}
