"""Podman, rootful and rootless: the main job as its users have it, and what is otherwise there."""

from __future__ import annotations

import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobctl.engines.base import ContainerSpec, Publish
from jobctl.engines.podman import PodmanEngine
from jobctl.errors import JobctlError
from tests.doctoring import doctor
from tests.pages import blocks, not_run
from tests.podman import Podman, docker
from tests.site import Site, let_others_pass, next_ports
from tests.test_engine_contract import SERVES, free_port
from tests.waiting import eventually

pytestmark = pytest.mark.engine

IMAGES = ("jobctl/gateway", "jobctl/conduit")
SYSTEMD = Path("/run/systemd/system").is_dir()
CGROUPS_2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()


@pytest.fixture(scope="module", params=["rootful_podman", "rootless_podman"])
def podman(request: pytest.FixtureRequest, tiny_image: str) -> Podman:
    found: Podman = request.getfixturevalue(request.param)
    found.load(*IMAGES, tiny_image)
    return found


@pytest.fixture(scope="module")
def engine_of(podman: Podman) -> Iterator[PodmanEngine]:
    engine = PodmanEngine(podman.endpoint)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def place(podman: Podman, engine_of: PodmanEngine, installed_for_all: Path) -> Iterator[Site]:
    """Return the place of the user whose Podman it is, who asks for it in the configuration."""
    let_others_pass(installed_for_all.parent)
    root = podman.directory / "theirs"
    site = Site(installed_for_all, root, engine_of, next_ports(), podman.account)
    values = yaml.safe_load(site.config.read_text())
    values["general"]["engine"] = "podman"
    site.config.write_text(yaml.safe_dump(values))
    # Both find the socket where the podman command does.
    site.env |= (
        {"XDG_RUNTIME_DIR": str(podman.directory / "run")}
        if podman.rootless
        else {"CONTAINER_HOST": podman.endpoint}
    )
    yield site
    site.clear()


def curl(site: Site, job: dict[str, Any], *, password: str) -> str:
    """Return the status that curl gets, with the user's authority alone and a password."""
    done = subprocess.run(
        [
            *("curl", "--cacert", site.authority(), "--digest", "--silent", "--config", "-"),
            *("--output", "/dev/null", "--write-out", "%{http_code}", job["url"]),
        ],
        input=f'user = "{job["owner"]}:{password}"',
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def spec(image: str, command: tuple[str, ...], **changes: Any) -> ContainerSpec:
    values: dict[str, Any] = {
        "name": f"jobctl-test-{secrets.token_hex(4)}",
        "image": image,
        "command": command,
        "user": "65532:65532",
        "labels": {},
        "memory": 32 * 1024**2,
        "cpus": 0.5,
        "pids": 32,
    }
    return ContainerSpec(**values | changes)


# The main job


def test_the_main_job_from_run_to_rm(place: Site, podman: Podman) -> None:
    job = place.run_json("run", "conduit", "--generate-password", "--json")

    assert (job["status"], job["engine"]) == ("launched", "podman")
    assert job["owner"] == podman.account.pw_name
    assert curl(place, job, password=job["password"]) == "200"
    assert curl(place, job, password="wrong") == "401"
    assert place.run("ps", "-q").stdout.split() == [job["job_id"]]

    place.run("stop", job["job_id"])
    assert curl(place, job, password=job["password"]) == "000"
    assert place.run("ps", "-q").stdout == ""

    place.run("start", job["job_id"])
    assert curl(place, job, password=job["password"]) == "200"
    assert [one["status"] for one in place.run_json("ps", "--json")] == ["launched"]

    place.run("rm", "--force", job["job_id"])
    place.assert_nothing_left()
    # The image of the gateway has one, for what it buffers.
    assert docker(podman, "volume", "ls", "--quiet") == ""


@pytest.fixture(scope="module")
def job(place: Site) -> Iterator[dict[str, Any]]:
    """Run a job that several tests look at."""
    made: dict[str, Any] = place.run_json("run", "conduit", "--generate-password", "--json")
    yield made
    place.run("rm", "--force", made["job_id"])


def test_what_confines_a_job(
    place: Site, podman: Podman, engine_of: PodmanEngine, job: dict[str, Any]
) -> None:
    seen = place.run_json("inspect", job["job_id"], "--json")["confinement"]
    limited = engine_of.facts().cgroups is not None

    for one in seen.values():
        assert (one["cap_drop"], one["cap_add"]) == (["ALL"], [])
        assert (one["no_new_privileges"], one["read_only"], one["privileged"]) == (
            True,
            True,
            False,
        )
        assert one["seccomp"] == "default"
        # No limit is said to be none.
        assert [one[what] is not None for what in ("memory", "cpus", "pids")] == [limited] * 3
    limits = ["unlimited cpus", "unlimited memory", "unlimited pids"]
    assert job["relaxed"] == ([] if limited else limits)
    status = Path(f"/proc/{job['pid']}/status").read_text()
    fields = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    assert {int(fields[key], 16) for key in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    # Root in a rootless container is the user whose engine it is; root's jobs are nobody's.
    expected = podman.account.pw_uid if podman.rootless else 65532
    assert set(fields["Uid"].split()) == {str(expected)}


def test_doctor_states_what_is_otherwise(place: Site, podman: Podman, job: dict[str, Any]) -> None:
    seen = doctor(place)

    assert "podman 4" in seen.words("engine")
    assert ("rootless" in seen.words("isolation")) == podman.rootless
    assert "nobody but root and you" in seen.words("access")
    assert "network of its own (slirp4netns)" in seen.words("differences")
    assert ("no systemd" in seen.words("differences")) != SYSTEMD
    if podman.rootless and not CGROUPS_2:
        assert seen.verdict("limits") == "problem"
        assert "ignores limits of memory, cpus, pids" in seen.words("limits")
    else:
        assert seen.verdict("limits") == "ok"
    assert seen.verdict("network") == "ok"


def test_no_other_container_gets_to_a_job(
    podman: Podman, engine_of: PodmanEngine, tiny_image: str
) -> None:
    """What listens on all addresses of one is reached neither from another nor from the host."""
    port = free_port()
    server = engine_of.create(
        spec(
            tiny_image,
            SERVES,
            network="jobctl",
            publish=Publish(address="127.0.0.1", host_port=port, container_port=9000),
        )
    )
    engine_of.start(server)
    try:
        assert eventually(lambda: answer_at(port)) == b"reached\n"
        # Its own address, that of its host within its network, and the host's loopback: none leads
        # from another container to the port, which is bound to loopback.
        ask = f"for a in 10.0.2.100:9000 10.0.2.2:{port} 127.0.0.1:{port}; do "
        ask += "nc -w 2 ${a%:*} ${a#*:} </dev/null; done; echo end"
        assert said_by(engine_of, spec(tiny_image, ("sh", "-c", ask), network="jobctl")) == "end\n"
        details = engine_of.details(server)
        assert details is not None
        assert details.addresses == []
    finally:
        engine_of.remove(server)


def answer_at(port: int) -> bytes:
    with (
        suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=5) as client,
    ):
        return client.recv(100)
    return b""


def said_by(engine: PodmanEngine, wanted: ContainerSpec) -> str:
    """Return what a container wrote once it has ended."""
    container = engine.create(wanted)
    try:
        engine.start(container)
        assert eventually(lambda: (c := engine.condition(container)) and c.state == "exited")
        return (
            "\n".join(
                line
                for line in b"".join(engine.logs(container)).decode().splitlines()
                if not line.startswith("nc: ")
            )
            + "\n"
        )
    finally:
        engine.remove(container)


def test_a_container_is_created_as_locked_down_as_elsewhere(
    engine_of: PodmanEngine, podman: Podman, tiny_image: str
) -> None:
    """Podman's compatible API would give it places to write, and leave out half of the limits."""
    container = engine_of.create(spec(tiny_image, ("true",), tmpfs={"/scratch": "rw,size=1m"}))
    try:
        answer = yaml.safe_load(docker(podman, "inspect", container))[0]
    finally:
        engine_of.remove(container)

    host = answer["HostConfig"]
    assert set(host["Tmpfs"]) == {"/scratch"}
    assert "tmpcopyup" not in host["Tmpfs"]["/scratch"].split(",")
    assert (host["ReadonlyRootfs"], host["Privileged"], host["Init"]) == (True, False, True)
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 5}
    assert {"Name": "RLIMIT_CORE", "Soft": 0, "Hard": 0} in host["Ulimits"]
    if engine_of.facts().cgroups:
        assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (
            32 * 1024**2,
            32 * 1024**2,
            32,
        )
        assert host["CpuQuota"] / host["CpuPeriod"] == 0.5


def test_an_address_that_ports_can_not_be_published_on(
    engine_of: PodmanEngine, tiny_image: str
) -> None:
    publish = Publish(address="::1", host_port=free_port(), container_port=9000)

    with pytest.raises(JobctlError, match=r"can't publish a port on ::1: choose an IPv4"):
        engine_of.create(spec(tiny_image, SERVES, network="jobctl", publish=publish))


def test_removing_what_others_have_joined_removes_them(
    engine_of: PodmanEngine, tiny_image: str
) -> None:
    """Podman would refuse it; half a job is of no use."""
    first = engine_of.create(spec(tiny_image, ("sleep", "1000"), network="jobctl"))
    second = engine_of.create(spec(tiny_image, ("sleep", "1000"), joins=first))

    engine_of.remove(first)

    assert engine_of.condition(first) is None
    assert engine_of.condition(second) is None


# Nobody else


@pytest.mark.parametrize("podman", ["rootless_podman"], indirect=True)
def test_nobody_else_can_read_a_rootless_job(
    podman: Podman, place: Site, job: dict[str, Any]
) -> None:
    """Not its files, its environment, its log, the socket or the place where Podman keeps it."""
    socket_path = podman.socket
    processes = [place.engine.processes(one) for one in job["container_ids"]]
    pids = [process.pid for found in processes for process in found]
    assert job["pid"] in pids
    private = [
        *(str(path) for path in place.directory.iterdir()),
        *(f"/proc/{pid}/{what}" for pid in pids for what in ("environ", "root/", "fd/", "maps")),
        str(podman.directory / "home/storage/overlay"),
        str(socket_path.parent),
    ]
    assert len(private) > 15
    script = (
        "import os, socket, sys\n"
        "for path in sys.argv[2:]:\n"
        "    try:\n"
        "        os.listdir(path) if os.path.isdir(path) else open(path).read()\n"
        "        print('read', path)\n"
        "    except PermissionError:\n"
        "        pass\n"
        "try:\n"
        "    socket.socket(socket.AF_UNIX).connect(sys.argv[1])\n"
        "    print('connected')\n"
        "except PermissionError:\n"
        "    pass\n"
    )

    def read_as(uid: int) -> str:
        done = subprocess.run(
            ["/usr/bin/python3", "-c", script, str(socket_path), *private],
            user=uid,
            group=uid,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert read_as(65534) == ""
    # The same asked by the user is answered, so that it is not the question that fails.
    assert f"read {place.directory}/connections.txt" in read_as(podman.account.pw_uid)
    assert "connected" in read_as(podman.account.pw_uid)


PAGE = "docs/how-to/rootless-podman.md"


@pytest.mark.parametrize("podman", ["rootless_podman"], indirect=True)
def test_the_page_does_what_it_says(podman: Podman, place: Site) -> None:
    """But for what an administrator, a systemd or another host has to do, which it names."""
    assert set(not_run(PAGE).values()) == {
        "an administrator does it once, on a host with systemd",
        "it takes a systemd of the user's, which a test can't start",
        "the test has started it in the same way",
        "it makes them all anew, which takes minutes",
    }
    directory = place.state.parent
    subprocess.run(["docker", "save", IMAGES[0], "-o", directory / "images.tar"], check=True)
    (directory / "images.tar").chmod(0o644)
    path = f"{place.command.parent}:{podman.env['PATH']}"
    env = podman.env | place.env | {"PATH": path}

    for block in blocks(PAGE):
        if block.kind != "sh" or block.reason is not None:
            continue
        text = block.text.replace("8000", str(place.ports[1]))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            env=env,
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
            **place.identity,
        )
        assert done.returncode == 0, f"{text}{done.stdout}{done.stderr}"

    left = place.run("ps", "--all", "-q").stdout.split()
    assert f"job_{place.ports[1]}" not in left
