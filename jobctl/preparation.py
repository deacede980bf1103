"""What a job is made of before it starts: its files, and its containers, of its app and order.

Used by the launch, and by ``start`` where something of a job was lost. In which order a launch
goes, and what is undone, is for ``jobctl.launch``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from jobctl import certs, containers, farness, gateway, helpers, jobfiles, orders, startup
from jobctl.apps import App
from jobctl.engines.base import Bind, Node
from jobctl.errors import JobctlError
from jobctl.job import Job, to_dict
from jobctl.labels import app_name
from jobctl.ledger import Ledger
from jobctl.orders import Order
from jobctl.placeholders import fill, fill_command
from jobctl.schema import Section


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """One app, as somebody ordered it, about to get what its job needs."""

    ledger: Ledger
    app: App
    order: Order

    @property
    def section(self) -> Section:
        return self.app.section

    def write_files(self, job: Job) -> Job:
        """Write a job's files: certificate, password, the configurations of app and gateway."""
        jobfiles.write_private(self._file(job, "_order.json"), orders.dump(self.order))
        job = self._certified(job)
        if job.password_hash:
            jobfiles.write_private(self._file(job, "_htpasswd"), f"{job.password_hash}\n".encode())
        job = job.with_(config=self.app.gen_config(self._seen(job)))
        if self.section.secured_by == "gateway":
            self._write_gateway_config(job)
        self._hand_over(job)
        return job

    def renew_certificate(self, job: Job) -> Job:
        """Give a job a new key and certificate, which its containers have at their next start."""
        job = self._certified(job)
        self._hand_over(job)
        return job

    def create_containers(self, job: Job) -> Job:
        """Create the containers. The first one's name is unique on the engine: it is the claim.

        Raises:
            ClaimLost: somebody else has it.
        """
        engine, settings = self.ledger.engine, self._settings(job)
        with _signals_held():
            if self.section.secured_by == "app":
                ids = [engine.create(containers.app_spec(job, settings, joins=None))]
            else:
                config = str(self._file(job, "_gateway.conf"))
                first = engine.create(containers.gateway_spec(job, settings, config))
                ids = [first, engine.create(containers.app_spec(job, settings, joins=first))]
        return job.with_(container_ids=ids)

    def _certified(self, job: Job) -> Job:
        self.app.gen_cert(self._seen(job), job.password_hash)
        certificate = self._file(job, ".crt")
        if not certificate.exists():
            # A module may leave TLS to others; the job still needs a certificate of its own.
            helpers.gen_cert(self._seen(job), job.password_hash)
        return job.with_(tls_fingerprint=certs.fingerprint(certificate.read_bytes()))

    def _write_gateway_config(self, job: Job) -> None:
        settings = gateway.Gateway(
            certificate=str(self._file(job, ".crt")),
            private_key=str(self._file(job, ".key")),
            password_file=str(self._file(job, "_htpasswd")) if job.password_hash else None,
            auth=startup.auth_of(job),
            realm=self.section.realm or self.app.name,
            app_port=self._app_port(job),
            app_host=self._app_host(job),
        )
        jobfiles.write_private(
            self._file(job, "_gateway.conf"), gateway.render_config(settings).encode()
        )

    def _hand_over(self, job: Job) -> None:
        jobfiles.hand_over(self.ledger.directory, job.job_id, self._account.owner)

    @cached_property
    def _account(self) -> containers.Account:
        facts = self.ledger.facts
        if facts.remapped and not facts.rootless:
            raise JobctlError(
                "the engine maps the users of containers to others (userns-remap), who can't read "
                "the keys of yours; use an engine without that, or a rootless one of your own"
            )
        return containers.account(os.getuid(), os.getgid(), rootless=facts.rootless)

    def _settings(self, job: Job) -> containers.Settings:
        engine, section, values = self.ledger.engine, self.section, self._values(job)
        user = self._account.user
        if (job.config or section.secured_by == "app") and section.user is not None:
            self._check_reader(containers.user_of(section, default=user), user)
        command = self.app.get_launch_cmd(self._seen(job))
        binds = self._binds(values)
        secrets = [".key", ".crt", *(["_htpasswd"] if job.password_hash else [])]
        if section.secured_by == "app":
            secrets.append(".pem")
        return containers.Settings(
            section=section,
            listen=self.ledger.engine.traits.listen,
            app_host=self._app_host(job),
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
            masks=self._masks(binds),
            working_dir=str(self.order.directory) if self._directory_shown(binds) else None,
        )

    def _binds(self, values: Mapping[str, str]) -> list[Bind]:
        where, how = str(self.order.directory), self.section.mount_cwd
        mounts = [containers.parse_mount(fill(text, values)) for text in self.section.mounts]
        mounts += self.order.mounts
        if not how:
            return mounts
        if not self.ledger.place.here:
            farness.check_directory(self.ledger, where, mounts, writes=how == "rw")
            return mounts
        return [Bind(source=where, target=where, read_only=how == "ro"), *mounts]

    def _masks(self, binds: Sequence[Bind]) -> list[str]:
        if not self.ledger.place.here:
            farness.check_mounts(binds, self.ledger.facts)
            return []
        socket = self.ledger.engine.local_socket
        return containers.shield(binds, state=self.ledger.directory, socket=socket)

    def _directory_shown(self, binds: Sequence[Bind]) -> bool:
        where = str(self.order.directory)
        return bool(self.section.mount_cwd) and any(bind.target == where for bind in binds)

    def _env(self, values: Mapping[str, str]) -> dict[str, str]:
        own = {name: fill(str(value), values) for name, value in self.section.env.items()}
        return {**own, **self.order.env}

    def _check_reader(self, user: str, owner: str) -> None:
        """Make sure that an app that has files to read is the user that they belong to."""
        uid = owner.partition(":")[0]
        if user.partition(":")[0] != uid:
            raise JobctlError(
                f"apps.{self.app.name}.user: as {user}, the app can't read its configuration and "
                f"key, which belong to uid {uid} alone; leave user out"
            )

    def _file(self, job: Job, suffix: str) -> Path:
        return self.ledger.directory / (job.job_id + suffix)

    def _seen(self, job: Job) -> Mapping[str, object]:
        """Return a job as app modules see it."""
        command, place = self.section.command, self.ledger.place
        there = {"names": [*place.names], "addresses": [*place.addresses]}
        return to_dict(job) | {
            "reached_at": None if place.here else there,
            "args": self._args,
            "listen": self.ledger.engine.traits.listen,
            "app_port": self._app_port(job),
            "nodes": [[node.name, node.address] for node in self._nodes],
            "directory": str(self.order.directory),
            "command": command and fill_command(command, self._values(job), self._args),
            "options": dict(self.section.options),
        }

    @property
    def _args(self) -> list[str]:
        return list(self.order.args or self.section.args)

    @cached_property
    def _nodes(self) -> list[Node]:
        return self.ledger.engine.nodes()

    def _app_host(self, job: Job) -> str:
        """Return where the gateway finds the app."""
        cluster = self.ledger.engine.traits.cluster
        return app_name(job.job_id) if cluster else gateway.LOOPBACK

    def _app_port(self, job: Job) -> int:
        """Return the port on which the app has to listen."""
        return self.section.app_port or int(job.port)

    def _values(self, job: Job) -> Mapping[str, str]:
        """Return what placeholders stand for."""
        return {
            "listen": self.ledger.engine.traits.listen,
            "port": str(self._app_port(job)),
            "host_port": job.port,
            "job_id": job.job_id,
            "job_root": job.job_root,
            "owner": job.owner,
            "url": job.url,
            "directory": str(self.order.directory),
        }


@contextmanager
def _signals_held() -> Iterator[None]:
    """Let Ctrl-C wait for the few milliseconds in which the engine makes what we can't name yet.

    A request that is cut off is carried out all the same, and the undo would look too early.
    """
    before = signal.pthread_sigmask(
        signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    )
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
