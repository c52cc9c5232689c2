"""The operator's part of the page, in a real browser: each thing that somebody comes to do."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path

import pytest

from lanjami.box import updating
from lanjami.box.disks import Running
from lanjami.box.slots import Slot
from lanjami.config import Wifi, parse
from tests.support.appliance import LANJAMI, Appliance
from tests.support.chromium import SIZES, Chromium, Visitor, started
from tests.support.imaged import Imaged, imaged
from tests.support.lab import Host, Lab, run
from tests.support.operator_stage import served
from tests.support.registrations import body

URL = "http://10.77.0.1"
PASSWORD = "drei alte Birnbäume"
PAGES = ("", "/names", "/names/one?name=ann", "/log", "/network", "/box")

_REGISTER = """
import json, sys, urllib.request as r
for name, body in json.loads(sys.argv[1]).items():
    request = r.Request(f"http://10.77.0.1/name/{name}", json.dumps(body).encode(),
        {"Content-Type": "application/json"}, method="POST")
    r.urlopen(request).read()
"""
_FOREIGN_PAGE = """
import http.server
page = b'''<form method=post action=http://10.77.0.1/operator/names/remove>
<input name=name value=ann><input name=csrf value=guess></form>
<p>foreign</p><script>document.forms[0].submit()</script>'''
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(page)
http.server.HTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
"""

_WIFI = """
[network.wlan0]
serve = ["dns", "dhcp", "ra", "ntp"]
address = "10.79.0.1/24"
[wifi]
interface = "wlan0"
ssid = "Haus 7"
passphrase = "drei alte Baeume"
country = "DE"
"""


@pytest.fixture
async def appliance(box: Host) -> Appliance:
    return await Appliance(box).start()


def _lanjami(appliance: Appliance, *words: str) -> str:
    return run(*LANJAMI, *words, "--state", str(appliance.state))


def _link(appliance: Appliance) -> str:
    found = re.search(rf"{URL}/operator/link\S+", _lanjami(appliance, "admin-link"))
    assert found is not None
    return found[0]


@asynccontextmanager
async def _at_the_desk(
    browser: Chromium,
    appliance: Appliance,
    *,
    size: str = "phone",
    scheme: str = "light",
    language: str = "en",
    has_scripts: bool = True,
) -> AsyncIterator[Visitor]:
    """Somebody who signed in by a link."""
    async with browser.visiting(
        _link(appliance), size=size, scheme=scheme, language=language, has_scripts=has_scripts
    ) as visitor:
        await visitor.page.locator("main button").click()
        await visitor.page.locator("#password-title").wait_for()
        yield visitor
        assert visitor.complaints == []


async def _go(visitor: Visitor, tab: str) -> None:
    await visitor.page.locator(".desk nav").get_by_text(tab, exact=True).click()


async def _register(machine: Host, **numbers: int) -> None:

    bodies = {name: body(name, number) for name, number in numbers.items()}
    machine.run(sys.executable, "-c", _REGISTER, json.dumps(bodies))


async def test_the_first_password_is_set_by_link_and_lets_in_from_then_on(
    appliance: Appliance, browser: Chromium
) -> None:
    async with browser.visiting(f"{URL}/") as passer_by:
        await passer_by.page.get_by_text("For whoever looks after this box").click()
        await passer_by.sees("No password has been set yet.")
        assert await passer_by.page.locator("input").count() == 0
        assert "lanjami admin-link" in await passer_by.words()
    async with _at_the_desk(browser, appliance) as visitor:
        page = visitor.page
        for label in ("New password", "New password once more"):
            await page.get_by_label(label, exact=True).fill(PASSWORD)
        await page.get_by_role("button", name="Set the password").click()
        await visitor.sees("The password is set.")
        await page.get_by_role("button", name="Sign out").click()
        await visitor.sees("Password forgotten?")
    async with browser.visiting(f"{URL}/operator", size="desktop") as visitor:
        page = visitor.page
        await page.get_by_label("Password").fill("drei alte Apfelbäume")
        await page.keyboard.press("Enter")
        await visitor.sees("This is not the password.")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
        await visitor.sees("The parts of the box")


async def test_a_name_is_renamed_removed_and_reserved(
    appliance: Appliance, browser: Chromium, visitors_machine: Host
) -> None:
    await _register(visitors_machine, ann=1, anton=2, bob=3)
    async with _at_the_desk(browser, appliance) as visitor:
        page = visitor.page
        await _go(visitor, "Names")
        await visitor.sees("3 names are taken")
        await page.get_by_label("Search").fill("an")
        await page.get_by_role("button", name="Search").click()
        assert await page.get_by_text("bob").count() == 0
        await page.get_by_text("anton").click()
        await visitor.sees("holds: signed by the owner of this ID")
        await page.get_by_label("New name").fill("anna")
        await page.get_by_role("button", name="Rename").click()
        await visitor.sees("anton is now anna.")

        await page.get_by_text("bob").click()
        await page.locator("summary", has_text="Remove this name").click()
        await page.get_by_role("button", name="Remove this name").click()
        await visitor.sees("bob is free.")

        await page.get_by_label("Name", exact=True).fill("mayor")
        await page.get_by_role("button", name="Reserve").click()
        await visitor.sees("mayor is reserved.")
        await page.get_by_label("Name", exact=True).fill("Bürgermeister")
        await page.get_by_role("button", name="Reserve").click()
        await visitor.sees("“Bürgermeister” is no name")
    listed = _lanjami(appliance, "names", "list")
    assert [line.split()[0] for line in listed.splitlines()] == ["ann", "anna"]
    assert _lanjami(appliance, "names", "reserved").split() == ["mayor"]


async def test_a_backup_from_the_page_makes_another_box_this_one(
    appliance: Appliance, browser: Chromium, visitors_machine: Host, tmp_path: Path
) -> None:
    await _register(visitors_machine, ann=1)
    file = tmp_path / "downloaded.zip"
    async with _at_the_desk(browser, appliance) as visitor:
        async with visitor.page.expect_download() as download:
            await visitor.page.get_by_role("button", name="Download a backup").click()
        assert (await download.value).suggested_filename == "lanjami-backup.zip"
        await (await download.value).save_as(file)
    other = tmp_path / "other"
    run(*LANJAMI, "restore", str(file), "--state", str(other), "--config", str(tmp_path / "c"))
    assert "ann" in run(*LANJAMI, "names", "list", "--state", str(other))


async def test_a_part_is_restarted_and_the_log_tells(
    appliance: Appliance, browser: Chromium
) -> None:
    async with _at_the_desk(browser, appliance) as visitor:
        page = visitor.page
        for part in ("Usernames", "Answers to apps"):  # the second gives the page itself
            await _go(visitor, "Parts")
            await page.get_by_role("button", name=f"Restart: {part}").click()
            await visitor.sees(f"Starting again: {part}")
            await visitor.sees("The parts of the box")
            # of the server that was gone the browser says so; nothing else is amiss
            visitor.complaints[:] = [c for c in visitor.complaints if "ERR_" not in c]
        await _go(visitor, "Log")
        await visitor.sees("starting again, as was asked service=names")
        await visitor.sees("starting again, as was asked service=http")
        await page.get_by_text("Only what went wrong").click()
        assert "as was asked" not in await visitor.words()
    assert (await appliance.healthy())["services"]["names"]["failures"] == 0


async def test_the_box_becomes_the_network_of_a_second_interface(
    lab: Lab, box: Host, browser: Chromium, appliance: Appliance
) -> None:
    box.plug(lab.switch("second"), interface="eth1")
    async with _at_the_desk(browser, appliance) as visitor:
        page = visitor.page
        await _go(visitor, "Network")
        card = page.locator("fieldset", has_text="Interface eth1")
        await card.get_by_text("The network itself").click()
        await card.get_by_role("textbox").fill("8.8.8.8/24")
        await page.get_by_role("button", name="Keep these settings").click()
        await visitor.sees("The address of eth1 cannot be used.")
        visitor.complaints.clear()  # of the form that was refused
        card = page.locator("fieldset", has_text="Interface eth1")
        await card.get_by_text("The network itself").click()
        await card.get_by_role("textbox").fill("10.99.0.1/24")
        await page.get_by_role("button", name="Keep these settings").click()
        await visitor.sees("Not yet in effect")
        await page.get_by_role("button", name="Start lanjami again").click()
        await visitor.sees("lanjami starts again")
        await visitor.sees(
            "Password forgotten?" if await _has_password(appliance) else "admin-link"
        )
        visitor.complaints[:] = [c for c in visitor.complaints if "ERR_" not in c]
    status = await appliance.healthy(within_s=60)
    assert "network-eth1" in status["services"]
    assert "10.99.0.1/24" in box.ip("addr", "show", "dev", "eth1")


@pytest.mark.parametrize("size", SIZES)
async def test_a_wifi_is_set_and_then_a_network_beside_it(tmp_path: Path, size: str) -> None:
    """Of a box that the test has, for machines have no radio here; what is kept is what starts."""
    async with served(tmp_path) as stage, started() as browser:
        await stage.passwords.keep(PASSWORD)
        async with browser.visiting(
            f"http://127.0.0.1:{stage.port}/operator", size=size
        ) as visitor:
            page = visitor.page
            await page.get_by_label("Password").fill(PASSWORD)
            await page.get_by_role("button", name="Sign in").click()
            await _go(visitor, "Network")
            await page.get_by_label("Wi-Fi interface").select_option("wlan0")
            await page.get_by_label("Name of the Wi-Fi").fill("Haus 7 \u201ecafé\u201c")
            await page.get_by_label("Passphrase, 8 to 63").fill("kurz")
            await page.get_by_label("Country").fill("de")
            await page.get_by_label("Channel").select_option("6")
            await page.get_by_role("button", name="Keep these settings").click()
            await visitor.sees("The passphrase has 8 to 63 characters without accents.")
            assert await page.get_by_label("Name of the Wi-Fi").input_value() != "", "typed once"
            visitor.complaints.clear()  # of the form that was refused
            await page.get_by_label("Passphrase, 8 to 63").fill("drei alte Baeume")
            await page.get_by_role("button", name="Keep these settings").click()
            await visitor.sees("This is kept, and takes effect when lanjami starts again.")
            assert "drei alte" not in await page.content(), "it is never shown"
            kept = parse("", page=stage.kept)
            assert kept.wifi == Wifi(
                "wlan0", "Haus 7 \u201ecafé\u201c", "drei alte Baeume", "DE", 6
            )
            assert kept.network["wlan0"].address == "10.77.0.1/24"
            await visitor.pictured(tmp_path, f"operator-wifi-{size}")

            card = page.locator("fieldset", has_text="Interface eth0")
            await card.get_by_text("The network itself").click()
            await page.get_by_role("button", name="Keep these settings").click()
            await visitor.sees("This is kept, and takes effect when lanjami starts again.")
            kept = parse("", page=stage.kept)
            assert kept.network["eth0"].address == "10.78.0.1/24"
            assert kept.wifi.passphrase == "drei alte Baeume", "where none is typed it stays"

            await page.get_by_label("Wi-Fi interface").select_option("")
            await page.get_by_role("button", name="Keep these settings").click()
            await visitor.sees("This is kept, and takes effect when lanjami starts again.")
            assert parse("", page=stage.kept).wifi == Wifi()
            assert await visitor.faults() == []
            assert visitor.complaints == []


async def test_a_wifi_that_cannot_be_is_told_and_taken_back(
    lab: Lab, box: Host, browser: Chromium, tmp_path: Path
) -> None:
    """The machine has the interface, but it is no radio: the rest of the box goes on."""
    appliance = Appliance(box)
    appliance.state.mkdir()
    (appliance.state / "page-settings.toml").write_text(_WIFI)
    box.plug(lab.switch("attic"), interface="wlan0")
    appliance.launch()
    async with asyncio.timeout(20):
        while await appliance.status() is None:
            await asyncio.sleep(0.1)
    async with browser.visiting(f"{URL}/", size="desktop") as passer_by:
        await passer_by.sees("The Wi-Fi of the box does not answer.")
    async with _at_the_desk(browser, appliance) as visitor:
        page = visitor.page
        await _go(visitor, "Network")
        assert await page.get_by_label("Wi-Fi interface").input_value() == "wlan0"
        assert await page.get_by_label("Passphrase, 8 to 63").input_value() == ""
        await visitor.pictured(tmp_path, "operator-wifi-cannot-be")
        await page.locator("summary", has_text="Forget what was set on this page").click()
        await page.get_by_role("button", name="Forget what was set on this page").click()
        await visitor.sees("Not yet in effect")
        await page.get_by_role("button", name="Start lanjami again").click()
        await visitor.sees("admin-link")
        visitor.complaints[:] = [c for c in visitor.complaints if "ERR_" not in c]
    status = await appliance.healthy(within_s=60)
    assert "wifi" not in status["services"]


async def _has_password(appliance: Appliance) -> bool:
    return (appliance.state / "operator-password").exists()


async def test_it_is_stopped_on_purpose_only(appliance: Appliance, browser: Chromium) -> None:
    async with _at_the_desk(browser, appliance) as visitor:
        page = visitor.page
        assert "may not shut this machine down" in await visitor.words()
        stop = page.get_by_role("button", name="Stop lanjami")
        assert await stop.is_hidden()
        await page.locator("summary", has_text="Stop lanjami").click()
        await stop.click()
        await visitor.sees("Somebody has to start lanjami, or the machine, again.")
    assert appliance.process.wait(within_s=5) == 0


@pytest.mark.parametrize("size", SIZES)
async def test_the_machine_is_shut_down_where_it_may_be_and_on_purpose_only(
    box: Host, browser: Chromium, tmp_path: Path, size: str
) -> None:
    """lanjami makes a file; what the unit does with it is shown where there is systemd."""
    asked = tmp_path / "power-off"
    appliance = Appliance(box)
    appliance.environment["LANJAMI_POWER_OFF"] = str(asked)
    await appliance.start()
    async with _at_the_desk(browser, appliance, size=size) as visitor:
        page = visitor.page
        assert "may not shut this machine down" not in await visitor.words()
        off = page.get_by_role("button", name="Shut the machine down")
        assert await off.is_hidden()
        await page.locator("summary", has_text="Shut the machine down").click()
        await visitor.pictured(tmp_path, f"operator-power-off-{size}")
        assert not asked.exists()
        await off.click()
        await visitor.sees("The machine shuts down")
        await visitor.sees("Wait until its lamps are out before you unplug it.")
        async with asyncio.timeout(10):
            while not asked.exists():
                await asyncio.sleep(0.05)
        assert await visitor.faults() == []


async def test_all_of_it_works_without_scripts(appliance: Appliance, browser: Chromium) -> None:
    async with _at_the_desk(browser, appliance, has_scripts=False) as visitor:
        await _go(visitor, "Parts")
        await visitor.page.get_by_role("button", name="Restart: Usernames").click()
        await visitor.sees("Starting again: Usernames")
        await visitor.sees("The parts of the box")
        await visitor.page.get_by_text("Deutsch").click()
        await visitor.sees("Die Teile der Box")
        await _go(visitor, "Box")
        await visitor.page.locator("summary", has_text="lanjami anhalten").click()
        await visitor.page.get_by_role("button", name="lanjami anhalten").click()
        await visitor.sees("Jemand muss lanjami oder das Gerät neu starten.")
    assert appliance.process.wait(within_s=5) == 0


async def test_an_update_is_sent_tried_and_kept(
    box: Host, browser: Chromium, tmp_path: Path
) -> None:
    with imaged(tmp_path / "imaged") as machine:
        appliance = await Appliance(box, through=machine.through).start()
        other = tmp_path / "other.tar"
        other.write_bytes(b"no update")
        async with _at_the_desk(browser, appliance) as visitor:
            page = visitor.page
            await _go(visitor, "Update")
            await visitor.sees("No update was brought to it so far.")
            await _judge(visitor, tmp_path, "update")
            await _send(visitor, other)
            await visitor.sees("This file is no update of lanjami.")
            await page.context.set_offline(True)
            await _send(visitor, machine.update())
            await visitor.sees("This goes on by itself.")
            await page.context.set_offline(False)
            await visitor.sees("The update is here. It is checked next.")
            await _judge(visitor, tmp_path, "updating")
            _take_update(box, machine, appliance)
            await visitor.sees("lanjami 9.0.0 is on the card. The box starts with it next.")
            assert machine.asked_of_systemd == ["--no-block reboot"]
            appliance.kill()
            _started_from(machine, "b", tried=True)
            appliance.launch()
            await visitor.sees("admin-link")
            visitor.complaints.clear()  # of the box that was gone, and what it refused
        async with _at_the_desk(browser, appliance) as visitor:
            await _go(visitor, "Update")
            await visitor.sees("lanjami 9.0.0 runs and is being tried.")
            _started_from(machine, "b", tried=False)
            await visitor.sees("The update to lanjami 9.0.0 passed its test and is kept.")
            await visitor.page.get_by_label("The update's file").wait_for()


async def _send(visitor: Visitor, file: Path) -> None:
    await visitor.page.get_by_label("The update's file").set_input_files(file)
    await visitor.page.get_by_role("button", name="Send and install it").click()


def _take_update(box: Host, machine: Imaged, appliance: Appliance) -> None:
    """As lanjami-update.path does."""
    unit = (sys.executable, "-m", "lanjami.cli.box", "update", str(appliance.state / "update.tar"))
    assert box.start(*machine.through, *unit, output="update").wait(within_s=30) == 0


def _started_from(machine: Imaged, slot: Slot, *, tried: bool) -> None:
    """As lanjami-setup.service and the watch tell it."""
    standing = updating.settle_update(Running(slot, tried), kept=machine.kept)
    updating.stand(standing, machine.standing_file)


async def test_a_foreign_page_in_the_operators_browser_does_nothing(
    appliance: Appliance, browser: Chromium, visitors_machine: Host
) -> None:
    await _register(visitors_machine, ann=1)
    visitors_machine.start(sys.executable, "-c", _FOREIGN_PAGE, output="foreign")
    async with _at_the_desk(browser, appliance) as visitor:
        async with asyncio.timeout(20):
            while True:
                try:
                    await visitor.page.goto("http://127.0.0.1:8000/")
                    break
                except Exception:  # noqa: BLE001 - until its server listens
                    await asyncio.sleep(0.1)
        await visitor.sees("This form was not sent from the box's own page")
        await visitor.page.goto(f"{URL}/operator")
        await visitor.sees("The parts of the box")
        visitor.complaints.clear()  # of the refusal
    assert "ann" in _lanjami(appliance, "names", "list")


async def test_axe_finds_nothing_serious(
    appliance: Appliance, browser: Chromium, visitors_machine: Host, tmp_path: Path
) -> None:
    await _register(visitors_machine, ann=1, anton=2)
    for size, scheme in product(SIZES, ("light", "dark")):
        await _judge_all(appliance, browser, tmp_path, size, scheme)


async def _judge_all(
    appliance: Appliance, browser: Chromium, folder: Path, size: str, scheme: str
) -> None:
    language = "de" if scheme == "dark" else "en"
    look = f"{size}-{scheme}"
    async with browser.visiting(
        f"{URL}/operator", size=size, scheme=scheme, language=language
    ) as visitor:
        await _judge(visitor, folder, f"login-{look}")
    async with _at_the_desk(
        browser, appliance, size=size, scheme=scheme, language=language
    ) as visitor:
        await _judge(visitor, folder, f"said-{look}")
        for path in PAGES:
            sign = "&" if "?" in path else "?"
            await visitor.page.goto(f"{URL}/operator{path}{sign}lang={language}")
            await visitor.page.evaluate(
                "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
            )
            name = re.sub(r"\W+", "-", path or "parts").strip("-")
            await _judge(visitor, folder, f"{name}-{look}")


async def _judge(visitor: Visitor, folder: Path, name: str) -> None:
    await visitor.pictured(folder, f"operator-{name}")
    assert not await visitor.is_too_wide(), name
    assert await visitor.faults() == [], name
