"""Which ports are tried, and what is said when there is none."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterator, Mapping

import pytest

from jobctl import hosts
from jobctl.errors import ClaimLost, UsageError
from jobctl.ports import candidates


def ports(
    low: int,
    high: int,
    *,
    wanted: int | None = None,
    holders: Mapping[int, str] | None = None,
    more: Mapping[int, str] | None = None,
    busy: Collection[int] = (),
) -> Iterator[int]:
    return candidates(
        (low, high),
        wanted=wanted,
        address="127.0.0.1",
        holders=holders or {},
        more=lambda: more or {},
        busy=lambda port: port in busy,
    )


@pytest.fixture
def run_of_ports() -> Iterator[tuple[socket.socket, int]]:
    """Listen on a port with free ones behind it; return the socket and the port."""
    for first in range(20000, 60000, 7):
        if not any(hosts.is_bound("127.0.0.1", first + n) for n in range(4)):
            break
    with socket.create_server(("127.0.0.1", first)) as server:
        yield server, first


def test_ports_are_tried_from_the_lowest() -> None:
    tried = ports(41000, 41999)

    first, second = next(tried), next(tried)

    assert 41000 <= first < second <= 41999


def test_a_port_that_is_bound_is_passed_over(run_of_ports: tuple[socket.socket, int]) -> None:
    _, port = run_of_ports

    assert next(ports(port, port + 3)) == port + 1


def test_a_port_that_somebody_is_known_to_hold_is_passed_over(
    run_of_ports: tuple[socket.socket, int],
) -> None:
    _, port = run_of_ports

    assert next(ports(port, port + 3, holders={port + 1: "x"})) == port + 2


def test_a_port_that_another_launch_is_trying_is_passed_over(
    run_of_ports: tuple[socket.socket, int],
) -> None:
    _, port = run_of_ports

    assert next(ports(port, port + 3, busy=[port + 1, port + 2])) == port + 3


def test_only_the_wanted_port_is_tried(run_of_ports: tuple[socket.socket, int]) -> None:
    _, port = run_of_ports
    tried = ports(port, port + 3, wanted=port + 2)

    assert next(tried) == port + 2
    with pytest.raises(ClaimLost, match=f"port {port + 2} is taken by somebody who was faster"):
        next(tried)


def test_once_a_port_is_held_after_all_it_is_asked_who_has_which(
    run_of_ports: tuple[socket.socket, int],
) -> None:
    _, port = run_of_ports
    tried = ports(port, port + 3, more={port + 1: "eve's", port + 2: "eve's"})

    assert [next(tried), next(tried)] == [port + 1, port + 3]
    with pytest.raises(ClaimLost, match=f"{port + 1}: eve's, {port + 2}: eve's, {port + 3}: some"):
        next(tried)


def test_a_wanted_port_that_a_process_has_is_told_with_its_name(
    run_of_ports: tuple[socket.socket, int],
) -> None:
    _, port = run_of_ports

    with pytest.raises(ClaimLost, match=rf"port {port} is taken by .*\(pid {os.getpid()}\)"):
        next(ports(port, port, wanted=port))


def test_a_wanted_port_that_a_job_has_is_told_with_its_holder() -> None:
    with pytest.raises(ClaimLost, match="port 41000 is taken by eve's job_41000; choose another"):
        next(ports(41000, 41010, wanted=41000, holders={41000: "eve's job_41000"}))


@pytest.mark.parametrize("wanted", [79, 40999, 41011, 70000, -1])
def test_a_wanted_port_outside_the_range_is_wrong_usage(wanted: int) -> None:
    with pytest.raises(UsageError, match="41000-41010"):
        next(ports(41000, 41010, wanted=wanted))


def test_the_ends_of_the_range_belong_to_it(run_of_ports: tuple[socket.socket, int]) -> None:
    _, port = run_of_ports

    tried = ports(port + 1, port + 2)

    assert [next(tried), next(tried)] == [port + 1, port + 2]


def test_when_no_port_is_left_all_holders_are_named(
    run_of_ports: tuple[socket.socket, int],
) -> None:
    _, port = run_of_ports
    tried = ports(port, port + 3, holders={port + 1: "eve's job"}, busy=[port + 2])
    assert next(tried) == port + 3

    with pytest.raises(ClaimLost) as caught:
        next(tried)

    message = str(caught.value)
    assert f"no port is free in {port}-{port + 3}" in message
    assert f"(pid {os.getpid()})" in message
    assert f"{port + 1}: eve's job" in message
    assert f"{port + 2}: a launch under way" in message
    assert f"{port + 3}: somebody who was faster" in message
    assert "jobctl prune" in message


def test_of_many_holders_a_few_are_named_and_the_rest_counted() -> None:
    holders = {port: f"holder {port}" for port in range(40000, 40100)}

    with pytest.raises(ClaimLost) as caught:
        next(ports(40010, 40029, holders=holders))

    message = str(caught.value)
    assert "40010: holder 40010" in message
    assert "40009" not in message
    assert "and 15 more" in message


def test_a_port_is_bound_while_somebody_listens_and_free_afterwards(
    run_of_ports: tuple[socket.socket, int],
) -> None:
    server, port = run_of_ports
    assert hosts.is_bound("127.0.0.1", port)
    assert hosts.is_bound("0.0.0.0", port)

    server.close()

    assert not hosts.is_bound("127.0.0.1", port)


def test_nobody_holds_a_port_that_is_free(run_of_ports: tuple[socket.socket, int]) -> None:
    _, port = run_of_ports

    assert hosts.holder(port + 1) is None
