"""Apps and their modules: what a module may do, and one clear error for whatever it gets wrong."""

from __future__ import annotations

import datetime
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from jobctl import apps, certs, config
from jobctl.errors import JobctlError, UsageError

DEFAULTS = "from jobctl.helpers import gen_cert, gen_config, get_launch_cmd, get_password\n"

# Written for the older scripts' documentation: string paths, plain files, no knowledge of jobctl.
OLDER = """
from jobctl.helpers import gen_cert, get_password

def gen_config(job):
    path = job["job_root"] + job["job_id"] + "_config.txt"
    f = open(path, "w")
    f.write("port = " + job["port"] + "\\n")
    f.write("key = " + job["job_root"] + job["job_id"] + ".key\\n")
    f.close()
    return path

def get_launch_cmd(job):
    return job["app_path"] + " --config " + job["config"] + " --name 'of " + job["owner"] + "'"
"""


def job_at(home: Path, **changes: Any) -> Mapping[str, Any]:
    """Return a job as modules see it."""
    values: dict[str, Any] = {
        **{"job_id": "job_8000", "app": "demo", "port": "8000", "protocol": "https"},
        **{"host": "test-pc", "owner": "test", "job_root": f"{home}/", "config": None},
        **{"app_path": "/opt/serve", "password_hash": None, "hash_algorithm": None, "pid": None},
        **{"status": "registered", "creation_timestamp": 1, "bind_address": "127.0.0.1"},
        **{"args": [], "app_port": 9000, "command": None, "options": {}},
    }
    return values | changes


def app_of(directory: Path, text: str) -> apps.App:
    """Return the app whose module is ``text``."""
    (directory / "demo_module.py").write_text(text)
    (directory / "config.yaml").write_text(
        "apps: {demo: {app_module_path: demo_module.py, app_module: demo_module}}"
    )
    return apps.load("demo", config.load(directory / "config.yaml"))


def refused(directory: Path, text: str, *words: str) -> str:
    """Return why a module is refused when it is loaded; the message names its file."""
    with pytest.raises(JobctlError) as caught:
        app_of(directory, text)
    message = str(caught.value)
    assert message.startswith(f"{directory}/demo_module.py: ")
    for word in words:
        assert word in message
    return message


# Loading


def test_an_app_without_a_module_has_the_defaults(tmp_path: Path, home: Path) -> None:
    (tmp_path / "config.yaml").write_text("apps: {demo: {server_path: /opt/serve}}")

    app = apps.load("demo", config.load(tmp_path / "config.yaml"))

    assert app.gen_config(job_at(home)) is None
    assert app.get_launch_cmd(job_at(home, args=["-v", "a b"])) == ["/opt/serve", "-v", "a b"]
    assert app.get_password(lambda: "asked") == "asked"


def test_a_module_s_path_counts_from_the_configuration_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")

    assert app_of(tmp_path, DEFAULTS).source == f"{tmp_path}/demo_module.py"


def test_an_unknown_app_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("apps: {demo: {}}")

    with pytest.raises(JobctlError, match='no app "other"'):
        apps.load("other", config.load(tmp_path / "config.yaml"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def broken(:", ["SyntaxError"]),
        ("import nowhere_to_be_found", ["ModuleNotFoundError", "nowhere_to_be_found"]),
        ("1 / 0", ["ZeroDivisionError"]),
        ("import sys; sys.exit(3)", ["SystemExit"]),
        ("raise SystemExit", ["SystemExit"]),
        ("\0", ["Error"]),
    ],
)
def test_a_module_that_can_not_be_imported(tmp_path: Path, text: str, words: list[str]) -> None:
    refused(tmp_path, text, "can't import it", *words)


def test_a_module_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("apps: {demo: {app_module_path: absent.py}}")

    with pytest.raises(JobctlError, match=f"{tmp_path}/absent.py: can't import it"):
        apps.load("demo", config.load(tmp_path / "config.yaml"))


@pytest.mark.parametrize("name", ["module.txt", "no_extension"])
def test_a_module_that_is_no_python_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "module.txt").write_text(DEFAULTS)
    (tmp_path / "no_extension").write_text(DEFAULTS)
    (tmp_path / "config.yaml").write_text(f"apps: {{demo: {{app_module_path: {name}}}}}")

    with pytest.raises(JobctlError, match=f"{tmp_path}/{name}: "):
        apps.load("demo", config.load(tmp_path / "config.yaml"))


@pytest.mark.parametrize(
    "keys",
    [
        "app_module_path: app_modules/mine.py",
        "{app_module_path: app_modules, app_module: mine}",
        "app_module: mine",
    ],
)
def test_a_module_is_named_by_file_by_directory_or_by_name(tmp_path: Path, keys: str) -> None:
    (tmp_path / "app_modules").mkdir()
    (tmp_path / "app_modules" / "mine.py").write_text(DEFAULTS)
    section = keys if keys.startswith("{") else f"{{{keys}}}"
    (tmp_path / "config.yaml").write_text(f"apps: {{demo: {section}}}")

    found = apps.load("demo", config.load(tmp_path / "config.yaml"))

    assert found.source == f"{tmp_path}/app_modules/mine.py"


@pytest.mark.parametrize("name", apps.FUNCTIONS)
def test_a_module_that_lacks_a_function_is_told_which_and_what_to_import(
    tmp_path: Path, name: str
) -> None:
    refused(tmp_path, DEFAULTS + f"del {name}", name, "from jobctl.helpers import")


def test_a_function_that_is_none_is_missing(tmp_path: Path) -> None:
    refused(tmp_path, DEFAULTS + "gen_cert = None", "gen_cert")


def test_a_module_may_define_dataclasses(tmp_path: Path) -> None:
    text = (
        "from __future__ import annotations\n"
        + DEFAULTS
        + "from dataclasses import dataclass\n@dataclass\nclass Settings:\n    port: int\n"
    )

    assert app_of(tmp_path, text).module.Settings(port=1).port == 1


def test_modules_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one = app_of(tmp_path / "one", DEFAULTS + "WHO = 'one'")
    two = app_of(tmp_path / "two", DEFAULTS + "WHO = 'two'")

    assert (one.module.WHO, two.module.WHO) == ("one", "two")


def test_a_module_can_not_shadow_another(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text(DEFAULTS)
    (tmp_path / "config.yaml").write_text("apps: {demo: {app_module_path: json.py}}")

    apps.load("demo", config.load(tmp_path / "config.yaml"))

    import json

    assert json.loads("1") == 1


# Calling


CALLS: dict[str, Callable[[apps.App, Mapping[str, Any]], object]] = {
    "get_password": lambda app, _: app.get_password(lambda: ""),
    "gen_cert": lambda app, job: app.gen_cert(job, None),
    "gen_config": lambda app, job: app.gen_config(job),
    "get_launch_cmd": lambda app, job: app.get_launch_cmd(job),
}


@pytest.mark.parametrize("name", apps.FUNCTIONS)
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("1 / 0", "raised ZeroDivisionError: division by zero"),
        ("raise KeyError('nothing')", "raised KeyError: 'nothing'"),
        ("import sys; sys.exit(3)", "raised SystemExit: 3"),
        ("open('/absent/file')", "raised FileNotFoundError"),
    ],
)
def test_a_function_that_raises_is_named_with_its_file(
    tmp_path: Path, home: Path, name: str, body: str, words: str
) -> None:
    app = app_of(tmp_path, DEFAULTS + f"def {name}(*arguments):\n    {body}")

    with pytest.raises(JobctlError) as caught:
        CALLS[name](app, job_at(home))

    assert str(caught.value).startswith(f"{tmp_path}/demo_module.py: {name} {words}")


@pytest.mark.parametrize("name", ["get_password", "gen_config", "get_launch_cmd"])
@pytest.mark.parametrize("value", ["3", "['a']", "b'x'", "True"])
def test_a_function_that_returns_something_else_is_named_with_the_type(
    tmp_path: Path, home: Path, name: str, value: str
) -> None:
    app = app_of(tmp_path, DEFAULTS + f"def {name}(*arguments): return {value}")

    with pytest.raises(JobctlError) as caught:
        CALLS[name](app, job_at(home))

    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/demo_module.py: {name} returned ")
    assert "expected str" in message


@pytest.mark.parametrize("name", apps.FUNCTIONS)
def test_a_function_with_other_parameters_is_named(tmp_path: Path, home: Path, name: str) -> None:
    app = app_of(tmp_path, DEFAULTS + f"def {name}(a, b, c, d): return None")

    with pytest.raises(JobctlError, match=f"{name} raised TypeError"):
        CALLS[name](app, job_at(home))


def test_what_a_module_says_itself_is_not_wrapped(tmp_path: Path, home: Path) -> None:
    text = "from jobctl.errors import JobctlError\ndef gen_config(job): raise JobctlError('as is')"
    app = app_of(tmp_path, DEFAULTS + text)

    with pytest.raises(JobctlError) as caught:
        app.gen_config(job_at(home))

    assert str(caught.value) == "as is"


def test_ctrl_c_in_a_module_goes_through(tmp_path: Path, home: Path) -> None:
    app = app_of(tmp_path, DEFAULTS + "def gen_config(job): raise KeyboardInterrupt")

    with pytest.raises(KeyboardInterrupt):
        app.gen_config(job_at(home))


def test_a_certificate_function_may_return_what_it_likes(tmp_path: Path, home: Path) -> None:
    app_of(tmp_path, DEFAULTS + "def gen_cert(job, h): return 5").gen_cert(job_at(home), None)


# Files of modules


def test_files_that_a_module_writes_with_open_are_private(tmp_path: Path, home: Path) -> None:
    app = app_of(tmp_path, OLDER)
    before = os.umask(0)
    try:
        path = app.gen_config(job_at(home))
        (home / "afterwards").touch()
    finally:
        os.umask(before)

    assert stat.S_IMODE(Path(path or "").stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "afterwards").stat().st_mode) == 0o666


@pytest.mark.parametrize(
    "name", ["job_8000_config.txt", "job_8000.config", "job_8000_a b", "job_8000_config.d"]
)
def test_a_configuration_starts_with_the_id_of_its_job(
    tmp_path: Path, home: Path, name: str
) -> None:
    text = f"""
def gen_config(job):
    path = job["job_root"] + {name!r}
    open(path, "w").close()
    return path
"""
    assert app_of(tmp_path, DEFAULTS + text).gen_config(job_at(home)) == f"{home}/{name}"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "",
        "job_8000_config.txt",
        "{root}job_80000_config.txt",
        "{root}connections.txt",
        "{root}job_8000",
        "{root}../job_8000_config.txt",
        "{root}below/job_8000_config.txt",
    ],
)
def test_a_configuration_elsewhere_is_refused(tmp_path: Path, home: Path, path: str) -> None:
    given = path.replace("{root}", f"{home}/")
    (home / "below").mkdir()
    app = app_of(tmp_path, DEFAULTS + f"def gen_config(job): return {given!r}")

    with pytest.raises(JobctlError) as caught:
        app.gen_config(job_at(home))

    assert f'gen_config returned "{given}"' in str(caught.value)
    assert str(home / "job_8000") in str(caught.value)


def test_a_configuration_that_was_not_written_is_refused(tmp_path: Path, home: Path) -> None:
    app = app_of(
        tmp_path, DEFAULTS + "def gen_config(job): return job['job_root'] + 'job_8000_config'"
    )

    with pytest.raises(JobctlError, match="but did not write it"):
        app.gen_config(job_at(home))


# Commands


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("serve --port 1", ["serve", "--port", "1"]),
        ("serve 'a b' \\$HOME", ["serve", "a b", "$HOME"]),
        ("serve $HOME; rm *", ["serve", "$HOME;", "rm", "*"]),
        ("  serve  ", ["serve"]),
    ],
)
def test_a_command_is_split_into_words_without_a_shell(
    tmp_path: Path, home: Path, line: str, words: list[str]
) -> None:
    app = app_of(tmp_path, DEFAULTS + f"def get_launch_cmd(job): return {line!r}")

    assert app.get_launch_cmd(job_at(home)) == words


@pytest.mark.parametrize("line", ["", "  ", "''", "'' --port 1"])
def test_an_empty_command_is_an_error_that_says_what_to_return(
    tmp_path: Path, home: Path, line: str
) -> None:
    app = app_of(tmp_path, DEFAULTS + f"def get_launch_cmd(job): return {line!r}")

    with pytest.raises(JobctlError, match=r"demo_module\.py: .*no command.*or None for what the"):
        app.get_launch_cmd(job_at(home))


def test_no_command_leaves_it_to_the_image(tmp_path: Path, home: Path) -> None:
    app = app_of(tmp_path, DEFAULTS + "def get_launch_cmd(job): return None")

    assert app.get_launch_cmd(job_at(home)) is None


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("nginx", "nginx"),
        ("ghcr.io/Some-Org/My.App:1.2", "my-app"),
        ("localhost:5000/app@sha256:0123", "app"),
        ("x/" + "a" * 60, "a" * 40),
        ("x/__", "app"),
    ],
)
def test_an_app_that_is_but_an_image_is_named_after_it(image: str, name: str) -> None:
    app = apps.ad_hoc(image, {"app_port": 3000})

    assert app.name == name
    assert (app.section.image, app.section.app_port) == (image, 3000)


def test_keys_of_a_section_can_be_changed_for_once(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("apps: {demo: {memory: 1g, pids: 9, extra: 1}}")

    app = apps.load("demo", config.load(tmp_path / "config.yaml"), {"memory": "2g", "more": 2})

    assert (app.section.memory, app.section.pids) == ("2g", 9)
    assert app.section.options == {"extra": 1, "more": 2}


@pytest.mark.parametrize("changes", [{}, {"memory": "2g"}])
def test_what_is_for_the_module_stays_as_the_file_has_it(
    tmp_path: Path, changes: dict[str, str]
) -> None:
    (tmp_path / "config.yaml").write_text("apps: {demo: {since: 2016-05-04}}")

    app = apps.load("demo", config.load(tmp_path / "config.yaml"), changes)

    assert app.section.options == {"since": datetime.date(2016, 5, 4)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory": "lots"}, 'command line: apps.demo.memory: expected .*, got str "lots"'),
        ({"command": "run {nothing}"}, "command line: apps.demo.command: .*no placeholder"),
    ],
)
def test_a_change_is_checked_as_in_a_file(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    (tmp_path / "config.yaml").write_text("apps: {demo: {}}")

    with pytest.raises(UsageError, match=message):
        apps.load("demo", config.load(tmp_path / "config.yaml"), changes)


def test_a_quote_that_is_not_closed_is_shown(tmp_path: Path, home: Path) -> None:
    app = app_of(tmp_path, DEFAULTS + "def get_launch_cmd(job): return 'serve \"a'")

    with pytest.raises(JobctlError, match='returned "serve "a": No closing quotation'):
        app.get_launch_cmd(job_at(home))


# The documented contract


def test_a_module_of_the_older_scripts_runs_but_for_its_import_line(
    tmp_path: Path, home: Path
) -> None:
    app = app_of(tmp_path, OLDER)
    job = job_at(home)

    hashed = app.get_password(lambda: "test:demo:0123")
    app.gen_cert(job, hashed)
    path = app.gen_config(job)
    command = app.get_launch_cmd(job_at(home, config=path))

    assert hashed == "test:demo:0123"
    assert path == f"{home}/job_8000_config.txt"
    assert Path(path).read_text() == f"port = 8000\nkey = {home}/job_8000.key\n"
    assert command == ["/opt/serve", "--config", path, "--name", "of test"]
    assert certs.fingerprint((home / "job_8000.crt").read_bytes())


def test_the_shipped_modules_load() -> None:
    found = config.load(config.shipped() / "config.yaml")

    for name in found.apps:
        assert apps.load(name, found).name == name
