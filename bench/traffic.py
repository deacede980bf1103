"""The gateway beside the app itself: requests a second, their latency, and the memory it takes.

wrk runs in the network namespace of the job, so that nothing but the gateway is in between.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import requests

from bench.pairs import Pair
from bench.place import PASSWORD, Place
from jobctl import gateway, passwords
from jobctl.job import Job

CONNECTIONS, SECONDS = 16, 4
MOST_MEMORY_MB = 12
Case = Callable[[Place], Iterator[Pair]]
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True)
class Load:
    """What wrk saw: requests a second, and the median of their latency in milliseconds."""

    rate: float
    latency: float


def gateways(there: Place) -> Iterator[Pair]:
    """Requests for one page of Conduit, through the gateway and past it, TLS kept alive."""
    with job_of(there, "apache_md5_digest") as digest, job_of(there, "bcrypt") as basic:
        through, direct = url_of(digest), f"http://127.0.0.1:{digest.app_port}/"
        header = authorization(digest)

        def rate(job: Job, url: str, connections: int = CONNECTIONS, **more: str) -> Load:
            return load(there.pid(job), url, connections=connections, **more)

        yield Pair(
            name=f"a request at {CONNECTIONS} connections",
            ours=lambda: 1000 / rate(digest, through, Authorization=header).rate,
            theirs=lambda: 1000 / rate(digest, direct).rate,
            most=1 / 0.7,
            unit="ms",
            runs=5,
        )
        alone = rate(digest, direct, 1).latency
        yield Pair(
            name="p50 at one connection, 1 ms added",
            ours=lambda: rate(digest, through, 1, Authorization=header).latency,
            theirs=lambda: rate(digest, direct, 1).latency,
            most=(alone + 1) / alone,
            unit="ms",
            runs=5,
        )
        secret = authorization(basic)
        yield Pair(
            name="a request with bcrypt, beside digest",
            ours=lambda: 1000 / rate(basic, url_of(basic), Authorization=secret).rate,
            theirs=lambda: 1000 / rate(digest, through, Authorization=header).rate,
            most=1.1,
            unit="ms",
            runs=5,
        )
        yield Pair(
            name=f"memory of a gateway, beside {MOST_MEMORY_MB} MB",
            ours=lambda: memory(there, digest),
            theirs=lambda: MOST_MEMORY_MB,
            most=1,
            unit="MB",
            runs=1,
        )


@contextmanager
def job_of(there: Place, algorithm: str) -> Iterator[Job]:
    """Yield a job of Conduit's with passwords hashed in a way."""
    job = there.broker.run(there.order("conduit", changes={"hash_algorithm": algorithm}))
    try:
        yield job
    finally:
        there.forget(job.job_id)


def url_of(job: Job) -> str:
    """Return where the gateway listens in the job's own network namespace."""
    return f"https://127.0.0.1:{gateway.own_port(job.app_port or 0)}/"


def memory(there: Place, job: Job) -> float:
    """Return the memory of a job's gateway, in MB."""
    (used,) = there.engine.usage(job.container_ids[:1]).values()
    return used.memory / 1e6


def authorization(job: Job) -> str:
    """Return the header that lets a client in, once: the gateway takes it for ten minutes."""
    user = passwords.user_of(job.password_hash or "") or ""
    if job.hash_algorithm == "bcrypt":
        return str(requests.auth._basic_auth_str(user, PASSWORD))
    asked = requests.get(job.url, verify=False, timeout=10).headers["WWW-Authenticate"]  # noqa: S501
    nonce = re.search('nonce="([^"]+)"', asked)
    assert nonce
    realm, client = (job.password_hash or "").split(":")[1], "0a4f113b"
    a1 = passwords.digest_a1(job.hash_algorithm or "", job.password_hash or "")
    a2 = hashlib.md5(b"GET:/", usedforsecurity=False).hexdigest()
    text = f"{a1}:{nonce[1]}:00000001:{client}:auth:{a2}"
    response = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    return (
        f'Digest username="{user}", realm="{realm}", nonce="{nonce[1]}", uri="/", qop=auth, '
        f'nc=00000001, cnonce="{client}", response="{response}"'
    )


def load(pid: int, url: str, *, connections: int, **headers: str) -> Load:
    """Ask for a page over and over, in the network namespace of a process.

    Raises:
        RuntimeError: there is no wrk, or not all answers were good.
    """
    if shutil.which("wrk") is None:
        raise RuntimeError("wrk is not installed; install it with: apt-get install wrk")
    words = ["nsenter", f"--net=/proc/{pid}/ns/net", "wrk", "--latency", f"-d{SECONDS}s", "-t1"]
    words += [f"-c{connections}"]
    for name, value in headers.items():
        words += ["-H", f"{name}: {value}"]
    said = subprocess.check_output([*words, url], text=True)
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"{url}: {said}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    median = re.search(r"50%\s+([\d.]+)(us|ms|s)", said)
    assert rate
    assert median
    return Load(float(rate[1]), float(median[1]) * _UNITS[median[2]])


CASES: dict[str, Case] = {"gateway": gateways}
