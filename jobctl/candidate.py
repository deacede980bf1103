"""An authority that a user may come to trust: what it is, and for whom it could sign."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_network

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from jobctl import certs
from jobctl.errors import JobctlError

LOOPBACK_NAME = "localhost"


@dataclass(frozen=True)
class Candidate:
    """The certificate of an authority; ``subjects`` is ``None`` if it could sign for anybody."""

    certificate: bytes
    name: str
    fingerprint: str
    key: bytes
    subjects: certs.Subjects | None

    @property
    def label(self) -> str:
        """What it is called where it is trusted: the same for nothing else."""
        # What stands before a colon would be a token to certutil.
        return re.sub(r"[^\w .@-]", "_", self.name) + f" {self.fingerprint[:16]}"

    @property
    def file_name(self) -> str:
        """The same, as the name of a file."""
        words = self.label.removeprefix("jobctl authority of ")
        return f"jobctl-{re.sub(r'[^A-Za-z0-9]+', '-', words)}.crt"

    def succeeds(self, other: Candidate) -> bool:
        """Tell whether this is the same user's authority of the same host, in another edition.

        A renewed one has the same key; one that was begun anew speaks for the same host.
        """
        if self.key == other.key:
            return True
        if self.name != other.name or self.subjects is None or other.subjects is None:
            return False
        return bool((self.subjects.names & other.subjects.names) - {LOOPBACK_NAME})


def read(data: bytes, source: str) -> Candidate:
    """Return the authority in a PEM file; ``source`` names it in messages.

    Raises:
        JobctlError: there is none in it, or more than one.
    """
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError:
        raise JobctlError(
            f"{source} has no certificate in it that can be read; name a PEM file"
        ) from None
    if len(found) != 1:
        raise JobctlError(f"{source} has {len(found)} certificates in it; expected the authority's")
    (loaded,) = found
    try:
        extensions = loaded.extensions
        if not extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            raise JobctlError(f"{source} is that of a server; name the certificate of an authority")
        names = loaded.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        key = loaded.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return Candidate(
            certificate=loaded.public_bytes(serialization.Encoding.PEM),
            name=str(names[0].value) if names else "an authority without a name",
            fingerprint=loaded.fingerprint(hashes.SHA256()).hex(),
            key=key,
            subjects=_constrained_to(extensions),
        )
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise JobctlError(f"{source}: {error}; name the certificate of an authority") from None


def _constrained_to(extensions: x509.Extensions) -> certs.Subjects | None:
    """Return whom an authority may sign for, ``None`` unless that is single hosts by each kind.

    Of a kind of name that the constraints don't mention, every one is allowed (RFC 5280, 4.2.1.10).
    """
    try:
        found = extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        return None
    subtrees = found.value.permitted_subtrees or []
    names = [one.value.strip(".") for one in subtrees if isinstance(one, x509.DNSName)]
    networks = [ip_network(one.value) for one in subtrees if isinstance(one, x509.IPAddress)]
    wide = any(network.num_addresses > 1 for network in networks)
    if not found.critical or not names or not networks or wide or "" in names:
        return None
    return certs.Subjects.of(names, [one.network_address for one in networks])
