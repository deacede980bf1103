"""Images from lists of packages: the Dockerfile that is written, and what comes of it."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import docker
import pytest

from jobctl.engines.docker import DockerEngine
from jobctl.errors import JobctlError
from jobctl.images import Source, ensure_image, generated, known_sources
from jobctl.images.site import site_files
from jobctl.images.source import context, digest
from tests.conftest import Traces
from tests.test_images import IMAGES, MARK, Built, built, everything_in, mark_site, said_by

__all__ = ["built"]

PINNED = b"tabulate==0.9.0 --hash=sha256:"
WHEEL = b"024ca478df22e9340661486f85298cff5f6dcdba14f3813e8830015b9ed1948f"
# dbus makes up the machine's identity, adds a user and has libraries, so that the linker's cache
# is written anew: what would make two builds differ.
APT = ["dbus", "tree"]
PYTHON = ["attrs==23.2.0", "tabulate==0.9.0"]


def source(
    tag: str = "jobctl/x",
    python: Sequence[str] = (),
    apt: Sequence[str] = (),
    requirements: bytes | None = None,
) -> Source:
    """Return a generated source; what is not said is empty."""
    return generated(tag, python=python, apt=apt, requirements=requirements)


def with_base(source: Source) -> dict[str, Source]:
    """Return the sources that a build of this one needs."""
    return {**known_sources([IMAGES]), source.tag: source}


def dockerfile(source: Source) -> str:
    """Return the Dockerfile that was written."""
    assert isinstance(source.recipe, Mapping)
    return source.recipe["Dockerfile"].decode()


class TestTheSource:
    def test_the_same_lists_make_the_same_context(self) -> None:
        first, second = (source(python=PYTHON, apt=APT, requirements=PINNED) for _ in range(2))
        with context(first, {"ca.crt": b"x"}) as one, context(second, {"ca.crt": b"x"}) as other:
            assert one.read() == other.read()

    def test_the_digest_tells_every_list_apart(self) -> None:
        variants = [
            source(),
            source(python=["a"]),
            source(python=["a", "b"]),
            source(apt=["a"]),
            source(apt=["b"]),
            source(requirements=b"a\n"),
            source(requirements=b"b\n"),
            source(python=["a"], apt=["a"]),
            source(python=["a"], requirements=b"a\n"),
        ]
        assert len({digest(variant, with_base(variant)) for variant in variants}) == len(variants)

    def test_the_digest_changes_with_nothing_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = source(python=PYTHON, apt=APT)
        wanted = digest(before, with_base(before))
        monkeypatch.setenv("PIP_TRUSTED_HOST", "index.invalid")
        after = source("jobctl/y", python=tuple(PYTHON), apt=tuple(APT))
        assert digest(after, with_base(after)) == wanted

    def test_the_digest_changes_with_the_base(self) -> None:
        made = source(python=PYTHON)
        other = source("jobctl/base", apt=["a"])
        base = Source(tag="jobctl/base", recipe=other.recipe, parents=())
        assert digest(made, {"jobctl/base": base}) != digest(made, with_base(made))

    def test_no_entry_of_a_list_reaches_a_shell(self) -> None:
        hostile = source(python=["x; touch /a"], apt=["$(touch /a)"], requirements=b"`touch /a`")
        assert dockerfile(hostile) == dockerfile(source(python=["x"], apt=["y"], requirements=b""))

    def test_there_is_a_python_environment_only_for_packages(self) -> None:
        assert "venv/lib" not in dockerfile(source(apt=["tree"]))
        assert "apt.txt" not in dockerfile(source(python=["attrs"]))


@dataclass(frozen=True)
class File:
    """What a file of an image is, without its time."""

    mode: int
    kind: bytes
    owner: tuple[int, int]
    target: str
    content: str
    head: bytes


def files_of(api: docker.APIClient, tag: str) -> dict[str, File]:
    """Return the file tree of an image."""
    container = api.create_container(tag, ["none"])["Id"]
    try:
        exported = io.BytesIO(b"".join(api.export(container)))
    finally:
        api.remove_container(container)
    with tarfile.open(fileobj=exported) as tar:
        return {member.name: _file(tar, member) for member in tar}


def _file(tar: tarfile.TarFile, member: tarfile.TarInfo) -> File:
    data = tar.extractfile(member) if member.isfile() else None
    content = data.read() if data else b""
    return File(
        mode=member.mode,
        kind=member.type,
        owner=(member.uid, member.gid),
        target=member.linkname,
        content=hashlib.sha256(content).hexdigest(),
        head=content[:4096],
    )


@dataclass(frozen=True)
class Twins:
    """Two images of the same lists, built one after the other from nothing on a marked site."""

    first: str
    second: str


@pytest.fixture(scope="module")
def twins(
    engine: DockerEngine, traces: Traces, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Twins]:
    """Build the same lists twice, and remove what comes of it."""
    made = Built([f"jobctl-test/{name}:{traces.prefix}" for name in ("one", "two")])
    with pytest.MonkeyPatch.context() as patch:
        mark_site(tmp_path_factory.mktemp("site"), patch)
        assert MARK.encode() in site_files(os.environ)["pip.conf"]
        try:
            for tag in made.tags:
                one = source(tag, python=PYTHON, apt=APT)
                ensure_image(engine, tag, with_base(one), made.said.append, rebuild=True)
            yield Twins(*made.tags)
        finally:
            made.remove(engine, traces.api)


class TestTheImage:
    def test_two_builds_make_the_same_files(self, traces: Traces, twins: Twins) -> None:
        first, second = (files_of(traces.api, tag) for tag in (twins.first, twins.second))
        assert [name for name in first if first[name] != second.get(name)] == []
        assert first.keys() == second.keys()

    def test_nothing_tells_the_day_of_the_build(self, traces: Traces, twins: Twins) -> None:
        files = files_of(traces.api, twins.first)
        assert b"\nmessagebus:!:20089:" in files["etc/shadow"].head
        assert "etc/machine-id" not in files
        logs = [name for name in files if name.startswith("var/log/")]
        assert [name for name in logs if files[name].kind == tarfile.REGTYPE] == []

    def test_nothing_of_this_site_stays(self, traces: Traces, twins: Twins) -> None:
        parts = everything_in(traces.api, twins.first)
        assert not [part for part in parts if MARK.encode() in part]

    def test_python_is_compiled_for_good(self, traces: Traces, twins: Twins) -> None:
        files = files_of(traces.api, twins.first)
        compiled = {
            name: file.head[4:8]
            for name, file in files.items()
            if name.startswith("opt/app/venv/") and name.endswith(".pyc")
        }
        # PEP 552: a hash instead of a time, and it is not to be checked.
        assert set(compiled.values()) == {(1).to_bytes(4, "little")}
        assert any("/tabulate/" in name for name in compiled)

    def test_programs_of_both_kinds_run_unprivileged(
        self, engine: DockerEngine, traces: Traces, twins: Twins
    ) -> None:
        script = "id -u; printf '1 2' | tabulate --sep ' ' --format plain; tree --version"
        said = said_by(engine, traces, twins.first, ["sh", "-c", script])
        uid, table, version = said.splitlines()
        assert (uid, table.split(), version.split()[:1]) == ("65532", ["1", "2"], ["tree"])

    def test_it_says_what_pip_installed(
        self, engine: DockerEngine, traces: Traces, twins: Twins
    ) -> None:
        said = said_by(engine, traces, twins.first, ["cat", "/opt/app/requirements.txt"])
        assert said.splitlines() == PYTHON

    def test_no_tool_of_the_build_is_left(
        self, engine: DockerEngine, traces: Traces, twins: Twins
    ) -> None:
        script = "for tool in pip pip3 gcc cc; do command -v $tool; done; python -m pip"
        said = said_by(engine, traces, twins.first, ["sh", "-c", script])
        assert said == "/opt/app/venv/bin/python: No module named pip\n"

    def test_it_is_not_built_again(self, engine: DockerEngine, twins: Twins) -> None:
        said: list[str] = []
        again = source(twins.first, python=PYTHON, apt=APT)
        assert ensure_image(engine, twins.first, with_base(again), said.append)
        assert said == []


@pytest.fixture
def build(engine: DockerEngine, traces: Traces, built: Built) -> Callable[..., str]:
    """Return what builds these lists and returns the image's tag."""

    def ensure(**lists: Sequence[str] | bytes) -> str:
        tag = f"jobctl-test/lists:{traces.prefix}"
        built.tags.append(tag)
        made = source(tag, **lists)  # type: ignore[arg-type]
        ensure_image(engine, tag, with_base(made), built.said.append)
        return tag

    return ensure


class TestRequirements:
    def test_a_file_with_hashes_is_installed_on_the_shared_base(
        self, engine: DockerEngine, traces: Traces, build: Callable[..., str]
    ) -> None:
        tag = build(requirements=PINNED + WHEEL)
        said = said_by(engine, traces, tag, ["python", "-c", "import tabulate as t; print(t)"])
        assert "/opt/app/venv/lib/python3.11/site-packages/tabulate/" in said
        base, image = (traces.api.inspect_image(name) for name in ("jobctl/base", tag))  # type: ignore[no-untyped-call]
        layers = image["RootFS"]["Layers"]
        assert layers[: len(base["RootFS"]["Layers"])] == base["RootFS"]["Layers"]

    def test_a_hash_that_is_wrong_ends_the_build(self, build: Callable[..., str]) -> None:
        with pytest.raises(JobctlError, match="PACKAGES DO NOT MATCH THE HASHES"):
            build(requirements=PINNED + b"0" * 64)

    def test_one_that_does_not_exist_fails_with_pips_words(self, build: Callable[..., str]) -> None:
        with pytest.raises(JobctlError, match="No matching distribution found for attrs"):
            build(python=["attrs==0.0.0"])

    def test_a_debian_package_that_does_not_exist_fails_with_apts(
        self, build: Callable[..., str]
    ) -> None:
        with pytest.raises(JobctlError, match="Unable to locate package jobctl-no-such-package"):
            build(apt=["jobctl-no-such-package"])
