"""``config.ini`` of the older scripts: what becomes of it, and that nothing of it is lost."""

from __future__ import annotations

import configparser
import json
import re
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import pexpect
import pytest
import yaml

from jobctl import config
from jobctl.config import Config, General, Section
from jobctl.errors import JobctlError
from jobctl.legacy import Imported, convert, ini
from tests.site import Site

LOOPBACK_NOTE = (
    "config.ini: jobs can be reached from this host alone; to show them to others, set "
    "general.bind_address, or launch with --bind"
)

DOCUMENTED = """\
\t[general]
\t\tAPPLICATION_OPTIONS = conduit
\t[conduit]
\t\tREQUIRE_PASSWORD = True
\t\tHASH_ALGORITHM = apache_md5_digest
\t\tSERVER_PATH = /tmp/conduit/build-debug/tests/relay/t_relay_websocket
\t\tAPP_MODULE_PATH = app_modules/conduit_module.py
\t\tAPP_MODULE = conduit_module
\t\tPROTOCOL = HTTPS
"""

LAB = """\
# Set-up of the lab's launcher.
; ask Ada before changing

[general] ; the broker reads this
# all that users see
APPLICATION_OPTIONS = conduit,
    # visit is off for now
    "My App", ghost
USER_DIR_BASE: /project/shared/home
PORT_RANGE = 8000 - 9000
BIND_ADDRESS = example.org
; where it complains
BROKER_LOG = /tmp/broker.log

# the relay
[conduit]
REQUIRE_PASSWORD = yes ; of course
HASH_ALGORITHM = Apache_MD5_Digest
; built by hand
SERVER_PATH = /tmp/conduit/build-debug/t_relay_websocket
APP_MODULE_PATH = app_modules
APP_MODULE = conduit_module.py
PROTOCOL = HTTPS
DOC_ROOT = /usr/local/share
on = off
MODE = 010
STARTUP = first
   second: x

   third
MEMORY = 512m
app_port = ninety

[My App]
HASH_ALGORITHM = sha1
SERVER_PATH = bin/x
APP_MODULE_PATH = ../mods/x.py
; a dashboard
PROTOCOL = ws

[visit]
REQUIRE_PASSWORD: off
; that is all
"""

LAB_CONVERTED = """\
# Made from config.ini by: jobctl config import
# Relative paths count from this file's own directory.

# Set-up of the lab's launcher.
# ask Ada before changing
# the broker reads this
general:
  user_dir_base: /project/shared/home
  port_range: [8000, 9000]
  # Not carried over: general.bind_address: expected an IP address such as 127.0.0.1, got \
"example.org"
  #   BIND_ADDRESS = example.org
  # all that users see
  # visit is off for now
  application_options: [conduit, my-app]
  # Not carried over: there is no section [ghost]
  #   APPLICATION_OPTIONS = ghost
  # where it complains
  # Not carried over: config.yaml has nothing like it
  #   BROKER_LOG = /tmp/broker.log

apps:
  # the relay
  conduit:
    # of course
    require_password: true
    hash_algorithm: apache_md5_digest
    # built by hand
    server_path: /tmp/conduit/build-debug/t_relay_websocket
    app_module_path: /lab/old/app_modules
    # APP_MODULE = conduit_module.py in config.ini
    app_module: conduit_module
    protocol: https
    # Not carried over: apps.conduit.app_port: expected int, got str "ninety"
    #   app_port = ninety
    memory: 512m
    # Further keys are for the module.
    doc_root: /usr/local/share
    'on': 'off'
    mode: '010'
    startup: |-
      first
      second: x

      third

  # [My App] in config.ini
  my-app:
    # Not carried over: apps.my-app.hash_algorithm: expected "apache_md5_digest" or "bcrypt" or \
"jupyter", got str "sha1"
    #   HASH_ALGORITHM = sha1
    server_path: bin/x
    # APP_MODULE_PATH = ../mods/x.py in config.ini
    app_module_path: /lab/mods/x.py
    # a dashboard
    # Not carried over: the gateway serves https and nothing else
    #   PROTOCOL = ws

  visit:
    require_password: false

# that is all
"""

CROWDED = """\
; tabs, colons, no blanks, percent signs, lines that go on
[DEFAULT]
# for all of them
REQUIRE_PASSWORD=1
Licence : %(home)s/licence.dat

[general]
APPLICATION_OPTIONS = ['b', "a"]
PORT_RANGE=[8100,8200]
[a]
SERVER_PATH=/opt/a ; the newest
\tPROTOCOL = https
SERVER_ARGS=--title "A ; B" # not a comment
url = http://localhost:80/?q=1;r=2
[b]
REQUIRE_PASSWORD = 0
WELCOME =
    # between the lines
    Guten Tag,

    bitte warten
EMPTY =
LAST = ''
"""

SAMPLES = {"documented": DOCUMENTED, "lab": LAB, "crowded": CROWDED}


class Place:
    """A directory with the older file in ``old`` and the new one to be in ``new``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source = root / "old" / "config.ini"
        self.target = root / "new" / "config.yaml"
        self.source.parent.mkdir()
        self.target.parent.mkdir()

    def convert(self, text: str) -> Imported:
        return convert(text, source=self.source, target=self.target)

    def load(self, text: str) -> tuple[Config, Imported]:
        """Convert, and load what came of it, down to which apps are offered."""
        imported = self.convert(text)
        self.target.write_text(imported.text, encoding="utf-8")
        return config.catalogue(config.load(self.target)), imported

    def demo(self, lines: str) -> tuple[Section, Imported]:
        """Convert a file with one app that has ``lines``."""
        found, imported = self.load(f"[general]\n[demo]\n{lines}\n")
        return found.apps["demo"], imported

    def general(self, lines: str) -> tuple[General, Imported]:
        """Convert a file with ``lines`` in its section general."""
        found, imported = self.load(f"[general]\n{lines}\n[demo]\n")
        return found.general, imported

    def refused(self, text: str) -> str:
        """Return what is said about a file that can't be converted, behind its path."""
        with pytest.raises(JobctlError) as caught:
            self.convert(text)
        head, path, message = str(caught.value).partition(str(self.source))
        assert (head, path) == ("", str(self.source))
        return message


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def notes_on(imported: Imported, word: str) -> list[str]:
    return [note for note in imported.notes if word in note]


# The whole of a file


def test_the_documented_file_is_told_in_few_words(place: Place) -> None:
    module = place.source.parent / "app_modules" / "conduit_module.py"
    module.parent.mkdir()
    module.write_text("from jobctl.helpers import gen_cert\n")

    found, imported = place.load(DOCUMENTED)

    assert found.general == General()
    assert found.apps == {
        "conduit": Section(
            require_password=True,
            hash_algorithm="apache_md5_digest",
            server_path="/tmp/conduit/build-debug/tests/relay/t_relay_websocket",  # noqa: S108
            app_module_path=str(module),
            app_module="conduit_module",
            protocol="https",
        )
    }
    assert imported.notes == (
        LOOPBACK_NOTE,
        "config.ini: SERVER_PATH now is a path inside the app's image, which is jobctl/NAME "
        'unless the section has an image: conduit "/tmp/conduit/build-debug/tests/relay/'
        't_relay_websocket"; build the image or set one',
    )


def test_a_lab_s_file_as_a_whole() -> None:
    imported = convert(LAB, source=Path("/lab/old/config.ini"), target=Path("/lab/x/config.yaml"))

    assert imported.text == LAB_CONVERTED


def test_a_lab_s_file_loads(place: Place) -> None:
    found, _ = place.load(LAB)

    assert list(found.apps) == ["conduit", "my-app"]
    assert found.apps["conduit"].options == {
        "doc_root": "/usr/local/share",
        "on": "off",
        "mode": "010",
        "startup": "first\nsecond: x\n\nthird",
    }
    assert config.load(place.target).apps["visit"].require_password is False


def test_every_note_names_its_place_and_is_told_in_the_order_of_the_lines(place: Place) -> None:
    _, imported = place.load(LAB)

    lines = [re.match(r"config\.ini:(\d+): ", note) for note in imported.notes]
    numbers = [int(found[1]) for found in lines if found]
    assert numbers == sorted(numbers)
    assert len(numbers) == len(imported.notes) - 1
    assert imported.notes[-1].startswith("config.ini: SERVER_PATH now is")


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_same_file_gives_the_same_text(place: Place, sample: str) -> None:
    assert place.convert(SAMPLES[sample]) == place.convert(SAMPLES[sample])


def pieces(text: str) -> list[str]:
    """Return all that a file says, read in the plainest way: words, without case and signs."""
    found = []
    for line in text.split("\n"):
        said = re.sub(r"^\s*(require_password\s*[=:]\s*\w+)", "", line, flags=re.IGNORECASE)
        found += re.findall(r"[^\s\[\](),;#=\"']+", said)
    return [word.strip(":-").lower() for word in found]


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_word_of_the_file_is_in_the_result(place: Place, sample: str) -> None:
    """Booleans are spelled anew; any other value, any comment and any name is there."""
    _, imported = place.load(SAMPLES[sample])

    text = imported.text.lower()
    assert [piece for piece in pieces(SAMPLES[sample]) if piece not in text] == []


@pytest.mark.parametrize("sample", SAMPLES)
def test_keys_stand_where_configparser_finds_them(place: Place, sample: str) -> None:
    """Lines are told apart in a second place, which must not come to other results."""
    blocks, _ = ini.read(SAMPLES[sample], place.source)
    parser = configparser.RawConfigParser(default_section="]")
    # Without what follows a header, which configparser would drop.
    parser.read_string(re.sub(r"(?m)^(\s*\[\w+\]).*$", r"\1", SAMPLES[sample]))

    assert {
        block.name: {low: key.value for low, key in block.keys.items()} for block in blocks
    } == {name: dict(parser[name]) for name in parser.sections()}
    lines = SAMPLES[sample].split("\n")
    for block in blocks:
        assert f"[{block.name}]" in lines[block.line - 1]
        for key in block.keys.values():
            assert lines[key.line - 1].strip().startswith(key.name)


# Apps


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        *((word, True) for word in ("1", "yes", "True", "ON", '"true"', "yes # sure")),
        *((word, False) for word in ("0", "no", "False", "oFF", "no ; why not")),
    ],
)
def test_booleans_are_those_of_configparser(place: Place, said: str, meant: bool) -> None:
    section, imported = place.demo(f"REQUIRE_PASSWORD = {said}")

    assert section.require_password is meant
    assert not notes_on(imported, "[demo] REQUIRE_PASSWORD ")


def test_what_is_no_boolean_leaves_the_app_with_a_password(place: Place) -> None:
    section, imported = place.demo("REQUIRE_PASSWORD = maybe")

    assert section.require_password is True
    assert "    #   REQUIRE_PASSWORD = maybe\n" in imported.text
    assert notes_on(imported, "REQUIRE_PASSWORD") == [
        'config.ini:3: [demo] REQUIRE_PASSWORD "maybe": apps.demo.require_password: expected bool, '
        'got str "maybe"; kept as a comment, and now it is require_password: true; if that is '
        "wrong, set another"
    ]


@pytest.mark.parametrize("said", ["https", "HTTPS", "Https", '"HTTPS"', "HTTPS ; always"])
def test_https_in_any_spelling(place: Place, said: str) -> None:
    section, imported = place.demo(f"PROTOCOL = {said}")

    assert section.protocol == "https"
    assert not notes_on(imported, "[demo] PROTOCOL ")


@pytest.mark.parametrize("said", ["HTTP", "ws", "gopher"])
def test_other_protocols_have_no_counterpart(place: Place, said: str) -> None:
    _, imported = place.demo(f"PROTOCOL = {said}")

    assert f"    #   PROTOCOL = {said}\n" in imported.text
    assert notes_on(imported, "[demo] PROTOCOL ") == [
        f'config.ini:3: [demo] PROTOCOL "{said}": the gateway serves https and nothing else; kept '
        "as a comment, and now it is protocol: https; if that is wrong, set another"
    ]


@pytest.mark.parametrize("said", ["apache_md5_digest", "APACHE_MD5_DIGEST", "bcrypt", "BCrypt"])
def test_known_algorithms_in_any_case(place: Place, said: str) -> None:
    section, imported = place.demo(f"HASH_ALGORITHM = {said}")

    assert section.hash_algorithm == said.lower()
    assert not notes_on(imported, "[demo] HASH_ALGORITHM ")


@pytest.mark.parametrize("said", ["sha1", "jupyter", "md5 of something"])
def test_algorithms_that_this_app_can_not_have(place: Place, said: str) -> None:
    section, imported = place.demo(f"HASH_ALGORITHM = {said}")

    assert section.hash_algorithm == "apache_md5_digest"
    assert f"    #   HASH_ALGORITHM = {said}\n" in imported.text
    assert len(notes_on(imported, f'[demo] HASH_ALGORITHM "{said}": ')) == 1


def test_values_that_need_each_other_are_kept_together(place: Place) -> None:
    section, _ = place.demo("HASH_ALGORITHM = Jupyter\nLOGIN_PATH = /login\nSECURED_BY = app")

    assert (section.hash_algorithm, section.secured_by) == ("jupyter", "app")
    assert section.login_path == "/login"


def test_a_required_key_that_is_missing_gets_its_default_and_a_note(place: Place) -> None:
    _, imported = place.demo("SERVER_PATH = /x\nPROTOCOL = https\nREQUIRE_PASSWORD = yes")

    assert notes_on(imported, "lacks") == [
        "config.ini:2: [demo] lacks HASH_ALGORITHM (now apache_md5_digest), APP_MODULE_PATH (now "
        "the default module, or app_modules beside config.yaml), APP_MODULE (now demo_module, in "
        "a directory); set what this is wrong for"
    ]


def test_an_app_of_which_nothing_is_said(place: Place) -> None:
    section, imported = place.demo("")

    assert section == Section()
    assert "  demo: {}\n" in imported.text
    assert "PROTOCOL (now https)" in notes_on(imported, "lacks")[0]


def test_an_app_of_comments_alone(place: Place) -> None:
    section, imported = place.demo("PROTOCOL = ws")

    assert section == Section()
    assert "  demo: {}\n    # Not carried over: " in imported.text


@pytest.mark.parametrize(
    "value",
    [
        *("yes", "no", "on", "off", "y", "N", "true", "null", "~", "None", "", "''", '"quoted"'),
        *("010", "0o10", "0x1f", "1e3", "1.5e3", ".5", "1_000", "12:30:00", "089", "+1", "-0"),
        *("2016-05-04", "2016-05-04 10:00:00", ".inf", ".nan", "=", "<<", "!tag", "&a", "*a"),
        *("[a, b]", "{a: b}", "a: b", "a #b", "# b", "- a", "? a", "| x", "> x", "%x", "@x", "`x`"),
        *("it's", 'say "hi"', "back\\slash", "grüße", "日本語", "😀", "a\tb", "a\u00a0b", "a\x1bb"),
        *("a\u2028b", "a\x85b", "a\ufeffb", "a\rb", "---", "...", "x" * 500, "--- a: b"),
    ],
)
def test_further_values_reach_the_module_as_the_texts_that_they_were(
    place: Place, value: str
) -> None:
    section, imported = place.demo(f"EXTRA = {value}")

    assert section.options == {"extra": value}
    # So do they with a reader that knows YAML 1.2, where these are numbers or booleans.
    if re.fullmatch("010|0o10|1e3|1.5e3|089|y|N", value):
        assert f"extra: '{value}'\n" in imported.text


def test_several_lines_stay_several_lines(place: Place) -> None:
    section, imported = place.demo("EXTRA =\n   one\n\n   two: #2\nNEXT = 1")

    assert section.options == {"extra": "\none\n\ntwo: #2", "next": "1"}
    assert "\n      two: #2\n" in imported.text


def test_a_long_value_is_on_one_line(place: Place) -> None:
    value = " ".join(f"word{n}" for n in range(99))

    _, imported = place.demo(f"EXTRA = {value}")

    assert f"    extra: {value}\n" in imported.text


@pytest.mark.parametrize("name", ["yes", "NULL", "1", "options", "a b", "Ünï", "x-y", "<<", "2.5"])
def test_further_keys_keep_their_names_in_lower_case(place: Place, name: str) -> None:
    section, _ = place.demo(f"{name} = v")

    assert section.options == {name.lower(): "v"}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("MEMORY = 512m", "512m"),
        ("IMAGE = lab/viewer:2", "lab/viewer:2"),
        ("APP_PORT = 9001", 9001),
        ("cpus = 0.5", 0.5),
        ("READ_ONLY = no", False),
        ("cap_add = [NET_RAW]", ["NET_RAW"]),
        ("mount_cwd = ro", "ro"),
    ],
)
def test_a_further_key_that_has_a_meaning_now_is_kept_with_a_note(
    place: Place, line: str, value: object
) -> None:
    section, imported = place.demo(line)

    key = line.split()[0]
    assert getattr(section, key.lower()) == value
    assert section.options == {}
    (note,) = notes_on(imported, f"[demo] {key} ")
    assert note.endswith(
        f": now is jobctl's own apps.demo.{key.lower()} and is not handed to the module; rename "
        "the key if it is for the module"
    )


@pytest.mark.parametrize(
    ("line", "holds"),
    [
        ("MEMORY = a lot", "memory: 1g"),
        ("APP_PORT = ninety", "app_port: null"),
        ("APP_PORT = 0", "app_port: null"),
        ("cap_add = NET_RAW", "cap_add: []"),
        ("READ_ONLY = 1", "read_only: true"),
        ("mount_cwd = &a [*a]", "mount_cwd: null"),
        ("cap_add = &a [*a]", "cap_add: []"),
        ("cap_add = [", "cap_add: []"),
        ("LOGIN_PATH = /login", "login_path: null"),
    ],
)
def test_a_further_key_that_would_be_refused_is_a_comment_with_a_note(
    place: Place, line: str, holds: str
) -> None:
    section, imported = place.demo(line)

    key, _, value = line.partition(" = ")
    assert section == Section()
    assert f"    #   {line}\n" in imported.text
    (note,) = notes_on(imported, f'[demo] {key} "{value}": apps.demo')
    assert note.endswith(
        f"; kept as a comment, and now it is {holds}; if it is for the module, rename it"
    )


@pytest.mark.parametrize("key", sorted({*Section.__struct_fields__} - {"options"}))
@pytest.mark.parametrize("value", ["", "x", "1", "/x", "[a]", "{a: b}", "{nope}", "a\n  b", "app"])
def test_whatever_stands_at_a_known_key_the_result_loads(
    place: Place, key: str, value: str
) -> None:
    _, imported = place.demo(f"{key} = {value}")

    assert key in imported.text


@pytest.mark.parametrize(
    ("name", "now"),
    [("VisIt", "visit"), ("My App", "my-app"), ("a.b", "a-b"), ("_x", "x"), ("Jupyter 4!", None)],
)
def test_names_that_apps_can_not_have_any_more(place: Place, name: str, now: str | None) -> None:
    now = now or "jupyter-4"
    found, imported = place.load(f"[general]\nAPPLICATION_OPTIONS = {name}\n[{name}]\n")

    assert list(found.apps) == [now]
    assert found.general.application_options is None
    assert f"  # [{name}] in config.ini\n  {now}: {{}}\n" in imported.text
    assert notes_on(imported, "lower-case") == [
        f"config.ini:3: [{name}]: apps now have names of lower-case letters, digits, dashes and "
        f"underscores; launch it with: jobctl run {now}"
    ]


# The section general


@pytest.mark.parametrize(
    "said",
    [
        *("a, b", "a b", "a,b", "a\n b", "\n a\n b", "['a', 'b']", '"a" "b"', '["a",\n "b"]'),
        *("(a, b)", "a, b ; both", "a, b # both", "a, b,", "A, B", "a;b"),
    ],
)
def test_a_list_of_all_apps_in_any_spelling(place: Place, said: str) -> None:
    found, imported = place.load(f"[general]\nAPPLICATION_OPTIONS = {said}\n[a]\n[b]\n")

    assert list(found.apps) == ["a", "b"]
    assert "  application_options: ~  # null: every app below\n" in imported.text
    assert not notes_on(imported, "APPLICATION_OPTIONS")


@pytest.mark.parametrize(
    ("said", "offered"), [("b", ["b"]), ("b, a", ["b", "a"]), ("a a", ["a"]), ("", []), ("[]", [])]
)
def test_a_list_that_says_something(place: Place, said: str, offered: list[str]) -> None:
    found, imported = place.load(f"[general]\nAPPLICATION_OPTIONS = {said}\n[a]\n[b]\n")

    assert list(found.apps) == offered
    assert f"  application_options: [{', '.join(offered)}]\n" in imported.text
    assert set(config.load(place.target).apps) == {"a", "b"}


def test_names_with_blanks_in_a_list(place: Place) -> None:
    found, _ = place.load("[general]\nAPPLICATION_OPTIONS = b, My App, 'c d'\n[My App]\n[c d]\n[b]")

    assert list(found.apps) == ["b", "my-app", "c-d"]


def test_a_name_without_a_section_is_a_comment_with_a_note(place: Place) -> None:
    found, imported = place.load("[general]\nAPPLICATION_OPTIONS = a ghost\n[a]\n")

    assert list(found.apps) == ["a"]
    assert "  #   APPLICATION_OPTIONS = ghost\n" in imported.text
    assert notes_on(imported, "ghost") == [
        'config.ini:2: [general] APPLICATION_OPTIONS "ghost": there is no section [ghost]; kept as '
        "a comment; add the app, or forget it"
    ]


def test_without_a_list_every_app_is_offered(place: Place) -> None:
    found, imported = place.load("[b]\n[a]\n")

    assert list(found.apps) == ["b", "a"]
    assert notes_on(imported, "APPLICATION_OPTIONS")[0] == (
        "config.ini: no APPLICATION_OPTIONS, so every app is offered; to offer fewer, list them in "
        "general.application_options"
    )


@pytest.mark.parametrize(
    "said",
    [
        *("8100-8200", "8100 - 8200", "8100:8200", "8100,8200", "[8100, 8200]", "(8100, 8200)"),
        *(
            "8100 8200",
            "8100..8200",
            "8100 to 8200",
            "8100\u20138200",
            "8100-8200 ; ours",
            '"8100-8200"',
        ),
    ],
)
def test_a_range_of_ports_in_any_sensible_spelling(place: Place, said: str) -> None:
    general, imported = place.general(f"PORT_RANGE = {said}")

    assert general.port_range == (8100, 8200)
    assert not notes_on(imported, "PORT_RANGE")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("PORT_RANGE = many", "general.port_range: expected array"),
        ("PORT_RANGE = 80-90", "general.port_range.0: expected int >= 1024"),
        ("PORT_RANGE = 9000-8000", "general.port_range: 9000 is above 8000"),
        ("BIND_ADDRESS = example.org", "general.bind_address: expected an IP address"),
        ("ENGINE = runc", "general.engine: "),
        ("BROKER_LOG = /var/log/x", "config.yaml has nothing like it"),
        ("HASH_ALGORITHM = bcrypt", "config.yaml has nothing like it"),
    ],
)
def test_what_has_no_counterpart_in_general(place: Place, line: str, reason: str) -> None:
    general, imported = place.general(line)

    assert general == General()
    assert f"  #   {line}\n" in imported.text
    key, _, value = line.partition(" = ")
    assert len(notes_on(imported, f'config.ini:2: [general] {key} "{value}": {reason}')) == 1


@pytest.mark.parametrize("address", ["0.0.0.0", "::1", "localhost", "10.1.2.3 ; the inner net"])
def test_an_address(place: Place, address: str) -> None:
    general, imported = place.general(f"BIND_ADDRESS = {address}")

    assert general.bind_address == address.split()[0]
    assert LOOPBACK_NOTE not in imported.notes


@pytest.mark.parametrize(
    ("said", "now"),
    [("/project/home", "/project/home"), ("~/jobs", "~/jobs"), ("jobs", "{old}/jobs")],
)
def test_the_base_of_users_directories(place: Place, said: str, now: str) -> None:
    general, imported = place.general(f"USER_DIR_BASE = {said}")

    assert general.user_dir_base == now.format(old=place.source.parent)
    assert said in imported.text


# Paths


@pytest.mark.parametrize(
    ("source", "target", "said", "now"),
    [
        ("config.ini", "config.yaml", "app_modules/x.py", "app_modules/x.py"),
        ("config.ini", "config.yaml", "../x.py", "../x.py"),
        ("config.ini", "config.yaml", "./app_modules/", "./app_modules/"),
        ("old/config.ini", "config.yaml", "app_modules", "old/app_modules"),
        ("old/config.ini", "config.yaml", "../mods/x.py", "mods/x.py"),
        ("old/config.ini", "config.yaml", "../../x.py", "{above}/x.py"),
        ("old/config.ini", "new/config.yaml", "app_modules", "{root}/old/app_modules"),
        ("config.ini", "new/config.yaml", "app_modules", "{root}/app_modules"),
        ("config.ini", "new/config.yaml", "/opt/mods/x.py", "/opt/mods/x.py"),
        ("config.ini", "config.yaml", "mods/my x.py ; mine", "mods/my x.py"),
        ("config.ini", "config.yaml", "mods/#1.py", "mods/#1.py"),
    ],
)
def test_a_module_s_path_names_the_same_file(
    tmp_path: Path, source: str, target: str, said: str, now: str
) -> None:
    text = f"[a]\nAPP_MODULE_PATH = {said}\n"

    imported = convert(text, source=tmp_path / source, target=tmp_path / target)

    written = yaml.safe_load(imported.text)["apps"]["a"]["app_module_path"]
    assert written == now.format(root=tmp_path, above=tmp_path.parent)
    assert said.split(" ;")[0] in imported.text


def test_two_dots_behind_a_link_lead_where_the_system_says(tmp_path: Path) -> None:
    (tmp_path / "far/away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far/away")
    (tmp_path / "far/x.py").write_text("")

    imported = convert(
        "[a]\nAPP_MODULE_PATH = link/../x.py\n",
        source=tmp_path / "config.ini",
        target=tmp_path / "new/config.yaml",
    )

    assert yaml.safe_load(imported.text)["apps"]["a"]["app_module_path"] == f"{tmp_path}/far/x.py"


def test_paths_without_a_directory_count_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "[a]\nAPP_MODULE_PATH = mods/x.py\n"

    beside = convert(text, source=Path("config.ini"), target=Path("config.yaml"))
    apart = convert(text, source=Path("config.ini"), target=Path("/nowhere/config.yaml"))

    assert "app_module_path: mods/x.py\n" in beside.text
    assert f"app_module_path: {tmp_path}/mods/x.py\n" in apart.text


# What has changed in the world


def test_server_paths_get_one_note_in_all(place: Place) -> None:
    imported = place.convert("[a]\nSERVER_PATH = /opt/a\n[b]\nSERVER_PATH = /opt/b\n[c]\n")

    assert notes_on(imported, "SERVER_PATH now") == [
        "config.ini: SERVER_PATH now is a path inside the app's image, which is jobctl/NAME unless "
        'the section has an image: a "/opt/a", b "/opt/b"; build the image or set one'
    ]


@pytest.mark.parametrize(
    "line",
    [
        "from helpers import gen_cert, gen_config",
        "    from helpers import *",
        "import helpers",
        "import os, helpers",
        "from .helpers import gen_cert",
        "from scripts.helpers import gen_cert",
    ],
)
def test_the_older_import_is_found_and_left(place: Place, line: str) -> None:
    module = place.source.parent / "mods" / "a_module.py"
    module.parent.mkdir()
    text = f"if True:\n{line if line[0] == ' ' else '    ' + line}\n"
    module.write_text(text)

    imported = place.convert(
        "[a]\nAPP_MODULE_PATH = mods\nAPP_MODULE = a_module\n"
        "[b]\nAPP_MODULE_PATH = mods/a_module.py"
    )

    assert notes_on(imported, "helpers") == [
        "config.ini: helpers now is a part of jobctl: write jobctl.helpers for helpers in "
        f"{module}:2"
    ]
    assert module.read_text() == text


@pytest.mark.parametrize(
    "line", ["from jobctl.helpers import gen_cert", "import my_helpers", "# from helpers import x"]
)
def test_other_imports_are_not_taken_for_it(place: Place, line: str) -> None:
    (place.source.parent / "x.py").write_text(f"{line}\n")

    imported = place.convert("[a]\nAPP_MODULE_PATH = x.py\nAPP_MODULE = x")

    assert not notes_on(imported, "helpers")


def test_a_module_that_is_not_there_or_not_for_python_3(place: Place) -> None:
    old = place.source.parent
    (old / "x.py").write_text("import os\nprint 'hello'\n")

    imported = place.convert("[a]\nAPP_MODULE_PATH = x.py\n[b]\nAPP_MODULE_PATH = gone/y.py")

    assert notes_on(imported, "module is") + notes_on(imported, "can't read") == [
        f"config.ini:1: [a]: its module is not written for Python 3, see {old}/x.py:2; mend that",
        f'config.ini:3: [b]: can\'t read its module "{old}/gone/y.py": No such file or directory; '
        "put it there, or mend app_module_path and app_module",
    ]


@pytest.mark.parametrize("text", [b"# Gr\xfc\xdfe\n", b'PATTERN = "\\d"\n', b"assert (1, 'x')\n"])
def test_a_module_of_which_python_only_warns(place: Place, text: bytes) -> None:
    (place.source.parent / "x.py").write_bytes(text)

    imported = place.convert("[a]\nAPP_MODULE_PATH = x.py\n")

    assert not notes_on(imported, "module is")


def test_percent_signs_and_older_remarks_are_pointed_out(place: Place) -> None:
    section, imported = place.demo("HOME = %(base)s/x\nGREETING = hello ; or not")

    assert section.options == {"home": "%(base)s/x", "greeting": "hello ; or not"}
    assert notes_on(imported, "GREETING") == [
        'config.ini:4: [demo] GREETING "hello ; or not": Python 2 took what is behind " ;" for a '
        "comment; the module now gets the whole value, so remove what is no part of it"
    ]
    assert notes_on(imported, "HOME") == [
        'config.ini:3: [demo] HOME "%(base)s/x": "%(" is not filled in; write out what it stood for'
    ]


def test_what_is_cut_off_a_path_is_a_comment_with_a_note(place: Place) -> None:
    section, imported = place.demo("SERVER_PATH = /opt/x ; the newest")

    assert section.server_path == "/opt/x"
    assert "    # the newest\n    server_path: /opt/x\n" in imported.text
    assert len(notes_on(imported, '[demo] SERVER_PATH "/opt/x ; the newest": what is behind')) == 1


def test_defaults_are_written_out(place: Place) -> None:
    found, imported = place.load(CROWDED)

    assert {name: section.require_password for name, section in found.apps.items()} == {
        "a": True,
        "b": False,
    }
    assert {section.options["licence"] for section in found.apps.values()} == {
        "%(home)s/licence.dat"
    }
    assert notes_on(imported, "[DEFAULT] REQUIRE_PASSWORD") == [
        'config.ini:4: [DEFAULT] REQUIRE_PASSWORD "1": there are no defaults any more; written out '
        "in [a]"
    ]
    assert imported.text.count("# for all of them") == 1


def test_what_is_said_of_a_default_is_said_once(place: Place) -> None:
    imported = place.convert("[DEFAULT]\nGREETING = hello ; or not\n[a]\n[b]\n")

    assert len(notes_on(imported, "Python 2 took")) == 1


def test_a_default_that_nobody_lacks_is_a_comment(place: Place) -> None:
    _, imported = place.load("[DEFAULT]\nPROTOCOL = HTTPS\nPORT_RANGE = 8100-8200\n[general]\n"
                             "PORT_RANGE = 8300-8400\n")  # fmt: skip

    assert "#   PROTOCOL = HTTPS\n" in imported.text
    assert "#   PORT_RANGE = 8100-8200\n" in imported.text
    assert len(notes_on(imported, "every section has its own")) == 2


# Comments


def test_comments_stay_with_what_they_stood_before(place: Place) -> None:
    imported = place.convert(
        "# top\n[general]\n; list\nAPPLICATION_OPTIONS = a\n# app\n;; twice\n[a] # behind\n"
        "# proto\nPROTOCOL = HTTPS\n#pass\nREQUIRE_PASSWORD = yes\n# end"
    )

    assert (
        "# top\ngeneral:\n  # list\n  application_options: ~  # null: every app below\n\n"
        "apps:\n  # app\n  #; twice\n  # behind\n  a:\n    #pass\n    require_password: true\n"
        "    # proto\n    protocol: https\n\n# end\n"
    ) in imported.text


@pytest.mark.parametrize("character", ["\x1b", "\x85", "\u2028", "\u2029", "\r", "\ufeff", "\x07"])
def test_a_comment_can_not_break_out(place: Place, character: str) -> None:
    comment = f"; x{character}evil: true"
    found, imported = place.load(
        f"{comment}\n[a]\n{comment}\nPROTOCOL = gopher{character}evil: true\n{comment}"
    )

    assert found.apps == {"a": Section()}
    assert character not in imported.text
    assert imported.text.count(ascii(character)[1:-1] + "evil: true") >= 4


# Odd files and refusals


def test_marks_and_line_ends_of_other_systems(place: Place) -> None:
    plain = place.convert(LAB)

    assert place.convert("\ufeff" + LAB.replace("\n", "\r\n")) == plain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": no section in it; expected the older scripts' config.ini"),
        ("# nothing\n", ": no section in it; expected the older scripts' config.ini"),
        (
            "# x\nPROTOCOL = https\n[a]\n",
            ':2: "PROTOCOL = https" stands before any section; expected [general] above it',
        ),
        (
            "[a]\nPROTOCOL = x\n\n[b]\n[a]\n",
            ":5: [a] stands there a second time; make one section of the two",
        ),
        (
            "[a]\nPROTOCOL = x\nProtocol: y\n",
            ':3: [a] has "protocol" a second time; remove one of the two',
        ),
        (
            "[DEFAULT]\nx = 1\n[a]\n[DEFAULT]\n",
            ":4: [DEFAULT] stands there a second time; make one section of the two",
        ),
        ("[a]\nx = 1\nPROTOCOL\n", ':3: expected KEY = VALUE, got "PROTOCOL"'),
        ("[a]\n= 1\n", ':2: expected KEY = VALUE, got "= 1"'),
        (
            "[My App]\n[x]\n[my-app]\n",
            ':3: [my-app] and [My App] on line 1 would both be the app "my-app"; rename one of '
            "them",
        ),
        (
            "[VisIt]\n[VISIT]\n",
            ':2: [VISIT] and [VisIt] on line 1 would both be the app "visit"; rename one of them',
        ),
        (
            "[general]\n[General]\n",
            ":2: [General] and [general] on line 1; make one section of the two",
        ),
        ("[a]\n[!!]\n", ":2: [!!] can't be the name of an app; rename it, say to [app]"),
        ("[a]\nx = \0\n", ": not a text file in UTF-8; save it as one and try again"),
        ("[a]\nx = \udc80\n", ": not a text file in UTF-8; save it as one and try again"),
    ],
)
def test_files_that_can_not_be_converted(place: Place, text: str, message: str) -> None:
    assert place.refused(text) == message


# A module of the older scripts, from its INI file to a verified job

MODULE = """\
import getpass
import hashlib
import json
import os

from helpers import gen_cert

REALM = "viewer"


def get_password():
    user = getpass.getuser()
    password = getpass.getpass("Choose a password: ")
    if password != getpass.getpass("And again: "):
        raise ValueError("the passwords differ")
    digest = hashlib.md5(("%s:%s:%s" % (user, REALM, password)).encode("utf-8")).hexdigest()
    return "%s:%s:%s" % (user, REALM, digest)


def gen_config(job):
    path = job["job_root"] + job["job_id"] + "_config.txt"
    settings = {
        "port": "%s" % job["port"],
        "cert": job["job_root"] + job["job_id"] + ".crt",
        "key": job["job_root"] + job["job_id"] + ".key",
        "password_hash": job["password_hash"],
        "title": "%s of %s on %s" % (job["app"], job["owner"], job["host"]),
    }
    f = open(path, "w")
    f.write(json.dumps(settings, sort_keys=True) + os.linesep)
    f.close()
    return path


def get_launch_cmd(job):
    mine = job["job_root"] + job["job_id"]
    return "%s viewer.py --config %s" % (job["app_path"], mine + "_config.txt")
"""

# Shows its configuration. Behind a gateway, over plain HTTP.
BEHIND_A_GATEWAY = """\
import http.server, json, sys

port = int(json.load(open(sys.argv[2]))["port"])

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(open(sys.argv[2], "rb").read())

http.server.ThreadingHTTPServer(("127.0.0.1", port), Page).serve_forever()
"""

# As the older scripts had it: the app itself does TLS and passwords, on the job's own port.
BY_ITSELF = """\
import hashlib, http.server, json, re, ssl, sys

settings = json.load(open(sys.argv[2]))
user, realm, a1 = settings["password_hash"].split(":")

def md5(*parts):
    return hashlib.md5(":".join(parts).encode()).hexdigest()

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        given = self.headers.get("Authorization", "")
        said = {key: a or b for key, a, b in re.findall(r'(\\w+)=(?:"([^"]*)"|([^\\s,]+))', given)}
        parts = [said.get(key, "") for key in ("nonce", "nc", "cnonce", "qop")]
        proof = md5(a1, *parts, md5("GET", self.path))
        if said.get("username") == user and said.get("response") == proof:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(open(sys.argv[2], "rb").read())
        else:
            self.send_response(401)
            fresh = 'Digest realm="%s", nonce="0123456789", qop="auth"' % realm
            self.send_header("WWW-Authenticate", fresh)
            self.send_header("Content-Length", "0")
            self.end_headers()

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(settings["cert"], settings["key"])
server = http.server.ThreadingHTTPServer(("0.0.0.0", int(settings["port"])), Page)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""

INI = """\
[general]
APPLICATION_OPTIONS = viewer
USER_DIR_BASE = {base}
PORT_RANGE = {low}-{high}

[viewer]
REQUIRE_PASSWORD = True
HASH_ALGORITHM = apache_md5_digest
SERVER_PATH = /usr/bin/python3
APP_MODULE_PATH = app_modules
APP_MODULE = viewer_module
PROTOCOL = HTTPS
"""


def fetch(url: str, site: Site, user: str, password: str) -> bytes:
    """Return the page that a client gets which trusts only this user's authority."""
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, url, user, password)
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=site.authority())),
        urllib.request.HTTPDigestAuthHandler(passwords),
    )
    with opener.open(url, timeout=10) as answer:
        page: bytes = answer.read()
        return page


@pytest.fixture
def viewer(site: Site) -> Site:
    """Move an older set-up to this site: convert it, and follow the notes."""
    old = site.root / "old"
    (old / "app_modules").mkdir(parents=True)
    module = old / "app_modules" / "viewer_module.py"
    module.write_text(MODULE)
    low, high = site.ports
    text = INI.format(base=site.state / "jobctl", low=low, high=high)

    imported = convert(text, source=old / "config.ini", target=site.config)

    site.config.write_text(imported.text)
    (note,) = notes_on(imported, "helpers now")
    place, number = note.rsplit(" ", 1)[1].rsplit(":", 1)
    lines = Path(place).read_text().splitlines(keepends=True)
    lines[int(number) - 1] = lines[int(number) - 1].replace("from helpers", "from jobctl.helpers")
    module.write_text("".join(lines))
    site.configure("viewer", image="jobctl/base", mount_cwd="ro")
    return site


def install(site: Site, program: str) -> None:
    path = site.state.parent / "viewer.py"
    path.write_text(program)
    path.chmod(0o644)


def written(job: dict[str, str], password_hash: str) -> bytes:
    """Return what the module has to have written for a job."""
    mine = job["job_root"] + job["job_id"]
    settings = {
        "port": job["port"],
        "cert": f"{mine}.crt",
        "key": f"{mine}.key",
        "password_hash": password_hash,
        "title": f"viewer of {job['owner']} on {job['host']}",
    }
    return f"{json.dumps(settings, sort_keys=True)}\n".encode()


@pytest.mark.engine
def test_an_older_module_runs_behind_a_gateway(viewer: Site) -> None:
    install(viewer, BEHIND_A_GATEWAY)

    job = viewer.run_json("run", "viewer", "--generate-password", "--json")

    assert (job["status"], job["protocol"]) == ("launched", "https")
    assert job["config"] == f"{job['job_root']}{job['job_id']}_config.txt"
    stored = Path(job["config"]).read_bytes()
    (line,) = viewer.run_json("broker", "-q")
    assert stored == written(job, line["password_hash"])
    # The app showed what it read at the very path that the module gave it.
    assert fetch(job["url"], viewer, job["owner"], job["password"]) == stored
    with pytest.raises(urllib.error.HTTPError, match="401"):
        fetch(job["url"], viewer, job["owner"], "wrong")
    viewer.run("rm", "--force", job["job_id"])
    viewer.assert_nothing_left()


@pytest.mark.engine
def test_an_older_module_asks_for_the_password_and_its_app_does_the_rest(viewer: Site) -> None:
    install(viewer, BY_ITSELF)
    viewer.configure("viewer", secured_by="app")
    terminal = pexpect.spawn(
        str(viewer.command),
        ["server", "-a", "viewer"],
        env={**viewer.env, "TERM": "dumb"},
        cwd=str(viewer.state.parent),
        encoding="utf-8",
        timeout=30,
    )
    for question in ("Choose a password: ", "And again: "):
        terminal.expect(question)
        terminal.sendline("correct horse")
    terminal.expect("is running viewer, verified")
    terminal.expect(pexpect.EOF)

    (job,) = viewer.run_json("broker", "-q")

    stored = Path(job["config"]).read_bytes()
    assert stored == written(job, job["password_hash"])
    assert fetch(job["url"], viewer, job["owner"], "correct horse") == stored
    viewer.run("rm", "--force", job["job_id"])
    viewer.assert_nothing_left()
