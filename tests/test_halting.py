"""How the containers of a job are ended: in order, side by side, and without a thread to spare."""

from __future__ import annotations

import time
from threading import Thread

import pytest

from jobctl import halting
from jobctl.engines.base import ContainerSpec
from jobctl.engines.docker import DockerEngine
from jobctl.errors import JobctlError
from tests.conftest import Traces
from tests.fake_engine import FakeEngine

PAUSE_S = 0.7


def spec(name: str, image: str, script: str) -> ContainerSpec:
    return ContainerSpec(
        name=name,
        image=image,
        command=["sh", "-c", script],
        user="65532:65532",
        labels={},
        memory=32 * 1024**2,
        cpus=1,
        pids=16,
    )


class Recording(DockerEngine):
    """Tells when each container was asked to stop."""

    def __init__(self, engine: DockerEngine) -> None:
        super().__init__(engine.endpoint)
        self.asked: dict[str, float] = {}

    def stop(self, container: str, *, grace: int | None = None) -> None:
        self.asked[container] = time.monotonic()
        super().stop(container, grace=grace)


def test_the_next_is_stopped_once_the_one_before_is_done(
    engine: DockerEngine, traces: Traces, tiny_image: str
) -> None:
    slow = f"trap 'sleep {PAUSE_S}; exit 3' TERM; while :; do sleep 0.02; done"
    quick = "trap 'exit 4' TERM; while :; do sleep 0.02; done"
    recording = Recording(engine)
    ids = []
    for script in (slow, quick):
        ids.append(engine.create(spec(traces.new_name(), tiny_image, script)))
        engine.start(ids[-1])
    time.sleep(0.3)  # until the traps are set
    try:
        halting.stop(recording, ids)

        assert recording.asked[ids[1]] - recording.asked[ids[0]] >= PAUSE_S
        ended = [engine.condition(one) for one in ids]
        assert [one and (one.state, one.exit_code) for one in ended] == [
            ("exited", 3),
            ("exited", 4),
        ]
        halting.stop(recording, ids)  # which is fine again, and if they are gone
    finally:
        halting.remove(engine, ids)
    assert [engine.condition(one) for one in ids] == [None, None]
    halting.stop(recording, ids)
    halting.remove(engine, ids)


class Refusing(FakeEngine):
    """Does not remove a container."""

    def __init__(self, container: str) -> None:
        super().__init__()
        self._container = container

    def remove(self, container: str) -> None:
        if container == self._container:
            raise JobctlError("it is busy; try again")
        super().remove(container)


def test_one_that_the_engine_does_not_remove_spares_no_other() -> None:
    fake = Refusing("2")
    fake.add_image("app")
    kept = fake.create(spec("first", "app", ""))

    with pytest.raises(JobctlError, match="it is busy"):
        halting.remove(fake, ["2", kept])

    assert fake.containers() == []


def test_without_a_thread_to_spare_it_is_done_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a host where somebody's jobs have taken all, and have to be ended."""

    def no_thread(_self: Thread) -> None:
        raise RuntimeError("can't start new thread")

    fake = FakeEngine()
    fake.add_image("app")
    ids = [fake.create(spec(name, "app", "")) for name in ("one", "two")]
    for one in ids:
        fake.start(one)
    monkeypatch.setattr(Thread, "start", no_thread)

    halting.stop(fake, ids)
    assert {one.state for one in fake.containers()} == {"exited"}

    halting.remove(fake, ids)
    assert fake.containers() == []
