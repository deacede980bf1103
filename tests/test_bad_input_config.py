"""Configuration files that are wrong in any way: told in words, and what is accepted works."""

from __future__ import annotations

import math
import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from jobctl import config
from jobctl.broker import Broker
from jobctl.errors import JobctlError
from jobctl.labels import job_from, labels_of
from jobctl.orders import Order
from jobctl.schema import General, Section
from tests.bad_input import (
    CommandLine,
    StrictEngine,
    anything,
    encodable,
    nasty,
    nothing_outside,
    well_behaved,
    whole_commands,
)

pieces = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *(
                    "apps",
                    "general",
                    "include",
                    ":",
                    ": ",
                    " ",
                    "  ",
                    "\n",
                    "\r\n",
                    "\t",
                    "- ",
                    "? ",
                ),
                *(
                    "&a ",
                    "*a",
                    "<<",
                    "{",
                    "}",
                    "[",
                    "]",
                    ",",
                    "|",
                    ">",
                    "'",
                    '"',
                    "#",
                    "---",
                    "...",
                ),
                *("%YAML 1.1\n", "%TAG ! x:\n", "!", "!!int ", "!!bool ", "!!timestamp ", "!!set "),
                *("!!python/object/apply:os.system ", "!!binary ", "!!omap ", "!!str ", "!!float "),
                *("~", "null", "yes", "0x", "1:30", "1_0", "2020-13-45", ".nan", "-.inf", "\ufeff"),
                *("\0", "\x85", "\u2028", "demo", "image", "command", "memory", "shipped", "é"),
            ]
        ),
        st.text(max_size=3),
    ),
    max_size=40,
).map("".join)

documents = st.one_of(
    st.binary(max_size=60),
    pieces.map(lambda text: text.encode(errors="surrogatepass")),
    pieces.map(lambda text: b"\xef\xbb\xbf" + text.encode(errors="replace")),
    pieces.map(lambda text: text.encode("utf-16", errors="replace")),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def read(file: Path) -> config.Config | str:
    """Return the configuration, or the message of what is wrong."""
    try:
        return config.load(file)
    except JobctlError as error:
        return str(error)


@given(data=documents)
@example(data=b"a: !!timestamp x")
@example(data=b"!!bool x")
@example(data=b"apps: {a: {protocol: 'x - at `$.y'}}")
@example(data=b"apps: {a: {? [b] : 1}}")
def test_any_bytes_are_a_configuration_or_told_why_not(file: Path, data: bytes) -> None:
    file.write_bytes(data)

    found = read(file)

    assert isinstance(found, config.Config) or found.startswith(f"{file}: ")


def laughs(opening: str, first: str) -> str:
    """Return a text whose tenth line stands for a thousand million values."""
    lines = [f"a0: &a0 {first}"]
    for n in range(1, 10):
        inner = ", ".join([f"*a{n - 1}"] * 9)
        lines.append(f"a{n}: &a{n} {opening.format(inner)}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (laughs("[{}]", "[ha, ha]"), "more than 100000 values"),
        (laughs("{{<<: [{}]}}", "{ha: ha}"), "more than 100000 values"),
        ("[" * 100_000, "more than 100 levels"),
        ("- " * 100_000, "more than 100 levels"),
        ("a: 0x" + "f" * 5000, "more than 64 bits"),
        ("a: " + "9" * 5000, "not YAML"),
        ("apps: {demo: {}}\napps: {}", 'line 2 has the key "apps" once more'),
        ("apps: {demo: {env: {A: 1, A: 2}}}", 'line 1 has the key "A" once more'),
        ("a: !!python/object/apply:os.system [id]", "not YAML: could not determine a constructor"),
        ("#" * (1 << 20) + "\n#", "longer than 1048576 bytes"),
    ],
    ids=lambda text: text[:20],
)
def test_texts_that_grow_by_being_read_or_say_more_than_they_show(
    file: Path, text: str, says: str
) -> None:
    file.write_text(text)

    assert says in str(read(file))


def test_a_mapping_may_override_what_it_merges(file: Path) -> None:
    file.write_text(
        "apps:\n"
        "  one: &one {memory: 1g, cpus: 1}\n"
        "  two: &two {<<: *one, memory: 2g}\n"
        "  three: {<<: *two, cpus: 3}\n"
        "  four: *two\n"
    )

    found = config.load(file)

    assert {name: (one.memory, one.cpus) for name, one in found.apps.items()} == {
        "one": ("1g", 1),
        "two": ("2g", 1),
        "three": ("2g", 3),
        "four": ("2g", 1),
    }


KEYS = [key for key in Section.__struct_fields__ if key != "options"]
values = {
    "require_password": st.booleans(),
    "hash_algorithm": st.sampled_from(["apache_md5_digest", "bcrypt"]),
    "server_path": encodable,
    "image": st.one_of(encodable, st.from_regex(r"[a-z]{1,5}(/[a-z]{1,5})?(:[0-9]{1,3})?\n?")),
    "command": st.one_of(encodable, st.lists(encodable, max_size=4)),
    "args": st.lists(encodable, max_size=4),
    "realm": encodable,
    "ready_path": st.one_of(encodable.map(lambda path: f"/{path}"), encodable),
    "launch_timeout": st.floats(),
    "stop_grace": st.integers(),
    "mounts": st.lists(
        st.one_of(encodable, st.sampled_from(["/:/x", "/etc:/y:ro", "~:/z", "{job_root}:/k"])),
        max_size=2,
    ),
    "writable": st.lists(st.one_of(encodable, encodable.map(lambda path: f"/{path}")), max_size=2),
    "env": st.dictionaries(
        st.one_of(encodable, st.from_regex(r"\A[A-Z_]{1,8}\n?\Z")),
        st.one_of(encodable, st.floats(), st.integers()),
        max_size=3,
    ),
    "user": st.one_of(
        st.integers(), st.from_regex(r"\A[0-9]{1,12}:[0-9]{1,12}\n?\Z"), encodable, nasty
    ),
    "memory": st.one_of(encodable, st.from_regex(r"\A[0-9]{1,25}[kmgKMG]?\n?\Z")),
    "shm_size": st.one_of(encodable, st.from_regex(r"\A[0-9]{1,25}[kmgKMG]?\n?\Z")),
    "cpus": st.floats(),
    "pids": st.integers(),
    "gpus": st.one_of(st.just("all"), st.integers()),
    "healthcheck": st.lists(encodable, max_size=3),
    "cap_add": st.lists(st.one_of(encodable, st.sampled_from(["NET_RAW", "ALL\n"])), max_size=2),
}
sayable = encodable.filter(lambda word: "\0" not in word)
# Right, or about at a limit.
plausible = {
    "server_path": st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])),
    "command": st.lists(sayable.map(lambda word: word.replace("{", "{{").replace("}", "}}"))),
    "args": st.lists(sayable, max_size=4),
    "realm": st.from_regex(r"\A[ !#-9;-\[\]-~]{1,20}\Z"),
    "ready_path": st.from_regex(r"\A/[!-~]{0,20}\Z"),
    "launch_timeout": st.floats(0.1, 90_000),
    "stop_grace": st.integers(-1, 90_000),
    "mounts": st.lists(
        st.sampled_from(["/:/x", "/etc:/y:ro", "~:/z", "{job_root}:/k"]), max_size=2
    ),
    "writable": st.lists(st.from_regex(r"\A/[a-z ,=\n]{1,8}\Z"), max_size=2),
    "env": st.dictionaries(st.from_regex(r"\A[A-Z_]{1,8}\Z"), st.floats() | st.integers(0, 2**64)),
    "user": st.integers(0, 2**32) | st.from_regex(r"\A[0-9]{1,9}:[0-9]{1,9}\Z"),
    "memory": st.from_regex(r"\A[1-9][0-9]{0,4}[mgMG]\Z"),
    "shm_size": st.from_regex(r"\A[1-9][0-9]{0,12}[kmgKMG]?\Z"),
    "cpus": st.floats(0.001, 5000),
    "pids": st.integers(0, 2**23),
    "healthcheck": st.lists(st.sampled_from(["true", "{port}", "{{}}", "\n", "é"]), max_size=3),
    "cap_add": st.lists(st.sampled_from(["NET_RAW", "ALL", "CAP_CHOWN"]), max_size=2),
}
# Most keys right and one wrong is what gets far; each key also gets what it can't be.
sections = st.one_of(
    st.fixed_dictionaries({}, optional=plausible),
    st.fixed_dictionaries({}, optional=values),
    st.dictionaries(st.sampled_from(KEYS), anything, min_size=1, max_size=2),
    st.dictionaries(st.one_of(st.sampled_from(KEYS), encodable), anything, max_size=3),
    st.fixed_dictionaries({}, optional={**values, "token": anything, "server_path": encodable}),
    *(st.fixed_dictionaries({key: st.one_of(value, anything)}) for key, value in values.items()),
)


def dump(file: Path, document: Any) -> None:
    file.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")


@given(section=sections)
@example(section={"env": {"A\n": "x"}})
@example(section={"ready_path": "/" + "9" * 5000})
@example(section={"cap_add": ["NET_RAW"] * 2000})
@example(section={"realm": "demo\n"})
@example(section={"cpus": 1e-9})
@example(section={"launch_timeout": float("inf")})
@example(section={"ready_path": "/\r\nX: y"})
@example(section={"mounts": ["/\0:/x"]})
@example(section={"user": "99999999999:0"})
@example(section={"memory": "9999999999999g"})
@example(section={"server_path": "/bin/demo\x1b]0;owned\x07"})
def test_a_section_is_refused_in_words_or_can_be_registered_and_rebuilt(
    command_line: CommandLine, section: dict[str, Any]
) -> None:
    """What is accepted goes the whole way: files, containers, record, labels, and back."""
    command_line.clear()
    dump(command_line.config, {"apps": {"demo": {"image": "app", **section}}})
    found = read(command_line.config)
    if isinstance(found, str):
        assert found.startswith(f"{command_line.config}: ")
        return
    engine = StrictEngine()
    desk = Broker(found, given_engine=engine)
    with nothing_outside(command_line.directory, command_line.root):
        try:
            job = desk.register(Order(app="demo", password_hash=None, password="p"))
        except JobctlError:
            assert list(command_line.directory.glob("job_*")) == []
            return
    rebuilt = job_from(labels_of(job, "gateway"))
    assert rebuilt == job.with_(
        password_hash=None, container_ids=[], hash_algorithm=rebuilt.hash_algorithm
    )
    (command_line.directory / "connections.txt").unlink()
    (adopted,) = desk.jobs()
    assert adopted == job
    desk.remove(job.job_id)
    assert list(command_line.directory.glob("job_*")) == []


@given(
    section=sections,
    name=st.one_of(st.just("other"), encodable),
    command=st.sampled_from([["config", "show"], ["config", "show", "--json"], ["apps"]]),
)
@example(section={"since": date(2020, 1, 1), "n": math.nan}, name="n", command=["config", "show"])
@whole_commands
def test_any_section_can_be_looked_at(
    command_line: CommandLine, section: dict[str, Any], name: str, command: list[str]
) -> None:
    dump(command_line.config, {"apps": {"demo": section, name: {}}})
    well_behaved(command_line.run(*command))


generals = st.one_of(
    st.dictionaries(
        st.one_of(st.sampled_from(list(General.__struct_fields__)), encodable), anything, max_size=3
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "user_dir_base": encodable,
            "bind_address": st.one_of(
                encodable, st.sampled_from(["::1", "fe80::1%lo", "1", "127.1", "localhost\n"])
            ),
            "port_range": st.lists(st.integers(), max_size=3),
            "application_options": st.lists(encodable, max_size=2),
        },
    ),
)


@given(general=generals)
@example(general={"user_dir_base": "~nobody-there/x"})
@example(general={"user_dir_base": "state"})
@example(general={"user_dir_base": "/srv/\x1b[31m"})
@example(general={"bind_address": "fe80::1%lo"})
def test_any_general_section_is_taken_or_told_why_not(file: Path, general: dict[str, Any]) -> None:
    dump(file, {"general": general, "apps": {"demo": {}}})

    found = read(file)

    if isinstance(found, config.Config):
        base = found.general.user_dir_base
        assert base is None or base.startswith(("/", "~")), "it would follow the caller around"
    else:
        assert found.startswith(f"{file}: ")


@given(document=anything)
def test_any_document_is_taken_or_told_why_not(file: Path, document: Any) -> None:
    dump(file, document)

    found = read(file)

    assert isinstance(found, config.Config) or found.startswith(f"{file}: ")


@given(names=st.lists(encodable, min_size=1, max_size=2))
@example(names=["/etc/shadow"])
def test_any_include_is_taken_or_told_why_not(file: Path, names: list[str]) -> None:
    """A file that is no configuration is told from one that can't be read, as root may read all."""
    dump(file, {"include": names})

    found = read(file)

    reasons = ("include", "can't read", "no ordinary file", "the whole file: ")
    assert isinstance(found, config.Config) or any(reason in found for reason in reasons)


def test_files_that_include_each_other_are_told(tmp_path: Path, file: Path) -> None:
    """By whatever name: a path can go round, and a link can."""
    (tmp_path / "link.yaml").symlink_to(file)
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    for name in (file.name, f"../{tmp_path.name}/config.yaml", "link.yaml", str(file)):
        dump(file, {"include": [name]})
        assert "includes this file in turn" in str(read(file))
    dump(file, {"include": ["loop.yaml"]})
    assert "too many symbolic links" in str(read(file))


def test_a_chain_of_includes_has_an_end(tmp_path: Path) -> None:
    for n in range(1000):
        dump(tmp_path / f"{n}.yaml", {"include": [f"{n + 1}.yaml"]})

    assert "files include each other" in str(read(tmp_path / "0.yaml"))


@pytest.mark.parametrize("kind", ["fifo", "device", "directory", "socketless"])
def test_only_ordinary_files_are_read(tmp_path: Path, file: Path, kind: str) -> None:
    """A FIFO would be waited for, a device can go on for ever."""
    names = {"fifo": "fifo", "device": "/dev/zero", "directory": ".", "socketless": "/dev/tty"}
    os.mkfifo(tmp_path / "fifo")
    dump(file, {"include": [names[kind]]})

    assert "is no ordinary file" in str(read(file))
    assert "is no ordinary file" in str(read(tmp_path / names[kind]))
