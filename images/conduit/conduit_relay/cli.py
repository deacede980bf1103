"""The command line of `conduit_relay_node_viewer`: arguments in, an exit code out.

Exit codes: 0 stopped by a signal, 1 can't show the data or listen, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path
from types import FrameType

from aiohttp import web

from conduit_relay.node import DataError
from conduit_relay.protocols import READERS
from conduit_relay.server import create_app
from conduit_relay.source import Source

log = logging.getLogger("conduit_relay")

PROGRAM = "conduit_relay_node_viewer"
WEB_CLIENT = Path("/usr/local/share/conduit/web_clients/node_viewer")
_STOP_SECONDS = 2.0


class CannotStart(Exception):
    """The server can't start; the message is one line and says what to do next."""


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal comes; return the exit code."""
    # Process 1 of a container ignores SIGTERM unless it has a handler; data may load for seconds.
    signal.signal(signal.SIGTERM, _exit)
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format=f"%(asctime)s {PROGRAM}: %(levelname)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S%z",
    )
    # It would count events; what matters here is whether the data differs.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    options = _parser().parse_args(arguments)
    try:
        _serve(options)
    except (DataError, CannotStart) as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    return 0


def _serve(options: argparse.Namespace) -> None:
    address, port, doc_root = options.address, options.port, options.doc_root
    if not (doc_root / "index.html").is_file():
        raise CannotStart(
            f"no index.html in the document root {doc_root}; pass the web client with --doc-root"
        )
    source = Source(options.data, options.protocol)

    def announce(_: str) -> None:
        shown = f"[{address}]" if ":" in address else address
        log.info(
            "serving %s (%s) at http://%s:%d/", source.path, source.snapshot.protocol, shown, port
        )

    app = create_app(source, doc_root)
    try:
        web.run_app(
            app,
            host=address,
            port=port,
            shutdown_timeout=_STOP_SECONDS,
            access_log=None,
            print=announce,
            handle_signals=True,
        )
    except OSError as error:
        raise CannotStart(
            f"cannot listen on {address} port {port}: {error.strerror}; "
            "choose another with --address or --port"
        ) from None
    log.info("stopped")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Show a Conduit data file in a web page, live.",
        allow_abbrev=False,
    )
    parser.add_argument("--address", default="127.0.0.1", help="IP address to bind (%(default)s)")
    parser.add_argument("--port", type=_port, default=9000, help="port to listen on (%(default)s)")
    parser.add_argument("--protocol", help=f"{', '.join(READERS)} (default: from the file)")
    parser.add_argument(
        "--doc-root",
        type=Path,
        default=WEB_CLIENT,
        help="directory of the web client (%(default)s)",
    )
    for refused in ("--htpasswd", "--cert", "--gateway"):
        parser.add_argument(refused, action=_Refuse, help=argparse.SUPPRESS)
    parser.add_argument("--entangle", nargs=0, action=_Refuse, help=argparse.SUPPRESS)
    parser.add_argument("data", metavar="DATA", type=Path, help="the data file")
    return parser


class _Refuse(argparse.Action):
    """An option of the real viewer that has no place here."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        _namespace: argparse.Namespace,
        _values: object,
        option_string: str | None = None,
    ) -> None:
        parser.error(
            f"{option_string} is not supported: the gateway in front of this server owns TLS and "
            "passwords; leave the option out"
        )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f'expected a port from 1 to 65535, got "{text}"')
    return int(text)


def _exit(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
