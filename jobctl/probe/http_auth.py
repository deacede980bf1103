"""Jobs that HTTP authentication protects: digest (RFC 7616) or basic (RFC 7617)."""

from __future__ import annotations

import base64
import hashlib
import http
import secrets
from collections.abc import Mapping
from urllib.request import parse_http_list, parse_keqv_list

from jobctl.probe.client import Client, NotReady, Secret, Target, Unprotected


def verify(client: Client, target: Target, secret: Secret) -> None:
    """Make sure that nobody gets in but who knows the password.

    Raises:
        NotReady: the answers are not yet what they should be.
        Unprotected: they will not be.
    """
    challenge = _refused(client, {}, "without a password")
    wrong = _authorization(target, Secret(password=secrets.token_urlsafe(16)), challenge)
    challenge = _refused(client, wrong, "with a wrong password")
    if secret.password is None and secret.digest_a1 is None:
        return
    right = client.get(target.path, **_authorization(target, secret, challenge))
    if "stale=true" in right.header("WWW-Authenticate").lower():
        # The nonce was not taken, whatever the password (RFC 7616, 3.3).
        raise NotReady("the challenge was outdated when it was answered")
    if right.status == http.HTTPStatus.UNAUTHORIZED:
        raise Unprotected(
            "the right password is refused; the password file is not the job's; launch it anew"
        )
    if right.failed:
        raise NotReady.answered(target.path, right.status)


def _refused(client: Client, authorization: Mapping[str, str], how: str) -> str:
    """Return the challenge with which a request is turned away."""
    target = client.target
    answer = client.get(target.path, **authorization)
    status, challenge = answer.status, answer.header("WWW-Authenticate")
    if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        raise NotReady.answered(target.path, status)
    if status != http.HTTPStatus.UNAUTHORIZED:
        raise Unprotected(
            f"the app is open: GET {target.path} {how} answers {status} instead of 401; have it "
            "ask for the password"
        )
    if not challenge.lower().startswith(f"{target.auth} "):
        raise Unprotected(f'expected {target.auth} authentication, got "{challenge}"')
    return challenge


def _authorization(target: Target, secret: Secret, challenge: str) -> dict[str, str]:
    if target.auth == "basic":
        pair = f"{target.user}:{secret.password}".encode()
        return {"Authorization": "Basic " + base64.b64encode(pair).decode()}
    return {"Authorization": digest_authorization(target, secret, challenge)}


def digest_authorization(target: Target, secret: Secret, challenge: str) -> str:
    """Return the header that answers a digest challenge (RFC 7616, 3.4; MD5 with qop=auth).

    Raises:
        Unprotected: the challenge makes no sense.
    """
    try:
        given = parse_keqv_list(parse_http_list(challenge.partition(" ")[2]))
        realm, nonce = given["realm"], given["nonce"]
    except (ValueError, KeyError):
        raise Unprotected(
            f'the challenge "{challenge}" is none that a client can answer; see what has the '
            "port: jobctl doctor"
        ) from None
    a1 = secret.digest_a1 or _md5(f"{target.user}:{realm}:{secret.password}")
    a2 = _md5(f"GET:{target.path}")
    client_nonce = secrets.token_hex(8)
    response = _md5(f"{a1}:{nonce}:00000001:{client_nonce}:auth:{a2}")
    return (
        f'Digest username="{target.user}", realm="{realm}", nonce="{nonce}", '
        f'uri="{target.path}", algorithm=MD5, qop=auth, nc=00000001, cnonce="{client_nonce}", '
        f'response="{response}"'
    )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
