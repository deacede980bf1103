"""What is in force, where it came from, and the schema that tells editors what can be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema as validator
import pytest
import yaml

from jobctl import config, jsonschema, provenance
from jobctl.errors import JobctlError
from tests.site import PROJECT

SCHEMA = jsonschema.schema()


def sources(path: Path) -> dict[str, tuple[Any, str]]:
    found = provenance.settings(config.catalogue(config.load(path)))
    return {one.key: (one.value, one.source) for one in found}


def test_each_value_has_its_file_and_line_or_is_the_default(tmp_path: Path) -> None:
    site, own = tmp_path / "site.yaml", tmp_path / "config.yaml"
    site.write_text("general:\n  bind_address: 127.0.0.2\n  port_range: [9000, 9001]\n")
    own.write_text(
        "include: [site.yaml]\ngeneral:\n  port_range:\n    - 9100\n    - 9101\n"
        "apps:\n  demo:\n    memory: 2g\n    further: {a: 1}\n"
    )

    found = sources(own)

    assert found["general.bind_address"] == ("127.0.0.2", f"{site}:2")
    assert found["general.port_range"] == ((9100, 9101), f"{own}:3")
    assert found["general.engine"] == ("docker", "default")
    assert found["apps.demo.memory"] == ("2g", f"{own}:8")
    assert found["apps.demo.cpus"] == (2, "default")
    assert found["apps.demo.further"] == ({"a": 1}, f"{own}:9")


def test_every_key_that_there_is_shows(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("apps: {demo: {}}")
    keys = {key.removeprefix("apps.demo.") for key in sources(tmp_path / "config.yaml")}

    assert set(config.Section.__struct_fields__) - {"options"} <= keys


# The schema


def complaints(values: Any) -> list[str]:
    found = validator.Draft202012Validator(SCHEMA).iter_errors(values)
    return [error.message for error in found]


def test_the_schema_that_is_shipped_is_that_of_the_code() -> None:
    shipped = json.loads((PROJECT / "config.schema.json").read_text())

    assert shipped == json.loads(json.dumps(SCHEMA)), (
        "run: jobctl config schema > config.schema.json"
    )


def test_the_schema_is_one() -> None:
    validator.Draft202012Validator.check_schema(SCHEMA)


def test_what_is_shipped_is_valid() -> None:
    assert complaints(yaml.safe_load((PROJECT / "config.yaml").read_text())) == []


@pytest.mark.parametrize(
    "section",
    [
        {},
        {"command": "serve {port}", "app_port": 1, "user": 5, "gpus": "all"},
        {"command": ["serve"], "user": "5:6", "gpus": 2, "env": {"A": 1, "B": "x", "C": 0.5}},
        {"build": {"python": ["x"]}, "mounts": ["~/a:/b:rw"], "writable": ["/var/lib/x"]},
        {"further": {"keys": [1, 2]}},
    ],
)
def test_what_the_code_takes_the_schema_takes(section: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"apps": {"demo": section}}))
    config.load(tmp_path / "config.yaml")

    assert complaints({"apps": {"demo": section}}) == []


@pytest.mark.parametrize(
    "values",
    [
        {"aps": {}},
        {"general": {"port": 1}},
        {"general": {"port_range": [80, 90]}},
        {"apps": {"Demo": {}}},
        {"apps": {"demo": {"app_port": "x"}}},
        {"apps": {"demo": {"memory": "lots"}}},
        {"apps": {"demo": {"command": 5}}},
        {"apps": {"demo": {"env": {"JOBCTL_URL": "x"}}}},
        {"apps": {"demo": {"env": {"A": True}}}},
        {"apps": {"demo": {"mounts": ["a:/b"]}}},
        {"apps": {"demo": {"writable": ["/"]}}},
        {"apps": {"demo": {"build": {"apt": ["a b"]}}}},
        {"apps": {"demo": {"gpus": "some"}}},
    ],
)
def test_what_the_code_refuses_the_schema_refuses(values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(JobctlError):
        config.load(tmp_path / "config.yaml")

    assert complaints(values) != []


def test_every_key_is_explained() -> None:
    for name, part in SCHEMA["$defs"].items():
        for key, value in part["properties"].items():
            assert value.get("description"), f"{name}.{key}"
