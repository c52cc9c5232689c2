"""`lanjami quality`: the verdicts match the line."""

import asyncio
import json
from typing import Any

from tests.support.appliance import LANJAMI
from tests.support.page_stage import Stage, served
from tests.support.ports import free_port
from tests.support.slow_line import Profile, slow_line


async def _quality(*words: str) -> tuple[int, str, str]:
    running = await asyncio.create_subprocess_exec(
        *(*LANJAMI, "quality", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, told = await running.communicate()
    assert running.returncode is not None
    return running.returncode, printed.decode(), told.decode()


async def _measured(profile: Profile) -> dict[str, Any]:
    async with served(Stage()) as stage, slow_line(stage.port, profile) as port:
        exit_status, printed, told = await _quality("--json", f"127.0.0.1:{port}")
    assert exit_status == 0, told
    found: dict[str, Any] = json.loads(printed)
    return found


async def test_a_line_without_limits_bears_everything() -> None:
    async with served(Stage()) as stage:
        exit_status, printed, told = await _quality(f"127.0.0.1:{stage.port}")
    assert (exit_status, told) == (0, "")
    assert printed.count("good") == 5
    assert " ".join(printed.splitlines()[-1].split()) == (
        "Screen sharing, 120 fps 16 Mbit/s assumed good"
    )


async def test_a_narrow_line_bears_what_its_rate_allows() -> None:
    found = await _measured(Profile(mbit=5.5, delay_s=0.005))
    assert 4 < found["line"]["up_mbit"] < 6
    assert 4 < found["line"]["down_mbit"] < 6
    assert found["verdicts"] == {
        "voice": "good",
        "video720": "good",
        "video1080": "tight",
        "screen60": "no",
        "screen120": "no",
    }


async def test_a_far_line_bears_calls_just_about() -> None:
    found = await _measured(Profile(delay_s=0.1))
    assert 200 <= found["line"]["latency_ms"] < 260
    assert found["verdicts"]["voice"] == "tight"


async def test_a_lossy_line_bears_nothing() -> None:
    found = await _measured(Profile(delay_s=0.002, lost=0.15))
    assert found["line"]["stalls"] > 3
    assert found["line"]["longest_stall_ms"] > 200
    assert set(found["verdicts"].values()) == {"no"}


async def test_where_no_box_is_it_says_so() -> None:
    exit_status, printed, told = await _quality(f"127.0.0.1:{free_port()}")
    assert (exit_status, printed) == (69, "")
    assert told.startswith("lanjami: nobody answers on port ")
    assert told.count("\n") == 1
    assert (await _quality("["))[0] == 69
