"""An app that leaves in browsers what they let it, and tells which cookies come back.

It runs inside a container and therefore imports nothing of this project.
"""

from __future__ import annotations

import http.server
import json
import sys

WORKER = b"self.addEventListener('fetch', () => {})"
last: list[str | None] = [None]
"""The cookies that came with the latest request for /noted."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers ``/`` with a page, ``/cookies`` with the request's, and sets some."""

    def do_GET(self) -> None:
        cookies = self.headers.get("Cookie")
        kind, body = "application/json", json.dumps(cookies).encode()
        if self.path == "/":
            kind, body = "text/html", b"<title>storage</title>"
        elif self.path == "/worker.js":
            kind, body = "text/javascript", WORKER
        elif self.path == "/noted":
            last[0] = cookies
        elif self.path == "/last":
            body = json.dumps(last[0]).encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.path == "/":
            self.send_header("Set-Cookie", f"from-server={sys.argv[2]}; Secure; HttpOnly")
            self.send_header("Set-Cookie", f"wide-server={sys.argv[2]}; Domain=localhost")
            self.send_header("Strict-Transport-Security", "max-age=31536000")
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
