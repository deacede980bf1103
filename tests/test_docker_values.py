"""Translation between jobctl's values and the Docker SDK's."""

from __future__ import annotations

from typing import Any

import pytest
from docker.tls import TLSConfig

from jobctl.engines.base import (
    Bind,
    ContainerSpec,
    Facts,
    Healthcheck,
    Network,
    Process,
    Publish,
)
from jobctl.engines.docker_values import (
    container_from,
    create_kwargs,
    details_from,
    facts_from,
    health_kwargs,
    host_kwargs,
    network_from,
    processes_from,
    transfers,
    transport,
    usage_from,
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


def test_a_crash_leaves_no_core_file() -> None:
    assert host_kwargs(spec())["ulimits"] == [{"Name": "core", "Soft": 0, "Hard": 0}]


def test_a_weight_beside_other_containers() -> None:
    assert host_kwargs(spec())["cpu_shares"] == 1024
    assert host_kwargs(spec(cpu_shares=2048))["cpu_shares"] == 2048


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


def test_files_and_secrets_appear_at_their_own_path_and_read_only() -> None:
    mounts = host_kwargs(spec(files=["/jobs/config"], secrets=["/jobs/key"]))["mounts"]

    assert [mount["Source"] for mount in mounts] == ["/jobs/config", "/jobs/key"]
    assert all(mount["Target"] == mount["Source"] and mount["ReadOnly"] for mount in mounts)


def test_a_mount_names_both_ends_and_is_refused_without_a_source() -> None:
    (mount,) = host_kwargs(spec(binds=[Bind(source="/a b", target="/c")]))["mounts"]

    assert (mount["Type"], mount["Source"], mount["Target"]) == ("bind", "/a b", "/c")
    assert mount["ReadOnly"] is True
    # The engine's own choice of propagation is rprivate, or rslave for what holds its own data.
    assert "BindOptions" not in mount


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


# The engine's inspect and top answers

LOCKED = {
    "ReadonlyRootfs": True,
    "CapAdd": None,
    "CapDrop": ["ALL"],
    "Privileged": False,
    "SecurityOpt": ["no-new-privileges:true"],
    "Memory": 1024,
    "PidsLimit": 9,
    "PortBindings": {"8443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8000"}]},
}
ANSWER: dict[str, Any] = {
    "Path": "serve",
    "Args": ["--all", "a b"],
    "Config": {"Env": ["A=b=c", "EMPTY="], "Labels": {"x": "y"}, "User": "1000:1000"},
    "HostConfig": LOCKED,
    "Mounts": [
        {"Type": "bind", "Source": "/a", "Destination": "/b", "RW": False},
        {"Type": "bind", "Source": "/c", "Destination": "/d", "RW": True},
        {"Type": "volume", "Source": "/var/lib/v", "Destination": "/v", "RW": True},
    ],
    "NetworkSettings": {"Networks": {"n": {"IPAddress": "172.18.0.2", "GlobalIPv6Address": ""}}},
}


def test_details_of_a_locked_down_container() -> None:
    found = details_from(ANSWER)

    assert found.command == ["serve", "--all", "a b"]
    assert found.env == {"A": "b=c", "EMPTY": ""}
    assert (found.labels, found.user) == ({"x": "y"}, "1000:1000")
    assert (found.read_only, found.privileged, found.no_new_privileges) == (True, False, True)
    assert (found.cap_add, found.cap_drop) == ([], ["ALL"])
    assert (found.memory, found.pids) == (1024, 9)
    assert found.addresses == ["172.18.0.2"]
    assert found.publishes == [Publish(address="127.0.0.1", host_port=8000, container_port=8443)]


def test_details_name_the_host_paths_that_are_mounted() -> None:
    assert details_from(ANSWER).binds == [
        Bind(source="/a", target="/b"),
        Bind(source="/c", target="/d", read_only=False),
    ]


def test_details_of_a_container_that_is_not_locked_down() -> None:
    """As ``docker run`` makes it: what is not set is null."""
    loose = dict.fromkeys(LOCKED) | {"Privileged": True, "CapAdd": ["NET_ADMIN"], "Memory": 0}
    config = dict.fromkeys(ANSWER["Config"])

    found = details_from(ANSWER | {"HostConfig": loose, "Config": config, "Mounts": None})

    assert (found.read_only, found.privileged, found.no_new_privileges) == (False, True, False)
    assert (found.cap_add, found.cap_drop) == (["NET_ADMIN"], [])
    assert (found.memory, found.pids) == (0, 0)
    assert (found.env, found.labels, found.user) == ({}, {}, "")
    assert (found.binds, found.publishes) == ([], [])


@pytest.mark.parametrize(
    ("options", "seccomp"),
    [
        ([], None),
        (["no-new-privileges:true"], None),
        (["seccomp=unconfined"], "unconfined"),
        (["seccomp:unconfined"], "unconfined"),
        (['seccomp={\n "defaultAction": "SCMP_ACT_ALLOW"}'], "custom"),
    ],
)
def test_details_tell_another_seccomp_profile_than_the_engine_s(
    options: list[str], seccomp: str | None
) -> None:
    host = LOCKED | {"SecurityOpt": options}

    assert details_from(ANSWER | {"HostConfig": host}).seccomp == seccomp
    assert details_from(ANSWER | {"HostConfig": host | {"Privileged": True}}).seccomp == (
        "unconfined"
    )


def test_details_tell_the_profiles_that_not_every_kernel_has() -> None:
    label = "system_u:system_r:container_t:s0:c1,c2"
    found = details_from(ANSWER | {"AppArmorProfile": "docker-default", "ProcessLabel": label})
    without = details_from(ANSWER | {"AppArmorProfile": "", "ProcessLabel": ""})

    assert (found.apparmor, found.selinux) == ("docker-default", label)
    assert (without.apparmor, without.selinux) == (None, None)


@pytest.mark.parametrize(
    ("limits", "cores"),
    [
        ({"NanoCpus": 1_500_000_000}, 1.5),
        ({"CpuQuota": 50_000, "CpuPeriod": 100_000}, 0.5),
        ({"CpuQuota": 50_000, "CpuPeriod": 0}, 0.5),
        ({"CpuQuota": -1}, 0),
        ({}, 0),
    ],
)
def test_details_tell_a_limit_of_cpu_time_in_cores(limits: dict[str, int], cores: float) -> None:
    assert details_from(ANSWER | {"HostConfig": LOCKED | limits}).cpus == cores


def test_a_port_published_anyhow_is_published_on_all_addresses() -> None:
    """As ``docker run -p 9000`` and ``-P`` ask: no address, and a host port that is made up."""
    host = LOCKED | {"PortBindings": {"9000/tcp": [{"HostIp": "", "HostPort": ""}], "1/tcp": None}}

    (found,) = details_from(ANSWER | {"HostConfig": host}).publishes

    assert found == Publish(address="0.0.0.0", host_port=0, container_port=9000)


@pytest.mark.parametrize("limit", [None, 0, -1])
def test_the_engine_has_three_ways_to_say_no_limit(limit: int | None) -> None:
    assert details_from(ANSWER | {"HostConfig": LOCKED | {"PidsLimit": limit}}).pids == 0


@pytest.mark.parametrize(
    ("option", "forbids"),
    [
        ("no-new-privileges", True),
        ("no-new-privileges:true", True),
        ("no-new-privileges=true", True),
        ("no-new-privileges:false", False),
        ("seccomp=unconfined", False),
    ],
)
def test_new_privileges_are_forbidden_in_several_spellings(option: str, forbids: bool) -> None:
    host = LOCKED | {"SecurityOpt": [option]}

    assert details_from(ANSWER | {"HostConfig": host}).no_new_privileges is forbids


def test_addresses_of_both_families_and_of_none() -> None:
    both = {"n": {"IPAddress": "172.18.0.2", "GlobalIPv6Address": "fd00::2"}}

    assert details_from(ANSWER | {"NetworkSettings": {"Networks": both}}).addresses == [
        "172.18.0.2",
        "fd00::2",
    ]
    assert details_from(ANSWER | {"NetworkSettings": {"Networks": None}}).addresses == []


def test_processes_of_the_top_answer() -> None:
    answer = {"Titles": ["PID", "UID", "COMMAND"], "Processes": [["7", "1000", "serve --all"]]}

    assert processes_from(answer) == [Process(pid=7, uid=1000, command="serve --all")]
    assert processes_from({"Processes": None}) == []


INFO: dict[str, Any] = {
    "Name": "lab",
    "SecurityOptions": ["name=apparmor", "name=seccomp,profile=default", "name=cgroupns"],
    "MemoryLimit": True,
    "SwapLimit": True,
    "CpuCfsPeriod": True,
    "CpuCfsQuota": True,
    "PidsLimit": True,
    "LiveRestoreEnabled": False,
    "Warnings": None,
}


def facts(**changes: Any) -> Facts:
    """Return the facts of an info answer that differs in some keys."""
    return facts_from(
        INFO | changes, endpoint="unix:///e", chosen_by="me", transport="socket", version="20.10"
    )


def test_facts_of_an_ordinary_engine() -> None:
    found = facts()

    assert (found.host, found.rootless, found.remapped) == ("lab", False, False)
    assert (found.seccomp, found.mandatory) == ("default", ["apparmor"])
    assert (found.unlimited, found.live_restore, found.warnings) == (frozenset(), False, [])


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ({"CgroupDriver": "systemd", "CgroupVersion": "2"}, "2"),
        ({"CgroupDriver": "cgroupfs", "CgroupVersion": "v2"}, "2"),
        ({"CgroupDriver": "cgroupfs"}, "1"),
        ({"CgroupDriver": "none", "CgroupVersion": "1"}, None),
        ({}, None),
    ],
)
def test_with_which_cgroups_it_limits(answer: dict[str, str], version: str | None) -> None:
    assert facts(**answer).cgroups == version


@pytest.mark.parametrize(
    ("told", "time"),
    [("1970-01-01T00:01:00.123456789Z", 60.123456), ("soon", None), (7, None), (None, None)],
)
def test_the_time_of_an_engine(told: object, time: float | None) -> None:
    assert facts(SystemTime=told).time == time
    assert facts().time is None


@pytest.mark.parametrize("option", ["name=rootless", "name=userns"])
def test_who_root_in_containers_is(option: str) -> None:
    found = facts(SecurityOptions=[option])

    assert (found.rootless, found.remapped) == (option == "name=rootless", option == "name=userns")


def test_podman_says_otherwise_that_it_is_rootless() -> None:
    assert facts(Rootless=True).rootless


@pytest.mark.parametrize(
    ("options", "profile"),
    [
        (["name=seccomp"], "default"),
        (["name=seccomp,profile=builtin"], "builtin"),
        (["name=seccomp,profile=unconfined"], None),
        ([], None),
        (None, None),
    ],
)
def test_the_seccomp_profile(options: list[str] | None, profile: str | None) -> None:
    assert facts(SecurityOptions=options).seccomp == profile


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("MemoryLimit", "memory"),
        ("SwapLimit", "swap"),
        ("CpuCfsQuota", "cpus"),
        ("CpuCfsPeriod", "cpus"),
        ("PidsLimit", "pids"),
    ],
)
def test_what_an_engine_can_not_limit(key: str, what: str) -> None:
    assert facts(**{key: False}).unlimited == {what}


@pytest.mark.parametrize(
    ("endpoint", "tls", "kind"),
    [
        ("unix:///run/docker.sock", False, "socket"),
        ("http+unix:///run/docker.sock", False, "socket"),
        ("ssh://lab", False, "ssh"),
        ("tcp://lab:2375", False, "plain"),
        ("http://lab:2375", None, "plain"),
        ("tcp://lab:2376", TLSConfig(verify=True), "tls"),
        ("tcp://lab:2376", TLSConfig(verify=False), "unverified tls"),
        ("https://lab:2376", False, "tls"),
    ],
)
def test_how_requests_get_to_an_endpoint(endpoint: str, tls: object, kind: str) -> None:
    assert transport(endpoint, tls) == kind


def test_a_network_on_which_containers_reach_each_other() -> None:
    """As ``docker network create`` makes it."""
    answer = {"Id": "n1", "IPAM": {"Config": [{"Subnet": "10.0.0.0/8"}]}, "Options": {}}

    assert network_from(answer) == Network(id="n1", subnets=["10.0.0.0/8"], isolated=False)
    assert network_from({"Id": "n1", "IPAM": {"Config": None}, "Options": None}).subnets == []


STATS: dict[str, Any] = {
    "read": "2026-11-25T13:39:32.713042844Z",
    "cpu_stats": {"cpu_usage": {"total_usage": 1_500_000_000}},
    "memory_stats": {"usage": 5000, "stats": {"inactive_file": 1000}},
    "networks": {"eth0": {"rx_bytes": 1, "tx_bytes": 2}, "eth1": {"rx_bytes": 10, "tx_bytes": 20}},
}


def test_usage_is_counted_as_the_engine_s_own_command_does() -> None:
    found = usage_from(STATS)

    assert found is not None
    assert int(found.at) == 1795613972
    assert (found.cpu_seconds, found.memory, found.received, found.sent) == (1.5, 4000, 11, 22)


@pytest.mark.parametrize(
    ("changes", "memory"),
    [
        ({"memory_stats": {"usage": 5000, "stats": {"total_inactive_file": 3000}}}, 2000),
        ({"memory_stats": {"usage": 5000}}, 5000),
        ({"memory_stats": {"usage": 5000, "stats": {"inactive_file": 9000}}, "networks": None}, 0),
    ],
)
def test_usage_without_some_of_it(changes: dict[str, Any], memory: int) -> None:
    found = usage_from(STATS | changes)

    assert found is not None
    assert found.memory == memory


@pytest.mark.parametrize("changes", [{"read": "0001-01-01T00:00:00Z"}, {"memory_stats": {}}])
def test_what_does_not_run_uses_nothing(changes: dict[str, Any]) -> None:
    assert usage_from(STATS | changes) is None


def test_a_transfer_is_that_of_all_layers_so_far() -> None:
    def downloading(layer: str, current: int, total: int) -> dict[str, Any]:
        detail = {"current": current, "total": total}
        return {"status": "Downloading", "id": layer, "progressDetail": detail}

    said: list[dict[str, Any]] = [
        {"status": "Pulling from app", "id": "1"},
        {"status": "Already exists", "progressDetail": {}, "id": "z"},
        downloading("a", 10, 100),
        downloading("b", 5, 50),
        {"status": "Download complete", "progressDetail": {}, "id": "a"},
        {"status": "Extracting", "progressDetail": {"current": 3, "total": 9}, "id": "a"},
        {"status": "Download complete", "progressDetail": {}, "id": "unheard of"},
    ]

    assert list(transfers(said)) == [(10, 100), (15, 150), (105, 150)]
