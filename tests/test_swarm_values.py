"""Containers as services: what nodes are told, and what their answers mean."""

from __future__ import annotations

from typing import Any

import pytest

from jobctl.engines.base import Bind, ContainerSpec, Node, Publish
from jobctl.engines.swarm_values import (
    STOPPED,
    Parts,
    Seen,
    node_from,
    pin_of,
    placed,
    service_spec,
    template_of,
)

AT = "2026-11-25T16:20:0{}.5Z"
NODES = {
    one: Node(id=one, name=f"node-{one}", address=f"192.0.2.{n}", ready=True, cpus=2)
    for n, one in enumerate("ab")
}
NO_SPACE = "no suitable node (host-mode port already in use on 2 nodes)"


def spec(**changes: Any) -> ContainerSpec:
    values: dict[str, Any] = {
        "name": "jobctl-job_8000",
        "image": "jobctl/web",
        "command": ["serve", "--here"],
        "user": "1000:1000",
        "labels": {"jobctl.job_id": "job_8000"},
        "memory": 1 << 30,
        "cpus": 2,
        "pids": 64,
    }
    return ContainerSpec(**values | changes)


def service(*, replicas: int = 1, epoch: int = 1, **changes: Any) -> dict[str, Any]:
    made = service_spec(spec(**changes), Parts(image="sha256:1"))
    made["Mode"]["Replicated"]["Replicas"] = replicas
    made["TaskTemplate"]["ForceUpdate"] = epoch
    return {"ID": "service", "Spec": made}


def task(second: int, state: str, desired: str = "running", **more: Any) -> dict[str, Any]:
    status = {"State": state, "Timestamp": AT.format(second), "Err": more.get("error", "")}
    if more.get("code") is not None:
        status["ContainerStatus"] = {"ContainerID": "c", "PID": 7, "ExitCode": more["code"]}
    return {
        "ID": f"task-{second}",
        "CreatedAt": AT.format(second),
        "Spec": {"ForceUpdate": more.get("epoch", 1)},
        "NodeID": more.get("node", "a"),
        "DesiredState": desired,
        "Status": status,
    }


def seen(*tasks: dict[str, Any], lost: str = "", **how: Any) -> Seen:
    return Seen(service=service(**how), tasks=tasks, nodes=NODES, lost=frozenset(lost))


def stopped(*tasks: dict[str, Any]) -> Seen:
    found = seen(*tasks)
    placed(template_of(found.service), stopped=True)
    return found


RUNS = task(1, "running", code=0)
FAILED = task(1, "failed", "shutdown", code=3, error="task: non-zero exit (3)")


@pytest.mark.parametrize(
    ("found", "state", "code", "restarts"),
    [
        (seen(replicas=0), "created", 0, 0),
        (seen(), "starting", 0, 0),
        (seen(task(1, "preparing")), "starting", 0, 0),
        (seen(RUNS), "running", 0, 0),
        (seen(RUNS, lost="a"), "starting", 0, 0),
        (seen(FAILED, task(2, "assigned")), "starting", 3, 1),
        (seen(FAILED, task(2, "running", code=0)), "running", 0, 1),
        (seen(FAILED, task(2, "failed", "shutdown", code=4)), "exited", 4, 1),
        (seen(task(1, "rejected", "shutdown")), "exited", 125, 0),
        (seen(FAILED, epoch=2), "starting", 0, 0),
        (stopped(RUNS, task(2, "pending", "ready", node="")), "running", 0, 0),
        (
            stopped(task(1, "shutdown", "shutdown", code=143), task(2, "pending", "ready")),
            "exited",
            143,
            0,
        ),
        (stopped(), "exited", 0, 0),
    ],
)
def test_what_tasks_say_of_a_service(found: Seen, state: str, code: int, restarts: int) -> None:
    condition = found.condition(here="a")

    assert found.state == state
    assert (condition.exit_code, condition.restarts) == (code, restarts)
    assert (condition.pid is not None) == (state == "running")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (seen(RUNS), None),
        (seen(RUNS, lost="a"), "its node node-a is lost"),
        (seen(FAILED, task(2, "ready")), "task: non-zero exit (3)"),
        (seen(task(1, "pending", error=NO_SPACE)), NO_SPACE),
        (
            seen(task(1, "rejected", error="No such image: sha256:1")),
            'node-a has no image "jobctl/web": load it there, as with docker save jobctl/web | '
            "ssh node-a docker load",
        ),
        (stopped(task(1, "pending", error=NO_SPACE)), None),
    ],
)
def test_why_a_service_does_not_run(found: Seen, words: str | None) -> None:
    assert (found.reason or "").startswith(words or "")
    assert (found.reason is None) == (words is None)
    assert found.port_taken == (words is not None and "already in use" in words)


def test_only_the_node_that_is_asked_tells_processes() -> None:
    assert seen(RUNS).condition(here="b").pid is None


def test_a_container_is_where_its_task_is() -> None:
    container = seen(task(1, "running", code=0, node="b")).container()

    assert (container.host, container.address) == ("node-b", "192.0.2.1")
    assert (container.image, container.name) == ("jobctl/web", "jobctl-job_8000")


def test_a_pin_takes_the_place_of_another_one_and_leaves_what_the_caller_said() -> None:
    found = service(constraints=["node.labels.gpu==true"])
    template = template_of(found)

    placed(template, pin="a")
    assert pin_of(found) == "a"
    placed(template, pin="b", stopped=True)

    assert pin_of(found) == "b"
    constraints = template["Placement"]["Constraints"]
    assert constraints == ["node.labels.gpu==true", "node.id == b", STOPPED]
    placed(template)
    assert (pin_of(found), template["Placement"]["Constraints"]) == (None, constraints[:1])


def test_a_service_is_locked_down_and_limited() -> None:
    made = service_spec(
        spec(reserve_memory=1 << 20, reserve_cpus=0.5, shm_size=1 << 20),
        Parts(image="sha256:1", most_cpus=1, secrets={"/s/k.key": ("id", "name")}),
    )

    template = made["TaskTemplate"]
    own = template["ContainerSpec"]
    assert (own["ReadOnly"], own["CapabilityDrop"], own["Init"]) == (True, ["ALL"], True)
    assert own["Command"] == ["serve", "--here"]
    assert own["Secrets"][0]["File"] == {
        "Name": "/s/k.key",
        "UID": "1000",
        "GID": "1000",
        "Mode": 0o400,
    }
    assert template["Resources"] == {
        "Limits": {"NanoCPUs": 10**9, "MemoryBytes": 1 << 30, "Pids": 64},
        "Reservations": {"NanoCPUs": 5 * 10**8, "MemoryBytes": 1 << 20},
    }
    assert template["RestartPolicy"]["MaxAttempts"] == 5
    assert made["Mode"]["Replicated"]["Replicas"] == 0
    assert "Privileges" not in own
    told = service_spec(spec(), Parts(image="i", no_new_privileges=True))
    assert told["TaskTemplate"]["ContainerSpec"]["Privileges"] == {"NoNewPrivileges": True}


def test_a_port_is_published_on_the_node_that_runs_it() -> None:
    publish = Publish(address="0.0.0.0", host_port=8000, container_port=8443)

    endpoint = service_spec(spec(publish=publish), Parts(image="i"))["EndpointSpec"]

    assert endpoint["Mode"] == "dnsrr"
    assert [port["PublishMode"] for port in endpoint["Ports"]] == ["host"]


def test_what_a_user_sets_is_no_template() -> None:
    """Swarm would fill in {{.Node.Hostname}}, and refuse what it can't."""
    made = service_spec(spec(env={"A": "{{.Node.ID}} {{"}), Parts(image="i"))
    own = made["TaskTemplate"]["ContainerSpec"]

    assert own["Env"] == ['A={{"{{"}}.Node.ID}} {{"{{"}}']
    found = Seen(service={"ID": "s", "Spec": made}, tasks=[], nodes={}, lost=frozenset())
    assert found.details().env == {"A": "{{.Node.ID}} {{"}


def test_mounts() -> None:
    tmpfs = {
        "/scratch": "rw,noexec,nosuid,nodev,mode=1777,size=256m",
        "/home/app": "rw,exec,nosuid,nodev,mode=0755,uid=1000",
        "/state": "ro,noexec,nosuid,nodev,size=64k,uid=1000",
    }
    bind = Bind(source="/data", target="/data")

    made = service_spec(spec(tmpfs=tmpfs, binds=[bind]), Parts(image="i"))

    data, scratch, home, mask = made["TaskTemplate"]["ContainerSpec"]["Mounts"]
    assert (data["Type"], data["ReadOnly"]) == ("bind", True)
    assert scratch["TmpfsOptions"] == {"SizeBytes": 256 << 20, "Mode": 0o1777}
    driver = home["VolumeOptions"]["DriverConfig"]["Options"]
    assert driver["o"] == "exec,nosuid,nodev,mode=0755,uid=1000"
    assert home["Source"].startswith("jobctl-")
    # Made by the engine for this container alone, and removed with it.
    assert mask == {"Type": "volume", "Target": "/state", "VolumeOptions": {"NoCopy": True}}


def test_a_manager_that_does_not_know_its_own_address() -> None:
    answer = {
        "ID": "a",
        "Spec": {"Availability": "drain"},
        "Description": {"Hostname": "one", "Resources": {"NanoCPUs": 4 * 10**9}},
        "Status": {"State": "ready", "Addr": "0.0.0.0"},
        "ManagerStatus": {"Addr": "192.0.2.7:2377"},
    }

    found = node_from(answer)

    assert (found.address, found.ready, found.cpus) == ("192.0.2.7", False, 4)
