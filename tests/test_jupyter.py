"""JupyterLab as its users meet it: their files, their login, a kernel that answers."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import SLOW_MS, Browse, browsing
from tests.site import Site

pytestmark = [pytest.mark.engine, pytest.mark.browser]

CELL = "import os\nprint('sum', 6 * 7, os.getuid())"
NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "a",
            "metadata": {},
            "outputs": [],
            "source": CELL,
        }
    ],
    "metadata": {"kernelspec": {"display_name": "Python 3", "name": "python3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def log_in(page: Page, url: str, password: str) -> None:
    page.goto(url)
    page.locator("input[type=password]").fill(password)
    page.locator("button[type=submit]").click()


def dismiss(dialog: Locator) -> None:
    """Close a dialogue as a user would, such as the one about a connection that was lost."""
    print(dialog.inner_text())
    dialog.page.keyboard.press("Escape")


def run_first_cell(page: Page) -> None:
    page.add_locator_handler(page.locator("dialog.jp-Dialog"), dismiss)
    cell = page.locator(".jp-CodeCell").first
    expect(cell).to_be_visible(timeout=SLOW_MS)
    # Until the kernel has said hello, a run would have to wait for it.
    expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")).to_be_visible(
        timeout=SLOW_MS
    )
    output = page.locator(".jp-OutputArea-output").first
    for _ in range(3):  # while the page is being laid out, a click may miss the cell
        cell.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        with suppress(AssertionError):
            expect(output).to_be_visible(timeout=SLOW_MS / 2)
            return


def test_a_user_s_notebook_runs_and_survives_the_container(users_site: Site) -> None:
    site, directory = users_site, users_site.state.parent
    file = directory / "sum.ipynb"
    file.write_text(json.dumps(NOTEBOOK))
    os.chown(file, site.account.pw_uid, site.account.pw_gid)
    job = site.run_json("run", "jupyter", "--generate-password", "--json")
    sockets: list[str] = []

    with browsing(site) as browse:
        page = browse()
        page.on("websocket", lambda socket: sockets.append(socket.url))
        log_in(page, job["open_url"] + "lab/tree/sum.ipynb", job["password"])
        run_first_cell(page)
        output = page.locator(".jp-OutputArea-output").first
        expect(output).to_contain_text(f"sum 42 {site.account.pw_uid}", timeout=SLOW_MS)
        page.keyboard.press("Control+s")
        expect(page.locator(".jp-mod-dirty")).to_have_count(0, timeout=SLOW_MS)
        if target := os.environ.get("JOBCTL_SCREENSHOT_JUPYTER"):
            page.screenshot(path=target)

    assert any(url.startswith("wss://") and "/api/kernels/" in url for url in sockets)
    site.run("rm", "--force", job["job_id"])
    site.assert_nothing_left()
    assert f"sum 42 {site.account.pw_uid}" in file.read_text()
    assert {path.stat().st_uid for path in directory.rglob("*")} == {site.account.pw_uid}


def test_a_wrong_password_lets_nobody_in(site: Site, browse: Browse) -> None:
    job = site.run_json("run", "jupyter", "--generate-password", "--json")
    page = browse()

    log_in(page, job["open_url"], "wrong")

    expect(page.get_by_text("Invalid credentials")).to_be_visible()
    assert page.locator(".jp-LabShell").count() == 0


def curl(site: Site, url: str, *options: str) -> str:
    command = ["curl", "-sS", "-o/dev/null", "-w%{http_code}", "--cacert", site.authority()]
    return subprocess.run(
        [*command, *options, url], capture_output=True, text=True, check=True
    ).stdout


def test_neither_token_nor_kernel_is_to_be_had_without_the_password(site: Site) -> None:
    job = site.run_json("run", "jupyter", "--generate-password", "--json")

    for path in ("api/status", "api/kernels", "api/contents", "api/terminals", "api/me"):
        assert curl(site, job["url"] + path) == "403", path
        assert curl(site, f"{job['url']}{path}?token=") == "403", path
        assert curl(site, job["url"] + path, "-H", "Authorization: token ") == "403", path
    for path in ("lab", "files/a", ""):
        assert curl(site, job["url"] + path) == "302", path
    upgrade = ("-H", "Connection: Upgrade", "-H", "Upgrade: websocket")
    assert curl(site, f"{job['url']}api/events/subscribe", *upgrade) == "403"


def test_it_starts_again_with_the_same_password(site: Site, browse: Browse) -> None:
    job = site.run_json("run", "jupyter", "--generate-password", "--json")
    site.run("stop", job["job_id"])
    assert site.run_json("inspect", job["job_id"], "--json")["exit_code"] == 0
    site.run("start", job["job_id"])

    page = browse()
    log_in(page, job["open_url"], job["password"])

    expect(page.locator(".jp-LabShell")).to_be_visible(timeout=SLOW_MS)


def test_the_hash_that_jupyter_made_itself_is_taken(site: Site) -> None:
    script = "from jupyter_server.auth import passwd; print(passwd('correct horse'))"
    command = ["docker", "run", "--rm", "jobctl/jupyter", "python3", "-c", script]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    job: dict[str, Any] = json.loads(
        site.run("broker", "-r", "-a", "jupyter", "-p", "-", stdin=made).stdout
    )
    site.run("start", job["job_id"])

    assert job["password_hash"] == made.strip()


def test_the_password_is_where_it_belongs(site: Site) -> None:
    job = site.run_json("run", "jupyter", "--generate-password", "--json")
    config = Path(job["config"])

    assert config.stat().st_mode & 0o777 == 0o600
    assert "argon2:$argon2id$" in config.read_text()
    shown = subprocess.run(
        ["docker", "inspect", *job["container_ids"]], capture_output=True, text=True, check=True
    ).stdout
    logs = site.run("logs", job["job_id"])
    for text in (shown, logs.stdout, logs.stderr):
        assert "argon2id" not in text
        assert job["password"] not in text


@pytest.mark.skipif(os.getuid() != 0, reason="the engine or the kernel of this host offers no root")
def test_root_s_jobs_find_their_files_below_root_s_home(site: Site) -> None:
    """It is closed to others in most images, and the app is another user."""
    with tempfile.TemporaryDirectory(dir=Path("~root").expanduser()) as state:
        below = copy(site)
        below.directory = Path(state, "jobctl", "root")
        below.env = site.env | {"XDG_STATE_HOME": state}
        try:
            job = below.run_json("run", "jupyter", "--generate-password", "--json")
            assert job["status"] == "launched"
        finally:
            below.clear()
