"""`lanjami quality`, on loopback; other lines are in tests/e2e/test_line_quality.py."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from lanjami.runtime.service import until
from tests.support.appliance import LANJAMI
from tests.support.page_stage import Stage, served
from tests.support.ports import free_port


async def _quality(*words: str) -> tuple[int, str, str]:
    running = await asyncio.create_subprocess_exec(
        *(*LANJAMI, "quality", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, told = await running.communicate()
    assert running.returncode is not None
    return running.returncode, printed.decode(), told.decode()


async def test_a_line_without_limits_bears_everything() -> None:
    async with served(Stage()) as stage:
        exit_status, printed, told = await _quality(f"127.0.0.1:{stage.port}")
    assert (exit_status, told) == (0, "")
    assert printed.count("good") == 5
    assert " ".join(printed.splitlines()[-1].split()) == (
        "Screen sharing, 120 fps 16 Mbit/s assumed good"
    )


async def test_a_stream_that_the_line_starves_counts_as_nothing_and_delays_nobody() -> None:
    async with served(Stage()) as stage, _starving_one_stream(stage.port) as port:
        began = time.monotonic()
        exit_status, printed, told = await _quality("--json", f"127.0.0.1:{port}")
    assert (exit_status, told) == (0, "")
    assert json.loads(printed)["line"]["down_mbit"] > 32
    assert time.monotonic() - began < 30


@asynccontextmanager
async def _starving_one_stream(box: int) -> AsyncIterator[int]:
    """A way to the port `box`, on which nothing comes of the first stream that is asked for."""
    streams = 0

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_box, to_box = await asyncio.open_connection("127.0.0.1", box)
        may_answer = asyncio.Event()
        may_answer.set()

        async def ask() -> None:
            nonlocal streams
            while piece := await reader.read(1 << 16):
                if b"GET /status/quality/down" in piece:
                    streams += 1
                    if streams == 1:
                        may_answer.clear()
                to_box.write(piece)
                await to_box.drain()

        async def answer() -> None:
            while piece := await from_box.read(1 << 16):
                await may_answer.wait()
                writer.write(piece)
                await writer.drain()
            await may_answer.wait()

        with suppress(ConnectionError):
            await until(ask(), answer())
        to_box.close()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1") as server:
        yield server.sockets[0].getsockname()[1]


async def test_where_no_box_is_it_says_so() -> None:
    exit_status, printed, told = await _quality(f"127.0.0.1:{free_port()}")
    assert (exit_status, printed) == (69, "")
    assert told.startswith("lanjami: nobody answers on port ")
    assert told.count("\n") == 1
    assert (await _quality("["))[0] == 69
