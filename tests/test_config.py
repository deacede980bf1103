"""``config.yaml``: where it is looked for, what it may say, and how it is told what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from jobctl import config
from jobctl.errors import JobctlError

PROJECT = Path(__file__).parent.parent


def written(directory: Path, text: str) -> Path:
    path = directory / "config.yaml"
    path.write_text(text)
    return path


def loaded(directory: Path, values: Any) -> config.Config:
    return config.load(written(directory, yaml.safe_dump(values)))


def refused(directory: Path, text: str) -> str:
    """Return what is said about a configuration, behind the file's path."""
    path = written(directory, text)
    with pytest.raises(JobctlError) as caught:
        config.catalogue(config.load(path))
    head, separator, message = str(caught.value).partition(": ")
    assert (head, separator) == (str(path), ": ")
    return message


# Values


def test_an_empty_section_has_the_defaults(tmp_path: Path) -> None:
    section = loaded(tmp_path, {"apps": {"demo": {}}}).section("demo")

    assert section.require_password
    assert section.hash_algorithm == "apache_md5_digest"
    assert section.protocol == "https"
    assert section.secured_by == "gateway"
    assert section.read_only
    assert section.cap_add == []
    assert not section.allow_open
    assert section.options == {}


def test_jobs_are_for_this_host_only_by_default(tmp_path: Path) -> None:
    general = loaded(tmp_path, {}).general

    assert general.bind_address == "127.0.0.1"
    assert general.port_range == (8000, 10000)
    assert general.user_dir_base is None
    assert general.engine == "docker"


def test_the_documented_keys_of_a_section(tmp_path: Path) -> None:
    documented = {
        "require_password": False,
        "hash_algorithm": "bcrypt",
        "server_path": "/opt/app/bin/serve",
        "app_module_path": "app_modules/app_module.py",
        "app_module": "app_module",
        "protocol": "https",
    }

    section = loaded(tmp_path, {"apps": {"app": documented}}).section("app")

    assert {key: getattr(section, key) for key in documented} == documented


def test_further_keys_are_for_the_module_untouched(tmp_path: Path) -> None:
    further = {"doc_root": "/srv", "deep": {"list": [1, None]}, "Upper Case": True}

    section = loaded(tmp_path, {"apps": {"app": {"app_port": 9001, **further}}}).section("app")

    assert section.options == further
    assert section.app_port == 9001


def test_a_further_key_may_be_called_options(tmp_path: Path) -> None:
    section = loaded(tmp_path, {"apps": {"app": {"options": {"a": 1}}}}).section("app")

    assert section.options == {"options": {"a": 1}}


def test_application_options_chooses_among_the_apps(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        {"general": {"application_options": ["two"]}, "apps": {"one": {}, "two": {}}},
    )
    found = config.catalogue(found)

    assert list(found.apps) == ["two"]
    with pytest.raises(JobctlError, match='no app "one"'):
        found.section("one")


def test_without_application_options_every_app_can_be_had(tmp_path: Path) -> None:
    assert list(loaded(tmp_path, {"apps": {"one": {}, "two": {}}}).apps) == ["one", "two"]


def test_an_unknown_app_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    found = loaded(tmp_path, {"apps": {"one": {}, "two": {}}})

    with pytest.raises(JobctlError, match=r'no app "three" in .*config\.yaml.*: one, two'):
        found.section("three")


def test_a_configuration_is_a_value(tmp_path: Path) -> None:
    found = loaded(tmp_path, {"apps": {"one": {}}})

    with pytest.raises(AttributeError):
        found.section("one").app_port = 1  # type: ignore[misc]


# Refusals


def test_the_design_s_example_of_a_message(tmp_path: Path) -> None:
    message = refused(tmp_path, "apps: {conduit: {app_port: ninety}}")

    assert message == 'apps.conduit.app_port: expected int, got str "ninety"'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "apps: {a: {require_password: 'yes'}}",
            'apps.a.require_password: expected bool, got str "yes"',
        ),
        ("apps: {a: {server_path: 5}}", "apps.a.server_path: expected str, got int 5"),
        ("apps: {a: {app_port: 0}}", "apps.a.app_port: expected int >= 1, got int 0"),
        ("apps: {a: {app_port: 65536}}", "apps.a.app_port: expected int <= 65535, got int 65536"),
        ("apps: {a: {launch_timeout: 0}}", "apps.a.launch_timeout: expected float > 0"),
        ("apps: {a: {cap_add: NET_ADMIN}}", "apps.a.cap_add: expected array"),
        ("apps: {a: {cap_add: [1]}}", "apps.a.cap_add.0: expected str, got int 1"),
        (
            "apps: {a: {hash_algorithm: md5}}",
            'apps.a.hash_algorithm: expected "apache_md5_digest" or "bcrypt" or "jupyter", got',
        ),
        ("apps: {a: {protocol: http}}", 'apps.a.protocol: expected "https", got str "http"'),
        ("apps: {a: {secured_by: nobody}}", 'apps.a.secured_by: expected "gateway" or "app", got'),
        ("apps: {a: {mount_cwd: yes}}", "apps.a.mount_cwd: "),
        ("apps: {a: {memory: 1 GB}}", "apps.a.memory: expected a number of bytes with k, m or g"),
        ("apps: {a: {memory: 512}}", "apps.a.memory: expected str, got int 512"),
        ("apps: {a: {realm: 'a:b'}}", "apps.a.realm: expected printable ASCII without quotes"),
        (
            "apps: {a: {ready_path: index.html}}",
            "apps.a.ready_path: expected a path that starts",
        ),
        ("apps: {a: {gpus: some}}", 'apps.a.gpus: expected "all" or a number, got str "some"'),
        ("apps: {a: {gpus: 0}}", "apps.a.gpus: expected int >= 1"),
        ("apps: {a: {user: root}}", "apps.a.user: expected UID or UID:GID, in numbers"),
        ("apps: {a: {env: {JOBCTL_URL: x}}}", "apps.a.env: expected names of letters, digits"),
        ("apps: {a: {env: {A: true}}}", "apps.a.env: expected int | float | str"),
        ("apps: {a: {mounts: ['data:/x']}}", "apps.a.mounts.0: expected SRC:DST or SRC:DST:rw"),
        ("apps: {a: {mounts: ['/a:/x:z']}}", "apps.a.mounts.0: expected SRC:DST or SRC:DST:rw"),
        ("apps: {a: {writable: [/]}}", "apps.a.writable.0: expected the absolute path of a"),
        ("apps: {a: {writable: [/a/../b]}}", "apps.a.writable.0: expected the absolute path of a"),
        ("apps: {a: {command: 5}}", "apps.a.command: expected str | array, got int 5"),
        ("apps: {a: {command: 'a \"b'}}", "apps.a.command: no closing quotation; end it, got str"),
        ("apps: {a: {command: 'a {prot}'}}", 'apps.a.command: "{prot}" in "{prot}" is no'),
        ("apps: {a: {command: 'a {'}}", 'apps.a.command: "{" in "{" is no placeholder'),
        ("apps: {a: {command: 'a -x={args}'}}", "apps.a.command: {args} stands for any number"),
        ("apps: {a: {healthcheck: ['{args}']}}", 'apps.a.healthcheck: "{args}" in'),
        ("apps: {a: {env: {A: '{x}'}}}", 'apps.a.env: "{x}" in "{x}" is no placeholder'),
        ("apps: {a: {build: {}}}", "apps.a.build.python: no package named"),
        ("apps: {a: {build: {pip: [x]}}}", "apps.a.build: object contains unknown field pip"),
        ("apps: {a: {build: {python: ['-r x']}}}", "apps.a.build.python.0: expected a pip req"),
        ("apps: {a: {build: {apt: ['x; y']}}}", "apps.a.build.apt.0: expected the name of a Deb"),
        ("apps: {a: {build: {apt: [tree]}, image: y}}", "apps.a.image: build makes the image"),
        ("apps: {a: {hash_algorithm: jupyter}}", "apps.a.hash_algorithm: only an app that is"),
        ("apps: {a: {login_path: /login}}", "apps.a.login_path: the app has to be secured_by"),
        ("apps: {a: {secured_by: app, app_port: 80}}", "apps.a.app_port: secured_by: app listens"),
        ("apps: {a: {memory: &a [*a]}}", "not YAML: an alias names what it stands in"),
        ("include: shipped", "include: expected array"),
        ("general: {port_range: [8000]}", "general.port_range: expected array of length 2"),
        ("general: {port_range: [80, 90]}", "general.port_range.0: expected int >= 1024"),
        ("general: {port_range: [9000, 8000]}", "general.port_range: 9000 is above 8000"),
        (
            "general: {engine: runc}",
            'general.engine: expected "docker" or "podman" or "swarm", got str',
        ),
        ("general: {port_rnage: [1, 2]}", "general: object contains unknown field port_rnage"),
        (
            "general: {application_options: [b]}\napps: {a: {}}",
            "general.application_options: no section apps.b",
        ),
    ],
)
def test_a_value_that_can_not_be_is_named_by_its_path(
    tmp_path: Path, text: str, message: str
) -> None:
    assert refused(tmp_path, text).startswith(message)


@pytest.mark.parametrize("value", ["5", "~", "[a]", "text"])
def test_a_section_that_is_no_mapping_is_named(tmp_path: Path, value: str) -> None:
    assert refused(tmp_path, f"apps: {{demo: {value}}}").startswith("apps.demo: expected object")


@pytest.mark.parametrize("name", ["Conduit", "a/b", "..", "-x", "a b", "a" * 41])
def test_a_name_that_no_app_may_have_is_quoted(tmp_path: Path, name: str) -> None:
    message = refused(tmp_path, yaml.safe_dump({"apps": {"fine": {}, name: {}}}))

    assert message.startswith("apps")
    assert name in message


def test_an_unknown_key_at_the_top_is_quoted(tmp_path: Path) -> None:
    assert "aps" in refused(tmp_path, "aps: {}")


@pytest.mark.parametrize("text", ["", "5", "[]", "conduit"])
def test_a_file_that_is_no_mapping_is_refused_as_a_whole(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, text).startswith("the whole file: expected object")


@pytest.mark.parametrize(
    "text", ["a: [", "a: b: c", "\t", "a: !!python/object:os.system {}", "a: 2016-13-45"]
)
def test_what_is_not_plain_yaml_is_refused(tmp_path: Path, text: str) -> None:
    message = refused(tmp_path, text)

    assert message.startswith("not YAML: ")
    assert "\n" not in message


@pytest.mark.parametrize("address", ["nonsense", "example.org", "127.0.0.1:80", ""])
def test_an_address_is_checked_when_the_file_is_read(tmp_path: Path, address: str) -> None:
    message = refused(tmp_path, yaml.safe_dump({"general": {"bind_address": address}}))

    assert message.startswith("general.bind_address: ")


@pytest.mark.parametrize("number", [".inf", ".nan", "-1", "0"])
def test_cores_are_a_finite_number(tmp_path: Path, number: str) -> None:
    assert refused(tmp_path, f"apps: {{a: {{cpus: {number}}}}}").startswith("apps.a.cpus: ")


@pytest.mark.parametrize("memory", ["0", "0m", "00g"])
def test_no_memory_at_all_is_refused_since_engines_take_it_for_no_limit(
    tmp_path: Path, memory: str
) -> None:
    message = refused(tmp_path, yaml.safe_dump({"apps": {"a": {"memory": memory}}}))

    assert message.startswith("apps.a.memory: ")


def test_a_file_that_can_not_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    absent = tmp_path / "absent.yaml"

    with pytest.raises(JobctlError) as caught:
        config.load(absent)

    assert str(caught.value) == (
        f"{absent}: can't read it: No such file or directory; mend that, or name another file"
    )


# Where it is


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Start with no configuration of a user, in a directory of its own; return it."""
    for name in ("JOBCTL_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return tmp_path


def placed(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    return path


def test_the_option_goes_before_the_environment(
    search: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBCTL_CONFIG", str(placed(search / "environment.yaml")))

    assert config.find(str(search / "option.yaml")) == search / "option.yaml"


def test_the_environment_goes_before_the_user_s_file(
    search: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed(search / "home/.config/jobctl/config.yaml")
    monkeypatch.setenv("JOBCTL_CONFIG", str(search / "environment.yaml"))

    assert config.find() == search / "environment.yaml"


def test_the_user_s_file_goes_before_the_system_s(search: Path) -> None:
    mine = placed(search / "home/.config/jobctl/config.yaml")

    assert config.find() == mine


def test_the_user_s_file_is_where_xdg_says(search: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    placed(search / "home/.config/jobctl/config.yaml")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(search / "xdg"))
    mine = placed(search / "xdg/jobctl/config.yaml")

    assert config.find() == mine


def test_an_option_is_a_path_from_the_current_directory(search: Path) -> None:
    assert config.find("mine.yaml") == search / "here/mine.yaml"


def test_the_current_directory_is_never_searched(search: Path) -> None:
    placed(search / "here/config.yaml")
    placed(search / "here/jobctl/config.yaml")

    found = config.find()

    assert not found.is_relative_to(search)
    assert found in (Path("/etc/jobctl/config.yaml"), config.shipped() / "config.yaml")


def test_a_file_that_was_asked_for_is_not_replaced_by_another(search: Path) -> None:
    placed(search / "home/.config/jobctl/config.yaml")

    with pytest.raises(JobctlError, match=r"absent\.yaml: can't read it"):
        config.load(config.find("absent.yaml"))


# What is shipped


def test_the_shipped_configuration_loads_and_names_files_that_are_there() -> None:
    found = config.load(PROJECT / "config.yaml")

    assert "conduit" in found.apps
    for section in found.apps.values():
        assert section.app_module_path is None or (PROJECT / section.app_module_path).is_file()
        assert section.require_password


def test_what_is_shipped_is_found() -> None:
    assert (config.shipped() / "config.yaml").is_file()
    assert (config.shipped() / "app_modules").is_dir()
    assert (config.shipped() / "images").is_dir()


# Sizes


@pytest.mark.parametrize(
    ("size", "count"),
    [("1", 1), ("512", 512), ("1k", 1024), ("3m", 3 * 1024**2), ("2g", 2 * 1024**3), ("1G", 2**30)],
)
def test_a_size_in_bytes(size: str, count: int) -> None:
    assert config.bytes_of(size) == count


@pytest.mark.parametrize(
    "size", ["", "m", "1.5g", "-1m", "1 m", "1mb", "1t", "1m\n", "\N{ARABIC-INDIC DIGIT ONE}m"]
)
def test_what_is_no_size_is_quoted(size: str) -> None:
    with pytest.raises(JobctlError, match="is not a size; expected") as caught:
        config.bytes_of(size)

    assert f'"{size}"' in str(caught.value)


# Several files


def test_what_is_included_adds_its_apps_and_settings_below_one_s_own(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    theirs = written(
        tmp_path / "site",
        "general: {port_range: [9000, 9100], bind_address: 127.0.0.2}\napps: {their: {}}",
    )
    found = loaded(
        tmp_path,
        {
            "include": ["site/config.yaml"],
            "general": {"bind_address": "127.0.0.3"},
            "apps": {"mine": {}},
        },
    )

    assert set(found.apps) == {"mine", "their"}
    assert found.general.port_range == (9000, 9100)
    assert found.general.bind_address == "127.0.0.3"
    assert found.origins["their"] == config.Origin(theirs)
    assert found.origins["mine"] == config.Origin(tmp_path / "config.yaml")


def test_what_comes_with_jobctl_can_be_included(tmp_path: Path) -> None:
    found = loaded(tmp_path, {"include": ["shipped"], "apps": {"mine": {}}})

    assert {"mine", "conduit"} <= set(found.apps)
    assert found.directories() == [tmp_path, PROJECT]


def test_a_file_s_choice_of_apps_holds_for_itself(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(
        "general: {application_options: [one]}\napps: {one: {}, two: {}}"
    )
    found = loaded(tmp_path, {"include": ["site.yaml"], "apps": {"two": {}}})

    assert set(config.catalogue(found).apps) == {"one", "two"}
    assert found.origins["two"].path == tmp_path / "config.yaml"


def test_two_files_with_an_app_of_one_name_are_both_named(tmp_path: Path) -> None:
    with pytest.raises(JobctlError) as caught:
        loaded(tmp_path, {"include": ["shipped"], "apps": {"conduit": {}}})

    assert str(caught.value).startswith('two sources have an app "conduit": ')
    assert f"{PROJECT}/config.yaml" in str(caught.value)
    assert f"{tmp_path}/config.yaml" in str(caught.value)


def test_a_file_that_is_reached_twice_is_no_second_source(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("include: [shipped]")
    (tmp_path / "b.yaml").write_text("include: [shipped]")

    assert "conduit" in loaded(tmp_path, {"include": ["a.yaml", "b.yaml"]}).apps


def test_files_that_include_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("include: [config.yaml]")

    with pytest.raises(JobctlError, match=r'a\.yaml: include: "config\.yaml" includes this file'):
        loaded(tmp_path, {"include": ["a.yaml"]})


def test_an_error_names_the_file_that_it_is_in(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("apps: {x: {app_port: y}}")

    with pytest.raises(JobctlError, match=r"/a\.yaml: apps\.x\.app_port: expected int"):
        loaded(tmp_path, {"include": ["a.yaml"]})


# Plugins


@pytest.fixture
def plugin(tmp_path: Path) -> config.Origin:
    """Return where a package brings an app ``brought``."""
    (tmp_path / "package").mkdir()
    return config.Origin(written(tmp_path / "package", "apps: {brought: {}}"), "some-package")


def test_a_plugin_s_apps_are_offered_with_the_others(tmp_path: Path, plugin: config.Origin) -> None:
    found = config.catalogue(loaded(tmp_path, {"apps": {"mine": {}}}), [plugin])

    assert set(found.apps) == {"mine", "brought"}
    assert str(found.origins["brought"]) == f"the package some-package ({plugin.path})"


def test_images_of_a_plugin_come_after_those_of_jobctl(
    tmp_path: Path, plugin: config.Origin
) -> None:
    found = config.catalogue(loaded(tmp_path, {"apps": {"mine": {}}}), [plugin])

    assert found.directories() == [tmp_path, PROJECT, plugin.path.parent]


def test_a_plugin_s_app_can_be_left_out(tmp_path: Path, plugin: config.Origin) -> None:
    mine = loaded(tmp_path, {"general": {"application_options": ["mine"]}, "apps": {"mine": {}}})

    assert set(config.catalogue(mine, [plugin]).apps) == {"mine"}


def test_a_plugin_s_app_can_be_chosen(tmp_path: Path, plugin: config.Origin) -> None:
    mine = loaded(tmp_path, {"general": {"application_options": ["brought"]}})

    assert set(config.catalogue(mine, [plugin]).apps) == {"brought"}


def test_a_plugin_and_a_file_with_an_app_of_one_name_are_both_named(
    tmp_path: Path, plugin: config.Origin
) -> None:
    mine = loaded(tmp_path, {"apps": {"brought": {}}})

    with pytest.raises(JobctlError) as caught:
        config.catalogue(mine, [plugin])
    assert str(tmp_path / "config.yaml") in str(caught.value)
    assert "the package some-package" in str(caught.value)
