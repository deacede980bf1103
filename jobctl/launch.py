"""Launching a job: record, files, claim of the port, start. Undone as a whole when a step fails."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from jobctl import certs, containers, gateway, helpers, hosts, jobfiles, probe, startup
from jobctl.apps import App
from jobctl.engines.base import Bind
from jobctl.errors import ClaimLost, JobctlError
from jobctl.job import Job, Status, job_id_of, to_dict
from jobctl.ledger import Ledger
from jobctl.locks import Busy
from jobctl.orders import Order
from jobctl.placeholders import fill, fill_command
from jobctl.schema import Section


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One app about to be launched; ``password_line`` is what its password file will hold."""

    ledger: Ledger
    app: App
    order: Order
    owner: str
    bind_address: str
    password_line: str | None = field(repr=False)
    secret: probe.Secret = field(repr=False)
    report: Callable[[str], None]

    @property
    def section(self) -> Section:
        return self.app.section

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
            job = self._prepare(job)
            self.report(f"claiming port {port}")
            job = self._claim(job, self._settings(job))
            if launch:
                timeout = self.section.launch_timeout
                job = startup.start(ledger, job, self.secret, timeout=timeout, report=self.report)
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
            ready_path=self.section.ready_path,
            login_path=self.section.login_path if self.password_line else None,
            relaxed=containers.relaxed(self.section),
            intent=intent,
        )
        with self.ledger.registry.edit() as jobs:
            if job.job_id in jobs:
                raise ClaimLost(f"you have {job.job_id} on record already")
            jobs[job.job_id] = job
        return job

    def _prepare(self, job: Job) -> Job:
        """Write the job's files: certificate, password, the configurations of app and gateway."""
        self.report("making the certificate")
        job = self._write_certificate(job)
        if self.password_line:
            jobfiles.write_private(self._file(job, "_htpasswd"), f"{self.password_line}\n".encode())
        job = job.with_(config=self.app.gen_config(self._seen(job)))
        if self.section.secured_by == "gateway":
            self._write_gateway_config(job)
        jobfiles.hand_over(self.ledger.directory, job.job_id, containers.run_uid(os.getuid()))
        return job

    def _write_certificate(self, job: Job) -> Job:
        self.app.gen_cert(self._seen(job), self.password_line)
        certificate = self._file(job, ".crt")
        if not certificate.exists():
            # A module may leave TLS to others; the job still needs a certificate of its own.
            helpers.gen_cert(self._seen(job), self.password_line)
        return job.with_(tls_fingerprint=certs.fingerprint(certificate.read_bytes()))

    def _write_gateway_config(self, job: Job) -> None:
        settings = gateway.Gateway(
            certificate=str(self._file(job, ".crt")),
            private_key=str(self._file(job, ".key")),
            password_file=str(self._file(job, "_htpasswd")) if self.password_line else None,
            auth=startup.auth_of(job),
            realm=self.section.realm or self.app.name,
            app_port=self._app_port(job),
        )
        jobfiles.write_private(
            self._file(job, "_gateway.conf"), gateway.render_config(settings).encode()
        )

    def _settings(self, job: Job) -> containers.Settings:
        engine, section, values = self.ledger.engine, self.section, self._values(job)
        uid = containers.run_uid(os.getuid())
        user = f"{uid}:{os.getgid() or uid}"
        if (job.config or section.secured_by == "app") and section.user is not None:
            self._check_reader(containers.user_of(section, default=user), uid)
        command = self.app.get_launch_cmd(self._seen(job))
        binds = self._binds(values)
        secrets = [".key", ".crt", *(["_htpasswd"] if self.password_line else [])]
        if section.secured_by == "app":
            secrets.append(".pem")
        return containers.Settings(
            section=section,
            app_port=self._app_port(job),
            user=user,
            network=engine.ensure_network(containers.NETWORK),
            command=self._args if command is None else command,
            entrypoint=command is None,
            env=self._env(values),
            healthcheck=[fill(word, values) for word in section.healthcheck or ()],
            files=[job.config] if job.config else [],
            secrets=[str(self._file(job, suffix)) for suffix in secrets],
            binds=binds,
            masks=containers.shield(binds, state=self.ledger.directory, socket=engine.local_socket),
            working_dir=str(self.order.directory) if section.mount_cwd else None,
        )

    def _binds(self, values: Mapping[str, str]) -> list[Bind]:
        where, how = str(self.order.directory), self.section.mount_cwd
        own = [Bind(source=where, target=where, read_only=how == "ro")] if how else []
        mounts = [containers.parse_mount(fill(text, values)) for text in self.section.mounts]
        return [*own, *mounts, *self.order.mounts]

    def _env(self, values: Mapping[str, str]) -> dict[str, str]:
        own = {name: fill(str(value), values) for name, value in self.section.env.items()}
        return {**own, **self.order.env}

    def _check_reader(self, user: str, owner: int) -> None:
        """Make sure that an app that has files to read is the user that they belong to."""
        if user.partition(":")[0] != str(owner):
            raise JobctlError(
                f"apps.{self.app.name}.user: as {user}, the app can't read its configuration and "
                f"key, which belong to uid {owner} alone; leave user out"
            )

    def _file(self, job: Job, suffix: str) -> Path:
        return self.ledger.directory / (job.job_id + suffix)

    def _seen(self, job: Job) -> Mapping[str, object]:
        """Return a job as app modules see it."""
        command = self.section.command
        return to_dict(job) | {
            "args": self._args,
            "app_port": self._app_port(job),
            "directory": str(self.order.directory),
            "command": command and fill_command(command, self._values(job), self._args),
            "options": dict(self.section.options),
        }

    @property
    def _args(self) -> list[str]:
        return list(self.order.args or self.section.args)

    def _app_port(self, job: Job) -> int:
        """Return the port on which the app has to listen."""
        return self.section.app_port or int(job.port)

    def _values(self, job: Job) -> Mapping[str, str]:
        """Return what placeholders stand for."""
        return {
            "port": str(self._app_port(job)),
            "host_port": job.port,
            "job_id": job.job_id,
            "job_root": job.job_root,
            "owner": job.owner,
            "url": job.url,
            "directory": str(self.order.directory),
        }

    def _claim(self, job: Job, settings: containers.Settings) -> Job:
        """Create the containers. The first one's name is unique on the engine: it is the claim."""
        engine = self.ledger.engine
        with _signals_held():
            if self.section.secured_by == "app":
                ids = [engine.create(containers.app_spec(job, settings, joins=None))]
            else:
                config = str(self._file(job, "_gateway.conf"))
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
