"""Certificates by what they mean: parsed extensions, and handshakes of real TLS clients."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from jobctl import certs

HERE = certs.Subjects.of(["host.example", "localhost"], ["127.0.0.1", "::1", "192.0.2.7"])
LOOPBACK = certs.Subjects.of(["localhost"], ["127.0.0.1", "::1"])


def parsed(pair: certs.Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate)


def lifetime(certificate: x509.Certificate) -> datetime.timedelta:
    return certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)


@contextmanager
def served(leaf: certs.Pair, directory: Path) -> Iterator[int]:
    """Serve TLS with a leaf to one client; yields the port."""
    (directory / "leaf.pem").write_bytes(leaf.certificate + leaf.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "leaf.pem")

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                context.wrap_socket(connection, server_side=True).close()
            except (ssl.SSLError, OSError):
                return  # the client refused; what it says is what the test looks at

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


def shake_hands(
    authority: certs.Pair, leaf: certs.Pair, directory: Path, *, name: str = "localhost"
) -> None:
    """Connect as a client that trusts ``authority`` and looks for ``name``."""
    client = ssl.create_default_context(cadata=authority.certificate.decode())
    with (
        served(leaf, directory) as port,
        socket.create_connection(("127.0.0.1", port), timeout=5) as connection,
        client.wrap_socket(connection, server_hostname=name),
    ):
        pass


# The authority


@pytest.fixture(scope="module")
def authority() -> certs.Pair:
    return certs.issue_authority("user", HERE)


def test_an_authority_signs_certificates_and_nothing_else(authority: certs.Pair) -> None:
    extensions = parsed(authority).extensions

    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value.ca
    assert constraints.value.path_length == 0
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert not usage.value.digital_signature


def test_an_authority_is_constrained_to_names_and_addresses(authority: certs.Pair) -> None:
    constraints = parsed(authority).extensions.get_extension_for_class(x509.NameConstraints)

    assert constraints.critical
    permitted = constraints.value.permitted_subtrees or []
    assert {name.value for name in permitted} == {
        *("host.example", "localhost"),
        *(ipaddress.ip_network(a) for a in ("127.0.0.1/32", "::1/128", "192.0.2.7/32")),
    }


def test_an_authority_names_its_owner(authority: certs.Pair) -> None:
    assert "user" in parsed(authority).subject.rfc4514_string()
    assert parsed(authority).subject == parsed(authority).issuer


@pytest.mark.parametrize("owner", ["x" * 200, "ü" * 64, "a,b=c", 'quo"ted'])
def test_any_owner_can_have_an_authority(owner: str) -> None:
    assert parsed(certs.issue_authority(owner, LOOPBACK))


def test_an_authority_lives_for_some_years(authority: certs.Pair) -> None:
    days = lifetime(parsed(authority)).days

    assert 365 < days < 10 * 365


def test_whom_an_authority_may_sign_for_can_be_read_back(authority: certs.Pair) -> None:
    assert certs.permitted(authority.certificate) == HERE


# The leaf


@pytest.fixture(scope="module")
def leaf(authority: certs.Pair) -> certs.Pair:
    return certs.issue_leaf(authority, HERE, common_name="job_8000 on host.example")


def test_a_leaf_speaks_for_exactly_its_subjects(leaf: certs.Pair) -> None:
    names = parsed(leaf).extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert set(names.get_values_for_type(x509.DNSName)) == HERE.names
    assert set(names.get_values_for_type(x509.IPAddress)) == HERE.addresses


def test_a_leaf_is_for_servers_and_signs_no_certificates(leaf: certs.Pair) -> None:
    extensions = parsed(leaf).extensions

    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign


def test_a_leaf_lives_for_90_days_and_already_now(leaf: certs.Pair) -> None:
    certificate = parsed(leaf)

    assert datetime.timedelta(days=89) < lifetime(certificate) <= datetime.timedelta(days=90)
    assert certificate.not_valid_before_utc < datetime.datetime.now(datetime.UTC)
    assert 89 < certs.days_left(leaf.certificate) <= 90


def test_serial_numbers_are_random(authority: certs.Pair) -> None:
    serials = {
        parsed(certs.issue_leaf(authority, LOOPBACK, common_name="x")).serial_number
        for _ in range(8)
    }

    assert len(serials) == 8
    assert all(serial.bit_length() > 64 for serial in serials)


def test_every_leaf_has_a_key_of_its_own(authority: certs.Pair) -> None:
    one, other = (certs.issue_leaf(authority, LOOPBACK, common_name="x") for _ in range(2))

    assert one.key != other.key
    assert isinstance(parsed(one).public_key(), ec.EllipticCurvePublicKey)


def test_a_leaf_is_signed_by_its_authority(authority: certs.Pair, leaf: certs.Pair) -> None:
    parsed(leaf).verify_directly_issued_by(parsed(authority))


def test_a_private_key_does_not_show_in_a_traceback(leaf: certs.Pair) -> None:
    assert "PRIVATE KEY" not in repr(leaf)


def test_a_long_common_name_is_cut(authority: certs.Pair) -> None:
    assert parsed(certs.issue_leaf(authority, LOOPBACK, common_name="x" * 200))


def test_the_fingerprint_is_what_openssl_shows(leaf: certs.Pair, tmp_path: Path) -> None:
    (tmp_path / "leaf.crt").write_bytes(leaf.certificate)

    shown = subprocess.run(
        ["openssl", "x509", "-in", tmp_path / "leaf.crt", "-noout", "-fingerprint", "-sha256"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert shown.strip().rpartition("=")[2].replace(":", "").lower() == certs.fingerprint(
        leaf.certificate
    )


# Subjects


def test_an_authority_covers_its_subjects_and_their_subdomains() -> None:
    assert HERE.cover(LOOPBACK)
    assert HERE.cover(certs.Subjects.of(["job-8000.localhost", "HOST.example"], []))


@pytest.mark.parametrize(
    ("names", "addresses"),
    [
        (["example"], []),
        (["otherhost.example"], []),
        (["notlocalhost"], []),
        ([], ["127.0.0.2"]),
        (["localhost"], ["192.0.2.8"]),
    ],
)
def test_an_authority_covers_nobody_else(names: list[str], addresses: list[str]) -> None:
    assert not HERE.cover(certs.Subjects.of(names, addresses))


# Clients


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "host.example"])
def test_a_client_that_trusts_the_authority_accepts_the_leaf(
    authority: certs.Pair, leaf: certs.Pair, tmp_path: Path, name: str
) -> None:
    shake_hands(authority, leaf, tmp_path, name=name)


def test_a_client_accepts_a_subdomain(authority: certs.Pair, tmp_path: Path) -> None:
    subjects = certs.Subjects.of(["job-8000.localhost"], [])
    leaf = certs.issue_leaf(authority, subjects, common_name="x")

    shake_hands(authority, leaf, tmp_path, name="job-8000.localhost")


def test_a_client_that_trusts_somebody_else_refuses(leaf: certs.Pair, tmp_path: Path) -> None:
    stranger = certs.issue_authority("user", HERE)

    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(stranger, leaf, tmp_path)


@pytest.mark.parametrize(
    ("foreign", "name"),
    [
        (certs.Subjects.of(["bank.example"], []), "bank.example"),
        (certs.Subjects.of(["example"], []), "example"),
        (certs.Subjects.of(["localhost", "bank.example"], []), "localhost"),
        (certs.Subjects.of([], ["192.0.2.8"]), "192.0.2.8"),
    ],
)
def test_a_client_refuses_what_the_authority_may_not_sign(
    authority: certs.Pair, tmp_path: Path, foreign: certs.Subjects, name: str
) -> None:
    leaf = certs.issue_leaf(authority, foreign, common_name=name)

    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        shake_hands(authority, leaf, tmp_path, name=name)


def test_openssl_agrees(authority: certs.Pair, leaf: certs.Pair, tmp_path: Path) -> None:
    foreign = certs.issue_leaf(
        authority, certs.Subjects.of(["bank.example"], []), common_name="bank.example"
    )
    for name, data in {
        "ca.crt": authority.certificate,
        "own.crt": leaf.certificate,
        "foreign.crt": foreign.certificate,
    }.items():
        (tmp_path / name).write_bytes(data)

    def verify(name: str) -> subprocess.CompletedProcess[str]:
        command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver"]
        return subprocess.run(
            [*command, "-CAfile", tmp_path / "ca.crt", tmp_path / name],
            check=False,
            capture_output=True,
            text=True,
        )

    own, other = verify("own.crt"), verify("foreign.crt")

    assert own.returncode == 0, own.stderr
    assert other.returncode != 0
    assert "permitted subtree violation" in other.stderr


def test_what_was_signed_stays_valid_when_the_authority_is_made_anew_with_its_key(
    authority: certs.Pair, leaf: certs.Pair, tmp_path: Path
) -> None:
    more = certs.Subjects.of(["new.example"], ["198.51.100.1"])
    wider = certs.issue_authority("user", HERE | more, key=authority.key)

    assert wider.certificate != authority.certificate
    assert wider.key == authority.key
    shake_hands(wider, leaf, tmp_path)
    shake_hands(wider, certs.issue_leaf(wider, more, common_name="x"), tmp_path, name="new.example")


def test_what_is_no_key_of_ours_is_refused() -> None:
    with pytest.raises(ValueError, match="PEM"):
        certs.issue_authority("user", LOOPBACK, key=b"garbage")
