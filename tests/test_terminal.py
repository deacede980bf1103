"""At a terminal: hidden prompts, completion, the older names of the commands."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pexpect
import pytest

from tests.site import Site
from tests.test_end_to_end import get

pytestmark = pytest.mark.engine


def spawn(site: Site, *arguments: str) -> pexpect.spawn[str]:
    """Run a command on a terminal of its own."""
    return pexpect.spawn(
        str(site.command),
        list(arguments),
        env={**site.env, "TERM": "dumb"},
        cwd=str(site.state.parent),
        encoding="utf-8",
        timeout=30,
    )


def test_server_asks_twice_and_shows_nothing_of_the_password(site: Site) -> None:
    terminal = spawn(site, "server", "-a", "conduit")
    terminal.logfile_read = shown = io.StringIO()
    for answer in ("correct horse", "battery", "correct horse", "correct horse"):
        terminal.expect("(Password|Again): ")
        terminal.sendline(answer)
    terminal.expect("is running conduit, verified")
    terminal.expect(pexpect.EOF)
    assert "verified" in shown.getvalue()
    assert "horse" not in shown.getvalue()
    (job,) = site.run_json("client", "-q")
    assert job["password_hash"] == "********"
    assert get(job["url"], site, user=job["owner"], password="correct horse") == 200
    assert get(job["url"], site, user=job["owner"], password="battery") == 401


def test_ids_and_apps_complete(site: Site) -> None:
    job = site.run_json("broker", "-r", "-a", "conduit", "-p", "0" * 32)
    site.env |= {"_JOBCTL_COMPLETE": "complete_bash", "COMP_CWORD": "2"}
    for words, expected in (("stop job", job["job_id"]), ("run con", "conduit")):
        site.env["COMP_WORDS"] = f"jobctl {words}"
        assert site.run(check=False).stdout.split() == [expected]


def test_machine_output_is_json_and_nothing_else(site: Site) -> None:
    done = site.run("broker", "-r", "-a", "conduit", "-p", "0" * 32)
    assert json.loads(done.stdout)["status"] == "registered"
    for arguments in (("ps", "--json"), ("client", "-q"), ("broker", "-q"), ("apps", "--json")):
        assert isinstance(site.run_json(*arguments), list)
    tags = {image["tag"]: image for image in site.run_json("images", "ls", "--json")}
    assert {"jobctl/base", "jobctl/gateway", "jobctl/conduit"} <= set(tags)
    assert all(image["present"] for image in tags.values())


def test_the_authority_can_be_given_to_clients_and_its_key_stays(site: Site) -> None:
    target = site.root / "jobctl-ca.crt"
    site.run("ca", "export", str(target))
    certificate = target.read_text()
    assert certificate == site.run("ca", "export", "-").stdout
    assert certificate == Path(site.authority()).read_text()
    assert "PRIVATE" not in certificate
