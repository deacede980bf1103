"""Where things are: the configuration in force, and a user's directory for records and files."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from jobctl.errors import JobctlError


def shipped() -> Path:
    """Return the directory of what comes with jobctl: config.yaml, app_modules/, images/."""
    installed = Path(__file__).parent / "shipped"
    return installed if installed.is_dir() else Path(__file__).parent.parent


def shipped_file() -> Path:
    """Return the configuration file that comes with jobctl."""
    return shipped() / "config.yaml"


def user_file() -> Path:
    """Return where the user's own configuration file is, or would be."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "jobctl/config.yaml")


def find(explicit: str | None = None) -> Path:
    """Return the configuration file in force.

    That is ``explicit``, ``$JOBCTL_CONFIG``, the user's, the system's or the shipped one. Never
    one of the current directory, since a configuration names Python files to run.
    """
    for named in (explicit, os.environ.get("JOBCTL_CONFIG")):
        if named:
            try:
                return Path(named).absolute()
            except FileNotFoundError:
                raise JobctlError(
                    f'can\'t look for "{named}": the current directory is gone; change to another'
                ) from None
    for candidate in (user_file(), Path("/etc/jobctl/config.yaml")):
        if candidate.is_file():
            return candidate
    return shipped_file()


def caller() -> str:
    """Return the caller's user name, from the uid: the environment can say anything.

    Raises:
        JobctlError: there is none.
    """
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise JobctlError(
            f"uid {os.getuid()} has no user name on this host, after which its records would "
            "be named; see whether the directory service answers: getent passwd"
        ) from None


def directory(base: str | None, owner: str) -> Path:
    """Return a user's directory below ``general.user_dir_base``, or where it is by default."""
    if base is None:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
        return Path(state, "jobctl", owner)
    return Path(base).expanduser().absolute() / owner
