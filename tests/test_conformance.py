"""The conformance test: a good app passes all of it, and each bad one fails where it is bad."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from jobctl.apps import FUNCTIONS
from jobctl.conformance import CHECKS
from jobctl.conformance.confinement import (
    capable,
    promotable,
    shown_socket,
    unlimited,
    writable_root,
)
from jobctl.engines.base import Bind, Details
from jobctl.engines.docker import DockerEngine
from tests.site import Site

# Beside those of the fixture `site`; of several who are after one, the engine decides.
PORTS = (26000, 26099)
NAMES = [check.name for check in CHECKS]

LOGIN_APP = '''
"""Does TLS and passwords itself, with a login form, and with the flaws that it is told to have."""
import hashlib, http.server, pathlib, secrets, socket, ssl, sys, threading, urllib.parse

port, root, *flaws = sys.argv[1:]
user, realm, wanted = pathlib.Path(root + "_htpasswd").read_text().strip().split(":")
session = "session=" + secrets.token_hex(16)
form = b'<form method="post"><input name="user"><input type="password" name="password"></form>'
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(root + ".crt", root + ".key")


class Handler(http.server.BaseHTTPRequestHandler):
    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if "Upgrade" in self.headers and "upgrades" in flaws:
            self.reply(101, Connection="Upgrade", Upgrade="websocket")
        elif self.path == "/login":
            self.reply(200, form)
        elif session in self.headers.get("Cookie", ""):
            self.reply(200, b"hello")
        elif self.path == "/":
            self.reply(302, Location="/home")
        elif self.path == "/no-such-page":
            self.reply(200 if "opens-a-path" in flaws else 404)
        else:
            self.reply(302, Location="/login?next=" + self.path)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if "prints-what-it-is-sent" in flaws:
            print(body, flush=True)
        password = urllib.parse.parse_qs(body)["password"][0]
        given = hashlib.md5(f"{user}:{realm}:{password}".encode()).hexdigest()
        cookie = {"Set_Cookie": session + "; Path=/"} if given == wanted else {}
        self.reply(302, Location="/home", **cookie)


class Server(http.server.ThreadingHTTPServer):
    def get_request(self):
        connection, address = self.socket.accept()
        if "speaks-plainly" in flaws and connection.recv(1, socket.MSG_PEEK) != bytes([22]):
            return connection, address
        return context.wrap_socket(connection, server_side=True), address


if "prints-its-key" in flaws:
    print(pathlib.Path(root + ".key").read_text(), flush=True)
second = socket.create_server(("", 8888)) if "second-port" in flaws else None
Server(("", int(port)), Handler).serve_forever()
'''
# What the tests of this file say about an app if nothing else: a server that needs no module.
GOOD: dict[str, Any] = {
    "image": "jobctl/base",
    "command": "python3 -m http.server {port} --bind 127.0.0.1",
}
HASH = 'job["password_hash"].rpartition(":")[2]'
WRITES_HASH = f'return helpers.write_file(job, "_config.sh", "HASH=" + {HASH})'
CONFIG = "{job_root}{job_id}_config.sh"


def login(*flaws: str) -> dict[str, Any]:
    """Return the section of the app that secures itself."""
    return {
        "secured_by": "app",
        "login_path": "/login",
        "ready_path": "/home",
        "command": ["python3", "/srv/login.py", "{port}", "{job_root}{job_id}", *flaws],
    }


def after(script: str) -> list[str]:
    """Return a command that serves after a shell has run a script."""
    serve = "exec python3 -m http.server $0 --bind 127.0.0.1"
    return ["sh", "-c", f"{script}\n{serve}", "{port}"]


def module(**functions: str) -> str:
    """Return an app module with the default functions, but for some of which the body is given."""
    lines = ["import os", "from jobctl import helpers"]
    lines += [f"from jobctl.helpers import {name}" for name in FUNCTIONS]
    lines += [f"def {name}(job): {body}" for name, body in functions.items()]
    return "\n".join(lines)


@dataclass
class Bad:
    """An app, the one check that it fails, and what the message has to speak of."""

    fails: str
    says: str
    keys: dict[str, Any] = field(default_factory=dict)
    module: str | None = None
    not_checked: frozenset[str] = frozenset()


BAD = {
    "exits": Bad(
        "ready", "exited (1)", {"command": ["false"]}, None, frozenset(NAMES) - {"ready", "rm"}
    ),
    "open": Bad(
        "password",
        "opt-out require_password: false",
        {"require_password": False},
        None,
        frozenset({"websocket"}),
    ),
    "opens-a-path": Bad(
        "password", "GET /no-such-page without a login answers 200", login("opens-a-path")
    ),
    "upgrades": Bad("websocket", "answered with 101", login("upgrades")),
    "speaks-plainly": Bad("plain-http", "answered with 302", login("speaks-plainly")),
    "second-port": Bad("ports", "port 8888", login("second-port")),
    "all-addresses": Bad(
        "ports", "on 127.0.0.1 alone", {"command": "python3 -m http.server {port}"}
    ),
    "hash-in-argv": Bad(
        "argv",
        "the password's hash can be read in the command line of the app",
        {"command": after("true")},
        module(get_launch_cmd=f'return helpers.get_launch_cmd(job) + " " + {HASH}'),
    ),
    "hash-in-a-child-s-argv": Bad(
        "argv",
        "the password's hash can be read in the command line of the app",
        {"command": after(f'. {CONFIG}; sh -c "sleep 99; true" "$HASH" &')},
        module(gen_config=WRITES_HASH),
    ),
    "hash-in-env": Bad(
        "env",
        "the password's hash can be read in the environment of the app",
        {"command": after(f". {CONFIG}; export HASH")},
        module(gen_config=WRITES_HASH),
    ),
    "hash-in-labels": Bad(
        "labels",
        "the password's hash can be read in the labels of the",
        {},
        module(gen_config=f'return helpers.write_file(job, "_" + {HASH}, "")'),
    ),
    "prints-its-settings": Bad(
        "logs",
        "the password's hash can be read in the log of the app",
        {"command": after(f"cat {CONFIG}")},
        module(gen_config=WRITES_HASH),
    ),
    "prints-what-it-is-sent": Bad(
        "logs", "the password can be read in the log of the app", login("prints-what-it-is-sent")
    ),
    "prints-its-key": Bad(
        "logs", "the private key can be read in the log of the app", login("prints-its-key")
    ),
    "root": Bad("user", "opt-out in its section (root inside the container)", {"user": 0}),
    "writable": Bad("root-fs", "opt-out in its section (writable root", {"read_only": False}),
    "capable": Bad("capabilities", "opt-out in its section (cap", {"cap_add": ["NET_RAW"]}),
    "readable-by-all": Bad(
        "files",
        "has the mode 644 instead of 600",
        {},
        module(
            gen_config=WRITES_HASH,
            get_launch_cmd='os.chmod(job["config"], 0o644); return helpers.get_launch_cmd(job)',
        ),
    ),
    "stubborn": Bad("stop", "within its 1 s", {"command": after("trap '' TERM"), "stop_grace": 1}),
    "starts-once": Bad(
        "start",
        "exited (7)",
        {"command": after("mkdir /srv/scratch/lock || exit 7")},
    ),
    "litters": Bad(
        "rm",
        "cache.db",
        {},
        module(gen_config='open(job["job_root"] + "cache.db", "w").close()'),
    ),
}


def configured(site: Site, app: str, bad: Bad) -> None:
    """Write what an app needs: its section, its module, the files that it mounts."""
    server, scratch = site.root / "login.py", site.root / "scratch"
    server.write_text(LOGIN_APP)
    scratch.mkdir()
    scratch.chmod(0o777)
    mounts = [f"{server}:/srv/login.py", f"{scratch}:/srv/scratch:rw"]
    keys = GOOD | {"mounts": mounts} | bad.keys
    if bad.module:
        (site.root / "app_modules" / "bad.py").write_text(bad.module)
        keys["app_module_path"] = "app_modules/bad.py"
    site.configure(app, **keys)


@dataclass
class Trial:
    """A place where an app was checked, and what came of it."""

    site: Site
    done: subprocess.CompletedProcess[str]

    def details(self, passed: bool | None) -> dict[str, str]:
        """Return what is said of the checks that went so, by name."""
        findings = json.loads(self.done.stdout)
        return {one["name"]: one["detail"] for one in findings if one["passed"] is passed}


@pytest.fixture(scope="module")
def trials(
    installed: Path, engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Trial]]:
    """Check all bad apps, each in a place of its own; a few at a time, since most is waiting."""

    def check(app: str) -> Trial:
        site = Site(installed, tmp_path_factory.mktemp(app) / "site", engine, PORTS)
        configured(site, app, BAD[app])
        return Trial(site, site.run("check", app, "--json", check=False))

    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(BAD, pool.map(check, BAD), strict=True))
    yield found
    for trial in found.values():
        trial.site.clear()


@pytest.mark.engine
def test_a_good_app_passes_everything(site: Site) -> None:
    site.configure("good", **GOOD)

    *lines, summary = site.run("check", "good").stdout.splitlines()

    assert [line.partition("  ")[0] for line in lines] == ["PASS"] * len(CHECKS)
    assert all(check.what in line for check, line in zip(CHECKS, lines, strict=True))
    assert summary == f"{len(CHECKS)} passed, 0 failed"
    site.assert_nothing_left()


@pytest.mark.engine
def test_an_app_with_a_login_form_passes_everything(site: Site) -> None:
    configured(site, "good", Bad("", "", login()))

    findings = site.run_json("check", "good", "--json")

    assert [one["name"] for one in findings if one["passed"] is True] == NAMES
    site.assert_nothing_left()


@pytest.mark.engine
def test_an_ordinary_user_can_check_an_app(users_site: Site) -> None:
    users_site.configure("good", **GOOD)

    findings = users_site.run_json("check", "good", "--json")

    assert [one["name"] for one in findings if one["passed"] is True] == NAMES
    users_site.assert_nothing_left()


@pytest.mark.engine
def test_an_image_without_a_section(site: Site) -> None:
    """On all addresses, as most images serve, which is what the check is there to find."""
    command = ["--", "python3", "-m", "http.server", "9000"]

    done = site.run("check", "--image", "jobctl/base", "--app-port", "9000", *command, check=False)

    assert done.returncode == 1
    (failed,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert "port 9000" in failed
    assert done.stdout.endswith(f"{len(CHECKS) - 1} passed, 1 failed\n")
    site.assert_nothing_left()


@pytest.mark.engine
@pytest.mark.parametrize("app", BAD)
def test_a_bad_app_fails_where_it_is_bad(trials: dict[str, Trial], app: str) -> None:
    bad, trial = BAD[app], trials[app]

    failed = trial.details(False)

    assert list(failed) == [bad.fails], "\n".join(failed.values())
    assert bad.says in failed[bad.fails]
    assert set(trial.details(None)) == bad.not_checked
    assert trial.done.returncode == 1
    assert re.search(r"\b[0-9a-f]{32}\b", trial.done.stdout + trial.done.stderr) is None
    trial.site.assert_nothing_left()


def test_there_is_a_bad_app_for_each_check_that_an_app_can_fail() -> None:
    """The others are about what jobctl itself gives every container; see below."""
    assert {bad.fails for bad in BAD.values()} == set(NAMES) - {"privileges", "socket", "limits"}


@pytest.mark.engine
def test_what_could_not_be_checked_is_not_passed(site: Site) -> None:
    site.configure("exits", image="jobctl/base", command="false")

    done = site.run("check", "exits", check=False)

    assert done.stdout.count("\nSKIP  ") == len(CHECKS) - 2
    assert done.stdout.endswith(f"1 passed, 1 failed, {len(CHECKS) - 2} not checked\n")


@pytest.mark.engine
def test_an_app_that_is_interrupted_in_the_middle_leaves_nothing(site: Site) -> None:
    site.configure("stubborn", **GOOD | {"command": after("trap '' TERM"), "stop_grace": 300})

    with site.start("check", "stubborn") as process:
        assert process.stderr is not None
        while "stopping" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130

    site.assert_nothing_left()


@pytest.mark.engine
def test_an_app_that_is_not_there_is_an_error_and_no_finding(site: Site) -> None:
    done = site.run("check", "absent", check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert 'no app "absent"' in done.stderr
    assert site.run("check", check=False).returncode == 2


# What no section can ask for


LOCKED = Details(
    command=["serve"],
    env={},
    labels={},
    user="1000:1000",
    read_only=True,
    cap_add=[],
    cap_drop=["ALL"],
    privileged=False,
    no_new_privileges=True,
    binds=[],
    publishes=[],
    addresses=[],
    memory=1024,
    cpus=2,
    pids=9,
)


def test_nothing_is_wrong_with_a_container_that_is_locked_down() -> None:
    looks = (writable_root, capable, promotable, unlimited)

    assert [look(LOCKED) for look in looks] == [None] * len(looks)


def test_capabilities_that_were_not_dropped_are_told() -> None:
    assert "by default" in (capable(replace(LOCKED, cap_drop=[])) or "")
    assert "by default" in (capable(replace(LOCKED, cap_drop=["NET_RAW"])) or "")


def test_ways_to_more_privileges_are_told() -> None:
    assert "privileged" in (promotable(replace(LOCKED, privileged=True)) or "")
    assert "setuid" in (promotable(replace(LOCKED, no_new_privileges=False)) or "")
    assert "system calls" in (promotable(replace(LOCKED, seccomp="unconfined")) or "")


def test_a_limit_that_is_not_there_is_told() -> None:
    assert "memory" in (unlimited(replace(LOCKED, memory=0)) or "")
    assert "cpus" in (unlimited(replace(LOCKED, cpus=0)) or "")
    assert "pids" in (unlimited(replace(LOCKED, pids=0)) or "")


def test_a_socket_is_found_behind_every_mount_that_shows_it(tmp_path: Path) -> None:
    """The launch refuses the socket of its own engine; there may be others on the host."""
    real = tmp_path / "run" / "engine.sock"
    real.parent.mkdir()
    real.touch()
    (tmp_path / "link").symlink_to(tmp_path / "run")

    def shown(source: Path) -> str | None:
        bind = Bind(source=str(source), target="/mnt")
        return shown_socket(replace(LOCKED, binds=[bind]), [real])

    for source in (real, real.parent, tmp_path, tmp_path / "link", Path("/")):
        assert str(source) in (shown(source) or "")
    for source in (tmp_path / "other", real.with_name("engine.socket"), real / "below"):
        assert shown(source) is None
