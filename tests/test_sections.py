"""Apps of which there is only a section, or not even that: what it asks for is what they get."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import run_inside
from tests.site import Site, install

pytestmark = pytest.mark.engine

SERVE = "python3 -m http.server {port} --bind 127.0.0.1"


def get(site: Site, job: dict[str, Any], path: str = "") -> str:
    """Return the answer that the user gets."""
    credentials = f"{job['owner']}:{job['password']}"
    command = ["curl", "-sS", "--fail", "--cacert", site.authority(), "--digest", "-K-"]
    config = f'user = "{credentials}"\n'
    done = subprocess.run(
        [*command, job["url"] + path], input=config, capture_output=True, text=True, check=True
    )
    return done.stdout


def launched(site: Site, *arguments: str, cwd: Path | None = None) -> dict[str, Any]:
    job: dict[str, Any] = site.run_json("run", "--generate-password", "--json", *arguments, cwd=cwd)
    return job


def test_a_command_runs_without_a_module(site: Site) -> None:
    site.configure("files", image="jobctl/base", command=SERVE + " {args}", mount_cwd="ro")
    (site.state.parent / "hello.txt").write_text("hello from the user")

    job = launched(site, "files", "--", "--directory", ".")

    assert get(site, job, "hello.txt") == "hello from the user"
    site.run("rm", "--force", job["job_id"])
    site.assert_nothing_left()


def test_what_a_section_asks_for(site: Site) -> None:
    outside, inside = site.root / "data", "/srv/data"
    outside.mkdir(mode=0o777)
    outside.chmod(0o777)
    site.configure(
        "demo",
        image="jobctl/base",
        command=["sh", "-c", f"cd /srv && exec {SERVE}"],
        mounts=[f"{outside}:{inside}:rw", f"{outside}:/srv/readable"],
        writable=["/var/lib/demo"],
        env={"WHERE": "{url}", "COUNT": 3, "JSON": '{{"a": 1}}'},
        user=4711,
        shm_size="32m",
        memory="200m",
    )

    job = launched(site, "demo", "--env", "EXTRA=a b")

    container = f"jobctl-{job['job_id']}-app"
    script = f"""
        set -e
        test "$(id -u):$(id -g)" = 4711:4711
        test "$WHERE" = "$JOBCTL_URL" && test "$WHERE" = {job["url"]}
        test "$COUNT" = 3 && test "$JSON" = '{{"a": 1}}' && test "$EXTRA" = "a b"
        echo data >{inside}/written && ! touch /srv/readable/x 2>/dev/null
        printf '#!/bin/sh\\nexit 7\\n' >/var/lib/demo/program && chmod +x /var/lib/demo/program
        /var/lib/demo/program || test $? = 7
        ! touch /var/lib/x 2>/dev/null
        df -k /dev/shm | grep -q ' 32768 '
    """
    assert run_inside(container, ["sh", "-c", script]) == 0
    assert (outside / "written").read_text() == "data\n"
    assert get(site, job, "readable/written") == "data\n"


@pytest.mark.parametrize("user", [None, "65532:65532"])
def test_an_image_that_says_what_it_runs_needs_no_command(site: Site, user: str | None) -> None:
    image = site.root / "images" / "test-speaking"
    image.mkdir(parents=True)
    (image / "Dockerfile").write_text(
        "FROM jobctl/base\nWORKDIR /srv\nRUN echo default >a && mkdir d && echo other >d/a\n"
        'ENTRYPOINT ["python3", "-m", "http.server", "9000"]\nCMD ["--bind", "127.0.0.1"]\n'
    )
    site.configure("test-speaking", app_port=9000, **({"user": user} if user else {}))

    job = launched(site, "test-speaking")
    other = launched(site, "test-speaking", "--", "--bind", "127.0.0.1", "--directory", "d")

    assert get(site, job, "a") == "default\n"
    assert get(site, other, "a") == "other\n"


def test_an_image_alone_is_protected_like_any_app(site: Site) -> None:
    job = launched(
        site, "--image", "jobctl/base", "--app-port", "8501", "--", *SERVE.format(port=8501).split()
    )

    assert job["app"] == "base"
    assert "http.server" not in get(site, job)
    refused = ["curl", "-sS", "-o/dev/null", "-w%{http_code}", "--cacert", site.authority()]
    done = subprocess.run([*refused, job["url"]], capture_output=True, text=True, check=True)
    assert done.stdout == "401"
    site.run("stop", job["job_id"])
    site.run("start", job["job_id"])
    assert get(site, job) != ""


OPEN = "python3 -m http.server {port} --bind 0.0.0.0"


def test_an_app_that_can_be_reached_past_its_gateway_is_not_launched(site: Site) -> None:
    """Whoever is on the host gets to the address of its container, where nobody asks for it."""
    site.configure("files", image="jobctl/base", command=OPEN, app_port=8501)

    done = site.run("run", "files", "--generate-password", check=False)

    assert done.returncode == 1
    assert "gets to port 8501 of files without TLS and password" in done.stderr
    assert "allow_bypass: true" in done.stderr
    site.assert_nothing_left()


def test_a_gateway_that_can_not_start_says_why(site: Site) -> None:
    """Here since the app has taken the gateway's own port, in the namespace that the two share."""
    script = f"python3 -m http.server 8443 --bind 127.0.0.1 & sleep 1; exec {SERVE}"
    site.configure("files", image="jobctl/base", command=["sh", "-c", script])

    done = site.run("run", "files", "--generate-password", check=False)

    assert "the gateway of files exited" in done.stderr
    assert "Address already in use" in done.stderr
    site.assert_nothing_left()


def test_a_second_port_of_an_app_counts_as_well(site: Site) -> None:
    script = f"python3 -m http.server 8502 & exec {SERVE}"
    site.configure("files", image="jobctl/base", command=["sh", "-c", script])

    done = site.run("run", "files", "--generate-password", check=False)

    assert "gets to port 8502 of files" in done.stderr


def test_who_takes_the_risk_gets_the_app_and_can_see_that(site: Site) -> None:
    site.configure("files", image="jobctl/base", command=OPEN, allow_bypass=True)

    job = launched(site, "files")

    assert job["relaxed"] == ["reachable past the gateway"]
    site.run("stop", job["job_id"])
    site.run("start", job["job_id"])


def test_start_asks_for_what_the_job_was_launched_with(site: Site) -> None:
    """Not for what a section says that has changed since, or that there is none of."""
    (site.state.parent / "ready").write_text("")
    site.configure("files", image="jobctl/base", command=SERVE, mount_cwd="ro")
    job = launched(site, "files", "--set", "ready_path=/ready")
    site.run("stop", job["job_id"])
    site.configure("files", ready_path="/nowhere")

    site.run("start", job["job_id"])

    assert site.run_json("inspect", job["job_id"], "--json")["ready_path"] == "/ready"


def test_gpus_on_a_host_without_are_one_clear_line(site: Site) -> None:
    site.configure("demo", image="jobctl/base", command=SERVE, gpus="all")

    done = site.run("run", "demo", "--generate-password", check=False)

    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("jobctl: ")]
    assert "can't give containers a GPU: install the NVIDIA Container Toolkit" in line
    site.assert_nothing_left()


def test_an_app_that_ignores_sigterm_is_killed_and_that_is_said(site: Site) -> None:
    deaf = "import signal, http.server as h; signal.signal(15, signal.SIG_IGN); "
    serve = "h.test(h.SimpleHTTPRequestHandler, port={port}, bind='127.0.0.1')"
    site.configure(
        "deaf", image="jobctl/base", command=["python3", "-c", deaf + serve], stop_grace=1
    )
    job = launched(site, "deaf")

    done = site.run("stop", job["job_id"])

    assert f"{job['job_id']}: deaf ignored SIGTERM and was killed" in done.stderr
    assert site.run_json("inspect", job["job_id"], "--json")["exit_code"] == 137
    again = site.run("stop", job["job_id"])
    assert "ignored" not in again.stderr


def test_without_a_port_of_its_own_the_app_has_the_job_s(site: Site) -> None:
    """As the modules of the older scripts have it, which start their app on ``job["port"]``."""
    site.configure_general(port_range=[8443, 8443])
    site.configure(
        "old", image="jobctl/base", command="python3 -m http.server {host_port} --bind 127.0.0.1"
    )

    job = launched(site, "old")

    assert job["port"] == "8443"
    assert "Directory listing" in get(site, job)


@pytest.mark.parametrize(
    ("mount", "says"),
    [
        ("data:/data", "apps.demo.mounts.0: expected SRC:DST"),
        ("/no/such/place:/data", 'can\'t mount "/no/such/place": No such file'),
        ("{state}:/data", "where jobctl keeps keys and passwords"),
        ("~/no-such:/data", '/no-such": No such file'),
    ],
)
def test_a_mount_that_can_not_be_starts_nothing(site: Site, mount: str, says: str) -> None:
    site.run("ca", "path")
    mount = mount.replace("{state}", str(site.directory))
    site.configure("demo", image="jobctl/base", command=SERVE, mounts=[mount])

    done = site.run("run", "demo", "--generate-password", check=False)

    assert done.returncode == 1
    assert says in done.stderr
    site.assert_nothing_left()


def test_an_app_of_another_user_can_not_have_files_to_read(site: Site) -> None:
    site.configure("jupyter", user=4711)

    done = site.run("run", "jupyter", "--generate-password", check=False)

    assert "apps.jupyter.user: as 4711:4711, the app can't read its configuration" in done.stderr
    site.assert_nothing_left()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "name an app, or an image with --image"),
        (["conduit", "--set", "memory"], 2, '--set "memory": expected a name, = and a value'),
        (["conduit", "--set", "memory=lots"], 2, "command line: apps.conduit.memory: expected"),
        (["conduit", "--set", "env=["], 1, "--set env: not YAML"),
        (["conduit", "--gpus", "some"], 2, 'apps.conduit.gpus: expected "all" or a number'),
        (["conduit", "--env", "A"], 2, '--env "A": expected a name, = and a value'),
    ],
)
def test_wrong_usage_is_told(site: Site, arguments: list[str], code: int, says: str) -> None:
    done = site.run("run", "--generate-password", *arguments, check=False)

    assert done.returncode == code
    assert says in done.stderr
    site.assert_nothing_left()


# Sources of apps


@pytest.fixture
def plugged(site: Site, tmp_path: Path) -> Site:
    """Return a site whose command has a plugin installed beside it."""
    package = tmp_path / "plugin" / "some_apps"
    (package / "app_modules").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('finding apps runs no code')")
    (package / "config.yaml").write_text(
        "apps:\n  brought:\n    image: jobctl/base\n    app_module_path: app_modules\n"
        "    greeting: hello\n"
    )
    (package / "app_modules" / "brought_module.py").write_text(
        "from jobctl.helpers import gen_cert, gen_config, get_password\n"
        "def get_launch_cmd(job):\n"
        f"    return {SERVE!r}.format(port=job['app_port'])\n"
    )
    (package.parent / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "some-apps"\nversion = "1"\n'
        '[project.entry-points."jobctl.apps"]\nsome = "some_apps"\n'
    )
    site.command = install(sys.executable, tmp_path / "venv", package.parent)
    return site


def test_an_installed_package_brings_apps(plugged: Site) -> None:
    listed = {app["app"]: app["source"] for app in plugged.run_json("apps", "--json")}

    assert listed["brought"].startswith("the package some-apps (")
    assert listed["conduit"] == str(plugged.config)
    job = launched(plugged, "brought")
    assert "Directory listing" in get(plugged, job)

    plugged.configure("brought", image="jobctl/base")
    done = plugged.run("apps", check=False)
    assert done.returncode == 1
    assert 'two sources have an app "brought"' in done.stderr
    assert "the package some-apps" in done.stderr
    assert str(plugged.config) in done.stderr
    # Jobs can still be looked at and stopped.
    assert job["job_id"] in plugged.run("ps").stdout
    plugged.run("rm", "--force", job["job_id"])
    plugged.assert_nothing_left()


def test_a_new_app_works_as_it_is(site: Site) -> None:
    site.run("new", "test-new")
    (site.state.parent / "a file").write_text("")

    job = launched(site, "test-new", "--", "Good morning")

    page = get(site, job)
    assert "<h1>test-new works</h1><p>Good morning" in page
    assert "<li>a file" in page
    site.run("rm", "--force", job["job_id"])
    site.assert_nothing_left()


def test_config_show_says_where_values_come_from(site: Site) -> None:
    shown = site.run_json("config", "show", "conduit", "--json")

    values = {one["key"]: one for one in shown}
    assert values["apps.conduit.memory"]["source"] == "default"
    assert values["apps.conduit.app_port"]["source"].startswith(f"{site.config}:")
    assert {key.split(".")[1] for key in values} == {"conduit"}
    table = site.run("config", "show")
    assert f"{site.config}, as $JOBCTL_CONFIG says" in table.stderr
    assert "general.port_range" in table.stdout
    assert json.loads(site.run("config", "schema").stdout)["title"] == "config.yaml"
