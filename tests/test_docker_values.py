"""Translation between jobctl's values and the Docker SDK's."""

from __future__ import annotations

from typing import Any

import pytest

from jobctl.engines.base import Bind, ContainerSpec, Healthcheck, Publish
from jobctl.engines.docker_values import (
    container_from,
    create_kwargs,
    health_kwargs,
    host_kwargs,
)


def spec(**changes: Any) -> ContainerSpec:
    values: dict[str, Any] = {
        "name": "n",
        "image": "i",
        "command": ("serve", "--all"),
        "user": "1000:1000",
        "labels": {"a": "b"},
        "memory": 1024**2,
        "cpus": 0.5,
        "pids": 9,
    }
    return ContainerSpec(**values | changes)


def test_a_container_is_locked_down_unless_its_spec_says_otherwise() -> None:
    host = host_kwargs(spec())

    assert host["cap_drop"] == ["ALL"]
    assert host["cap_add"] == []
    assert host["security_opt"] == ["no-new-privileges:true"]
    assert host["read_only"] is True
    assert host["init"] is True
    assert host["ipc_mode"] == "private"
    assert host["log_config"]["Config"] == {"max-size": "10m", "max-file": "3"}


def test_limits_are_in_the_engine_s_units() -> None:
    host = host_kwargs(spec(memory=5 * 1024**2, cpus=1.5, pids=7))

    assert host["mem_limit"] == host["memswap_limit"] == 5 * 1024**2
    assert host["cpu_quota"] / host["cpu_period"] == 1.5
    assert host["pids_limit"] == 7


def test_a_fraction_of_a_core_is_not_rounded_to_no_limit() -> None:
    assert host_kwargs(spec(cpus=0.01))["cpu_quota"] >= 1000  # the least that the kernel takes


def test_restarts_are_after_failures_and_counted() -> None:
    assert host_kwargs(spec(restarts=3))["restart_policy"] == {
        "Name": "on-failure",
        "MaximumRetryCount": 3,
    }


def test_no_restarts_is_not_restarts_without_end() -> None:
    """To the engine, ``on-failure`` with a count of 0 has no limit."""
    policy = host_kwargs(spec(restarts=0))["restart_policy"]

    assert policy is None or policy["Name"] in ("", "no")


def test_a_mount_names_both_ends_and_is_refused_without_a_source() -> None:
    (mount,) = host_kwargs(spec(binds=[Bind(source="/a b", target="/c")]))["mounts"]

    assert (mount["Type"], mount["Source"], mount["Target"]) == ("bind", "/a b", "/c")
    assert mount["ReadOnly"] is True
    assert not mount["BindOptions"].get("CreateMountpoint")


def test_a_mount_may_be_writable() -> None:
    bind = Bind(source="/a", target="/c", read_only=False)

    assert host_kwargs(spec(binds=[bind]))["mounts"][0]["ReadOnly"] is False


def test_a_published_port_is_bound_to_its_address() -> None:
    publish = Publish(address="127.0.0.1", host_port=8000, container_port=8443)

    assert host_kwargs(spec(publish=publish))["port_bindings"] == {8443: ("127.0.0.1", 8000)}
    assert create_kwargs(spec(publish=publish))["ports"] == [8443]


def test_without_a_port_none_is_published() -> None:
    assert host_kwargs(spec())["port_bindings"] is None
    assert create_kwargs(spec())["ports"] is None


def test_a_container_is_in_a_network_or_joins_another_s() -> None:
    assert host_kwargs(spec(network="net-id"))["network_mode"] == "net-id"
    assert host_kwargs(spec(joins="first"))["network_mode"] == "container:first"


def test_the_command_stands_alone() -> None:
    """An entrypoint of the image would take the command for its arguments."""
    kwargs = create_kwargs(spec())

    assert kwargs["command"] == ["serve", "--all"]
    assert kwargs["entrypoint"] == []


def test_what_else_a_container_is_created_with() -> None:
    kwargs = create_kwargs(spec(env={"X": "1"}, working_dir="/w", stop_grace=3))

    assert (kwargs["name"], kwargs["image"], kwargs["user"]) == ("n", "i", "1000:1000")
    assert kwargs["labels"] == {"a": "b"}
    assert kwargs["environment"] == {"X": "1"}
    assert kwargs["working_dir"] == "/w"
    assert kwargs["stop_timeout"] == 3
    assert kwargs["healthcheck"] is None


def test_health_checks_count_in_nanoseconds_and_use_no_shell() -> None:
    check = health_kwargs(Healthcheck(command=["a", "b c"], interval=0.5, timeout=2, retries=4))

    assert check["Test"] == ["CMD", "a", "b c"]
    assert (check["Interval"], check["Timeout"], check["Retries"]) == (5 * 10**8, 2 * 10**9, 4)


# Entries of the engine's list, as API 1.41 gives them

ENTRY = {
    "Id": "abc",
    "Names": ["/jobctl-job_8000"],
    "Image": "jobctl/gateway",
    "Labels": {"jobctl.role": "gateway"},
    "State": "running",
    "Status": "Up 2 minutes",
    "Ports": [
        {"IP": "127.0.0.1", "PrivatePort": 8443, "PublicPort": 8000, "Type": "tcp"},
        {"IP": "::1", "PrivatePort": 8443, "PublicPort": 8000, "Type": "tcp"},
        {"PrivatePort": 9000, "Type": "tcp"},
    ],
}


def test_an_entry_of_the_list() -> None:
    found = container_from(ENTRY)

    assert (found.id, found.name, found.image) == ("abc", "jobctl-job_8000", "jobctl/gateway")
    assert (found.state, found.health) == ("running", None)
    assert found.labels == {"jobctl.role": "gateway"}
    assert found.ports == {8000}


@pytest.mark.parametrize(
    ("status", "health"),
    [
        ("Up 2 minutes (healthy)", "healthy"),
        ("Up 2 minutes (unhealthy)", "unhealthy"),
        ("Up Less than a second (health: starting)", "starting"),
        ("Up 2 minutes (Paused)", None),
        ("Exited (0) 3 seconds ago", None),
        ("Exited (137) 3 seconds ago", None),
        ("Created", None),
        ("", None),
    ],
)
def test_health_is_read_from_the_words_of_the_list(status: str, health: str | None) -> None:
    assert container_from(ENTRY | {"Status": status}).health == health


def test_an_entry_may_lack_what_is_empty() -> None:
    found = container_from(ENTRY | {"Labels": None, "Ports": None, "Names": None})

    assert (found.labels, found.ports, found.name) == ({}, frozenset(), "")
