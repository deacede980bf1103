"""What app modules import: the default functions, and writing files of a job."""

from __future__ import annotations

import ipaddress
import os
import shlex
import ssl
import stat
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from jobctl import certs, helpers, hosts
from jobctl.errors import JobctlError


def job_at(home: Path, **changes: Any) -> Mapping[str, Any]:
    values: dict[str, Any] = {
        **{"job_id": "job_8000", "port": "8000", "host": "test-pc", "owner": "test"},
        **{"job_root": f"{home}/", "bind_address": "127.0.0.1", "app_path": "/opt/serve"},
        **{"args": [], "app_port": 9000, "command": None, "options": {}},
    }
    return values | changes


def subjects_of(path: Path) -> certs.Subjects:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return certs.Subjects.of(names.get_values_for_type(x509.DNSName), addresses)


# Passwords


def test_a_password_is_asked_for_through_whoever_launches() -> None:
    token = helpers.asking.set(lambda: "test:demo:0123")
    try:
        assert helpers.get_password() == "test:demo:0123"
    finally:
        helpers.asking.reset(token)


def test_without_a_launch_there_is_nobody_to_ask() -> None:
    with pytest.raises(JobctlError, match="while jobctl launches"):
        helpers.get_password()


# Certificates


def test_a_certificate_is_written_with_its_key_and_in_one_file_with_both(home: Path) -> None:
    helpers.gen_cert(job_at(home), None)

    key, leaf, both = ((home / f"job_8000{end}").read_bytes() for end in (".key", ".crt", ".pem"))
    assert both == leaf + (home / "ca.crt").read_bytes() + key
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(home / "job_8000.pem")
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
        home / "job_8000.crt", home / "job_8000.key"
    )


def test_keys_are_for_their_owner_only(home: Path) -> None:
    before = os.umask(0)
    try:
        helpers.gen_cert(job_at(home), None)
    finally:
        os.umask(before)

    for name in ("ca.key", "job_8000.key", "job_8000.crt", "job_8000.pem"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600, name


def test_jobs_of_one_user_share_an_authority(home: Path) -> None:
    helpers.gen_cert(job_at(home), None)
    helpers.gen_cert(job_at(home, job_id="job_8001", port="8001"), None)

    authority = x509.load_pem_x509_certificate((home / "ca.crt").read_bytes())
    for name in ("job_8000.crt", "job_8001.crt"):
        leaf = x509.load_pem_x509_certificate((home / name).read_bytes())
        leaf.verify_directly_issued_by(authority)


def test_jobs_that_start_at_once_end_up_with_one_authority(home: Path) -> None:
    jobs = [job_at(home, job_id=f"job_{port}", port=str(port)) for port in range(8000, 8008)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda job: helpers.gen_cert(job, None), jobs))

    authority = x509.load_pem_x509_certificate((home / "ca.crt").read_bytes())
    for job in jobs:
        leaf = x509.load_pem_x509_certificate((home / f"{job['job_id']}.crt").read_bytes())
        leaf.verify_directly_issued_by(authority)


def test_the_password_plays_no_part_in_the_certificate(home: Path) -> None:
    helpers.gen_cert(job_at(home), "test:demo:4d7e319876e0192ec7e422c53d4ba80a")

    for path in home.iterdir():
        assert b"4d7e3198" not in path.read_bytes()


def test_a_job_on_loopback_answers_to_this_host_s_names_and_loopback_only(home: Path) -> None:
    helpers.gen_cert(job_at(home), None)

    subjects = subjects_of(home / "job_8000.crt")
    names = {*(name.lower() for name in hosts.names()), "localhost", "job-8000.localhost"}
    assert subjects.names == names
    assert subjects.addresses == {ipaddress.ip_address(a) for a in ("127.0.0.1", "::1")}


def test_a_job_on_one_address_answers_to_it(home: Path) -> None:
    helpers.gen_cert(job_at(home, bind_address="192.0.2.7"), None)

    assert ipaddress.ip_address("192.0.2.7") in subjects_of(home / "job_8000.crt").addresses


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_a_job_on_all_addresses_answers_to_all_of_them(home: Path, address: str) -> None:
    helpers.gen_cert(job_at(home, bind_address=address), None)

    addresses = subjects_of(home / "job_8000.crt").addresses
    assert set(hosts.addresses()) <= addresses
    assert not any(found.is_unspecified for found in addresses)


# Configurations and commands


def test_by_default_there_is_no_configuration(home: Path) -> None:
    assert helpers.gen_config(job_at(home)) is None
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("args", [[], ["--all"], ["a b", "$HOME", "it's", "", "ü"]])
def test_the_default_command_is_the_server_with_the_user_s_arguments(
    home: Path, args: list[str]
) -> None:
    job = job_at(home, app_path="/opt/my app/serve", args=args, command=None)

    assert shlex.split(helpers.get_launch_cmd(job) or "") == ["/opt/my app/serve", *args]


def test_the_section_s_command_goes_before_the_server(home: Path) -> None:
    job = job_at(home, app_path="/opt/serve", args=["x"], command=["run", "a b"])

    assert helpers.get_launch_cmd(job) == "run 'a b'"


def test_without_command_and_server_the_image_decides(home: Path) -> None:
    assert helpers.get_launch_cmd(job_at(home, app_path="", args=["x"], command=None)) is None


# Files


@pytest.mark.parametrize("data", ["tëxt\n", "tëxt\n".encode()])
def test_a_file_of_a_job_has_its_id_in_front_and_is_private(home: Path, data: str | bytes) -> None:
    before = os.umask(0)
    try:
        path = helpers.write_file(job_at(home), "_config.txt", data)
    finally:
        os.umask(before)

    assert path == f"{home}/job_8000_config.txt"
    assert Path(path).read_text() == "tëxt\n"
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


@pytest.mark.parametrize("suffix", ["", "config", "0_config", "_a/b", "/../x", "-x", "_../x"])
def test_a_file_that_would_not_be_the_job_s_is_refused(home: Path, suffix: str) -> None:
    with pytest.raises(JobctlError, match='suffix "'):
        helpers.write_file(job_at(home), suffix, "data")

    assert list(home.iterdir()) == []


def test_an_exposed_job_has_a_name_of_its_own_in_the_site_s_domain(home: Path) -> None:
    """The authority speaks for the domain, so that it need not change with each job."""
    exposed = {"bind_address": "192.0.2.7", "open_url": "https://job-8000.jobs.example.org:8000/"}
    helpers.gen_cert(job_at(home, **exposed), None)
    authority = (home / "ca.crt").read_bytes()

    assert "job-8000.jobs.example.org" in subjects_of(home / "job_8000.crt").names
    assert "jobs.example.org" in certs.permitted(authority).names
    other = {"job_id": "job_8001", "port": "8001"}
    open_url = "https://job-8001.jobs.example.org:8001/"
    helpers.gen_cert(job_at(home, **exposed | other | {"open_url": open_url}), None)
    assert (home / "ca.crt").read_bytes() == authority
