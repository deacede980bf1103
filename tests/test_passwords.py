"""Passwords: what ``htdigest`` and ``htpasswd`` would write, and what is refused."""

from __future__ import annotations

import hashlib
import re

import argon2
import bcrypt
import pytest

from jobctl import passwords
from jobctl.errors import JobctlError

DIGEST, BCRYPT = "apache_md5_digest", "bcrypt"
MD5 = "4d7e319876e0192ec7e422c53d4ba80a"
SOME_BCRYPT = "$2y$10$" + "abcdefghijklmnopqrstuv" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ01234"


def hashed(algorithm: str, password: str, *, user: str = "test", realm: str = "demo") -> str:
    return passwords.hash_password(algorithm, user=user, realm=realm, password=password)


def checked(algorithm: str, line: str, *, user: str = "test", realm: str = "demo") -> str:
    return passwords.check_line(algorithm, line, user=user, realm=realm)


# Making them


def test_generated_passwords_have_128_bits_and_need_no_quoting() -> None:
    made = [passwords.generate() for _ in range(200)]

    assert len(set(made)) == 200
    for password in made:
        assert re.fullmatch(r"[A-Za-z0-9_-]{22,}", password)
    # 6 bits in each of 21 characters, and 2 or more in the last.
    for position in range(21):
        assert len({password[position] for password in made}) > 40
    assert len({password[21] for password in made}) >= 4


# Hashing


@pytest.mark.parametrize(
    ("user", "realm", "password", "md5"),
    [
        # RFC 2617, 3.5, and RFC 7616, 3.9.1: H(A1) of their examples.
        ("Mufasa", "testrealm@host.com", "Circle Of Life", "939e7578ed9e3c518a452acee763bce9"),
        ("Mufasa", "http-auth@example.org", "Circle of Life", "3d78807defe7de2157e2b0b6573a855f"),
    ],
)
def test_digest_hashes_are_those_of_the_standards(
    user: str, realm: str, password: str, md5: str
) -> None:
    assert hashed(DIGEST, password, user=user, realm=realm) == f"{user}:{realm}:{md5}"


def test_a_digest_line_is_what_htdigest_writes() -> None:
    expected = hashlib.md5("test:demo:pässwörd ✓".encode(), usedforsecurity=False).hexdigest()

    assert hashed(DIGEST, "pässwörd ✓") == f"test:demo:{expected}"


def test_a_bcrypt_line_is_what_htpasswd_writes_and_verifies() -> None:
    line = hashed(BCRYPT, "pässwörd ✓")

    user, _, value = line.partition(":")
    assert user == "test"
    assert value.startswith("$2y$10$")
    assert bcrypt.checkpw("pässwörd ✓".encode(), value.encode())
    assert not bcrypt.checkpw(b"another", value.encode())


def test_two_bcrypt_hashes_of_one_password_differ() -> None:
    assert hashed(BCRYPT, "secret") != hashed(BCRYPT, "secret")


@pytest.mark.parametrize("algorithm", [DIGEST, BCRYPT])
@pytest.mark.parametrize("password", ["", "a\nb", "a\rb", "a\0b", "\udcff"])
def test_passwords_that_no_client_can_send_are_refused(algorithm: str, password: str) -> None:
    with pytest.raises(JobctlError, match="password"):
        hashed(algorithm, password)


@pytest.mark.parametrize("password", [" ", "a:b", "'\"\\$", "x" * 72])
@pytest.mark.parametrize("algorithm", [DIGEST, BCRYPT])
def test_unusual_passwords_are_taken(algorithm: str, password: str) -> None:
    assert checked(algorithm, hashed(algorithm, password)) != ""


@pytest.mark.parametrize("password", ["x" * 73, "ü" * 37])
def test_bcrypt_does_not_cut_a_long_password_off(password: str) -> None:
    with pytest.raises(JobctlError, match="72 bytes"):
        hashed(BCRYPT, password)


def test_an_unknown_algorithm_is_quoted() -> None:
    with pytest.raises(JobctlError, match='"sha1"'):
        hashed("sha1", "secret")


def test_no_error_repeats_the_password() -> None:
    for algorithm, password in [
        (DIGEST, "hunter2\n"),
        (BCRYPT, "hunter2" * 20),
        ("sha1", "hunter2"),
    ]:
        with pytest.raises(JobctlError) as caught:
            hashed(algorithm, password)
        assert "hunter2" not in str(caught.value)


# Hashes that were made elsewhere


@pytest.mark.parametrize("algorithm", [DIGEST, BCRYPT])
def test_what_jobctl_hashes_it_also_takes(algorithm: str) -> None:
    line = hashed(algorithm, "secret")

    assert checked(algorithm, line) == line
    assert checked(algorithm, f"  {line}\n") == line


@pytest.mark.parametrize(
    ("algorithm", "bare", "line"),
    [(DIGEST, MD5, f"test:demo:{MD5}"), (BCRYPT, SOME_BCRYPT, f"test:{SOME_BCRYPT}")],
)
def test_a_bare_hash_is_for_the_user(algorithm: str, bare: str, line: str) -> None:
    assert checked(algorithm, bare) == line


@pytest.mark.parametrize(
    ("algorithm", "line"),
    [(DIGEST, f"guest:demo:{MD5}"), (BCRYPT, f"guest:{SOME_BCRYPT}")],
)
def test_a_line_may_be_for_another_user_name(algorithm: str, line: str) -> None:
    assert checked(algorithm, line) == line
    assert passwords.user_of(line) == "guest"


def test_a_digest_for_another_realm_is_refused_with_both_names() -> None:
    with pytest.raises(JobctlError, match='for the realm "other", the app asks for "demo"'):
        checked(DIGEST, f"test:other:{MD5}")


@pytest.mark.parametrize(
    ("algorithm", "line"),
    [
        (DIGEST, ""),
        (DIGEST, MD5.upper()),
        (DIGEST, MD5[:-1]),
        (DIGEST, f"test:{MD5}"),
        (DIGEST, f"a:test:demo:{MD5}"),
        (DIGEST, f":demo:{MD5}"),
        (DIGEST, SOME_BCRYPT),
        (DIGEST, f"eve:demo:{MD5}\ntest:demo:{MD5}"),
        (DIGEST, f"eve\nmallory:demo:{MD5}"),
        (BCRYPT, ""),
        (BCRYPT, MD5),
        (BCRYPT, SOME_BCRYPT[:-1]),
        (BCRYPT, f"a:b:{SOME_BCRYPT}"),
        (BCRYPT, f":{SOME_BCRYPT}"),
        (BCRYPT, f"eve:{SOME_BCRYPT}\ntest:{SOME_BCRYPT}"),
        (BCRYPT, f"eve\nmallory:{SOME_BCRYPT}"),
        (BCRYPT, SOME_BCRYPT.replace("$2y$", "$5$")),
    ],
)
def test_what_is_no_line_of_a_password_file_is_refused_and_not_repeated(
    algorithm: str, line: str
) -> None:
    with pytest.raises(JobctlError) as caught:
        checked(algorithm, line)

    assert MD5 not in str(caught.value)
    assert SOME_BCRYPT[-31:-1] not in str(caught.value)


def test_a_hash_in_the_place_of_the_realm_is_not_repeated_either() -> None:
    with pytest.raises(JobctlError) as caught:
        checked(DIGEST, f"test:{MD5}:{MD5}")

    assert MD5 not in str(caught.value)


# Reading lines


def test_the_user_of_a_line() -> None:
    assert passwords.user_of(f"test:demo:{MD5}") == "test"
    assert passwords.user_of("") == ""


def test_only_a_digest_is_as_good_as_the_password() -> None:
    assert passwords.digest_a1(DIGEST, f"test:demo:{MD5}") == MD5
    assert passwords.digest_a1(BCRYPT, f"test:{SOME_BCRYPT}") is None
    assert passwords.digest_a1(None, "") is None


# Jupyter's


def test_jupyter_s_hash_is_argon2_as_it_keeps_it_itself() -> None:
    kind, _, rest = hashed("jupyter", "pässwörd").partition(":")

    assert kind == "argon2"
    assert argon2.PasswordHasher().verify(rest, "pässwörd")
    made = argon2.extract_parameters(rest)
    assert (made.type, made.memory_cost, made.time_cost) == (argon2.Type.ID, 19 * 1024, 2)


def test_jupyter_s_hash_is_for_no_user() -> None:
    assert passwords.user_of(hashed("jupyter", "x")) is None
    assert passwords.user_of("test:$2y$10$x") == "test"
    assert passwords.digest_a1("jupyter", "argon2:$argon2id$x") is None


@pytest.mark.parametrize("prefix", ["argon2:", ""])
def test_what_jupyter_printed_is_taken(prefix: str) -> None:
    made = argon2.PasswordHasher(memory_cost=10240, time_cost=10, parallelism=8).hash("x")

    assert checked("jupyter", f" {prefix}{made}\n") == f"argon2:{made}"


@pytest.mark.parametrize(
    "line", ["", "argon2:", "sha1:abc:0123", "argon2:$argon2id$v=19$m=1,t=1$x", "test:demo:" + MD5]
)
def test_what_jupyter_would_not_take_is_refused_without_repeating_it(line: str) -> None:
    with pytest.raises(JobctlError, match="jupyter server password") as caught:
        checked("jupyter", line)

    assert line in ("", "argon2:") or line not in str(caught.value)
