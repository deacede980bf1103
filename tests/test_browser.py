"""A person at a browser: trusts the authority, logs in, looks at data that changes."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser import SLOW_MS, Browse, status
from tests.site import PROJECT, Site

pytestmark = [pytest.mark.engine, pytest.mark.browser]

SAMPLE = PROJECT / "images" / "conduit" / "sample" / "mesh.json"


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


def test_without_or_with_a_wrong_password_there_is_nothing_to_see(
    watched: Watched, browse: Browse
) -> None:
    for credentials in ((), (watched.job["owner"], "wrong")):
        page = browse(*credentials)
        assert status(page, watched.job["open_url"]) == 401
        assert page.locator("[data-testid=tree]").count() == 0


def test_tree_plots_and_live_update_through_the_gateway(watched: Watched, browse: Browse) -> None:
    page = browse(watched.job["owner"], watched.job["password"])
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    answer = page.goto(watched.job["open_url"])
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


def test_page_notices_when_the_job_stops_and_comes_back(watched: Watched, browse: Browse) -> None:
    page = browse(watched.job["owner"], watched.job["password"])
    page.goto(watched.job["open_url"])
    live = page.locator("[data-testid=live-status]")
    expect(live).to_have_attribute("data-status", "live", timeout=SLOW_MS)
    watched.site.run("stop", watched.job["job_id"])
    expect(live).not_to_have_attribute("data-status", "live", timeout=SLOW_MS)
    watched.site.run("start", watched.job["job_id"])
    expect(live).to_have_attribute("data-status", "live", timeout=SLOW_MS)
