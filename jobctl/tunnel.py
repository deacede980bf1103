"""A tunnel to a job of another host: forwards its port, verifies it at this end, keeps it up.

Needs no engine and no configuration here; the job's host has both.
"""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from jobctl import hosts, probe, ssh
from jobctl.errors import JobctlError
from jobctl.job import Job, connect_address, port_of
from jobctl.remote import Ended, Untold, Wish, ask
from jobctl.startup import auth_of

LOOPBACK = "127.0.0.1"
READY_S = 15
LOOK_S = 3.0
"""How often it is made sure that the job still answers."""
MOST_REFUSALS = 3
"""So many times in succession its host may say that it can't tell; an engine may be restarting."""
LONGEST_PAUSE_S = 30.0
MOST_TRIES = 20
"""So many times in succession a connection may fail: some nine minutes."""
_PORTS_TRIED = 100
_ATTEMPT_S = 5
_PAUSE_S = 0.2


class Tunnel:
    """A way to a job of another host; ``opened`` makes one."""

    job: Job
    local_port: int

    def __init__(self, wish: Wish, report: Callable[[str], None]) -> None:
        self._wish = wish
        self._report = report
        self._job_id = wish.job_id
        port = wish.local_port or port_of(self._job_id)
        most = 1 if wish.local_port else _PORTS_TRIED
        self._ports: Sequence[int] = range(port, min(port + most, 65536))
        self._stack = ExitStack()
        self._connection: ssh.Connection

    @property
    def url(self) -> str:
        """What to open in a browser on this machine: the certificate is for the name."""
        return f"{self.job.protocol}://job-{self.job.port}.localhost:{self.local_port}/"

    @property
    def user(self) -> str | None:
        """Who logs in, where that is a matter of a user name."""
        return self.job.owner if auth_of(self.job) else None

    def connect(self) -> None:
        """Connect, ask for the job, forward its port and verify it.

        Raises:
            JobctlError: something of that can't be done; nothing is left of the attempt.
        """
        with ExitStack() as undo:
            self._connection = undo.enter_context(ssh.connected(self._wish.destination))
            self.job = ask(self._connection, self._wish)
            self._forward()
            self._verify()
            self._stack = undo.pop_all()

    def close(self) -> None:
        """End the connection."""
        self._stack.close()

    def keep_up(self) -> str:
        """Keep the tunnel up until the job is gone, and return why that is.

        Raises:
            JobctlError: something else answers, or the host can't be reached for too long.
        """
        refusals = 0
        while True:
            try:
                self._stay()
                self.job = ask(self._connection, self._wish)
                refusals = 0
                self._check_shown(self._shown())
            except Ended as error:
                return str(error)
            except Untold as error:
                refusals += 1
                if refusals == MOST_REFUSALS:
                    return str(error)
            except ssh.Disconnected:
                try:
                    self._reconnect()
                except Ended as error:
                    return str(error)

    def _stay(self) -> None:
        """Return when the job does not answer any more.

        Raises:
            ssh.Disconnected: the connection ended.
        """
        while True:
            deadline = time.monotonic() + LOOK_S
            while time.monotonic() < deadline:
                if not self._connection.alive:
                    raise ssh.Disconnected("the connection ended; try again")
                time.sleep(_PAUSE_S)
            shown = self._shown()
            if shown is None or _fingerprint(shown) != self.job.tls_fingerprint:
                return

    def _reconnect(self) -> None:
        self.close()
        pause = 1.0
        host = self._wish.destination.host
        for number in range(1, MOST_TRIES + 1):
            self._report(f"the connection to {host} ended; trying again in {pause:g} s")
            time.sleep(pause)
            try:
                self.connect()
            except (ssh.Disconnected, Untold) as error:
                if number == MOST_TRIES:
                    raise JobctlError(
                        f"gave up after {number} tries: {error}; try again later"
                    ) from None
                pause = min(pause * 2, LONGEST_PAUSE_S)
            else:
                self._report(f"connected again, and {self._job_id} is verified again")
                return

    def _forward(self) -> None:
        """Forward the first local port that is to be had; after that, it is always the same."""
        address, port = connect_address(self.job.bind_address), int(self.job.port)
        for local in self._ports:
            # ssh has the last word, but it complains aloud.
            if hosts.is_bound(LOOPBACK, local):
                continue
            if self._connection.forward(local, address, port):
                self.local_port, self._ports = local, [local]
                return
        if len(self._ports) == 1:
            raise JobctlError(
                f"port {self._ports[0]} is taken on this machine, or only for root; name another "
                "with --local-port"
            )
        raise JobctlError(
            f"the ports from {self._ports[0]} to {self._ports[-1]} are all taken on this machine; "
            "name another with --local-port"
        )

    def _verify(self) -> None:
        """Make sure that it is this job which answers, and that it lets in nobody by itself."""
        deadline = time.monotonic() + READY_S
        while True:
            try:
                shown = self._shown()
                if shown is None:
                    raise probe.NotReady("nothing answers")
                self._check_shown(shown)
                probe.verify(self._target(shown), probe.Secret(), timeout=_ATTEMPT_S)
            except probe.NotReady as reason:
                if not self._connection.alive:
                    raise ssh.Disconnected("the connection ended; try again") from None
                if time.monotonic() > deadline:
                    raise JobctlError(
                        f"{self._job_id} does not answer through the tunnel: {reason}; see whether "
                        f"it does there, with {self._wish.line('ps')}, and whether the host's sshd "
                        "allows forwarding (AllowTcpForwarding)"
                    ) from None
                time.sleep(_PAUSE_S)
            else:
                return

    def _target(self, shown: bytes) -> probe.Target:
        return probe.Target(
            address=LOOPBACK,
            port=self.local_port,
            trusted=shown.decode(),  # its fingerprint came from its host
            fingerprint=self.job.tls_fingerprint or "",
            auth=auth_of(self.job),
            user=self.job.owner,
            path=self.job.ready_path,
            login_path=self.job.login_path,
        )

    def _shown(self) -> bytes | None:
        """Return the certificate that answers at the local port, PEM; ``None`` if none does."""
        try:
            pem = ssl.get_server_certificate((LOOPBACK, self.local_port), timeout=_ATTEMPT_S)
        except OSError:
            return None
        return pem.encode()

    def _check_shown(self, shown: bytes | None) -> None:
        """Raise if it is not this job's certificate that answers, but another."""
        if shown is not None and _fingerprint(shown) != self.job.tls_fingerprint:
            raise JobctlError(
                f"what answers at port {self.job.port} of {self._wish.destination.host} is not "
                f"{self._job_id}: its certificate is {_fingerprint(shown)}, expected "
                f"{self.job.tls_fingerprint}; the tunnel is closed"
            )


def _fingerprint(certificate: bytes) -> str:
    # Who answers may send anything: its contents are not looked at.
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.decode())).hexdigest()


@contextmanager
def opened(wish: Wish, report: Callable[[str], None]) -> Iterator[Tunnel]:
    """Open a tunnel for as long as the block runs; ``report`` gets lines of progress.

    Raises:
        JobctlError: it can't be opened, or what answers at its end is not the job.
    """
    tunnel = Tunnel(wish, report)
    try:
        tunnel.connect()
        yield tunnel
    finally:
        tunnel.close()
