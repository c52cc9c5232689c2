"""Setting clients up by the page: each guide walked in a browser, and the code that spreads it."""

from pathlib import Path

import pytest
from playwright.async_api import Locator

from tests.support.appliance import LANJAMI, Appliance
from tests.support.chromium import ANDROID, IPHONE, SIZES, Chromium, Visitor
from tests.support.lab import Host, run

URL = "http://10.77.0.1/"
DESKTOP = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

# For each device the values to type, in the order of the guide, where the box relays, too.
VALUES = {
    "Computer": ("10.77.0.1:4222", "http://10.77.0.1", "10.77.0.1"),
    "Android": ("http://10.77.0.1:80", "http://10.77.0.1", "10.77.0.1"),
    "iPhone and iPad": ("http://10.77.0.1:80", "http://10.77.0.1", "10.77.0.1"),
}
TURN = {
    "Computer": "Use TURN switch on TURN address 10.77.0.1",
    "Android": "Use TURN switch on TURN server 10.77.0.1",
    "iPhone and iPad": "Enable TURN switch on TURN address 10.77.0.1",
}


@pytest.fixture
async def relaying(box: Host) -> Appliance:
    """A box with the guard of its firewall, which relays."""
    box.run(*LANJAMI, "firewall", "show", "--apply")
    return await Appliance(box).start()


async def _pasted(visitor: Visitor, button: Locator) -> str:
    """What a button has copied, as somebody pastes it."""
    page = visitor.page
    await button.click()
    await page.evaluate(
        """() => { const field = document.createElement("textarea"); field.id = "pasted";
        document.body.append(field); field.focus(); }"""
    )
    await page.keyboard.press("Control+V")
    pasted = await page.input_value("#pasted")
    await page.evaluate("document.getElementById('pasted').remove()")
    return pasted


def _words(text: str) -> str:
    return " ".join(text.replace("Copied", "").replace("Copy", "").split())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("own", "agent"),
    [("Computer", DESKTOP), ("Android", ANDROID), ("iPhone and iPad", IPHONE)],
    ids=["desktop", "android", "ios"],
)
@pytest.mark.usefixtures("relaying")
async def test_the_guide_of_ones_own_device_is_open_and_each_is_walked(
    browser: Chromium, tmp_path: Path, own: str, agent: str, size: str
) -> None:
    async with browser.visiting(URL, size=size, agent=agent) as visitor:
        page = visitor.page
        await visitor.sees("Jami works here.")
        opened = page.locator("details.device[open]")
        assert await opened.count() == 1
        assert "your device" in await opened.locator("summary").inner_text()
        assert (await opened.locator("summary").inner_text()).startswith(own)
        for device in sorted(VALUES, key=lambda device: device != own):
            guide = page.locator("details.device", has=page.get_by_text(device, exact=True))
            if device != own:
                await guide.locator("summary").click()
            assert await page.locator("details.device[open]").count() == 1, "one at a time"
            buttons = guide.locator("button.copy")
            values = [await _pasted(visitor, button) for button in await buttons.all()]
            assert values == list(VALUES[device])
            words = _words(await guide.inner_text())
            assert TURN[device] in words
            assert "Enable local peer discovery" in words
            assert words.index("Set the name server") < words.index("Now take a username")
            assert not await visitor.is_too_wide()
            if device == own:
                await visitor.pictured(tmp_path, f"guide-{device.split()[0].lower()}-{size}")
        assert await visitor.faults() == []
        assert visitor.complaints == []


async def test_a_box_without_a_relay_says_nothing_of_one(box: Host, browser: Chromium) -> None:
    await Appliance(box, "turn.serve=false").start()
    async with browser.visiting(URL) as visitor:
        await visitor.sees("Jami works here.")
        assert await visitor.page.get_by_text("TURN").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_a_camera_reads_the_address_of_the_page(
    box: Host, browser: Chromium, tmp_path: Path, size: str, scheme: str
) -> None:
    await Appliance(box).start()
    picture = tmp_path / "code.png"
    async with browser.visiting(URL, size=size, scheme=scheme) as visitor:
        code = visitor.page.get_by_role("img", name="QR code of this page")
        await code.screenshot(path=picture)
        assert await code.get_attribute("aria-label") == "QR code of this page, http://10.77.0.1"
    read = run("zbarimg", "--quiet", "--raw", str(picture)).strip()
    assert read == URL
    async with browser.visiting(read) as next_one:
        await next_one.sees("Jami works here.")
