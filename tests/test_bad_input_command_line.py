"""Words on the command line, passwords on standard input, streams that lack something."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobctl import helpers, passwords, placeholders
from jobctl.broker import Broker
from jobctl.cli import render
from jobctl.config import load
from jobctl.containers import parse_mount
from jobctl.errors import JobctlError, UsageError
from jobctl.job import to_dict
from jobctl.orders import Order
from tests.bad_input import (
    COLOUR,
    FORGED_ROW,
    MD5,
    RAW,
    TURNED,
    CommandLine,
    a_job,
    anything,
    argument,
    encodable,
    nothing_outside,
    text,
    well_behaved,
    whole_commands,
)

OPTIONS = ["--set", "--env", "--mount", "--memory", "--cpus", "--gpus", "--bind", "--port"]
OPTIONS += ["--image", "--app-port", "-a", "-p", "-u", "--config", "--json", "-q", "--all", "--"]
COMMANDS = ["run", "ps", "inspect", "url", "logs", "stop", "start", "rm", "prune", "apps", "broker"]
COMMANDS += ["client", "config", "ca", "images", "new", "check", "--debug"]

words = st.one_of(
    argument,
    st.sampled_from(["demo", "path", "show", "job_8000", "env.A=1", "A=B", "memory=1g", "a={"]),
    argument.map(lambda word: f"server_path={word}"),
    argument.map(lambda word: f"{word}=x"),
)
# A launch would wait for an app that no engine in memory has, and --debug asks for tracebacks.
lines = st.one_of(
    st.lists(st.one_of(words, st.sampled_from(OPTIONS)), max_size=5).map(
        lambda rest: ["run", "demo", "--generate-password", "--port", "80", *rest]
    ),
    st.tuples(
        st.sampled_from([command for command in COMMANDS if command not in ("run", "check")]),
        st.lists(st.one_of(words, st.sampled_from(OPTIONS)), max_size=4),
    ).map(lambda both: [both[0], *both[1]]),
    st.lists(words, max_size=4),
).filter(lambda line: not {"--debug", "check", "-i", "--image", "--follow", "-f"} & set(line))


@given(line=lines)
@example(line=["run", "demo", "--set", "a=\udcff"])
@example(line=["run", "\udcff\udcfe"])
@example(line=["ps", "--\udcff"])
@example(line=["--config", "\udcff", "ps"])
@example(line=["new", "\udcff"])
@example(line=["broker", "-r", "-a", "demo", "-p", "\udcff:demo:" + MD5])
@example(line=["broker", "-u", '{"job_id": "job_8000", "x": "\udcff"}'])
@whole_commands
def test_any_words_are_done_or_refused(command_line: CommandLine, line: list[str]) -> None:
    with nothing_outside(command_line.state, command_line.root):
        outcome = command_line.run(*line)

    well_behaved(outcome)
    command_line.clear()


orders = st.fixed_dictionaries(
    {},
    optional={
        "args": st.lists(text, max_size=3),
        "env": st.dictionaries(text, text, max_size=2),
        "mounts": st.lists(text, max_size=1),
        "changes": st.dictionaries(
            st.sampled_from(["server_path", "image", "realm", "ready_path", "token", "memory"]),
            st.one_of(encodable, anything),
            max_size=2,
        ),
        "bind": st.one_of(text, st.sampled_from(["::1", "0.0.0.0", "fe80::1%lo", "127.0.0.1"])),
        "password": text,
    },
)


@given(values=orders)
@example(values={"args": ["a\0b"]})
@example(values={"args": ["\udcff"]})
@example(values={"env": {"A": "\udcff"}})
@example(values={"bind": "fe80::1%lo"})
def test_an_order_is_refused_or_can_be_launched(
    command_line: CommandLine, values: dict[str, object]
) -> None:
    """What is taken reaches the containers as it was given."""
    command_line.clear()
    desk = Broker(load(command_line.config), given_engine=command_line.engine)
    try:
        mounts = [parse_mount(one) for one in values.pop("mounts", [])]  # type: ignore[attr-defined]
        order = Order(app="demo", **{"password": "p", **values, "mounts": mounts})  # type: ignore[arg-type]
        with nothing_outside(command_line.directory, command_line.root):
            job = desk.register(order)
    except JobctlError:
        assert list(command_line.directory.glob("job_*")) == []
        return
    app = next(one for one in command_line.engine.containers() if one.name.endswith("-app"))
    details = command_line.engine.details(app.id)
    assert details is not None
    assert [*details.command][len(details.command) - len(order.args) :] == [*order.args]
    assert order.env.items() <= details.env.items()
    assert json.loads(render.job_json(job, reveal=True)) == to_dict(job)


@pytest.mark.parametrize("name", ["A B", "", "JOBCTL_URL", "A\n", "1A", "é"])
def test_variables_have_names(command_line: CommandLine, name: str) -> None:
    outcome = command_line.run("run", "demo", "--env", f"{name}=x", "--generate-password")

    assert outcome.code == UsageError.exit_code
    well_behaved(outcome)


def test_a_directory_that_is_gone_is_told(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = command_line.root / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    for line in (["run", "demo"], ["--config", "config.yaml", "ps"]):
        outcome = command_line.run(*line)
        well_behaved(outcome)
        assert "the current directory is gone" in outcome.err


# Placeholders


@given(command=st.one_of(text, st.lists(text, max_size=4)), args=st.lists(text, max_size=2))
def test_what_can_be_checked_can_be_filled_in(command: str | list[str], args: list[str]) -> None:
    try:
        given = placeholders.words(command) if isinstance(command, str) else command
        placeholders.check("command", given, args=True)
    except ValueError:
        return
    values = dict.fromkeys(placeholders.NAMES, "{nope} ; `id`")

    filled = placeholders.fill_command(command, values, args)

    assert len(filled) == len(given) + len(args) * max(1, given.count("{args}")) - (
        given.count("{args}")
    )


# Passwords


@given(
    password=st.one_of(text, st.text(min_size=100, max_size=300).map(lambda part: part * 34)),
    user=st.from_regex(r"\A[a-z_][a-z0-9_-]{0,30}\Z"),
    realm=st.from_regex(r"\A[ !#-9;-\[\]-~]{1,20}\Z"),
    algorithm=st.sampled_from(["apache_md5_digest", "bcrypt"]),
)
def test_a_password_becomes_a_line_that_is_taken_back(
    password: str, user: str, realm: str, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "BCRYPT_COST", 4)
    try:
        line = passwords.hash_password(algorithm, user=user, realm=realm, password=password)
    except JobctlError as error:
        told = str(error)
        assert "password" in told
        assert len(password) < 4 or password not in told
        return
    assert passwords.check_line(algorithm, line, user="other", realm=realm) == line
    bare = line.rpartition(":")[2]
    assert passwords.check_line(algorithm, bare, user=user, realm=realm) == line
    assert passwords.user_of(line) == user
    assert password in (user, realm) or len(password) < 4 or password not in line


hashes = st.sampled_from(
    [
        *(MD5, "$2y$10$" + "a" * 53, "$2y$\u0661\u0660$" + "a" * 53, "$2y$99$" + "a" * 53),
        *("argon2:$argon2id$v=19$m=8,t=1,p=1$YQ$YQ", "$argon2id$v=19$m=\u0661,t=1,p=1$YQ$YQ"),
    ]
)
hash_lines = st.one_of(
    text,
    hashes,
    st.tuples(text, hashes).map(":".join),
    st.tuples(text, text, hashes).map(":".join),
    st.tuples(text, hashes, text).map("".join),
    st.tuples(text, st.just("demo"), hashes).map(":".join),
)


@given(line=hash_lines, algorithm=st.sampled_from(["apache_md5_digest", "bcrypt", "jupyter"]))
@example(line="\udcff:demo:" + MD5, algorithm="apache_md5_digest")
@example(line="a\x85b:demo:" + MD5, algorithm="apache_md5_digest")
@example(line="é:demo:" + MD5, algorithm="apache_md5_digest")
@example(line="a:$2y$\u0661\u0660$" + "a" * 53, algorithm="bcrypt")
def test_a_hash_from_elsewhere_is_one_line_or_is_refused(line: str, algorithm: str) -> None:
    try:
        taken = passwords.check_line(algorithm, line, user="test", realm="demo")
    except JobctlError:
        return
    assert len(taken.splitlines()) == 1
    assert taken.encode()
    assert passwords.check_line(algorithm, taken, user="test", realm="demo") == taken
    assert re.split("[$:]", taken)[-1].isascii()
    assert not re.search("[\u0660-\u0669]", taken.rpartition(":")[2])


@pytest.mark.parametrize("algorithm", ["apache_md5_digest", "jupyter"])
def test_a_password_may_have_ten_thousand_characters(algorithm: str) -> None:
    password = "pä🂡 :" * 2000

    line = passwords.hash_password(algorithm, user="u", realm="r", password=password)

    assert passwords.check_line(algorithm, line, user="u", realm="r") == line


@given(data=st.binary(max_size=60))
@example(data=b"\xff\xfe")
@example(data=b"p\n\n")
@example(data=b"p" * 100_000)
@whole_commands
def test_standard_input_is_a_password_or_is_refused(command_line: CommandLine, data: bytes) -> None:
    command_line.clear()
    for line in (
        ["run", "demo", "--password-stdin", "--port", "80"],
        ["broker", "-r", "-a", "demo", "-p", "-"],
    ):
        outcome = command_line.run(*line, stdin=data)
        well_behaved(outcome)
        assert len(data) <= 1 << 16 or "longer than 65536 bytes" in outcome.err


# Files of jobs


@given(suffix=text, data=encodable)
@example(suffix="_\0", data="")
@example(suffix="_" + "x" * 300, data="")
@example(suffix="_/../../x", data="")
def test_a_module_writes_no_file_but_of_its_job(
    command_line: CommandLine, suffix: str, data: str
) -> None:
    job = to_dict(a_job(job_root=f"{command_line.directory}/"))
    before = set(command_line.directory.iterdir())
    with nothing_outside(command_line.directory, command_line.root):
        try:
            path = Path(helpers.write_file(job, suffix, data))
        except JobctlError:
            assert set(command_line.directory.iterdir()) == before
            return
    (made,) = set(command_line.directory.iterdir()) - before
    assert made == path
    assert path.name.startswith(("job_8000_", "job_8000."))
    assert path.read_bytes() == data.encode()
    path.unlink()


# What is shown


@given(shown=text)
@example(shown="a\nb\tc")
def test_nothing_that_drives_a_terminal_is_shown(shown: str) -> None:
    assert not RAW.search(render.clean(shown))
    render.clean(shown).encode()
    assert len(render.one_line(shown).splitlines()) <= 1
    assert "\t" not in render.one_line(shown)


@given(rows=st.lists(st.lists(text, min_size=3, max_size=3), max_size=4))
@example(rows=[[FORGED_ROW, COLOUR, TURNED]])
@example(rows=[["x" * 100_000, "", ""], ["", "", ""]])
def test_a_table_has_a_line_a_row(rows: list[list[str]]) -> None:
    table = render.table(["A", "B", "C"], rows)

    assert len(table.split("\n")) == 1 + len(rows)
    assert not RAW.search(table.replace("\n", ""))
    assert max(map(len, table.split("\n"))) <= 3 * render.MOST_CELL + 4


@given(value=st.one_of(anything, st.recursive(text, lambda part: st.lists(part, max_size=3))))
@example(value={"a": "\x7f\x9b31m\u202e\u2028", "b": float("nan")})
@example(value="\ud800")
def test_json_is_valid_and_shows_nothing_raw(value: object) -> None:
    shown = render.as_json(value)

    def strict(word: str) -> object:
        raise AssertionError(f"{word} is no JSON")

    back = json.loads(shown, parse_constant=strict)
    assert not RAW.search(shown.replace("\n", ""))
    shown.encode()
    if isinstance(value, str):
        assert back == value


@given(name=text, value=text)
def test_a_record_has_a_line_a_key(name: str, value: str) -> None:
    job = a_job(app=value, extra={f"x{name}": value, "y": [value]})

    assert len(render.record(job).split("\n")) == len(to_dict(job))


# Streams, and the installed command


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_an_encoding_lacks_is_escaped(command_line: CommandLine, encoding: str) -> None:
    command_line.config.write_text(
        'apps: {demo: {image: app, realm: demo, note: "pä漢🂡", server_path: "/bin/ä"}}', "utf-8"
    )
    table = command_line.run("config", "show", encoding=encoding)
    found = command_line.run("config", "show", "--json", encoding=encoding)

    well_behaved(table)
    well_behaved(found)
    values = {one["key"]: one["value"] for one in json.loads(found.out)}
    assert values["apps.demo.note"] == "pä漢🂡"


def run_installed(
    installed: Path, home: Path, line: str, **env: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell in which ``$0`` is the installed command."""
    kept = {"PATH": os.environ["PATH"], "HOME": str(home)}
    return subprocess.run(
        ["/bin/bash", "-c", line, installed], env=kept | env, capture_output=True, timeout=60
    )


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ('"$0" apps >&-', 0, b""),
        ('"$0" apps <&- >&- 2>&-', 0, b""),
        ('"$0" run conduit <&-', 2, b"there is no terminal to ask on"),
        ('"$0" run conduit --password-stdin <&-', 1, b"the password is empty"),
        ('"$0" apps >/dev/full', 1, b"can't write standard output: No space left on device"),
        ('yes | "$0" run conduit --password-stdin', 2, b"longer than 65536 bytes"),
        ('"$0" run conduit --password-stdin </dev/zero', 2, b"longer than 65536 bytes"),
        ('"$0" broker -r -a conduit -p - </dev/zero', 2, b"longer than 65536 bytes"),
        ("printf '\\xff' | \"$0\" run conduit --password-stdin", 2, b"is no UTF-8"),
        ("\"$0\" run $'\\xff\\xfe' --generate-password", 1, b'no app "'),
        ("\"$0\" run conduit --generate-password -- $'\\xff'", 2, b"is no UTF-8"),
        ("\"$0\" run conduit --generate-password -e A=$'\\xff'", 2, b"is no UTF-8"),
        ("\"$0\" ps --$'\\xff'", 2, b"No such option"),
        ("\"$0\" inspect $'\\xff'", 1, b"is not a job"),
        ('mkdir "$HOME"/$\'\\xff\' && cd "$HOME"/$\'\\xff\' && "$0" run conduit', 2, b"no UTF-8"),
        ('XDG_STATE_HOME="$HOME"/$\'\\e[31m\' "$0" ca path', 1, b"control characters"),
        ('XDG_STATE_HOME="$HOME"/$\'\\xff\' "$0" ca path', 1, b"control characters"),
        ('"$0" apps | head -c 1', 0, b""),
    ],
)
@pytest.mark.parametrize(
    "env", [{}, {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}], ids=["utf-8", "ascii"]
)
def test_streams_and_words_that_no_text_was_made_for(
    installed: Path, tmp_path: Path, line: str, code: int, says: bytes, env: dict[str, str]
) -> None:
    done = run_installed(installed, tmp_path, line, **env)

    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"a bug in jobctl" not in done.stderr
    assert b"\x1b" not in done.stderr
    assert b"Exception ignored" not in done.stderr
