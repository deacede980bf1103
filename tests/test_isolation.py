"""What one job's pages can learn of another's in the same browser, by the names they are given."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext

from tests.browser import Browse, browsing
from tests.conftest import bridge_address
from tests.site import Site
from tests.test_jupyter import log_in

pytestmark = [pytest.mark.engine, pytest.mark.browser]

PASSWORD = "one for all of them"
DOMAIN = "jobs.test"
# All that a page can leave; the domain is the widest that both jobs have in common.
LEAVE = """async ([name, domain]) => {
    document.cookie = `own=${name}; Secure`
    document.cookie = `wide=${name}; Domain=${domain}`
    localStorage.setItem("own", name)
    await (await caches.open("own")).put("/kept", new Response(name))
    await new Promise((done, failed) => {
        const opening = indexedDB.open("own")
        opening.onsuccess = done
        opening.onerror = failed
    })
    await navigator.serviceWorker.register("/worker.js")
    await navigator.serviceWorker.ready
}"""
FIND = """async () => ({
    cookies: document.cookie,
    sent: await (await fetch("/cookies")).json(),
    local: localStorage.getItem("own"),
    caches: await caches.keys(),
    databases: (await indexedDB.databases()).map(found => found.name),
    workers: (await navigator.serviceWorker.getRegistrations()).length,
})"""


@dataclass(frozen=True)
class Left:
    """What two pages of one browser found, each after the first had left all that it could."""

    first: dict[str, Any]
    second: dict[str, Any]


def launched(site: Site, *arguments: str) -> dict[str, Any]:
    job: dict[str, Any] = site.run_json(
        "run", "--password-stdin", "--json", *arguments, stdin=PASSWORD
    )
    return job


@pytest.fixture(scope="module")
def jobs(shared_site: Site) -> dict[str, dict[str, Any]]:
    app = Path(__file__).with_name("storage_app.py")
    command = "python3 /srv/app.py {port} {args}"
    mounts = [f"{app}:/srv/app.py"]
    shared_site.configure("storage", image="jobctl/base", mounts=mounts, command=command)
    shared_site.configure_general(job_domain=DOMAIN)
    exposed = ["--bind", bridge_address("bridge"), "storage", "--"]
    launches = {
        "one": ["storage", "--", "one"],
        "two": ["storage", "--", "two"],
        "exposed-one": [*exposed, "one"],
        "exposed-two": [*exposed, "two"],
        "jupyter": ["jupyter"],
        "jupyter-two": ["jupyter"],
    }
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda arguments: launched(shared_site, *arguments), launches.values())
        return dict(zip(launches, found, strict=True))


@pytest.fixture(scope="module")
def browse(shared_site: Site, jobs: dict[str, Any]) -> Iterator[Browse]:
    wildcard = f"--host-resolver-rules=MAP *.{DOMAIN} {bridge_address('bridge')}"
    with browsing(shared_site, wildcard) as opened:
        yield opened


def left(context: BrowserContext, first: str, second: str, domain: str) -> Left:
    """Let the first page leave what it can, and look from both."""
    one, two = context.pages[0], context.new_page()
    one.goto(first)
    one.evaluate(LEAVE, ["one", domain])
    two.goto(second.removesuffix("/") + "/worker.js")  # not the page, which sets cookies itself
    found = Left(first=one.evaluate(FIND), second=two.evaluate(FIND))
    two.close()
    return found


NOTHING: dict[str, Any] = {
    "cookies": "",
    "sent": None,
    "local": None,
    "caches": [],
    "databases": [],
    "workers": 0,
}


def test_by_their_own_names_jobs_share_nothing(jobs: dict[str, Any], browse: Browse) -> None:
    one, two = jobs["one"], jobs["two"]
    page = browse(one["owner"], PASSWORD)

    found = left(page.context, one["open_url"], two["open_url"], "localhost")

    assert found.second == NOTHING
    # No name below localhost may set cookies for all of it.
    assert found.first == {
        "cookies": "own=one",
        "sent": "from-server=one; own=one",
        "local": "one",
        "caches": ["own"],
        "databases": ["own"],
        "workers": 1,
    }


def test_as_localhost_they_share_cookies(jobs: dict[str, Any], browse: Browse) -> None:
    """The limit that the README states: cookies know host names, no ports. Storage knows both."""
    one, two = jobs["one"], jobs["two"]
    page = browse(one["owner"], PASSWORD)

    found = left(page.context, one["url"], two["url"], "localhost")

    assert "own=one" in found.second["cookies"]
    assert "from-server=one" in found.second["sent"]
    assert found.second["local"] is None
    assert (found.second["databases"], found.second["workers"]) == ([], 0)


def test_exposed_jobs_share_nothing_below_a_domain_of_the_site(
    jobs: dict[str, Any], browse: Browse
) -> None:
    """But for cookies that are set for the whole domain, unless that is a public suffix."""
    one, two = jobs["exposed-one"], jobs["exposed-two"]
    assert one["open_url"] == f"https://job-{one['port']}.{DOMAIN}:{one['port']}/"
    page = browse(one["owner"], PASSWORD)

    found = left(page.context, one["open_url"], two["open_url"], DOMAIN)

    assert "own=one" in found.first["cookies"]
    assert found.second == NOTHING | {"cookies": "wide=one", "sent": "wide=one"}


def test_jupyter_s_cookies_stay_with_it(jobs: dict[str, Any], browse: Browse) -> None:
    one, two = jobs["jupyter"], jobs["jupyter-two"]
    page = browse()
    log_in(page, one["open_url"] + "lab", PASSWORD)
    page.wait_for_url("**/lab")
    sent: list[str] = []
    other = page.context.new_page()
    other.on("request", lambda request: sent.append(request.all_headers().get("cookie", "")))

    other.goto(two["open_url"])
    assert "/login" in other.url
    of_two = {cookie["value"] for cookie in page.context.cookies(two["open_url"])}
    of_one = {cookie["value"] for cookie in page.context.cookies(one["open_url"])}

    assert len(of_one) >= 2  # the login and the token against forged requests
    assert of_one.isdisjoint(of_two)
    assert not any(value in header for value in of_one for header in sent)


@pytest.mark.parametrize("name", ["one", "jupyter", "exposed-one"])
def test_no_name_is_kept_to_https_for_ever(jobs: dict[str, Any], browse: Browse, name: str) -> None:
    """It would hold for all ports of the name, and one app here asks for it."""
    page = browse(jobs[name]["owner"], PASSWORD)

    answer = page.goto(jobs[name]["open_url"])

    assert answer is not None
    assert answer.status == 200
    assert "strict-transport-security" not in answer.all_headers()
