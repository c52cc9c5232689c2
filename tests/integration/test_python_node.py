"""Our DHT node with real ones on loopback: OpenDHT 4.4.2 and, where it is installed, 2.4.12."""

import asyncio
import random
import shutil
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from lanjami.dhtnode import beat, packing, python_node, wire
from lanjami.dhtnode import messages as m
from lanjami.dhtnode import value as values
from lanjami.dhtnode.core import DhtCore
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.events import Came, Done, Event
from lanjami.dhtnode.python_node import PythonNode
from lanjami.dhtnode.requests import Datagram
from lanjami.dhtnode.udp import Sockets
from lanjami.errors import HostError
from lanjami.runtime import patience
from tests.support.dht_gets import contents, data_of, got
from tests.support.dht_peers import debian, expected, wheel
from tests.support.dht_values import sha1
from tests.support.ports import free_port
from tests.support.running import running

SIZES = (10, 600, 3000, 60_000)
KEY = "where we meet"

addresses = pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
with_debian = pytest.mark.skipif(shutil.which("dhtnode") is None, reason="dhtnode is Debian's")


def _port() -> int:
    return free_port(socket.SOCK_DGRAM)


def _node(
    state: Path, *, port: int = 0, network: int = 0, entries: tuple[Endpoint, ...] = ()
) -> PythonNode:
    return PythonNode(
        port=port or _port(),
        routed=False,
        state=state,
        lan=lambda: (),
        entries=lambda: entries,
        changed=lambda: None,
        network=network,
    )


@asynccontextmanager
async def _serving(state: Path, *, network: int = 0) -> AsyncIterator[tuple[PythonNode, int]]:
    node = _node(state, network=network)
    async with running(node):
        beacon = node.beacon()
        assert beacon is not None
        yield node, beacon.port


async def _came(events: "asyncio.Queue[Event]", number: int) -> dict[int, bytes]:
    """What a listener of ours heard, once it is `number` values."""
    found: dict[int, bytes] = {}
    async with asyncio.timeout(10):
        while len(found) < number:
            event = await events.get()
            assert isinstance(event, Came)
            found |= {value.id: data_of(value) for value in event.values}
    return found


async def test_it_serves_and_keeps_its_identity(tmp_path: Path) -> None:
    ids = []
    for _ in range(2):
        node = _node(tmp_path)
        async with running(node) as heard:
            assert "a value put and got back" in heard.details[0]
            up = node.node()
            assert up is not None
            assert up.statistics.values == 0, "the heartbeat's own value is not counted"
            ids.append(up.node_id)
        assert node.node() is None
        assert node.beacon() is None
    assert ids[0] == ids[1]
    assert stat.S_IMODE((tmp_path / "python-node-id").stat().st_mode) == 0o600


async def test_what_it_keeps_comes_back_after_a_restart(tmp_path: Path) -> None:
    async with _serving(tmp_path) as (node, port), wheel() as alice:
        await alice.joined("127.0.0.1", port)
        assert await alice.ask("put", KEY, 1, 3000)
    async with _serving(tmp_path) as (node, port), wheel() as bob:
        assert await contents(node, sha1(KEY)) == expected(3000)
        await bob.joined("127.0.0.1", port)
        assert await bob.got(KEY) == expected(3000)
    assert stat.S_IMODE((tmp_path / "python-node-state").stat().st_mode) == 0o600


async def test_a_power_cut_costs_only_what_came_just_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(python_node, "SAVE_AFTER_S", 0.05)
    before, after = tmp_path / "before", tmp_path / "after"
    for folder in (before, after):
        folder.mkdir()
    async with _serving(before) as (_, port), wheel() as alice:
        await alice.joined("127.0.0.1", port)
        assert await alice.ask("put", KEY, 1, 600)
        saved = before / "python-node-state"
        async with asyncio.timeout(10):
            while not saved.exists() or expected(600)[1] not in saved.read_bytes():
                await asyncio.sleep(0.01)
        shutil.copy(saved, after)
    async with _serving(after) as (node, _):
        assert await contents(node, sha1(KEY)) == expected(600)


async def test_a_card_is_not_worn_out_by_what_stays_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(python_node, "SAVE_AFTER_S", 0.01)
    saved = tmp_path / "python-node-state"
    async with _serving(tmp_path):
        async with asyncio.timeout(10):
            while not saved.exists():
                await asyncio.sleep(0.01)
        first = saved.stat().st_ino  # each writing makes a file of its own
        await asyncio.sleep(0.2)
        assert saved.stat().st_ino == first


async def test_one_that_answers_nobody_for_long_is_no_longer_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unheard(*_: object) -> None:
        raise TimeoutError

    reasons: list[str] = []

    def ready(detail: str, *, reason: str = "", proved: bool | None = None) -> None:
        reasons.append(reason)
        assert ("a value put and got back" in detail) == (not reason)
        assert proved is None, "as the reason says"
        monkeypatch.setattr(beat, "beat", unheard)
        if reason:
            monkeypatch.setattr(patience, "LATE_S", 0.0)

    monkeypatch.setattr(python_node, "BEAT_EVERY_S", 0.01)
    node = _node(tmp_path)
    async with asyncio.timeout(10):
        with pytest.raises(HostError, match="our DHT node hangs"):
            await node.run(ready)
    assert reasons[0] == ""
    assert "overloaded" in reasons[1]
    assert node.beacon() is None


async def test_a_damaged_state_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "python-node-state").write_bytes(b"half of it")
    async with _serving(tmp_path) as (node, _):
        assert node.beacon() is not None


class _Faulty(DhtCore):
    """Has a fault that only some datagrams show."""

    def on_datagram(self, data: bytes, source: Endpoint, *, now: float) -> list[Datagram]:
        if data == b"what nobody thought of":
            raise ZeroDivisionError
        return super().on_datagram(data, source, now=now)


async def test_a_datagram_that_it_fails_at_costs_nobody_else_anything(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop, port = asyncio.get_running_loop(), _port()
    core = _Faulty(
        sha1("box"),
        is_local=lambda endpoint: True,
        dice=random.Random(1),
        now=loop.time(),
        unix_time=0.0,
        versions=(4,),
    )
    with (
        Sockets(core, loop=loop, port=port, routed=False, answered=lambda: None),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        sock.connect(("127.0.0.1", port))
        sock.setblocking(False)
        ping = packing.pack(m.Ping(transaction=1, node_id=sha1("asker")))[0]
        for datagram in (b"what nobody thought of", b"what nobody thought of", ping):
            await loop.sock_sendall(sock, datagram)
        async with asyncio.timeout(10):
            pong = wire.parse(await loop.sock_recv(sock, 1500))
    assert isinstance(pong, m.Reply)
    assert core.dropped["our fault"] == 2
    assert caplog.text.count("a datagram that we fail at") == 1, "it is told once"


@addresses
async def test_the_wheel_joins_and_we_keep_what_it_puts(tmp_path: Path, ip: str) -> None:
    async with _serving(tmp_path) as (node, port):
        async with wheel() as alice:
            await alice.joined(ip, port)
            for id, size in enumerate(SIZES, start=1):
                assert await alice.ask("put", KEY, id, size)
        # she is gone: what Bob gets, he gets of us
        async with wheel() as bob:
            await bob.joined(ip, port)
            assert await bob.got(KEY) == expected(*SIZES)
        up = node.node()
        assert up is not None
        assert up.statistics.values == len(SIZES)


@addresses
async def test_the_wheel_hears_and_gets_what_we_put(tmp_path: Path, ip: str) -> None:
    async with _serving(tmp_path) as (node, port), wheel() as alice:
        await alice.joined(ip, port)
        await alice.ask("listen", KEY)
        for id, content in expected(*SIZES).items():
            assert await node.put(sha1(KEY), values.make(id, content))
        assert await alice.heard(KEY, len(SIZES)) == expected(*SIZES)
        assert await alice.got(KEY) == expected(*SIZES)


async def test_who_leaves_a_node_after_its_restart_takes_nobody_s_place(tmp_path: Path) -> None:
    node = _node(tmp_path)
    with ExitStack() as late:
        async with running(node):
            late.enter_context(node.listening(sha1("slow")))
        async with running(node):
            with node.listening(sha1(KEY)) as events:
                late.close()
                await node.put(sha1(KEY), values.make(1, b"hello"))
                assert await _came(events, 1) == {1: b"hello"}


@addresses
async def test_we_hear_and_get_what_the_wheel_puts(tmp_path: Path, ip: str) -> None:
    async with _serving(tmp_path) as (node, port), wheel() as alice:
        await alice.joined(ip, port)
        with node.listening(sha1(KEY)) as events:
            for id, size in enumerate(SIZES, start=1):
                assert await alice.ask("put", KEY, id, size)
            assert await _came(events, len(SIZES)) == expected(*SIZES)
        found = await contents(node, sha1(KEY))
        assert found == expected(*SIZES)


async def test_the_wheel_gets_what_we_keep(tmp_path: Path) -> None:
    async with _serving(tmp_path) as (node, port), wheel() as alice:
        await alice.joined("127.0.0.1", port)
        with node.keeping(sha1(KEY), values.make(1, expected(600)[1])) as events:
            async with asyncio.timeout(10):
                assert isinstance(await events.get(), Done)
            assert await alice.got(KEY) == expected(600)
            assert [value.id for value in await got(node, sha1(KEY))] == [1]


async def test_two_clients_of_ours_hear_each_other_through_us(tmp_path: Path) -> None:
    async with _serving(tmp_path) as (_, port), wheel() as alice, wheel() as bob:
        await alice.joined("127.0.0.1", port)
        await bob.joined("127.0.0.1", port)
        await bob.ask("listen", KEY)
        for id, size in enumerate(SIZES[:3], start=1):
            assert await alice.ask("put", KEY, id, size)
        assert await bob.heard(KEY, 3) == expected(*SIZES[:3])


async def test_signed_edited_and_encrypted_values(tmp_path: Path) -> None:
    async with _serving(tmp_path) as (node, port):
        async with wheel(identity=True) as alice:
            await alice.joined("127.0.0.1", port)
            assert await alice.ask("put_signed", "signed", 1, 3000)
            assert await alice.ask("put_signed", "signed", 1, 600)  # the same id: an edit
            assert await alice.ask("put_encrypted", "encrypted", 2, 600)
            assert await alice.got("encrypted") == {2: expected(0, 600)[2]}, "she can read it"
        async with wheel() as bob:
            await bob.joined("127.0.0.1", port)
            assert await bob.got("signed") == expected(600)
            assert await bob.got("encrypted") == {}, "he cannot"
        (signed,) = await got(node, sha1("signed"))
        assert signed.is_signed
        assert signed.seq == 1
        assert values.is_genuine(signed)
        (encrypted,) = await got(node, sha1("encrypted"))
        assert encrypted.is_encrypted


async def test_networks_ignore_each_other(tmp_path: Path) -> None:
    async with _serving(tmp_path, network=7) as (_, port):
        async with wheel(network=8) as stranger:
            await stranger.ask("bootstrap", "127.0.0.1", port)
            assert await stranger.ask("connected", 2) is None
        async with wheel(network=7) as alice:
            await alice.joined("127.0.0.1", port)


async def test_it_finds_its_own_kind_and_the_wheel(tmp_path: Path) -> None:
    """Three nodes that know of one entry only; what one puts, another gets."""
    async with wheel(port=(port := _port())) as entry:
        await entry.ask("id")
        at = (Endpoint(bytes([127, 0, 0, 1]), port),)
        one = _node(tmp_path, entries=at)
        (tmp_path / "two").mkdir()
        two = _node(tmp_path / "two", entries=at)
        async with running(one), running(two):
            async with asyncio.timeout(10):
                while any(n is None or n.statistics.good < 2 for n in (one.node(), two.node())):
                    await asyncio.sleep(0.05)
            with two.listening(sha1(KEY)) as events:
                assert await one.put(sha1(KEY), values.make(1, expected(600)[1]))
                assert await _came(events, 1) == expected(600)
            assert await entry.got(KEY) == expected(600)


@with_debian
@addresses
async def test_debians_node_joins_puts_and_hears(tmp_path: Path, ip: str) -> None:
    async with _serving(tmp_path) as (node, port):
        bootstrap = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
        key = sha1(KEY).hex()
        async with debian(port=_port(), bootstrap=bootstrap) as alice:
            await alice.joined()
            with node.listening(sha1(KEY)) as events:
                for size in SIZES[:3]:
                    await alice.say(f"p {key} {'x' * size}", "Put: success")
                heard = await _came(events, 3)
                assert sorted(map(len, heard.values())) == list(SIZES[:3])
                await alice.say(f"s {key} signed", "Put signed: success")
                await alice.say(f"e {key} {alice.key_id} secret", "Put encrypted: success")
                assert len(await _came(events, 2)) == 2
        async with debian(port=_port(), bootstrap=bootstrap) as bob:
            await bob.joined()
            # before he listens: a listen begins with a `find`, and OpenDHT takes the reply to a
            # `find` under way for that to the get (Dht::searchNodeGetDone), and asks no more
            completed = await bob.say(f"g {key}", r"Get: completed[^\n]*\(total (\d+)\)")
            assert completed[1] == "4", "the encrypted one is for Alice alone"
            await bob.say(f"l {key}", "Listening, token")
            assert await node.put(sha1(KEY), values.make(7, b"of ours", user_type="text/plain"))
            await bob.printed(r'id:0*7 data\(text/plain\):"of ours"')
        found = await got(node, sha1(KEY))
        assert [value.is_signed for value in found].count(True) == 1
        assert [value.is_encrypted for value in found].count(True) == 1


@with_debian
async def test_all_three_makes_meet_in_one_network(tmp_path: Path) -> None:
    async with _serving(tmp_path) as (node, port), wheel() as bob:
        await bob.joined("127.0.0.1", port)
        async with debian(port=_port(), bootstrap=f"127.0.0.1:{port}") as alice:
            await alice.joined()
            await bob.ask("listen", KEY)
            await alice.say(f"p {sha1(KEY).hex()} hello", "Put: success")
            (heard,) = (await bob.heard(KEY)).values()
            assert heard == b"hello"
            assert [data_of(value) for value in await got(node, sha1(KEY))] == [b"hello"]
