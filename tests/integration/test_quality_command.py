"""`lanjami quality`, on loopback; other lines are in tests/e2e/test_line_quality.py."""

import asyncio

import pytest

from lanjami.status import quality
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


async def test_a_stream_that_the_box_gives_up_counts_as_far_as_it_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quality, "GRACE_S", -quality.STREAM_S)
    async with served(Stage()) as stage:
        exit_status, printed, told = await _quality(f"127.0.0.1:{stage.port}")
    assert (exit_status, told) == (0, "")
    assert "From the box" in printed


async def test_where_no_box_is_it_says_so() -> None:
    exit_status, printed, told = await _quality(f"127.0.0.1:{free_port()}")
    assert (exit_status, printed) == (69, "")
    assert told.startswith("lanjami: nobody answers on port ")
    assert told.count("\n") == 1
    assert (await _quality("["))[0] == 69
