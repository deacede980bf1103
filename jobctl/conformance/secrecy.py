"""Where the job's password and key must not be seen: command lines, environment, labels, logs."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from jobctl import jobfiles, passwords
from jobctl.conformance.trial import Failed, Inspected, Trial

# Shorter ones may be elsewhere by chance, such as the end of a key's last line.
SHORTEST = 16
_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(.*?)-----END", re.DOTALL)
_IN_A_FILE = "write it to the file that gen_config returns, which only the app can read"


def command_lines(trial: Trial) -> str:
    """Look at what the containers were told to run, and at what runs in them."""
    for container in trial.containers():
        running = [one.command for one in trial.processes(container)]
        told = [*container.details.command, *running]
        _check(trial, container, "command line", told, _IN_A_FILE)
    return "as the engine and its host's ps show them"


def environment(trial: Trial) -> str:
    """Look at the variables the containers were given, and those that their processes got."""
    hidden = False
    for container in trial.containers():
        given = [f"{name}={value}" for name, value in container.details.env.items()]
        for process in trial.processes(container):
            try:
                given.append(Path(f"/proc/{process.pid}/environ").read_text(errors="replace"))
            except OSError:
                hidden = True
        _check(trial, container, "environment", given, _IN_A_FILE)
    if hidden:
        return "as the engine shows it; that of the processes can't be read from here"
    return "as the engine and the kernel show it"


def labels(trial: Trial) -> str:
    """Look at the containers' labels, which everybody sees who reaches the engine."""
    for container in trial.containers():
        given = [f"{key}={value}" for key, value in container.details.labels.items()]
        _check(trial, container, "labels", given, "name its files without it")
    return "as the engine shows them"


def logs(trial: Trial) -> str:
    """Look at what the containers wrote from their first start to their last stop."""
    for container in trial.containers():
        log = b"".join(trial.broker.engine.logs(container.id)).decode(errors="replace")
        _check(trial, container, "log", [log], "keep it from writing its settings or requests")
    return "of all containers, from first to last"


def _check(
    trial: Trial, container: Inspected, where: str, texts: Iterable[str], advice: str
) -> None:
    """Raise if a secret is among ``texts``; it says which one and where, and does not repeat it."""
    text = "\0".join(texts)
    found = {name for secret, name in _secrets(trial).items() if secret in text}
    if found:
        raise Failed(
            f"{' and '.join(sorted(found))} can be read in the {where} of the {container.role}; "
            f"{advice}"
        )


def _secrets(trial: Trial) -> Mapping[str, str]:
    """Return each secret, and each form or part that is as good, with what to call it."""
    job = trial.job
    found = {}
    if line := job.password_hash:
        credentials = f"{passwords.user_of(line) or job.owner}:{trial.password}".encode()
        found = {
            line: "the password's hash",
            line.rpartition(":")[2]: "the password's hash",
            trial.password: "the password",
            base64.b64encode(credentials).decode(): "the password, as HTTP basic sends it,",
        }
    for path in jobfiles.files_of(trial.broker.directory, job.job_id):
        for key in _KEY.findall(path.read_text(errors="replace")):
            parts = (part for part in key.split() if len(part) >= SHORTEST)
            found |= dict.fromkeys(parts, "the private key")
    return found
