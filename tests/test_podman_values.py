"""Between jobctl's values and Podman's, for what the Podman of the other tests does not do."""

from __future__ import annotations

from typing import Any

import pytest

from jobctl.engines import podman_values as values
from jobctl.engines.base import ContainerSpec, Facts, Healthcheck

INFO: dict[str, Any] = {
    "host": {
        "cgroupVersion": "v2",
        "cgroupControllers": ["cpu", "io", "memory", "pids"],
        "security": {"rootless": True, "seccompEnabled": True, "selinuxEnabled": True},
        "slirp4netns": {"executable": "/usr/bin/slirp4netns"},
    },
    "version": {"Version": "4.3.1"},
}


def info(**host: Any) -> dict[str, Any]:
    return INFO | {"host": INFO["host"] | host}


def facts(found: dict[str, Any], *, timers: bool) -> Facts:
    where = {"endpoint": "unix:///run/podman/podman.sock", "chosen_by": "the usual place"}
    return values.podman_facts(found, **where, version="4.3.1", timers=timers)


def body(**changes: Any) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "name": "jobctl-job_8000",
        "image": "jobctl/demo",
        "command": ["demo"],
        "user": "1000:1000",
        "labels": {},
        "memory": 1 << 20,
        "cpus": 1.5,
        "pids": 10,
    }
    spec = ContainerSpec(**wanted | changes)
    return values.create_body(spec, network="slirp4netns", most_files=None)


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("jobctl/base", "localhost/jobctl/base:latest"),
        ("demo:2", "localhost/demo:2"),
        ("localhost/demo", "localhost/demo:latest"),
        ("registry.example.org/demo:2", "registry.example.org/demo:2"),
        ("lab:5000/demo", "lab:5000/demo:latest"),
    ],
)
def test_the_name_that_an_image_is_stored_under(tag: str, name: str) -> None:
    assert values.qualified(tag) == name


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        ("localhost/jobctl/base:latest", "jobctl/base"),
        ("localhost/demo:2", "demo:2"),
        ("docker.io/library/python:3.12", "python:3.12"),
        ("docker.io/grafana/grafana:latest", "grafana/grafana"),
        ("registry.example.org/demo:2", "registry.example.org/demo:2"),
    ],
)
def test_the_name_that_users_know_it_by(stored: str, name: str) -> None:
    assert values.familiar(stored) == name


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("rw,mode=1777,size=1m", ["rw", "mode=1777", "size=1m"]),
        ("rw,mode=0755,uid=0", ["rw", "mode=0755"]),
        ("rw,exec,mode=0755,uid=1000", ["rw", "exec", "mode=1777"]),
        ("ro,size=64k,uid=1000", ["ro", "size=64k", "mode=0755"]),
    ],
)
def test_a_file_system_in_memory_has_no_owner_and_is_still_usable(
    asked: str, given: list[str]
) -> None:
    (mount,) = body(tmpfs={"/scratch": asked})["mounts"]

    assert mount["options"] == [*given, "notmpcopyup"]


def test_gpus_are_devices_by_name() -> None:
    assert body(gpus="all")["devices"] == [{"path": "nvidia.com/gpu=all"}]
    assert [one["path"] for one in body(gpus=2)["devices"]] == [
        "nvidia.com/gpu=0",
        "nvidia.com/gpu=1",
    ]
    assert "devices" not in body()


def test_an_image_keeps_its_entrypoint_only_where_it_is_asked_for() -> None:
    assert body()["entrypoint"] == []
    assert "entrypoint" not in body(entrypoint=True, command=[])


def test_who_joins_another_has_no_network_of_its_own() -> None:
    joined = body(joins="abc")

    assert joined["netns"] == {"nsmode": "container", "value": "abc"}
    assert "network_options" not in joined
    assert "labels" not in joined
    assert body(network="jobctl")["labels"] == {values.NETWORK_LABEL: "jobctl"}


def test_root_s_podman_is_told_how_many_files_it_may_give() -> None:
    spec = ContainerSpec(
        name="x", image="x", command=[], user="", labels={}, memory=1, cpus=1, pids=1
    )

    limits = values.create_body(spec, network="", most_files=20000)["r_limits"]

    assert {one["type"]: one["hard"] for one in limits} == {
        "core": 0,
        "nofile": 20000,
        "nproc": 20000,
    }


@pytest.mark.parametrize(
    ("there", "rootless", "mode"),
    [
        (("slirp4netns", "pasta"), True, "slirp4netns"),
        (("pasta",), True, "pasta"),  # of 5.0 and later, for ordinary users alone
        (("pasta",), False, None),
        ((), True, None),
    ],
)
def test_what_gives_a_job_its_own_network(
    there: tuple[str, ...], rootless: bool, mode: str | None
) -> None:
    tools = {
        name: {"executable": name if name in there else ""} for name in ("slirp4netns", "pasta")
    }

    found = info(security={"rootless": rootless}, **tools)

    assert values.own_network(found) == mode


def test_an_engine_that_was_given_its_cgroups_can_limit() -> None:
    found = facts(INFO, timers=True)

    assert (found.cgroups, found.unlimited) == ("2", frozenset())
    assert (found.rootless, found.seccomp, found.mandatory) == (True, "default", ["selinux"])
    assert not any("systemd" in line or "memory" in line for line in found.differences)


def test_what_was_not_delegated_is_not_limited() -> None:
    found = facts(info(cgroupControllers=["memory", "pids"]), timers=False)

    assert (found.cgroups, found.unlimited) == ("2", frozenset({"cpus"}))
    assert any("no systemd to run health checks" in line for line in found.differences)


@pytest.mark.parametrize(("version", "sent"), [("4.9.3", 7), ("5.2.0", 9)])
def test_what_was_sent_was_once_what_was_received(version: str, sent: int) -> None:
    answer = {
        "read": "2026-11-25T10:00:00Z",
        "cpu_stats": {"cpu_usage": {"total_usage": 10}},
        "memory_stats": {"usage": 4096},
        "networks": {"network": {"rx_bytes": 7, "tx_bytes": 9}},
    }

    found = values.podman_usage(answer, version)

    assert found is not None
    assert (found.sent, found.received) == (sent, 16 - sent)


def test_a_process_that_just_began_has_no_number_yet() -> None:
    rows = [["17", "root", "init"], ["?", "?", "sleep 1"], ["18", "65532", "sleep 2"]]

    found, whole = values.podman_processes({"Processes": rows})

    assert [(one.pid, one.uid, one.command) for one in found] == [
        (17, 0, "init"),
        (18, 65532, "sleep 2"),
    ]
    assert not whole
    assert values.podman_processes({"Processes": rows[:1]})[1]


@pytest.mark.parametrize(
    ("state", "seen"),
    [
        ("configured", "created"),
        ("stopping", "running"),
        ("stopped", "exited"),
        ("paused", "paused"),
    ],
)
def test_states_are_docker_s(state: str, seen: str) -> None:
    entry = {"Id": "abc", "State": state, "Labels": None, "Ports": None}

    assert values.container_from(entry).state == seen


@pytest.mark.parametrize(("second", "due"), [(29, False), (30, True)])
def test_a_health_check_is_due_after_its_interval(second: int, due: bool) -> None:
    check = body(healthcheck=Healthcheck(command=["true"], interval=30))["healthconfig"]
    began, ran = "2026-11-25T10:00:00Z", "2026-11-25T11:00:00Z"
    answer = {
        "Config": {"Healthcheck": check},
        "State": {"StartedAt": began, "Health": {"Log": None}},
    }
    at_ten, an_hour = 1795600800, 3600

    assert values.overdue(answer, at_ten + second) is due
    answer["State"]["Health"] = {"Log": [{"End": ran}]}
    assert values.overdue(answer, at_ten + an_hour + second) is due
