"""What ``config.yaml`` can say: the types of its keys, each with its limits and its meaning.

Finding and reading files is for ``jobctl.config``. The JSON Schema for editors is made from here.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from jobctl import durations, placeholders

SIZE = r"([1-9][0-9]{0,18})([kKmMgG]?)"
MOUNT = r"(~?/[^:\x00]*|~):(/[^:\x00]*)(?::(ro|rw))?"
ENV_NAME = "(?!JOBCTL_)[A-Za-z_][A-Za-z0-9_]*"
ENV_NAME_EXPECTED = "names of letters, digits and underscores, none starting with JOBCTL_"
CONTROL = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
"""As part of a pattern: what drives a terminal, ends a line or turns the direction of text."""
APP_NAME = r"[a-z0-9][a-z0-9_-]{0,39}"
APP_NAME_EXPECTED = "up to 40 lower-case letters, digits, dashes and underscores"


def nearest_app_name(text: str) -> str:
    """Return the name that an app may have which is nearest to ``text``; it may be empty."""
    return re.sub("[^a-z0-9_-]+", "-", text.strip().lower())[:40].strip("-_")


EXPECTED: dict[str, str] = {}
"""In words, what the text that a pattern describes has to be."""


def _text(pattern: str, expected: str) -> Meta:
    # In Python, $ alone is also before a line break at the end.
    pattern = f"^{pattern}$(?!\\n)"
    EXPECTED[pattern] = expected
    return Meta(pattern=pattern)


DAY_S = 86400
LAST_UID = 2**31 - 1  # of the engine; the kernel has more
LAST_PID = 2**22
LEAST_MEMORY = 6 * 1024**2
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def size_of(text: str) -> int:
    """Return the bytes in a ``Size`` such as ``512m``.

    Raises:
        ValueError: it is not one.
    """
    match = re.fullmatch(SIZE, text)
    if match is None:
        raise ValueError(f'"{text}" is not a size; expected a number with k, m or g, as in 512m')
    return int(match[1]) * _UNITS[match[2].lower()]


Port = Annotated[int, Meta(ge=1, le=65535)]
# Ports below 1024 are for root; the engine could bind them for anybody, which is no reason to.
HostPort = Annotated[int, Meta(ge=1024, le=65535)]
Size = Annotated[str, _text(SIZE, "a number of bytes with k, m or g, as in 512m")]
Duration = Annotated[str, _text(durations.PATTERN, durations.EXPECTED)]
Realm = Annotated[
    str,
    _text(
        r"[ !#-9;-\[\]-~]+",
        "printable ASCII without quotes, backslashes and colons",
    ),
]
UrlPath = Annotated[
    str, _text("/[!-~]{0,4095}", "a path that starts with /, in ASCII without spaces")
]
DomainName = Annotated[
    str,
    _text(
        r"([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?",
        "a domain name such as jobs.example.org",
    ),
]
WritablePath = Annotated[
    str, _text(r"(/(?!\.\.?(/|$))[^/:\x00]+)+", "the absolute path of a directory, not /")
]
Mount = Annotated[
    str, _text(MOUNT, "SRC:DST or SRC:DST:rw, both absolute paths; SRC may start with ~")
]
Word = Annotated[str, _text(r"[^\x00]*", "text without NUL")]
Line = Annotated[
    str, _text(f"[^{CONTROL}]{{0,4096}}", "text without line breaks and control characters")
]
Directory = Annotated[
    str, _text(f"(/|~$|~/)[^{CONTROL}]*", "an absolute path, or one that starts with ~/")
]
EnvName = Annotated[str, _text(ENV_NAME, ENV_NAME_EXPECTED)]
Ids = Annotated[str, _text("[0-9]{1,10}:[0-9]{1,10}", "UID or UID:GID, in numbers")]
Image = Annotated[
    str,
    _text(
        r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/:@-]{0,4095}", "the name of an image, as in debian:12"
    ),
]
Capability = Annotated[str, _text("[A-Za-z_]{1,40}", "the name of a capability, such as NET_RAW")]
Requirement = Annotated[
    str, _text(f"[A-Za-z0-9][^{CONTROL}]*", "a pip requirement such as marimo==0.9.1")
]
Constraint = Annotated[
    str,
    _text(
        r"[A-Za-z][A-Za-z0-9._-]*(==|!=)[A-Za-z0-9][A-Za-z0-9 :\-_./*()?+\[\]^|]*",
        "a placement constraint such as node.labels.gpu==true",
    ),
]
DebianPackage = Annotated[
    str, _text(r"[a-z0-9][a-z0-9.+-]+(=[A-Za-z0-9.+:~-]+)?", "the name of a Debian package")
]

# Each has its line in ``jobctl.engines.endpoints`` too.
EngineKind = Literal[
    "docker",  # also what speaks its API
    "podman",
    "swarm",
]
ENGINE_KINDS: tuple[EngineKind, ...] = get_args(EngineKind)

Include = Annotated[
    list[Line] | None,
    Meta(
        description="Other configuration files, whose apps are added to the ones below and whose "
        "general settings hold where this file has none; shipped: what comes with jobctl."
    ),
]


class General(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section ``general``: where jobs are recorded and which ports they may have."""

    user_dir_base: Annotated[
        Directory | None,
        Meta(description="Holds a directory a user, for records and files; null: the user's own."),
    ] = None
    port_range: Annotated[
        tuple[HostPort, HostPort], Meta(description="The host ports for jobs, both included.")
    ] = (8000, 10000)
    bind_address: Annotated[
        Line, Meta(description="The IP address that jobs' ports are published on.")
    ] = "127.0.0.1"
    job_domain: Annotated[
        DomainName | None,
        Meta(
            description="A domain in which every name leads to this host (a DNS wildcard): jobs "
            "that are exposed are opened as job-PORT.DOMAIN, each by a name of its own."
        ),
    ] = None
    engine: Annotated[EngineKind, Meta(description="The kind of container engine.")] = "docker"
    application_options: Annotated[
        list[Line] | None, Meta(description="The apps to offer; null: all of them.")
    ] = None
    max_ttl: Annotated[
        Duration | None,
        Meta(
            description="The most time that a job is given, and gets if it asks for none, such as "
            "7d; null: no limit."
        ),
    ] = None
    keep_ended: Annotated[
        Duration | None,
        Meta(
            description="How long ended jobs keep their containers, and so their logs, until "
            "`jobctl reap` removes them, such as 30d; null: until they are removed by hand."
        ),
    ] = None


class Build(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an app's image is made of, in place of a Dockerfile: packages on top of jobctl/base."""

    python: Annotated[
        list[Requirement], Meta(description="Packages from PyPI, as pip's requirements.")
    ] = []
    apt: Annotated[list[DebianPackage], Meta(description="Packages from Debian.")] = []
    requirements: Annotated[
        Line | None,
        Meta(description="A file of pip requirements beside config.yaml, versions pinned."),
    ] = None

    def __post_init__(self) -> None:
        if not (self.python or self.apt or self.requirements):
            raise ValueError("python: no package named; give python, apt or requirements")


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One app. The first six keys are the documented ones; ``options`` holds any further key."""

    require_password: Annotated[bool, Meta(description="Whether clients need a password.")] = True
    hash_algorithm: Annotated[
        Literal["apache_md5_digest", "bcrypt", "jupyter"],
        Meta(
            description="How the password is kept: apache_md5_digest (HTTP digest), bcrypt (HTTP "
            "basic) or jupyter (argon2, for Jupyter's own login)."
        ),
    ] = "apache_md5_digest"
    server_path: Annotated[Line, Meta(description="The app's program inside its image.")] = ""
    app_module_path: Annotated[
        Line | None,
        Meta(description="The app's Python module, or its directory; from config.yaml's own."),
    ] = None
    app_module: Annotated[
        Line | None, Meta(description="The module's name, if app_module_path is a directory.")
    ] = None
    protocol: Annotated[Literal["https"], Meta(description="What clients speak.")] = "https"

    image: Annotated[
        Image | None, Meta(description="The app's image; null: jobctl/ and the app's name.")
    ] = None
    build: Annotated[
        Build | None, Meta(description="Packages to make the image of, in place of a Dockerfile.")
    ] = None
    secured_by: Annotated[
        Literal["gateway", "app"],
        Meta(
            description="Who does TLS and checks the password: the gateway beside the app, or the "
            "app itself."
        ),
    ] = "gateway"
    command: Annotated[
        Word | list[Word] | None,
        Meta(
            description="What runs in the container: one line, split as a shell would, or a list "
            "of words. {listen} and {port} are where to listen, {args} what the user gave after "
            "--; without {args} that goes to the end. null: server_path, else what the image "
            "itself runs."
        ),
    ] = None
    args: Annotated[list[Word], Meta(description="The {args} of users who give none.")] = []
    app_port: Annotated[
        Port | None,
        Meta(
            description="Where the app listens, on {listen}, behind its gateway; null: on the "
            "port of the job, which is free there too."
        ),
    ] = None
    realm: Annotated[
        Realm | None, Meta(description="What a browser's password dialogue names; null: the app.")
    ] = None
    login_path: Annotated[
        UrlPath | None,
        Meta(description="Where an app that is secured_by: app has its login form."),
    ] = None
    ready_path: Annotated[
        UrlPath,
        Meta(description="What must answer, and must need the password, for the app to be ready."),
    ] = "/"
    launch_timeout: Annotated[
        float, Meta(gt=0, le=DAY_S, description="Seconds that the app may take until it is ready.")
    ] = 60
    stop_grace: Annotated[
        int,
        Meta(ge=0, le=DAY_S, description="Seconds between asking the app to end and killing it."),
    ] = 10
    ttl: Annotated[
        Duration | None,
        Meta(
            description="How long after its launch a job ends, such as 90m, 8h or 2d; null: never. "
            "It is `jobctl reap` that stops it."
        ),
    ] = None
    idle_timeout: Annotated[
        Duration | None,
        Meta(
            description="How long a job may be without traffic and work until `jobctl reap` stops "
            "it, such as 2h; null: for ever."
        ),
    ] = None
    allow_open: Annotated[
        bool,
        Meta(description="Let an app that needs no password be published beyond this host."),
    ] = False
    allow_bypass: Annotated[
        bool,
        Meta(
            description="Launch the app even if users of this host can reach it past the gateway, "
            "without the password, because it listens on all addresses of its container."
        ),
    ] = False

    mounts: Annotated[
        list[Mount],
        Meta(description="Host files and directories for the app: SRC:DST, SRC:DST:rw to write."),
    ] = []
    mount_cwd: Annotated[
        Literal["ro", "rw"] | None,
        Meta(description="Show the app the directory that it is launched from, at the same path."),
    ] = None
    writable: Annotated[
        list[WritablePath],
        Meta(description="Directories in the container that can be written, empty at each start."),
    ] = []
    env: Annotated[
        dict[EnvName, Word | int | float],
        Meta(description="Environment variables. Not for secrets: others can read them."),
    ] = {}
    user: Annotated[
        Annotated[int, Meta(ge=0, le=LAST_UID)] | Ids | None,
        Meta(description="UID or UID:GID in the container; null: the caller's."),
    ] = None
    memory: Annotated[Size, Meta(description="Most memory, such as 512m or 2g.")] = "1g"
    cpus: Annotated[float, Meta(ge=0.01, le=4096, description="Most CPU time, in cores.")] = 2
    pids: Annotated[int, Meta(ge=1, le=LAST_PID, description="Most processes and threads.")] = 512
    shm_size: Annotated[
        Size | None, Meta(description="Size of /dev/shm; null: what the engine gives, 64m.")
    ] = None
    gpus: Annotated[
        Literal["all"] | Annotated[int, Meta(ge=1, le=1024)] | None,
        Meta(description="GPUs: all, or how many."),
    ] = None
    healthcheck: Annotated[
        list[Word] | None,
        Meta(description="A command in the container that succeeds while the app works."),
    ] = None
    read_only: Annotated[
        bool, Meta(description="Keep the container's root file system from being written.")
    ] = True
    cap_add: Annotated[
        list[Capability],
        Meta(max_length=64, description="Linux capabilities to leave the app, such as NET_RAW."),
    ] = []
    constraints: Annotated[
        list[Constraint],
        Meta(
            description="On a Swarm: the nodes that come in question, such as "
            "node.labels.gpu==true; all must hold."
        ),
    ] = []
    reserve_memory: Annotated[
        Size | None,
        Meta(description="On a Swarm: memory that its node must have left for it, such as 2g."),
    ] = None
    reserve_cpus: Annotated[
        Annotated[float, Meta(ge=0.01, le=4096)] | None,
        Meta(description="On a Swarm: CPU time that its node must have left for it, in cores."),
    ] = None
    on_node_loss: Annotated[
        Literal["restart", "report"],
        Meta(
            description="On a Swarm, when its node is lost: restart it on another one, or report "
            "it and wait for that node."
        ),
    ] = "restart"
    options: dict[str, Any] = {}

    def __post_init__(self) -> None:
        """Check what goes together; each message starts with the key that it is about."""
        if self.hash_algorithm == "jupyter" and (self.secured_by != "app" or not self.login_path):
            raise ValueError(
                "hash_algorithm: only an app that is secured_by: app and has a login_path can "
                "check it; choose another"
            )
        if self.login_path and self.secured_by != "app":
            raise ValueError("login_path: the app has to be secured_by: app, or leave it out")
        if self.build and self.image:
            raise ValueError("image: build makes the image named after the app; leave image out")
        if self.secured_by == "app" and self.app_port is not None:
            raise ValueError("app_port: secured_by: app listens on the job's port; leave it out")
        self._check_numbers()
        self._check_placeholders()

    def _check_numbers(self) -> None:
        ids = str(self.user or 0).split(":")
        if any(int(number) > LAST_UID for number in ids):
            raise ValueError(f"user: ids go up to {LAST_UID}; choose a lower one")
        if size_of(self.memory) < LEAST_MEMORY:
            raise ValueError("memory: the engine gives no less than 6m; give more")
        for key, size in (("memory", self.memory), ("shm_size", self.shm_size)):
            if size and size_of(size) >= 2**63:
                raise ValueError(f"{key}: no host has as much; give less")

    def _check_placeholders(self) -> None:
        command = self.command or []
        words = placeholders.words(command) if isinstance(command, str) else command
        placeholders.check("command", words, args=True)
        placeholders.check("healthcheck", self.healthcheck or [])
        placeholders.check("env", [str(value) for value in self.env.values()])
        placeholders.check("mounts", self.mounts)


class File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A configuration file before what stands in its sections is looked at."""

    include: Include = None
    general: dict[str, Any] | None = None
    apps: dict[str, Any] | None = None
