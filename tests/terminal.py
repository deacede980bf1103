"""A command on a terminal of its own, and what is to be seen there at each moment."""

from __future__ import annotations

import re
import time

import pexpect
import pyte

from tests.site import Site

PAUSE_S = 0.05


class Terminal:
    """Runs a site's command on a pty, before the screen of a terminal in memory."""

    def __init__(
        self,
        site: Site,
        *arguments: str,
        columns: int = 80,
        term: str = "xterm-256color",
        **env: str,
    ) -> None:
        self.raw = b""
        self.process: pexpect.spawn[bytes] = pexpect.spawn(
            str(site.command),
            list(arguments),
            env={**site.env, "TERM": term, **env},
            cwd=str(site.state.parent),
            dimensions=(24, columns),
        )
        self.screen = pyte.Screen(columns, 24)
        self._stream = pyte.ByteStream(self.screen)

    @property
    def pid(self) -> int:
        """The process id of the command."""
        assert self.process.pid is not None
        return int(self.process.pid)

    @property
    def text(self) -> str:
        """What is to be seen now, without the blanks at the ends."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def see(self, pattern: str, *, timeout: float = 30) -> str:
        """Wait until something is to be seen, and return what is."""
        return self._wait(pattern, timeout=timeout, seen=True)

    def see_no_more(self, pattern: str, *, timeout: float = 30) -> str:
        """Wait until something is not to be seen any more, and return what is."""
        return self._wait(pattern, timeout=timeout, seen=False)

    def end(self) -> int:
        """Wait for the end of the command and return its exit code."""
        while self._read():
            pass
        self.process.close()
        assert self.process.exitstatus is not None, self.process.signalstatus
        return int(self.process.exitstatus)

    def _wait(self, pattern: str, *, timeout: float, seen: bool) -> str:
        deadline = time.monotonic() + timeout
        while bool(re.search(pattern, self.text)) is not seen:
            over = not self._read() or time.monotonic() > deadline
            assert not over, f"{pattern} is{' not' * seen} there:\n{self.text}"
        return self.text

    def _read(self) -> bool:
        """Show what came meanwhile and return whether there may be more."""
        try:
            data = self.process.read_nonblocking(1 << 16, timeout=PAUSE_S)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += bytes(data)
        self._stream.feed(data)
        return True
