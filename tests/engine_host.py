"""A host of its own for an engine, as far as the network goes, so that the engine can be restarted.

The one on which the other tests run would take their jobs with it. This one is rootful as well; its
bridges, ports and firewall are in a network namespace, its files and its socket in a directory.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.waiting import eventually

WAIT_S = 60
_CLONE_NEWNET = 0x40000000  # of sched.h
_LIBC = ctypes.CDLL(None, use_errno=True)


class Unavailable(Exception):
    """This machine can't run a second engine; the message says why."""


class EngineHost:
    """A network and a disk, and the engine there while it runs.

    ``options`` are further ones of the engine.
    """

    options: Sequence[str] = ()

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.enter: list[str] = []
        """What programs are started with that are to be in another network than this thread's."""
        self.listen: list[str] = []
        """Options for where the engine answers beside its socket."""
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def endpoint(self) -> str:
        return f"unix://{self.directory}/engine.sock"

    def load_from(self, archive: Path) -> None:
        """Load images from what ``docker save`` has written."""
        with archive.open("rb") as saved:
            load = ["docker", "--host", self.endpoint, "load"]
            subprocess.run(load, stdin=saved, check=True, capture_output=True)

    def load(self, *images: str) -> None:
        """Copy images from the engine of the other tests."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saved:
            load = ["docker", "--host", self.endpoint, "load"]
            subprocess.run(load, stdin=saved.stdout, check=True, capture_output=True)

    def start(self) -> None:
        """Start the engine in the network that this thread is in, and wait until it answers.

        Raises:
            Unavailable: it doesn't.
        """
        if "containerd" not in self._running:
            self._start_containerd()
        self._start(
            *(
                "dockerd",
                "--host",
                self.endpoint,
                *self.listen,
                "--pidfile",
                str(self._state / "pid"),
            ),
            *("--containerd", str(self._containerd)),
            *("--data-root", str(self.directory / "docker"), "--exec-root", str(self._state)),
            *self.options,
        )
        self._await(self.answers, "dockerd")

    def answers(self) -> bool:
        ask = ["docker", "--host", self.endpoint, "version"]
        return subprocess.run(ask, capture_output=True, check=False).returncode == 0

    def memory(self) -> int:
        """Return how much memory the engine itself has, in bytes."""
        return int(psutil.Process(self._running["dockerd"].pid).memory_info().rss)

    def stop(self) -> None:
        """Ask the engine to end, as a restart of the service does: it ends its containers first."""
        self._end("dockerd", signal.SIGTERM)

    def crash(self) -> None:
        """Kill the engine: what runs in its containers goes on without it."""
        self._end("dockerd", signal.SIGKILL)

    def cut_power(self) -> None:
        """Kill all that runs, and lose what is not on the disk."""
        self.crash()
        self._end("containerd", signal.SIGKILL)
        for process in (killed := self._standing()):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        assert eventually(lambda: not any(map(_lives, killed)), timeout=WAIT_S)
        for one in reversed(psutil.disk_partitions(all=True)):
            if Path(one.mountpoint).is_relative_to(self.directory):
                subprocess.run(["umount", "--lazy", one.mountpoint], check=True)
        shutil.rmtree(self._state)
        self.fresh_network()

    def fresh_network(self) -> None:
        """Go to a network that nobody is on, as after a boot."""
        new_network()

    def close(self) -> None:
        """End the engine and remove its disk."""
        self.cut_power()
        shutil.rmtree(self.directory)

    def _standing(self) -> list[psutil.Process]:
        """Return the processes of containers, and what stands between them and the engine."""
        below = defaultdict(list)
        for process in (everything := list(psutil.process_iter(["cmdline", "ppid"]))):
            below[process.info["ppid"]].append(process)
        # What stands between has the directory on its command line.
        mark = str(self._state)
        found = [one for one in everything if mark in " ".join(one.info["cmdline"] or ())]
        for one in found:  # which grows by what is below
            found += below[one.pid]
        return found

    @property
    def _state(self) -> Path:
        return self.directory / "run"

    @property
    def _containerd(self) -> Path:
        return self._state / "containerd.sock"

    def _start_containerd(self) -> None:
        """Start what engines of a service have of their own, and what outlives their crash."""
        self._state.mkdir()
        config = self.directory / "containerd.toml"
        config.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        self._start(
            *("containerd", "--config", str(config), "--address", str(self._containerd)),
            *("--root", str(self.directory / "containerd"), "--state", f"{self._state}/containerd"),
        )
        self._await(self._containerd.exists, "containerd")

    def _start(self, program: str, *arguments: str) -> None:
        with (self.directory / f"{program}.log").open("wb") as log:
            self._running[program] = subprocess.Popen(
                [*self.enter, program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
            )

    def _await(self, ready: Callable[[], bool], program: str) -> None:
        process = self._running[program]
        eventually(lambda: ready() or process.poll() is not None, timeout=WAIT_S)
        if not ready():
            said = (self.directory / f"{program}.log").read_text()
            raise Unavailable(f"a second {program} did not start: {said[-2000:]}")

    def _end(self, program: str, number: signal.Signals) -> None:
        if process := self._running.pop(program, None):
            process.send_signal(number)
            process.wait(WAIT_S)


@contextmanager
def own_network() -> Iterator[None]:
    """Let this thread, and what it starts, have a network of their own, which ends with them."""
    with open("/proc/thread-self/ns/net") as home:  # noqa: PTH123
        new_network()
        try:
            yield
        finally:
            _succeed(_LIBC.setns(home.fileno(), _CLONE_NEWNET))


def new_network() -> None:
    """Go to a network that nobody is on, as after the host's boot."""
    _succeed(_LIBC.unshare(_CLONE_NEWNET))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def _succeed(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        # Only the first looks whether the number has gone to another process.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
