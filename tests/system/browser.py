"""
A headless Chromium that looks at Airflow's pages, and complains about what nobody should have to see.

Taken is Playwright's own Chromium, else the system's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Request, Response, sync_playwright

from airflow_lean_provider import ui

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
AXE = Path(ui.__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
SYSTEM_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

Scheme = Literal["light", "dark"]


def missing(what: str) -> None:
    """Fail in CI, where everything was installed; elsewhere skip the tests, and say why."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(what)
    pytest.skip(what)


def _executable(playwright: Playwright) -> str:
    own = playwright.chromium.executable_path
    found = own if Path(own).exists() else next(filter(None, map(shutil.which, SYSTEM_BROWSERS)), None)
    if found is None:
        missing("no Chromium: `playwright install --with-deps chromium`, or install your system's")
    return str(found)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser until the block is left."""
    with sync_playwright() as playwright:
        # Its sandbox does not work for root, nor in most containers.
        browser = playwright.chromium.launch(executable_path=_executable(playwright), args=["--no-sandbox"])
        yield browser
        browser.close()


class Visitor:
    """
    Somebody who looks at the pages.

    :param browser: as from :func:`chromium`
    :param url: where Airflow is, with its sub-path
    :param token: who they are
    """

    def __init__(
        self, browser: Browser, url: str, token: str, scheme: Scheme = "light", width: int = 1280
    ) -> None:
        self.url = url
        self.scheme = scheme
        self.context: BrowserContext = browser.new_context(
            viewport={"width": width, "height": 1000}, color_scheme=scheme
        )
        self.context.add_init_script(f"localStorage.setItem('theme', '{scheme}')")
        self.context.add_cookies([{"name": "_token", "value": token, "url": url}])
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.complaints.append(f"error on the page: {error}"))
        self.page.on("request", self._look_where_it_goes)
        self.page.on("response", self._look_at)
        self.page.set_default_timeout(60_000)

    def _look_where_it_goes(self, request: Request) -> None:
        host = urlsplit(request.url)
        if host.scheme in ("http", "https") and host.netloc != urlsplit(self.url).netloc:
            self.foreign.append(request.url)

    def _look_at(self, response: Response) -> None:
        if "/andon/" in response.url and response.status >= 400:
            self.complaints.append(f"{response.status} {response.request.method} {response.url}")

    def go(self, path: str) -> Page:
        """Open a page of Airflow and wait until ours is on it."""
        self.page.goto(self.url + path)
        self.page.locator(".andon").first.wait_for()
        self.page.locator(".andon [aria-busy=true]").first.wait_for(state="detached")
        return self.page

    def shoot(self, name: str) -> None:
        """Keep a picture of what is seen."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}-{self.scheme}.png", animations="disabled")

    def findings(self) -> list[str]:
        """Return what axe finds serious or critical in what is ours on the page."""
        if not AXE.exists():
            missing("no axe-core: `make ui` installs it")
        self.page.add_script_tag(path=AXE)
        found: list[dict[str, Any]] = self.page.evaluate(
            """async () => {
                const ours = [".andon", "[role=dialog]"].filter((s) => document.querySelector(s));
                const { violations } = await axe.run({ include: ours });
                return violations;
            }"""
        )
        return [
            f"{self.page.url} {v['id']}: {v['help']}: {[n['html'][:200] for n in v['nodes'][:3]]}"
            for v in found
            if v["impact"] in ("serious", "critical")
        ]

    def judge(self, name: str) -> None:
        """Take a picture, and fail if anything is wrong with what is seen."""
        self.shoot(name)
        wrong = [*self.findings(), *self.complaints, *(f"from elsewhere: {url}" for url in self.foreign)]
        assert not wrong, "\n".join([name, *wrong])

    def leave(self) -> None:
        """Close the window."""
        self.context.close()
