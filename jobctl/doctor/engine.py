"""The engine: which it is, what access to it is worth and who has that, what it confines with."""

from __future__ import annotations

import os
from pathlib import Path

from jobctl.doctor import people
from jobctl.doctor.finding import Answer, ok, problem, unknown, warning
from jobctl.doctor.subject import Subject
from jobctl.engines.base import Facts
from jobctl.errors import EngineUnreachable

_ROOTLESS = "a rootless engine for each user keeps them apart: docs/security.md"
_ELSEWHERE = (
    "jobs run on another machine, which gets copies of each job's files; it has none of your "
    "directories, and a --mount is one of its own"
)
_REACHED = {
    "ssh": "jobs on its loopback are verified over that connection, and reached by jobctl tunnel",
    "tls": "only jobs that are exposed (--bind) can be verified, and reached, from here",
}
_PROMISED = ("memory", "cpus", "pids")


def answers(subject: Subject) -> Answer:
    """Look for the engine that jobctl would use."""
    try:
        engine = subject.connect()
    except EngineUnreachable as error:
        return problem(str(error))
    facts = subject.facts
    return ok(
        f"{engine.name} {facts.version} on {facts.host}, at {facts.endpoint}, which "
        f"{facts.chosen_by} names"
    )


def way(subject: Subject) -> Answer:
    """Look at how requests get to the engine."""
    facts = subject.facts
    if facts.transport == "plain":
        return problem(
            f"{facts.endpoint} has no TLS: whoever gets to that port controls the engine, and "
            "what is sent there can be read and changed on the way",
            "close that port on the engine's host, and use ssh:// or TLS with client certificates",
        )
    if facts.transport == "unverified tls":
        return warning(
            f"{facts.endpoint} has TLS, but its certificate is not looked at: anybody on the way "
            "can pretend to be the engine",
            "give the authority that signed it, as ca.pem in DOCKER_CERT_PATH, and set "
            "DOCKER_TLS_VERIFY=1",
        )
    if facts.transport == "socket":
        return ok("a socket on this host")
    return ok(f"{facts.transport}; {_ELSEWHERE}; {_REACHED[facts.transport]}")


def isolation(subject: Subject) -> Answer:
    """Say in which of the cases of docs/security.md the host is."""
    facts, socket = subject.facts, subject.engine.local_socket
    where = "this host" if socket else facts.host
    if facts.rootless:
        owner = people.user_name(Path(socket).stat().st_uid) if socket else "its user"
        seen = f"rootless: who reaches the engine can act as {owner} on {where}, not as root"
        if socket and Path(socket).stat().st_uid not in (0, os.getuid()):
            return warning(
                f"{seen}; and {owner} can read all that is in your jobs", "run one of your own"
            )
        return ok(seen)
    if facts.remapped:
        return ok(
            "rootful with remapped user ids: root in a container is nobody on the host, but who "
            f"reaches the engine can ask for a container without that, and is root on {where}"
        )
    return ok(f"rootful: who reaches the engine is root on {where}")


def access(subject: Subject) -> Answer:
    """Look for people who reach the engine beside root and the caller."""
    facts, socket = subject.facts, subject.engine.local_socket
    if socket is None:
        return unknown(f"who reaches {facts.endpoint} can't be seen from here")
    path = Path(socket)
    described = f"{socket} ({people.describe(path)})"
    reaching = people.reaching(path, people.WRITE)
    if people.EVERYBODY in reaching:
        worth = people.user_name(path.stat().st_uid) if facts.rootless else "root"
        return problem(
            f"{described}: everybody on this host can act as {worth}", f"chmod o-rwx {socket}"
        )
    if people.has_acl(path):
        return unknown(f"{described} has an access control list; see: getfacl {socket}")
    if reaching:
        names = ", ".join(sorted(one.name for one in reaching))
        return warning(
            f"{described}: beside root and you, {names} can read and change all of your jobs",
            f"take out of that group who need not be in it; {_ROOTLESS}",
        )
    return ok(f"{described}: nobody but root and you")


def confinement(subject: Subject) -> Answer:
    """Look at what the kernel keeps containers from, beside what jobctl asks for."""
    facts = subject.facts
    mandatory = " and ".join(facts.mandatory) or "neither AppArmor nor SELinux"
    asked = "no capabilities and no new privileges, as jobctl asks for each container"
    if relaxed := subject.engine.traits.relaxed:
        less = f"{mandatory}; no capabilities, but {' and '.join(relaxed)}"
        return warning(
            f"seccomp profile {facts.seccomp or 'none'}; {less}",
            'set "no-new-privileges": true in /etc/docker/daemon.json of all nodes, or use Docker '
            "25 or later on them",
        )
    if facts.seccomp is None:
        return problem(
            f"no seccomp: containers may make every system call; {mandatory}; {asked}",
            "start the engine without --seccomp-profile=unconfined, on a kernel that has seccomp",
        )
    return ok(f"seccomp profile {facts.seccomp}; {mandatory}; {asked}")


def limits(subject: Subject) -> Answer:
    """Look whether the engine can keep the limits that jobctl gives each container."""
    missing = [what for what in _PROMISED if what in subject.facts.unlimited]
    if missing:
        return problem(
            f"the engine ignores limits of {', '.join(missing)}: one job can take all there is",
            _how_to_limit(subject.facts),
        )
    if "swap" in subject.facts.unlimited:
        return warning(
            "memory, cpus, pids; but what is over the limit of memory may go to the swap space",
            "boot with swapaccount=1, or with version 2 of cgroups",
        )
    return ok("memory, cpus, pids")


def cgroups(subject: Subject) -> Answer:
    """Say with what the engine limits, and what that means for a rootless one."""
    facts = subject.facts
    if facts.cgroups is None:
        return warning(
            "the engine has none: it can neither limit containers nor tell what they take",
            _how_to_limit(facts),
        )
    if facts.cgroups == "1":
        seen = "version 1: a rootful engine can limit with it, a rootless one could not"
        return warning(seen, _how_to_limit(facts)) if facts.rootless else ok(seen)
    return ok(f"version {facts.cgroups}")


def _how_to_limit(facts: Facts) -> str:
    if facts.rootless:
        return (
            "boot with version 2 of cgroups (systemd.unified_cgroup_hierarchy=1), run the engine "
            "under systemd, and delegate the controllers to users: docs/security.md"
        )
    return "enable these controllers of cgroups in the kernel of the engine's host"


def complaints(subject: Subject) -> Answer:
    """Pass on what the engine itself warns of."""
    found = [text.removeprefix("WARNING: ") for text in subject.facts.warnings]
    if found:
        return warning("; ".join(found), "see the engine's own manual")
    if lacks := subject.engine.traits.lacks:
        return warning(f"it has no {'; no '.join(lacks)}", "see what that means: docs/scaling.md")
    return ok("nothing")


def restart(subject: Subject) -> Answer:
    """Say what becomes of jobs when the engine is restarted."""
    if subject.facts.live_restore:
        return ok("they go on")
    return ok("they end with it, and jobctl start brings them back")


def differences(subject: Subject) -> Answer:
    """State in what the engine differs for jobs, which they would else find out by surprise."""
    return ok("; ".join(subject.facts.differences) or "nothing")
