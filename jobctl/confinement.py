"""What keeps a container in, as the engine has it on record. Pure, in the engine's own terms."""

from __future__ import annotations

from typing import Any

from jobctl.engines.base import Details, Facts


def confinement(details: Details, facts: Facts) -> dict[str, Any]:
    """Return what confines a container on an engine.

    ``memory`` is in bytes and ``cpus`` in cores. ``None`` is no limit, or no profile: not every
    kernel has AppArmor or SELinux.
    """
    return {
        "user": details.user,
        "cap_drop": list(details.cap_drop),
        "cap_add": list(details.cap_add),
        "privileged": details.privileged,
        "no_new_privileges": details.no_new_privileges,
        "seccomp": details.seccomp or facts.seccomp,
        "apparmor": details.apparmor,
        "selinux": details.selinux,
        "read_only": details.read_only,
        "memory": details.memory or None,
        "cpus": details.cpus or None,
        "pids": details.pids or None,
    }
