"""Launching a job: port and claim, certificate, password, configuration, start, verification."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from jobctl import certs, containers, gateway, hosts, jobfiles, passwords, probe
from jobctl.apps import App
from jobctl.config import Section
from jobctl.engines.base import Bind
from jobctl.errors import ClaimLost, JobctlError
from jobctl.job import Job, Status, job_id_of, to_dict
from jobctl.ledger import Ledger
from jobctl.locks import Busy
from jobctl.orders import Order

LOG_LINES = 10


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One app about to be launched; ``password_line`` is what its password file will hold."""

    ledger: Ledger
    app: App
    section: Section
    order: Order
    owner: str
    bind_address: str
    password_line: str | None = field(repr=False)
    secret: probe.Secret = field(repr=False)
    report: Callable[[str], None]

    def run(self, ports: Iterator[int]) -> Job:
        """Launch on the first port that nobody else holds, and verify.

        Raises:
            JobctlError: it failed, and nothing of it is left.
        """
        return self._on_first_free(ports, intent="run", launch=True)

    def register(self, ports: Iterator[int]) -> Job:
        """Do all of the above but start and verify: the job keeps its port until it is launched."""
        return self._on_first_free(ports, intent="register", launch=False)

    def _on_first_free(self, ports: Iterator[int], *, intent: str, launch: bool) -> Job:
        for port in ports:
            with suppress(ClaimLost, Busy):
                return self._on(port, intent=intent, launch=launch)
        raise AssertionError("ports end with an error")

    def _on(self, port: int, *, intent: str, launch: bool) -> Job:
        ledger = self.ledger
        with ledger.locks.held(port, timeout=0), ExitStack() as undo:
            job = self._record(port, intent)
            # One undo for all steps, since it is also what the next command does after a kill.
            undo.callback(ledger.erase, job.job_id)
            job, settings = self._prepare(job)
            self.report(f"claiming port {port}")
            job = self._claim(job, settings)
            if launch:
                job = start(ledger, job, self.section, self.secret, self.report)
            job = job.with_(intent=None)
            ledger.registry.put(job)
            undo.pop_all()
            return job

    def _record(self, port: int, intent: str) -> Job:
        """Write the record before anything exists that it speaks of."""
        host = hosts.names()[-1]
        loopback = self.bind_address in ("127.0.0.1", "::1")
        job = Job(
            job_id=job_id_of(port),
            app=self.app.name,
            port=str(port),
            protocol=self.section.protocol,
            host=hosts.names()[0],
            owner=self.owner,
            job_root=self.ledger.job_root,
            app_path=self.section.server_path,
            password_hash=self.password_line,
            hash_algorithm=self.section.hash_algorithm if self.password_line else None,
            status=Status.REGISTERED,
            creation_timestamp=int(time.time()),
            url=f"{self.section.protocol}://{'localhost' if loopback else host}:{port}/",
            bind_address=self.bind_address,
            engine=self.ledger.engine.name,
            image=containers.image_of(self.app.name, self.section),
            relaxed=containers.relaxed(self.section),
            intent=intent,
        )
        with self.ledger.registry.edit() as jobs:
            if job.job_id in jobs:
                raise ClaimLost(f"you have {job.job_id} on record already")
            jobs[job.job_id] = job
        return job

    def _prepare(self, job: Job) -> tuple[Job, containers.Settings]:
        """Write the job's files."""
        section, directory = self.section, self.ledger.directory
        seen = module_view(job, self.order.args, section)
        self.report("making the certificate")
        self.app.gen_cert(seen, self.password_line)
        certificate = directory / f"{job.job_id}.crt"
        if not certificate.exists():
            # A module may leave TLS to others; the job still needs a certificate of its own.
            from jobctl import helpers

            helpers.gen_cert(seen, self.password_line)
        job = job.with_(tls_fingerprint=certs.fingerprint(certificate.read_bytes()))
        secrets = [str(certificate.with_suffix(".key")), str(certificate)]
        if self.password_line:
            password_file = directory / f"{job.job_id}_htpasswd"
            jobfiles.write_private(password_file, f"{self.password_line}\n".encode())
            secrets.append(str(password_file))
        job = job.with_(config=self.app.gen_config(module_view(job, self.order.args, section)))
        if section.secured_by == "gateway":
            self._write_gateway_config(job, secrets)
        command = self.app.get_launch_cmd(module_view(job, self.order.args, section))
        uid = containers.run_uid(os.getuid())
        jobfiles.hand_over(directory, job.job_id, uid)
        binds = [*self._working_directory(), *self.order.mounts]
        return job, containers.Settings(
            section=section,
            user=f"{uid}:{os.getgid() or uid}",
            network=self.ledger.engine.ensure_network(containers.NETWORK),
            command=command,
            files=[job.config] if job.config else [],
            secrets=secrets,
            binds=binds,
            masks=containers.shield(binds, state=directory, socket=self.ledger.engine.local_socket),
            working_dir=str(self.order.directory) if section.mount_cwd else None,
        )

    def _working_directory(self) -> list[Bind]:
        where, how = str(self.order.directory), self.section.mount_cwd
        return [Bind(source=where, target=where, read_only=how == "ro")] if how else []

    def _write_gateway_config(self, job: Job, secrets: Sequence[str]) -> None:
        key, certificate, *password_file = secrets
        settings = gateway.Gateway(
            certificate=certificate,
            private_key=key,
            password_file=password_file[0] if password_file else None,
            auth=auth_of(job),
            realm=self.section.realm or self.app.name,
            app_port=self.section.app_port,
        )
        jobfiles.write_private(
            gateway_config(self.ledger, job), gateway.render_config(settings).encode()
        )

    def _claim(self, job: Job, settings: containers.Settings) -> Job:
        """Create the containers. The first one's name is unique on the engine: it is the claim."""
        engine = self.ledger.engine
        with _signals_held():
            if self.section.secured_by == "app":
                ids = [engine.create(containers.app_spec(job, settings, joins=None))]
            else:
                config = str(gateway_config(self.ledger, job))
                first = engine.create(containers.gateway_spec(job, settings, config))
                ids = [first, engine.create(containers.app_spec(job, settings, joins=first))]
        return job.with_(container_ids=ids)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Let Ctrl-C wait for the few milliseconds in which the engine makes what we can't name yet.

    A request that is cut off is carried out all the same, and the undo would look too early.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start(
    ledger: Ledger,
    job: Job,
    section: Section,
    secret: probe.Secret,
    report: Callable[[str], None],
) -> Job:
    """Start a job's containers in order, verify the job, return it as launched.

    The caller holds the job's lock, and records what is returned.

    Raises:
        ClaimLost: the port is bound by somebody else.
        JobctlError: the job did not become ready, or is not protected.
    """
    job = job.with_(status=Status.LAUNCHING)
    ledger.registry.put(job, durable=False)
    restarts = {one: _restarts(ledger, one) for one in job.container_ids}
    report("starting")
    for container in job.container_ids:
        ledger.engine.start(container)
    report("verifying")
    try:
        _verify(ledger, job, section, secret, lambda: _check_running(ledger, job, restarts))
    except JobctlError as error:
        raise type(error)(f"{error}{last_lines(ledger, job)}") from error
    condition = ledger.engine.condition(job.container_ids[-1])
    if condition is None:
        raise JobctlError(f"{job.job_id} was removed while it was being launched")
    pid = condition.pid
    if pid and ledger.engine.local_socket:
        pid = hosts.first_child(pid) or pid  # the engine's own init is the parent of the app
    return job.with_(status=Status.LAUNCHED, pid=pid, restarts=condition.restarts, exit_code=None)


def _verify(
    ledger: Ledger,
    job: Job,
    section: Section,
    secret: probe.Secret,
    check: Callable[[], None],
) -> None:
    trusted = [ledger.directory / "ca.crt", ledger.directory / f"{job.job_id}.crt"]
    target = probe.Target(
        address=probe.connect_address(job.bind_address),
        port=int(job.port),
        trusted="".join(path.read_text() for path in trusted if path.exists()),
        fingerprint=job.tls_fingerprint or "",
        auth=auth_of(job),
        user=passwords.user_of(job.password_hash or ""),
        path=section.ready_path,
    )
    probe.wait(target, secret, timeout=section.launch_timeout, check=check)


def _restarts(ledger: Ledger, container: str) -> int:
    condition = ledger.engine.condition(container)
    return condition.restarts if condition else 0


def _check_running(ledger: Ledger, job: Job, restarts: Mapping[str, int]) -> None:
    """Raise if one of a job's containers has ended, be it that the engine restarted it since."""
    for container, before in restarts.items():
        now = ledger.engine.condition(container)
        if now is None:
            raise JobctlError(f"{job.job_id}: its container was removed")
        if now.state != "running" or now.restarts > before:
            memory = ", out of memory" if now.out_of_memory else ""
            raise JobctlError(f"{job.app} exited ({now.exit_code}{memory}) while starting")


def last_lines(ledger: Ledger, job: Job) -> str:
    """Return the end of the log of a job's app, as the end of an error message."""
    try:
        log = b"".join(ledger.engine.logs(job.container_ids[-1], tail=LOG_LINES))
    except JobctlError:
        return ""
    text = log.decode(errors="replace").strip()
    return f"\nthe last lines of its log:\n{text}" if text else "\nits log is empty"


def module_view(job: Job, args: Sequence[str], section: Section) -> Mapping[str, object]:
    """Return a job as app modules see it."""
    return to_dict(job) | {
        "args": list(args),
        "app_port": section.app_port,
        "options": dict(section.options),
    }


def auth_of(job: Job) -> gateway.Auth | None:
    """Return the HTTP authentication scheme that goes with a job's password file."""
    schemes: dict[str | None, gateway.Auth] = {"apache_md5_digest": "digest", "bcrypt": "basic"}
    return schemes.get(job.hash_algorithm) if job.password_hash else None


def gateway_config(ledger: Ledger, job: Job) -> Path:
    """Return the path of the gateway's configuration."""
    return ledger.directory / f"{job.job_id}_gateway.conf"
