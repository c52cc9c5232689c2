"""Pushes through UnifiedPush servers that are not ours, to phones that are not ours either."""

import json
from pathlib import Path
from types import ModuleType

import pytest

from lanjami.dhtnode import webpush
from lanjami.dhtnode.proxy import Notice, Recipient
from lanjami.dhtnode.push import Pusher
from tests.support import ntfy, push_server
from tests.support.dht_values import sha1
from tests.support.proxy import client, ours
from tests.support.push_receiver import Application, settled
from tests.support.push_server import NEEDED, phone, prosody
from tests.support.running import running

pytestmark = pytest.mark.skipif(
    not all(path.exists() for path in (*NEEDED, ntfy.PROGRAM)),
    reason="the push servers and their phones are Debian's",
)

with_each = pytest.mark.parametrize("server", [push_server, ntfy], ids=["prosody", "ntfy"])

KEY = sha1("inbox").hex()
AT_ONCE = 80  # ntfy takes 60 of one address


def _pusher() -> Pusher:
    return Pusher(is_lan=lambda ip: ip.is_loopback, retry_s=0.05)


def _notice(endpoint: str, text: str, topic: str = "") -> Notice:
    return Notice(Recipient(endpoint, "unifiedpush", topic), {"to": text}, is_urgent=True)


@with_each
@pytest.mark.parametrize("application", [None, Application()], ids=["plain", "encrypted"])
async def test_a_value_at_the_proxy_wakes_a_phone(
    tmp_path: Path, server: ModuleType, application: Application | None
) -> None:
    pusher = _pusher()
    async with (
        server.woken(tmp_path) as woken,
        running(pusher),
        ours(tmp_path, push=pusher.send) as box,
        client(box.http) as us,
    ):
        subscription = {
            "key": woken.endpoint, "client_id": "alice", "session_id": "s1",
            "platform": "unifiedpush", "topic": application.topic if application else "cx.ring",
        }  # fmt: skip
        assert (await us.ask("SUBSCRIBE", f"/key/{KEY}", subscription)).status == 200
        put = {"id": "7", "data": "aGVsbG8=", "pt": "call"}
        assert (await us.ask("POST", f"/key/{KEY}", put)).status == 200
        pushed = await woken.pushed()
        told = json.loads(application.read(pushed) if application else pushed)
        assert isinstance(told.pop("t"), int)
        assert told == {"key": KEY, "to": "alice", "s": "s1", "ids": "7", "pt": "call"}
        assert await settled(pusher) == {"sent": 1}


@with_each
async def test_the_longest_push_is_taken(tmp_path: Path, server: ModuleType) -> None:
    pusher, application = _pusher(), Application()
    text = "x" * (webpush.LONGEST - len('{"to":""}'))
    async with server.woken(tmp_path) as woken, running(pusher):
        pusher.send(_notice(woken.endpoint, text, application.topic))
        assert await settled(pusher) == {"sent": 1}
        pushed = await woken.pushed()
        assert len(pushed) == webpush.RECORD_SIZE
        assert json.loads(application.read(pushed)) == {"to": text}


async def test_one_that_is_too_long_for_the_server_is_given_up(tmp_path: Path) -> None:
    pusher = _pusher()
    async with push_server.woken(tmp_path) as woken, running(pusher):
        pusher.send(_notice(woken.endpoint, "x" * webpush.RECORD_SIZE))
        assert await settled(pusher) == {"refused with 413": 1}


async def test_a_push_that_the_phone_does_not_take_yet_comes_again(tmp_path: Path) -> None:
    pusher = _pusher()
    async with prosody(tmp_path) as port, phone(port, busy=2) as woken, running(pusher):
        pusher.send(_notice(woken.endpoint, "again"))
        assert await settled(pusher) == {"retried": 2, "sent": 1}
        assert json.loads(await woken.pushed()) == {"to": "again"}


async def test_an_endpoint_that_is_no_more_is_given_up(tmp_path: Path) -> None:
    pusher = _pusher()
    async with push_server.woken(tmp_path) as one, running(pusher):
        pusher.send(_notice(one.endpoint + "x", "nobody"))
        assert await settled(pusher) == {"gone": 1}


async def test_a_phone_that_was_away_has_the_push_when_it_comes_back(tmp_path: Path) -> None:
    pusher = _pusher()
    async with ntfy.serving(tmp_path) as port, running(pusher):
        pusher.send(_notice(ntfy.endpoint("127.0.0.1", port), "later"))
        assert await settled(pusher) == {"sent": 1}
        async with ntfy.phone(port) as back:
            assert json.loads(await back.pushed()) == {"to": "later"}


@pytest.mark.parametrize("exempt", ["", "127.0.0.1"], ids=["as it is", "exempt"])
async def test_ntfy_has_what_comes_at_once_and_soon_where_the_box_is_exempt(
    tmp_path: Path, exempt: str
) -> None:
    pusher = _pusher()
    # 25 times as fast as it does by itself
    async with ntfy.serving(tmp_path, exempt=exempt, every="200ms") as port, running(pusher):
        for number in range(AT_ONCE):
            pusher.send(_notice(ntfy.endpoint("127.0.0.1", port), str(number)))
        told = await settled(pusher)
    if exempt:
        assert told == {"sent": AT_ONCE}
    else:
        assert told.keys() == {"sent", "held back"}, "it says 429"
        assert told["sent"] == AT_ONCE
