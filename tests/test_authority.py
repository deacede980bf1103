"""The user's authority on disk: made once, widened when needed, clear about what is broken."""

from __future__ import annotations

import datetime
import os
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from jobctl import authority, certs, hosts
from jobctl.errors import JobctlError

LOOPBACK = certs.Subjects.of(["localhost"], ["127.0.0.1"])
MOVED_IN = certs.Subjects.of(["moved.example"], ["192.0.2.9"])


def signed_by(pair: certs.Pair, leaf: certs.Pair) -> bool:
    issuer, issued = (x509.load_pem_x509_certificate(p.certificate) for p in (pair, leaf))
    issued.verify_directly_issued_by(issuer)
    return True


def test_the_authority_is_made_at_first_use_and_kept(home: Path) -> None:
    first = authority.ensure_authority(home, "user", LOOPBACK)
    second = authority.ensure_authority(home, "user", LOOPBACK)

    assert first == second
    assert (home / "ca.crt").read_bytes() == first.certificate
    assert (home / "ca.key").read_bytes() == first.key
    assert {path.name for path in home.iterdir()} == {"ca.crt", "ca.key"}


def test_its_key_is_for_its_owner_only(home: Path) -> None:
    before = os.umask(0)
    try:
        authority.ensure_authority(home, "user", LOOPBACK)
    finally:
        os.umask(before)

    assert stat.S_IMODE((home / "ca.key").stat().st_mode) == 0o600


def test_it_speaks_for_this_host_and_nobody_else(home: Path) -> None:
    pair = authority.ensure_authority(home, "user", LOOPBACK)

    permitted = certs.permitted(pair.certificate)
    assert permitted == authority.host_subjects()
    assert {name.lower() for name in hosts.names()} <= permitted.names
    assert set(hosts.addresses()) <= permitted.addresses
    assert not permitted.cover(certs.Subjects.of(["example.org"], []))


def test_new_names_of_the_host_widen_it_and_what_it_signed_stays_valid(home: Path) -> None:
    before = authority.ensure_authority(home, "user", LOOPBACK)
    leaf = certs.issue_leaf(before, LOOPBACK, common_name="x")

    after = authority.ensure_authority(home, "user", MOVED_IN)

    assert after.key == before.key
    assert certs.permitted(after.certificate).cover(MOVED_IN | LOOPBACK)
    assert signed_by(after, leaf)
    assert (home / "ca.crt").read_bytes() == after.certificate


def test_names_that_the_host_once_had_are_kept(home: Path) -> None:
    authority.ensure_authority(home, "user", MOVED_IN)

    pair = authority.ensure_authority(home, "user", LOOPBACK)

    assert certs.permitted(pair.certificate).cover(MOVED_IN)


def ending_soon(pair: certs.Pair, days: int) -> bytes:
    """Return the certificate of an authority as it will be that many days before its end."""
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    key = serialization.load_pem_private_key(pair.key, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    builder = x509.CertificateBuilder(
        certificate.issuer,
        certificate.subject,
        key.public_key(),
        certificate.serial_number,
        certificate.not_valid_before_utc,
        end,
        list(certificate.extensions),
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_it_is_renewed_before_a_leaf_could_outlive_it(home: Path) -> None:
    pair = authority.ensure_authority(home, "user", LOOPBACK)
    (home / "ca.crt").write_bytes(ending_soon(pair, certs.LEAF_DAYS))

    renewed = authority.ensure_authority(home, "user", LOOPBACK)

    assert certs.days_left(renewed.certificate) > 365
    assert renewed.key == pair.key
    assert (home / "ca.crt").read_bytes() == renewed.certificate


def test_a_process_that_was_killed_before_the_certificate_does_no_harm(home: Path) -> None:
    first = authority.ensure_authority(home, "user", LOOPBACK)
    (home / "ca.crt").unlink()

    again = authority.ensure_authority(home, "user", LOOPBACK)

    assert again.key == first.key
    assert (home / "ca.crt").read_bytes() == again.certificate


def unusable(home: Path) -> str:
    """Return why the authority can't be used; nothing of it may have been changed."""
    before = {path.name: path.read_bytes() for path in home.iterdir()}
    with pytest.raises(JobctlError) as caught:
        authority.ensure_authority(home, "user", LOOPBACK)
    assert {path.name: path.read_bytes() for path in home.iterdir()} == before
    message = str(caught.value)
    assert f"the certificate authority in {home} can't be used" in message
    assert "move ca.crt and ca.key away" in message
    return message


def test_a_lost_key_is_not_silently_replaced(home: Path) -> None:
    authority.ensure_authority(home, "user", LOOPBACK)
    (home / "ca.key").unlink()

    assert "ca.key is missing" in unusable(home)


@pytest.mark.parametrize("name", ["ca.crt", "ca.key"])
@pytest.mark.parametrize("damage", [b"", b"garbage", b"-----BEGIN X-----\n", b"\xff\xfe"])
def test_damaged_files_are_told_as_such(home: Path, name: str, damage: bytes) -> None:
    authority.ensure_authority(home, "user", LOOPBACK)
    (home / name).write_bytes(damage)

    unusable(home)


def test_an_encrypted_key_is_told_as_such(home: Path) -> None:
    authority.ensure_authority(home, "user", LOOPBACK)
    key = ec.generate_private_key(ec.SECP256R1())
    (home / "ca.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    (home / "ca.crt").unlink()

    unusable(home)


def test_a_certificate_of_another_kind_is_told_as_such(home: Path) -> None:
    """One without name constraints is no authority that jobctl made."""
    pair = authority.ensure_authority(home, "user", LOOPBACK)
    (home / "ca.crt").write_bytes(
        certs.issue_leaf(pair, LOOPBACK, common_name="a leaf").certificate
    )

    unusable(home)


def test_a_certificate_and_a_key_that_do_not_belong_together_are_told_as_such(home: Path) -> None:
    authority.ensure_authority(home, "user", LOOPBACK)
    stranger = certs.issue_authority("user", authority.host_subjects())
    (home / "ca.key").write_bytes(stranger.key)

    unusable(home)


def test_the_lock_of_the_authority_is_that_of_no_job() -> None:
    assert authority.AUTHORITY_LOCK > 65535
