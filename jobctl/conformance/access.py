"""Who gets in through the job's port: nobody without the password, and nobody without TLS."""

from __future__ import annotations

import http.client
from dataclasses import replace
from urllib.parse import urljoin, urlsplit

from jobctl import probe
from jobctl.conformance.trial import Failed, Trial, Unknown
from jobctl.probe.client import Answer, Client

TIMEOUT_S = 5
MOST_REDIRECTS = 5
# Of the kinds at which rules for single paths go wrong.
PATHS = ("/", "/no-such-page", "/no/../../such//page", "//")
# What has no path, or a body; apps may answer some of it to anybody, a gateway may not.
OTHER_REQUESTS = (("OPTIONS", "*"), ("CONNECT", "127.0.0.1:80"), ("POST", "/"), ("HEAD", "/"))
# RFC 6455, 4.1, with the key of its example.
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def password(trial: Trial) -> str:
    """Make sure that requests without and with a wrong password are refused, on several paths."""
    if trial.job.password_hash is None:
        raise Failed(
            f"opt-out require_password: false: it is open on purpose, bound to "
            f"{trial.job.bind_address}, where every user of this host gets in"
        )
    paths = _paths(trial)
    for path in paths:
        _check_refusal(trial, path)
    if trial.behind_gateway:
        client = Client(trial.target, TIMEOUT_S)
        for method, path in OTHER_REQUESTS:
            status = client.send(method, path, {}).status
            if status != http.HTTPStatus.UNAUTHORIZED:
                raise Failed(
                    f"the gateway answers {method} {path} without a password with {status} instead "
                    "of 401; jobctl made its configuration: report that as a bug"
                )
    return f"refused without and with a wrong one on {' '.join(paths)}"


def websocket(trial: Trial) -> str:
    """Make sure that a request to go on as a WebSocket is refused like any other."""
    if trial.job.password_hash is None:
        raise Unknown("not checked: it has no password")
    client = Client(trial.target, TIMEOUT_S)
    seen = []
    for path in _paths(trial):
        status = client.get(path, **UPGRADE).status
        opened = status == http.HTTPStatus.SWITCHING_PROTOCOLS
        if opened or (trial.behind_gateway and status != http.HTTPStatus.UNAUTHORIZED):
            raise Failed(
                f"without a password, a request to open a WebSocket at {path} is answered with "
                f"{status}; the app has to ask for the password before it looks at the request"
            )
        seen.append(status)
    return f"answered with {' '.join(map(str, dict.fromkeys(seen)))}"


def plain_http(trial: Trial) -> str:
    """Make sure that the port gives nothing away to whom would not notice an eavesdropper."""
    target = trial.target
    connection = http.client.HTTPConnection(target.address, target.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", target.path)
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException):
        return "no answer"
    finally:
        connection.close()
    led_to_tls = 300 <= answer.status < 400 and answer.headers.get("Location", "").startswith(
        "https:"
    )
    told_off = answer.status in (http.HTTPStatus.BAD_REQUEST, http.HTTPStatus.UPGRADE_REQUIRED)
    if led_to_tls or told_off:
        return f"answered with {answer.status}"
    raise Failed(
        f"GET {target.path} over plain HTTP is answered with {answer.status}; the app has to speak "
        "TLS alone on its port, or leave that to the gateway (secured_by: gateway)"
    )


def _paths(trial: Trial) -> list[str]:
    return list(dict.fromkeys([*PATHS, trial.job.ready_path]))


def _check_refusal(trial: Trial, path: str) -> None:
    """Raise if a path lets in somebody who does not know the password.

    An app that checks the password itself may say of a path that there is nothing, or lead on
    from it, before it asks for the password.
    """
    target = trial.target
    if not trial.behind_gateway:
        path, answer = _follow(Client(target, TIMEOUT_S), path)
        if answer.failed and not answer.refused:
            return
    probe.verify(replace(target, path=path), probe.Secret(), timeout=TIMEOUT_S)


def _follow(client: Client, path: str) -> tuple[str, Answer]:
    """Follow redirects within the app, up to its login form; return the last path asked for."""
    here = f"{client.target.address}:{client.target.port}"
    answer = client.get(path)
    for _ in range(MOST_REDIRECTS):
        to = urlsplit(urljoin(f"https://{here}{path}", answer.location))
        if not answer.location or to.netloc != here or to.path == client.target.login_path:
            break
        path = to._replace(scheme="", netloc="").geturl() or "/"
        answer = client.get(path)
    return path, answer
