"""What listings show: tables that fit, colours and links where they belong, what jobs use."""

from __future__ import annotations

import re
import ssl
import urllib.request

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobctl import hosts
from jobctl.cli import listings, watching
from jobctl.cli.screen import Screen
from jobctl.cli.tables import Column, draw, fit, shorten, width_of
from jobctl.job import Job
from tests.bad_input import COLOUR, FORGED_ROW, RAW, TURNED, WINDOW_TITLE, a_job, text
from tests.site import Site
from tests.terminal import Terminal
from tests.test_cli import python_app

HARD = """
import threading
def burn():
    while True: pass
threading.Thread(target=burn, daemon=True).start()
"""
BYTES = 5_000_000
SERVES = f"""
import http.server
class Serve(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(bytes({BYTES}))
http.server.HTTPServer(("127.0.0.1", 9001), Serve).serve_forever()
"""
# How jobctl itself dresses text: one of the basic colours, or a link, and their ends.
DRESS = re.compile(r"\x1b\[(?:3[0-7]|0)m|\x1b\]8;;(?:https?://[!-~]+)?\x1b\\")


def shown(job: Job, **screen: object) -> str:
    """Return the table of one job, with its owner, on a screen."""
    listing = listings.jobs(owners=True)
    columns = [column for column in listing.columns if not column.wide]
    return draw(columns, [job], Screen(**screen))  # type: ignore[arg-type]


# What fits


@given(value=text, width=st.integers(1, 120))
@example(value=COLOUR, width=60)
@example(value=FORGED_ROW, width=60)
@example(value=TURNED + WINDOW_TITLE, width=60)
@example(value="https://a/\x1b\\", width=80)
@example(value="[bold]x[/bold] [link=https://evil.example]y[/link]", width=80)
@example(value="漢字" * 30, width=60)
def test_nothing_of_a_job_gets_out_of_its_cell(value: str, width: int) -> None:
    job = a_job(app=value, owner=value, url=value, open_url=value, reason=value)

    table = shown(job, width=width, colours=True, links=True)

    bare = DRESS.sub("", table)
    assert len(table.split("\n")) == 2
    assert not RAW.search(bare.replace("\n", ""))
    assert table.count("\x1b]8;;") % 2 == 0
    fixed = shown(job, width=1).split("\n")
    for line, least in zip(bare.split("\n"), fixed, strict=True):
        assert width_of(line) <= max(width, width_of(least))
    assert job.job_id in bare


def test_markup_is_text() -> None:
    app = "[bold]x[/bold]"

    assert app in shown(a_job(app=app), width=200, colours=True, links=True)


def test_the_least_important_goes_first() -> None:
    job = a_job(app="demonstration", host=hosts.name(), status="exited", exit_code=7)
    heads = {width: shown(job, width=width).split("\n")[0].split() for width in range(20, 100)}

    assert heads[99] == ["JOB", "OWNER", "APP", "STATUS", "AGE", "URL"]
    assert heads[60] == ["JOB", "OWNER", "APP", "STATUS", "URL"]
    assert heads[45] == ["JOB", "OWNER", "APP", "STATUS"]
    assert heads[33] == ["JOB", "OWNER", "STATUS"]
    assert heads[20] == ["JOB", "STATUS"]
    assert all("exited (7)" in shown(job, width=width) for width in heads)
    counts = [len(heads[width]) for width in sorted(heads)]
    assert counts == sorted(counts)


@pytest.mark.parametrize(
    ("room", "expected"),
    [(30, [10, 10, 6]), (28, [10, 10, 4]), (26, [10, 8, 4]), (23, [10, 10, 0]), (5, [10, 0, 0])],
)
def test_columns_are_cut_and_then_left_out(room: int, expected: list[int]) -> None:
    columns = [
        Column[str](head="A", text=str),
        Column[str](head="B", text=str, spare=1, least=8),
        Column[str](head="C", text=str, spare=2, least=4),
    ]

    assert fit(columns, [10, 10, 6], room) == expected


@pytest.mark.parametrize(
    ("value", "width", "cut"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("漢字漢", 5, "漢字…"), ("漢字漢", 4, "漢…")],
)
def test_text_is_cut_at_its_width_on_a_terminal(value: str, width: int, cut: str) -> None:
    assert shorten(value, width) == cut


def test_without_a_terminal_nothing_is_cut() -> None:
    url = f"https://{'x' * 200}.example:8000/"

    assert url in shown(a_job(url=url))


def test_what_is_drawn_anew_fits_the_height() -> None:
    rows = "\n".join(f"row {number}" for number in range(50))

    frame = watching.frame(rows, lines=10)

    assert frame.count("\n") == 9
    assert "row 7" in frame
    assert "… and 42 more" in frame


# On a terminal


@pytest.fixture(scope="module")
def jobs(shared_site: Site) -> Site:
    """Return a place with a job that works hard, one that serves a lot, and one that has ended."""
    site = shared_site
    python_app(site, "busy", app_port=9001, require_password=False)
    site.run("run", "busy", "--cpus", "0.4", "--", "-c", HARD + SERVES)
    site.run("run", "busy", "--", "-c", SERVES)
    stopped = site.run_json("run", "conduit", "--generate-password", "--json")
    site.run("stop", stopped["job_id"])
    return site


@pytest.mark.engine
@pytest.mark.parametrize("columns", [60, 200])
def test_tables_fit_the_terminal(jobs: Site, columns: int) -> None:
    for command in (["ps", "--all"], ["images", "ls"]):
        terminal = Terminal(jobs, *command, columns=columns)
        assert terminal.end() == 0
        piped = jobs.run(*command).stdout.rstrip().splitlines()
        # A line that were too long would take two.
        assert len(terminal.text.splitlines()) == len(piped)
        assert [line.split()[0] for line in terminal.text.splitlines()] == [
            line.split()[0] for line in piped
        ]


@pytest.mark.engine
def test_what_has_a_meaning_has_a_colour_and_what_has_a_url_opens_it(jobs: Site) -> None:
    terminal = Terminal(jobs, "ps", "--all", columns=200)

    assert terminal.end() == 0
    raw = terminal.raw.decode()
    assert raw.count("\x1b[32mlaunched\x1b[0m") == 2
    assert "  stopped" in raw
    for job in jobs.run_json("ps", "--all", "--json"):
        url = job["open_url"]
        assert f"\x1b]8;;{url}\x1b\\{url}\x1b]8;;\x1b\\" in raw
    assert not RAW.search(DRESS.sub("", raw).replace("\r\n", ""))


@pytest.mark.engine
def test_colours_can_be_had_not(jobs: Site) -> None:
    terminals = [
        Terminal(jobs, "ps", NO_COLOR="1"),
        Terminal(jobs, "--no-color", "ps"),
        Terminal(jobs, "ps", term="dumb"),
    ]

    for terminal in terminals:
        assert terminal.end() == 0
        assert b"launched" in terminal.raw
        assert b"\x1b[" not in terminal.raw
    assert b"\x1b" not in terminals[-1].raw
    coloured = Terminal(jobs, "ps", NO_COLOR="")
    assert coloured.end() == 0
    assert b"\x1b[32m" in coloured.raw


@pytest.mark.engine
def test_a_file_gets_all_and_nothing_but_text(jobs: Site) -> None:
    for command in (["ps", "-a"], ["config", "show"]):
        jobs.env["COLUMNS"] = "20"
        shown = jobs.run(*command).stdout
        del jobs.env["COLUMNS"]
        assert "\x1b" not in shown
        assert "…" not in shown
        assert len(shown.splitlines()[0].split()) >= 3


@pytest.mark.engine
def test_wide_shows_more_and_all_of_it(jobs: Site) -> None:
    terminal = Terminal(jobs, "ps", "-o", "wide", columns=60)

    assert terminal.end() == 0
    first = terminal.raw.decode().splitlines()[0].split()
    assert {"OWNER", "IMAGE", "BIND", "RESTARTS"} <= set(first)
    assert b"\xe2\x80\xa6" not in terminal.raw


# What jobs use


@pytest.mark.engine
def test_top_tells_who_works_hard_and_who_serves_a_lot(jobs: Site) -> None:
    hard, serving = jobs.run_json("ps", "--json")
    before = {one["job_id"]: one for one in jobs.run_json("top", "--json")}
    context = ssl.create_default_context(cafile=jobs.authority())
    with urllib.request.urlopen(serving["url"], context=context) as answer:
        assert len(answer.read()) == BYTES

    after = {one["job_id"]: one for one in jobs.run_json("top", "--json")}

    assert set(before) == {hard["job_id"], serving["job_id"]}, "stopped ones use nothing"
    assert after[hard["job_id"]]["cpu_percent"] > 10 * after[serving["job_id"]]["cpu_percent"]
    assert after[hard["job_id"]]["cpu_percent"] > 15
    sent = {one: after[one]["sent_bytes"] - before[one]["sent_bytes"] for one in after}
    assert BYTES <= sent[serving["job_id"]] < 2 * BYTES
    assert sent[hard["job_id"]] < 1_000_000
    assert all(one["memory_bytes"] > 5_000_000 for one in after.values())
    table = jobs.run("top").stdout.splitlines()
    assert table[0].split() == ["JOB", "APP", "CPU", "MEMORY", "RECEIVED", "SENT"]
    assert [line.split()[0] for line in table[1:]] == [hard["job_id"], serving["job_id"]]


# Watching


@pytest.mark.engine
def test_watching_shows_a_job_appear_and_end(site: Site) -> None:
    terminal = Terminal(site, "ps", "--watch", columns=60)
    terminal.see(r"^JOB  APP  STATUS  AGE  URL$")

    job = site.run_json("run", "conduit", "--generate-password", "--json")
    terminal.see(rf"(?m)^{job['job_id']}  conduit  launched  \d+ seconds?")
    site.run("stop", job["job_id"])
    terminal.see_no_more(job["job_id"])

    terminal.process.sendintr()
    assert terminal.end() == 0
    assert terminal.text.splitlines()[0] == "JOB  APP  STATUS  AGE  URL"
    assert not terminal.screen.cursor.hidden
    assert b"\x1b[?" not in terminal.raw
