"""The box loses its power: no end of the phones' listens reaches them, and they are to notice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lanjami import layout
from lanjami.runtime.checkpoint import boot_id
from tests.support.dht_values import sha1
from tests.support.proxy import Ours, client, ours

KEY = sha1("where phones meet").hex()
LISTEN, GET = f"/key/{KEY}/listen", f"/key/{KEY}"
BEFORE, NOW = "3f0c", "b712"
WITHIN_S = 20.0
SAVED_AT_ONCE_S = 0.01


@asynccontextmanager
async def _box(state: Path, *, boot: str) -> AsyncIterator[Ours]:
    async with ours(state, boot=boot, save_after_s=SAVED_AT_ONCE_S) as box:
        yield box


async def _listened(state: Path) -> bytes:
    """The file of a box to which a phone listens, as a power cut leaves it."""
    file = state / layout.PROXY_LISTENERS
    async with _box(state, boot=BEFORE) as box, client(box.http) as phone, phone.listen(KEY):
        async with asyncio.timeout(WITHIN_S):
            while not file.exists():
                await asyncio.sleep(0.01)
        left = file.read_bytes()
    assert file.read_bytes() != left, "an end of ours is told to every phone, and noted"
    return left


async def _said(port: int, path: str) -> bytes:
    """The body of an answer as it comes, or the begin of one that does not end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    said = b""
    try:
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(0.5):
            while piece := await reader.read(4096):
                said += piece
    except TimeoutError:
        said += b"(open)"
    finally:
        writer.close()
    return said


@pytest.mark.parametrize("path", [LISTEN, GET])
async def test_the_first_stream_after_a_power_cut_ends_as_no_stream_does(
    tmp_path: Path, path: str
) -> None:
    (tmp_path / layout.PROXY_LISTENERS).write_bytes(await _listened(tmp_path))
    async with _box(tmp_path, boot=NOW) as box, client(box.http) as phone:
        said = await _said(box.http, path)
        assert said.startswith(b"lanjami ends this stream\r\n")
        for known in ("/", "/node/info"):
            assert (await phone.ask("GET", known)).lines[0]["ipv4"]["good"] == 1
        assert await _said(box.http, LISTEN) == b"(open)"


@pytest.mark.parametrize("accept", ["*/*", "application/json, text/html;q=0"])
async def test_who_looks_first_after_a_power_cut_finds_no_good_node(
    tmp_path: Path, accept: str
) -> None:
    """Also where the full server answers, as it does who may be a browser."""
    (tmp_path / layout.PROXY_LISTENERS).write_bytes(await _listened(tmp_path))
    async with _box(tmp_path, boot=NOW) as box, client(box.http) as phone:
        assert (await phone.ask("GET", "/node/info")).lines[0]["ipv4"]["good"] == 1
        (found,) = (await phone.ask("GET", "/", accept=accept)).lines
        for family in ("ipv4", "ipv6"):
            assert (found[family]["good"], found[family]["dubious"]) == (0, 0)
        assert found["node_id"]
        assert found["public_ip"] == "127.0.0.1"


async def test_who_listens_again_is_forgotten(tmp_path: Path) -> None:
    file = tmp_path / layout.PROXY_LISTENERS
    file.write_bytes(await _listened(tmp_path))
    async with _box(tmp_path, boot=NOW) as box, client(box.http) as phone:
        await _said(box.http, LISTEN)
        async with phone.listen(KEY), asyncio.timeout(WITHIN_S):
            while box.proxy.deaf:
                await asyncio.sleep(0.05)
    async with _box(tmp_path, boot="c001") as box:
        assert not box.proxy.deaf


async def test_who_does_not_come_is_remembered_over_a_second_start(tmp_path: Path) -> None:
    (tmp_path / layout.PROXY_LISTENERS).write_bytes(await _listened(tmp_path))
    async with _box(tmp_path, boot=NOW):
        pass
    async with _box(tmp_path, boot=NOW) as box:
        assert box.proxy.deaf == 1


async def test_nobody_is_bothered_where_the_machine_stayed_on(tmp_path: Path) -> None:
    """After `kill -9`, the kernel has ended what was open."""
    (tmp_path / layout.PROXY_LISTENERS).write_bytes(await _listened(tmp_path))
    async with _box(tmp_path, boot=BEFORE) as box, client(box.http) as phone:
        assert (await phone.ask("GET", "/")).lines[0]["ipv4"]["good"] == 1
        assert await _said(box.http, LISTEN) == b"(open)"


async def test_nobody_is_bothered_after_a_stop(tmp_path: Path) -> None:
    await _listened(tmp_path)
    async with _box(tmp_path, boot=NOW) as box, client(box.http) as phone:
        assert (await phone.ask("GET", "/")).lines[0]["ipv4"]["good"] == 1


async def test_a_damaged_file_is_told_of_and_costs_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / layout.PROXY_LISTENERS).write_bytes(b"\0" * 100)
    async with _box(tmp_path, boot=NOW) as box, client(box.http) as phone:
        assert (await phone.ask("GET", "/")).lines[0]["ipv4"]["good"] == 1
    assert "the proxy does not know who listened" in caplog.text


def test_the_machine_tells_which_start_it_is() -> None:
    assert len(boot_id()) == len("11111111-1111-1111-1111-111111111111")
