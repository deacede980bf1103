"""What adapters of engines that speak Docker's API share: its client, its errors as jobctl's."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import docker
import requests
import urllib3
from docker.errors import APIError, DockerException

from jobctl.errors import EngineRefused, EngineUnreachable, JobctlError

P = ParamSpec("P")
R = TypeVar("R")

# The engine answers most requests in milliseconds; this is for one that hangs.
REQUEST_TIMEOUT_S = 60
CONNECTIONS = 34
"""How many are kept; of those that more threads open, its library warns on standard error."""
_IN_WORDS: dict[type[BaseException], str] = {
    http.client.RemoteDisconnected: "it hung up",
    http.client.IncompleteRead: "its answer broke off",
    urllib3.exceptions.IncompleteRead: "its answer broke off",
    requests.exceptions.JSONDecodeError: "its answer broke off",
}


def translated(method: Callable[P, R]) -> Callable[P, R]:
    """Turn the SDK's errors into jobctl's."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with translating():
            return method(*args, **kwargs)

    return call


@contextmanager
def translating() -> Iterator[None]:
    """Turn the SDK's errors in a block into jobctl's."""
    try:
        yield
    except APIError as error:
        raise EngineRefused(
            f"the engine refused: {error.explanation or error}; see its log, or: jobctl doctor"
        ) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise EngineUnreachable(
            f"the engine did not answer: {reason(error)}; if it is being restarted, try again in "
            "a moment"
        ) from error


def reason(error: BaseException) -> str:
    """Return what happened in words; the SDK and its libraries wrap it in exceptions of theirs."""
    innermost: BaseException | None = error
    while innermost is not None:
        for kind, words in _IN_WORDS.items():
            if isinstance(innermost, kind):
                return words
        if isinstance(innermost, OSError) and innermost.strerror:
            return innermost.strerror
        innermost = innermost.__cause__ or innermost.__context__
    return str(error)


def connected(
    endpoint: str,
    tls: Any = False,
    *,
    version: str = "auto",
    called: str | None = None,
    patience: int | None = None,
) -> docker.APIClient:
    """Connect to ``endpoint`` (``unix://`` or ``tcp://``), agreeing on a version of the API.

    With a ``version`` nothing is asked yet. It is ``called`` otherwise in messages if it only leads
    to what is meant. Each request may take so many seconds as there is ``patience``.

    Raises:
        EngineUnreachable: nothing answers there.
    """
    try:
        client = docker.APIClient(
            base_url=endpoint,
            tls=tls,
            version=version,
            timeout=patience or REQUEST_TIMEOUT_S,
            max_pool_size=CONNECTIONS,
        )
    except (DockerException, requests.RequestException, OSError) as error:
        raise EngineUnreachable(f"{called or endpoint} ({reason(error)})") from error
    if endpoint.startswith("tcp://"):  # where the SDK does not look at what it is told
        for scheme in ("http://", "https://"):
            client.get_adapter(scheme).close()
            client.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=CONNECTIONS))
    return client


def chunks(answer: Iterable[bytes]) -> Iterator[bytes]:
    """Yield an answer in pieces, which may break off in the middle."""
    with translating():
        yield from answer


def build_lines(answers: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines that a builder writes.

    Raises:
        JobctlError: it says that it failed.
    """
    error = None
    with translating():
        # Read to the end even after an error, which gives the connection back.
        for answer in answers:
            error = answer.get("error", error)
            yield from str(answer.get("stream", "")).splitlines()
    if error is not None:
        raise JobctlError(f"the build failed: {error}; see what it wrote")
