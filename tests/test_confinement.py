"""What ``inspect`` says of a container: its own settings, else those of its engine."""

from __future__ import annotations

from msgspec.structs import replace

from jobctl.confinement import confinement
from tests.fake_engine import FakeEngine
from tests.test_conformance import LOCKED

FACTS = FakeEngine().facts()


def test_the_seccomp_profile_is_the_container_s_or_the_engine_s() -> None:
    engines, none = replace(FACTS, seccomp="builtin"), replace(FACTS, seccomp=None)
    loose = replace(LOCKED, seccomp="unconfined")

    assert confinement(LOCKED, engines)["seccomp"] == "builtin"
    assert confinement(LOCKED, none)["seccomp"] is None
    assert confinement(loose, engines)["seccomp"] == "unconfined"


def test_no_limit_is_no_number() -> None:
    stated = confinement(replace(LOCKED, memory=0, cpus=0, pids=0), FACTS)

    assert (stated["memory"], stated["cpus"], stated["pids"]) == (None, None, None)
    assert confinement(LOCKED, FACTS)["memory"] == LOCKED.memory
