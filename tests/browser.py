"""A person at a browser, who trusts the authority of a site and nothing else new."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Error, Page, sync_playwright

from tests.site import Site

Browse = Callable[..., Page]

SLOW_MS = 20_000
TENTATIVE = 0x40


def await_quiet_network() -> None:
    """Wait until the addresses of the interfaces that a launch has made are settled.

    Chromium gives up all that it is loading when one changes, and the kernel takes a second or two
    to make sure of an IPv6 address (``IFA_F_TENTATIVE`` of rtnetlink(7), the fifth column).
    """
    addresses = Path("/proc/net/if_inet6")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and addresses.exists():
        flags = [int(line.split()[4], 16) for line in addresses.read_text().splitlines()]
        if not any(flag & TENTATIVE for flag in flags):
            return
        time.sleep(0.1)


def trust(site: Site) -> Path:
    """Return a home directory whose browser trusts a site's authority."""
    home = site.root / "browser"
    database = home / ".pki" / "nssdb"
    if database.exists():
        return home
    database.mkdir(parents=True)
    for command in (
        ["-N", "--empty-password"],
        ["-A", "-t", "C,,", "-n", "jobctl", "-i", site.authority()],
    ):
        subprocess.run(["certutil", "-d", f"sql:{database}", *command], check=True)
    return home


@contextmanager
def browsing(site: Site, *flags: str, home: Path | None = None) -> Iterator[Browse]:
    """Yield a function that opens a browser, given the credentials that its user types.

    It trusts the site's authority, or whom a browser trusts that belongs in ``home``.
    """
    home = home or trust(site)
    with sync_playwright() as playwright:
        opened: list[BrowserContext] = []

        def browse(user: str | None = None, password: str = "") -> Page:
            await_quiet_network()
            context = playwright.chromium.launch_persistent_context(
                tempfile.mkdtemp(prefix="profile", dir=home),
                executable_path="/usr/bin/chromium",
                args=["--no-sandbox", "--disable-background-networking", *flags],
                env={**os.environ, "HOME": str(home)},
                viewport={"width": 1280, "height": 800},
                http_credentials={"username": user, "password": password} if user else None,
            )
            opened.append(context)
            return context.pages[0]

        yield browse
        for context in opened:
            context.close()


@pytest.fixture
def browse(site: Site) -> Iterator[Browse]:
    """Return a function that opens a browser which trusts the site's authority."""
    with browsing(site) as opened:
        yield opened


def status(page: Page, url: str) -> int:
    """Return the status of the answer; for a 401 Chromium may show a page of its own instead."""
    try:
        answer = page.goto(url)
    except Error as error:
        if "ERR_INVALID_AUTH_CREDENTIALS" not in str(error):
            raise
        return 401
    assert answer is not None
    return answer.status
