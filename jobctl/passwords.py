"""Passwords: makes them, hashes them for a job's password file, reads such a hash back."""

from __future__ import annotations

import hashlib
import re
import secrets

from jobctl.errors import JobctlError

BCRYPT_COST = 10
ARGON2_MEMORY_KIB, ARGON2_PASSES = 19 * 1024, 2
_UNSENDABLE = re.compile("[\n\r\0\ud800-\udfff]")
_USER = re.compile(r"[^:\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_MD5 = re.compile(r"[0-9a-f]{32}")
_JUPYTER = "argon2:"
_ARGON2 = re.compile(
    r"\$argon2id?\$v=19\$m=[0-9]+,t=[0-9]+,p=[0-9]+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+"
)
_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")


def generate() -> str:
    """Return a new password of 128 random bits, in 22 characters that need no quoting."""
    return secrets.token_urlsafe(16)


def hash_password(algorithm: str, *, user: str, realm: str, password: str) -> str:
    """Return the line of a password file that lets ``user`` in.

    ``apache_md5_digest`` gives ``user:realm:MD5`` as ``htdigest(1)`` does (RFC 7616, A1), and
    ``bcrypt`` gives ``user:$2y$…`` as ``htpasswd(1)`` does. ``jupyter`` gives what
    ``jupyter_server.auth.passwd`` does, ``argon2:$argon2id$…`` without a user, with the first of
    the settings that OWASP's Password Storage Cheat Sheet recommends: Jupyter checks passwords in
    its only thread, which dearer ones would let anybody hold up who has none.

    Raises:
        JobctlError: the password is empty or can't be hashed, or the algorithm is unknown.
    """
    if not password:
        raise JobctlError("the password is empty; give one, or use --generate-password")
    if _UNSENDABLE.search(password):
        raise JobctlError(
            "the password has a line break, a NUL or what is no text in it, which clients can't "
            "send; choose another"
        )
    if algorithm == "apache_md5_digest":
        # Not passlib's, which takes no more than 4096 characters.
        a1 = f"{user}:{realm}:{password}".encode()
        return f"{user}:{realm}:{hashlib.md5(a1, usedforsecurity=False).hexdigest()}"
    if algorithm == "bcrypt":
        if len(password.encode()) > 72:
            raise JobctlError(
                "bcrypt uses 72 bytes of a password and this one is longer; choose a shorter one"
            )
        from passlib.hash import bcrypt

        hashed = bcrypt.using(rounds=BCRYPT_COST, ident="2y").hash(password)
        return f"{user}:{hashed}"
    if algorithm == "jupyter":
        from argon2 import PasswordHasher

        hasher = PasswordHasher(
            memory_cost=ARGON2_MEMORY_KIB, time_cost=ARGON2_PASSES, parallelism=1
        )
        return _JUPYTER + hasher.hash(password)
    raise JobctlError(
        f'unknown hash_algorithm "{algorithm}"; expected apache_md5_digest, bcrypt or jupyter'
    )


def check_line(algorithm: str, line: str, *, user: str, realm: str) -> str:
    """Return a hash that somebody made elsewhere as the line of a password file.

    Both the line and the bare hash are taken; the bare one is for ``user``.

    Raises:
        JobctlError: it is no hash of that algorithm, or for another realm. The message does not
            repeat it.
    """
    if algorithm == "jupyter":
        return _check_jupyter(line.strip())
    *owner, hashed = line.strip().split(":")
    if owner and _USER.fullmatch(owner[0]) is None:
        raise JobctlError(
            "the password hash has no user name, or one that can't be, before it; give USER:HASH"
        )
    if algorithm == "apache_md5_digest":
        if _MD5.fullmatch(hashed) is None or len(owner) not in (0, 2):
            raise JobctlError(
                "the password hash is no line of htdigest: expected USER:REALM:MD5 or the MD5"
            )
        if owner and owner[1] != realm:
            # Somebody who mixed the parts up has put the hash there.
            other = "another realm" if _MD5.fullmatch(owner[1]) else f'the realm "{owner[1]}"'
            raise JobctlError(
                f'the password hash is for {other}, the app asks for "{realm}"; '
                "set the realm in the app's section or hash the password for that realm"
            )
        return f"{owner[0] if owner else user}:{realm}:{hashed}"
    if _BCRYPT.fullmatch(hashed) is None or len(owner) > 1:
        raise JobctlError(
            "the password hash is no line of htpasswd -B: expected USER:$2y$… or $2y$…"
        )
    return f"{owner[0] if owner else user}:{hashed}"


def _check_jupyter(line: str) -> str:
    if _ARGON2.fullmatch(line.removeprefix(_JUPYTER)) is None:
        raise JobctlError(
            "the password hash is none that Jupyter takes: expected argon2:$argon2id$…, which "
            "`jupyter server password` prints"
        )
    return _JUPYTER + line.removeprefix(_JUPYTER)


def user_of(line: str) -> str | None:
    """Return the user name in a line of a password file, ``None`` if that has none."""
    return None if line.startswith(_JUPYTER) else line.partition(":")[0]


def digest_a1(algorithm: str | None, line: str) -> str | None:
    """Return what digest authentication needs of a password; ``None`` for other algorithms."""
    return line.rpartition(":")[2] if algorithm == "apache_md5_digest" else None
