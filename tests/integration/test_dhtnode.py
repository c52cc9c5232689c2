"""The OpenDHT child: a real node that is killed, hung and orphaned."""

import asyncio
import os
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest

from lanjami.dhtnode import identity
from lanjami.dhtnode.node import DhtNode
from lanjami.errors import HostError
from tests.support.appliance import opendht_child
from tests.support.lab import run
from tests.support.ports import free_port
from tests.support.running import running, supervised

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")


def _node(state: Path) -> DhtNode:
    return DhtNode(
        port=free_port(socket.SOCK_DGRAM), routed=False, state=state, changed=lambda: None
    )


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
        assert node.beacon() is None
    assert ids[0] == ids[1]
    assert stat.S_IMODE((tmp_path / "node-id").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("number", "gone_within_s"), [(signal.SIGKILL, 1.0), (signal.SIGSTOP, 6.0)]
)
async def test_a_dead_or_hung_child_is_replaced_within_two_seconds(
    tmp_path: Path, number: signal.Signals, gone_within_s: float
) -> None:
    node = _node(tmp_path)
    async with supervised(node) as supervisor:
        before = node.node()
        assert before is not None
        child = opendht_child(os.getpid())
        os.kill(child, number)
        async with asyncio.timeout(gone_within_s):
            while node.beacon() is not None:
                await asyncio.sleep(0.01)
        assert not Path("/proc", str(child)).exists(), "killed, not left behind"
        async with asyncio.timeout(2):
            while node.beacon() is None:
                await asyncio.sleep(0.01)
        after = node.node()
        assert after is not None
        assert after.node_id == before.node_id
        assert supervisor.health["dhtnode"].failures == 1
        assert opendht_child(os.getpid()) != child


async def test_a_stranger_cannot_fill_the_place_of_the_heartbeat(tmp_path: Path) -> None:
    """Six values beside the node's id once made the node seem to hang."""
    node = _node(tmp_path)
    async with supervised(node) as supervisor:
        up = node.node()
        assert up is not None
        key = up.node_id[:-1] + bytes([up.node_id[-1] ^ 1])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.setblocking(False)
            stranger.connect(("127.0.0.1", up.port))
            token = (await _asked(stranger, "get", h=key))["token"]
            for number in range(6):
                body = {"type": 0, "data": bytes(300)}
                value = {"id": number + 2, "dat": {"body": body}}
                await _asked(stranger, "put", h=key, token=token, values=[value])
        await asyncio.sleep(6)
        assert supervisor.health["dhtnode"].is_well
        assert supervisor.health["dhtnode"].failures == 0


async def _asked(sock: socket.socket, query: str, **arguments: object) -> dict[str, Any]:
    message = {
        "a": {"id": bytes(range(20)), **arguments},
        "q": query,
        "t": 7,
        "v": "x",
        "y": "q",
    }
    sock.send(msgpack.packb(message))
    answer = await asyncio.get_running_loop().sock_recv(sock, 65535)
    return dict(msgpack.unpackb(answer)["r"])


async def test_the_reason_of_a_failure_is_told(tmp_path: Path) -> None:
    node = _node(tmp_path)

    async def kill_it() -> None:
        async with running(node):
            os.kill(opendht_child(os.getpid()), signal.SIGKILL)
            await asyncio.sleep(5)

    with pytest.raises(HostError, match="was killed by SIGKILL"):
        await kill_it()


async def test_a_taken_port_is_named_with_its_owner(tmp_path: Path) -> None:
    port = free_port(socket.SOCK_DGRAM)
    node = DhtNode(port=port, routed=False, state=tmp_path, changed=lambda: None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", port))
        taken = rf"^UDP port {port} is taken by .*\(process {os.getpid()}\)$"
        with pytest.raises(HostError, match=taken):
            async with running(node):
                pass


@pytest.mark.parametrize("content", [b"half of it", b"\xff" * 40], ids=["half", "noise"])
def test_a_damaged_identity_is_replaced(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "node-id"
    file.write_bytes(content)
    node_id = identity.load_or_make(file)
    assert len(node_id) == 20
    assert identity.load_or_make(file) == node_id


@pytest.mark.parametrize("content", ["", "half of it"])
def test_a_node_has_an_identity_also_where_its_disk_takes_nothing(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "node-id"
    if content:
        file.write_text(content)
    run("mount", "--bind", str(tmp_path), str(tmp_path))
    try:
        run("mount", "-o", "remount,bind,ro", str(tmp_path))
        assert len(identity.load_or_make(file)) == 20
    finally:
        run("umount", str(tmp_path))
    assert "the identity is lost with the program reason=" in caplog.text
    assert "Read-only file system" in caplog.text
