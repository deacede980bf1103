"""Job arrays: what the number stands for, where, and what each of many has for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobctl import arrays
from jobctl.engines.base import Bind
from jobctl.errors import UsageError
from jobctl.orders import Order


def test_the_number_is_filled_in_wherever_the_command_line_has_it(tmp_path: Path) -> None:
    order = Order(
        app="demo",
        args=["data_{number}.json", "--name={number:03}", '{"a": {}}', "{port}"],
        env={"SEED": "{number}{number}", "JOBCTL_COUNT": "mine"},
        mounts=[Bind(source="/data/{number}", target="/in/{number:02}", read_only=False)],
        changes={"memory": "{number}g", "env": {"{number}": ["{number}", 7]}},
        directory=tmp_path,
    )

    *_, last = made = arrays.numbered(order, 12)

    assert [one.args[0] for one in made] == [f"data_{number}.json" for number in range(1, 13)]
    assert last.args == ["data_12.json", "--name=012", '{"a": {}}', "{port}"]
    assert last.env == {"JOBCTL_NUMBER": "12", "JOBCTL_COUNT": "mine", "SEED": "1212"}
    assert last.mounts == [Bind(source="/data/12", target="/in/12", read_only=False)]
    assert last.changes == {"memory": "12g", "env": {"{number}": ["12", 7]}}
    assert last.directory == tmp_path


def test_doubled_braces_keep_the_word() -> None:
    (one,) = arrays.numbered(Order(app="demo", args=["{{number}}", "{{number:03}}"]), 1)

    assert one.args == ["{number}", "{number:03}"]


@pytest.mark.parametrize("text", ["{number:3}", "{number:}", "{number:0x}", "{number:010}"])
def test_a_width_that_is_none_is_told(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected \{number\}, or \{number:03\}"):
        arrays.numbered(Order(app="demo", env={"A": text}), 2)


@pytest.mark.parametrize("count", [0, -1])
def test_there_is_no_array_of_nothing(count: int) -> None:
    with pytest.raises(UsageError, match=f"can't launch {count} jobs; expected"):
        arrays.numbered(Order(app="demo"), count)


def test_each_has_a_password_of_its_own_only_if_it_is_to_be_made() -> None:
    made = arrays.numbered(Order(app="demo"), 100, passwords=arrays.password)
    shared = arrays.numbered(Order(app="demo", password="one for all"), 3)

    assert len({one.password for one in made}) == 100
    assert {one.password for one in shared} == {"one for all"}


def test_no_table_takes_a_password_for_a_formula() -> None:
    """A cell that begins with a hyphen is one, to most programs that open CSV."""
    assert all(arrays.password()[0].isalnum() for _ in range(500))
