"""What a caller wants launched, and what of it can be had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jobctl import apps, config, orders
from jobctl.errors import JobctlError, UsageError
from jobctl.orders import Order
from jobctl.probe import Secret
from jobctl.schema import Section

MD5 = "4d7e319876e0192ec7e422c53d4ba80a"
DEFAULTS = "from jobctl.helpers import gen_cert, gen_config, get_launch_cmd, get_password\n"


def app_with(directory: Path, section: str = "", module: str = "") -> apps.App:
    """Return the app "demo" with further keys in its section and further lines in its module."""
    (directory / "demo.py").write_text(DEFAULTS + module)
    (directory / "config.yaml").write_text(
        f"apps: {{demo: {{app_module_path: demo.py, {section}}}}}"
    )
    return apps.load("demo", config.load(directory / "config.yaml"))


def answering(*answers: str) -> Callable[[], str]:
    """Return what answers a question, as often as there are answers."""
    left = list(answers)
    return lambda: left.pop(0)


def password(order: Order, app: apps.App) -> tuple[str | None, Secret]:
    return orders.password(order, app, owner="test")


def test_an_order_does_not_show_its_secrets() -> None:
    shown = repr(Order(app="demo", password="hunter2", password_hash=MD5))

    assert "hunter2" not in shown
    assert MD5 not in shown


def test_an_order_is_from_where_its_caller_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert Order(app="demo").directory == tmp_path


# Addresses


@pytest.mark.parametrize(
    ("bind", "address"),
    [
        (None, "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
        ("0.0.0.0", "0.0.0.0"),
        ("::1", "::1"),
        ("0:0::0:1", "::1"),
        ("192.0.2.7", "192.0.2.7"),
    ],
)
def test_an_address_is_the_order_s_or_the_default(bind: str | None, address: str) -> None:
    order = Order(app="demo", bind=bind)

    assert orders.bind_address(order, Section(), default="127.0.0.1") == address


def test_the_configuration_s_address_counts_where_the_order_has_none() -> None:
    assert orders.bind_address(Order(app="demo"), Section(), default="192.0.2.7") == "192.0.2.7"


@pytest.mark.parametrize("bind", ["example.org", "127.0.0.1:80", "256.0.0.1", " ", "0", "eth0"])
def test_what_is_no_address_is_wrong_usage_and_quoted(bind: str) -> None:
    with pytest.raises(UsageError) as caught:
        orders.bind_address(Order(app="demo", bind=bind), Section(), default="127.0.0.1")

    assert f'"{bind}"' in str(caught.value)


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.0.2.7", "::ffff:192.0.2.7"])
def test_an_app_without_a_password_is_not_exposed(bind: str) -> None:
    with pytest.raises(JobctlError, match=r"demo has .* not exposed on .*allow_open: true"):
        orders.bind_address(
            Order(app="demo", bind=bind), Section(require_password=False), default="127.0.0.1"
        )


def test_the_default_address_exposes_no_app_without_a_password_either() -> None:
    with pytest.raises(JobctlError, match="not exposed"):
        orders.bind_address(Order(app="demo"), Section(require_password=False), default="0.0.0.0")


def test_an_app_without_a_password_is_exposed_where_its_section_allows_that() -> None:
    section = Section(require_password=False, allow_open=True)

    order = Order(app="demo", bind="0.0.0.0")
    assert orders.bind_address(order, section, default="127.0.0.1") == "0.0.0.0"


@pytest.mark.parametrize("bind", [None, "127.0.0.1", "::1"])
def test_an_app_without_a_password_may_be_on_loopback(bind: str | None) -> None:
    section = Section(require_password=False)

    assert orders.bind_address(Order(app="demo", bind=bind), section, default="127.0.0.1")


# Passwords


def test_a_password_becomes_a_line_and_is_at_hand_for_the_verification(tmp_path: Path) -> None:
    line, secret = password(Order(app="demo", password="Circle Of Life"), app_with(tmp_path))

    assert line is not None
    user, realm, md5 = line.split(":")
    assert (user, realm) == ("test", "demo")
    assert secret == Secret(password="Circle Of Life", digest_a1=md5)


def test_the_realm_is_the_section_s(tmp_path: Path) -> None:
    app = app_with(tmp_path, "realm: A place")

    line, _ = password(Order(app="demo", password="x"), app)

    assert (line or "").startswith("test:A place:")


def test_a_bcrypt_password_can_be_verified_with_itself_only(tmp_path: Path) -> None:
    app = app_with(tmp_path, "hash_algorithm: bcrypt")

    line, secret = password(Order(app="demo", password="x"), app)

    assert (line or "").startswith("test:$2y$")
    assert secret == Secret(password="x", digest_a1=None)


def test_a_password_is_asked_for_once(tmp_path: Path) -> None:
    order = Order(app="demo", ask=answering("only once"))

    line, secret = password(order, app_with(tmp_path))

    assert line is not None
    assert secret.password == "only once"


def test_nobody_is_asked_when_a_password_is_given(tmp_path: Path) -> None:
    order = Order(app="demo", password="given", ask=answering())

    assert password(order, app_with(tmp_path))[1].password == "given"


def test_a_hash_that_is_given_leaves_no_password_at_hand(tmp_path: Path) -> None:
    line, secret = password(Order(app="demo", password_hash=MD5), app_with(tmp_path))

    assert line == f"test:demo:{MD5}"
    assert secret == Secret(password=None, digest_a1=MD5)


def test_a_hash_that_can_not_be_used_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(JobctlError) as caught:
        password(Order(app="demo", password_hash=f"x:{MD5}"), app_with(tmp_path))

    assert MD5 not in str(caught.value)


def test_without_a_password_and_without_a_terminal_the_options_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--generate-password or --password-stdin"):
        password(Order(app="demo"), app_with(tmp_path))


def test_an_app_that_needs_no_password_asks_for_none(tmp_path: Path) -> None:
    app = app_with(tmp_path, "require_password: false")

    assert password(Order(app="demo", ask=answering()), app) == (None, Secret())


def test_a_module_may_ask_in_its_own_way(tmp_path: Path) -> None:
    app = app_with(tmp_path, module=f"def get_password(): return 'guest:demo:{MD5}'")

    line, secret = password(Order(app="demo", ask=answering()), app)

    assert line == f"guest:demo:{MD5}"
    assert secret == Secret(password=None, digest_a1=MD5)


def test_a_module_that_returns_no_hash_for_an_app_that_needs_one(tmp_path: Path) -> None:
    app = app_with(tmp_path, module="def get_password(): return None")

    with pytest.raises(JobctlError, match=r"get_password returned None.*apps\.demo\.require_pass"):
        password(Order(app="demo", ask=answering()), app)


def test_a_module_that_returns_the_password_itself_is_refused_without_it(tmp_path: Path) -> None:
    app = app_with(tmp_path, module="def get_password(): return 'hunter2'")

    with pytest.raises(JobctlError) as caught:
        password(Order(app="demo", ask=answering()), app)

    assert "hunter2" not in str(caught.value)


def test_an_empty_answer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobctlError, match="the password is empty"):
        password(Order(app="demo", ask=answering("")), app_with(tmp_path))
