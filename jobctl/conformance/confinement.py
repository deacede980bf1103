"""How locked down the job's containers are, as the engine has it on record and its host sees it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from jobctl.conformance.trial import Failed, Trial
from jobctl.engines.base import Details

_SOCKETS = (
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/crio/crio.sock",
)


_NOT_SO = "jobctl asked the engine to prevent that: report it as a bug"


def user(trial: Trial) -> str:
    """Make sure that no process runs as root, on the host or inside."""
    seen = set()
    # In the containers of a rootless engine, root is the user whose engine it is.
    root = () if trial.broker.ledger.facts.rootless else ("", "0", "root")
    for container in trial.containers():
        inside = container.details.user.partition(":")[0]
        uids = {str(process.uid) for process in trial.processes(container)}
        if "0" in uids or inside in root:
            raise Failed(
                f"{_opt_out(trial, 'root')}the {container.role} runs as root; leave user out, or "
                "give it another uid"
            )
        seen |= uids
    return f"uid {' '.join(sorted(seen))}"


def root_file_system(trial: Trial) -> str:
    """Make sure that the containers' root file systems can't be written."""
    return _each(trial, writable_root, opt_out="root file system")


def capabilities(trial: Trial) -> str:
    """Make sure that the containers have none of root's capabilities (capabilities(7))."""
    return _each(trial, capable, opt_out="capability")


def privileges(trial: Trial) -> str:
    """Make sure that nothing in the containers can get privileges that it doesn't start with."""
    return _each(trial, promotable)


def engine_socket(trial: Trial) -> str:
    """Make sure that no engine's socket can be seen in the containers."""
    sockets = [trial.broker.engine.local_socket, *_SOCKETS]
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        sockets.append(f"{runtime}/docker.sock")
    known = [Path(path).resolve() for path in sockets if path]
    return _each(trial, lambda details: shown_socket(details, known))


def limits(trial: Trial) -> str:
    """Make sure that the containers can't take all of the host's memory, time or processes."""
    if ignored := trial.broker.ledger.facts.unlimited - {"swap"}:
        raise Failed(f"this engine can't limit {', '.join(sorted(ignored))}; see: jobctl doctor")
    return _each(trial, unlimited)


def writable_root(details: Details) -> str | None:
    """Say what is wrong with a container's root file system, if anything is."""
    if details.read_only:
        return None
    return (
        "can write to its root file system; leave read_only out, and name the directories that it "
        "writes to under writable"
    )


def capable(details: Details) -> str | None:
    """Say which capabilities a container has, if it has any."""
    if details.cap_add:
        return f"has capabilities: {', '.join(details.cap_add)}; leave cap_add out"
    if "ALL" not in details.cap_drop:
        return f"has the capabilities that the engine gives by default; {_NOT_SO}"
    return None


def promotable(details: Details) -> str | None:
    """Say how a container can get more privileges, if it can."""
    if details.privileged:
        return f"is privileged, which is as good as root on the host; {_NOT_SO}"
    if not details.no_new_privileges:
        return f"can get privileges from setuid programs; {_NOT_SO}"
    if details.seccomp == "unconfined":
        return f"can make all system calls; {_NOT_SO}"
    return None


def shown_socket(details: Details, known: list[Path]) -> str | None:
    """Say through which mount a container sees one of the ``known`` sockets, if it does."""
    for bind in details.binds:
        source = Path(bind.source).resolve()
        for path in known:
            if path.is_relative_to(source):
                return (
                    f"sees {path}, and who reaches that is root on the host; don't mount "
                    f"{bind.source}"
                )
    return None


def unlimited(details: Details) -> str | None:
    """Say of what a container can take all there is, if it can."""
    missing = [name for name in ("memory", "cpus", "pids") if not getattr(details, name)]
    if not missing:
        return None
    return f"has no limit of {' and '.join(missing)}; {_NOT_SO}"


def _each(trial: Trial, look: Callable[[Details], str | None], *, opt_out: str = "") -> str:
    for container in trial.containers():
        if problem := look(container.details):
            raise Failed(f"{_opt_out(trial, opt_out)}the {container.role} {problem}")
    return ""


def _opt_out(trial: Trial, about: str) -> str:
    """Return what the app's section asks for of that kind, as the beginning of a sentence."""
    asked = [words for words in trial.job.relaxed if about and about in words]
    return f"opt-out in its section ({', '.join(asked)}): " if asked else ""
