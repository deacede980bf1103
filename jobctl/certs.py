"""Certificates: one authority for a user, one leaf for a job. Returns bytes, touches no file."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
LEAF_DAYS = 90
AUTHORITY_DAYS = 5 * 365
# A clock that runs a little late must not reject a certificate made just now.
_BACKDATE = datetime.timedelta(minutes=5)
# Nothing hangs on when an authority began, and a clock that is set back would make it unusable.
_AUTHORITY_BACKDATE = datetime.timedelta(days=365)
_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class Subjects:
    """Whom a certificate speaks for. In an authority, a name stands for its subdomains too."""

    names: frozenset[str]
    addresses: frozenset[Address]

    @classmethod
    def of(cls, names: Iterable[str], addresses: Iterable[str | Address]) -> Subjects:
        return cls(
            frozenset(name.lower() for name in names),
            frozenset(ipaddress.ip_address(address) for address in addresses),
        )

    def __or__(self, other: Subjects) -> Subjects:
        return Subjects(self.names | other.names, self.addresses | other.addresses)

    def cover(self, other: Subjects) -> bool:
        """Tell whether an authority for these may sign a leaf for ``other``."""
        suffixes = tuple(f".{name}" for name in self.names)
        return other.addresses <= self.addresses and all(
            name in self.names or name.endswith(suffixes) for name in other.names
        )


def issue_authority(owner: str, subjects: Subjects, *, key: bytes | None = None) -> Pair:
    """Make an authority that can sign for ``subjects`` and for nothing else (RFC 5280, 4.2.1.10).

    Given the ``key`` of an earlier one, what that one signed stays valid.
    """
    private = _load(key) if key else ec.generate_private_key(ec.SECP256R1())
    name = _name(f"jobctl authority of {owner}")
    identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
    permitted = [
        *(x509.DNSName(name) for name in sorted(subjects.names)),
        *(x509.IPAddress(ipaddress.ip_network(a)) for a in sorted(subjects.addresses, key=str)),
    ]
    certificate = (
        _builder(name, name, private.public_key(), AUTHORITY_DAYS)
        .not_valid_before(_now() - _AUTHORITY_BACKDATE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.NameConstraints(permitted, None), critical=True)
        .add_extension(identifier, critical=False)
        .sign(private, hashes.SHA256())
    )
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), _pem(private))


def issue_leaf(authority: Pair, subjects: Subjects, *, common_name: str) -> Pair:
    """Make a server certificate for ``subjects``, valid for ``LEAF_DAYS``."""
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    signer = _load(authority.key)
    private = ec.generate_private_key(ec.SECP256R1())
    name = _name(common_name)
    alternatives = [
        *(x509.DNSName(name) for name in sorted(subjects.names)),
        *(x509.IPAddress(address) for address in sorted(subjects.addresses, key=str)),
    ]
    from_issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    certificate = (
        _builder(name, issuer.subject, private.public_key(), LEAF_DAYS)
        .not_valid_before(_now() - _BACKDATE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(from_issuer, critical=False)
        .sign(signer, hashes.SHA256())
    )
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), _pem(private))


def check(pair: Pair) -> None:
    """Make sure that a certificate and a key are whole and belong together.

    Raises:
        ValueError: they don't.
    """
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    if certificate.public_key() != _load(pair.key).public_key():
        raise ValueError("the certificate is not for this key")


def permitted(certificate: bytes) -> Subjects:
    """Return whom an authority may sign for.

    Raises:
        ValueError: it is no authority that is constrained to names.
    """
    loaded = x509.load_pem_x509_certificate(certificate)
    try:
        constraints = loaded.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        raise ValueError("the certificate has no name constraints") from None
    subtrees = constraints.permitted_subtrees or []
    return Subjects.of(
        [subtree.value for subtree in subtrees if isinstance(subtree, x509.DNSName)],
        [s.value.network_address for s in subtrees if isinstance(s, x509.IPAddress)],  # type: ignore[union-attr]
    )


def fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 of the first certificate in PEM, in lower-case hexadecimal."""
    return x509.load_pem_x509_certificate(certificate).fingerprint(hashes.SHA256()).hex()


def days_left(certificate: bytes) -> float:
    """Return for how many days the first certificate in PEM is still valid."""
    end = x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    return (end - _now()) / datetime.timedelta(days=1)


def days_old(certificate: bytes) -> float:
    """Return for how many days the first certificate in PEM has been valid; negative: not yet."""
    begin = x509.load_pem_x509_certificate(certificate).not_valid_before_utc
    return (_now() - begin) / datetime.timedelta(days=1)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_after(_now() + datetime.timedelta(days=days))
    )


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _usage(**allowed: bool) -> x509.KeyUsage:
    nothing = dict.fromkeys(_USAGES, False)
    return x509.KeyUsage(**nothing | allowed)


def _name(text: str) -> x509.Name:
    # 64 at the most (RFC 5280, ub-common-name), which the library counts in bytes.
    short = text.encode()[:64].decode(errors="ignore")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, short)])


def _load(key: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        loaded = serialization.load_pem_private_key(key, password=None)
    except TypeError as error:
        raise ValueError(str(error)) from None  # it is encrypted
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise ValueError("not an elliptic curve key")
    return loaded


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
