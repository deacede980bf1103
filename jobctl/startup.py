"""Starting a job's containers in order, and verifying the job before it counts as running."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import urlsplit

from jobctl import exposure, gateway, passwords, probe
from jobctl.containers import BYPASS
from jobctl.engines.base import Condition
from jobctl.errors import ClaimLost, EngineRefused, EngineUnreachable, JobctlError
from jobctl.job import MASK, Job, Status
from jobctl.ledger import Ledger
from jobctl.observation import in_order, main_pid, placed
from jobctl.progress import Report, Step

LOG_LINES = 10
CLUSTER_CHECK_S = 0.25


def going_on() -> None:
    """Let a start go on: the checkpoint of those that nobody stops."""


def start(
    ledger: Ledger,
    job: Job,
    secret: probe.Secret,
    *,
    timeout: float,
    report: Report,
    checkpoint: Callable[[], None] = going_on,
) -> Job:
    """Start a job's containers in order, verify the job, return it as launched.

    It has ``timeout`` seconds to become ready; ``checkpoint`` is called between steps and while
    it is waited for, and may raise. The caller holds the job's lock, and records what
    is returned.

    Raises:
        ClaimLost: the port is bound by somebody else.
        JobctlError: the job did not become ready, or is not protected.
    """
    job = job.with_(status=Status.LAUNCHING)
    ledger.registry.put(job, durable=False)
    new = job.intent == "run"
    restarts = {one: 0 if new else _restarts(ledger, one) for one in job.container_ids}
    cluster = ledger.engine.traits.cluster
    report(Step("starting", depth=1))
    for container in job.container_ids:
        ledger.engine.start(container)
        checkpoint()
    job = placed(job, ledger.containers(job.job_id)[job.job_id]) if cluster else job
    report(Step("verifying", depth=1))
    try:
        look = partial(_check_running, ledger, job, restarts, checkpoint)
        check = _seldom(look) if cluster else look
        waiting = _Waiting(job.app, report)
        probe.wait(
            target(ledger, job),
            secret,
            timeout=timeout,
            check=check,
            listens=_listener(ledger, job),
            waiting=waiting,
        )
        condition = ledger.engine.condition(job.container_ids[-1])
        if BYPASS not in job.relaxed and (found := open_ports(ledger, job, condition)):
            raise probe.Unprotected(way_past(job, found))
    except (EngineUnreachable, EngineRefused):
        raise  # of which the job's log knows nothing
    except _GatewayEnded as error:
        raise JobctlError(f"{error}{last_lines(ledger, job, job.container_ids[0])}") from error
    except JobctlError as error:
        raise type(error)(f"{error}{last_lines(ledger, job, job.container_ids[-1])}") from error
    containers = in_order(ledger.containers(job.job_id)[job.job_id])
    if condition is None or not containers:
        raise JobctlError(f"{job.job_id} was removed while it was being launched; launch it anew")
    return job.with_(
        status=Status.LAUNCHED,
        reason=None,
        pid=main_pid(ledger.engine, condition),
        restarts=condition.restarts,
        exit_code=None,
        ended_at=None,
        endpoint_id=containers[0].endpoint,
    )


class _Waiting:
    """Tells what a launch waits for, each thing once: a log need not have it over and over."""

    def __init__(self, app: str, report: Report) -> None:
        self._app, self._report = app, report
        self._told: set[str] = set()

    def __call__(self, seen: str) -> None:
        # Whoever watches gets to see the last thing.
        passing = seen in self._told
        self._told.add(seen)
        self._report(Step(f"waiting for {self._app}: {seen}", depth=2, passing=passing))


def target(ledger: Ledger, job: Job) -> probe.Target:
    """Return how a job is verified."""
    address, port = ledger.engine.answers_at(job.bind_address, int(job.port))
    trusted = [ledger.directory / "ca.crt", ledger.directory / f"{job.job_id}.crt"]
    return probe.Target(
        address=_address_of_node(ledger, job) or address,
        port=port,
        published=int(job.port),
        trusted="".join(path.read_text("ascii", "replace") for path in trusted if path.exists()),
        fingerprint=job.tls_fingerprint or "",
        auth=auth_of(job),
        user=passwords.user_of(job.password_hash or "") or "",
        path=job.ready_path,
        login_path=job.login_path,
    )


def _address_of_node(ledger: Ledger, job: Job) -> str | None:
    """Return where a job of a cluster answers: on the one of its hosts that runs it."""
    return urlsplit(job.url).hostname if ledger.engine.traits.cluster else None


def open_ports(ledger: Ledger, job: Job, condition: Condition | None = None) -> set[int] | None:
    """Return the ports at which others than its clients get to a job, from this host at least.

    ``condition`` is how the app's container is doing, if that is known already. ``None``: it can't
    be told from here.
    """
    engine = ledger.engine
    condition = condition or engine.condition(job.container_ids[-1])
    if condition is None:
        return None
    own = gateway.own_port(job.app_port or 0) if len(job.container_ids) > 1 else int(job.port)
    if engine.local_socket and condition.pid and exposure.listening(condition.pid) == {own}:
        return set()  # as is nearly always so, and needs no further request
    details = [found for one in job.container_ids if (found := engine.details(one))]
    addresses = [address for one in details for address in one.addresses]
    if engine.local_socket is None:
        suspects = [job.app_port] if job.app_port else []
        return exposure.open_there(addresses, suspects, engine.connects)
    return exposure.open_ports(
        addresses,
        pid=condition.pid,
        suspects=[job.app_port] if job.app_port else [],
        own={published.container_port for one in details for published in one.publishes},
    )


def way_past(job: Job, ports: set[int]) -> str:
    """Return in words that a job can be reached at ``ports``, and what to do about it."""
    words = ", ".join(map(str, sorted(ports)))
    return (
        f"whoever is on this host gets to port {words} of {job.app} without TLS and password, at "
        "the address of its container: it listens on all addresses; have it listen on 127.0.0.1 "
        "alone, as most do with an option such as --host, --bind or --address, or take the risk "
        "with allow_bypass: true in its section"
    )


def _listener(ledger: Ledger, job: Job) -> Callable[[], bool | None]:
    """Return what tells whether a job's app listens, as far as that can be seen from here."""
    engine, owner = ledger.engine, job.container_ids[0]
    here = engine.local_socket and not engine.traits.cluster
    condition = engine.condition(owner) if here else None
    port = job.app_port if len(job.container_ids) > 1 else int(job.port)
    if condition is None or condition.pid is None or port is None:
        return lambda: None
    return partial(exposure.listens, condition.pid, port, container=owner)


def _restarts(ledger: Ledger, container: str) -> int:
    condition = ledger.engine.condition(container)
    return condition.restarts if condition else 0


def _seldom(check: Callable[[], None]) -> Callable[[], None]:
    """Return what checks only now and then: of a cluster it takes several requests."""
    due = 0.0

    def now_and_then() -> None:
        nonlocal due
        if time.monotonic() >= due:
            check()
            due = time.monotonic() + CLUSTER_CHECK_S

    return now_and_then


def _check_running(
    ledger: Ledger,
    job: Job,
    restarts: Mapping[str, int],
    checkpoint: Callable[[], None],
) -> None:
    """Raise if one of a job's containers has ended, be it that the engine restarted it since."""
    checkpoint()
    for container, before in restarts.items():
        now = ledger.engine.condition(container)
        if now is None:
            raise JobctlError(f"{job.job_id}: its container was removed; start it again")
        if now.claim_lost:
            raise ClaimLost(f"the port is taken: {now.reason}; choose another --port")
        if now.reason:
            raise JobctlError(f"{job.app} was not started: {now.reason}")
        if now.state not in ("running", "starting") or now.restarts > before:
            code = f"{now.exit_code}, out of memory" if now.out_of_memory else str(now.exit_code)
            if container != job.container_ids[-1]:
                raise _GatewayEnded(
                    f"the gateway of {job.app} exited ({code}) while starting; see its log"
                )
            raise JobctlError(f"{job.app} exited ({code}) while starting; see its log")


class _GatewayEnded(JobctlError):
    """It is the gateway whose log says why a job did not start."""


def last_lines(ledger: Ledger, job: Job, container: str) -> str:
    """Return the end of a container's log, as the end of an error message.

    Such messages get into tickets, and some apps repeat their configuration: without the hash.
    """
    try:
        log = b"".join(ledger.engine.logs(container, tail=LOG_LINES))
    except JobctlError:
        return ""
    text = log.decode(errors="replace").strip()
    for secret in filter(None, [job.password_hash, (job.password_hash or "").rpartition(":")[2]]):
        text = text.replace(secret, MASK)
    return f"\nthe last lines of its log:\n{text}" if text else "\nits log is empty"


def auth_of(job: Job) -> gateway.Auth | None:
    """Return the HTTP authentication scheme that goes with a job's password file, if any does."""
    schemes: dict[str | None, gateway.Auth] = {"apache_md5_digest": "digest", "bcrypt": "basic"}
    return schemes.get(job.hash_algorithm) if job.password_hash else None
