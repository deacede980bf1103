#!/usr/bin/env python3
"""Draw what a terminal shows after real commands, for the README: docs/screen.svg.

Needs an engine with the shipped images, and the ports from 8000 on; it leaves no job.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

PROJECT = Path(__file__).parent.parent
PICTURE = PROJECT / "docs" / "screen.svg"
JOBCTL = Path(sys.executable).with_name("jobctl")
WIDTH, HEIGHT = 80, 60
BEFORE = ("conduit", "tensorboard")
SHOWN = (
    ("run", "jupyter", "--generate-password", "--ttl", "8h"),
    ("stop", "8001"),
    ("ps", "--all"),
    ("top",),
)
# Rich names fonts on the web, and a picture is to load nothing.
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def main() -> None:
    """Launch the jobs, keep what the terminal shows, remove them."""
    screen = pyte.Screen(WIDTH, HEIGHT)
    stream = pyte.ByteStream(screen)
    with tempfile.TemporaryDirectory() as state:
        env = os.environ | {"XDG_STATE_HOME": state, "TERM": "xterm-256color"}
        Path(state).chmod(0o755)
        try:
            for app in BEFORE:
                launch = ["--quiet", "run", app, "--generate-password"]
                subprocess.run([JOBCTL, *launch], env=env, check=True, capture_output=True)
            for words in SHOWN:
                stream.feed(f"$ jobctl {' '.join(words)}\r\n".encode())
                _run(words, env, stream)
        finally:
            ids = subprocess.check_output([JOBCTL, "ps", "-aq"], env=env, text=True).split()
            subprocess.run([JOBCTL, "rm", "--force", *ids], env=env, check=True)
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(_text(screen), end="")
    PICTURE.write_text(_FONTS.sub("", console.export_svg(title="jobctl")))


def _run(words: tuple[str, ...], env: dict[str, str], stream: pyte.ByteStream) -> None:
    """Run a command at a terminal of its own and feed what it writes."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(env, COLUMNS=str(WIDTH))
        os.execv(JOBCTL, [str(JOBCTL), *words])  # noqa: S606
    try:
        while data := os.read(terminal, 1 << 16):
            stream.feed(data)
    except OSError:  # its end
        pass
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


def _text(screen: pyte.Screen) -> Text:
    """Return what a screen shows, with its colours, without the empty lines at its end."""
    lines = []
    for number in range(screen.cursor.y):
        line = Text()
        for column in range(WIDTH):
            cell = screen.buffer[number][column]
            colour = None if cell.fg == "default" else cell.fg.replace("brown", "yellow")
            line.append(cell.data, Style(color=colour, bold=cell.bold))
        line.rstrip()
        lines.append(line)
    return Text("\n").join(lines)


if __name__ == "__main__":
    main()
