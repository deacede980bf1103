"""The use cases: register, launch, query, update, stop, start, remove. Prints and asks nothing.

Owns what belongs to a whole command: which engine, whose directory, which ports come in question.
How one launch goes is in ``jobctl.launch``, how records and containers agree in ``jobctl.ledger``.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from jobctl import paths, ports
from jobctl.config import Config, catalogue, in_force
from jobctl.errors import ImageMissing, JobctlError
from jobctl.job import Job, Status, from_dict, job_id_of, port_of, to_dict
from jobctl.jobfiles import ensure_private_directory
from jobctl.labels import ROLE
from jobctl.ledger import Ledger, jobs_of_everybody, published, silent
from jobctl.locks import Locks
from jobctl.observation import in_order, main_pid
from jobctl.progress import Report, Step
from jobctl.registry import Registry
from jobctl.schema import EngineKind, Section

if TYPE_CHECKING:  # what these import takes a while, and most commands don't need it
    from jobctl.batch import Arrived, Outcome
    from jobctl.contexts import Seen
    from jobctl.engines.base import Engine
    from jobctl.images import ListedImage, Source
    from jobctl.launch import Launch
    from jobctl.orders import Order
    from jobctl.preparation import Preparation
    from jobctl.reaping import Fate
    from jobctl.usage import JobUsage


KILLED = 128 + signal.SIGKILL
USAGE_LOOK_S = 0.5
"""How long it is looked how much CPU jobs use."""


@dataclass
class Broker:
    """All that jobctl does, for one user with one configuration: by default, the one in force.

    ``report`` gets a line of progress now and then. ``engine`` is connected to at first use; a
    ``with`` block closes the connection at its end. ``engine_kind`` goes before what the
    configuration says, ``context`` before what the environment says of where the engine is.
    """

    config: Config = field(default_factory=in_force)
    report: Report = silent
    given_engine: Engine | None = field(default=None, repr=False)
    engine_kind: EngineKind | None = None
    context: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if "engine" in vars(self) and not self.given_engine:
            self.engine.close()

    @cached_property
    def owner(self) -> str:
        """The caller's user name, from the uid: the environment can say anything."""
        return paths.caller()

    @cached_property
    def directory(self) -> Path:
        """The caller's directory for records and files."""
        return paths.directory(self.config.general.user_dir_base, self.owner)

    @cached_property
    def catalogue(self) -> Config:
        """The configuration with the apps of plugins, which are looked for at first use."""
        from jobctl import plugins

        return catalogue(self.config, plugins.origins())

    @cached_property
    def engine(self) -> Engine:
        if self.given_engine:
            return self.given_engine
        from jobctl.engines.endpoints import connect

        return connect(self.engine_kind or self.config.general.engine, context=self.context)

    @cached_property
    def registry(self) -> Registry:
        ensure_private_directory(self.directory)
        return Registry(self.directory, Locks(self.directory))

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.registry, self.engine, self.report)

    # Launching

    def run(self, order: Order) -> Job:
        """Launch an app and return its job once it is verified.

        Raises:
            JobctlError: it did not come to that, and nothing is left of it.
        """
        launch = self._launch(order)
        return self._with_images(lambda: launch.run(self._ports(launch)))

    def run_many(
        self,
        orders: Sequence[Order],
        *,
        parallel: int | None = None,
        all_or_none: bool = False,
        arrived: Arrived | None = None,
        unseen: Path | None = None,
    ) -> list[Outcome]:
        """Launch apps, some at a time, and return what came of each, in the order of ``orders``.

        ``parallel`` says how many at a time; the default goes with this host. One that fails
        leaves the others alone, unless ``all_or_none``. ``arrived`` is told of each outcome as it
        comes, also while an interruption undoes what is not verified yet: the rest stays. What is
        handed out of them goes to a file that has to be ``unseen`` by the jobs.

        Raises:
            UsageError: one of the orders can't be carried out; nothing was begun.
            JobctlError: with ``all_or_none``, one failed; nothing is left of any.
        """
        from jobctl import arrays, batch
        from jobctl.containers import NETWORK

        most = batch.at_once(parallel)
        arrays.check(orders, self.config.general.port_range)
        preparations = arrays.preparations(orders, self._preparation)
        if unseen:
            arrays.check_unseen(unseen, preparations, instead=self.directory / unseen.name)
        launches = arrays.protected([self._launch_of(one) for one in preparations])
        for image in arrays.images(launches):
            if self.engine.image(image) is None:
                self._ensure_image(image)
        self.engine.ensure_network(NETWORK)
        self.authority()
        self.ledger.reconcile()
        return batch.run(
            launches,
            partial(self._candidates, launches[0], self.registry.read),
            parallel=most,
            together=all_or_none,
            report=self.report,
            arrived=arrived,
        )

    def register(self, order: Order) -> Job:
        """Prepare a job without starting it; ``start`` launches it."""
        launch = self._launch(order)
        return self._with_images(lambda: launch.register(self._ports(launch)))

    def start(self, ref: str) -> Job:
        """Start a job again on its port, with its password, and verify it.

        What it has lost meanwhile is made anew, and a certificate close to its end renewed.

        Raises:
            JobctlError: its time is over, or it did not become ready, and is stopped again.
        """
        from jobctl import lifetimes, revival

        with self._working_on(ref, "start", unless=self._elsewhere) as job:
            if job.status == Status.LAUNCHED:
                left = revival.days_left(self.ledger, job)
                if left is not None and left < revival.RENEW_DAYS:
                    self.report(
                        f"the certificate of {job.job_id} ends in {left:.0f} days; renew it with: "
                        f"jobctl stop {job.job_id} && jobctl start {job.job_id}"
                    )
                return job
            lifetimes.check_startable(job, time.time())
            self.report(Step(f"starting {job.job_id}", passing=True))
            if job.status == Status.UNHEALTHY:
                job = self.ledger.halt(job)
            try:
                started = self._started(job.with_(intent="start"))
            except BaseException:
                # As recorded meanwhile: it may have got other containers and a new certificate.
                self.ledger.halt(self.registry.read().get(job.job_id, job))
                raise
            self.registry.put(started)
            return started

    def _started(self, job: Job) -> Job:
        from jobctl import passwords, revival, startup
        from jobctl.probe import Secret

        ledger = self.ledger
        job = self._with_images(
            lambda: revival.revive(ledger, job, lambda: self._preparation_of(job), self.report)
        )
        self.registry.put(job)
        started = startup.start(
            ledger,
            job,
            Secret(digest_a1=passwords.digest_a1(job.hash_algorithm, job.password_hash or "")),
            timeout=(self.catalogue.apps.get(job.app) or Section()).launch_timeout,
            report=self.report,
        )
        return started.with_(intent=None)

    def _launch(self, order: Order) -> Launch:
        return self._launch_of(self._preparation(order)).protected()

    def _launch_of(self, preparation: Preparation) -> Launch:
        """Return a launch that has no password yet."""
        from jobctl import launch, lifetimes, orders

        order, section, general = preparation.order, preparation.section, self.config.general
        address = orders.bind_address(order, section, default=general.bind_address)
        orders.check_exposure(address, cluster=self.engine.traits.cluster)
        return launch.Launch(
            preparation=preparation,
            owner=self.owner,
            bind_address=address,
            job_domain=general.job_domain,
            ttl=lifetimes.ttl(section, general),
            report=self.report,
        )

    def _preparation(self, order: Order) -> Preparation:
        from jobctl import apps
        from jobctl.preparation import Preparation

        if order.image is not None:
            app = apps.ad_hoc(order.image, order.changes)
        else:
            app = apps.load(order.app, self.catalogue, order.changes)
        return Preparation(ledger=self.ledger, app=app, order=order)

    def _preparation_of(self, job: Job) -> Preparation:
        """Return what makes anew what a job has lost."""
        from jobctl import orders

        path = self.directory / f"{job.job_id}_order.json"
        try:
            order = orders.load(path.read_bytes())
        except OSError as error:
            raise JobctlError(
                f"what {job.job_id} was launched with is lost ({path}: {error.strerror}); remove "
                f"it and launch it anew: jobctl rm {job.job_id} && jobctl run {job.app}"
            ) from None
        return self._preparation(order)

    def _with_images(self, act: Callable[[], Job]) -> Job:
        """Do something; if it lacks an image that can be built, build it and do it again."""
        missing = None
        while True:
            try:
                return act()
            except ImageMissing as error:
                if error.image == missing:
                    raise
                missing = error.image
                self._ensure_image(missing)

    def _ports(self, launch: Launch) -> Iterator[int]:
        return self._candidates(launch, self.ledger.recorded)

    def _candidates(self, launch: Launch, mine: Callable[[], Mapping[str, Job]]) -> Iterator[int]:
        holders = {port_of(job_id): f"your {job_id}" for job_id in mine()}
        return ports.candidates(
            self.config.general.port_range,
            wanted=launch.preparation.order.port,
            address=launch.bind_address if self.ledger.place.here else None,
            holders=holders,
            more=lambda: published(self.engine.containers()),
            busy=self.ledger.locks.busy,
        )

    # Looking

    def jobs(self) -> list[Job]:
        """Return the caller's jobs, ended ones too, after putting the records right."""
        return list(self.ledger.reconcile().values())

    def jobs_of_everybody(self) -> list[Job]:
        """Return all users' jobs, as far as the engine knows them; without their hashes."""
        return jobs_of_everybody(self.engine)

    def jobs_of_contexts(self, *, everybody: bool = False) -> list[Seen]:
        """Return the caller's jobs, or those of everybody, on the engines of all contexts."""
        from jobctl import contexts
        from jobctl.engines import docker_contexts, endpoints

        kind = self.engine_kind or self.config.general.engine

        def connect(name: str) -> Engine:
            return endpoints.connect(kind, context=name, patience=contexts.ANSWER_S)

        names = docker_contexts.names()
        return contexts.look(names, connect, self.registry, everybody=everybody)

    def job(self, ref: str) -> Job:
        """Return one of the caller's jobs, by id or port.

        Raises:
            JobctlError: there is none; if somebody else has it, the message says who.
        """
        job_id = job_id_of(ref)
        mine = self.ledger.reconcile()
        if job_id in mine:
            return mine[job_id]
        for job in self.jobs_of_everybody():
            if job.job_id == job_id:
                raise JobctlError(
                    f"{job_id} is a job of {job.owner} with its records in {job.job_root}, not one "
                    f"of {self.owner} in {self.directory}/; work on it as {job.owner}, with "
                    "that directory"
                )
        known = ", ".join(mine) or "none"
        raise JobctlError(f"there is no {job_id}; your jobs are: {known}; see: jobctl ps --all")

    def inspect(self, ref: str) -> Job:
        """Return one of the caller's jobs, with what only a look at its container can tell.

        That is its process, which is another after the engine has restarted a crashed app.
        """
        job = self.job(ref)
        if job.ended or not job.container_ids:
            return job
        condition = self.engine.condition(job.container_ids[-1])
        if condition is None:
            return job
        seen = job.with_(pid=main_pid(self.engine, condition), restarts=condition.restarts)
        with self.registry.edit(durable=False) as jobs:
            if jobs.get(job.job_id) == job:
                jobs[job.job_id] = seen
        return seen

    def usage(self, jobs: Sequence[Job]) -> list[JobUsage]:
        """Return what those of some jobs use that run; takes the time of a look at the CPU."""
        from jobctl import usage

        containers = [one for job in jobs for one in job.container_ids]
        before = self.engine.usage(containers)
        time.sleep(USAGE_LOOK_S if before else 0)
        return list(usage.of_jobs(jobs, before, self.engine.usage([*before])))

    def confinement(self, job: Job) -> dict[str, Any]:
        """Return what the engine has on record to keep a job's containers in, by their role."""
        from jobctl.confinement import confinement

        containers = in_order(self.ledger.containers(job.job_id)[job.job_id])
        return {
            one.labels[ROLE]: confinement(details, self.ledger.facts)
            for one in containers
            if (details := self.engine.details(one.id))
        }

    def logs(
        self, ref: str, *, gateway: bool = False, tail: int | None = None, follow: bool = False
    ) -> Iterator[bytes]:
        """Yield the log of a job's app, or of its gateway, in chunks."""
        job = self.job(ref)
        found = in_order(self.ledger.containers(job.job_id)[job.job_id])
        if not found:
            raise JobctlError(
                f"{job.job_id} has no containers any more, and its logs went with them; make it "
                f"anew with: jobctl start {job.job_id}"
            )
        if gateway and len(found) < 2:
            raise JobctlError(
                f"{job.job_id} has no gateway: {job.app} secures itself; leave --gateway out"
            )
        return self.engine.logs(found[0 if gateway else -1].id, tail=tail, follow=follow)

    # Changing

    def update(self, values: Mapping[str, Any]) -> Job:
        """Change keys of a job's record, which ``values`` names by its ``job_id``.

        Raises:
            JobctlError: ``job_id`` is missing or unknown, or a value has the wrong type.
        """
        if not isinstance(values.get("job_id"), str):
            raise JobctlError('the update has no "job_id" to say which job it is for; add one')
        job_id = job_id_of(values["job_id"])
        with self.registry.edit() as jobs:
            if job_id not in jobs:
                raise JobctlError(f"there is no {job_id} on record; see: jobctl ps --all")
            jobs[job_id] = from_dict(to_dict(jobs[job_id]) | dict(values))
            return jobs[job_id]

    def stop(self, ref: str) -> Job:
        """Stop a job; it keeps its port, files and record."""
        with self._working_on(ref, "stop", unless=self._elsewhere) as job:
            if job.status in (Status.STOPPED, Status.LOST):
                return job
            self.report(Step(f"stopping {job.job_id}", passing=True))
            stopped = self.ledger.halt(job)
        if stopped.exit_code == KILLED and not job.ended:
            self.report(
                f"{job.job_id}: {job.app} ignored SIGTERM and was killed when its time to stop "
                f"was over; see: jobctl logs {job.job_id}, and stop_grace in its section"
            )
        return stopped

    def remove(self, ref: str, *, force: bool = False) -> Job:
        """Remove a job's containers, files and record.

        Raises:
            JobctlError: it is running, and ``force`` is not set.
        """
        with self._working_on(ref, "remove", unless=None if force else self._keeps) as job:
            self.report(Step(f"removing {job.job_id}", passing=True))
            self.ledger.erase(job.job_id)
            return job

    def prune(self) -> list[Job]:
        """Remove all jobs of this engine that have ended and return them."""
        ended = [job for job in self.jobs() if job.ended and not self.ledger.elsewhere(job)]
        return [self.remove(job.job_id) for job in ended]

    def extend(self, ref: str, by: str, *, from_now: bool = False) -> Job:
        """Move a job's end by a time such as ``2h``, or take it away with ``never``.

        Raises:
            UsageError: ``by`` is neither, or more than the configuration allows.
        """
        from jobctl import lifetimes

        job_id, general = self.job(ref).job_id, self.config.general
        with self.ledger.locks.held(port_of(job_id)), self.registry.edit() as jobs:
            if (job := jobs.get(job_id)) is None:
                raise JobctlError(f"{job_id} was removed a moment ago; see: jobctl ps --all")
            end = lifetimes.moved(job.expires, by, general, now=time.time(), from_now=from_now)
            # Before the record: who was told of a new end has both, whatever is lost later.
            lifetimes.keep_end(self.directory, job, end)
            jobs[job_id] = job.with_(expires=end)
            return jobs[job_id]

    def reap(self, *, idle: int | None = None, dry_run: bool = False) -> list[Fate]:
        """Stop jobs that have expired or are idle, remove those that ended long ago.

        ``idle`` is for how many seconds a job may be idle whose section does not say it.
        """
        from jobctl.durations import seconds
        from jobctl.reaping import Reaper

        kept = self.config.general.keep_ended
        keep_ended = None if kept is None else seconds(kept)
        return Reaper(ledger=self.ledger, idle=idle, keep_ended=keep_ended, dry_run=dry_run).reap()

    @contextmanager
    def _working_on(
        self, ref: str, intent: str, *, unless: Callable[[Job], str | None] | None = None
    ) -> Iterator[Job]:
        """Hold a job's lock, with what is about to be done on record until it is."""
        job_id = self.job(ref).job_id
        with self.ledger.locks.held(port_of(job_id)):
            job = self.registry.read().get(job_id)
            if job is None:
                raise JobctlError(f"{job_id} was removed a moment ago; see: jobctl ps --all")
            if unless and (reason := unless(job)):
                raise JobctlError(reason)
            with self.ledger.at_work(job, intent):
                yield job

    def _elsewhere(self, job: Job) -> str | None:
        """Say why nothing can be done about a job from here, if that is so."""
        if not self.ledger.elsewhere(job):
            return None
        return (
            f"{job.job_id} is on another engine, {job.engine_id}; name its --context or --engine, "
            f"or set DOCKER_HOST, or forget it with: jobctl rm --force {job.job_id}"
        )

    def _keeps(self, job: Job) -> str | None:
        """Say why a job is not removed, if it has to be kept."""
        if job.ended or job.status == Status.REGISTERED:
            return self._elsewhere(job)
        return f"{job.job_id} is running; stop it first, or use: jobctl rm --force {job.job_id}"

    # Images and the authority

    def images(self) -> list[ListedImage]:
        """Return the images that jobctl builds, and what the engine has of each."""
        from jobctl import images

        return images.listing(self.engine, self._image_sources)

    def build(self, apps: Sequence[str] = (), *, rebuild: bool = False) -> list[str]:
        """Build the images of apps (by default of all, and the gateway's) unless they are current.

        Returns:
            their tags.
        """
        from jobctl.containers import GATEWAY_IMAGE, image_of

        catalogue = self.catalogue
        sections = {app: catalogue.section(app) for app in apps} or catalogue.apps
        images = [image_of(app, section) for app, section in sections.items()]
        tags = list(dict.fromkeys([GATEWAY_IMAGE, *images]))
        for tag in tags:
            self._ensure_image(tag, rebuild=rebuild)
        return tags

    def _ensure_image(self, tag: str, *, rebuild: bool = False) -> None:
        from jobctl import images

        images.ensure_image(self.engine, tag, self._image_sources, self.report, rebuild=rebuild)

    @cached_property
    def _image_sources(self) -> Mapping[str, Source]:
        from jobctl.sources import sources

        return sources(self.catalogue)

    def authority(self) -> Path:
        """Return the path of the caller's authority certificate, which is made at first use."""
        from jobctl.authority import AUTHORITY_LOCK, ensure_authority, host_subjects

        with self.registry.locks.held(AUTHORITY_LOCK):
            ensure_authority(self.directory, self.owner, host_subjects())
        return self.directory / "ca.crt"
