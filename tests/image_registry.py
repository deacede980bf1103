"""A registry of images, for as long as a test needs one."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.conftest import unavailable
from tests.waiting import eventually

CONFIG = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: {directory}}}}}
http: {{addr: "{address}"}}
"""


@contextmanager
def serving(directory: Path, host: str = "127.0.0.1") -> Iterator[str]:
    """Yield ``HOST:PORT`` of one without TLS, which engines take on loopback or if told to."""
    with socket.create_server((host, 0)) as server:
        port = server.getsockname()[1]
    address = f"{host}:{port}"
    config = directory / "config.yml"
    config.write_text(CONFIG.format(directory=directory / "blobs", address=address))
    try:
        process = subprocess.Popen(
            ["docker-registry", "serve", config],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        unavailable("no docker-registry; install it")
        raise

    def answers() -> bool:
        with closing(socket.socket()) as client:
            return client.connect_ex((host, port)) == 0

    try:
        assert eventually(answers)
        yield address
    finally:
        process.kill()
        process.wait()
