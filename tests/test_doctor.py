"""``jobctl doctor`` on hosts that are broken on purpose: each finding, and the others beside."""

from __future__ import annotations

import getpass
import grp
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobctl.doctor import LOOKS, Finding, Subject, examine
from jobctl.doctor.jobs import hides_processes
from jobctl.doctor.people import EVERYBODY, READ, SEARCH, WRITE, Person, allowed, reaching
from jobctl.engines.docker import DockerEngine
from tests.conftest import unavailable
from tests.doctoring import NAMES, Home, Seen, doctor
from tests.fake_engine import FakeEngine
from tests.forwarding import another_socket, plain_port
from tests.rootless import Rootless, Unavailable, account, rootless_engine
from tests.site import Site, let_others_pass
from tests.waiting import eventually

OF_THE_ENGINE = NAMES[: NAMES.index("exposed")]
PORTS = (26100, 26139)
NAME = f"jobctl{os.getpid()}"
"""What users and groups that the tests make are called."""


@pytest.fixture
def local_socket(engine: DockerEngine) -> str:
    """Return the path of the engine's socket."""
    if engine.local_socket is None:
        unavailable("the engine has no socket on this host")
    return str(engine.local_socket)


@pytest.fixture
def as_root() -> None:
    """Leave out what only root can break."""
    if os.getuid() != 0:
        unavailable("only root can make users, and give files away")


@pytest.fixture
def group(as_root: None) -> Iterator[int]:
    """Make a group."""
    subprocess.run(["groupadd", NAME], check=True)
    yield grp.getgrnam(NAME).gr_gid
    subprocess.run(["groupdel", NAME], check=True)


# Of a host on which all is well


@pytest.mark.engine
def test_every_look_is_taken_and_nothing_is_changed(site: Site) -> None:
    seen = doctor(site)

    assert [one["name"] for one in seen.findings] == NAMES
    assert seen.having("problem") == []
    assert seen.exit_code == 0
    assert not site.directory.exists()


@pytest.mark.engine
def test_it_says_which_engine_and_what_access_to_it_is_worth(
    site: Site, engine: DockerEngine
) -> None:
    seen = doctor(site)

    assert engine.version() in seen.words("engine")
    assert engine.endpoint in seen.words("engine")
    assert "is root on this host" in seen.words("isolation")
    assert str(engine.local_socket) in seen.words("access")


@pytest.mark.engine
def test_people_get_a_line_for_each_look_and_a_count(site: Site) -> None:
    *lines, summary = site.run("doctor").stdout.splitlines()

    assert [look for look in LOOKS if not any(f"  {look.what}: " in line for line in lines)] == []
    assert summary.endswith("0 problem, 0 unknown")


@pytest.mark.engine
def test_an_ordinary_user_gets_an_answer_to_each_question(users_site: Site) -> None:
    """Whom the kernel does not tell everything, neither of sockets nor of the engine's files."""
    users_site.authority()

    seen = doctor(users_site)

    assert seen.having("unknown") == []
    assert seen.having("problem") == []
    assert "your records: " in seen.words("disk")
    assert "the engine's data: " in seen.words("disk")


# Engines


@pytest.mark.engine
def test_without_an_engine_the_other_findings_still_come(site: Site, tmp_path: Path) -> None:
    site.env["DOCKER_HOST"] = f"unix://{tmp_path}/absent.sock"

    seen = doctor(site)

    assert seen.having("problem") == ["engine"]
    assert "absent.sock (No such file or directory)" in seen.words("engine")
    assert seen.having("unknown") == [name for name in OF_THE_ENGINE if name != "engine"]
    assert seen.exit_code == 1


@pytest.mark.engine
def test_an_engine_at_a_port_without_tls(site: Site, local_socket: str) -> None:
    with plain_port(local_socket) as endpoint:
        site.env["DOCKER_HOST"] = endpoint
        seen = doctor(site)

    assert seen.having("problem") == ["transport"]
    assert "no TLS" in seen.words("transport")
    assert seen.verdict("access") == "unknown"


@pytest.mark.engine
def test_a_socket_for_everybody(site: Site, local_socket: str) -> None:
    with another_socket(local_socket, site.root / "everybodys.sock", 0o666) as endpoint:
        site.env["DOCKER_HOST"] = endpoint
        seen = doctor(site)

    assert seen.having("problem") == ["access"]
    assert "everybody on this host can act as root" in seen.words("access")


@pytest.mark.engine
def test_a_socket_for_everybody_to_which_nobody_has_a_way(site: Site, local_socket: str) -> None:
    directory = site.root / "closed"
    directory.mkdir(mode=0o700)
    with another_socket(local_socket, directory / "e.sock", 0o666) as endpoint:
        site.env["DOCKER_HOST"] = endpoint
        seen = doctor(site)

    assert seen.verdict("access") == "ok"


@pytest.mark.engine
def test_the_members_of_a_socket_s_group_are_named(
    site: Site, local_socket: str, group: int, tmp_path: Path
) -> None:
    """Those who are in it as well, and those whose own group it is."""
    with (
        account(f"{NAME}-also", tmp_path / "a", groups=[group]),
        account(f"{NAME}-first", tmp_path / "b", gid=group),
        another_socket(local_socket, site.root / "e.sock", 0o660, gid=group) as endpoint,
    ):
        site.env["DOCKER_HOST"] = endpoint
        seen = doctor(site)

    assert seen.verdict("access") == "warning"
    assert f"you, {NAME}-also, {NAME}-first can" in seen.words("access")
    assert grp.getgrgid(group).gr_name in seen.words("access")
    assert seen.exit_code == 0


@pytest.mark.engine
def test_an_access_control_list_is_not_taken_for_none(
    site: Site, local_socket: str, tmp_path: Path
) -> None:
    with another_socket(local_socket, site.root / "e.sock", 0o660) as endpoint:
        # acl(5): the owner, uid 65534, the group, the mask, the others.
        entries = [(1, 6, None), (2, 6, 65534), (4, 6, None), (16, 6, None), (32, 0, None)]
        packed = b"\2\0\0\0" + b"".join(
            tag.to_bytes(2, "little") + perm.to_bytes(2, "little") + _id(who)
            for tag, perm, who in entries
        )
        os.setxattr(site.root / "e.sock", "system.posix_acl_access", packed)
        site.env["DOCKER_HOST"] = endpoint
        seen = doctor(site)

    assert seen.verdict("access") == "unknown"
    assert "getfacl" in seen.words("access")


def _id(who: int | None) -> bytes:
    return (0xFFFFFFFF if who is None else who).to_bytes(4, "little")


@pytest.fixture(scope="module")
def rootless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rootless]:
    directory = tmp_path_factory.mktemp("rootless")
    let_others_pass(directory)
    try:
        with rootless_engine(f"{NAME}-r", directory) as engine:
            yield engine
    except Unavailable as reason:
        unavailable(str(reason))


@pytest.fixture
def rootless_site(
    rootless: Rootless, installed_for_all: Path, engine: DockerEngine, tmp_path: Path
) -> Site:
    """Return the place of the user whose engine it is."""
    let_others_pass(tmp_path)
    site = Site(installed_for_all, tmp_path / "theirs", engine, PORTS, rootless.account)
    site.env["DOCKER_HOST"] = rootless.endpoint
    return site


@pytest.mark.engine
def test_a_rootless_engine_of_one_s_own(rootless: Rootless, rootless_site: Site) -> None:
    seen = doctor(rootless_site)

    assert seen.verdict("isolation") == "ok"
    assert f"rootless: who reaches the engine can act as {rootless.account.pw_name}" in (
        seen.words("isolation")
    )
    assert seen.verdict("access") == "ok"
    assert "the engine's data: " in seen.words("disk")
    assert "no way to the addresses" in seen.words("addresses") or "no containers" in seen.words(
        "addresses"
    )


@pytest.mark.engine
def test_limits_that_a_rootless_engine_ignores_are_a_problem(
    rootless: Rootless, rootless_site: Site
) -> None:
    """It can limit where it was given cgroups of version 2, and then there is nothing to tell."""
    driver = "{{.CgroupDriver}}"
    asked = ["docker", "--host", rootless.endpoint, "info", "--format", driver]
    cgroups = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()

    seen = doctor(rootless_site)

    assert (seen.verdict("limits") == "problem") == (cgroups == "none")
    assert (seen.verdict("cgroups") == "warning") == (cgroups == "none")
    if cgroups == "none":
        assert "ignores limits of memory, cpus, pids" in seen.words("limits")
        assert "without cgroups" in seen.words("complaints")


@pytest.mark.engine
def test_a_rootless_engine_of_somebody_else(rootless: Rootless, site: Site) -> None:
    site.env["DOCKER_HOST"] = rootless.endpoint

    seen = doctor(site)

    name = rootless.account.pw_name
    assert seen.verdict("isolation") == "warning"
    assert f"{name} can read all that is in your jobs" in seen.words("isolation")
    assert f"you, {name} can" in seen.words("access")


@pytest.mark.engine
def test_a_network_that_somebody_else_made(
    rootless: Rootless, rootless_site: Site, tmp_path: Path
) -> None:
    create = ["docker", "--host", rootless.endpoint, "network", "create", "jobctl"]
    subprocess.run([*create, "--label", "jobctl.network=jobctl"], check=True, capture_output=True)

    seen = doctor(rootless_site)

    assert seen.verdict("network") == "problem"
    assert "docker network rm jobctl" in seen.words("network")

    theirs = DockerEngine(rootless.endpoint)
    try:
        repair = Home(tmp_path, theirs).mend("network")
    finally:
        theirs.close()

    assert repair.done == ["the network jobctl, which no container was on, is made anew, isolated"]
    assert doctor(rootless_site).verdict("network") == "ok"


# Engines that can't be had for a test: what they say is from their own documentation


def found(fake: FakeEngine, name: str, tmp_path: Path) -> Finding:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"general": {"user_dir_base": str(tmp_path / "state")}}))
    (one,) = [one for one in examine(Subject(config, given_engine=fake)) if one.name == name]
    return one


@pytest.mark.parametrize(
    ("facts", "name", "verdict", "words"),
    [
        ({"transport": "unverified tls"}, "transport", "warning", "pretend to be the engine"),
        ({"transport": "tls"}, "transport", "ok", "tls"),
        ({"transport": "ssh"}, "transport", "ok", "ssh"),
        ({"remapped": True}, "isolation", "ok", "remapped user ids"),
        ({"seccomp": None}, "confinement", "problem", "every system call"),
        ({"mandatory": ["apparmor"]}, "confinement", "ok", "apparmor"),
        ({"unlimited": frozenset({"pids"})}, "limits", "problem", "limits of pids:"),
        ({"unlimited": frozenset({"cpus"})}, "limits", "problem", "limits of cpus:"),
        ({"unlimited": frozenset({"memory"})}, "limits", "problem", "limits of memory:"),
        ({"unlimited": frozenset({"swap"})}, "limits", "warning", "swap space"),
        ({}, "cgroups", "ok", "version 2"),
        ({"cgroups": "1"}, "cgroups", "ok", "a rootless one could not"),
        ({"cgroups": "1", "rootless": True}, "cgroups", "warning", "version 1"),
        ({"cgroups": None}, "cgroups", "warning", "can neither limit"),
        ({"warnings": ["WARNING: No blkio"]}, "complaints", "warning", "No blkio"),
        ({"live_restore": True}, "restart", "ok", "they go on"),
        ({}, "restart", "ok", "they end with it"),
        ({}, "access", "unknown", "can't be seen from here"),
        ({}, "network", "ok", "made with the first job"),
    ],
)
def test_what_an_engine_says_of_itself(
    facts: dict[str, Any], name: str, verdict: str, words: str, tmp_path: Path
) -> None:
    fake = FakeEngine()
    fake.say(**facts)

    one = found(fake, name, tmp_path)

    assert (one.verdict, words in one.seen) == (verdict, True), one.seen
    assert (one.fix is None) == (verdict in ("ok", "unknown"))


def test_a_network_whose_containers_reach_each_other(tmp_path: Path) -> None:
    fake = FakeEngine()
    fake.ensure_network("jobctl")
    assert found(fake, "network", tmp_path).verdict == "ok"

    fake.say(warnings=["WARNING: bridge-nf-call-iptables is disabled"])
    assert found(fake, "network", tmp_path).verdict == "problem"

    fake.say(warnings=[])
    fake.open_network("jobctl")
    assert found(fake, "network", tmp_path).verdict == "problem"


def test_an_engine_that_goes_away_in_the_middle(tmp_path: Path) -> None:
    fake = FakeEngine()
    with fake.unreachable():
        one = found(fake, "limits", tmp_path)

    assert (one.verdict, "did not answer" in one.seen) == ("unknown", True)


# Files


@pytest.mark.engine
def test_a_configuration_that_others_may_write(site: Site) -> None:
    """It is not used, and what does not need it is looked at all the same."""
    site.config.chmod(0o666)

    seen = doctor(site)

    assert seen.having("problem") == ["config"]
    assert "can be written by others" in seen.words("config")
    assert seen.verdict("engine") == "ok"
    assert "modules" in seen.having("unknown")
    assert seen.exit_code == 1


@pytest.mark.engine
def test_a_module_that_others_may_write(site: Site) -> None:
    module = site.root / "app_modules" / "conduit_module.py"
    module.chmod(0o666)

    seen = doctor(site)

    assert seen.having("problem") == ["modules"]
    assert f"apps.conduit: {module}" in seen.words("modules")


@pytest.mark.engine
def test_a_file_of_jobctl_itself_that_others_may_write(site: Site, installed: Path) -> None:
    (file,) = (installed.parent.parent / "lib").glob("python*/site-packages/jobctl/gateway.py")
    mode = file.stat().st_mode
    file.chmod(0o666)
    try:
        seen = doctor(site)
    finally:
        file.chmod(mode)

    assert seen.having("problem") == ["code"]
    assert str(file) in seen.words("code")


@pytest.mark.engine
@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("break_it", "name", "words"),
    [
        (lambda state: state.chmod(0o755), "directory", "mode 0755"),
        (lambda state: state.parent.chmod(0o777), "directory", "can be written by others"),
        (lambda state: (state / "ca.key").chmod(0o644), "files", "ca.key (mode 0644"),
        (lambda state: (state / "connections.txt").chmod(0o640), "files", "connections.txt (mode"),
        (lambda state: os.chown(state / "ca.key", 65534, -1), "files", "owner nobody"),
        (lambda state: os.chown(state, 65534, -1), "directory", "nobody"),
        (lambda state: (state / "ca.key").unlink(), "authority", "move both away"),
        (lambda state: (state / "ca.crt").write_text("no"), "authority", "move both away"),
    ],
    ids=["open", "open above", "key", "records", "another's key", "another's", "no key", "no pem"],
)
def test_a_directory_of_records_and_keys_that_is_broken(
    site: Site, break_it: Any, name: str, words: str
) -> None:
    site.authority()
    (site.directory / "connections.txt").touch(mode=0o600)
    assert doctor(site).having("problem") == []
    break_it(site.directory)

    seen = doctor(site)

    assert name in seen.having("problem")
    assert words in seen.words(name)
    assert seen.exit_code == 1


@pytest.mark.engine
def test_looking_mends_nothing(site: Site) -> None:
    site.authority()
    site.directory.chmod(0o755)

    assert doctor(site).verdict("directory") == "problem"
    assert doctor(site).verdict("directory") == "problem"


# Jobs

LATER = "python3 -m http.server $0 --bind 127.0.0.1 & sleep 2; exec python3 -m http.server 8888"


@pytest.fixture(scope="module")
def busy(
    installed: Path, engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Return a place with a job of each kind that there is something to say of."""
    site = Site(installed, tmp_path_factory.mktemp("busy") / "site", engine, PORTS)
    let_others_pass(site.root.parent)
    serve = ["python3", "-m", "http.server", "{port}"]
    local = [*serve, "--bind", "127.0.0.1"]
    site.configure("later", image="jobctl/base", command=["sh", "-c", LATER, "{port}"])
    site.configure("past", image="jobctl/base", command=serve, allow_bypass=True)
    site.configure("hashed", image="jobctl/base", command=local, hash_algorithm="bcrypt")
    for app, *options in (["later"], ["past"], ["hashed", "--bind", "0.0.0.0"]):
        site.run("run", app, "--generate-password", *options)
    yield site
    site.clear()


def id_of(site: Site, app: str) -> str:
    (job,) = [job for job in site.run_json("ps", "--json") if job["app"] == app]
    return str(job["job_id"])


@pytest.mark.engine
def test_a_port_that_an_app_opened_after_it_was_verified(busy: Site) -> None:
    def told() -> Seen | None:
        seen = doctor(busy)
        return seen if seen.verdict("addresses") == "problem" else None

    seen = eventually(told, timeout=20)

    assert seen is not None
    assert seen.having("problem") == ["addresses"]
    assert f"{id_of(busy, 'later')}: whoever is on this host gets to port 8888" in (
        seen.words("addresses")
    )
    assert id_of(busy, "past") not in seen.words("addresses")


@pytest.mark.engine
def test_jobs_that_are_less_protected_are_named(busy: Site) -> None:
    seen = doctor(busy)

    assert seen.having("warning") == ["exposed", "relaxed"]
    assert f"{id_of(busy, 'hashed')} (0.0.0.0)" in seen.words("exposed")
    assert "past host firewalls" in seen.words("exposed")
    assert f"{id_of(busy, 'past')} of past: reachable past the gateway" in seen.words("relaxed")
    assert id_of(busy, "later") in seen.words("digest")
    assert id_of(busy, "hashed") not in seen.words("digest")


@pytest.mark.engine
def test_jobs_that_have_ended_are_not_spoken_of(site: Site) -> None:
    site.configure("open", image="jobctl/base", command="python3 -m http.server {port}")
    site.configure("open", allow_bypass=True)
    job = site.run_json("run", "open", "--generate-password", "--bind", "0.0.0.0", "--json")
    seen = doctor(site)
    assert seen.having("warning") == ["addresses", "exposed", "relaxed"]
    assert f"gets to {job['job_id']} past the gateway" in seen.words("addresses")

    site.run("stop", job["job_id"])

    assert doctor(site).having("warning") == []


@pytest.mark.engine
def test_jobs_that_are_exposed_by_default(site: Site) -> None:
    site.configure_general(bind_address="0.0.0.0")

    seen = doctor(site)

    assert seen.having("warning") == ["bind-address"]
    assert f"0.0.0.0 in {site.config}" in seen.words("bind-address")


@pytest.mark.parametrize(
    ("mounts", "hides"),
    [
        ("proc /proc proc rw,relatime 0 0\n", False),
        ("proc /proc proc rw,relatime,hidepid=2 0 0\n", True),
        ("proc /proc proc rw,hidepid=invisible,gid=4 0 0\n", True),
        ("proc /proc proc rw,hidepid=0 0 0\n", False),
        ("proc /proc proc rw,hidepid=off 0 0\n", False),
        ("proc /proc proc rw,hidepid=2 0 0\nproc /proc proc rw 0 0\n", False),
        ("proc /srv/proc proc rw,hidepid=2 0 0\n", False),
        ("", False),
    ],
)
def test_whether_users_see_each_other_s_processes(mounts: str, hides: bool) -> None:
    assert hides_processes(mounts) is hides


# Who gets to a file


@pytest.mark.parametrize(
    ("mode", "person", "rights"),
    [
        (0o640, Person("owner", 1), READ | WRITE),
        (0o640, Person("member", 2, frozenset({7})), READ),
        (0o640, Person("stranger", 2), 0),
        (0o066, Person("owner", 1), 0),
        (0o606, Person("member", 2, frozenset({7})), 0),
        (0o666, EVERYBODY, READ | WRITE),
        (0o711, EVERYBODY, SEARCH),
    ],
)
def test_the_first_class_that_fits_decides(mode: int, person: Person, rights: int) -> None:
    found = os.stat_result((mode, 0, 0, 0, 1, 7, 0, 0, 0, 0))

    assert [allowed(person, found, bit) for bit in (READ, WRITE, SEARCH)] == [
        bool(rights & bit) for bit in (READ, WRITE, SEARCH)
    ]


def test_who_gets_to_a_file_has_to_get_through_each_directory(tmp_path: Path) -> None:
    let_others_pass(tmp_path)
    file = tmp_path / "inner" / "file"
    file.parent.mkdir()
    file.touch()
    file.chmod(0o666)
    assert reaching(file, WRITE) == [EVERYBODY]

    file.parent.chmod(0o700)
    assert reaching(file, WRITE) == []
    (tmp_path / "link").symlink_to(file)
    assert reaching(tmp_path / "link", WRITE) == []

    file.parent.chmod(0o755)
    file.chmod(0o600)
    assert getpass.getuser() not in [person.name for person in reaching(file, READ)]
