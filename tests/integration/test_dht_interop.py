"""What our DHT node and the real ones do for each other, beyond `test_python_node`: on loopback,
over IPv4 and IPv6, each make as far as it goes.

| what | wheel 4.4.2 | Debian's binding 2.4.12 | Debian's dhtnode 2.4.12 | jamid |
|---|---|---|---|---|
| finds us, is found by us | yes | yes | yes | finds us |
| get, put and listen; 10 B to 60 kB | yes | yes | yes | its own values |
| signed, encrypted | yes | the binding has no calls for it | yes | its own values |
| edited | yes | the same | takes them and passes them on; each `s` of its own has a new id | - |
| what expires | yes | yes | yes | - |
| networks | yes | yes | yes | has no setting for it |
| IPv6 | yes | yes | yes | hangs where there is IPv6 (pjsip 2.12, kernel 6.18) |

jamid is in `tests/e2e`.
"""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lanjami.dhtnode import policy
from lanjami.dhtnode import value as values
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.events import Came, Done, Event, Went
from lanjami.dhtnode.python_node import PythonNode
from tests.support.dht_gets import contents, data_of, got
from tests.support.dht_peers import (
    BINDING,
    WHEEL,
    Debian,
    debian,
    expected,
    put_late,
    wheel,
)
from tests.support.dht_values import sha1, signed
from tests.support.ports import free_port
from tests.support.running import running

SIZES = (10, 600, 3000, 60_000)
KEY = "where we meet"
HASH = sha1(KEY).hex()
ICE_CANDIDATES = 5  # the type that lives shortest
LEFT_S = 5
WITHIN_S = 15.0

addresses = pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
bindings = pytest.mark.parametrize("python", [WHEEL, BINDING], ids=["4.4.2", "2.4.12"])
pytestmark = pytest.mark.skipif(shutil.which("dhtnode") is None, reason="dhtnode is Debian's")


def _port() -> int:
    return free_port(socket.SOCK_DGRAM)


def _at(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


@asynccontextmanager
async def _ours(
    state: Path, *, network: int = 0, entry: Endpoint | None = None
) -> AsyncIterator[tuple[PythonNode, int]]:
    """Our node and its port; it looks for others at one entry."""
    node = PythonNode(
        port=(port := _port()),
        routed=False,
        state=state,
        lan=lambda: (),
        entries=lambda: [entry] if entry else [],
        changed=lambda: None,
        network=network,
    )
    async with running(node):
        yield node, port


async def _events(
    events: "asyncio.Queue[Event]", kind: type[Event], number: int
) -> dict[int, bytes]:
    """What came to or went from a key, once it is `number` values."""
    found: dict[int, bytes] = {}
    async with asyncio.timeout(WITHIN_S):
        while len(found) < number:
            event = await events.get()
            if isinstance(event, kind) and not isinstance(event, Done):
                found |= {value.id: data_of(value) for value in event.values}
    return found


async def _joins(node: PythonNode) -> None:
    """Wait until our node knows another."""
    async with asyncio.timeout(WITHIN_S):
        while (known := node.node()) is None or not known.statistics.good:
            await asyncio.sleep(0.05)


# --- bindings -----------------------------------------------------------------------------------


@addresses
async def test_debians_binding_and_we_do_all_for_each_other(tmp_path: Path, ip: str) -> None:
    async with _ours(tmp_path) as (node, port):
        async with wheel(python=BINDING) as alice:
            await alice.joined(ip, port)
            with node.listening(sha1(KEY)) as events:
                for id, size in enumerate(SIZES, start=1):
                    assert await alice.ask("put", KEY, id, size)
                assert await _events(events, Came, len(SIZES)) == expected(*SIZES)
            await alice.ask("listen", "ours")
            for id, content in expected(*SIZES).items():
                assert await node.put(sha1("ours"), values.make(id, content))
            assert await alice.heard("ours", len(SIZES)) == expected(*SIZES)
            assert await alice.got("ours") == expected(*SIZES)
        # she is gone: what Bob gets, he gets of us
        async with wheel(python=BINDING) as bob:
            await bob.joined(ip, port)
            assert await bob.got(KEY) == expected(*SIZES)
            assert await contents(node, sha1(KEY)) == expected(*SIZES)


@addresses
@bindings
async def test_we_find_everything_through_a_binding(tmp_path: Path, ip: str, python: str) -> None:
    """It is the only node that we know of, and has what was put before we came."""
    async with wheel(python=python, port=(port := _port())) as alice, wheel() as bob:
        await bob.joined(ip, port)
        assert await bob.ask("put", KEY, 1, 3000)
        async with _ours(tmp_path, entry=_entry(ip, port)) as (node, _):
            await _joins(node)
            assert await contents(node, sha1(KEY)) == expected(3000)
            assert await node.put(sha1("ours"), values.make(2, b"hello"))
            assert await alice.got("ours") == {2: b"hello"}


@addresses
async def test_signed_edited_and_encrypted_values(tmp_path: Path, ip: str) -> None:
    async with _ours(tmp_path) as (node, port):
        async with wheel(identity=True) as alice:
            await alice.joined(ip, port)
            assert await alice.ask("put_signed", KEY, 1, 3000)
            assert await alice.ask("put_signed", KEY, 1, 600)  # the same id: an edit
            assert await alice.ask("put_encrypted", KEY, 2, 600)
            assert await alice.got(KEY) == expected(600, 600), "she can read it"
        async with wheel() as bob:
            await bob.joined(ip, port)
            assert await bob.got(KEY) == expected(600), "he cannot read the other"
        found = {value.id: value for value in await got(node, sha1(KEY))}
        assert (found[1].is_signed, found[1].seq, values.is_genuine(found[1])) == (True, 1, True)
        assert found[2].is_encrypted
        assert len(found) == 2


@addresses
@bindings
async def test_bindings_of_another_network_are_not_answered(
    tmp_path: Path, ip: str, python: str
) -> None:
    async with _ours(tmp_path, network=7) as (_, port):
        async with wheel(python=python, network=8) as stranger:
            await stranger.ask("bootstrap", ip, port)
            assert await stranger.ask("connected", 1) is None
        async with wheel(python=python, network=7) as alice:
            await alice.joined(ip, port)


@addresses
@bindings
async def test_what_is_over_goes_whoever_kept_it(tmp_path: Path, ip: str, python: str) -> None:
    """Values that live for a minute, put when some seconds of it are left: one at our node, one at
    the binding's. Each who listens hears that both came and went, and then neither is found."""
    async with (
        _ours(tmp_path) as (node, port),
        wheel(python=python, port=(other := _port())) as alice,
    ):
        await alice.joined(ip, port)
        await alice.ask("listen", KEY)
        with node.listening(sha1(KEY)) as events:
            await _put_late_at(ip, port, other)
            assert (await alice.heard(KEY, 2)).keys() == {1, 2}
            assert (await _events(events, Came, 2)).keys() == {1, 2}
            assert (await _events(events, Went, 2)).keys() == {1, 2}
            assert await alice.went(KEY, 2) == {1, 2}
        assert await got(node, sha1(KEY)) == []
        assert await alice.got(KEY) == {}


# --- dhtnode ------------------------------------------------------------------------------------


@addresses
async def test_debians_node_and_we_do_all_for_each_other(tmp_path: Path, ip: str) -> None:
    async with (
        _ours(tmp_path) as (node, port),
        debian(port=_port(), bootstrap=_at(ip, port), identity=False) as alice,
    ):
        await alice.joined()
        with node.listening(sha1(KEY)) as events:
            put = {await _put(alice, _text(size)): _text(size) for size in SIZES}
            assert await _events(events, Came, len(SIZES)) == put
        assert await contents(node, sha1(KEY)) == put
        ours = {id: _text(size) for id, size in enumerate(SIZES, start=1)}
        inbox = sha1("ours")
        await alice.say(f"l {inbox.hex()}", "Listening, token")
        for id, text in ours.items():
            assert await node.put(inbox, values.make(id, text, user_type="text/plain"))
        assert await alice.heard(len(SIZES)) == ours
        assert await alice.got(inbox.hex()) == ours
        # who comes later gets all of us
        async with debian(port=_port(), bootstrap=_at(ip, port), identity=False) as bob:
            await bob.joined()
            assert await bob.got(HASH) == put


@addresses
async def test_debians_node_signs_and_encrypts(tmp_path: Path, ip: str) -> None:
    async with (
        _ours(tmp_path) as (node, port),
        debian(port=_port(), bootstrap=_at(ip, port)) as alice,
    ):
        await alice.joined()
        with node.listening(sha1(KEY)) as events:
            await alice.say(f"s {HASH} signed", "Put signed: success")
            await alice.say(f"e {HASH} {alice.key_id} secret", "Put encrypted: success")
            came = await _events(events, Came, 2)
        (encrypted,) = [value for value in await got(node, sha1(KEY)) if value.is_encrypted]
        (genuine,) = [value for value in await got(node, sha1(KEY)) if value.is_signed]
        assert data_of(genuine) == b"signed"
        assert values.is_genuine(genuine)
        assert b"secret" not in came[encrypted.id]
        assert await alice.got(HASH) == {genuine.id: b"signed", encrypted.id: b"secret"}


@addresses
async def test_debians_node_takes_edits_and_passes_them_on(tmp_path: Path, ip: str) -> None:
    async with debian(port=(port := _port()), identity=False) as alice:
        async with _ours(tmp_path, entry=_entry(ip, port)) as (node, _):
            await _joins(node)
            for seq, text in enumerate((b"a first version", b"and the second")):
                value = signed("bob", 3, seq=seq, data=text, user_type="text/plain")
                assert await node.put(sha1(KEY), value), "another node has it, and that is hers"
                assert await alice.got(HASH) == {3: text}
        # we are gone: what Carol gets, she gets of Debian's
        async with wheel() as carol:
            await carol.joined(ip, port)
            assert await carol.got(KEY) == {3: b"and the second"}


@addresses
async def test_debians_node_of_another_network_is_not_answered(tmp_path: Path, ip: str) -> None:
    async with _ours(tmp_path, network=7) as (node, port):
        at = _at(ip, port)
        async with debian(port=_port(), bootstrap=at, network=8, identity=False) as stranger:
            await stranger.say("ll", "IPv6 stats")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await stranger.joined()
            known = node.node()
            assert known is not None
            assert known.statistics.good == 0
        async with debian(port=_port(), bootstrap=at, network=7, identity=False) as alice:
            await alice.joined()


@addresses
async def test_we_find_everything_through_debians_node(tmp_path: Path, ip: str) -> None:
    """It is the only node that we know of, and has what was put before we came."""
    async with debian(port=(port := _port()), identity=False) as alice:
        async with debian(port=_port(), bootstrap=_at(ip, port), identity=False) as bob:
            await bob.joined()
            id = await _put(bob, _text(3000))
        async with _ours(tmp_path, entry=_entry(ip, port)) as (node, _):
            await _joins(node)
            assert await contents(node, sha1(KEY)) == {id: _text(3000)}
            assert await node.put(sha1("ours"), values.make(2, b"hello", user_type="text/plain"))
            assert await alice.got(sha1("ours").hex()) == {2: b"hello"}


@addresses
async def test_what_is_over_goes_whether_debians_node_or_we_kept_it(
    tmp_path: Path, ip: str
) -> None:
    async with (
        _ours(tmp_path) as (node, port),
        debian(port=(other := _port()), bootstrap=_at(ip, port), identity=False) as alice,
    ):
        await alice.joined()
        await alice.say(f"l {HASH}", "Listening, token")
        with node.listening(sha1(KEY)) as events:
            await _put_late_at(ip, port, other)
            assert (await _events(events, Came, 2)).keys() == {1, 2}
            assert (await _events(events, Went, 2)).keys() == {1, 2}
            assert (await alice.heard(4)).keys() == {1, 2}
            await alice.printed(r"expired \(total 0\)")
        assert await got(node, sha1(KEY)) == []
        assert await alice.got(HASH) == {}


def _entry(ip: str, port: int) -> Endpoint:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    return Endpoint(socket.inet_pton(family, ip), port)


def _text(size: int) -> bytes:
    """What dhtnode can be told to put: one word."""
    return (f"{size}-" * size).encode()[:size]


async def _put(node: Debian, text: bytes) -> int:
    """Have it put a text; its id."""
    put = await node.say(f"p {HASH} {text.decode()}", r"Put: success[^\n]*ID: ([0-9a-f]+)")
    return int(put[1], 16)


async def _put_late_at(ip: str, *ports: int) -> None:
    """At the node on each port a value that is soon over."""
    age_s = int(policy.life_s(ICE_CANDIDATES)) - LEFT_S
    for id, port in enumerate(ports, start=1):
        value = values.make(id, b"soon over", type=ICE_CANDIDATES, user_type="text/plain")
        await put_late(port, sha1(KEY), value, age_s=age_s, ip=ip)
