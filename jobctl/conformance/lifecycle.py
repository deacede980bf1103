"""A job's life, from launch to removal: launched, stopped, started, removed, and gone."""

from __future__ import annotations

import time
from pathlib import Path

from jobctl import jobfiles, probe, startup
from jobctl.broker import KILLED, Broker
from jobctl.conformance.trial import Failed, Trial
from jobctl.errors import JobctlError
from jobctl.progress import Step

PRIVATE_FILE, PRIVATE_DIRECTORY = 0o600, 0o700
# What belongs to the user rather than to one of the jobs.
_KEPT = ("connections.txt", "connections.lock", "ca.crt", "ca.key")


def launch(trial: Trial) -> str:
    """Launch the app; the broker returns its job once it is verified."""
    trial.strays = frozenset(strays(trial.broker))
    began = time.monotonic()
    trial.launched = trial.broker.run(trial.order)
    seconds = time.monotonic() - began
    trial.broker.report(Step(f"examining {trial.job.job_id}"))
    return f"in {seconds:.1f} s"


def files(trial: Trial) -> str:
    """Make sure that the job's files, and the records, are readable by nobody else."""
    directory = trial.broker.directory
    own = [*jobfiles.files_of(directory, trial.job.job_id), directory / "connections.txt"]
    for path, expected in [(directory, PRIVATE_DIRECTORY), *((path, PRIVATE_FILE) for path in own)]:
        mode = path.stat().st_mode & 0o7777
        if mode != expected:
            raise Failed(
                f"{path} has the mode {mode:o} instead of {expected:o}; the app's module has to "
                "leave modes alone, and write its files with jobctl.helpers.write_file"
            )
    return f"{len(own)} files in {directory}"


def stop(trial: Trial) -> str:
    """Stop the job, which has to be running still, and make sure that it had not to be killed."""
    broker, job_id = trial.broker, trial.job.job_id
    before = broker.inspect(job_id)
    if before.ended or before.restarts > trial.job.restarts:
        ended = "ended" if before.ended else f"was restarted {before.restarts} times"
        code = "" if before.exit_code is None else f" ({before.exit_code})"
        raise Failed(f"the app {ended} by itself{code} meanwhile{_log(trial)}")
    broker.report(Step(f"stopping {job_id}"))
    began = time.monotonic()
    broker.stop(job_id)
    seconds = time.monotonic() - began
    for container in trial.containers():
        condition = broker.engine.condition(container.id)
        if condition and condition.exit_code == KILLED and not condition.out_of_memory:
            raise Failed(
                f"the {container.role} did not end within its {condition.stop_grace} s after "
                "SIGTERM and was killed; have the app end on that signal, which a shell that "
                "starts it passes on only with exec, or give it more time with stop_grace"
            )
    return f"in {seconds:.1f} s"


def start(trial: Trial) -> str:
    """Start the stopped job, make sure that it is what it was before, and stop it again."""
    broker, before = trial.broker, trial.job
    began = time.monotonic()
    trial.launched = broker.start(before.job_id)
    seconds = time.monotonic() - began
    # The broker does not have the password any more, only what its hash is good for.
    probe.verify(trial.target, probe.Secret(password=trial.password))
    broker.stop(before.job_id)
    return f"in {seconds:.1f} s"


def remove(trial: Trial) -> str:
    """Remove the job, and make sure that there is no container, file or line of it any more."""
    broker, job = trial.broker, trial.launched
    if job is not None:
        broker.remove(job.job_id, force=True)
        left = [id_ for id_ in job.container_ids if broker.engine.condition(id_)]
        if left or job.job_id in broker.registry.read():
            what = ", ".join(left) or f"a line in {broker.registry.path}"
            raise Failed(f"of {job.job_id} is left: {what}; remove it by hand")
    if left := sorted(strays(broker) - trial.strays):
        raise Failed(
            f"it leaves {', '.join(left)}; the app's module has to give its files names that start "
            "with the job's id, as jobctl.helpers.write_file does; remove it by hand"
        )
    return "no container, no file, no record"


def strays(broker: Broker) -> set[str]:
    """Return files in the user's directory, and containers, that belong to no job on record."""
    directory = broker.registry.path.parent
    files, containers = [*directory.iterdir()], broker.ledger.containers()
    # Read last: a job that is launched meanwhile is on record before it has anything.
    known = broker.registry.read()
    owned = {path for job_id in known for path in jobfiles.files_of(directory, job_id)}
    lost = {one.name for job_id in containers if job_id not in known for one in containers[job_id]}
    return lost | {str(path) for path in files if not _expected(path, owned)}


def _expected(path: Path, owned: set[Path]) -> bool:
    """Tell whether a file has its place; one that is gone by now was another job's."""
    return path.name.removesuffix(".new") in _KEPT or path in owned or not path.exists()


def _log(trial: Trial) -> str:
    try:
        return startup.last_lines(trial.broker.ledger, trial.job, trial.job.container_ids[-1])
    except JobctlError:
        return ""
