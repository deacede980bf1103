"""A person at a browser: trusts the authority, logs in, looks at data that changes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Error, Page, expect, sync_playwright

from tests.site import PROJECT, Site

pytestmark = [pytest.mark.engine, pytest.mark.browser]

SAMPLE = PROJECT / "images" / "conduit" / "sample" / "mesh.json"
SLOW_MS = 20_000


class Watched:
    """A data file of the user's and the job that shows it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.file = site.state.parent / "mesh.json"
        self.data: dict[str, Any] = json.loads(SAMPLE.read_text())
        self.write()
        self.job = site.run_json(
            "run", "conduit", "--generate-password", "--json", "--", self.file.name
        )

    def write(self) -> None:
        """Replace the file at once, as simulations do that care about their readers."""
        scratch = self.file.with_suffix(".new")
        scratch.write_text(json.dumps(self.data))
        scratch.chmod(0o644)
        scratch.replace(self.file)


@pytest.fixture
def watched(site: Site) -> Watched:
    return Watched(site)


@pytest.fixture
def trusting_home(site: Site) -> Path:
    """Return a home directory whose browser trusts the user's authority and nothing else new."""
    database = site.root / ".pki" / "nssdb"
    database.mkdir(parents=True)
    for command in (
        ["-N", "--empty-password"],
        ["-A", "-t", "C,,", "-n", "jobctl", "-i", site.authority()],
    ):
        subprocess.run(["certutil", "-d", f"sql:{database}", *command], check=True)
    return site.root


@pytest.fixture
def browse(trusting_home: Path, tmp_path: Path) -> Iterator[Any]:
    """Return a function that opens a browser, given the credentials that its user types."""
    with sync_playwright() as playwright:
        opened: list[BrowserContext] = []

        def browse(user: str | None = None, password: str = "") -> Page:
            context = playwright.chromium.launch_persistent_context(
                tmp_path / f"profile{len(opened)}",
                executable_path="/usr/bin/chromium",
                args=["--no-sandbox", "--disable-background-networking"],
                env={**os.environ, "HOME": str(trusting_home)},
                viewport={"width": 1280, "height": 800},
                http_credentials={"username": user, "password": password} if user else None,
            )
            opened.append(context)
            return context.pages[0]

        yield browse
        for context in opened:
            context.close()


def status(page: Page, url: str) -> int:
    """Return the status of the answer; for a 401 Chromium may show a page of its own instead."""
    try:
        answer = page.goto(url)
    except Error as error:
        if "ERR_INVALID_AUTH_CREDENTIALS" not in str(error):
            raise
        return 401
    assert answer is not None
    return answer.status


def test_without_or_with_a_wrong_password_there_is_nothing_to_see(
    watched: Watched, browse: Any
) -> None:
    for credentials in ((), (watched.job["owner"], "wrong")):
        page: Page = browse(*credentials)
        assert status(page, watched.job["url"]) == 401
        assert page.locator("[data-testid=tree]").count() == 0


def test_tree_plots_and_live_update_through_the_gateway(watched: Watched, browse: Any) -> None:
    page: Page = browse(watched.job["owner"], watched.job["password"])
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    answer = page.goto(watched.job["url"])
    assert answer is not None
    assert answer.status == 200
    assert page.evaluate("window.isSecureContext")

    live = page.locator("[data-testid=live-status]")
    expect(live).to_have_attribute("data-status", "live", timeout=SLOW_MS)
    tree = page.locator("[data-testid=tree]")
    expect(tree.get_by_role("treeitem").first).to_be_visible()
    mesh = page.locator("[data-testid=mesh-plot]")
    expect(mesh.locator(".heatmaplayer image")).to_be_visible(timeout=SLOW_MS)
    if target := os.environ.get("JOBCTL_SCREENSHOT"):
        page.screenshot(path=target)

    page.locator("[data-testid=filter]").fill("energy")
    tree.get_by_role("treeitem").filter(has_text="energy").last.click()
    plot = page.locator("[data-testid=plot]")
    expect(plot.locator(".scatterlayer path").first).to_be_visible(timeout=SLOW_MS)

    page.locator("[data-testid=filter]").fill("cycle")
    tree.get_by_role("treeitem").filter(has_text="cycle").last.click()
    value = page.locator("[data-testid=value]")
    expect(value).to_have_text("1200")
    version = int(page.locator("body").get_attribute("data-version") or "0")
    watched.data["state"]["cycle"] = 1201
    watched.write()
    expect(value).to_have_text("1201", timeout=SLOW_MS)
    assert int(page.locator("body").get_attribute("data-version") or "0") > version
    assert problems == []


def test_page_notices_when_the_job_stops_and_comes_back(watched: Watched, browse: Any) -> None:
    page: Page = browse(watched.job["owner"], watched.job["password"])
    page.goto(watched.job["url"])
    live = page.locator("[data-testid=live-status]")
    expect(live).to_have_attribute("data-status", "live", timeout=SLOW_MS)
    watched.site.run("stop", watched.job["job_id"])
    expect(live).not_to_have_attribute("data-status", "live", timeout=SLOW_MS)
    watched.site.run("start", watched.job["job_id"])
    expect(live).to_have_attribute("data-status", "live", timeout=SLOW_MS)
