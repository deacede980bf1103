"""What ``jobctl doctor`` says of ports, disks, the clock and images, well and broken for real."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from jobctl.doctor.ports import shared_ports
from jobctl.engines.docker import DockerEngine
from tests.conftest import Traces
from tests.doctoring import Home, doctor, only_root
from tests.fake_engine import FakeEngine
from tests.site import Site
from tests.test_faults_clock import at
from tests.waiting import eventually

FIRST = 26150  # a block that no site of the tests has
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
needs_faketime = pytest.mark.skipif(
    shutil.which("faketime") is None, reason="needs the package faketime"
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, FakeEngine(local_socket=str(tmp_path / "engine.sock")))


def listening(port: int) -> socket.socket:
    """Return a socket that listens on a port of loopback."""
    return socket.create_server(("127.0.0.1", port))


# Ports


def test_a_range_of_which_nothing_is_taken(home: Home) -> None:
    home.write(port_range=[FIRST, FIRST + 9])

    seen = home.look("ports")

    assert (seen.verdict, seen.fix) == ("ok", None)
    assert seen.seen == f"10 of {FIRST}-{FIRST + 9} are free"


def test_a_process_on_a_port_is_named(home: Home) -> None:
    home.write(port_range=[FIRST, FIRST + 9])
    serve = ["-m", "http.server", str(FIRST + 1), "--bind", "127.0.0.1"]
    with subprocess.Popen([sys.executable, *serve], stderr=subprocess.DEVNULL) as process:
        try:
            # Who has a port that was opened a moment ago need not be known yet.
            seen = eventually(
                lambda: found if "(pid " in (found := home.look("ports")).seen else None
            )
        finally:
            process.kill()

    assert seen is not None
    assert seen.verdict == "ok"
    assert f"(pid {process.pid})" in seen.seen
    assert f"{FIRST + 1}: {sys.executable}"[:40] in seen.seen


def test_no_port_and_few_ports_are_free(home: Home) -> None:
    home.write(port_range=[FIRST, FIRST + 19])
    with ExitStack() as stack:
        for port in range(FIRST, FIRST + 19):
            stack.enter_context(listening(port))
        few = home.look("ports")
        stack.enter_context(listening(FIRST + 19))
        none = home.look("ports")

    assert (few.verdict, none.verdict) == ("warning", "problem")
    assert few.seen.startswith("1 of")
    assert "and 14 more" in few.seen
    assert "jobctl prune" in str(none.fix)


def test_who_listens_elsewhere_holds_no_port_of_loopback(home: Home) -> None:
    home.write(port_range=[FIRST, FIRST])
    with socket.create_server(("127.0.0.2", FIRST)):
        assert home.look("ports").verdict == "ok"
    with socket.create_server(("0.0.0.0", FIRST)):
        assert home.look("ports").verdict == "problem"


@pytest.mark.engine
def test_a_container_on_a_port_is_named(
    tmp_path: Path, engine: DockerEngine, traces: Traces
) -> None:
    home, name = Home(tmp_path, engine), traces.new_name()
    home.write(port_range=[FIRST, FIRST + 9])
    publish = ["--publish", f"127.0.0.1:{FIRST + 2}:80"]
    run = ["docker", "run", "--detach", "--name", name, *publish, "jobctl/base", "sleep", "60"]
    subprocess.run(run, check=True, capture_output=True)
    try:
        seen = home.look("ports")
    finally:
        subprocess.run(["docker", "rm", "--force", name], check=True, capture_output=True)

    assert seen.seen == f"9 of {FIRST}-{FIRST + 9} are free ({FIRST + 2}: the container {name})"


def test_a_stopped_job_whose_port_somebody_else_took(home: Home) -> None:
    home.write(port_range=[FIRST, FIRST + 9])
    home.record(FIRST + 3, status="stopped")
    assert f"{FIRST + 3}: your job_{FIRST + 3}" in home.look("ports").seen
    assert home.look("ports").verdict == "ok"

    with listening(FIRST + 3):
        seen = home.look("ports")

    assert seen.verdict == "warning"
    assert f"job_{FIRST + 3} can't start" in seen.seen
    assert f"(pid {os.getpid()})" in seen.seen


def test_ports_that_outgoing_connections_get_too(home: Home) -> None:
    first = int(EPHEMERAL.read_text().split()[0])
    home.write(port_range=[first - 10, first - 1])
    assert home.look("kernel").verdict == "ok"

    home.write(port_range=[first - 1, first + 8])
    seen = home.look("kernel")

    assert seen.verdict == "warning"
    assert seen.seen.startswith(f"9 ports of {first - 1}-{first + 8}")
    assert f"ip_local_reserved_ports={first}-{first + 8}" in str(seen.fix)


@pytest.mark.parametrize(
    ("reserved", "shared"),
    [
        ("\n", [32768, 32769, 32770]),
        ("32769\n", [32768, 32770]),
        ("1,32768-32769,60000\n", [32770]),
        ("32000-33000\n", []),
    ],
)
def test_what_is_reserved_goes_to_no_connection(reserved: str, shared: list[int]) -> None:
    assert shared_ports((32760, 32770), (32768, 60999), reserved) == shared


# Disks


@contextmanager
def disk(at: Path, *options: str) -> Iterator[Path]:
    """Have a file system of its own in a directory."""
    at.mkdir(parents=True, exist_ok=True)
    given = ",".join(["mode=700", *options])
    subprocess.run(["mount", "-t", "tmpfs", "-o", given, "jobctl-test", at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


@pytest.mark.engine
def test_room_on_the_disks_of_this_host(tmp_path: Path, engine: DockerEngine) -> None:
    seen = Home(tmp_path, engine).look("disk")

    assert "your records: " in seen.seen
    assert "the engine's data: " in seen.seen
    assert engine.facts().data_root in seen.seen


@only_root
@pytest.mark.parametrize(
    ("options", "verdict", "words"),
    [
        (["size=200m"], "ok", "MB free"),
        (["size=20m"], "warning", "MB free"),
        (["size=64k"], "problem", "0.1 MB free"),
        (["size=200m", "nr_inodes=300"], "warning", "room for 29"),
        (["size=200m", "nr_inodes=10"], "problem", "room for "),
        (["size=200m", "ro"], "problem", "read-only"),
    ],
)
def test_a_small_disk(home: Home, options: list[str], verdict: str, words: str) -> None:
    with disk(home.directory, *options):
        seen = home.look("disk")

    assert (seen.verdict, words in seen.seen) == (verdict, True), seen
    assert (seen.fix is None) == (verdict == "ok")


@only_root
def test_a_disk_that_is_full(home: Home) -> None:
    with disk(home.directory, "size=60m") as full:
        (full / "filler").write_bytes(bytes(60 << 20))
        assert home.look("disk").verdict == "problem"
        (full / "filler").unlink()
        assert home.look("disk").verdict == "ok"


@only_root
def test_a_small_disk_of_the_engine(tmp_path: Path) -> None:
    root = tmp_path / "engine"
    fake = FakeEngine(local_socket=str(tmp_path / "e.sock"))
    fake.say(data_root=str(root))
    home = Home(tmp_path, fake)
    with disk(root, "size=20m"):
        seen = home.look("disk")
        home.engine = FakeEngine()  # which is on another machine
        elsewhere = home.look("disk")

    assert seen.verdict == "problem"
    assert "the engine's data: 2" in seen.seen
    assert "docker image prune" in str(seen.fix)
    assert "the engine's data" not in elsewhere.seen


# The clock


@pytest.mark.engine
@needs_faketime
@pytest.mark.parametrize(
    ("offset", "verdict", "words"),
    [
        ("+0d", "ok", "as the engine's clock says"),
        ("+2m", "warning", "the engine's is 2 minutes behind"),
        ("-3d", "problem", "the engine's is 3 days ahead"),
    ],
)
def test_the_clock_beside_the_engine_s(site: Site, offset: str, verdict: str, words: str) -> None:
    seen = doctor(at(site, offset))

    assert (seen.verdict("clock"), words in seen.words("clock")) == (verdict, True), seen
    # On a host that others use at the same time, there may be more that is wrong.
    assert seen.exit_code == bool(seen.having("problem")), seen


def test_a_clock_without_anything_to_compare_it_with(home: Home) -> None:
    assert home.look("clock").verdict == "ok"


@needs_faketime
@pytest.mark.parametrize("what", ["record", "certificate"])
def test_a_clock_that_was_put_back(home: Home, what: str) -> None:
    job = home.record(FIRST)
    home.certify(FIRST)
    assert home.look("clock").verdict == "ok"
    if what == "record":
        home.record(FIRST, creation_timestamp=job.creation_timestamp + 7 * 86400)
    else:
        home.certify(FIRST, days_ago=-7)

    seen = home.look("clock")

    assert seen.verdict == "problem"
    assert f"jobs of up to 7 days later (job_{FIRST})" in seen.seen
    assert "set the clock" in str(seen.fix)


# Images


@pytest.mark.engine
def test_an_image_is_missing_then_built_then_outdated(site: Site) -> None:
    recipe = site.root / "images" / f"doctor{os.getpid()}"
    tag = f"jobctl/{recipe.name}"
    recipe.mkdir(parents=True)
    (recipe / "Dockerfile").write_text("FROM jobctl/base\nUSER 65532:65532\n")
    assert doctor(site).verdict("images") == "ok"  # no app needs it
    site.configure(recipe.name, command="sleep 60")

    missing = doctor(site)
    assert missing.verdict("images") == "warning"
    assert f"not built: {tag} -> jobctl images build" in missing.words("images")
    assert missing.of("images")["fixable"]
    assert site.engine.image(tag) is None

    mended = doctor(site, "--fix")
    assert mended.verdict("images") == "ok"
    assert mended.done("images") == f"{tag} is built"
    assert site.engine.image(tag) is not None

    (recipe / "Dockerfile").write_text("FROM jobctl/base\nUSER 65533:65533\n")
    outdated = doctor(site, "--fix")
    assert outdated.verdict("images") == "warning"
    assert f"outdated: {tag} -> jobctl images build" in outdated.words("images")
    assert not outdated.of("images")["fixable"]
    assert outdated.exit_code == 0

    site.run("images", "build", recipe.name)
    assert doctor(site).verdict("images") == "ok"
