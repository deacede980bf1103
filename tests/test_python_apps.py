"""TensorBoard and marimo: a section each, no Python, no password of their own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser import SLOW_MS, Browse, status
from tests.site import Site

pytestmark = [pytest.mark.engine, pytest.mark.browser]

WRITE_EVENTS = """
import sys
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
writer = EventFileWriter(sys.argv[1])
for step in range(20):
    value = Summary.Value(tag="loss/energy", simple_value=1 / (1 + step))
    writer.add_event(Event(wall_time=1.7e9 + step, step=step, summary=Summary(value=[value])))
writer.close()
"""
NOTEBOOK = """
import marimo
app = marimo.App()


@app.cell
def _():
    import marimo as mo
    import os
    mo.md(f"sum **{6 * 7}** for {os.getuid()}")
    return


if __name__ == "__main__":
    app.run()
"""


def launched(site: Site, *arguments: str) -> dict[str, Any]:
    job: dict[str, Any] = site.run_json(
        "run", arguments[0], "--generate-password", "--json", *arguments[1:]
    )
    return job


def write_events(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o777)
    command = ["docker", "run", "--rm", "-i", "-v", f"{directory}:/events", "jobctl/tensorboard"]
    script = ["python3", "-", "/events"]
    subprocess.run([*command, *script], input=WRITE_EVENTS, text=True, check=True)


@pytest.mark.parametrize("app", ["tensorboard", "marimo"])
def test_nobody_gets_in_without_the_password(site: Site, browse: Browse, app: str) -> None:
    job = launched(site, app)
    base = ["curl", "-sS", "-o/dev/null", "-w%{http_code}", "--cacert", site.authority()]
    wrong = ["--digest", "--user", f"{job['owner']}:wrong"]
    upgrade = ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket"]
    for path in ("", "data/environment", "ws?session_id=1", "api/kernel/run", "nowhere"):
        for options in ([], wrong, upgrade):
            command = [*base, *options, job["url"] + path]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            assert done.stdout == "401", (path, options)

    assert status(browse(), job["open_url"]) == 401
    assert status(browse(job["owner"], "wrong"), job["open_url"]) == 401


def test_tensorboard_shows_the_user_s_events(site: Site, browse: Browse) -> None:
    write_events(site.state.parent / "runs")
    job = launched(site, "tensorboard", "--", "runs")
    page = browse(job["owner"], job["password"])

    assert status(page, job["open_url"] + "#timeseries") == 200

    expect(page.get_by_text("loss/energy").first).to_be_visible(timeout=SLOW_MS)
    if target := os.environ.get("JOBCTL_SCREENSHOT_TENSORBOARD"):
        page.screenshot(path=target)


def test_marimo_runs_the_user_s_notebook(site: Site, browse: Browse) -> None:
    notebook = site.state.parent / "sum.py"
    notebook.write_text(NOTEBOOK)
    notebook.chmod(0o666)
    job = launched(site, "marimo")
    page = browse(job["owner"], job["password"])
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))

    assert status(page, job["open_url"] + "?file=sum.py") == 200

    cell = page.locator(".cm-content").first
    expect(cell).to_contain_text("import marimo as mo", timeout=SLOW_MS)
    cell.click()
    page.keyboard.press("Control+Enter")
    expect(page.locator(".output").get_by_text("sum 42 for")).to_be_visible(timeout=SLOW_MS)
    if target := os.environ.get("JOBCTL_SCREENSHOT_MARIMO"):
        page.screenshot(path=target)
    assert any(url.startswith("wss://") for url in sockets)
