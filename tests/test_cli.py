"""What bad input gets: one clear line, the right exit code, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from jobctl.engines.docker import DockerEngine
from tests.site import Site

pytestmark = pytest.mark.engine

MODULE = """
from jobctl.helpers import gen_cert, gen_config, get_launch_cmd, get_password
"""

# An app that speaks TLS itself, with the job's certificate, and asks nobody for a password.
OPEN_APP = """
import http.server, os, ssl, sys
key, certificate, port = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server = http.server.HTTPServer(("0.0.0.0", int(port)), http.server.SimpleHTTPRequestHandler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""

OPEN_MODULE = """
from jobctl.helpers import gen_cert, gen_config, get_password

def get_launch_cmd(job):
    mine = job["job_root"] + job["job_id"]
    return f"/usr/bin/python3 open.py {mine}.key {mine}.crt {job['port']}"
"""


def refused(site: Site, *arguments: str, code: int = 1, stdin: str = "", says: str) -> str:
    """Run a command that has to fail, in one line, and return what it said."""
    done = site.run(*arguments, stdin=stdin, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    message = next(line for line in done.stderr.splitlines() if line.startswith("jobctl: "))
    assert re.search(says, done.stderr), done.stderr
    return message


def run_refused(site: Site, app: str, *arguments: str, code: int = 1, says: str) -> str:
    """Launch something that has to fail, and make sure that nothing of it is left."""
    message = refused(site, "run", app, "--generate-password", *arguments, code=code, says=says)
    site.assert_nothing_left()
    return message


def python_app(site: Site, name: str, **keys: Any) -> None:
    """Add an app of the base image."""
    site.configure(name, image="jobctl/base", server_path="/usr/bin/python3", **keys)


def with_module(site: Site, text: str) -> Path:
    """Give the app ``conduit`` another module."""
    module = site.root / "app_modules" / "conduit_module.py"
    module.write_text(text)
    return module


def test_unknown_app_lists_the_known_ones(site: Site) -> None:
    assert "conduit" in run_refused(site, "condiut", says='no app "condiut"')


def test_unknown_option_is_wrong_usage(site: Site) -> None:
    assert site.run("run", "conduit", "--colour", check=False).returncode == 2


def test_no_password_and_no_terminal(site: Site) -> None:
    refused(site, "run", "conduit", code=2, says="--generate-password or --password-stdin")
    site.assert_nothing_left()


@pytest.mark.parametrize("text", ["", "\n", "two\nlines\n", "nul\0\n"])
def test_passwords_that_no_browser_can_send(site: Site, text: str) -> None:
    refused(site, "run", "conduit", "--password-stdin", stdin=text, says="password")
    site.assert_nothing_left()


def test_image_that_is_missing_and_not_buildable(site: Site) -> None:
    site.configure("other", image="jobctl-test/missing:1", server_path="/bin/true")
    run_refused(site, "other", says="jobctl-test/missing:1")


def test_engine_that_does_not_answer(site: Site) -> None:
    site.env["DOCKER_HOST"] = "unix:///nowhere.sock"
    message = refused(site, "ps", says=r"nowhere\.sock \(No such file")
    assert "DOCKER_HOST" in message


def test_port_outside_the_range(site: Site) -> None:
    run_refused(site, "conduit", "--port", "80", code=2, says="port 80 is outside")


def test_port_of_another_job(site: Site) -> None:
    job = site.run_json("run", "conduit", "--generate-password", "--json")
    refused(
        site,
        *("run", "conduit", "--generate-password", "--port", job["port"]),
        says=f"port {job['port']} is taken by your {job['job_id']}",
    )
    assert len(site.containers()) == 2


def test_range_exhausted_says_who_holds_it(site: Site) -> None:
    low = site.ports[0]
    values = site.config.read_text()
    site.config.write_text(
        re.sub(r"port_range:\n  - \d+\n  - \d+", f"port_range: [{low}, {low}]", values)
    )
    job = site.run_json("run", "conduit", "--generate-password", "--json")
    refused(
        site,
        *("run", "conduit", "--generate-password"),
        says=f"no port is free in {low}-{low} .*your {job['job_id']}",
    )


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (
            {"app_port": "ninety"},
            r'config\.yaml: apps\.conduit\.app_port: expected int, got str "ninety"',
        ),
        ({"app_port": 0}, r"config\.yaml: apps\.conduit\.app_port: "),
        ({"protocol": "gopher"}, r"config\.yaml: apps\.conduit\.protocol: "),
        ({"hash_algorithm": "rot13"}, r"config\.yaml: apps\.conduit\.hash_algorithm: "),
    ],
)
def test_malformed_config(site: Site, keys: dict[str, Any], says: str) -> None:
    site.configure("conduit", **keys)
    run_refused(site, "conduit", says=says)


def test_config_that_is_not_yaml_or_not_there(site: Site) -> None:
    site.config.write_text("apps: [")
    refused(site, "ps", says=r"config\.yaml: not YAML")
    site.config.unlink()
    refused(site, "ps", says=r"config\.yaml: can't read it")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import nowhere_to_be_found", "can't import it: ModuleNotFoundError"),
        ("def broken(:", "can't import it: SyntaxError"),
        ("raise SystemExit(3)", "can't import it: SystemExit"),
        (
            "from jobctl.helpers import gen_cert, gen_config, get_password",
            "no function get_launch_cmd",
        ),
        (MODULE + "def gen_config(job): return 1 / 0", "gen_config raised ZeroDivisionError"),
        (MODULE + "def gen_cert(job, h): raise ValueError('no')", "gen_cert raised ValueError: no"),
        (MODULE + "def get_launch_cmd(job): return ''", "get_launch_cmd returned no command"),
        (MODULE + "def get_launch_cmd(job): return 'a \"b'", "No closing quotation"),
        (MODULE + "def gen_config(job): return '/etc/passwd'", 'gen_config returned "/etc/passwd"'),
    ],
)
def test_modules_that_fail(site: Site, text: str, says: str) -> None:
    module = with_module(site, text)
    assert str(module) in run_refused(site, "conduit", says=says)


def test_app_that_exits_at_once_shows_its_last_words(site: Site) -> None:
    python_app(site, "short")
    run_refused(
        site,
        *("short", "--", "-c", "import sys; print('no data'); sys.exit(7)"),
        says=r"short exited \(7\) while starting(.|\n)*no data",
    )


def test_conduit_on_a_file_that_is_not_there(site: Site) -> None:
    run_refused(site, "conduit", "--", "missing.json", says=r"(.|\n)*missing\.json")


def test_app_that_never_answers(site: Site) -> None:
    python_app(site, "mute", app_port=9001)
    run_refused(
        site,
        *(
            "mute",
            "--timeout",
            "2",
            "--",
            "-c",
            "import time; print('hi', flush=True); time.sleep(99)",
        ),
        says=r"not ready after 2 s: port \d+ does not answer(.|\n)*--timeout(.|\n)*hi",
    )


def test_app_that_answers_without_a_password(site: Site) -> None:
    (site.state.parent / "open.py").write_text(OPEN_APP)
    (site.state.parent / "open.py").chmod(0o644)
    (site.root / "app_modules" / "open_module.py").write_text(OPEN_MODULE)
    python_app(
        site,
        "open",
        secured_by="app",
        mount_cwd="ro",
        app_module="open_module",
        app_module_path="app_modules/open_module.py",
    )
    run_refused(site, "open", says="the app is open: GET / without a password answers 200")


def test_app_without_password_is_not_exposed(site: Site) -> None:
    site.configure("conduit", require_password=False)
    run_refused(site, "conduit", "--bind", "0.0.0.0", says="allow_open")
    job = site.run_json("run", "conduit", "--generate-password", "--json")
    assert (job["status"], job["password_hash"]) == ("launched", None)
    assert "password" not in job


@pytest.mark.parametrize("address", ["here", "256.0.0.1", "192.0.2.1"])
def test_address_that_can_not_be_bound(site: Site, address: str) -> None:
    done = site.run("run", "conduit", "--generate-password", "--bind", address, check=False)
    assert done.returncode in (1, 2)
    assert address in done.stderr
    assert "Traceback" not in done.stderr
    site.assert_nothing_left()


@pytest.mark.parametrize(
    ("mount", "code", "says"),
    [
        ("relative:/data", 1, "both absolute"),
        ("/nowhere-at-all:/data", 1, "No such file or directory"),
        ("/etc", 1, "expected SRC:DST"),
        ("{state}:/data", 1, "where jobctl keeps keys"),
        ("/var/run:/data", 1, "engine's socket"),
    ],
)
def test_mounts_that_are_refused(site: Site, mount: str, code: int, says: str) -> None:
    asked = mount.format(state=site.directory)
    site.directory.mkdir(parents=True, mode=0o700)
    run_refused(site, "conduit", "--mount", asked, code=code, says=says)


@pytest.mark.parametrize(
    ("update", "says"),
    [
        ("not json", "not JSON"),
        ("[1]", "expected a JSON object"),
        ('{"status": "launched"}', 'no "job_id"'),
        ('{"job_id": "job_1024"}', "there is no job_1024"),
        ('{"job_id": "../../x"}', "is not a job"),
        ('{"job_id": 8000}', 'no "job_id"'),
    ],
)
def test_updates_that_are_refused(site: Site, update: str, says: str) -> None:
    refused(site, "broker", "-u", update, says=says)


def test_update_of_a_wrong_type_changes_nothing(site: Site) -> None:
    job = site.run_json("broker", "-r", "-a", "conduit", "-p", "0" * 32)
    update = json.dumps({"job_id": job["job_id"], "pid": "many"})
    refused(site, "broker", "-u", update, says=r"int.*pid")
    assert site.run_json("broker", "-q") == [job]


def test_broker_without_or_with_two_of_its_flags(site: Site) -> None:
    refused(site, "broker", code=2, says="one of -r")
    refused(site, "broker", "-q", "-r", code=2, says="one of -r")
    refused(site, "broker", "-r", code=2, says="-a APP")
    refused(site, "broker", "-r", "-a", "conduit", "-p", "secret!", says="no line of htdigest")


@pytest.mark.parametrize("command", ["inspect", "url", "logs", "stop", "start", "rm"])
def test_jobs_that_are_not_there(site: Site, command: str) -> None:
    refused(site, command, "job_1024", says="there is no job_1024; your jobs are: none")
    refused(site, command, "me", says='"me" is not a job')


def test_one_job_that_fails_does_not_spare_the_others(site: Site) -> None:
    job = site.run_json("broker", "-r", "-a", "conduit", "-p", "0" * 32)
    done = site.run("rm", "job_1024", job["job_id"], check=False)
    assert (done.returncode, done.stdout.split()) == (1, [job["job_id"]])
    assert "there is no job_1024" in done.stderr
    site.assert_nothing_left()


def test_job_of_another_user(site: Site, engine: DockerEngine) -> None:
    job = site.run_json("broker", "-r", "-a", "conduit", "-p", "0" * 32)
    own, site.env["XDG_STATE_HOME"] = site.env["XDG_STATE_HOME"], str(site.root / "elsewhere")
    refused(site, "stop", job["job_id"], says=f"{job['job_id']} is a job of")
    everybody = {found["job_id"]: found for found in site.run_json("ps", "--all-users", "--json")}
    assert everybody[job["job_id"]]["password_hash"] is None
    site.env["XDG_STATE_HOME"] = own


def test_state_directory_that_can_not_be_used(site: Site) -> None:
    site.state.write_text("a file where a directory has to be")
    refused(site, "ps", says="can't use the state directory")


def test_state_directory_of_somebody_else(site: Site) -> None:
    if os.getuid() != 0:
        pytest.fail("needs root to give a directory away")
    site.directory.mkdir(parents=True)
    os.chown(site.directory, 12345, 12345)
    refused(site, "ps", says="belongs to uid 12345")


def test_corrupt_line_is_kept_aside(site: Site) -> None:
    job = site.run_json("broker", "-r", "-a", "conduit", "-p", "0" * 32)
    records = site.directory / "connections.txt"
    with records.open("a") as file:
        file.write('{"job_id": "job_1", garbled\n')
    assert [found["job_id"] for found in site.run_json("broker", "-q")] == [job["job_id"]]
    (aside,) = site.directory.glob("connections.txt.damaged-*")
    assert aside.read_text() == '{"job_id": "job_1", garbled\n'
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    assert "garbled" not in records.read_text()


def test_log_lines_do_not_drive_the_terminal(site: Site) -> None:
    python_app(site, "loud")
    text = r"print('\x1b]0;owned\x07 title'); raise SystemExit(1)"
    done = site.run("run", "loud", "--generate-password", "--", "-c", text, check=False)
    assert "title" in done.stderr
    assert "\x1b" not in done.stderr


def test_every_command_has_help_with_an_example(site: Site) -> None:
    commands = re.findall(r"^  ([a-z]+)  ", site.run("--help").stdout, re.MULTILINE)
    nested = [["images", "build"], ["images", "ls"], ["ca", "path"], ["ca", "export"]]
    nested += [["ca", "trust"], ["ca", "untrust"]]
    nested += [["config", "show"], ["config", "import"], ["config", "schema"]]
    single = [[name] for name in commands if name not in ("images", "ca", "config")]
    assert len(single) == 21
    for words in single + nested:
        assert "Example: jobctl" in site.run(*words, "--help").stdout.replace("curl", "jobctl")
