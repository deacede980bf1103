"""Building images: from what, when, where from, and what must not stay in them."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import docker
import pytest
from docker.errors import APIError

from jobctl.engines.base import Bind, ContainerSpec, Image, Transfer
from jobctl.engines.docker import DockerEngine
from jobctl.errors import ImageMissing, JobctlError
from jobctl.images import Source, ensure_image, known_sources, listing
from jobctl.images.debian import import_base, mmdebstrap_command
from jobctl.images.site import proxy_args, site_files
from jobctl.images.source import context, digest
from jobctl.progress import Step
from tests.conftest import Traces
from tests.fake_engine import FakeEngine

IMAGES = Path(__file__).parents[1] / "images"
MARK = "jobctl-mark-of-this-site"
TMP = "/tmp"  # noqa: S108, inside containers


def write(directory: Path, **files: str) -> Path:
    """Write files, of which ``Dockerfile`` may be the only one, and return their directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)
    return directory


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Source]:
    """Three images, one on the other, and one beside them."""
    write(tmp_path / "top", Dockerfile="FROM jobctl/middle\n", page="hello")
    write(tmp_path / "middle", Dockerfile="FROM jobctl/bottom AS one\nFROM one\n")
    write(tmp_path / "bottom", Dockerfile="FROM elsewhere/os:1\n")
    write(tmp_path / "alone", Dockerfile="FROM scratch\n")
    return known_sources([tmp_path])


class Recorded(FakeEngine):
    """Remembers what it was asked to look at and to build; its registry has one image."""

    def __init__(self, *, registry: str = "elsewhere/os:1") -> None:
        super().__init__()
        self.registry = registry
        self.asked: list[str] = []
        self.built: list[str] = []

    def image(self, tag: str) -> Image | None:
        self.asked.append(tag)
        return super().image(tag)

    def pull(self, tag: str, seen: Callable[[Transfer], None] | None = None) -> bool:
        if tag == self.registry:
            self.add_image(tag)
            if seen:
                seen(Transfer(done=1, total=2))
        return tag == self.registry

    def build(
        self,
        context: IO[bytes],  # noqa: ARG002
        *,
        tag: str,
        labels: Mapping[str, str],
        args: Mapping[str, str],  # noqa: ARG002
    ) -> Iterator[str]:
        self.built.append(tag)
        self.add_image(tag, labels)
        return iter(["Step 1/1"])


def ignore(line: str) -> None:
    """Take a line of progress."""


class TestSources:
    def test_an_image_comes_after_what_it_starts_from(self, sources: dict[str, Source]) -> None:
        assert list(sources) == ["jobctl/alone", "jobctl/bottom", "jobctl/middle", "jobctl/top"]
        assert sources["jobctl/middle"].parents == ("jobctl/bottom",)

    def test_the_earlier_directory_counts(self, tmp_path: Path) -> None:
        own = write(tmp_path / "own/app", Dockerfile="FROM scratch\n")
        write(tmp_path / "shipped/app", Dockerfile="FROM scratch\n")
        found = known_sources([tmp_path / "own", tmp_path / "shipped"])
        assert found["jobctl/app"].recipe == own

    def test_images_that_start_from_each_other_are_refused(self, tmp_path: Path) -> None:
        write(tmp_path / "a", Dockerfile="FROM jobctl/b\n")
        write(tmp_path / "b", Dockerfile="FROM jobctl/a\n")
        with pytest.raises(JobctlError, match="each other: jobctl/a from jobctl/b from jobctl/a"):
            known_sources([tmp_path])

    def test_the_shipped_ones_are_known(self) -> None:
        found = known_sources([IMAGES])
        assert found["jobctl/gateway"].parents == ("jobctl/base",)
        assert next(iter(found)) == "jobctl/base"


class TestDigest:
    def of(self, tag: str, directory: Path) -> str:
        found = known_sources([directory])
        return digest(found[tag], found)

    @pytest.mark.usefixtures("sources")
    def test_a_changed_file_changes_it(self, tmp_path: Path) -> None:
        before = self.of("jobctl/top", tmp_path)
        write(tmp_path / "top", page="hello!")
        assert self.of("jobctl/top", tmp_path) != before

    @pytest.mark.usefixtures("sources")
    def test_so_does_a_file_that_became_a_program(self, tmp_path: Path) -> None:
        before = self.of("jobctl/top", tmp_path)
        (tmp_path / "top/page").chmod(0o755)
        assert self.of("jobctl/top", tmp_path) != before

    @pytest.mark.usefixtures("sources")
    def test_so_does_a_change_at_the_bottom(self, tmp_path: Path) -> None:
        before = {tag: self.of(tag, tmp_path) for tag in ("jobctl/top", "jobctl/alone")}
        write(tmp_path / "bottom", more="x")
        assert self.of("jobctl/top", tmp_path) != before["jobctl/top"]
        assert self.of("jobctl/alone", tmp_path) == before["jobctl/alone"]

    @pytest.mark.usefixtures("sources")
    def test_what_no_build_needs_does_not(self, tmp_path: Path) -> None:
        before = self.of("jobctl/top", tmp_path)
        top = write(tmp_path / "top", **{"README.md": "x", "Dockerfile.gpu": "x", ".swp": "x"})
        write(top / "__pycache__", **{"a.pyc": "x"})
        (top / "page").chmod(0o600)
        os.utime(top / "page", (1, 1))
        assert self.of("jobctl/top", tmp_path) == before


class TestContext:
    def test_it_is_the_same_for_the_same(self, tmp_path: Path, sources: dict[str, Source]) -> None:
        top = sources["jobctl/top"]
        with context(top, {"ca.crt": b"x"}) as one:
            os.utime(tmp_path / "top/page", (1, 1))
            with context(top, {"ca.crt": b"x"}) as other:
                assert one.read() == other.read()

    def test_it_holds_the_files_and_the_site_of_nobody(self, sources: dict[str, Source]) -> None:
        with (
            context(sources["jobctl/top"], {"ca.crt": b"x"}) as made,
            tarfile.open(fileobj=made) as tar,
        ):
            members = {member.name: member for member in tar}
        assert sorted(members) == [".jobctl-site/ca.crt", "Dockerfile", "page"]
        assert {(member.uid, member.mtime) for member in members.values()} == {(0, 0)}


class TestSite:
    def environ(self, home: Path, **more: str) -> dict[str, str]:
        bundle = write(home, **{"bundle.crt": MARK}) / "bundle.crt"
        return {"HOME": str(home), "SSL_CERT_FILE": str(bundle), **more}

    def test_the_bundle_of_the_environment_counts(self, tmp_path: Path) -> None:
        files = site_files(self.environ(tmp_path))
        assert files["ca.crt"].decode() == MARK
        assert b'Acquire::https::CaInfo "/tmp/site/ca.crt";' in files["apt.conf"]

    def test_a_bundle_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(JobctlError, match=r'SSL_CERT_FILE names "/no/such\.crt"'):
            site_files({"HOME": str(tmp_path), "SSL_CERT_FILE": "/no/such.crt"})

    def test_pip_gets_what_makes_sense_in_a_container(self, tmp_path: Path) -> None:
        write(
            tmp_path / ".config/pip",
            **{
                "pip.conf": "[global]\ncert = /etc/ca.crt\nfind-links = /opt/wheels\n"
                "index-url = https://ada:secret@index.invalid/simple\n"
                "extra-index-url = file:///opt/index\n  https://more.invalid/simple\n"
            },
        )
        files = site_files(self.environ(tmp_path, PIP_TIMEOUT="7", PIP_FIND_LINKS="/opt"))
        lines = files["pip.conf"].decode().splitlines()
        assert "index-url = https://ada:secret@index.invalid/simple" in lines
        assert "extra-index-url = https://more.invalid/simple" in lines
        assert "timeout = 7" in lines
        assert not [line for line in lines if "cert" in line or "find-links" in line]

    def test_the_environment_goes_before_pips_files(self, tmp_path: Path) -> None:
        write(tmp_path / ".config/pip", **{"pip.conf": "[global]\nindex-url = https://a.invalid\n"})
        files = site_files(self.environ(tmp_path, PIP_INDEX_URL="https://b.invalid"))
        assert "index-url = https://b.invalid" in files["pip.conf"].decode()

    def test_a_broken_pip_conf_is_named_and_not_quoted(self, tmp_path: Path) -> None:
        write(tmp_path / ".config/pip", **{"pip.conf": "secret without a section"})
        with pytest.raises(JobctlError, match=r"pip/pip\.conf") as failure:
            site_files(self.environ(tmp_path))
        assert "secret" not in str(failure.value)

    def test_apts_proxies_are_taken_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = write(tmp_path / "bin", **{"apt-config": APT_CONFIG}) / "apt-config"
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
        lines = site_files(self.environ(tmp_path))["apt.conf"].decode().splitlines()
        assert 'Acquire::http::Proxy "http://proxy.invalid:3142";' in lines
        assert 'Acquire::http::Proxy::near.invalid "DIRECT";' in lines
        assert not [line for line in lines if "127.0.0.1" in line or "Retries" in line]

    def test_proxies_are_said_in_both_spellings(self) -> None:
        found = proxy_args({"https_proxy": "http://proxy.invalid:1", "NO_PROXY": "near.invalid"})
        assert found == {
            "https_proxy": "http://proxy.invalid:1",
            "HTTPS_PROXY": "http://proxy.invalid:1",
            "no_proxy": "near.invalid",
            "NO_PROXY": "near.invalid",
        }

    @pytest.mark.parametrize("url", ["http://localhost:3128", "127.0.0.1:3128", "http://[::1]:1"])
    def test_a_proxy_that_no_container_reaches_is_left_out(self, url: str) -> None:
        assert proxy_args({"http_proxy": url}) == {}


APT_CONFIG = """#!/bin/sh
echo 'Acquire::Retries "3";'
echo 'Acquire::http::Proxy "http://proxy.invalid:3142";'
echo 'Acquire::http::Proxy::near.invalid "DIRECT";'
echo 'Acquire::https::Proxy "http://127.0.0.1:8080";'
"""


class TestEnsuring:
    def test_what_is_missing_is_built_from_the_bottom(self, sources: dict[str, Source]) -> None:
        engine = Recorded()
        ensure_image(engine, "jobctl/top", sources, ignore)
        assert engine.built == ["jobctl/bottom", "jobctl/middle", "jobctl/top"]

    def test_what_is_current_costs_one_request(self, sources: dict[str, Source]) -> None:
        engine = Recorded()
        first = ensure_image(engine, "jobctl/top", sources, ignore)
        engine.asked.clear()
        assert ensure_image(engine, "jobctl/top:latest", sources, ignore) == first
        assert engine.asked == ["jobctl/top"]

    @pytest.mark.usefixtures("sources")
    def test_only_what_changed_is_built_again(self, tmp_path: Path) -> None:
        engine = Recorded()
        ensure_image(engine, "jobctl/top", known_sources([tmp_path]), ignore)
        engine.built.clear()
        write(tmp_path / "middle", more="x")
        ensure_image(engine, "jobctl/top", known_sources([tmp_path]), ignore)
        assert engine.built == ["jobctl/middle", "jobctl/top"]

    def test_rebuilding_takes_only_the_one_that_was_asked(self, sources: dict[str, Source]) -> None:
        engine = Recorded()
        ensure_image(engine, "jobctl/top", sources, ignore)
        engine.built.clear()
        ensure_image(engine, "jobctl/top", sources, ignore, rebuild=True)
        assert engine.built == ["jobctl/top"]

    def test_an_image_of_others_is_pulled(self, sources: dict[str, Source]) -> None:
        said = list[str]()
        assert ensure_image(Recorded(), "elsewhere/os:1", sources, said.append)
        first, so_far = said
        assert isinstance(so_far, Step)
        assert first == so_far == "elsewhere/os:1: pulling"
        assert (so_far.passing, so_far.done, so_far.total) == (True, 1, 2)

    def test_one_that_nobody_has_is_missing(self, sources: dict[str, Source]) -> None:
        with pytest.raises(ImageMissing):
            ensure_image(Recorded(), "elsewhere/os:2", sources, ignore)

    def test_no_registry_is_asked_for_one_of_ours(self, sources: dict[str, Source]) -> None:
        engine = Recorded(registry="jobctl/unknown")
        with pytest.raises(JobctlError, match="unknown/Dockerfile"):
            ensure_image(engine, "jobctl/unknown", sources, ignore)

    def test_the_list_says_what_is_there_and_current(
        self, tmp_path: Path, sources: dict[str, Source]
    ) -> None:
        engine = Recorded()
        ensure_image(engine, "jobctl/middle", sources, ignore)
        write(tmp_path / "middle", more="x")
        state = {found.tag: (found.present, found.current) for found in listing(engine, sources)}
        assert state == {
            "jobctl/alone": (False, False),
            "jobctl/bottom": (True, True),
            "jobctl/middle": (True, False),
            "jobctl/top": (False, False),
        }


class TestTheBase:
    def test_a_registry_is_preferred(self) -> None:
        engine, said = Recorded(registry="debian:bookworm-slim"), list[str]()
        ensure_image(engine, "jobctl/base", known_sources([IMAGES]), said.append)
        assert engine.built == ["jobctl/base"]
        assert any("from debian:bookworm-slim, which the engine pulled" in line for line in said)

    def test_without_either_the_error_says_what_to_do(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(JobctlError, match=r"apt install mmdebstrap.*docker load"):
            ensure_image(Recorded(), "jobctl/base", known_sources([IMAGES]), ignore)

    def test_both_ways_use_the_same_lists(self) -> None:
        command = mmdebstrap_command(IMAGES / "base")
        assert "--include=usr-is-merged,ca-certificates,python3" in command
        assert "--dpkgopt=path-exclude=/usr/share/man/*" in command

    def test_half_a_file_system_becomes_no_image(
        self,
        engine: DockerEngine,
        traces: Traces,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        program = write(tmp_path, mmdebstrap=HALF_A_TAR) / "mmdebstrap"
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        tag = f"jobctl-test/half:{traces.prefix}"
        with pytest.raises(JobctlError, match=r"mmdebstrap failed \(3\)(.|\n)*no space left"):
            import_base(engine, IMAGES / "base", tag=tag, instead_of="x", labels={}, report=ignore)
        assert engine.image(tag) is None


# A whole file, and then no more of the archive.
HALF_A_TAR = """#!/bin/sh
cd "$(dirname "$0")" && tar cf - mmdebstrap | head -c 1024
echo 'E: no space left' >&2
exit 3
"""


@dataclass
class Built:
    """What a test builds, so that it can be removed: its tags, and what the builder said."""

    tags: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def remove(self, engine: DockerEngine, api: docker.APIClient) -> None:
        """Remove the images and, as far as nothing has their name, the stages on the way."""
        for found in filter(None, map(engine.image, self.tags)):
            api.remove_image(found.id, force=True)
        stages = set(re.findall(r"^ ---> ([0-9a-f]{12})$", "\n".join(self.said), re.MULTILINE))
        for entry in api.images(filters={"dangling": True}):
            if entry["Id"].removeprefix("sha256:")[:12] in stages:
                with suppress(APIError):  # another build goes on from it
                    api.remove_image(entry["Id"])


@pytest.fixture
def built(engine: DockerEngine, traces: Traces) -> Iterator[Built]:
    """Have a base image, and remove what the test builds on it."""
    ensure_image(engine, "jobctl/base", known_sources([IMAGES]), print)
    made = Built()
    yield made
    made.remove(engine, traces.api)


@pytest.fixture
def marked_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Build on a site as ``mark_site`` makes it."""
    mark_site(tmp_path, monkeypatch)


def mark_site(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a bundle, settings of pip and proxies that can be told by a mark, and still work."""
    bundle = site_files(os.environ)["ca.crt"]
    (directory / "marked.crt").write_bytes(bundle + f"# {MARK}\n".encode())
    monkeypatch.setenv("SSL_CERT_FILE", str(directory / "marked.crt"))
    monkeypatch.setenv("PIP_TRUSTED_HOST", f"{MARK}.invalid")
    monkeypatch.setenv("no_proxy", f"{MARK}.invalid")


def everything_in(api: docker.APIClient, tag: str) -> Iterator[bytes]:
    """Yield an image's configuration, its history and every file of every layer."""
    yield repr(api.inspect_image(tag)).encode()  # type: ignore[no-untyped-call]
    yield repr(api.history(tag)).encode()  # type: ignore[no-untyped-call]
    saved = io.BytesIO(b"".join(api.get_image(tag)))
    with tarfile.open(fileobj=saved) as image:
        for member in image:
            data = image.extractfile(member)
            if data is None:
                continue
            if not member.name.endswith("layer.tar"):
                yield data.read()
                continue
            with tarfile.open(fileobj=data) as layer:
                for entry in layer:
                    yield entry.name.encode()
                    content = layer.extractfile(entry) if entry.isfile() else None
                    yield content.read() if content else b""


class TestWhatStays:
    @pytest.mark.usefixtures("marked_site")
    @pytest.mark.parametrize("name", ["base", "gateway"])
    def test_nothing_of_this_site(
        self, engine: DockerEngine, traces: Traces, tmp_path: Path, built: Built, name: str
    ) -> None:
        """The shipped Dockerfiles, but on the base that is there instead of a registry's."""
        directory = tmp_path / name
        shutil.copytree(IMAGES / name, directory)
        dockerfile = (directory / "Dockerfile").read_text()
        dockerfile = dockerfile.replace("FROM debian:bookworm-slim", "FROM jobctl/base")
        copied = "COPY .jobctl-site/ /tmp/site/\n"
        assert copied in dockerfile
        dockerfile = dockerfile.replace(copied, f"{copied}RUN grep {MARK} /tmp/site/pip.conf\n")
        (directory / "Dockerfile").write_text(dockerfile)
        tag = f"jobctl-test/{name}:{traces.prefix}"
        built.tags.append(tag)
        source = Source(tag=tag, recipe=directory, parents=())
        ensure_image(engine, tag, {tag: source}, built.said.append)
        assert not [part for part in everything_in(traces.api, tag) if MARK.encode() in part]

    def test_proxies_reach_the_build_and_stay_secret(
        self,
        engine: DockerEngine,
        traces: Traces,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        built: Built,
    ) -> None:
        monkeypatch.setenv("https_proxy", f"http://ada:{MARK}@proxy.invalid:1")
        script = "env | grep -c proxy.invalid >/seen && echo $HTTPS_PROXY"
        write(tmp_path / "x", Dockerfile=f"FROM jobctl/base\nRUN {script}\n")
        tag = f"jobctl-test/proxied:{traces.prefix}"
        built.tags.append(tag)
        source = Source(tag=tag, recipe=tmp_path / "x", parents=())
        ensure_image(engine, tag, {tag: source}, built.said.append)
        assert "http://***@proxy.invalid:1" in built.said
        assert not [line for line in built.said if MARK in line]
        parts = list(everything_in(traces.api, tag))
        assert b"2\n" in parts, "the build saw no proxy"
        assert not [part for part in parts if MARK.encode() in part]


class TestBuilding:
    def test_a_failure_says_why_and_leaves_no_container(
        self, engine: DockerEngine, traces: Traces, tmp_path: Path, built: Built
    ) -> None:
        write(
            tmp_path / "x",
            Dockerfile="FROM jobctl/base\nRUN echo https://a:b@x.invalid is shut; false\n",
        )
        tag = f"jobctl-test/failing:{traces.prefix}"
        before = {found.id for found in engine.containers()}
        source = Source(tag=tag, recipe=tmp_path / "x", parents=())
        with pytest.raises(JobctlError, match=r"https://\*\*\*@x\.invalid is shut") as failure:
            ensure_image(engine, tag, {tag: source}, built.said.append)
        assert str(failure.value).startswith(f"{tag}: the build failed")
        assert "a:b" not in str(failure.value)
        new = [found for found in engine.containers() if found.id not in before]
        assert not [found for found in new if found.image.startswith("sha256")]
        assert engine.image(tag) is None

    def test_two_at_once_are_harmless(
        self, engine: DockerEngine, traces: Traces, tmp_path: Path, built: Built
    ) -> None:
        write(tmp_path / "x", Dockerfile="FROM jobctl/base\nRUN sleep 0.5; echo done >/done\n")
        tag = f"jobctl-test/twice:{traces.prefix}"
        built.tags.append(tag)
        source = Source(tag=tag, recipe=tmp_path / "x", parents=())
        made: list[Image] = []

        def build() -> None:
            made.append(ensure_image(engine, tag, {tag: source}, built.said.append))

        threads = [threading.Thread(target=build) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({image.labels["jobctl.build"] for image in made}) == 1 == len(made) - 1
        assert engine.image(tag) is not None

    def test_rebuilding_does_not_trust_the_cache(
        self, engine: DockerEngine, traces: Traces, tmp_path: Path, built: Built
    ) -> None:
        dockerfile = "FROM jobctl/base\nCOPY .jobctl-site/ /tmp/site/\nRUN date +%N >/time\n"
        write(tmp_path / "x", Dockerfile=dockerfile)
        tag = f"jobctl-test/again:{traces.prefix}"
        built.tags.append(tag)
        source = Source(tag=tag, recipe=tmp_path / "x", parents=())
        first = ensure_image(engine, tag, {tag: source}, built.said.append)
        second = ensure_image(engine, tag, {tag: source}, built.said.append, rebuild=True)
        traces.api.remove_image(first.id, force=True)
        assert first.id != second.id

    @pytest.mark.usefixtures("built")
    def test_the_base_runs_python_with_certificates(
        self, engine: DockerEngine, traces: Traces
    ) -> None:
        known = "len(ssl.create_default_context().get_ca_certs())"
        script = f"import ssl, sys; print(sys.version_info[:2], {known} > 50)"
        said = said_by(engine, traces, "jobctl/base", ["python3", "-c", script])
        assert said == "(3, 11) True\n"


class TestJupyter:
    @pytest.fixture(autouse=True)
    def shipped(self, engine: DockerEngine) -> None:
        """Have the image as it is shipped."""
        ensure_image(engine, "jobctl/jupyter", known_sources([IMAGES]), print)

    def test_it_is_the_version_that_is_pinned(self, engine: DockerEngine, traces: Traces) -> None:
        said = said_by(engine, traces, "jobctl/jupyter", ["jupyter", "lab", "--version"])
        assert f"\njupyterlab=={said.strip()} " in (IMAGES / "jupyter/requirements.txt").read_text()

    def test_a_kernel_computes_for_a_user_whom_the_image_does_not_know(
        self, engine: DockerEngine, traces: Traces, tmp_path: Path
    ) -> None:
        said = notebook_said(engine, traces, tmp_path, "1 + 1", "import os; os.getuid()")
        assert said == ["2", "12345"]

    def test_a_notebook_imports_what_it_just_installed(
        self, engine: DockerEngine, traces: Traces, tmp_path: Path
    ) -> None:
        with zipfile.ZipFile(tmp_path / "answer-1-py3-none-any.whl", "w") as wheel:
            for name, text in WHEEL.items():
                wheel.writestr(name, text)
        install = "%pip install --quiet --no-index answer-1-py3-none-any.whl"
        said = notebook_said(engine, traces, tmp_path, install, "import answer; answer.ANSWER")
        assert said == ["42"]


WHEEL = {
    "answer.py": "ANSWER = 42\n",
    "answer-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: answer\nVersion: 1\n",
    "answer-1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "answer-1.dist-info/RECORD": "",
}


def notebook_said(engine: DockerEngine, traces: Traces, directory: Path, *cells: str) -> list[str]:
    """Return what the cells of a notebook came to, run in ``directory`` by a stranger's uid."""
    directory.chmod(0o755)
    code: dict[str, Any] = {
        "cell_type": "code",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    notebook = {"nbformat": 4, "nbformat_minor": 4, "metadata": {}} | {
        "cells": [code | {"source": source} for source in cells]
    }
    (directory / "a.ipynb").write_text(json.dumps(notebook))
    said = said_by(
        engine,
        traces,
        "jobctl/jupyter",
        [
            "sh",
            "-c",
            "jupyter execute a.ipynb --output ~/done >~/log 2>&1; cat ~/done* || cat ~/log",
        ],
        user="12345:12345",
        env={"HOME": TMP},
        binds=[Bind(source=str(directory), target="/notebooks")],
        tmpfs={TMP: "rw,noexec,nosuid,nodev,size=64m,mode=1777"},
        working_dir="/notebooks",
        memory=512 << 20,
        pids=128,
    )
    outputs = (output for cell in json.loads(said)["cells"] for output in cell["outputs"])
    return ["".join(output["data"]["text/plain"]) for output in outputs if "data" in output]


def said_by(
    engine: DockerEngine, traces: Traces, image: str, command: Sequence[str], **more: Any
) -> str:
    """Return what a command writes in a container of this image, locked down as jobctl does."""
    settings: dict[str, Any] = {"user": "65532:65532", "memory": 128 << 20, "pids": 32} | more
    container = engine.create(
        ContainerSpec(
            name=traces.new_name(), image=image, command=command, labels={}, cpus=1, **settings
        )
    )
    try:
        engine.start(container)
        return b"".join(engine.logs(container, follow=True)).decode()
    finally:
        engine.remove(container)
