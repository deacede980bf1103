"""Section 5, container runtime, of the CIS Docker Benchmark 1.6, for every container of a job.

What docker-bench-security (the benchmark's own script) looks at by itself, and of what it leaves
to people that which a program can tell. Left out are 5.1 (the engine's swarm mode), 5.23 and 5.24
(how people use ``docker exec``), 5.28 (how fresh images are): no container can show them.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import KERNEL_LACKS, Traces
from tests.site import Site

pytestmark = pytest.mark.engine

APPS = ("conduit", "jupyter", "tensorboard", "marimo")
AD_HOC = ("--image", "jobctl/base", "--app-port", "9000", "--", "python3")
SERVE = ("-m", "http.server", "9000", "--bind", "127.0.0.1")
SENSITIVE = ("/", "/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr")


@dataclass(frozen=True)
class Seen:
    """What the engine tells of one container, and the command lines of its processes."""

    name: str
    facts: dict[str, Any]
    processes: str = ""

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.facts["Config"])

    @property
    def host(self) -> dict[str, Any]:
        return dict(self.facts["HostConfig"])

    @property
    def options(self) -> list[str]:
        return list(self.host["SecurityOpt"] or [])

    @property
    def mounts(self) -> list[dict[str, Any]]:
        return list(self.facts["Mounts"])

    @property
    def published(self) -> list[dict[str, str]]:
        """Where its ports are on the host: ``HostIp`` and ``HostPort``."""
        return [place for places in (self.host["PortBindings"] or {}).values() for place in places]


Holds = Callable[[Seen], bool]
CHECKS: dict[str, tuple[str, Holds]] = {
    "5.2": ("an AppArmor profile", lambda c: c.facts["AppArmorProfile"] not in ("", "unconfined")),
    "5.3": ("SELinux", lambda c: bool(c.facts["ProcessLabel"])),
    "5.4": (
        "capabilities are restricted",
        lambda c: c.host["CapDrop"] == ["ALL"] and not c.host["CapAdd"],
    ),
    "5.5": ("not privileged", lambda c: not c.host["Privileged"]),
    "5.6": (
        "no sensitive directory of the host",
        lambda c: not any(mount.get("Source") in SENSITIVE for mount in c.mounts),
    ),
    "5.7": ("no sshd", lambda c: "sshd" not in c.processes),
    "5.8": (
        "no privileged port of the host",
        lambda c: all(int(place["HostPort"]) >= 1024 for place in c.published),
    ),
    "5.9": ("no port but the job's", lambda c: len(c.published) <= 1),
    "5.10": ("not the host's network", lambda c: c.host["NetworkMode"] != "host"),
    "5.11": ("limited memory", lambda c: c.host["Memory"] > 0),
    "5.12": ("a CPU priority", lambda c: c.host["CpuShares"] > 0),
    "5.13": ("a read-only root file system", lambda c: bool(c.host["ReadonlyRootfs"])),
    "5.14": (
        "ports on one interface",
        lambda c: all(place["HostIp"] not in ("", "0.0.0.0", "::") for place in c.published),
    ),
    "5.15": (
        "at most five restarts",
        lambda c: (
            c.host["RestartPolicy"]["Name"] == "on-failure"
            and 1 <= c.host["RestartPolicy"]["MaximumRetryCount"] <= 5
        ),
    ),
    "5.16": ("not the host's processes", lambda c: c.host["PidMode"] == ""),
    "5.17": ("not the host's IPC", lambda c: c.host["IpcMode"] == "private"),
    "5.18": ("no device of the host", lambda c: not c.host["Devices"]),
    "5.19": (
        "limits of its own: no core dumps",
        lambda c: {"Name": "core", "Soft": 0, "Hard": 0} in (c.host["Ulimits"] or []),
    ),
    "5.20": (
        "no shared mount propagation",
        lambda c: not any("shared" in mount["Propagation"] for mount in c.mounts),
    ),
    "5.21": ("not the host's UTS", lambda c: c.host["UTSMode"] == ""),
    "5.22": ("seccomp", lambda c: not any("seccomp" in option for option in c.options)),
    "5.25": ("the engine's cgroup", lambda c: c.host["CgroupParent"] == ""),
    "5.26": ("no new privileges", lambda c: "no-new-privileges:true" in c.options),
    "5.27": (
        "a health check",
        lambda c: (c.config.get("Healthcheck") or {}).get("Test", ["NONE"])[0] != "NONE",
    ),
    "5.29": ("limited processes", lambda c: (c.host["PidsLimit"] or 0) > 0),
    "5.30": (
        "not the engine's default bridge",
        lambda c: c.host["NetworkMode"] not in ("default", "bridge"),
    ),
    "5.31": ("not the host's user namespace", lambda c: c.host["UsernsMode"] != "host"),
    "5.32": (
        "no engine socket",
        lambda c: not any("docker.sock" in mount.get("Source", "") for mount in c.mounts),
    ),
}
OFFERED_BY_SOME = {"5.2": "apparmor", "5.3": "selinux"}
# An image that somebody else made has a check of its own or none: what it could be made with,
# nobody else knows. The gateway beside it looks whether it listens.
EXCEPTIONS = {("5.27", "ad-hoc app")}


def engine_says(*command: str) -> Any:
    done = subprocess.run(["docker", *command], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def looked_at(container: str, name: str) -> Seen:
    (facts,) = engine_says("inspect", container)
    top = ["docker", "top", container, "-eo", "pid,args"]
    running = subprocess.run(top, capture_output=True, text=True, check=False)
    return Seen(name, facts, running.stdout)


@pytest.fixture(scope="module")
def containers(shared_site: Site) -> list[Seen]:
    """Launch every shipped app and an image without a section, and look at their containers."""

    def launch(arguments: tuple[str, ...]) -> dict[str, Any]:
        job: dict[str, Any] = shared_site.run_json(
            "run", "--generate-password", "--json", *arguments
        )
        return job

    with ThreadPoolExecutor(2) as pool:
        jobs = list(pool.map(launch, [*((app,) for app in APPS), (*AD_HOC, *SERVE)]))
    return [
        looked_at(container, f"{name} {role}")
        for name, job in zip((*APPS, "ad-hoc"), jobs, strict=True)
        for container, role in zip(
            job["container_ids"], ("gateway", "app")[-len(job["container_ids"]) :], strict=True
        )
    ]


def test_all_containers_of_all_apps_are_looked_at(containers: list[Seen]) -> None:
    assert [container.name for container in containers] == [
        *("conduit gateway", "conduit app", "jupyter app", "tensorboard gateway"),
        *("tensorboard app", "marimo gateway", "marimo app", "ad-hoc gateway", "ad-hoc app"),
    ]


@pytest.mark.parametrize("number", CHECKS)
def test_every_container_meets_the_benchmark(containers: list[Seen], number: str) -> None:
    title, holds = CHECKS[number]
    option = OFFERED_BY_SOME.get(number)
    if option and not any(
        f"name={option}" in offered
        for offered in engine_says("info", "-f", "{{json .SecurityOptions}}")
    ):
        pytest.skip(f"CIS {number}: {KERNEL_LACKS} {option}")

    failing = {(number, container.name) for container in containers if not holds(container)}

    assert failing == {one for one in EXCEPTIONS if one[0] == number}, title


@pytest.mark.parametrize("app", ["conduit", "jupyter"])
def test_inspect_states_what_the_kernel_enforces(
    shared_site: Site, containers: list[Seen], app: str
) -> None:
    job = next(job for job in shared_site.run_json("ps", "--json") if job["app"] == app)
    stated = shared_site.run_json("inspect", job["job_id"], "--json")["confinement"]

    assert list(stated) == [c.name.split()[1] for c in containers if c.name.startswith(app)]
    for role, said in stated.items():
        (seen,) = [container for container in containers if container.name == f"{app} {role}"]
        status = Path(f"/proc/{seen.facts['State']['Pid']}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert fields["Uid"].split()[0] == said["user"].partition(":")[0]
        assert (said["cap_drop"], said["cap_add"], fields["CapBnd"]) == (["ALL"], [], "0" * 16)
        assert (said["no_new_privileges"], fields["NoNewPrivs"]) == (True, "1")
        assert (said["seccomp"] not in (None, "unconfined"), fields["Seccomp"]) == (True, "2")
        assert said["apparmor"] == (seen.facts["AppArmorProfile"] or None)
        assert said["memory"] == seen.host["Memory"]


def test_inspect_states_what_a_section_gives_back(site: Site) -> None:
    options = ["--set", "read_only=false", "--set", "cap_add=[NET_RAW]", "--cpus", "0.5"]
    job = site.run("run", "conduit", "--generate-password", *options).stdout.split()[0]

    stated = site.run_json("inspect", job, "--json")["confinement"]
    shown = dict(line.split(None, 1) for line in site.run("inspect", job).stdout.splitlines())

    assert (stated["app"]["read_only"], stated["gateway"]["read_only"]) == (False, True)
    assert (stated["app"]["cap_add"], stated["gateway"]["cap_add"]) == (["NET_RAW"], [])
    assert (stated["app"]["cpus"], stated["app"]["pids"]) == (0.5, 512)
    assert shown["confinement.app.read_only"] == "false"
    assert shown["confinement.app.cap_add"] == '["NET_RAW"]'


def test_a_careless_container_meets_nothing_of_it(traces: Traces) -> None:
    """Made, and never started, with everything that the benchmark warns of."""
    options = [
        *("--privileged", "--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined"),
        *("--security-opt=apparmor=unconfined", "--security-opt=label=disable"),
        *("--network=host", "--pid=host", "--ipc=host", "--uts=host", "--userns=host"),
        *("--publish=0.0.0.0:80:80", "--publish=81:81", "--cgroup-parent=/else"),
        *("--restart=always", "--device=/dev/null", "--volume=/etc:/mnt:shared"),
        "--volume=/var/run/docker.sock:/var/run/docker.sock",
    ]
    name = traces.new_name()
    command = ["docker", "create", f"--name={name}", *options, "jobctl/base", "sshd"]
    subprocess.run(command, check=True, capture_output=True)
    try:
        careless = Seen(name, looked_at(name, name).facts, "1 sshd -D")
    finally:
        subprocess.run(["docker", "rm", name], check=True, capture_output=True)

    # One container can't be in the host's network and on the default bridge.
    assert [number for number, (_, holds) in CHECKS.items() if holds(careless)] == ["5.30"]


def test_an_image_keeps_the_health_check_that_it_has(
    site: Site, traces: Traces, tmp_path: Any
) -> None:
    tag = f"jobctl-test/checked:{traces.prefix}"
    (tmp_path / "Dockerfile").write_text("FROM jobctl/base\nHEALTHCHECK CMD true\n")
    subprocess.run(["docker", "build", "-q", "-t", tag, tmp_path], check=True, capture_output=True)
    try:
        job = site.run_json(
            *("run", "--generate-password", "--json", "--image", tag, *AD_HOC[2:], *SERVE)
        )
        app = looked_at(job["container_ids"][-1], "app")
        site.run("rm", "--force", job["job_id"])
    finally:
        subprocess.run(["docker", "image", "rm", tag], check=True, capture_output=True)

    assert app.config["Healthcheck"]["Test"] == ["CMD-SHELL", "true"]
