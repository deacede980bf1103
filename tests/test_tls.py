"""What testssl.sh, a scanner that others trust, has to say about the ports of running jobs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.profile import NIGHTLY
from tests.site import Site

pytestmark = pytest.mark.engine

# Protocols, server's preferences and defaults, cipher suites, forward secrecy, vulnerabilities but
# for those of which OpenSSL 1.0.1 was the last to have any (Heartbleed and others).
QUICK = ["-p", "-P", "-S", "-s", "-f", "-U", "--ids-friendly"]
APPS = ("conduit", "jupyter")
"""Behind the gateway, and with a TLS of its own."""
UNTESTED = "WARN"
ACCEPTED = {
    "cert_revocation": "nobody would answer for a private authority while its owner is away; a "
    "leaf ends after 90 days, and `rm` deletes its key",
    "security_headers": "of the start page, which is a refusal or a redirect; what the pages "
    "behind it allow is for the app to say",
    "engine_problem": "the OpenSSL of the scanning host has no GOST",
    "sessionresumption_ticket": "the scanner may have hung up when TLS 1.3's ticket comes",
}

Findings = Mapping[str, Mapping[str, str]]


def scanned(site: Site, app: str, directory: Path) -> Findings:
    """Return what testssl.sh finds at the port of a new job, by the name of the finding."""
    job = site.run_json("run", app, "--generate-password", "--json")
    report = directory / f"{app}.json"
    program = shutil.which("testssl") or "testssl.sh"
    command = [
        *(program, "--quiet", "--color=0", "--warnings=off", "--nodns=none"),
        *(f"--add-ca={site.authority()}", f"--jsonfile={report}"),
        *([] if NIGHTLY else QUICK),
        job["url"],
    ]
    # It tries its own OpenSSL by connecting to a place that does not exist: not by way of the DNS.
    env = {"PATH": os.environ["PATH"], "HOME": str(directory), "TERM": "dumb"}
    env["NXCONNECT"] = "127.0.0.1:0"
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    # Up to 50 it counts what it could not test, which the report names; then it has failed.
    assert done.returncode <= 50, done.stdout + done.stderr
    return {finding["id"]: finding for finding in json.loads(report.read_text())}


@pytest.fixture(scope="module")
def scans(shared_site: Site, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Findings]:
    directory = tmp_path_factory.mktemp("testssl")
    shared_site.authority()
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda app: scanned(shared_site, app, directory), APPS)
        return dict(zip(APPS, found, strict=True))


@pytest.fixture(params=APPS)
def findings(scans: dict[str, Findings], request: pytest.FixtureRequest) -> Findings:
    return scans[request.param]


def test_nothing_is_found_that_matters(findings: Findings) -> None:
    graded = {name for name, finding in findings.items() if finding["severity"] == "OK"}
    wrong = {
        name: finding["finding"]
        for name, finding in findings.items()
        if finding["severity"] in ("MEDIUM", "HIGH", "CRITICAL", UNTESTED)
    }

    assert {name: said for name, said in wrong.items() if name not in ACCEPTED} == {}
    assert {"cert_chain_of_trust", "cert_trust", "cipher_order", "secure_renego"} <= graded


def test_tls_1_2_and_1_3_alone_are_spoken(findings: Findings) -> None:
    versions = ("SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2", "TLS1_3")
    offered = [name for name in versions if findings[name]["finding"].startswith("offered")]

    assert offered == ["TLS1_2", "TLS1_3"]


def test_every_suite_has_forward_secrecy_and_authenticates_what_it_encrypts(
    findings: Findings,
) -> None:
    """All suites of TLS 1.3 do (RFC 8446, 1.2)."""
    suites = findings["cipherorder_TLSv1_2"]["finding"].split()

    assert set(suites) == {
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    }
