"""What programs import: there at once, typed, and closed when a block ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import assert_type

import pytest

import jobctl
from jobctl import (
    Broker,
    Job,
    JobctlError,
    Order,
    Outcome,
    generate_password,
    load_config,
    numbered,
)
from jobctl.config import Config
from tests.fake_engine import FakeEngine
from tests.site import PROJECT


def test_importing_it_loads_nothing() -> None:
    script = (
        "import sys; before = set(sys.modules); import jobctl; print(*set(sys.modules) - before)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PROJECT
    )

    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded - set(sys.stdlib_module_names) == {"jobctl"}
    assert "jobctl.broker" not in done.stdout.split()


def test_each_name_is_there_and_no_other() -> None:
    assert [name for name in jobctl.__all__ if not hasattr(jobctl, name)] == []
    assert set(jobctl.__all__) <= set(dir(jobctl))
    with pytest.raises(AttributeError, match="has no attribute 'Brokre'"):
        jobctl.Brokre  # noqa: B018


def test_the_configuration_is_that_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("general: {port_range: [9000, 9001]}\n")
    monkeypatch.setenv("JOBCTL_CONFIG", str(path))

    assert Broker().config == load_config(path)
    assert Broker().config.general.port_range == (9000, 9001)


def test_a_configuration_that_is_wrong_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBCTL_CONFIG", str(tmp_path / "none.yaml"))

    with pytest.raises(JobctlError, match=r"none\.yaml: can't read it"):
        Broker()


def test_types_are_known() -> None:
    def launch(desk: Broker) -> None:
        assert_type(desk.config, Config)
        assert_type(desk.run(Order(app="conduit", password=generate_password())), Job)
        assert_type(desk.jobs(), list[Job])
        assert_type(numbered(Order(app="conduit"), 3), list[Order])
        assert_type(desk.run_many([Order(app="conduit")]), list[Outcome])

    assert launch.__annotations__


def test_a_block_leaves_a_connection_of_somebody_else_open() -> None:
    class Closing(FakeEngine):
        open = True

        def close(self) -> None:
            self.open = False

    given = Closing()

    with Broker(given_engine=given) as desk:
        assert desk.engine is given
    assert given.open


@pytest.mark.engine
def test_a_block_closes_its_own_connection() -> None:
    with Broker() as desk:
        assert "API" in desk.engine.version()
        adapters = vars(desk.engine)["_api"].adapters.values()
        pools = [adapter.pools for adapter in adapters if hasattr(adapter, "pools")]
        assert any(map(len, pools))

    assert not any(map(len, pools))
