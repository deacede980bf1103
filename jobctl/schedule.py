"""Having ``jobctl reap`` run by itself: as a timer of the user's systemd, else a line of crontab.

What is written carries a mark, and nothing without it is changed or removed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jobctl.errors import JobctlError

MARK = "# written by: jobctl reap --install"
EVERY_MINUTES = 5
NAME = "jobctl-reap"
CARRIED = (
    *("XDG_STATE_HOME", "XDG_CONFIG_HOME"),
    *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"),
)
"""What of the caller's environment says where records and engine are."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be run: words of which the first is an absolute path, and its environment."""

    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what has to fit on a line.

        Raises:
            JobctlError: something has control characters in it.
        """
        for text in (*self.command, *self.env.values()):
            if not text.isprintable():
                raise JobctlError(
                    f"{text!a} can't be part of a timer; use a path without control characters"
                )


def carried(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what of an environment a task needs."""
    return {name: environ[name] for name in CARRIED if environ.get(name)}


def units(task: Task) -> dict[str, str]:
    """Return the files of the systemd units that run a task, by name (systemd.service(5))."""
    env = "".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in task.env.items())
    # A dollar sign is special in the command alone, where two of them stand for one.
    command = " ".join(_quoted(word).replace("$", "$$") for word in task.command)
    return {
        f"{NAME}.service": f"""\
{MARK}
[Unit]
Description=Stop jobctl's jobs that have expired or are idle

[Service]
Type=oneshot
{env}ExecStart={command}
""",
        f"{NAME}.timer": f"""\
{MARK}
[Unit]
Description=Look every {EVERY_MINUTES} minutes for jobctl's jobs to stop

[Timer]
OnCalendar=*:0/{EVERY_MINUTES}
RandomizedDelaySec=30

[Install]
WantedBy=timers.target
""",
    }


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def line(task: Task) -> str:
    """Return the line of a crontab that runs a task (crontab(5)); the shell skips the mark."""
    variables = [f"{name}={value}" for name, value in task.env.items()]
    words = shlex.join([*(["env", *variables] if variables else []), *task.command])
    # To cron, a bare percent sign ends the command.
    return f"*/{EVERY_MINUTES} * * * * {words.replace('%', chr(92) + '%')} {MARK}\n"


def install(task: Task) -> str:
    """Have a task run every few minutes, in place of an earlier one, and say in words by what.

    Raises:
        JobctlError: there is neither systemd nor cron for that, or they refuse.
    """
    if _has_systemd():
        files = {_unit_path(name): text for name, text in units(task).items()}
        for path in files:
            if path.exists() and not _ours(path):
                raise JobctlError(f"{path} is not from jobctl; move it away")
            path.parent.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text)
        _run("systemctl", "--user", "daemon-reload")
        _run("systemctl", "--user", "enable", "--now", f"{NAME}.timer")
        return (
            f"the timer {NAME}.timer of your systemd, while you are logged in; to have it go on "
            "after that: loginctl enable-linger"
        )
    if shutil.which("crontab") is None:
        raise JobctlError(
            "there is neither a systemd of yours (systemctl --user) nor crontab on this host; have "
            f"something else run this every {EVERY_MINUTES} minutes: {shlex.join(task.command)}"
        )
    before = _crontab()
    _set_crontab([*_others(before), line(task)], before)
    return "a line of your crontab, which cron runs while its daemon does"


def uninstall() -> list[str]:
    """Take away what ``install`` brought, and nothing else; return what that was, in words."""
    gone: list[str] = []
    if paths := [path for name in units(Task(command=())) if _ours(path := _unit_path(name))]:
        if _has_systemd():
            _run("systemctl", "--user", "disable", "--now", f"{NAME}.timer")
        for path in (*paths, _unit_path(f"timers.target.wants/{NAME}.timer")):
            path.unlink(missing_ok=True)
        if _has_systemd():
            _run("systemctl", "--user", "daemon-reload")
        gone += map(str, paths)
    before = _crontab()
    if (kept := _others(before)) != before:
        _set_crontab(kept, before)
        gone.append("the line of your crontab")
    return gone


def installed() -> bool:
    """Tell whether something is there that runs it."""
    if _ours(_unit_path(f"{NAME}.timer")):
        return True
    try:
        before = _crontab()
    except JobctlError:  # who may not have one has none
        return False
    return _others(before) != before


def _unit_path(name: str) -> Path:
    return Path.home() / ".config/systemd/user" / name


def _ours(path: Path) -> bool:
    try:
        return path.read_text(errors="replace").startswith(MARK)
    except OSError:
        return False


def _has_systemd() -> bool:
    """Tell whether the caller has a systemd that answers; in a container, say, there is none."""
    if shutil.which("systemctl") is None:
        return False
    asked = ["systemctl", "--user", "show-environment"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def _crontab() -> list[str]:
    """Return the lines of the caller's crontab; none if there is none, or no cron."""
    if shutil.which("crontab") is None:
        return []
    env = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(["crontab", "-l"], capture_output=True, text=True, env=env, check=False)
    if done.returncode == 0:
        return done.stdout.splitlines(keepends=True)
    if "no crontab for" in done.stderr:
        return []
    raise JobctlError(f"crontab -l: {done.stderr.strip()}; ask who runs this host")


def _others(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if not line.rstrip().endswith(MARK)]


def _set_crontab(lines: Sequence[str], before: Sequence[str]) -> None:
    if lines:
        _run("crontab", "-", given="".join(lines))
    elif before:
        _run("crontab", "-r")


def _run(*command: str, given: str = "") -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip() or done.stdout.strip()
        raise JobctlError(f"{shlex.join(command)}: {said}; try that by hand")
