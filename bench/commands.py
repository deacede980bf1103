"""Single commands beside what they are held against: their start, one launch, one stop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

from bench.pairs import Act, Pair, command, timing
from bench.place import BARE_PORTS, JOBCTL, Place, place, started
from jobctl.job import Job

Case = Callable[[Place], Iterator[Pair]]


def startup(there: Place) -> Iterator[Pair]:
    """What is typed all day: help, the version, a completion, beside Typer's own import.

    With the configuration that comes with jobctl, then with a file of one's own, which is read.
    """
    typer = command([sys.executable, "-c", "import typer"])
    complete = {"_JOBCTL_COMPLETE": "complete_bash"}
    complete |= {"COMP_WORDS": "jobctl inspect job", "COMP_CWORD": "2"}
    shipped = {key: value for key, value in there.env.items() if key != "JOBCTL_CONFIG"}
    shipped |= {"XDG_CONFIG_HOME": str(there.root), "XDG_STATE_HOME": str(there.root / "state")}
    for name, env, words in (
        ("--help", shipped, ["--help"]),
        ("--version", shipped, ["--version"]),
        ("completion of a job", shipped | complete, []),
        ("--version, own configuration", there.env, ["--version"]),
        ("completion of a job, own configuration", there.env | complete, []),
    ):
        ours = command([str(JOBCTL), *words], **env)
        yield Pair(name=name, ours=ours, theirs=typer, most=1.3, runs=15)


def listing(there: Place) -> Iterator[Pair]:
    """``ps`` beside a program that does nothing but one list call, with more and more jobs.

    Then what each job adds to it, beside what its two containers add to ``docker ps``.
    """
    one_call = "import typer, docker; docker.APIClient(version='auto').containers(all=True)"
    theirs, ours = command([sys.executable, "-c", one_call]), there.command("ps")
    registered = 0
    for count in (0, 10, 100, 500):
        for _ in range(count - registered):
            there.broker.register(there.order("conduit"))
        registered = count
        yield Pair(name=f"ps of {count} jobs", ours=ours, theirs=theirs, most=1.3)
    label = f"label=jobctl.job_root={there.broker.ledger.job_root}"
    docker = command(["docker", "ps", "--all", "--filter", label])
    nothing = command(["docker", "ps", "--all", "--filter", "label=jobctl.nobody"])
    with place() as empty:
        without = empty.command("ps")
        yield Pair(
            name="ps, for each job",
            ours=lambda: (ours() - without()) / registered * 1000,
            theirs=lambda: (docker() - nothing()) / registered * 1000,
            most=1.5,
            unit="ms",
            runs=15,
        )


def launching(there: Place) -> Iterator[Pair]:
    """A launch until it is verified, beside the same containers until they answer."""
    _, specs = there.specs("conduit")  # its files stay for the containers without jobctl

    bare = timing(lambda: there.launch_bare(specs), there.remove)
    ours = timing(lambda: there.broker.run(there.order("conduit")).job_id, there.forget)
    whole = timing(lambda: there.run("conduit"), there.forget)
    yield Pair(name="run conduit, in one process", ours=ours, theirs=bare, most=1.25, runs=15)
    yield Pair(name="run conduit, whole command", ours=whole, theirs=bare, most=1.6, runs=15)


def single(there: Place) -> Iterator[Pair]:
    """An app in one container, which does TLS itself, beside ``docker run`` until it answers."""
    job = there.broker.run(there.order("tls"))
    pem = f"{job.job_root}{job.job_id}.pem"

    def launch_bare() -> list[str]:
        port = next(BARE_PORTS)
        run = ["docker", "run", "--detach", "--publish", f"127.0.0.1:{port}:{port}"]
        run += [f"--volume={pem}:{pem}:ro", f"--volume={there.tls_app}:{there.tls_app}:ro"]
        run += ["--user", "65532", job.image, "python3", str(there.tls_app), str(port), pem]
        return [started(run, port)]

    yield Pair(
        name="run of one container, whole command",
        ours=timing(lambda: there.run("tls"), there.forget),
        theirs=timing(launch_bare, there.remove),
        most=1.5,
        runs=15,
    )


def notebooks(there: Place) -> Iterator[Pair]:
    """JupyterLab to a verified login, beside its bare container until its API answers."""
    yield Pair(
        name="run jupyter, whole command",
        ours=timing(lambda: there.run("jupyter"), there.forget),
        theirs=timing(lambda: [there.start_notebook()], there.remove),
        most=1.15,
        worst=1.3,
        runs=20,
    )


def stopping(there: Place) -> Iterator[Pair]:
    """The end of a job beside that of the same containers, as whole commands."""

    def act(end: Callable[[Job], Act]) -> Act:
        def once() -> float:
            taken = end(there.broker.run(there.order("conduit")))()
            there.clear()
            return taken

        return once

    def ours(*words: str) -> Act:
        return act(lambda job: there.command(*words, job.job_id))

    def theirs(*words: str) -> Act:
        return act(lambda job: command(["docker", *words, *reversed(job.container_ids)]))

    yield Pair(name="stop", ours=ours("stop"), theirs=theirs("stop"), most=1.5, runs=15)
    yield Pair(
        name="rm --force",
        ours=ours("rm", "--force"),
        theirs=theirs("rm", "-f"),
        most=1.5,
        runs=15,
    )


CASES: dict[str, Case] = {
    "startup": startup,
    "listing": listing,
    "launching": launching,
    "single": single,
    "notebooks": notebooks,
    "stopping": stopping,
}
