"""Reaping by itself: units that systemd takes, and a crontab of which only one line is ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobctl import schedule
from jobctl.errors import JobctlError
from jobctl.schedule import MARK, Task
from tests.conftest import unavailable
from tests.site import Site
from tests.waiting import eventually

HOSTILE = Task(
    command=["/bin/sh", "-c", 'printf "%s\\n" "$0" "$ODD" >out', "a%b $HOME \"q\" 'r' \\ %%h"],
    env={"ODD": "50% \"of\" $HOME 'x' \\n"},
)


def test_lines_are_made_for_cron() -> None:
    task = Task(command=["/opt/a b/jobctl", "reap"], env={"DOCKER_HOST": "ssh://me@there"})

    assert schedule.line(task) == (
        f"*/5 * * * * env DOCKER_HOST=ssh://me@there '/opt/a b/jobctl' reap {MARK}\n"
    )


def test_what_a_line_says_is_what_the_shell_runs(tmp_path: Path) -> None:
    """Cron undoes its own escape, and gives the rest to a shell."""
    command = schedule.line(HOSTILE).removeprefix("*/5 * * * * ").replace("\\%", "%")

    subprocess.run(["sh", "-c", command], check=True, cwd=tmp_path)

    assert (tmp_path / "out").read_text() == f"{HOSTILE.command[3]}\n{HOSTILE.env['ODD']}\n"


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[31m", "nul\0"])
def test_what_does_not_fit_on_a_line_is_refused(text: str) -> None:
    with pytest.raises(JobctlError, match="control characters"):
        Task(command=["/bin/true", text])


def test_only_what_says_where_things_are_is_carried() -> None:
    environ = {"DOCKER_HOST": "unix:///x", "XDG_STATE_HOME": "", "SECRET": "y", "PATH": "/bin"}

    assert schedule.carried(environ) == {"DOCKER_HOST": "unix:///x"}


@pytest.mark.parametrize("task", [HOSTILE, Task(command=["/bin/true"])])
def test_systemd_takes_the_units(task: Task, tmp_path: Path) -> None:
    """It checks them as it would load them, where no systemd runs too."""
    paths = []
    for name, text in schedule.units(task).items():
        paths.append(tmp_path / name)
        paths[-1].write_text(text)
        assert text.startswith(MARK)

    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", *paths],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
    )

    assert done.returncode == 0, done.stderr
    assert "jobctl-reap" not in done.stderr


def test_systemd_reads_the_time_as_meant() -> None:
    (when,) = [
        line.partition("=")[2]
        for line in schedule.units(HOSTILE)["jobctl-reap.timer"].splitlines()
        if line.startswith("OnCalendar=")
    ]
    asked = ["systemd-analyze", "calendar", "--iterations=2", "--base-time=2026-01-01 00:01", when]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)

    assert "00:05:00" in done.stdout
    assert "00:10:00" in done.stdout


@pytest.mark.parametrize("there", [(), ("systemctl",)])
def test_where_there_is_neither_the_command_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: tuple[str, ...]
) -> None:
    """A systemd with which the user has no session does not count."""
    for name in there:
        found = shutil.which(name)
        assert found
        (tmp_path / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)

    with pytest.raises(JobctlError, match="every 5 minutes: /opt/jobctl reap"):
        schedule.install(Task(command=["/opt/jobctl", "reap"]))
    assert not schedule.installed()
    assert schedule.uninstall() == []
    assert not (tmp_path / ".config").exists()


def crontab(site: Site, *arguments: str, given: str | None = None) -> str:
    """Run crontab for the user of a site; nothing is printed if there is none."""
    command = ["crontab", "-u", site.account.pw_name, *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    return done.stdout


@pytest.mark.engine
def test_a_user_s_crontab(site: Site, users_site: Site) -> None:
    """It reaps what is the user's, wherever that is kept, and leaves the rest as it was."""
    new = ("run", "conduit", "--generate-password", "--json", "--ttl", "1h")
    mine, theirs = site.run_json(*new), users_site.run_json(*new)
    for one, job in ((site, mine), (users_site, theirs)):
        one.run("broker", "-u", json.dumps({"job_id": job["job_id"], "expires": 1}))

    # Each reaps one's own.
    seen = site.run_json("reap", "--json", "--dry-run")
    assert [(one["job_id"], one["action"]) for one in seen] == [(mine["job_id"], "stop")]
    site.run("reap")
    assert users_site.run_json("ps", "--json")[0]["status"] == "launched"

    own = "# mine\nMAILTO=\"\"\n0 3 * * * echo 'jobctl reap --install' \\% >/dev/null\n"
    crontab(users_site, "-", given=own)
    try:
        for idle in ("1h", "2h"):
            done = users_site.run("reap", "--install", "--idle", idle)
            assert done.stdout.startswith("installed: a line of your crontab")
        assert crontab(users_site, "-l").startswith(own)
        (line,) = crontab(users_site, "-l").removeprefix(own).splitlines()
        assert line.startswith("*/5 * * * * env XDG_STATE_HOME=")
        assert line.endswith(MARK)
        assert f" {users_site.command} --config {users_site.config} reap --idle 2h #" in line

        command = line.split(maxsplit=5)[5].replace("\\%", "%")
        account = users_site.account
        reaped = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "HOME": account.pw_dir, "LOGNAME": account.pw_name},
            capture_output=True,
            text=True,
            check=False,
            **users_site.identity,
        )
        assert (reaped.returncode, reaped.stderr) == (0, "")
        assert f"{theirs['job_id']}  conduit  stopped  expired" in reaped.stdout

        # Who has it installed is not told to.
        assert "--install" not in users_site.run("extend", theirs["job_id"], "1h").stderr
        assert users_site.run("reap", "--uninstall").stdout == "removed: the line of your crontab\n"
        assert crontab(users_site, "-l") == own
        assert "nothing" in users_site.run("reap", "--uninstall").stdout
        assert crontab(users_site, "-l") == own

        crontab(users_site, "-r")
        users_site.run("reap", "--install")
        users_site.run("reap", "--uninstall")
        assert crontab(users_site, "-l") == ""
    finally:
        crontab(users_site, "-r")


@pytest.fixture
def users_systemd(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Run a systemd for a user, on whatever host, and return the variables that lead to it.

    It wants to be told that the host was booted with systemd: it is, in a mount namespace.
    """
    if os.getuid() != 0:
        unavailable("only root can run a systemd of its own beside that of the host")
    runtime, home = tmp_path / "run", tmp_path / "home"
    runtime.mkdir(mode=0o700)
    home.mkdir()
    booted = "mkdir -p /run/systemd && mount -t tmpfs none /run/systemd && mkdir $0/system"
    script = f"{booted} && exec /lib/systemd/systemd --user --log-target=console"
    paths = {"HOME": str(home), "XDG_RUNTIME_DIR": str(runtime)}
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script, "/run/systemd"],
        env={"PATH": os.environ["PATH"], **paths},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert eventually((runtime / "systemd/private").exists)
            yield paths
        finally:
            process.terminate()


def systemctl(paths: dict[str, str], *arguments: str) -> str:
    command = ["systemctl", "--user", *arguments]
    return subprocess.run(
        command, env=os.environ | paths, check=True, capture_output=True, text=True
    ).stdout


def test_systemd_runs_what_the_units_say(
    users_systemd: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, path in users_systemd.items():
        monkeypatch.setenv(name, path)
    out = Path(users_systemd["HOME"], "out")
    script = HOSTILE.command[2].replace(">out", f">{out}")

    schedule.install(
        Task(command=[*HOSTILE.command[:2], script, HOSTILE.command[3]], env=HOSTILE.env)
    )
    systemctl(users_systemd, "start", "jobctl-reap.service")

    assert out.read_text() == f"{HOSTILE.command[3]}\n{HOSTILE.env['ODD']}\n"


@pytest.mark.engine
def test_a_user_s_timer(site: Site, users_systemd: dict[str, str]) -> None:
    home = Path(users_systemd["HOME"])
    site.env |= users_systemd
    job = site.run_json("run", "conduit", "--generate-password", "--json", "--ttl", "1h")
    site.run("broker", "-u", json.dumps({"job_id": job["job_id"], "expires": 1}))

    for _ in range(2):
        done = site.run("reap", "--install")
        assert done.stdout.startswith("installed: the timer jobctl-reap.timer of your systemd")
        assert "loginctl enable-linger" in done.stdout
    timers = json.loads(systemctl(users_systemd, "list-timers", "--all", "--output=json"))
    assert [timer["unit"] for timer in timers] == ["jobctl-reap.timer"]
    assert (home / ".config/systemd/user/timers.target.wants/jobctl-reap.timer").is_symlink()
    assert "--install" not in site.run("extend", job["job_id"], "1h").stderr
    site.run("broker", "-u", json.dumps({"job_id": job["job_id"], "expires": 1}))

    systemctl(users_systemd, "start", "jobctl-reap.service")
    assert site.run_json("ps", "--all", "--json")[0]["reason"] == "expired"

    removed = site.run("reap", "--uninstall").stdout.splitlines()
    assert [line.rpartition("/")[2] for line in removed] == [
        *("jobctl-reap.service", "jobctl-reap.timer")
    ]
    assert [path for path in home.rglob("*") if "jobctl" in path.name] == []
    assert systemctl(users_systemd, "list-timers", "--all", "--output=json").strip() in ("", "[]")

    # What somebody else has put there stays.
    unit = home / ".config/systemd/user/jobctl-reap.timer"
    unit.parent.mkdir(parents=True, exist_ok=True)
    unit.write_text("[Timer]\n")
    refused = site.run("reap", "--install", check=False)
    assert (refused.returncode, "is not from jobctl" in refused.stderr) == (1, True)
    assert "nothing" in site.run("reap", "--uninstall").stdout
    assert unit.read_text() == "[Timer]\n"
    assert not unit.with_suffix(".service").exists()
