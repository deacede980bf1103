"""What ``jobctl doctor`` says of records, keys and certificates, and what ``--fix`` mends."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from jobctl.containers import NETWORK
from jobctl.doctor.mending import MENDERS
from jobctl.engines.base import ContainerSpec
from jobctl.engines.docker import DockerEngine
from jobctl.job import Status
from tests.doctoring import Home, doctor, modes, only_root
from tests.fake_engine import FakeEngine
from tests.site import Site
from tests.test_faults_clock import at
from tests.wholeness import run_job, serves

PORT = 26175  # of a block that no site of the tests has
JOB = f"job_{PORT}"
NOBODY = 65534
needs_faketime = pytest.mark.skipif(
    shutil.which("faketime") is None, reason="needs the package faketime"
)


@pytest.fixture
def fake() -> FakeEngine:
    return FakeEngine(images=["demo"])


@pytest.fixture
def home(tmp_path: Path, fake: FakeEngine) -> Home:
    return Home(tmp_path, fake)


def made(fake: FakeEngine, home: Home, *, network: str | None = None) -> str:
    """Return a container like that of a job, running."""
    spec = ContainerSpec(
        name=f"jobctl-{JOB}",
        image="demo",
        command=["serve"],
        user="1000:1000",
        labels={
            "jobctl.job_id": JOB,
            "jobctl.job_root": f"{home.directory}/",
            "jobctl.role": "app",
            "jobctl.owner": "test",
        },
        memory=1,
        cpus=1,
        pids=1,
        network=network,
    )
    container = fake.create(spec)
    fake.start(container)
    return container


# Records


def test_records_of_which_there_are_none(home: Home) -> None:
    for name in ("records", "set-aside", "serving", "certificates"):
        assert home.look(name).verdict == "ok"
    assert not home.directory.exists()


def test_damaged_lines_are_set_aside(home: Home) -> None:
    home.record(PORT, status="registered")
    path = home.registry.path
    path.write_bytes(path.read_bytes() + b"{half a li\n[]\n")
    before = path.read_bytes()

    found = home.look("records")
    assert (found.verdict, found.fixable) == ("warning", True)
    assert "connections.txt has 2 lines that are none" in found.seen
    assert path.read_bytes() == before
    assert home.look("set-aside").verdict == "ok"

    assert home.mend("records").failed is None

    assert home.look("records").verdict == "ok"
    assert list(home.registry.read()) == [JOB]
    left = home.look("set-aside")
    (aside,) = home.directory.glob("connections.txt.damaged-*")
    assert (left.verdict, left.fixable) == ("warning", False)
    assert aside.name in left.seen
    assert aside.read_bytes() == b"{half a li\n[]\n"


def test_what_is_no_file_of_one_s_own_is_set_aside(home: Home) -> None:
    path = home.registry.path
    path.mkdir()
    assert "connections.txt is no file of yours" in home.look("records").seen

    home.mend("records")

    assert home.look("records").verdict == "ok"
    assert home.look("set-aside").verdict == "warning"


@pytest.mark.parametrize("intent", ["run", "stop"])
def test_what_a_killed_command_left_half_done(home: Home, fake: FakeEngine, intent: str) -> None:
    home.record(PORT, intent=intent)
    with home.registry.locks.held(PORT):
        assert home.look("records").verdict == "ok"  # somebody is at it

    found = home.look("records")
    assert found.verdict == "warning"
    assert f"{JOB}: {intent} was begun and not finished" in found.seen

    with fake.unreachable():
        cut_off = home.look("records")
        assert (cut_off.verdict, cut_off.fixable) == ("warning", False)
    home.mend("records")

    assert home.look("records").verdict == "ok"
    assert list(home.registry.read()) == ([] if intent == "run" else [JOB])


def test_files_of_a_job_that_is_not_on_record(home: Home) -> None:
    home.record(PORT + 1, status="registered")
    kept = home.directory / f"job_{PORT + 1}_htpasswd"
    kept.write_text("kept")
    kept.chmod(0o600)
    orphan = home.directory / f"{JOB}_htpasswd"
    orphan.write_text("left")

    assert home.look("records").seen == f"{JOB}: not on record, and something of it is there"
    home.mend("records")

    assert not orphan.exists()
    assert kept.read_text() == "kept"
    assert home.look("records").verdict == "ok"


def test_containers_that_only_pretend_to_be_a_job_s(home: Home, fake: FakeEngine) -> None:
    """No command takes them for one, and so there is nothing to mend."""
    made(fake, home)

    assert home.look("records").verdict == "ok"


def test_jobs_that_are_not_well(home: Home, fake: FakeEngine) -> None:
    container = made(fake, home)
    home.record(PORT, container_ids=[container])
    assert home.look("serving").seen == "1 running, none of them unhealthy; none is lost"

    fake.set_health(container, "unhealthy")
    found = home.look("serving")
    assert (found.verdict, found.fixable) == ("problem", False)
    assert f"unhealthy: {JOB} (its health check fails)" in found.seen

    fake.vanish(container)
    found = home.look("serving")
    assert (found.verdict, found.seen) == ("warning", f"lost: {JOB}")
    assert home.registry.read()[JOB].status == Status.LAUNCHED  # nothing was changed


# Certificates


@needs_faketime
@pytest.mark.parametrize(
    ("days_ago", "verdict", "words"),
    [(0, "ok", "none ends soon"), (65, "warning", "ends in 25 days"), (91, "problem", "expired")],
)
def test_how_long_a_certificate_lasts(home: Home, days_ago: int, verdict: str, words: str) -> None:
    home.registry  # noqa: B018, makes the directory
    home.record(PORT, tls_fingerprint=home.certify(PORT, days_ago=days_ago))

    seen = home.look("certificates")

    assert (seen.verdict, words in seen.seen) == (verdict, True), seen
    assert (f"jobctl stop {JOB} && jobctl start {JOB}" in str(seen.fix)) == (verdict != "ok")


def test_a_certificate_that_is_not_the_job_s(home: Home) -> None:
    home.record(PORT, tls_fingerprint="00")
    assert "there is no " in home.look("certificates").seen
    own = home.certify(PORT)
    assert "is not the one on record" in home.look("certificates").seen
    home.record(PORT, tls_fingerprint=own)
    assert home.look("certificates").verdict == "ok"

    home.certify(PORT + 1)
    (home.directory / f"job_{PORT + 1}.key").rename(home.directory / f"{JOB}.key")
    assert "not for this key" in home.look("certificates").seen
    (home.directory / f"{JOB}.crt").write_text("no")
    assert home.look("certificates").verdict == "problem"

    home.record(PORT, status="stopped")
    assert home.look("certificates").verdict == "ok"  # start looks after it


@pytest.mark.engine
@needs_faketime
def test_what_is_said_to_mend_a_job_does(site: Site) -> None:
    job = run_job(site)
    job_id = job["job_id"]
    assert doctor(site).having("problem") == []
    other = Home(site.root / "project")
    other.registry  # noqa: B018, makes the directory
    other.certify(int(job["port"]), days_ago=91)
    certificate = site.directory / f"{job_id}.crt"

    for breaking in ("expired", "there is no", "not the one on record"):
        if breaking == "expired":
            for end in (".crt", ".key"):
                shutil.copyfile(other.directory / f"{job_id}{end}", certificate.with_suffix(end))
            site.run("broker", "-u", _update(job_id, certificate))
        elif breaking == "there is no":
            certificate.unlink()
        else:
            site.run("broker", "-u", f'{{"job_id": "{job_id}", "tls_fingerprint": "00"}}')
        seen = doctor(site)
        assert seen.having("problem") == ["certificates"]
        assert breaking in seen.words("certificates")

        for command in seen.of("certificates")["fix"].split(" && "):
            site.run(*command.split()[1:])

        assert doctor(site).having("problem") == []

    subprocess.run(["docker", "pause", f"jobctl-{job_id}-app"], check=True, capture_output=True)
    paused = doctor(site)
    subprocess.run(["docker", "unpause", f"jobctl-{job_id}-app"], check=True, capture_output=True)
    assert paused.having("problem") == ["serving"]
    assert f"unhealthy: {job_id} (its app is paused)" in paused.words("serving")

    (site.directory / "connections.txt").unlink()
    lost = doctor(site, "--fix")
    assert job_id in lost.done("records")
    assert lost.verdict("records") == "ok"
    assert serves(site, job)

    site.engine.remove(site.containers()[0].id)
    assert f"lost: {job_id}" in doctor(site).words("serving")
    site.run("start", job_id)
    assert doctor(site).verdict("serving") == "ok"


def _update(job_id: str, certificate: Path) -> str:
    from jobctl.certs import fingerprint

    own = fingerprint(certificate.read_bytes())
    return f'{{"job_id": "{job_id}", "tls_fingerprint": "{own}"}}'


# The directory and what is in it


@pytest.mark.engine
def test_fix_on_a_host_on_which_all_is_well(site: Site) -> None:
    seen = doctor(site, "--fix")

    assert seen.exit_code == 0
    assert not any(one["done"] or one["failed"] for one in seen.findings)
    assert not site.directory.exists()
    assert site.run("doctor", "--fix").stdout.endswith("nothing that --fix mends\n")


@pytest.mark.engine
def test_fix_closes_what_is_one_s_own(site: Site) -> None:
    site.authority()
    (site.directory / "connections.txt").touch(mode=0o600)
    whole = modes(site.directory)
    site.directory.chmod(0o755)
    for name in ("ca.key", "connections.txt"):
        (site.directory / name).chmod(0o644)
    offered = site.run("doctor", check=False)
    assert offered.stdout.endswith("jobctl doctor --fix mends 2\n")

    seen = site.run("doctor", "--fix")

    assert f"FIXED    your records and keys: {site.directory} (mode 0700" in seen.stdout
    assert "FIXED    files among them: ca.key (mode 0600" in seen.stdout
    assert "FIXED    files among them: connections.txt (mode 0600" in seen.stdout
    assert seen.stdout.endswith("0 problem, 0 unknown\n")
    assert modes(site.directory) == whole
    assert site.directory.stat().st_mode & 0o777 == 0o700


@only_root
def test_fix_leaves_alone_what_is_another_s(home: Home, tmp_path: Path) -> None:
    home.record(PORT, status="registered")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("for everybody")
    elsewhere.chmod(0o644)
    directory = home.directory
    (directory / "another's").write_text("secret")
    (directory / "another's").chmod(0o604)
    os.chown(directory / "another's", NOBODY, NOBODY)
    (directory / "linked").hardlink_to(elsewhere)
    (directory / "link").symlink_to(elsewhere)
    alone = home.look("files")
    assert (alone.verdict, alone.fixable) == ("problem", False)
    (directory / "own").write_text("secret")
    (directory / "own").chmod(0o644)

    repair = home.mend("files")

    assert [line.split()[0] for line in repair.done] == ["own"]
    left = home.look("files")
    assert (left.verdict, left.fixable) == ("problem", False)
    assert "own " not in left.seen.replace("another's", "")
    assert modes(directory)["another's"] == ("0o604", NOBODY, b"secret")
    assert elsewhere.stat().st_mode & 0o777 == 0o644
    os.chown(directory, NOBODY, NOBODY)
    assert not home.look("directory").fixable
    os.chown(directory, os.getuid(), -1)


def test_what_lies_open_above_is_left_to_its_owner(home: Home) -> None:
    home.record(PORT, status="registered")
    home.directory.parent.chmod(0o777)

    seen = home.look("directory")

    assert (seen.verdict, seen.fixable) == ("problem", False)


# The authority


def key_of(site: Site) -> bytes:
    return (site.directory / "ca.key").read_bytes()


@pytest.mark.engine
@needs_faketime
def test_an_authority_that_has_expired_is_made_anew(site: Site) -> None:
    at(site, "-1900d").run("ca", "path")
    key = key_of(site)
    seen = doctor(site)
    assert seen.verdict("authority") == "warning"
    assert "has expired" in seen.words("authority")

    mended = doctor(site, "--fix")

    assert "made anew, with the same key" in mended.done("authority")
    assert mended.verdict("authority") == "ok"
    assert key_of(site) == key


@pytest.mark.engine
@only_root
def test_an_authority_of_when_the_host_had_another_name(site: Site) -> None:
    called = ["unshare", "--uts", "sh", "-c", f"hostname other && {site.command} ca path"]
    subprocess.run(called, check=True, env=site.env, capture_output=True)
    key = key_of(site)
    seen = doctor(site)
    assert seen.verdict("authority") == "warning"
    assert "as this host is called now" in seen.words("authority")

    assert doctor(site, "--fix").verdict("authority") == "ok"
    assert key_of(site) == key


@pytest.mark.engine
def test_an_authority_without_its_certificate_or_its_key(site: Site) -> None:
    site.authority()
    key = key_of(site)
    (site.directory / "ca.crt").unlink()
    assert "is missing" in doctor(site).words("authority")
    assert doctor(site, "--fix").verdict("authority") == "ok"
    assert key_of(site) == key

    (site.directory / "ca.key").unlink()
    before = modes(site.directory)
    seen = doctor(site, "--fix")
    assert (seen.verdict("authority"), seen.exit_code) == ("problem", 1)
    assert not seen.of("authority")["fixable"]
    assert modes(site.directory) == before


# The network


def test_a_network_is_made_anew_only_if_no_container_is_on_it(home: Home, fake: FakeEngine) -> None:
    fake.open_network(NETWORK)
    before = fake.networks_named(NETWORK)
    container = made(fake, home, network=before[0])
    fake.stop(container)
    seen = home.look("network")
    assert (seen.verdict, seen.fixable) == ("problem", False)
    assert fake.networks_named(NETWORK) == before

    fake.remove(container)
    repair = home.mend("network")

    assert "made anew, isolated" in repair.done[0]
    assert home.look("network").verdict == "ok"
    assert fake.networks_named(NETWORK) != before


def test_a_repair_that_fails_says_why(home: Home) -> None:
    home.registry.path.with_name("ca.key").write_bytes(b"no key")

    repair = home.mend("authority")

    assert repair.done == []
    assert "can't be used" in str(repair.failed)
    assert not home.registry.path.with_name("ca.crt").exists()


@pytest.mark.engine
def test_each_repair_belongs_to_a_look(site: Site, engine: DockerEngine) -> None:
    seen = doctor(site)

    assert set(MENDERS) <= {one["name"] for one in seen.findings}
    assert not any(one["fixable"] for one in seen.findings if one["name"] not in MENDERS)
