"""A job's containers as values: who sees what, how locked down, and which mounts are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobctl import containers, gateway, labels
from jobctl.config import Build, Section, bytes_of
from jobctl.engines.base import Bind, ContainerSpec
from jobctl.errors import JobctlError
from jobctl.job import Job, Status

ROOT = "/state/test/"
SECRETS = [ROOT + "job_8000.key", ROOT + "job_8000.crt", ROOT + "job_8000_htpasswd"]
CONFIG = ROOT + "job_8000_config.txt"
GATEWAY_CONFIG = ROOT + "job_8000_gateway.conf"
SCRATCH = "/tmp"  # noqa: S108, inside the container
MD5 = "4d7e319876e0192ec7e422c53d4ba80a"
JOB = Job(
    job_id="job_8000",
    app="demo",
    port="8000",
    protocol="https",
    host="h",
    owner="test",
    job_root=ROOT,
    status=Status.REGISTERED,
    creation_timestamp=1,
    password_hash=f"test:demo:{MD5}",
    url="https://localhost:8000/",
    image="jobctl/demo",
)


def settings(section: Section | None = None, **changes: Any) -> containers.Settings:
    values: dict[str, Any] = {
        "section": section or Section(),
        "user": "1000:1000",
        "network": "net",
        "app_port": 9000,
        "command": ["serve", "--port", "9000"],
        "files": [CONFIG],
        "secrets": SECRETS,
    }
    return containers.Settings(**values | changes)


def pair(section: Section | None = None, **changes: Any) -> tuple[ContainerSpec, ContainerSpec]:
    """Return the two containers of a job that a gateway secures."""
    given = settings(section, **changes)
    return (
        containers.gateway_spec(JOB, given, GATEWAY_CONFIG),
        containers.app_spec(JOB, given, joins="first-id"),
    )


def sources(spec: ContainerSpec) -> set[str]:
    return {*spec.files, *spec.secrets}


# Behind a gateway


def test_the_first_name_claims_the_port_and_the_second_stands_beside_it() -> None:
    first, second = pair()

    assert (first.name, second.name) == ("jobctl-job_8000", "jobctl-job_8000-app")
    assert (labels.owner_name("job_8000"), labels.app_name("job_8000")) == (
        first.name,
        second.name,
    )


def test_the_gateway_sees_the_secrets_and_its_own_configuration_only() -> None:
    first, _ = pair()

    assert sources(first) == {GATEWAY_CONFIG, *SECRETS}


def test_the_app_sees_its_configuration_and_no_secret() -> None:
    _, second = pair()

    assert sources(second) == {CONFIG}


def test_only_the_gateway_publishes_the_port() -> None:
    first, second = pair()

    assert first.publish is not None
    assert (first.publish.address, first.publish.host_port) == ("127.0.0.1", 8000)
    assert first.publish.container_port == gateway.own_port(9000)
    assert first.network == "net"
    assert (second.publish, second.network, second.joins) == (None, None, "first-id")


def test_files_below_root_s_home_can_be_reached_in_images_that_have_it_closed() -> None:
    _, elsewhere = pair()
    below = containers.app_spec(JOB, settings(files=["/root/state/config"]), joins="first-id")

    assert "/root" not in elsewhere.tmpfs
    assert "uid=1000" in below.tmpfs["/root"]
    assert below.tmpfs["/root"].startswith("ro,")


def test_the_app_runs_the_module_s_command_and_the_gateway_its_own() -> None:
    first, second = pair()

    assert list(second.command) == ["serve", "--port", "9000"]
    assert GATEWAY_CONFIG in first.command
    assert (first.image, second.image) == ("jobctl/gateway", "jobctl/demo")


def test_no_container_has_the_hash_anywhere() -> None:
    for spec in pair():
        assert MD5 not in repr(spec)


def test_both_have_labels_that_tell_them_apart() -> None:
    first, second = pair()

    assert first.labels["jobctl.role"] == "gateway"
    assert second.labels["jobctl.role"] == "app"
    assert first.labels["jobctl.job_id"] == second.labels["jobctl.job_id"] == "job_8000"


def test_both_run_as_the_caller_with_limits_and_without_a_writable_root() -> None:
    for spec in pair():
        assert spec.user == "1000:1000"
        assert spec.read_only
        assert spec.cap_add == [] or spec.cap_add == ()
        assert 0 < spec.memory <= 1024**3
        assert 0 < spec.pids <= 512
        assert spec.cpus > 0
        assert 1 <= spec.restarts <= 5
        assert SCRATCH in spec.tmpfs


def test_scratch_space_is_limited_and_runs_no_programs() -> None:
    for spec in pair():
        options = spec.tmpfs[SCRATCH].split(",")
        assert {"noexec", "nosuid", "nodev"} <= set(options)
        assert any(option.startswith("size=") for option in options)


def test_the_gateway_s_scratch_space_is_a_part_of_its_memory() -> None:
    first, _ = pair()

    size = next(o for o in first.tmpfs[SCRATCH].split(",") if o.startswith("size="))
    assert bytes_of(size.removeprefix("size=")) <= first.memory / 4


def test_the_gateway_checks_its_health_and_the_app_s() -> None:
    first, second = pair(app_port=9123)

    assert first.healthcheck is not None
    assert "9123" in " ".join(first.healthcheck.command)
    assert second.healthcheck is None


def test_an_image_made_of_packages_is_checked_for_listening() -> None:
    """It is known to have a shell that can; of other images nothing is known."""
    _, made = pair(Section(build=Build(python=["x"])), app_port=9123)
    _, own = pair(Section(build=Build(python=["x"])), healthcheck=["check", "me"])

    assert made.healthcheck is not None
    assert made.healthcheck.command[-1] == ": < /dev/tcp/127.0.0.1/9123"
    assert own.healthcheck is not None
    assert list(own.healthcheck.command) == ["check", "me"]


def test_a_busy_app_leaves_its_gateway_the_larger_part_of_the_cpu() -> None:
    first, second = pair()

    assert first.cpu_shares > second.cpu_shares


def test_a_section_sets_the_app_s_limits_and_health_check() -> None:
    _, second = pair(
        Section(memory="512m", cpus=0.5, pids=9, stop_grace=3, shm_size="1g", gpus=2),
        healthcheck=["check", "me"],
    )

    assert second.memory == 512 * 1024**2
    assert (second.cpus, second.pids, second.stop_grace) == (0.5, 9, 3)
    assert (second.shm_size, second.gpus) == (1024**3, 2)
    assert second.healthcheck is not None
    assert list(second.healthcheck.command) == ["check", "me"]


def test_what_a_section_gives_its_app_the_gateway_does_not_get() -> None:
    first, second = pair(Section(read_only=False, cap_add=["NET_ADMIN"]))

    assert (first.read_only, list(first.cap_add)) == (True, [])
    assert (second.read_only, list(second.cap_add)) == (False, ["NET_ADMIN"])


def test_writable_directories_belong_to_the_app_s_user_and_can_hold_programs() -> None:
    first, second = pair(Section(writable=["/var/lib/app"], user="472:0"))

    assert second.user == "472:0"
    assert second.tmpfs["/var/lib/app"] == "rw,exec,nosuid,nodev,mode=0755,uid=472"
    assert first.user != second.user
    assert "/var/lib/app" not in first.tmpfs


def test_the_environment_can_not_say_otherwise_than_jobctl() -> None:
    _, second = pair(env={"HOME": "/home/me", "A": "b", "JOBCTL_URL": "https://else.where/"})

    assert second.env["HOME"] == "/home/me"
    assert second.env["A"] == "b"
    assert second.env["JOBCTL_URL"] == "https://localhost:8000/"


@pytest.mark.parametrize(
    ("user", "runs_as"), [(None, "1:2"), (472, "472:472"), ("472:0", "472:0"), ("0", "0:0")]
)
def test_a_uid_alone_is_its_own_group(user: str | int | None, runs_as: str) -> None:
    assert containers.user_of(Section(user=user), default="1:2") == runs_as


@pytest.mark.parametrize("user", [0, "0:5"])
def test_root_inside_the_container_is_an_opt_out_that_shows(user: str | int) -> None:
    assert containers.relaxed(Section(user=user)) == ["root inside the container"]


def test_mounts_masks_and_the_working_directory_are_the_app_s() -> None:
    data = Bind(source="/data", target="/mnt", read_only=False)
    first, second = pair(binds=[data], masks=["/mnt/state"], working_dir="/mnt")

    assert data in second.binds
    assert data not in first.binds
    assert second.working_dir == "/mnt"
    assert "/mnt/state" in second.tmpfs
    assert "/mnt/state" not in first.tmpfs


def test_a_mask_is_empty_and_stays_so() -> None:
    _, second = pair(masks=["/mnt/state"])

    assert "ro" in second.tmpfs["/mnt/state"].split(",")


def test_the_app_can_know_its_job_and_its_address() -> None:
    _, second = pair()

    assert second.env["JOBCTL_JOB_ID"] == "job_8000"
    assert second.env["JOBCTL_URL"] == "https://localhost:8000/"


# Apps that secure themselves


def test_an_app_that_secures_itself_owns_the_port_and_reads_the_secrets() -> None:
    spec = containers.app_spec(JOB, settings(Section(secured_by="app")), joins=None)

    assert spec.name == "jobctl-job_8000"
    assert sources(spec) == {CONFIG, *SECRETS}
    assert spec.publish is not None
    assert (spec.publish.host_port, spec.publish.container_port) == (8000, 8000)
    assert (spec.network, spec.joins) == ("net", None)


# Users and relaxations


@pytest.mark.parametrize(
    ("uid", "gid", "user"),
    [(1000, 100, "1000:100"), (65534, 65534, "65534:65534"), (0, 0, "65532:65532")],
)
def test_containers_never_run_as_the_host_s_root(uid: int, gid: int, user: str) -> None:
    account = containers.account(uid, gid, rootless=False)

    assert account == containers.Account(user, int(user.partition(":")[0]))


def test_root_in_a_rootless_engine_s_containers_is_the_caller() -> None:
    assert containers.account(1000, 100, rootless=True) == containers.Account("0:0", 1000)


def test_relaxations_are_put_in_words() -> None:
    assert containers.relaxed(Section()) == []
    assert containers.relaxed(Section(cap_add=["NET_ADMIN"], read_only=False)) == [
        "capability NET_ADMIN",
        "writable root file system",
    ]


def test_the_image_of_an_app_is_its_section_s_or_the_one_named_after_it() -> None:
    assert containers.image_of("demo", Section()) == "jobctl/demo"
    assert containers.image_of("demo", Section(image="other:1")) == "other:1"


# Mounts that a user asks for


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("/a:/b", Bind(source="/a", target="/b")),
        ("/a:/b:ro", Bind(source="/a", target="/b")),
        ("/a:/b:rw", Bind(source="/a", target="/b", read_only=False)),
        ("/a b/ü:/c d", Bind(source="/a b/ü", target="/c d")),
    ],
)
def test_a_mount_is_read_only_unless_it_says_otherwise(text: str, bind: Bind) -> None:
    assert containers.parse_mount(text) == bind


@pytest.mark.parametrize(
    "text",
    ["", "/a", "a:/b", "/a:b", "/a:/b:", "/a:/b:rx", "/a:/b:ro:rw", ":/b", "/a:", "/a:/b:RW", "::"],
)
def test_a_malformed_mount_is_quoted(text: str) -> None:
    with pytest.raises(JobctlError) as caught:
        containers.parse_mount(text)

    assert f'"{text}"' in str(caught.value)
    assert "SRC:DST" in str(caught.value)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return the state directory of a user, two directories below ``tmp_path``."""
    directory = tmp_path / "home" / "state"
    directory.mkdir(parents=True)
    return directory


def shield(source: Path, state: Path, *, socket: str | None = None) -> list[str]:
    bind = Bind(source=str(source), target="/mnt")
    return containers.shield([bind], state=state, socket=socket)


def test_a_mount_away_from_the_state_directory_needs_no_mask(tmp_path: Path, state: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "home" / "state-of-the-art").mkdir()

    assert shield(tmp_path / "data", state) == []
    assert shield(tmp_path / "home" / "state-of-the-art", state) == []


def test_a_mount_above_the_state_directory_has_it_masked(tmp_path: Path, state: Path) -> None:
    assert shield(tmp_path, state) == ["/mnt/home/state"]
    assert shield(tmp_path / "home", state) == ["/mnt/state"]


def test_every_mount_that_shows_the_state_directory_has_it_masked(
    tmp_path: Path, state: Path
) -> None:
    binds = [
        Bind(source=str(tmp_path), target="/one"),
        Bind(source=str(tmp_path / "home"), target="/two"),
    ]

    assert containers.shield(binds, state=state, socket=None) == ["/one/home/state", "/two/state"]


def test_the_state_directory_and_what_is_in_it_can_not_be_mounted(state: Path) -> None:
    (state / "job_8000.key").write_bytes(b"")

    for source in (state, state / "job_8000.key"):
        with pytest.raises(JobctlError, match="where jobctl keeps keys"):
            shield(source, state)


def test_no_link_leads_into_the_state_directory(tmp_path: Path, state: Path) -> None:
    (state / "job_8000.key").write_bytes(b"")
    (tmp_path / "link").symlink_to(state)
    (tmp_path / "key").symlink_to(state / "job_8000.key")

    for source in (
        tmp_path / "link",
        tmp_path / "key",
        tmp_path / "link" / "job_8000.key",
        state / ".." / "state",
    ):
        with pytest.raises(JobctlError, match="where jobctl keeps keys"):
            shield(source, state)


def test_a_state_directory_behind_a_link_is_found(tmp_path: Path, state: Path) -> None:
    (tmp_path / "link").symlink_to(state)

    assert shield(tmp_path, tmp_path / "link") == ["/mnt/home/state"]
    with pytest.raises(JobctlError, match="where jobctl keeps keys"):
        shield(state, tmp_path / "link")


def test_a_mount_through_a_link_has_the_state_directory_masked(tmp_path: Path, state: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "home")

    assert shield(tmp_path / "link", state) == ["/mnt/state"]


@pytest.mark.parametrize("name", ["absent", "x" * 300])
def test_a_source_that_is_not_there_is_quoted(tmp_path: Path, state: Path, name: str) -> None:
    with pytest.raises(JobctlError) as caught:
        shield(tmp_path / name, state)

    assert f'"{tmp_path / name}"' in str(caught.value)


def test_the_engine_s_socket_can_not_be_mounted(tmp_path: Path, state: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "docker.sock").touch()
    (tmp_path / "var").symlink_to(run)
    (tmp_path / "link").symlink_to(run / "docker.sock")
    socket = str(tmp_path / "var" / "docker.sock")

    for source in (run, run / "docker.sock", tmp_path / "var", tmp_path / "link", Path("/")):
        with pytest.raises(JobctlError, match="socket"):
            shield(source, state, socket=socket)


def test_an_engine_on_another_machine_has_no_socket_to_guard(tmp_path: Path, state: Path) -> None:
    (tmp_path / "run").mkdir()

    assert shield(tmp_path / "run", state, socket=None) == []
