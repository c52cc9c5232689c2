"""What is said of a line is as netem makes it, to a visitor's browser and to `lanjami quality`."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.support.appliance import LANJAMI, Appliance
from tests.support.chromium import Chromium, chromium
from tests.support.lab import Host, Lab
from tests.support.line import Line

pytestmark = pytest.mark.asyncio(loop_scope="module")

# The words of netem for each direction, and whether such a line bears voice, 720p, 1080p, screen
# sharing at 60 and at 120 fps.
PROFILES = {
    "clean": ("rate 100mbit", "good good good good good"),
    "far": ("delay 25ms rate 25mbit limit 300", "good good good good tight"),
    "very far": ("delay 120ms rate 10mbit", "tight tight tight no no"),
    "unsteady": ("delay 60ms 50ms rate 4800kbit", "tight tight no no no"),
    "lossy": ("loss 3% rate 100mbit", "tight tight tight tight tight"),
    "very lossy": ("loss 10% rate 100mbit", "no no no no no"),
    "for voice": ("rate 400kbit limit 30", "good no no no no"),
    "for 720p": ("rate 6mbit limit 100", "good good tight no no"),
    "for 1080p": ("rate 12mbit limit 150", "good good good tight no"),
}
# It asks as the page does, and each costs a quarter of a minute.
BY_COMMAND = ("clean", "far", "unsteady", "lossy", "for voice")


@dataclass(slots=True)
class Visit:
    """Somebody at the far end of a line to the box."""

    line: Line
    machine: Host
    browser: Chromium

    async def told_by_page(self) -> tuple[str, str]:
        """The verdicts, and all of what is said."""
        async with self.browser.visiting("http://10.77.0.1/") as visitor:
            await visitor.page.get_by_role("button", name="Measure").click()
            verdicts = visitor.page.locator(".result tbody td:last-child")
            await verdicts.first.wait_for(timeout=60_000)
            assert visitor.complaints == []
            told = [await each.get_attribute("class") or "" for each in await verdicts.all()]
            return " ".join(told), await visitor.words(".result")

    async def told_by_command(self) -> tuple[str, str]:
        asking = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", self.machine.namespace),
            *(*LANJAMI, "quality", "--json", "10.77.0.1"),
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await asking.communicate()
        return " ".join(json.loads(printed)["verdicts"].values()), printed.decode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def visit(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Visit]:
    """One line for all profiles: its machine takes seconds to start."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    try:
        near, far = lab.switch("near"), lab.switch("far")
        box = lab.host("box").plug(near, "10.77.0.1/24")
        machine = lab.host("visitor").plug(far, "10.77.0.9/24")
        with closing(Line(lab, near, far)) as line:
            await Appliance(box).start(healthy_within_s=60)
            async with chromium(machine) as browser:
                yield Visit(line, machine, browser)
    finally:
        lab.close()


@pytest.mark.parametrize("name", PROFILES)
async def test_what_is_told_is_what_the_line_bears(visit: Visit, name: str) -> None:
    netem, borne = PROFILES[name]
    visit.line.becomes(netem)
    told, words = await visit.told_by_page()
    assert told == borne, words
    if name in BY_COMMAND:
        told, words = await visit.told_by_command()
        assert told == borne, words
