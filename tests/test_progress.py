"""What people see while jobctl works: lines that are gone when it is done, or a log of it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from jobctl.cli.progress import Progress, duration
from jobctl.progress import Step
from tests.site import Site
from tests.terminal import Terminal
from tests.test_cli import python_app

pytestmark = pytest.mark.engine

LATE = """
import http.server, time
time.sleep({seconds})
http.server.test(http.server.SimpleHTTPRequestHandler, port=9001, bind="127.0.0.1")
"""
HELD = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def late(site: Site, seconds: float) -> list[str]:
    """Have an app that takes a while until it listens, and return what launches it."""
    python_app(site, "late", app_port=9001)
    return ["run", "late", "--generate-password", "--", "-c", LATE.format(seconds=seconds)]


def recipe(site: Site, *commands: str) -> None:
    """Have an app whose image is to be built by some commands."""
    directory = site.root / "images" / "built"
    directory.mkdir(parents=True)
    lines = ["FROM jobctl/base", *(f"RUN {command}" for command in commands)]
    (directory / "Dockerfile").write_text("\n".join(lines) + "\n")
    site.configure("built", server_path="/usr/bin/python3")


def clean(terminal: Terminal) -> bool:
    """Tell whether a terminal is as its next user wants it."""
    return not terminal.screen.cursor.hidden and terminal.raw.count(b"\x1b[?") == 0


def test_a_launch_says_what_it_is_at_and_leaves_nothing_of_that(site: Site) -> None:
    terminal = Terminal(site, *late(site, 3))

    terminal.see(r"(?m)^. launching late\n  (claiming port|starting)")
    terminal.see(r"\n  verifying")
    shown = terminal.see(r"\n    waiting for late: nothing listens yet$")
    assert shown.count("\n") == 2, "each takes the place of the one before"
    terminal.see(r"^. launching late  \d s\n  verifying  \d s\n")

    assert terminal.end() == 0
    first, *_ = terminal.text.splitlines()
    assert first.endswith("is running late, verified")
    assert not any(word in terminal.text for word in ("launching", "verifying", "waiting"))
    assert clean(terminal)


def test_many_launches_are_a_bar(site: Site) -> None:
    many = [*late(site, 1)[:3], "--count", "2", "--parallel", "1", *late(site, 1)[3:]]
    terminal = Terminal(site, *many)

    terminal.see(r"^. launching late  \[\.{20}\] 0 of 2 jobs")
    terminal.see(r"\n  number 1: verifying")
    terminal.see(r"^. launching late  \[#{10}\.{10}\] 1 of 2 jobs.*\n  number 2: ")

    assert terminal.end() == 0
    head, *rows = terminal.text.splitlines()
    assert head.split() == ["NUMBER", "JOB", "USER", "PASSWORD"], "what there is room for"
    assert [row.split()[0] for row in rows] == ["1", "2"]
    assert clean(terminal)


def test_without_a_terminal_it_is_a_log(site: Site) -> None:
    done = site.run(*late(site, 2.5))

    certificate, claim, *others = done.stderr.splitlines()
    assert certificate == "making the certificate"
    assert claim.startswith("claiming port ")
    assert others == ["starting", "verifying", "waiting for late: nothing listens yet"]


def test_a_terminal_that_can_do_nothing_gets_a_log_too(site: Site) -> None:
    terminal = Terminal(site, *late(site, 0), term="dumb")

    assert terminal.end() == 0
    assert terminal.text.startswith("making the certificate\nclaiming port ")
    assert b"\x1b" not in terminal.raw


@pytest.mark.parametrize("at_a_terminal", [False, True])
def test_quiet_says_nothing_until_it_is_done(site: Site, at_a_terminal: bool) -> None:
    command = ["--quiet", *late(site, 0.5)]
    if at_a_terminal:
        terminal = Terminal(site, *command)
        assert terminal.end() == 0
        assert terminal.raw.startswith(b"job_")
    else:
        assert site.run(*command).stderr == ""


def test_quiet_still_says_what_went_wrong(site: Site) -> None:
    done = site.run("--quiet", "run", "nowhere", check=False)

    assert done.returncode == 1
    assert 'no app "nowhere"' in done.stderr


def test_a_build_says_which_step_it_is_at(site: Site) -> None:
    recipe(site, "echo first && sleep 2", "echo second; seq 100")
    terminal = Terminal(site, "images", "build", "built", columns=60)

    terminal.see(r"^. jobctl/built: building, the engine does not have it\n  Step 2/4 : RUN echo f")
    terminal.see(r"\n  Step 2/4 : RUN echo first && sleep 2.*\n    first$")
    shown = terminal.see(r"^. jobctl/built: building, the engine does not have it  1 s\n")
    assert len(shown.splitlines()) == 3

    assert terminal.end() == 0
    assert terminal.text == "jobctl/gateway\njobctl/built"
    assert clean(terminal)


def test_the_log_of_a_build_is_what_the_builder_said(site: Site) -> None:
    recipe(site, "echo first")

    lines = site.run("images", "build", "built").stderr.splitlines()

    assert lines[0] == "jobctl/built: building, the engine does not have it"
    assert "Step 2/3 : RUN echo first" in lines
    assert "first" in lines
    assert lines[-1].startswith("jobctl/built: done, ")


def test_a_build_that_fails_shows_its_end_on_a_clean_line(site: Site) -> None:
    recipe(site, "echo the reason && false")
    terminal = Terminal(site, "images", "build", "built")

    assert terminal.end() == 1
    assert terminal.text.startswith("jobctl: jobctl/built: the build failed: ")
    assert "\n  the reason" in terminal.text
    assert clean(terminal)


def test_a_password_is_asked_for_on_a_clean_line(site: Site) -> None:
    python_app(site, "late", app_port=9001)
    terminal = Terminal(site, "run", "late", "--", "-c", LATE.format(seconds=1))

    for question in ("Password: ", "Again: "):
        terminal.see(question.rstrip() + "$")
        terminal.process.sendline("correct horse")
    terminal.see("verifying")

    assert terminal.end() == 0
    password, again, job, *_ = terminal.text.splitlines()
    assert (password, again) == ("Password:", "Again:")
    assert job.endswith("is running late, verified")
    assert "horse" not in terminal.text


def test_a_module_that_prints_and_asks_meanwhile_gets_a_clean_line(site: Site) -> None:
    """Whatever writes to the streams: what is drawn makes way, and comes back."""
    python_app(site, "late", app_port=9001, app_module="late_module")
    (site.root / "app_modules" / "late_module.py").write_text(
        "import time\n"
        "from jobctl.helpers import gen_cert, get_launch_cmd, get_password\n"
        "def gen_config(job):\n"
        "    time.sleep(0.5)\n"
        "    print('the module says this')\n"
        "    input('and asks: ')\n"
    )
    site.configure("late", app_module_path="app_modules/late_module.py")
    terminal = Terminal(site, *late(site, 0))

    terminal.see("^. launching late\n  making the certificate$")
    terminal.see("^the module says this\nand asks:$")
    terminal.process.sendline("fine")

    assert terminal.end() == 0
    said, asked, job, *_ = terminal.text.splitlines()
    assert (said, asked) == ("the module says this", "and asks: fine")
    assert job.endswith("is running late, verified")


def test_ctrl_c_undoes_the_launch_and_leaves_a_clean_terminal(site: Site) -> None:
    terminal = Terminal(site, *late(site, 30))
    terminal.see(r"\n  verifying  1 s")

    assert set(HELD) <= held_by_who_draws(terminal.pid)
    terminal.process.sendintr()

    assert terminal.end() == 130
    assert terminal.text in ("", "^C")
    assert clean(terminal)
    site.assert_nothing_left()


def held_by_who_draws(pid: int) -> set[int]:
    """Return the signals that are held back in all threads of a process but the main one.

    Whoever took them there would have Python act on them in the main thread, even where that one
    must not be interrupted.
    """
    others = [task for task in Path(f"/proc/{pid}/task").iterdir() if task.name != str(pid)]
    assert others
    masks = []
    for task in others:
        lines = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
        masks.append(int(lines["SigBlk"], 16))
    return {number for number in range(1, 32) if all(mask >> (number - 1) & 1 for mask in masks)}


def test_jobs_that_are_stopped_are_told_one_by_one(site: Site) -> None:
    jobs = [site.run_json(*late(site, 0)[:3], "--json", *late(site, 0)[3:]) for _ in range(2)]
    ids = [job["job_id"] for job in jobs]
    terminal = Terminal(site, "stop", *ids)

    for job_id in ids:
        terminal.see(f"stopping {job_id}")

    assert terminal.end() == 0
    assert terminal.text.splitlines() == ids


# What makes no difference where it is shown


def test_a_step_is_its_text() -> None:
    step = Step("pulling", depth=1, passing=True, done=1, total=2)

    assert step == "pulling"
    assert (step.depth, step.passing, step.done, step.total) == (1, True, 1, 2)


def test_nothing_of_a_line_reaches_a_log_raw(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()

    for line in ("news \x1b[31m", Step("step \x1b[31m"), Step("unseen", passing=True)):
        progress(line)

    assert capsys.readouterr().err == "news \N{REPLACEMENT CHARACTER}[31m\n" + (
        "step \N{REPLACEMENT CHARACTER}[31m\n"
    )


def test_a_number_of_things_is_told_as_such_to_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()

    progress(Step("launching", done=1, total=3, unit="jobs", passing=True))
    progress(Step("launching", done=2, total=3, unit="jobs"))

    assert capsys.readouterr().err == "launching: 2 of 3 jobs\n"


@pytest.mark.parametrize(
    ("seconds", "words"), [(1, "1 s"), (99, "99 s"), (100, "1:40 min"), (3723, "62:03 min")]
)
def test_durations(seconds: int, words: str) -> None:
    assert duration(seconds) == words
