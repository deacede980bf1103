"""The system's ssh: one connection to a host, over which commands run and ports are forwarded.

Who the user is, which keys and jump hosts are used and what is asked for at the terminal are ssh's
own business and its configuration's.
"""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from jobctl.errors import JobctlError, UsageError

FAILED = 255
"""The exit code with which ssh says that it is itself that failed (ssh(1), EXIT STATUS)."""
MOST_BYTES = 1 << 20
"""How much of what a command says is read."""
MOST_LOG = 4000
COMMAND_TIMEOUT_S = 60

# What begins with a dash would be an option; what a shell could make something of is no name.
_DESTINATION = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.@+-]*@)?[A-Za-z0-9_:][A-Za-z0-9_.:%-]*")
_PAUSE_S = 0.02
_END_S = 2
_MASTER = (
    *("-M", "-T"),
    *("-o", "ControlPersist=no"),  # it would go on behind our back
    *("-o", "ExitOnForwardFailure=yes"),
    *("-o", "ClearAllForwardings=yes"),  # the configuration's own, which are for other sessions
    *("-o", "ForwardAgent=no"),
    *("-o", "ForwardX11=no"),
    *("-o", "PermitLocalCommand=no"),
    *("-o", "ServerAliveInterval=10"),
    *("-o", "ServerAliveCountMax=3"),
)
_CONNECT_S = 30
_SAY_SOMETHING = b"GET / HTTP/1.0\r\n\r\n"
_WITHOUT_ASKING = ("-o", "BatchMode=yes")
# Reads what we never write: it ends with us, however we end, and the connection with it.
_UNTIL_WE_END = "cat"
# Ctrl-C is for us, who have something to undo over the connection.
_DEAF = ("sh", "-c", 'trap "" INT; exec "$0" "$@"')
# What goes over the connection needs no configuration, and must not make one of its own.
_SHARING = (
    *("-F", "none", "-T"),
    *("-o", "ControlMaster=no"),
    *("-o", "BatchMode=yes"),
    *("-o", "ProxyCommand=false"),
)


class Disconnected(JobctlError):
    """There is no connection (any more); another may come about."""


@dataclass(frozen=True)
class Destination:
    """Where to connect to: ``[USER@]HOST``, and options for ssh such as ``Port=2222``."""

    name: str
    options: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, options: Sequence[str] = ()) -> Destination:
        if _DESTINATION.fullmatch(name) is None:
            raise UsageError(f'"{name}" is not a host; expected one such as alice@host.example')
        for option in options:
            if re.match(r"[A-Za-z0-9]+[= ]", option) is None:
                raise UsageError(f'"{option}" is no option of ssh; expected one such as Port=2222')
        return cls(name, tuple(options))

    @property
    def host(self) -> str:
        return self.name.rpartition("@")[2]

    @property
    def words(self) -> list[str]:
        """What stands behind ``ssh`` to connect to it."""
        options = [word for option in self.options for word in ("-o", option)]
        return [*options, "--", self.name]

    @property
    def line(self) -> str:
        """The same for a person to type."""
        return shlex.join(word for word in self.words if word != "--")


def of_url(url: str) -> tuple[Destination, str]:
    """Return where ``ssh://[USER@]HOST[:PORT][/PATH]`` leads to, and its path.

    Raises:
        UsageError: it is no such URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f'"{url}": {error}; expected ssh://[USER@]HOST[:PORT]') from None
    if parts.scheme != "ssh" or not parts.hostname or parts.password or parts.query:
        raise UsageError(f'"{url}" leads to no host; expected ssh://[USER@]HOST[:PORT]')
    # Not the host name of the library, which is in lower case: it may be an alias.
    name = parts.netloc.rpartition("@")[2].removesuffix(f":{port}").strip("[]")
    name = f"{parts.username}@{name}" if parts.username else name
    return Destination.of(name, [f"Port={port}"] if port else []), parts.path.rstrip("/")


def host_name(destination: Destination) -> str:
    """Return the name or address that ssh would connect to, as its configuration says."""
    try:
        done = subprocess.run(
            ["ssh", "-G", *destination.words],
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return destination.host
    settings = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    return settings.get("hostname") or destination.host


@dataclass(frozen=True)
class Said:
    """What a command on the host came to."""

    code: int
    output: str
    errors: str


class Connection:
    """A connection that is open as long as ``alive``."""

    def __init__(self, process: subprocess.Popen[bytes], control: Path, name: str) -> None:
        self._process = process
        self._socket = control
        self._name = name

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def run(self, command: str, *, timeout: float = COMMAND_TIMEOUT_S) -> Said:
        """Run a command line in the user's login shell there."""
        with subprocess.Popen(
            ["ssh", *_SHARING, "-S", self._socket, "--", self._name, command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            timer = threading.Timer(timeout, process.kill)
            timer.start()
            try:
                output, errors = _read(process)
            finally:
                timer.cancel()
                _end(process, ask=False)
        return Said(process.returncode, output.decode(errors="replace"), errors)

    def session(self, command: str, end: socket.socket) -> subprocess.Popen[bytes]:
        """Run a command line there with both of its streams at one ``end`` of a pair of sockets.

        What it complains of is in the ``log``. It is for the caller to see that it ends.
        """
        words: list[str | Path] = [*_DEAF, "ssh", *_SHARING, "-S", self._socket]
        words += ["--", self._name, command]
        with self.log.open("ab") as log:
            return subprocess.Popen(words, stdin=end.fileno(), stdout=end.fileno(), stderr=log)

    def connects(self, address: str, port: int, *, timeout: float) -> bool | None:
        """Tell whether a web server listens at an address as seen from there.

        ``None``: that can't be told within ``timeout`` seconds.
        """
        target = f"[{address}]" if ":" in address else address
        command: list[str | Path] = ["ssh", *_SHARING, "-S", self._socket]
        command += ["-W", f"{target}:{port}", "--", self._name]
        try:
            done = subprocess.run(
                command, input=_SAY_SOMETHING, capture_output=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired as late:
            return True if late.stdout else None
        return done.returncode == 0 or bool(done.stdout)

    @property
    def directory(self) -> Path:
        """Nobody else's, and gone with the connection."""
        return self._socket.parent

    @property
    def log(self) -> Path:
        """Where it is written what ssh, and what runs there, complain of."""
        return self.directory / "log"

    def complaints(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-MOST_LOG:].strip() if self.log.exists() else ""

    def forward(self, local_port: int, address: str, port: int) -> bool:
        """Forward a port of this host's loopback to ``address`` as seen from there.

        Returns:
            whether the local port was to be had.

        Raises:
            Disconnected: the connection does not react.
        """
        target = f"[{address}]" if ":" in address else address
        command: list[str | Path] = ["ssh", *_SHARING, "-S", self._socket, "-O", "forward"]
        command += ["-L", f"127.0.0.1:{local_port}:{target}:{port}", "--", self._name]
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, timeout=COMMAND_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            raise Disconnected(f"ssh to {self._name} does not react; try again") from None
        return done.returncode == 0


@contextmanager
def connected(
    destination: Destination, *, patience: int | None = None, ends_with_us: bool = False
) -> Iterator[Connection]:
    """Connect to a host, as long as the block runs; ssh asks at the terminal for what it needs.

    With ``patience`` it asks for nothing, and has so many seconds. With ``ends_with_us`` nothing
    of it is left when this process is killed; the host has to let its user run commands.

    Raises:
        Disconnected: ssh could not connect.
        JobctlError: there is no ssh.
    """
    directory = Path(tempfile.mkdtemp(prefix="jobctl-ssh-", dir="/tmp"))
    try:
        control, log = directory / "socket", directory / "log"
        how = [*_MASTER, "-o", f"ConnectTimeout={patience or _CONNECT_S}"]
        how += _WITHOUT_ASKING if patience else []
        # It complains of each try to reach a job that has stopped, and we say that ourselves.
        command: list[str | Path] = ["ssh", "-E", log, *how, "-S", control]
        if ends_with_us:
            command = [*_DEAF, *command, *destination.words, _UNTIL_WE_END]
        else:
            command += ["-N", *destination.words]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if ends_with_us else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        except FileNotFoundError:
            raise JobctlError("there is no ssh on this host; install openssh-client") from None
        try:
            connection = Connection(process, control, destination.name)
            while not control.exists():
                if process.poll() is not None:
                    raise Disconnected(
                        f"ssh could not connect to {destination.name}: "
                        f"{connection.complaints() or process.returncode}; try: "
                        f"ssh {destination.line} true"
                    )
                time.sleep(_PAUSE_S)
            yield connection
        finally:
            _end(process)
            if process.stdin:
                process.stdin.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _read(process: subprocess.Popen[bytes]) -> tuple[bytes, str]:
    """Return what a process writes to its two streams, as much of it as is wanted."""
    output, stream = process.stdout, process.stderr
    assert output is not None  # noqa: S101, for the type checker
    assert stream is not None  # noqa: S101
    errors: list[bytes] = []
    reader = threading.Thread(target=lambda: errors.append(stream.read(MOST_BYTES)))
    reader.start()
    said = output.read(MOST_BYTES)
    if len(said) == MOST_BYTES:
        process.kill()  # it would wait for somebody to read the rest
    reader.join()
    return said, b"".join(errors).decode(errors="replace")


def _end(process: subprocess.Popen[bytes], *, ask: bool = True) -> None:
    """Make sure that a process ends, which may be about to."""
    if ask:
        process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
