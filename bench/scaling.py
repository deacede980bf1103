"""Jobs on a Swarm of three engines on this machine: ``python -m bench.scaling [COUNT...]``.

For each number of jobs: how many launches a second it took to get there, how long ``ps`` takes, and
what the manager keeps and answers. The apps are web servers of the size of busybox. All three
engines, their containers and the commands share this machine's cores: on hosts of their own,
launches are faster. Nothing here is a test.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import yaml

from jobctl import config
from tests.swarm_cluster import Cluster, cluster

COUNTS = (30, 300)
AT_ONCE = 4
LISTINGS = 7
IMAGE = "jobctl/gateway"  # which has a busybox, and is on every node anyway
SERVE = 'echo hello > /tmp/index.html; exec /bin/busybox httpd -f -p "$0" -h /tmp'
PASSWORD = "correct horse battery"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, default=COUNTS, metavar="COUNT")
    counts = sorted(parser.parse_args().counts)
    with tempfile.TemporaryDirectory(prefix="jobctl-scaling-") as directory:
        root = Path(directory)
        root.chmod(0o755)  # apps of root run as another user
        with cluster(root, everywhere=[IMAGE], some=[]) as swarm:
            env = _prepared(root, swarm, counts[-1])
            launched = 0
            for count in counts:
                seconds = _launch(env, root, count - launched)
                rate, launched = (count - launched) / seconds, count
                print(f"{count} jobs: {rate:.2f} launches a second", flush=True)
                _tell(swarm, env, count)


def _prepared(root: Path, swarm: Cluster, most: int) -> Mapping[str, str]:
    values = yaml.safe_load(config.shipped().joinpath("config.yaml").read_text())
    values["general"] |= {
        "port_range": [27000, 27000 + most + 100],
        "user_dir_base": str(root / "state"),
        "bind_address": "0.0.0.0",
        "engine": "swarm",
    }
    command = ["/bin/busybox", "sh", "-c", SERVE, "{listen}:{port}"]
    small = {"memory": "16m", "cpus": 0.5, "pids": 16, "stop_grace": 1, "launch_timeout": 180}
    values["apps"]["web"] = {"image": IMAGE, "command": command, "app_port": 9000, **small}
    (root / "config.yaml").write_text(yaml.safe_dump(values))
    shutil.copytree(config.shipped() / "app_modules", root / "app_modules")
    (root / "work").mkdir()
    here = {"JOBCTL_CONFIG": str(root / "config.yaml"), "DOCKER_HOST": swarm.manager.endpoint}
    return {**os.environ, **here}


def _launch(env: Mapping[str, str], root: Path, count: int) -> float:
    began = time.monotonic()

    def once(_: int) -> None:
        run = ["run", "web", "--password-stdin", "--json"]
        _jobctl(env, *run, stdin=PASSWORD, cwd=root / "work")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(once, range(count)))
    return time.monotonic() - began


def _tell(swarm: Cluster, env: Mapping[str, str], count: int) -> None:
    taken = []
    for _ in range(LISTINGS):
        began = time.monotonic()
        said = _jobctl(env, "ps", "--json")
        taken.append(time.monotonic() - began)
    running = said.count('"status": "launched"')
    print(f"  ps: {statistics.median(taken):.2f} s (best {min(taken):.2f}), {running} launched")
    for name in ("services", "tasks", "nodes", "secrets", "configs"):
        began = time.monotonic()
        size = len(swarm.api._get(swarm.api._url(f"/{name}")).content)
        seconds = time.monotonic() - began
        each = size / count / 1000
        print(f"  GET /{name}: {size / 1000:.0f} kB, {each:.2f} kB a job, {seconds:.3f} s")
    raft = swarm.manager.directory / "docker/swarm/raft"
    # Its files are made larger than what is in them, and filled with zeros.
    kept = sum(len(path.read_bytes().rstrip(b"\0")) for path in raft.rglob("*") if path.is_file())
    memory = {node.name: node.memory() for node in swarm.nodes}
    words = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in memory.items())
    print(f"  raft log {kept / 1e6:.1f} MB, {kept / count / 1e3:.0f} kB a job; dockerd: {words}")
    print(
        f"  memory of the machine in use: {psutil.virtual_memory().used / 1e9:.1f} GB", flush=True
    )


def _jobctl(env: Mapping[str, str], *words: str, stdin: str = "", cwd: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "jobctl", *words],
        input=stdin,
        capture_output=True,
        text=True,
        env={**env, "PYTHONPATH": str(Path(__file__).parent.parent)},
        cwd=cwd,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"jobctl {' '.join(words)}: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
