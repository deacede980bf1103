"""Where a job is found: by programs, and by a browser, which needs a name for each job."""

from __future__ import annotations

import pytest

from jobctl import hosts

HOST = hosts.names()[-1]


@pytest.mark.parametrize(
    ("bind_address", "domain", "url", "open_url"),
    [
        ("127.0.0.1", None, "localhost", "job-8000.localhost"),
        ("::1", None, "localhost", "job-8000.localhost"),
        ("127.0.0.1", "jobs.example.org", "localhost", "job-8000.localhost"),
        ("127.0.0.2", "jobs.example.org", "127.0.0.2", "127.0.0.2"),
        ("192.0.2.7", None, HOST, HOST),
        ("192.0.2.7", "jobs.example.org", HOST, "job-8000.jobs.example.org"),
        ("0.0.0.0", "jobs.example.org", HOST, "job-8000.jobs.example.org"),
    ],
)
def test_where_programs_and_where_browsers_find_a_job(
    bind_address: str, domain: str | None, url: str, open_url: str
) -> None:
    found = hosts.urls("https", bind_address, 8000, domain)

    assert found == (f"https://{url}:8000/", f"https://{open_url}:8000/")
