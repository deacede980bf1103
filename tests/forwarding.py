"""Other ways to the engine: sockets of any mode, and a port without TLS."""

from __future__ import annotations

import os
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_CHUNK = 1 << 16


class _Forwarder(socketserver.ThreadingMixIn, socketserver.BaseServer):
    daemon_threads = True
    target: str


class _UnixForwarder(_Forwarder, socketserver.UnixStreamServer):
    pass


class _TcpForwarder(_Forwarder, socketserver.TCPServer):
    pass


class _Both(socketserver.BaseRequestHandler):
    """Passes on what comes, in both directions, until one side ends."""

    server: _Forwarder

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as engine:
            engine.connect(self.server.target)
            back = threading.Thread(target=_pass, args=(engine, self.request))
            back.start()
            _pass(self.request, engine)
            back.join()


def _pass(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def another_socket(engine_socket: str, path: Path, mode: int, *, gid: int = -1) -> Iterator[str]:
    """Have the engine answer at another socket, of that mode and group; yield its endpoint."""
    with _UnixForwarder(str(path), _Both) as server, _serving(server, engine_socket):
        os.chown(path, -1, gid)
        path.chmod(mode)
        yield f"unix://{path}"


@contextmanager
def plain_port(engine_socket: str) -> Iterator[str]:
    """Have the engine answer at a port of loopback, without TLS; yield its endpoint."""
    with _TcpForwarder(("127.0.0.1", 0), _Both) as server, _serving(server, engine_socket):
        yield f"tcp://127.0.0.1:{server.server_address[1]}"


@contextmanager
def _serving(server: _Forwarder, target: str) -> Iterator[None]:
    server.target = target
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
