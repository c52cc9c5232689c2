"""Debian's Chromium on a host of the lab, driven by Playwright, and axe-core to judge pages.

Playwright's package has no browser of its own here, and axe-core comes with the package
axe-playwright-python; nothing is fetched while the tests run.
"""

import importlib.resources
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from tests.support.lab import Host

PROGRAM = "/usr/bin/chromium"
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZES = {"phone": (390, 844), "desktop": (1280, 800)}
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
ANDROID = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/140 Mobile"


@dataclass(slots=True)
class Visitor:
    """A person with the page open; `complaints` are what the browser said against it."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    async def words(self, selector: str = "body") -> str:
        return " ".join((await self.page.inner_text(selector)).split())

    async def sees(self, text: str, *, within_s: float = 30.0) -> None:
        await self.page.get_by_text(text).first.wait_for(timeout=1000 * within_s)

    async def pictured(self, folder: Path, name: str) -> None:
        """Keep a picture of the whole page, also in the folder that LANJAMI_SCREENSHOTS names, for
        people to look at."""
        picture = folder / f"{name}.png"
        await self.page.screenshot(path=picture, full_page=True)
        if kept := os.environ.get("LANJAMI_SCREENSHOTS"):
            Path(kept).mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, kept)

    async def is_too_wide(self) -> bool:
        """Whether something is wider than the screen."""
        wide: bool = await self.page.evaluate(
            "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        )
        return wide

    async def faults(self) -> list[str]:
        """What axe-core finds serious or critical."""
        script = importlib.resources.files("axe_playwright_python") / "axe.min.js"
        await self.page.evaluate(script.read_text("utf-8"))  # evaluated apart from the page's CSP
        found: dict[str, Any] = await self.page.evaluate("axe.run()")
        return [
            f"{fault['id']}: {fault['help']} {[node['target'] for node in fault['nodes']]}"
            for fault in found["violations"]
            if fault["impact"] in ("serious", "critical")
        ]


@dataclass(slots=True)
class Chromium:
    browser: Browser

    @asynccontextmanager
    async def visiting(
        self,
        url: str,
        *,
        size: str = "phone",
        scheme: str = "light",
        language: str = "en",
        has_scripts: bool = True,
        agent: str | None = None,
    ) -> AsyncIterator[Visitor]:
        """The page at `url`, as somebody with such a device sees it."""
        width, height = SIZES[size]
        context = await self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            locale=language,
            user_agent=agent or (ANDROID if size == "phone" else None),
            java_script_enabled=has_scripts,
        )
        visitor = Visitor(await context.new_page())
        visitor.page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
        visitor.page.on(
            "console",
            lambda said: visitor.complaints.append(said.text) if said.type == "error" else None,
        )
        await visitor.page.goto(url)
        try:
            yield visitor
        finally:
            await context.close()


@asynccontextmanager
async def chromium(host: Host) -> AsyncIterator[Chromium]:
    """A browser that runs on `host`."""
    starter = host.lab.folder / f"{host.name}-chromium"
    starter.write_text(f'#!/bin/sh\nexec ip netns exec {host.namespace} {PROGRAM} "$@"\n')
    starter.chmod(0o755)
    async with started(str(starter)) as browser:
        yield browser


@asynccontextmanager
async def started(program: str = PROGRAM) -> AsyncIterator[Chromium]:
    """A browser that runs on this machine."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        try:
            yield Chromium(browser)
        finally:
            await browser.close()
