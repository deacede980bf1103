"""The gateway's configuration: TLS, password and the way to the app, for lighttpd 1.4.69.

Pure: certificates, password files and containers are made elsewhere and passed in as values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from jobctl.errors import JobctlError

Auth = Literal["digest", "basic"]
LOOPBACK = "127.0.0.1"

_PORTS = (8443, 8444)
"""Where the gateway listens inside its container; the second if the app beside it has the first."""

# lighttpd keeps timeouts in 16 bits. A WebSocket or an event stream may be silent for as long.
SILENT_STREAM_S = 12 * 3600
# One login in ten minutes pays for a slow hash; a removed password works for as long.
LOGIN_CACHE_S = 600
# Cookies know host names, not ports: one browser sends those of all its jobs to each of them.
HEADERS_BYTES = 32768
SPOOL_FILE_BYTES = 65536
# Where images/gateway puts them: a volume on the engine's disk, and a script.
_SPOOL = "/var/spool/lighttpd"
_ANSWERS = "/etc/lighttpd/answers.lua"
_WORKERS = 2
_ENDED_BY_NODE = 143
"""A cluster takes a task that ends with 0 for done, and does not start it again with its node."""
APP_ADDRESS = "/tmp/app-address.conf"  # noqa: S108, inside the container
REACH_EVERY_S = 0.1
FOLLOW_EVERY_S = 3
LOOK_EVERY_S = 0.02
RESTART_PAUSE_S = 0.5

# What apps believe about who is asking and through what; only the gateway may say it.
_CLIENT_MAY_NOT_SAY = (
    "Authorization",
    "Client-IP",
    "Forwarded",
    "Front-End-Https",
    "Proxy",
    "Proxy-Authorization",
    "Remote-User",
    "True-Client-IP",
    "X-Auth-Request-Email",
    "X-Auth-Request-User",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Forwarded",
    "X-Forwarded-Access-Token",
    "X-Forwarded-Email",
    "X-Forwarded-For",
    "X-Forwarded-Groups",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Proto",
    "X-Forwarded-Scheme",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Forwarded-User",
    "X-Host",
    "X-Original-URL",
    "X-Real-IP",
    "X-Remote-User",
    "X-Rewrite-URL",
    "X-Scheme",
    "X-Url-Scheme",
    "X-WebAuth-User",
)

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_REALM = re.compile(r"[ !#-9;-\[\]-~]+")


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """What one job's gateway enforces. Paths are absolute, as inside its container.

    ``realm`` is the one that a digest password file was made for. Without ``auth`` everybody is
    let in, and there is no ``password_file``. ``app_host`` is where the app is, if not beside it.
    """

    certificate: str
    private_key: str
    password_file: str | None
    auth: Auth | None
    realm: str
    app_port: int
    app_host: str = LOOPBACK

    @property
    def port(self) -> int:
        return own_port(self.app_port)


def own_port(app_port: int) -> int:
    """Return where a gateway listens inside its container, beside an app on ``app_port``."""
    return next(port for port in _PORTS if port != app_port)


def command(config_path: str, app_port: int, app_host: str = LOOPBACK) -> list[str]:
    """Return what runs the gateway with the configuration at ``config_path``, until SIGTERM.

    It opens its port once the app listens. A gateway that is asked for the app before that takes
    it for broken and does not look again until the next full second, or the one after.

    If lighttpd ends, it is started again in the same container: a restarted container would have
    a network namespace of its own, and the app stay behind in the old one. Only a lighttpd that
    never opened its port ends the container, with its exit status.

    An ``app_host`` that is a name leads to another address whenever the app is started anew, while
    lighttpd looks names up but once: then it is started again too.
    """
    # A process group of its own: when lighttpd is asked to end, it signals all of its group.
    start = '/bin/busybox setsid /usr/sbin/lighttpd -D -f "$0" &'
    # The shell need not pass SIGTERM on: with the first process of a container all of them end.
    # There are workers once the port is open. Those that lost their parent answer, and hold it.
    script = f"""\
trap 'exit {0 if app_host == LOOPBACK else _ENDED_BY_NODE}' TERM
{_follow(app_host, app_port) if app_host != LOOPBACK else _await_app(app_port)}
{start}
until [ $(pidof lighttpd | wc -w) -gt {_WORKERS} ]; do
    kill -0 $! 2>/dev/null || {{ wait $!; exit; }}
    sleep {LOOK_EVERY_S}
done
while :; do
    wait $!
    echo "lighttpd ended with status $?, starting it again" >&2
    while killall -9 lighttpd 2>/dev/null; do sleep {LOOK_EVERY_S}; done
    sleep {RESTART_PAUSE_S} & wait $!
    {start}
done"""
    return ["/bin/busybox", "sh", "-c", script, config_path]


def healthcheck_command(app_port: int) -> list[str]:
    """Return what succeeds in the gateway's container while it and the app take connections."""
    return ["/bin/busybox", "sh", "-c", f"{_connects(own_port(app_port))} && {_connects(app_port)}"]


def _connects(port: int, host: str = LOOPBACK) -> str:
    # Debian's busybox has no `nc -z`; with -e it connects, runs the command and hangs up.
    return f"nc -w 2 {host} {port} -e /bin/busybox true"


def _await_app(port: int) -> str:
    return f"until {_connects(port)} 2>/dev/null; do sleep {LOOK_EVERY_S}; done"


def _follow(host: str, port: int) -> str:
    """Return what waits until an app is found by its name, and ends lighttpd when it has moved.

    The address is in a file that the configuration reads. For as long as the name leads where it
    did, nobody connects to the app to see.
    """
    # The first server in the answer is the resolver itself. Many gateways look on one host: what
    # they do over and over is no more than to ask.
    return f"""\
ask() {{ nslookup {host} 2>/dev/null; }}
reach() {{
    for one in $(ask | sed -n '3,$s/^Address: //p' | sort -u); do
        if {_connects(port, "$one")} 2>/dev/null; then
            printf 'var.app = "%s"\n' "$one" > {APP_ADDRESS}.new
            mv {APP_ADDRESS}.new {APP_ADDRESS}
            echo "$one"
            return
        fi
    done
    return 1
}}
until app=$(reach); do sleep {REACH_EVERY_S}; done
seen=$(ask)
while sleep {FOLLOW_EVERY_S}; do
    now=$(ask)
    if [ "$now" != "$seen" ] && one=$(reach); then
        seen=$now
        if [ "$one" != "$app" ]; then
            app=$one
            killall -9 lighttpd
        fi
    fi
done &"""


def render_config(gateway: Gateway) -> str:
    """Return the lighttpd configuration of one job's gateway.

    It needs no file but those it names and writes none but in ``/tmp`` and the image's volume; any
    unprivileged user can run it. Errors go to stderr, there is no access log: paths may carry an
    app's tokens.

    Raises:
        JobctlError: a value can't be said in lighttpd's language, or the values contradict.
    """
    modules = ["mod_openssl", "mod_setenv", "mod_magnet", "mod_proxy"]
    if gateway.auth:
        # Order is what keeps the password from the app: first it is checked, then removed.
        modules[1:1] = ["mod_auth", "mod_authn_file"]
    sections = (
        _server(gateway, modules),
        _tls(gateway),
        _auth(gateway),
        _headers(),
        _proxy(gateway),
    )
    return "\n".join(sections)


def _server(gateway: Gateway, modules: Iterable[str]) -> str:
    # From two workers on lighttpd has a parent that outlives a crash of what parses requests, and
    # replaces it. With one it is that one.
    # Everything is proxied, so the document root is never read.
    # URLs reach the app as the client wrote them: to the gateway all of them are the same.
    # HTTP/2 stays off: browsers then open WebSockets with a CONNECT, whose method is not the one
    # that the password digest was computed for.
    # Hints that go before an answer stay here: their headers could not be mended, browsers heed
    # them in HTTP/2 alone, and simple clients take them for the answer.
    # A wrong password is refused at once. lighttpd's pause of up to a second holds up one
    # connection, which stops nobody who opens many, but makes every verified launch wait.
    return f"""\
server.modules = ({", ".join(f'"{name}"' for name in modules)})
server.compat-module-load = "disable"
server.document-root = "/var/empty"
server.max-worker = {_WORKERS}
server.tag = ""
server.bind = "0.0.0.0"
server.port = {gateway.port}
server.http-parseopts = ("url-normalize" => "disable")
server.feature-flags = (
    "server.h2proto" => "disable",
    "server.h2c" => "disable",
    "server.h1-discard-backend-1xx" => "enable",
    "auth.delay-invalid-creds" => "disable"
)
server.max-request-field-size = {HEADERS_BYTES}
"""


def _tls(gateway: Gateway) -> str:
    # lighttpd can't say "if there is IPv6" and would not start without it, so a shell says it.
    ipv6 = f'$SERVER[\\"socket\\"] == \\"[::]:{gateway.port}\\" {{ ssl.engine = \\"enable\\" }}'
    return f"""\
ssl.engine = "enable"
ssl.pemfile = {_quoted("certificate", gateway.certificate)}
ssl.privkey = {_quoted("private_key", gateway.private_key)}
ssl.openssl.ssl-conf-cmd = (
    "MinProtocol" => "TLSv1.2",
    "CipherString" => "ECDHE+AESGCM:ECDHE+CHACHA20",
    "Options" => "ServerPreference,PrioritizeChaCha"
)
include_shell "test ! -e /proc/net/if_inet6 || echo '{ipv6}'"
"""


def _auth(gateway: Gateway) -> str:
    if gateway.auth is None:
        if gateway.password_file is not None:
            raise JobctlError(
                f'there is a password file "{gateway.password_file}", but no way to ask for the '
                "password; set auth to digest or basic"
            )
        return ""
    if gateway.password_file is None:
        raise JobctlError(f"{gateway.auth} authentication needs a password_file; set one")
    if not _REALM.fullmatch(gateway.realm):
        raise JobctlError(
            f"realm {gateway.realm!r}: expected printable ASCII without quotes, backslashes, colons"
        )
    backend = "htdigest" if gateway.auth == "digest" else "htpasswd"
    algorithm = '"algorithm" => "MD5", ' if gateway.auth == "digest" else ""
    # The empty prefix: "/" would let `OPTIONS *` and `CONNECT host:port` through.
    return f"""\
auth.backend = "{backend}"
auth.backend.{backend}.userfile = {_quoted("password_file", gateway.password_file)}
auth.cache = ("max-age" => "{LOGIN_CACHE_S}")
auth.require = ("" => (
    "method" => "{gateway.auth}", {algorithm}"realm" => "{gateway.realm}",
    "require" => "valid-user"
))
"""


def _headers() -> str:
    # Many app servers take `X_Real_IP` for `X-Real-IP` (CGI turns both into one variable).
    names = [*_CLIENT_MAY_NOT_SAY]
    names += [name.replace("-", "_") for name in names if "-" in name]
    blank = ",\n".join(f'    "{name}" => ""' for name in names)
    # A job shares its host name with others, of which some may speak plain HTTP.
    return f"""\
setenv.set-request-header = (
{blank}
)
setenv.set-response-header = ("Strict-Transport-Security" => "")
"""


def _proxy(gateway: Gateway) -> str:
    # The 2 of both streams: pass on what came, and read no faster than the other side takes.
    # What is on its way still passes through files, which go once their size is reached and sent;
    # small ones, because /tmp is memory and many may upload. Two things are not held back, and go
    # to the disk when /tmp is full: an upload without a length that the app is slow to read
    # (lighttpd stops reading only while it holds over 60 KB, but passes on less than 48 KB), and
    # what an app has written when it hangs up.
    # Ranges are the app's business: lighttpd would cut up short answers that happen to be complete.
    # A client that goes is a connection that ends, for the app as well, even while it is silent.
    # A backend that did not answer is asked again at the next full second, not later.
    # An open WebSocket counts as a request being read; other clients get lighttpd's 60 s.
    # proxy.header could not mend redirects: it has to know in advance by which names clients come.
    local = gateway.app_host == LOOPBACK
    host = f'"{LOOPBACK}"' if local else "var.app"
    return f"""\
{"" if local else f'include "{APP_ADDRESS}"'}
server.upload-dirs = ("/tmp", "{_SPOOL}")
server.upload-temp-file-size = {SPOOL_FILE_BYTES}
server.stream-request-body = 2
server.stream-response-body = 2
server.range-requests = "disable"
server.max-write-idle = {SILENT_STREAM_S}
$REQUEST_HEADER["Upgrade"] != "" {{ server.max-read-idle = {SILENT_STREAM_S} }}
magnet.attract-response-start-to = ("{_ANSWERS}")
proxy.header = ("upgrade" => "enable")
proxy.server = ("" => ((
    "host" => {host}, "port" => {gateway.app_port},
    "disable-time" => 0, "tcp-fin-propagate" => "enable"
)))
"""


def _quoted(name: str, value: str) -> str:
    """Return ``value`` as a lighttpd string, in which only a quote is special (configfile.c).

    Raises:
        JobctlError: it has control characters, or a backslash where it would hide a quote.
    """
    if _CONTROL.search(value) or re.search(r'\\("|$)', value):
        raise JobctlError(
            f"{name} {value!r}: lighttpd can't read a path with control characters, or with a "
            "backslash before a quote or at its end; rename it"
        )
    return '"' + value.replace('"', '\\"') + '"'
