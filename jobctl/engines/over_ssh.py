"""The way to an engine of another host: one connection of the system's ssh, for all requests.

Each request's connection is a session that runs ``docker system dial-stdio`` there, which is how
the ``docker`` command does it: that knows where the engine's socket is, be it a rootless one's.
"""

from __future__ import annotations

import shlex
import socket
import subprocess
import threading
import weakref
from contextlib import ExitStack
from typing import Any

from docker import APIClient
from docker.transport import UnixHTTPAdapter

from jobctl import ssh
from jobctl.errors import EngineUnreachable, JobctlError

MOST_AT_ONCE = 4
"""How many requests at once: an sshd allows ten sessions of a connection (MaxSessions)."""
_BASE = "http+docker://"
_LOOPBACK = "127.0.0.1"
_TRIES = 10
_END_S = 2


class Way:
    """A connection to a host with an engine, until ``close``."""

    def __init__(self, url: str, *, patience: int | None = None) -> None:
        """Connect to ``ssh://[USER@]HOST[:PORT][/SOCKET]``, within ``patience`` seconds if set.

        Who has no patience is not asked for anything, such as a passphrase.

        Raises:
            EngineUnreachable: that can't be done.
        """
        self._ended = False
        self._sessions: list[subprocess.Popen[bytes]] = []
        self._forwarded: dict[tuple[str, int], tuple[str, int]] = {}
        with ExitStack() as undo:
            try:
                self.destination, path = ssh.of_url(url)
                self._connection = undo.enter_context(
                    ssh.connected(self.destination, patience=patience, ends_with_us=True)
                )
            except JobctlError as error:
                raise EngineUnreachable(f"{url} ({error})") from None
            named = f"--host {shlex.quote(f'unix://{path}')} " if path else ""
            self._command = f"docker {named}system dial-stdio"
            self.socket = self._connection.directory / "engine"
            self._listener = undo.enter_context(socket.socket(socket.AF_UNIX))
            self._listener.bind(str(self.socket))
            self._listener.listen()
            self._thread = threading.Thread(target=self._serve, daemon=True)
            self._thread.start()
            undo.callback(self._end)
            # Most commands end without closing anything.
            self.close = weakref.finalize(self, undo.pop_all().close)

    def mount(self, api: APIClient) -> None:
        """Let a client of the socket use a session for more than one request.

        By default it keeps a connection for each URL, which would soon be too many sessions.
        """
        api.get_adapter(_BASE).close()
        api.mount(_BASE, _Adapter(f"http+unix://{self.socket}", timeout=api.timeout))

    def complaints(self) -> str:
        """Return what ssh, or the host's shell, has complained of."""
        return self._connection.complaints()

    def forwarded(self, address: str, port: int) -> tuple[str, int]:
        """Return an address and port of this host that lead to those as seen from there.

        Raises:
            EngineUnreachable: the connection is gone, or the host forwards nothing.
        """
        known = self._forwarded.get((address, port))
        for _ in range(0 if known else _TRIES):
            local = _free_port()
            if self._connection.forward(local, address, port):
                known = self._forwarded[address, port] = (_LOOPBACK, local)
                break
        if known is None:
            raise EngineUnreachable(
                f"{self.destination.host} can't be made to forward port {port}; see whether its "
                "sshd allows that (AllowTcpForwarding)"
            )
        return known

    def connects(self, address: str, port: int, *, timeout: float) -> bool | None:
        """Tell whether a web server listens at an address as seen from there, if it can be told."""
        return self._connection.connects(address, port, timeout=timeout)

    def _serve(self) -> None:
        while not self._ended:
            try:
                end, _ = self._listener.accept()
            except OSError:
                return
            with end:
                if not self._ended:
                    self._sessions = [one for one in self._sessions if one.poll() is None]
                    self._sessions.append(self._connection.session(self._command, end))

    def _end(self) -> None:
        self._ended = True
        with socket.socket(socket.AF_UNIX) as last:
            last.connect_ex(str(self.socket))  # which wakes who waits for the next
        self._thread.join()
        for session in self._sessions:
            session.terminate()
        for session in self._sessions:
            try:
                session.wait(_END_S)
            except subprocess.TimeoutExpired:
                session.kill()
                session.wait()


class _Adapter(UnixHTTPAdapter):
    """Has one pool of connections, whatever they are asked for."""

    def get_connection(self, url: str | bytes, proxies: Any = None) -> Any:
        del url
        return super().get_connection(_BASE, proxies)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((_LOOPBACK, 0))
        return int(free.getsockname()[1])
