"""A socket in front of the engine's that counts a client's requests and lets one of them go wrong.

HTTP/1.1 with connections kept alive, chunked answers and streams taken over after an upgrade. What
is passed on is byte for byte what came.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType

import h11

CHUNK_BYTES = 1 << 16
DELAY_S = 1.0
REFUSAL = b'{"message":"the test says no"}'


class Fault(Enum):
    """What can happen to a request: before it is passed on, or once the engine has answered.

    A signal goes to the client. One that ends it at once is not outlived by its request; after
    the others the request goes on its way, as one does that the engine has already read.
    """

    KILL_BEFORE = "SIGKILL before the request"
    KILL_AFTER = "SIGKILL after the answer"
    INTERRUPT_BEFORE = "SIGINT before the request"
    INTERRUPT_AFTER = "SIGINT after the answer"
    TERMINATE_BEFORE = "SIGTERM before the request"
    TERMINATE_AFTER = "SIGTERM after the answer"
    REFUSE = "status 500 instead of the request"
    DROP_BEFORE = "hung up before the request"
    DROP_AFTER = "hung up after the answer"
    CUT = "hung up in the middle of the answer"
    DELAY = "an answer that comes late"


_VERSION = re.compile(r"^/v[0-9.]+(?=/)")
_ID = re.compile(r"/[0-9a-f]{64}")
_SIGNALS = {
    Fault.KILL_BEFORE: signal.SIGKILL,
    Fault.KILL_AFTER: signal.SIGKILL,
    Fault.INTERRUPT_BEFORE: signal.SIGINT,
    Fault.INTERRUPT_AFTER: signal.SIGINT,
    Fault.TERMINATE_BEFORE: signal.SIGTERM,
    Fault.TERMINATE_AFTER: signal.SIGTERM,
}
_BEFORE = {Fault.KILL_BEFORE, Fault.INTERRUPT_BEFORE, Fault.TERMINATE_BEFORE, Fault.DROP_BEFORE}
_ENDS = {Fault.KILL_BEFORE, Fault.KILL_AFTER, Fault.DROP_BEFORE, Fault.DROP_AFTER}


@dataclass(frozen=True)
class Request:
    """A request that was seen."""

    method: str
    path: str

    def __str__(self) -> str:
        path = self.path.partition("?")[0]
        return f"{self.method} {_ID.sub('/ID', _VERSION.sub('', path))}"


When = Callable[[Sequence[Request]], bool]


class EngineProxy(AbstractContextManager["EngineProxy"]):
    """Passes on what comes to ``endpoint``, but for the faults it was told of."""

    def __init__(self, engine_socket: str) -> None:
        self.requests: list[Request] = []
        """All that were seen, in their order."""
        self.struck_at: float | None = None
        """When a fault came to pass, by the monotonic clock."""
        self.struck: Request | None = None
        """The request that met it."""
        self._engine_socket = engine_socket
        self._faults: list[tuple[When, Fault]] = []
        self._lock = threading.Lock()
        self._closing = ExitStack()

    def at(self, when: When, fault: Fault) -> None:
        """Let the first request go wrong of which ``when`` is true.

        It gets the requests so far, this one included.
        """
        self._faults.append((when, fault))

    @property
    def endpoint(self) -> str:
        return f"unix://{self._path}"

    def __enter__(self) -> EngineProxy:
        directory = Path(self._closing.enter_context(tempfile.TemporaryDirectory()))
        directory.chmod(0o755)
        self._path = directory / "engine.sock"
        self._listener = self._closing.enter_context(socket.socket(socket.AF_UNIX))
        self._listener.bind(str(self._path))
        self._path.chmod(0o666)
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Closing alone would leave the thread in accept(2).
        self._listener.shutdown(socket.SHUT_RDWR)
        self._closing.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as engine, suppress(OSError, StopIteration):
            engine.connect(self._engine_socket)
            while self._exchange(client, engine):
                pass

    def _exchange(self, client: socket.socket, engine: socket.socket) -> bool:
        """Pass on one request and its answer; return whether the connection goes on."""
        head, message = _request(client)
        with self._lock:
            self.requests.append(Request(head.method.decode(), head.target.decode()))
            fault = self._due()
        if fault is Fault.REFUSE:
            client.sendall(_refusal())
            return False
        if fault in _BEFORE and self._strike(fault, client):
            return False
        if fault is Fault.DELAY:
            time.sleep(DELAY_S)
        engine.sendall(message)
        parser = _parser_of_answer(head)
        pieces = _pieces(parser, engine, client)
        first = next(pieces)
        if fault not in _BEFORE and fault and self._strike(fault, client):
            return False
        if fault is Fault.CUT:
            whole = first + b"".join(pieces)
            client.sendall(whole[: len(whole) // 2])
            return False
        client.sendall(first)
        for piece in pieces:
            client.sendall(piece)
        if parser.their_state is h11.SWITCHED_PROTOCOL:
            _pipe(client, engine)
        return parser.their_state is h11.DONE

    def _due(self) -> Fault | None:
        for entry in self._faults:
            when, fault = entry
            if when(self.requests):
                self._faults.remove(entry)
                self.struck = self.requests[-1]
                return fault
        return None

    def _strike(self, fault: Fault, client: socket.socket) -> bool:
        """Do to the client what the fault says; return whether that ends the connection."""
        if fault in _SIGNALS:
            process = _peer(client)
            self.struck_at = time.monotonic()
            _send_signal(process, _SIGNALS[fault])
        return fault in _ENDS


def _request(client: socket.socket) -> tuple[h11.Request, bytes]:
    """Return a request's head and all its bytes.

    Raises:
        StopIteration: the client has hung up.
    """
    parser, message, head = h11.Connection(h11.SERVER), b"", None
    while True:
        event = parser.next_event()
        if isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return head, message
        elif event is h11.NEED_DATA:
            if not (data := client.recv(CHUNK_BYTES)):
                raise StopIteration
            message += data
            parser.receive_data(data)


def _parser_of_answer(head: h11.Request) -> h11.Connection:
    """Return a parser that knows what was asked, without the body, which is of no matter here."""
    parser = h11.Connection(h11.CLIENT)
    kept = [(name, value) for name, value in head.headers if name in (b"connection", b"upgrade")]
    headers = [(b"host", b"engine"), *kept]
    parser.send(h11.Request(method=head.method, target=head.target, headers=headers))
    parser.send(h11.EndOfMessage())
    return parser


def _pieces(
    parser: h11.Connection, engine: socket.socket, client: socket.socket
) -> Iterator[bytes]:
    """Yield an answer's bytes as they come, its whole head first; end with the answer."""
    held = b""
    answered = False
    while True:
        event = parser.next_event()
        if isinstance(event, h11.Response | h11.InformationalResponse):
            answered = True
        ended = isinstance(event, h11.EndOfMessage | h11.ConnectionClosed) or event is h11.PAUSED
        if answered and held and (ended or event is h11.NEED_DATA):
            yield held
            held = b""
        if ended:
            return
        if event is h11.NEED_DATA:
            # The client sends nothing now: if there is something to read, it has hung up.
            readable, _, _ = select.select([engine, client], [], [])
            if engine not in readable:
                raise ConnectionResetError
            data = engine.recv(CHUNK_BYTES)
            held += data
            parser.receive_data(data)


def _pipe(client: socket.socket, engine: socket.socket) -> None:
    """Pass on in both directions until one side hangs up."""
    other = {client: engine, engine: client}
    while True:
        for source in select.select([client, engine], [], [])[0]:
            if not (data := source.recv(CHUNK_BYTES)):
                return
            other[source].sendall(data)


def _refusal() -> bytes:
    answer = h11.Connection(h11.SERVER)
    headers = [("content-type", "application/json"), ("content-length", str(len(REFUSAL)))]
    parts = [
        answer.send(h11.Response(status_code=500, headers=[*headers, ("connection", "close")])),
        answer.send(h11.Data(data=REFUSAL)),
        answer.send(h11.EndOfMessage()),
    ]
    return b"".join(part for part in parts if part)


def _peer(client: socket.socket) -> int:
    """Return the process that has connected (``SO_PEERCRED`` of unix(7))."""
    size = struct.calcsize("3i")
    pid, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(pid)


def _send_signal(process: int, number: signal.Signals) -> None:
    """Send a signal; one that can't be caught has done its work on return."""
    descriptor = os.pidfd_open(process)
    try:
        signal.pidfd_send_signal(descriptor, number)
        if number is signal.SIGKILL:
            select.select([descriptor], [], [])
    finally:
        os.close(descriptor)
