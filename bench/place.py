"""A place for the measured commands: a state directory, a configuration and ports of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import cycle
from pathlib import Path
from typing import Any

import docker
import yaml
from docker.types import EndpointConfig
from msgspec.structs import replace

from bench.pairs import Act, command
from jobctl import config
from jobctl.broker import Broker
from jobctl.engines.base import ContainerSpec, Engine
from jobctl.engines.docker import DockerEngine
from jobctl.engines.docker_values import create_kwargs, host_kwargs
from jobctl.engines.endpoints import connect
from jobctl.job import Job
from jobctl.orders import Order

JOBCTL = Path(sys.executable).with_name("jobctl")
PORTS = (27000, 30999)
# One after the other: an engine may hold a port for a moment after its container is gone.
BARE_PORTS = cycle(range(31000, 31500))
PASSWORD = "correct horse battery"
POLL_S = 0.005


class _Recording(DockerEngine):
    """Keeps what containers were made of, so that they can be made without jobctl."""

    def __init__(self, engine: Engine) -> None:
        assert isinstance(engine, DockerEngine)
        super().__init__(engine.endpoint)
        self.specs: list[ContainerSpec] = []

    def create(self, spec: ContainerSpec) -> str:
        self.specs.append(spec)
        return super().create(spec)


@dataclass
class Place:
    """``env`` is what commands need to be there."""

    root: Path
    ports: tuple[int, int] = PORTS
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = yaml.safe_load(config.shipped().joinpath("config.yaml").read_text())
        values["general"] |= {
            "port_range": list(self.ports),
            "user_dir_base": str(self.root / "state"),
        }
        self.tls_app = self.root / "tls_app.py"
        shutil.copy(Path(__file__).with_name("tls_app.py"), self.tls_app)
        values["apps"]["tls"] = {
            "image": "jobctl/jupyter",
            "secured_by": "app",
            "require_password": False,
            "command": f"python3 {self.tls_app} {{port}} {{job_root}}{{job_id}}.pem",
            "mounts": [f"{self.tls_app}:{self.tls_app}"],
        }
        pages = self.root / "pages"
        pages.mkdir()
        (pages / "index.html").write_text("<p>tiny</p>\n")
        values["apps"]["tiny"] = {
            "image": "jobctl/gateway",
            "command": "/bin/busybox httpd -f -p 127.0.0.1:{port} -h /pages",
            "app_port": 9000,
            "mounts": [f"{pages}:/pages"],
            "memory": "16m",
        }
        (self.root / "config.yaml").write_text(yaml.safe_dump(values))
        shutil.copytree(config.shipped() / "app_modules", self.root / "app_modules")
        self.env = {**os.environ, "JOBCTL_CONFIG": str(self.root / "config.yaml")}

    @cached_property
    def engine(self) -> Engine:
        return connect()

    @cached_property
    def api(self) -> Any:
        return docker.APIClient(version="auto")

    @cached_property
    def broker(self) -> Broker:
        return Broker(config.load(self.root / "config.yaml"), given_engine=self.engine)

    def command(self, *words: str) -> Act:
        """Return what runs a command of jobctl here."""
        return command([str(JOBCTL), *words], **self.env)

    def run(self, app: str) -> str:
        """Run an app as a whole command and return its job's id."""
        done = subprocess.run(
            [JOBCTL, "run", app, "--password-stdin", "--json"],
            input=PASSWORD,
            capture_output=True,
            text=True,
            check=False,
            env=self.env,
            cwd=self.root,
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return str(json.loads(done.stdout)["job_id"])

    def pid(self, job: Job) -> int:
        """Return a process of a job's app, on this host."""
        condition = self.engine.condition(job.container_ids[-1])
        assert condition
        assert condition.pid
        return condition.pid

    def forget(self, job_id: str) -> None:
        """Remove a job."""
        self.broker.remove(job_id, force=True)

    def forget_all(self, job_ids: list[str]) -> None:
        """Remove jobs."""
        for job_id in job_ids:
            self.forget(job_id)

    def remove(self, containers: list[str]) -> None:
        """Remove containers, the last ones first."""
        for container in reversed(containers):
            self.engine.remove(container)

    def start_bare(self, specs: list[ContainerSpec]) -> tuple[list[str], int]:
        """Create and start containers as jobctl would, without it; return their ids and port."""
        ids: list[str] = []
        port = next(BARE_PORTS)
        for spec in specs:
            name = f"bare-{port}-{len(ids)}"
            spec = replace(spec, name=name, joins=ids[0] if spec.joins else None)
            if spec.publish:
                spec = replace(spec, publish=replace(spec.publish, host_port=port))
            created = self.api.create_container(
                **create_kwargs(spec),
                host_config=self.api.create_host_config(**host_kwargs(spec)),
                networking_config=None
                if spec.network is None
                else {"EndpointsConfig": {spec.network: EndpointConfig(self.api.api_version)}},
            )
            ids.append(created["Id"])
        for one in ids:
            self.api.start(one)
        return ids, port

    def launch_bare(self, specs: list[ContainerSpec]) -> list[str]:
        """Do so until the job answers, and return the ids."""
        ids, port = self.start_bare(specs)
        await_answer(port)
        return ids

    def start_notebook(self) -> str:
        """Start JupyterLab in a bare container and return its id once it answers."""
        port = next(BARE_PORTS)
        run = ["docker", "run", "--detach", "--env", "HOME=/tmp"]
        run += ["--publish", f"127.0.0.1:{port}:8888", "jobctl/jupyter"]
        run += ["jupyter", "lab", "--ip", "0.0.0.0", "--port", "8888", "--allow-root"]
        return started([*run, "--no-browser"], port, "/api/status", tls=False)

    def docker_run(self, specs: list[ContainerSpec]) -> list[str]:
        """Start the containers of a job with the ``docker`` command; return their ids."""
        ids: list[str] = []
        port = next(BARE_PORTS)
        for spec in specs:
            run = ["docker", "run", "--detach", "--init", "--user", spec.user, "--read-only"]
            run += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
            run += ["--memory", str(spec.memory), "--cpus", str(spec.cpus)]
            run += ["--network", f"container:{ids[0]}" if spec.joins else str(spec.network)]
            for path in [*spec.files, *spec.secrets]:
                run += ["--volume", f"{path}:{path}:ro"]
            for path, options in spec.tmpfs.items():
                run += ["--tmpfs", f"{path}:{options}"]
            if spec.publish:
                inside = spec.publish.container_port
                run += ["--publish", f"{spec.publish.address}:{port}:{inside}"]
            run += ["--entrypoint", spec.command[0], spec.image, *spec.command[1:]]
            ids.append(subprocess.check_output(run, text=True).strip())
        await_answer(port)
        return ids

    def order(self, app: str, **more: Any) -> Order:
        return Order(app=app, password=PASSWORD, directory=self.root, **more)

    def specs(self, app: str) -> tuple[Job, list[ContainerSpec]]:
        """Launch an app and return its job, and what its containers were made of."""
        recording = _Recording(self.engine)
        job = Broker(self.broker.config, given_engine=recording).run(self.order(app))
        return job, recording.specs

    def clear(self) -> None:
        """Remove all jobs."""
        for job in self.broker.jobs():
            self.broker.remove(job.job_id, force=True)


def started(run: list[str], port: int, path: str = "/", *, tls: bool = True) -> str:
    """Return the id of a container that a ``docker run`` starts, once it answers."""
    container = subprocess.check_output(run, text=True).strip()
    await_answer(port, path, tls=tls)
    return container


def await_answer(port: int, path: str = "/", *, tls: bool = True, within: float = 60) -> None:
    """Poll a port of this host until a request is answered, whatever the answer is."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode()
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        with suppress(OSError), ExitStack() as open_ones:
            connection = open_ones.enter_context(
                socket.create_connection(("127.0.0.1", port), timeout=5)
            )
            if tls:
                connection = open_ones.enter_context(context.wrap_socket(connection))
            connection.sendall(request)
            if connection.recv(16).startswith(b"HTTP/1."):
                return
        time.sleep(POLL_S)
    raise TimeoutError(f"nothing answers on port {port}")


@contextmanager
def place(ports: tuple[int, int] = PORTS) -> Iterator[Place]:
    """Yield a place; what is left there at the end is removed."""
    with tempfile.TemporaryDirectory(prefix="jobctl-bench-") as directory:
        root = Path(directory)
        root.chmod(0o755)  # apps of root run as another user
        made = Place(root, ports)
        try:
            yield made
        finally:
            made.clear()
