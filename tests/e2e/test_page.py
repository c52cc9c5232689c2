"""The status page, in a real browser, as people in an outage use it."""

import asyncio
import itertools
import json
import os
import signal
import sys
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from lanjami.status.history import Tally
from lanjami.status.page import Heard, Present
from lanjami.status.snapshot import Service
from tests.support.appliance import Appliance, opendht_child
from tests.support.chromium import SIZES, Chromium, Visitor, started
from tests.support.lab import Host, run
from tests.support.page_stage import DOWN, UP, Stage, served
from tests.support.registrations import account_id, body

URL = "http://10.77.0.1/"

_ANNOUNCE = """
import msgpack, socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    person = [bytes.fromhex(sys.argv[1]), sys.argv[2].encode().decode("unicode_escape")]
    sock.sendto(msgpack.packb({"jami": person}), ("10.77.0.1", 8888))
"""


_REGISTER = """
import sys, urllib.error, urllib.request as r
request = r.Request("http://10.77.0.1/name/" + sys.argv[1], sys.argv[2].encode(),
    {"Content-Type": "application/json"}, method="POST")
try:
    print(r.urlopen(request).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def _register(machine: Host, name: str, number: int) -> int:
    """The HTTP status that account `number` is answered."""
    told = machine.run(sys.executable, "-c", _REGISTER, name, json.dumps(body(name, number)))
    return int(told)


async def _kill_opendht(appliance: Appliance, visitor: Visitor, *, until: str) -> None:
    """Again whenever it comes back, for it may be back before anybody sees that it was gone."""
    shown = visitor.page.get_by_text(until)
    async with asyncio.timeout(30):
        while not await shown.is_visible():
            with suppress(AssertionError, ProcessLookupError):
                os.kill(opendht_child(appliance.process.pid), signal.SIGKILL)
            await asyncio.sleep(0.1)


async def test_without_the_box_there_is_no_page(browser: Chromium) -> None:
    with pytest.raises(Exception, match="ERR_"):
        async with browser.visiting(URL):
            pass


async def test_a_phone_sees_that_it_works_and_what_to_set(box: Host, browser: Chromium) -> None:
    await Appliance(box).start()
    async with browser.visiting(URL) as visitor:
        page = visitor.page
        await visitor.sees("Jami works here.")
        opened = page.locator("details.device[open]")
        assert (await opened.locator("summary").inner_text()).startswith("Android")
        assert "http://10.77.0.1:80" in await opened.inner_text()
        # plain http: there is no navigator.clipboard, and it is copied nevertheless
        assert not await page.evaluate("!!navigator.clipboard")
        await opened.get_by_role("button", name="Copy http://10.77.0.1:80").click()
        await opened.get_by_role("button", name="Copied").wait_for()
        await page.evaluate(
            "document.body.append(Object.assign(document.createElement('textarea'), {id: 'x'}))"
        )
        await page.focus("#x")
        await page.keyboard.press("Control+V")
        assert await page.input_value("#x") == "http://10.77.0.1:80"
        # other devices are a tap away
        await page.get_by_text("iPhone and iPad").click()
        await visitor.sees("Notifications")
        assert await page.get_by_role("img", name="QR code of this page").count() == 1
        assert visitor.complaints == []


async def test_a_jami_client_is_told_of_the_node_where_a_browser_gets_the_page(
    box: Host, visitors_machine: Host
) -> None:
    await Appliance(box).start()
    ask = "import sys, urllib.request as r; print(r.urlopen(r.Request(*eval(sys.argv[1]))).read())"
    told = visitors_machine.run(sys.executable, "-c", ask, repr((URL, None, {"Accept": "*/*"})))
    assert "node_id" in told
    told = visitors_machine.run(
        sys.executable, "-c", ask, repr((URL, None, {"Accept": "text/html,*/*;q=0.8"}))
    )
    assert "<!doctype html>" in told


async def test_the_page_stays_true_while_a_part_dies_and_comes_back(
    box: Host, browser: Chromium
) -> None:
    appliance = await Appliance(box, 'dht.engines=["opendht"]').start()
    async with browser.visiting(URL) as visitor:
        await visitor.sees("Jami works here.")
        await _kill_opendht(appliance, visitor, until="Jami does not work here right now.")
        await visitor.sees("Jami works here.")
        status = await appliance.status()
        assert status is not None
        assert status["healthy"]
        assert status["services"]["dhtnode"]["failures"] > 0
        assert visitor.complaints == []


async def test_a_meeting_point_that_nobody_gets_an_answer_from_is_not_called_well(
    box: Host, browser: Chromium, tmp_path: Path
) -> None:
    appliance = await Appliance(box, 'dht.engines=["opendht"]').start()
    async with browser.visiting(URL) as visitor:
        await visitor.sees("Jami works here.")
        appliance.cut_off(4222)
        await visitor.sees("Jami may not work here right now.")
        await visitor.page.locator(".checked summary").click()
        await visitor.pictured(tmp_path, "phone-light-en-unsure")
        assert await visitor.faults() == []
        async with asyncio.timeout(60):
            while (dhtnode := await _of_dhtnode(appliance))["proved_s"] < 20:
                assert dhtnode["state"] == "up"
                assert dhtnode["detail"] == "UDP 4222"
                words = await visitor.words()
                assert "Jami works here" not in words
                assert "can write to and call" not in words
                await asyncio.sleep(0.2)
        await visitor.sees("last passed its check 20 s ago", within_s=3)
        box.run("nft", "delete", "table", "inet", "port4222")
        await visitor.sees("Jami works here.")


async def _of_dhtnode(appliance: Appliance) -> dict[str, Any]:
    status = await appliance.status()
    assert status is not None
    dhtnode: dict[str, Any] = status["services"]["dhtnode"]
    return dhtnode


async def test_a_meeting_point_that_hangs_is_seen_and_replaced(
    box: Host, browser: Chromium
) -> None:
    appliance = await Appliance(box, 'dht.engines=["opendht"]').start()
    async with browser.visiting(URL, size="desktop") as visitor:
        await visitor.sees("Jami works here.")
        hung = opendht_child(appliance.process.pid)
        os.kill(hung, signal.SIGSTOP)
        await visitor.page.locator("[data-live=verdict] :not(.good).hero").wait_for(timeout=8_000)
        assert "can write to and call" not in await visitor.words()
        await visitor.sees("Jami works here.")
        assert opendht_child(appliance.process.pid) != hung
        assert (await _of_dhtnode(appliance))["failures"] == 1


FAULTS = {
    "dhtnode": "The first of the meeting points does not answer; where there is a second one, it "
    "carries on.",
    "dhtnode-python": "The second meeting point does not answer. New phones cannot connect until "
    "it is back; computers can.",
    "proxy": "Phones cannot connect right now.",
    "names": "Usernames may not be found or taken right now. Contacts you already have keep "
    "working.",
}


async def _sees_limits(visitor: Visitor, *parts: str) -> None:
    """Wait until the page says that these parts are worse off, and no others."""
    shown = visitor.page.locator("[data-live=verdict] li")
    async with asyncio.timeout(60):
        while set(await shown.all_inner_texts()) != {FAULTS[part] for part in parts}:
            assert "Jami does not work" not in await visitor.words()
            await asyncio.sleep(0.1)
    assert "Jami works here, with limits. People can write to and" in await visitor.words()


async def _worse(appliance: Appliance) -> set[str]:
    status = await appliance.status()
    assert status is not None
    return {name for name, one in status["services"].items() if one["reason"]}


async def test_of_two_meeting_points_one_may_hang(box: Host, browser: Chromium) -> None:
    appliance = await Appliance(box).start()
    async with browser.visiting(URL) as visitor:
        await visitor.sees("Jami works here.")
        os.kill(opendht_child(appliance.process.pid), signal.SIGSTOP)
        await _sees_limits(visitor, "dhtnode")
        await visitor.sees("People on this network can write to and call each other.")
        assert visitor.complaints == []


async def test_the_page_says_when_phones_cannot_come_in(box: Host, browser: Chromium) -> None:
    appliance = await Appliance(box).start()
    async with browser.visiting(URL, size="desktop") as visitor:
        await visitor.sees("Jami works here.")
        appliance.cut_off(4223)
        await _sees_limits(visitor, "dhtnode-python")
        assert await _worse(appliance) == {"dhtnode-python"}
        await _sees_limits(visitor, "dhtnode-python", "proxy")
        assert await _worse(appliance) == {"dhtnode-python", "proxy"}
        box.run("nft", "delete", "table", "inet", "port4223")
        await visitor.sees("People on this network can write to and call each other.", within_s=90)
        assert visitor.complaints == []


async def test_the_page_says_when_names_cannot_be_taken(
    box: Host, browser: Chromium, visitors_machine: Host
) -> None:
    appliance = Appliance(box)
    appliance.state.mkdir()
    folder = str(appliance.state)
    run("mount", "-t", "tmpfs", "-o", "size=6m,mode=0700", "tmpfs", folder)
    try:
        await appliance.start()
        async with browser.visiting(URL) as visitor:
            await visitor.sees("Jami works here.")
            filler = appliance.state / "filler"
            run("dd", "if=/dev/zero", f"of={filler}", "bs=4k", check=False)  # until it is full
            assert _register(visitors_machine, "ann", 1) == 503
            await _sees_limits(visitor, "names")
            assert await _worse(appliance) == {"names"}
            filler.unlink()
            await visitor.sees("People on this network can write to and call each other.")
            assert _register(visitors_machine, "ann", 1) == 200
            assert visitor.complaints == []
    finally:
        appliance.kill()
        run("umount", folder)


async def test_a_box_that_nobody_gets_an_answer_from_says_nothing_that_is_old(
    box: Host, browser: Chromium
) -> None:
    """Its web server is gone for the box itself, too, and is started again."""
    appliance = await Appliance(box).start()
    async with browser.visiting(URL) as visitor:
        await visitor.sees("Jami works here.")
        box.run("nft", "add table inet web")
        box.run("nft", "add chain inet web input { type filter hook input priority 0; }")
        box.run("nft", "add rule inet web input tcp dport 80 drop")
        await visitor.sees("The box does not answer.")
        assert "Jami works here." not in await visitor.words()
        async with asyncio.timeout(30):
            while (status := await appliance.status()) is None or status["healthy"]:
                await asyncio.sleep(0.2)
        assert status["services"]["http"]["state"] != "up"
        box.run("nft", "delete", "table", "inet", "web")
        await visitor.sees("Jami works here.", within_s=60)


async def test_with_two_meeting_points_one_may_die(box: Host, browser: Chromium) -> None:
    appliance = await Appliance(box).start()
    async with browser.visiting(URL) as visitor:
        await visitor.sees("Jami works here.")
        await _kill_opendht(appliance, visitor, until="Jami works here, with limits.")
        await visitor.sees("Jami works here.")


async def test_the_page_says_when_the_box_is_gone_and_goes_on_when_it_is_back(
    box: Host, browser: Chromium
) -> None:
    appliance = await Appliance(box).start()
    async with browser.visiting(URL) as visitor:
        await visitor.sees("Jami works here.")
        appliance.kill()
        await visitor.sees("The box does not answer.")
        assert "Jami works here." not in await visitor.words()
        await appliance.start()
        await visitor.sees("Jami works here.")
        assert "The box does not answer." not in await visitor.words()


async def test_the_line_is_measured_by_one_while_the_next_waits(
    box: Host, browser: Chromium
) -> None:
    await Appliance(box).start()
    async with browser.visiting(URL) as first, browser.visiting(URL, language="de") as second:
        await first.page.get_by_role("button", name="Measure").click()
        await first.page.get_by_role("progressbar").wait_for()
        await second.page.get_by_role("button", name="Messen").click()
        await second.sees("Jemand anderes misst gerade. Sie sind Nummer 2 in der Reihe.")
        for visitor in (first, second):
            await visitor.page.locator(".result table").wait_for(timeout=60_000)
            assert await visitor.page.locator(".result tbody tr").count() == 5
            assert visitor.complaints == []
        assert "Mbit/s" in await first.words(".result")
        assert await first.page.locator(".result td.good").count() >= 3, await first.words()


async def test_a_measurement_can_be_stopped(box: Host, browser: Chromium) -> None:
    await Appliance(box).start()
    async with browser.visiting(URL) as visitor:
        await visitor.page.get_by_role("button", name="Measure").click()
        await visitor.page.get_by_role("button", name="Stop").click()
        await visitor.page.get_by_role("button", name="Measure").wait_for()
        assert await visitor.page.locator("progress").is_hidden()
        assert await visitor.words(".said") == ""
        await visitor.page.get_by_role("button", name="Measure").click()
        await visitor.page.locator("progress[value]:not([value='0'])").wait_for()
        assert "measuring" not in await visitor.words(".said"), "the former turn has ended"


async def test_a_name_from_the_network_is_text_and_nothing_else(
    box: Host, browser: Chromium, visitors_machine: Host
) -> None:
    await Appliance(box).start()
    async with browser.visiting(URL) as visitor:
        await visitor.sees("Who is here")
        hostile = r"<img src=x onerror=alert(1)>\u202eAnn"
        visitors_machine.run(sys.executable, "-c", _ANNOUNCE, "ab" * 20, hostile)
        await visitor.sees("<img src=x onerror=alert(1)>Ann")
        assert await visitor.page.locator("img").count() == 0
        assert visitor.complaints == []


async def test_who_is_here_is_shown_by_the_name_that_is_registered(
    box: Host, browser: Chromium, visitors_machine: Host, tmp_path: Path
) -> None:
    await Appliance(box).start()
    async with browser.visiting(URL) as visitor:
        await visitor.sees("Nobody has taken a username yet.")
        assert _register(visitors_machine, "ann", 1) == 200
        assert _register(visitors_machine, "bob", 2) == 200
        announced = (account_id(1), "Ann Lee")
        visitors_machine.run(sys.executable, "-c", _ANNOUNCE, *announced)
        await visitor.sees("Ann Lee")
        (person,) = await visitor.page.locator(".people li").all_inner_texts()
        assert person == "Ann Lee username ann just arrived"
        assert await visitor.page.locator(".names li").all_inner_texts() == ["ann", "bob"]
        async with asyncio.timeout(40):  # who is silent for longer is gone
            while "for 20 s" not in await visitor.words(".people"):
                visitors_machine.run(sys.executable, "-c", _ANNOUNCE, *announced)
                await asyncio.sleep(1)
        assert await visitor.faults() == []
        await visitor.pictured(tmp_path, "phone-light-en-people")


def _crowded() -> Stage:
    """A page with all that it can have at once: plots, people, a relay, parts of every kind."""
    used = itertools.count(1)
    names = ["Ann Lee", "", "\u6797\u5c0f\u660e " * 9, "\U0001f600" * 48, "&<b>" * 12, "W" * 48]

    def tally() -> Tally:
        minute = next(used)
        return Tally(3 + minute % 7, {"python": minute * minute}, {"discovery": minute * 40})

    parts = dict.fromkeys(("dhtnode", "names", "discovery", "mdns", "http", "page"), UP)
    return Stage(
        services={
            **parts,
            "dhtnode-python": Service("up", "", "overloaded", 0, 25),
            "proxy": DOWN,
            "push": Service("starting", "", "", 0),
            "turn": Service("up", "not served: no coturn", "", 0),
        },
        present=Present(
            heard=[Heard(names[n % 6], "ann" if n % 3 else "", n * 40) for n in range(50)],
            newest=[f"somebody-{n}" for n in range(60)],
            names=5000,
        ),
        tally=tally,
        relay="10.0.0.5",
    )


_DRAWN = """[...document.querySelectorAll(".plot svg")].map((drawing) => {
    const at = drawing.getBoundingClientRect();
    const points = drawing.querySelector(".line").getAttribute("d").split("L").length;
    return [at.width, at.height, points];
})"""


async def _filled(stage: Stage) -> None:
    """Wait until there are three hours of samples, and have no more: its pages change with each."""
    async with asyncio.timeout(60):
        while stage.live._history.course().minutes < 200:  # noqa: SLF001
            await asyncio.sleep(0.05)
    stage.live._sample_every_s = 3600  # noqa: SLF001


@pytest.mark.parametrize("language", ["en", "de"])
async def test_a_page_with_plots_and_many_people_is_one_that_axe_passes(
    tmp_path: Path, language: str
) -> None:
    async with served(_crowded(), sample_every_s=0.01) as stage, started() as browser:
        await _filled(stage)
        for size, scheme in product(SIZES, ("light", "dark")):
            async with browser.visiting(
                f"http://127.0.0.1:{stage.port}/", size=size, scheme=scheme, language=language
            ) as visitor:
                await visitor.page.locator(".plot").nth(2).wait_for()
                await visitor.page.locator(".checked summary").click()
                await visitor.pictured(tmp_path, f"{size}-{scheme}-{language}-crowded")
                for width, height, points in await visitor.page.evaluate(_DRAWN):
                    assert width > 200
                    assert height > 30
                    assert points > 30
                assert not await visitor.is_too_wide()
                assert await visitor.faults() == []
                assert visitor.complaints == []


async def test_the_operator_keeps_people_off_the_page(
    box: Host, browser: Chromium, visitors_machine: Host
) -> None:
    await Appliance(box, "status.people=false").start()
    visitors_machine.run(sys.executable, "-c", _ANNOUNCE, "ab" * 20, "Ann")
    async with browser.visiting(URL) as visitor:
        await visitor.sees("Jami works here.")
        words = await visitor.words()
        assert "Who is here" not in words
        assert "Ann" not in words


async def test_it_works_without_scripts(box: Host, browser: Chromium) -> None:
    await Appliance(box).start()
    async with browser.visiting(URL, has_scripts=False) as visitor:
        await visitor.sees("Jami works here.")
        words = await visitor.words()
        assert "http://10.77.0.1:80" in words
        assert "The measurement needs JavaScript." in words
        assert "Copy" not in words, "a button that does nothing is not shown"
        await visitor.page.get_by_text("Deutsch").click()
        await visitor.sees("Jami funktioniert hier.")


async def test_it_works_by_keyboard_alone(box: Host, browser: Chromium) -> None:
    await Appliance(box).start()
    async with browser.visiting(URL, size="desktop") as visitor:
        await visitor.sees("Jami works here.")
        reached = []
        for _ in range(14):
            await visitor.page.keyboard.press("Tab")
            reached.append(
                await visitor.page.evaluate(
                    "(document.activeElement.getAttribute('aria-label')"
                    " || document.activeElement.innerText).split('\\n')[0].trim()"
                )
            )
        assert reached[:3] == ["Skip to the set-up", "English", "Deutsch"]
        assert "Copy 10.77.0.1:4222" in reached
        assert "Measure" in reached
        await visitor.page.get_by_text("Android", exact=True).focus()
        await visitor.page.locator("summary", has_text="Android").focus()
        await visitor.page.keyboard.press("Enter")
        await visitor.sees("Register Name")


async def test_axe_finds_nothing_serious(box: Host, browser: Chromium, tmp_path: Path) -> None:
    await Appliance(box).start()
    for look in product(SIZES, ("light", "dark"), ("en", "de")):
        await _judge(browser, tmp_path, *look)


async def _judge(browser: Chromium, folder: Path, size: str, scheme: str, language: str) -> None:
    async with browser.visiting(URL, size=size, scheme=scheme, language=language) as visitor:
        await visitor.page.locator(".hero.good").wait_for()
        await visitor.pictured(folder, f"{size}-{scheme}-{language}")
        await visitor.page.locator(".checked summary").click()
        await visitor.page.locator("#measure button").click()
        await visitor.page.locator(".result table").wait_for(timeout=60_000)
        assert not await visitor.is_too_wide()
        assert await visitor.faults() == []
        await visitor.pictured(folder, f"{size}-{scheme}-{language}-all")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious_in_bad_times(
    box: Host, browser: Chromium, tmp_path: Path, scheme: str
) -> None:
    appliance = await Appliance(box, 'dht.engines=["opendht"]').start()
    async with browser.visiting(URL, scheme=scheme) as visitor:
        await _kill_opendht(appliance, visitor, until="Jami does not work here right now.")
        appliance.kill()
        assert await visitor.faults() == []
        await visitor.pictured(tmp_path, f"phone-{scheme}-en-broken")
        await visitor.sees("The box does not answer.")
        assert await visitor.faults() == []
        await visitor.pictured(tmp_path, f"phone-{scheme}-en-lost")
