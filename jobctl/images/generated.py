"""Images without a Dockerfile of their own: a list of Python packages, of Debian packages, or both.

Writes the Dockerfile and the lists beside it; knows no configuration and no engine.

Lists that pin everything make the same file tree each time, but for the times of files, which
builders set as they like. Beyond that are Python packages without a wheel, whose build may fetch
the newest of others, and Debian packages that make up a key, or note the time, when installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jobctl.images.source import BASE, Source

# pip lives in an environment of its own, so that the one that is kept never holds it.
# Compiled here, as the root file system is read-only at run time: unchecked, since the files never
# change, and all of them (-f), whatever ran meanwhile. Packages may hold files that are no Python.
_PYTHON_STAGE = """\
FROM jobctl/base AS python
COPY .jobctl-site/ /tmp/site/
RUN set -eu; \\
    export APT_CONFIG=/tmp/site/apt.conf DEBIAN_FRONTEND=noninteractive; \\
    apt-get update -q; \\
    apt-get install -qy -o Dpkg::Use-Pty=0 --no-install-recommends python3-venv
COPY python.txt requirements.txt /tmp/
RUN set -eu; \\
    export PIP_CONFIG_FILE=/tmp/site/pip.conf PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1; \\
    if [ -s /tmp/site/ca.crt ]; then export PIP_CERT=/tmp/site/ca.crt; fi; \\
    python3 -m venv /tmp/tools; \\
    python3 -m venv --without-pip /opt/app/venv; \\
    pip="/tmp/tools/bin/pip --python /opt/app/venv/bin/python"; \\
    $pip install --prefer-binary --no-compile --root-user-action ignore \\
        -r /tmp/python.txt -r /tmp/requirements.txt; \\
    $pip freeze --all >/opt/app/requirements.txt; \\
    python3 -m compileall -qqf --invalidation-mode unchecked-hash /opt/app/venv/lib || true; \\
    chmod -R u=rwX,go=rX /opt/app
"""
_COPY_PYTHON = "COPY --from=python /opt/app/ /opt/app/\n"

# The date is for the programs that would write today's into a file (the one of `debian.EPOCH`).
# Java's packages want the directory of manual pages, which the base leaves out.
# What goes at the end differs from build to build: caches, logs, the identity of the machine.
_APT_STAGE = """\
FROM jobctl/base AS system
COPY .jobctl-site/ /tmp/site/
COPY apt.txt /tmp/
RUN set -eu; \\
    export APT_CONFIG=/tmp/site/apt.conf DEBIAN_FRONTEND=noninteractive; \\
    export SOURCE_DATE_EPOCH=1735689600; \\
    mkdir -p /usr/share/man/man1; \\
    apt-get update -q; \\
    xargs -a /tmp/apt.txt apt-get install -qy -o Dpkg::Use-Pty=0 --no-install-recommends --; \\
    find /var/cache /var/log /var/lib/apt/lists -type f -delete; \\
    rm -rf /etc/machine-id /var/lib/dbus/machine-id /tmp/*
"""
# Flattened: no layer keeps what this host's proxies and certificates were.
_FLATTENED = """\
FROM scratch
COPY --from=system / /
"""

# Spelled out, since what starts from nothing has no PATH to put it before.
_USE = """\
ENV PATH=/opt/app/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
USER 65532:65532
"""


def generated(
    tag: str, *, python: Sequence[str], apt: Sequence[str], requirements: bytes | None
) -> Source:
    """Return the source of an image that has these packages on top of our base.

    ``python`` are requirements as pip takes them, and ``requirements`` is a file of more of them;
    a ``--hash`` in it makes pip ask for one of each. All go into ``/opt/app/venv``, first on
    ``PATH``, with what pip chose pinned in ``/opt/app/requirements.txt``. ``apt`` are Debian
    packages for run time: nothing compiles here, so each Python package needs a wheel that fits,
    or to be Python alone.
    """
    files = {}
    stages = []
    final = "FROM jobctl/base\n"
    if apt:
        files["apt.txt"] = _lines(apt)
        stages.append(_APT_STAGE)
        final = _FLATTENED
    if python or requirements is not None:
        files["python.txt"] = _lines(python)
        files["requirements.txt"] = requirements or b""
        stages.append(_PYTHON_STAGE)
        final += _COPY_PYTHON
    files["Dockerfile"] = "\n".join([*stages, final + _USE]).encode()
    return Source(tag=tag, recipe=files, parents=(BASE,))


def _lines(entries: Iterable[str]) -> bytes:
    return "".join(f"{entry}\n" for entry in entries).encode()
