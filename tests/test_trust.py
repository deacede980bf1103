"""``jobctl ca trust`` and ``ca untrust``: real databases, a real browser, a host's real store."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from playwright.sync_api import Error

from jobctl import certs
from jobctl.candidate import read
from jobctl.errors import JobctlError
from jobctl.systemstore import Store
from tests.browser import browsing, status
from tests.conftest import KERNEL_LACKS, unavailable
from tests.site import Site

FIREFOX = (
    *(".mozilla/firefox/ab12.default-release", "snap/firefox/common/.mozilla/firefox/cd.default"),
    ".var/app/org.mozilla.firefox/.mozilla/firefox/ef.default",
)
CHROMIUM = (".pki/nssdb", "snap/chromium/current/.pki/nssdb")


def certutil(database: Path, *words: str) -> str:
    command: list[str | Path] = ["certutil", "-d", f"sql:{database}", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def make_database(home: Path, name: str) -> Path:
    """Make a browser's database, as its first start does."""
    path = home / name
    path.mkdir(parents=True)
    certutil(path, "-N", "--empty-password")
    return path


def trusted(database: Path) -> list[str]:
    """Return the fingerprints of the authorities that a database has trust for."""
    lines = certutil(database, "-L").splitlines()
    names = [line.rpartition(" C,,")[0].strip() for line in lines if line.endswith("C,,  ")]
    found = {}
    for name in names:
        pems = certutil(database, "-L", "-a", "-n", name).split("-----END CERTIFICATE-----")
        for pem in pems[:-1]:
            one = certs.fingerprint(f"{pem}-----END CERTIFICATE-----\n".encode())
            if one[:16] == name.rpartition(" ")[2]:
                found[name] = one
    assert len(found) == len(names)
    return sorted(found.values())


def own(site: Site) -> str:
    """Return the fingerprint of a site's authority.

    A command that asks for it may make it anew, if the host has got another address.
    """
    return certs.fingerprint((site.directory / "ca.crt").read_bytes())


def exported(site: Site) -> Path:
    """Return a copy of a site's authority, which stays as it is."""
    file = site.root / "exported.crt"
    site.run("ca", "export", str(file))
    return file


def in_words(fingerprint: str) -> str:
    return ":".join(fingerprint[n : n + 2] for n in range(0, 64, 2)).upper()


def test_browsers_trust_it_once_and_then_not_any_more(site: Site) -> None:
    databases = [make_database(site.root, name) for name in (*FIREFOX, *CHROMIUM)]
    file = exported(site)
    fingerprint = certs.fingerprint(file.read_bytes())
    said = site.run("ca", "trust", str(file)).stdout
    assert in_words(fingerprint) in said
    for database in databases:
        assert f"{database}  trusts it now" in said
        assert trusted(database) == [fingerprint]
    said = site.run("ca", "trust", str(file)).stdout
    assert said.count("trusts it already") == len(databases)
    assert all(trusted(database) == [fingerprint] for database in databases)

    said = site.run("ca", "untrust", str(file)).stdout
    assert said.count("does not trust it any more") == len(databases)
    assert all("jobctl" not in certutil(database, "-L") for database in databases)
    said = site.run("ca", "untrust").stdout
    assert said.count("did not trust it") == len(databases)


def test_chromium_s_database_is_made_where_there_is_none(users_site: Site) -> None:
    said = users_site.run("ca", "trust").stdout
    database = users_site.root / CHROMIUM[0]
    assert f"{database}  trusts it now" in said
    assert trusted(database) == [own(users_site)]
    assert database.stat().st_mode & 0o077 == 0


@pytest.mark.browser
def test_chromium_opens_the_page_only_as_long_as_it_trusts(site: Site) -> None:
    job = site.run_json("run", "conduit", "--generate-password", "--json")
    make_database(site.root, CHROMIUM[0])

    def load() -> int:
        with browsing(site, home=site.root) as browse:
            return status(browse(job["owner"], job["password"]), job["open_url"])

    with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
        load()
    site.run("ca", "trust")
    assert load() == 200
    site.run("ca", "untrust")
    with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
        load()


def test_a_new_edition_takes_the_place_of_the_earlier_one(site: Site) -> None:
    database = make_database(site.root, CHROMIUM[0])
    path = Path(site.authority())
    said = site.run("ca", "trust").stdout
    first = own(site)
    assert in_words(first) in said
    assert f"The key is in {site.directory}/ca.key" in said
    key = path.with_suffix(".key").read_bytes()
    wider = certs.permitted(path.read_bytes()) | certs.Subjects.of(["new.example"], [])
    path.write_bytes(certs.issue_authority(site.account.pw_name, wider, key=key).certificate)
    assert "trusts it now, and no earlier one any more" in site.run("ca", "trust").stdout
    second = own(site)
    assert trusted(database) == [second]

    for file in (path, path.with_suffix(".key")):
        file.unlink()  # as the message about files that can't be used advises
    site.run("ca", "path")
    site.run("ca", "trust")
    assert own(site) not in (first, second)
    assert trusted(database) == [own(site)]

    for file in (path, path.with_suffix(".key")):
        file.unlink()
    site.run("ca", "untrust")
    assert trusted(database) == []
    assert not path.exists()


def test_two_hosts_of_one_user_are_told_apart(site: Site, tmp_path: Path) -> None:
    database = make_database(site.root, CHROMIUM[0])
    other = tmp_path / "other.crt"
    subjects = certs.Subjects.of(["elsewhere.example", "localhost"], ["127.0.0.1"])
    other.write_bytes(certs.issue_authority(site.account.pw_name, subjects).certificate)
    site.run("ca", "trust")
    said = site.run("ca", "trust", str(other)).stdout
    assert "elsewhere.example" in said
    assert "The key is on the host that it comes from" in said
    assert trusted(database) == sorted([own(site), certs.fingerprint(other.read_bytes())])
    site.run("ca", "untrust", "-", stdin=other.read_text())
    assert trusted(database) == [own(site)]


def test_a_password_that_protects_a_database(site: Site, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("primary1\n")
    locked = site.root / FIREFOX[0]
    locked.mkdir(parents=True)
    certutil(locked, "-N", "-f", str(tmp_path / "password"))
    other = make_database(site.root, CHROMIUM[0])
    done = site.run("ca", "trust", check=False)
    assert done.returncode == 1
    assert f"{locked}  can't be changed: a primary password protects it" in done.stdout
    assert "jobctl" not in certutil(locked, "-L")
    assert trusted(other) == [own(site)]


# What must not be trusted by accident


def authority(*constraints: x509.GeneralName, critical: bool = True, ca: bool = True) -> bytes:
    """Return a certificate that signs for itself, with these constraints or none."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Somebody: a CA")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if constraints:
        builder = builder.add_extension(x509.NameConstraints(constraints, None), critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


HOST = x509.DNSName("host.example")
HERE = x509.IPAddress(ipaddress.ip_network("127.0.0.1/32"))


@pytest.mark.parametrize(
    ("certificate", "says"),
    [
        (authority(), "not constrained"),
        (authority(HOST), "not constrained"),
        (authority(HERE), "not constrained"),
        (authority(HOST, HERE, critical=False), "not constrained"),
        (authority(x509.DNSName(""), HERE), "not constrained"),
        (authority(HOST, x509.IPAddress(ipaddress.ip_network("0.0.0.0/0"))), "not constrained"),
        (authority(HOST, HERE, ca=False), "of a server"),
        (authority(HOST, HERE) * 2, "has 2 certificates"),
        (b"nothing", "no certificate"),
    ],
)
def test_what_could_sign_for_anybody_is_refused(
    site: Site, tmp_path: Path, certificate: bytes, says: str
) -> None:
    database = make_database(site.root, CHROMIUM[0])
    file = tmp_path / "ca.crt"
    file.write_bytes(certificate)
    done = site.run("ca", "trust", str(file), check=False)
    assert done.returncode == 1
    assert says in done.stderr
    assert trusted(database) == []


def test_unless_that_is_said(site: Site, tmp_path: Path) -> None:
    database = make_database(site.root, CHROMIUM[0])
    file = tmp_path / "ca.crt"
    file.write_bytes(authority())
    said = site.run("ca", "trust", "--unconstrained", str(file)).stdout
    assert "CAN POSE AS ANY SITE" in said
    assert trusted(database) == [certs.fingerprint(file.read_bytes())]
    site.run("ca", "untrust", str(file))
    assert trusted(database) == []


def test_one_that_is_constrained_to_a_host_passes() -> None:
    assert read(authority(HOST, HERE), "it").subjects == certs.Subjects.of(
        ["host.example"], ["127.0.0.1"]
    )
    with pytest.raises(JobctlError, match="no certificate"):
        read(b"\x00" * 100, "it")


# The store of the whole host, in a mount namespace in which it is another

BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return what runs a script as root where the host's store is a copy."""
    if os.getuid() != 0:
        unavailable(f"{KERNEL_LACKS} mount namespace to an ordinary user")
    certificates, local = tmp_path / "certs", tmp_path / "local"
    shutil.copytree("/etc/ssl/certs", certificates, symlinks=True)
    shutil.copytree("/usr/local/share/ca-certificates", local)
    mounts = (
        f"mount --make-rprivate / && mount --bind {certificates} /etc/ssl/certs && "
        f"mount --bind {local} /usr/local/share/ca-certificates && "
    )

    def run(script: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", mounts + script],
            capture_output=True,
            text=True,
            check=False,
            env=env,
        )

    return run


Elsewhere = Callable[..., subprocess.CompletedProcess[str]]


def test_programs_of_the_host_trust_it_once_and_then_not_any_more(
    site: Site, elsewhere: Elsewhere
) -> None:
    before = hashlib.sha256(BUNDLE.read_bytes()).hexdigest()
    job = site.run_json("run", "conduit", "--generate-password", "--json")
    curl = f"curl -s -o /dev/null -w '%{{http_code}} ' {job['url']}"
    jobctl, file = shlex.quote(str(site.command)), exported(site)
    done = elsewhere(
        f"{curl}; {jobctl} ca trust --system {file} >&2; {curl}; "
        f"{jobctl} ca trust --system {file} >&2; {jobctl} ca untrust {file} >&2; {curl}",
        **site.env,
    )
    assert done.stdout.split() == ["000", "401", "000"]
    for words in ("trusts it now", "trusts it already", "does not trust it any more"):
        assert f"/usr/local/share/ca-certificates  {words}" in done.stderr, done.stderr
    assert hashlib.sha256(BUNDLE.read_bytes()).hexdigest() == before


def test_who_is_not_root_gets_the_commands(
    users_site: Site, elsewhere: Elsewhere, site: Site
) -> None:
    said = users_site.run("ca", "trust", "--system").stdout
    assert "root has to type" in said
    lines = [line.strip() for line in said.splitlines() if line.startswith("  sudo ")]
    assert lines[-1] == "sudo update-ca-certificates"
    script = "; ".join(['sudo() { "$@"; }', *lines])
    count = "grep -c BEGIN /etc/ssl/certs/ca-certificates.crt"
    script = f"update-ca-certificates >&2; {count}; {script} >&2; {count}"
    done = elsewhere(
        f"{script}; ls -l /usr/local/share/ca-certificates", PATH=os.environ["PATH"] + ":/usr/sbin"
    )
    before, after, listing = done.stdout.split(maxsplit=2)
    assert int(after) == int(before) + 1
    name = f"jobctl-{users_site.account.pw_name}-{own(users_site)[:16]}.crt"
    (line,) = (line for line in listing.splitlines() if name in line)
    assert line.startswith("-rw-r--r--")


def test_a_store_that_another_command_takes_notice_of(tmp_path: Path) -> None:
    store = Store(tmp_path, "true")
    store.change(add=("jobctl-a.crt", b"one"), remove=[])
    assert store.files() == [tmp_path / "jobctl-a.crt"]
    store.change(add=("jobctl-b.crt", b"two"), remove=store.files())
    assert [path.read_bytes() for path in store.files()] == [b"two"]
    assert store.commands(add=None, remove=store.files()) == [
        f"sudo rm -- {tmp_path}/jobctl-b.crt",
        "sudo true",
    ]
    with pytest.raises(JobctlError, match="false ended with 1"):
        Store(tmp_path, "false").change(add=None, remove=[])
