"""Jobs on a Swarm of three engines: where they are, who reaches them, what outlives what."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from jobctl.engines.base import Engine
from jobctl.engines.swarm import SwarmEngine
from jobctl.errors import EngineUnreachable
from tests.conftest import KERNEL_LACKS, unavailable
from tests.engine_host import Unavailable
from tests.engine_proxy import EngineProxy
from tests.forged_packets import PACKETS, delivered
from tests.image_registry import serving as registry_serving
from tests.site import Site, opened
from tests.swarm_cluster import LOST_S, Cluster, Lacking, SwarmNode, cluster
from tests.test_engine_contract import (  # noqa: F401, collected here for this engine
    test_a_container_can_not_join_one_that_is_not_there,
    test_a_container_of_an_image_that_is_not_there,
    test_a_container_that_is_gone_has_no_log,
    test_a_container_that_somebody_removed_has_no_condition,
    test_a_created_container_does_not_run_yet,
    test_a_name_can_be_had_once,
    test_a_name_is_free_again_after_removal,
    test_a_running_container_is_listed_with_its_port,
    test_a_stopped_container_can_be_started_again,
    test_an_app_that_ends_well_is_not_started_again,
    test_containers_are_listed_with_what_was_asked_for,
    test_details_are_what_a_container_was_created_with,
    test_details_tell_what_a_container_was_given_back,
    test_ended_containers_are_listed_too,
    test_following_a_log_ends_with_the_container,
    test_lists_can_ask_for_labels_and_for_their_values,
    test_of_many_who_claim_a_name_one_gets_it,
    test_removing_what_is_gone_is_fine,
    test_starting_what_is_gone_is_an_error,
    test_starting_what_runs_changes_nothing,
    test_stopping_ends_the_app_with_a_signal,
    test_stopping_what_does_not_run_is_fine,
    test_the_end_of_the_log,
    test_the_engine_gives_up_on_an_app_that_keeps_failing,
    test_the_log_has_both_streams,
    test_what_is_gone_has_no_details_and_no_processes,
    test_without_restarts_an_app_that_fails_stays_ended,
)
from tests.waiting import eventually
from tests.wholeness import PASSWORD, statuses_of, through

JOBS = 30
CONDUITS = 3
JOBS_A_NODE = 3
"""Of those that have to outlive something."""
AT_ONCE = 4
ENDING_AT_ONCE = 10
"""Nodes take seconds to end a task, in which nobody has anything to do."""
MOVED_S = 40
SERVE = 'echo hello > /tmp/index.html; exec /bin/busybox httpd -f -p "$0" -h /tmp'
LET_IN = (401, 200)
Job = dict[str, Any]


@pytest.fixture(scope="module")
def swarm(tiny_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Return three engines that are a Swarm; the last one has no image of conduit."""
    everywhere = [tiny_image, "jobctl/gateway"]
    with ExitStack() as undo:
        try:
            place = cluster(
                tmp_path_factory.mktemp("swarm"), everywhere=everywhere, some=["jobctl/conduit"]
            )
            made = undo.enter_context(place)
        except Lacking as error:
            pytest.skip(f"{KERNEL_LACKS} {error}")
        except Unavailable as error:
            unavailable(str(error))
        yield made


@pytest.fixture(scope="module")
def site(
    swarm: Cluster,
    tiny_image: str,
    installed: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """Return a place to try the command in, on that Swarm."""
    engine = SwarmEngine(swarm.manager.endpoint)
    with closing(engine), opened(installed, engine, tmp_path_factory.mktemp("site")) as site:
        site.env["DOCKER_HOST"] = swarm.manager.endpoint
        low = site.ports[0]
        ports = [low, low + 3 * JOBS]
        site.configure_general(engine="swarm", bind_address="0.0.0.0", port_range=ports)
        small = {"memory": "32m", "cpus": 0.5, "pids": 32, "app_port": 9000, "stop_grace": 1}
        command = ["/bin/sh", "-c", SERVE, "{listen}:{port}"]
        site.configure("web", image=tiny_image, command=command, realm="conduit", **small)
        yield site


def launch(site: Site, app: str, *more: str) -> Job:
    words = ["run", app, "--password-stdin", "--json", *more]
    job: Job = site.run_json(*words, stdin=f"{PASSWORD}\n")
    return job


def shown(site: Site) -> dict[str, Job]:
    """Return the jobs as one call of ``ps`` has them."""
    return {job["job_id"]: job for job in site.run_json("ps", "--all", "--json")}


def serves(site: Site, job: Job) -> bool:
    """Tell whether a job lets in who has the password, which takes a gateway a second or two."""
    return eventually(lambda: statuses_of(site, job) == LET_IN)


def remove(site: Site, *jobs: Job) -> None:
    with ThreadPoolExecutor(ENDING_AT_ONCE) as pool:
        list(pool.map(lambda job: site.run("rm", "--force", job["job_id"]), jobs))


@pytest.fixture(scope="module")
def jobs(site: Site) -> list[Job]:
    """Return thirty jobs, a few of them of the real app, launched by several commands at once."""
    on_those_that_have_it = ("--constraint", "node.hostname!=node-3")
    wanted = [("conduit", *on_those_that_have_it)] * CONDUITS + [("web",)] * (JOBS - CONDUITS)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda words: launch(site, *words), wanted))


@pytest.fixture(scope="module")
def few(site: Site, jobs: list[Job]) -> list[Job]:
    """Return some of them, on all nodes, when the others have been removed."""
    kept = [
        job
        for job in jobs
        if sum(other["host"] == job["host"] for other in jobs[: jobs.index(job)]) < JOBS_A_NODE
    ]
    remove(site, *(job for job in jobs if job not in kept))
    return kept


def test_thirty_jobs_are_spread_over_the_nodes_and_verified_from_outside(
    site: Site, swarm: Cluster, jobs: list[Job]
) -> None:
    found = shown(site)

    assert {one["status"] for one in found.values()} == {"launched"}
    assert len({job["port"] for job in jobs}) == JOBS
    places = Counter(job["host"] for job in jobs)
    assert places.keys() == {node.name for node in swarm.nodes}
    assert min(places.values()) > JOBS / 6
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda job: statuses_of(site, job), jobs))
    assert answers == [LET_IN] * JOBS
    for job in jobs:
        assert job["url"] == f"https://{swarm.node(job['host']).address}:{job['port']}/"
        assert found[job["job_id"]]["host"] == job["host"]


def test_a_listing_is_as_many_requests_for_thirty_jobs_as_for_one(
    site: Site, swarm: Cluster, jobs: list[Job]
) -> None:
    assert len(jobs) == JOBS
    with EngineProxy(swarm.manager.endpoint.removeprefix("unix://")) as proxy:
        listed = through(site, proxy.endpoint).run_json("ps", "--json")
        paths = [one.partition("?")[0] for one in map(str, proxy.requests)]

    assert len(listed) == JOBS
    lists = [path for path in paths if path.endswith(("/services", "/tasks", "/nodes"))]
    assert len(lists) == 3
    assert len(paths) < 10


def container_of(node: SwarmNode, job: Job, role: str) -> str:
    name = f"jobctl-{job['job_id']}" + ("-app" if role == "app" else "")
    return node.docker("ps", "--quiet", "--filter", f"name=^{name}\\.")


def addresses_of(node: SwarmNode, container: str) -> list[str]:
    words = ["inspect", "--format", "{{json .NetworkSettings.Networks}}", container]
    networks = json.loads(node.docker(*words))
    return [one["IPAddress"] for one in networks.values() if one["IPAddress"]]


ASK = 'import socket, sys; socket.create_connection((sys.argv[1], 9000), 2); print("reached")'


def test_an_app_is_reached_through_its_gateway_alone(
    site: Site, swarm: Cluster, jobs: list[Job], tiny_image: str
) -> None:
    """Not from its node, from another job's containers, from another container on its node."""
    job, other = same_node = [one for one in jobs if one["host"] == "node-3"][:2]
    assert len(same_node) == 2
    node = swarm.node("node-3")
    addresses = addresses_of(node, container_of(node, job, "app"))
    assert len(addresses) == 1, "an app that has another leg can be reached by that one"

    def from_inside(container: str) -> str:
        ask = f"nc -w 2 {addresses[0]} 9000 -e /bin/busybox true && echo reached"
        return node.docker("exec", container, "/bin/busybox", "sh", "-c", ask, check=False)

    assert from_inside(container_of(node, job, "gateway")) == "reached"
    assert from_inside(container_of(node, other, "gateway")) == ""
    assert from_inside(container_of(node, other, "app")) == ""
    ask = f"nc -w 2 {addresses[0]} 9000 </dev/null && echo reached"
    assert node.docker("run", "--rm", tiny_image, "sh", "-c", ask, check=False) == ""
    for where in swarm.nodes:
        assert where.run("python3", "-c", ASK, addresses[0]).stdout == ""
    # From the node, at whatever addresses and ports the node itself has.
    seen = node.run("python3", "-c", ASK, node.address)
    assert "refused" in seen.stderr
    (network,) = [
        one["Name"]
        for one in swarm.api.networks(filters={"label": f"jobctl.job_id={job['job_id']}"})
    ]
    refused = subprocess.run(
        [
            "docker",
            "--host",
            node.endpoint,
            "run",
            "--rm",
            "--network",
            network,
            tiny_image,
            "true",
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert "not manually attachable" in refused.stderr


def test_packets_that_others_forge_do_not_get_to_an_app(
    swarm: Cluster, jobs: list[Job], tiny_image: str
) -> None:
    """As they do get to a container on an overlay network that is not encrypted."""
    job = next(one for one in jobs if one["app"] == "web")
    plain = f"jobctl-test-plain-{secrets.token_hex(4)}"
    manager = swarm.manager
    image = manager.docker("image", "inspect", "--format", "{{.Id}}", tiny_image)
    manager.docker("network", "create", "--driver", "overlay", "--internal", plain)
    create = ["service", "create", "--quiet", "--detach", "--no-resolve-image", "--name", plain]
    create += ["--endpoint-mode", "dnsrr", "--network", plain]
    manager.docker(*create, "--constraint", "node.hostname==node-1", image, "sleep", "1000")
    quickly = ["ps", "--quiet", "--filter", f"name=^{plain}\\."]
    container = eventually(lambda: manager.docker(*quickly))

    try:
        assert delivered(swarm, manager, container) >= PACKETS
        node = swarm.node(job["host"])
        assert delivered(swarm, node, container_of(node, job, "app")) < PACKETS / 2
    finally:
        manager.docker("service", "rm", plain)
        eventually(lambda: not manager.docker(*quickly))
        manager.docker("network", "rm", plain)


def test_who_reads_the_engine_finds_no_secret(site: Site, swarm: Cluster, jobs: list[Job]) -> None:
    kept = swarm.api.services(), swarm.api.tasks(), swarm.api.secrets(), swarm.api.configs()
    said = json.dumps(kept)

    for job in jobs[:5]:
        line = (site.directory / f"{job['job_id']}_htpasswd").read_text()
        assert line.strip().rpartition(":")[2] not in said
    assert "PRIVATE KEY" not in said
    assert len(swarm.api.secrets()) == 3 * JOBS


def test_an_app_does_not_see_the_key_and_the_password_file(swarm: Cluster, jobs: list[Job]) -> None:
    job = next(one for one in jobs if one["app"] == "web")
    node = swarm.node(job["host"])
    look = ["/bin/busybox", "find", job["job_root"], "-type", "f"]

    gateway = node.docker("exec", container_of(node, job, "gateway"), *look)
    app = node.docker("exec", container_of(node, job, "app"), *look, check=False)

    stem = f"{job['job_root']}{job['job_id']}"
    wanted = [f"{stem}{end}" for end in (".crt", ".key", "_gateway.conf", "_htpasswd")]
    assert sorted(gateway.splitlines()) == wanted
    assert app == ""

    # This one is shown the user's directory, and below it what jobctl keeps there; other jobs' too.
    job = next(one for one in jobs if one["app"] == "conduit")
    node, look = swarm.node(job["host"]), ["find", job["job_root"]]
    shown_there = node.docker("exec", container_of(node, job, "app"), *look).splitlines()
    assert {*shown_there} == {*filter(None, [job["job_root"], job["config"]])}
    assert len([*Path(job["job_root"]).iterdir()]) > 3 * JOBS


def test_a_job_is_stopped_started_and_read(site: Site, few: list[Job]) -> None:
    job = few[0]

    site.run("stop", job["job_id"])
    stopped = shown(site)[job["job_id"]]
    log = site.run("logs", job["job_id"]).stdout
    site.run("start", job["job_id"])

    assert (stopped["status"], stopped["exit_code"]) == ("stopped", 0)
    assert "serving" in log
    again = shown(site)[job["job_id"]]
    assert again["status"] == "launched"
    assert statuses_of(site, again) == LET_IN


def test_an_app_that_crashes_is_found_by_its_gateway_again(
    site: Site, swarm: Cluster, few: list[Job]
) -> None:
    """It comes back as another task, with another address."""
    job = next(one for one in few if one["app"] == "web")
    node = swarm.node(job["host"])
    container = container_of(node, job, "app")
    before = addresses_of(node, container)

    node.docker("kill", container)

    assert eventually(lambda: statuses_of(site, job) != LET_IN)
    assert eventually(lambda: statuses_of(site, job) == LET_IN, timeout=20)
    assert addresses_of(node, container_of(node, job, "app")) != before
    assert shown(site)[job["job_id"]]["status"] == "launched"


def refused(site: Site, *words: str) -> str:
    """Return what a launch that has to fail says; it must not take the time to get ready."""
    done = site.run(
        "run", *words, "--password-stdin", "--timeout", "60", stdin=PASSWORD, check=False
    )
    assert done.returncode == 1
    return done.stderr


def test_a_constraint_that_no_node_meets(site: Site, swarm: Cluster, few: list[Job]) -> None:
    before = set(swarm.left())

    said = refused(site, "web", "--constraint", "node.labels.gpu==true")

    assert "no suitable node (scheduling constraints not satisfied on 3 nodes)" in said
    assert set(swarm.left()) == before
    assert len(shown(site)) == len(few)


def test_a_label_leads_to_its_node_and_a_reservation_beyond_it_is_refused(
    site: Site, swarm: Cluster
) -> None:
    gpu = ("--constraint", "node.labels.gpu==true")
    swarm.manager.docker("node", "update", "--label-add", "gpu=true", "node-2")

    job = launch(site, "web", *gpu, "--set", "reserve_memory=64m")
    said = refused(site, "web", *gpu, "--set", "reserve_memory=4000g")

    assert job["host"] == "node-2"
    assert "insufficient resources" in said


def test_a_node_that_lacks_an_image(site: Site, swarm: Cluster) -> None:
    before = set(swarm.left())

    said = refused(site, "conduit", "--constraint", "node.hostname==node-3")

    assert 'node-3 has no image "jobctl/conduit": load it there' in said
    assert set(swarm.left()) == before


def test_a_node_gets_an_image_from_the_site_s_registry(
    site: Site, swarm: Cluster, tiny_image: str, tmp_path: Path
) -> None:
    with registry_serving(tmp_path, swarm.outside) as registry:
        image = f"{registry}/web"
        swarm.manager.docker("tag", tiny_image, image)
        swarm.manager.docker("push", image)
        swarm.manager.docker("rmi", image)
        there = ("--constraint", "node.hostname==node-3")

        job = launch(site, "web", "--set", f"image={image}", *there)

    assert job["host"] == "node-3"
    assert image in swarm.node("node-3").docker("image", "ls", "--digests")
    remove(site, job)


def test_an_app_that_secures_itself_has_no_gateway(site: Site, swarm: Cluster) -> None:
    swarm.manager.load("jobctl/jupyter")

    job = launch(site, "jupyter", "--constraint", "node.hostname==node-1")
    with requests.Session() as client:
        client.verify, client.trust_env = site.authority(), False
        page, status = job["url"] + "login", job["url"] + "api/status"
        client.get(page)
        refused = client.get(status).status_code
        client.post(page, data={"_xsrf": client.cookies["_xsrf"], "password": PASSWORD})
        let_in = client.get(status).status_code

    assert (refused, let_in, len(job["container_ids"])) == (403, 200, 1)
    remove(site, job)


def test_an_app_that_ends_at_once(site: Site, tiny_image: str) -> None:
    site.configure("ends", image=tiny_image, command="sh -c 'echo oh no; exit 3'", app_port=9000)

    said = refused(site, "ends")

    assert "ends was not started" in said
    assert "non-zero exit (3)" in said
    assert "oh no" in said


def test_one_address_alone_can_not_be_had(site: Site) -> None:
    done = site.run("run", "web", "--bind", "127.0.0.1", "--password-stdin", check=False)

    assert done.returncode == 2
    assert "--bind 0.0.0.0" in done.stderr


def test_a_port_of_somebody_else_on_the_node(site: Site, swarm: Cluster) -> None:
    """Swarm knows of no port that is not of a service; the launch tries the next."""
    taken = max(int(one["port"]) for one in shown(site).values()) + 1
    serve = f"import socket, time; s = socket.create_server(('0.0.0.0', {taken})); time.sleep(60)"
    node = swarm.node("node-3")
    enter = ["nsenter", f"--net=/run/netns/{node.namespace}"]
    with subprocess.Popen([*enter, "python3", "-c", serve]) as stranger:
        try:
            job = launch(site, "web", "--constraint", "node.hostname==node-3")
        finally:
            stranger.kill()

    assert int(job["port"]) == taken + 1


def test_launchers_that_want_the_same_ports_get_different_ones(
    site: Site, swarm: Cluster, installed: Path, tmp_path: Path
) -> None:
    """Each has a directory of its own, so that nothing but the Swarm is between them."""
    with opened(installed, site.engine, tmp_path) as other:
        other.env |= {"DOCKER_HOST": site.env["DOCKER_HOST"]}
        other.config.write_text(site.config.read_text())
        sites = [site, other] * 2
        with ThreadPoolExecutor(len(sites)) as pool:
            won = list(pool.map(lambda one: launch(one, "web"), sites))
        for one, job in zip(sites, won, strict=True):
            assert statuses_of(one, job) == LET_IN
        assert len({job["port"] for job in won}) == len(won)
        remove(other, *won[1::2])
        other.assert_nothing_left()
    assert not [name for name in swarm.left() if any(job["job_id"] in name for job in won[1::2])]


def test_jobs_outlive_a_restart_of_the_manager(site: Site, swarm: Cluster, few: list[Job]) -> None:
    away = [job for job in few if job["host"] != swarm.manager.name]

    swarm.manager.stop()
    during = [statuses_of(site, job) for job in away[:3]]
    swarm.manager.start()

    assert during == [LET_IN] * 3
    assert eventually(lambda: set(swarm.states().values()) == {"ready"}, timeout=30)

    def settled() -> bool:
        return {one["status"] for one in shown(site).values()} <= {"launched", "exited"}

    assert eventually(settled, timeout=MOVED_S)
    # To Swarm, an app that ends with 0 when its node is stopped is done; Conduit's does.
    done = [job for job in shown(site).values() if job["status"] == "exited"]
    assert {job["app"] for job in done} <= {"conduit"}
    for job in done:
        site.run("start", job["job_id"])
    now = shown(site)
    assert all(serves(site, now[job["job_id"]]) for job in few)


def test_a_node_that_is_lost_and_comes_back(site: Site, swarm: Cluster, few: list[Job]) -> None:
    """What may move is on another node afterwards, what may not is reported until it is back."""
    node = swarm.node("node-3")
    here = ("--constraint", "node.hostname==node-3")
    stays = launch(site, "web", *here, "--set", "on_node_loss=report")
    now = shown(site)
    lost = {job["job_id"] for job in few if now[job["job_id"]]["host"] == node.name}
    assert lost

    node.cut_power()
    swarm.await_state(node, "down")
    at_once = shown(site)

    assert {at_once[one]["status"] for one in [*lost, stays["job_id"]]} == {"unhealthy"}
    assert {one["status"] for one in at_once.values() if one["job_id"] not in lost} == {
        "launched",
        "unhealthy",
    }

    def moved() -> bool:
        found = shown(site)
        return all(found[one]["status"] == "launched" for one in lost)

    assert eventually(moved, timeout=MOVED_S)
    found = shown(site)
    assert all(found[one]["host"] != node.name for one in lost)
    assert all(serves(site, found[one]) for one in lost)
    assert found[stays["job_id"]]["status"] == "unhealthy"
    assert "no suitable node" in found[stays["job_id"]]["reason"]

    node.start()
    swarm.await_state(node, "ready")
    assert eventually(lambda: shown(site)[stays["job_id"]]["status"] == "launched", timeout=MOVED_S)
    back = shown(site)[stays["job_id"]]
    assert back["host"] == node.name
    assert serves(site, back)
    assert all(shown(site)[one]["host"] != node.name for one in lost)


def test_what_a_killed_launch_left_is_removed_by_the_next_command(
    site: Site, swarm: Cluster
) -> None:
    before, known = set(swarm.left()), shown(site)
    with site.start("run", "web", "--password-stdin", stdin=PASSWORD) as process:
        assert eventually(lambda: set(swarm.left()) - before, timeout=30)
        process.kill()
        process.wait()

    assert shown(site).keys() == known.keys()
    assert set(swarm.left()) == before


def test_nothing_is_left_of_jobs_that_are_removed(
    site: Site, swarm: Cluster, few: list[Job]
) -> None:
    now = shown(site)
    assert len(now) >= len(few)

    remove(site, *now.values())

    assert swarm.left() == []
    # The one app with directories of its own in memory was on the manager.
    # A manager that was restarted keeps the containers from before, and with them their volumes.
    volumes = ["volume", "ls", "--quiet", "--filter", "dangling=true"]
    volumes += ["--filter", "name=^(jobctl-job_.*|[0-9a-f]{64})$"]
    assert eventually(lambda: not any(node.docker(*volumes) for node in swarm.nodes))
    site.assert_nothing_left()


def test_the_doctor_says_what_a_swarm_can_not_do(site: Site) -> None:
    said = site.run("doctor", check=False).stdout

    assert "no capabilities, but set-user-ID programs work" in said
    assert "it has no health checks" in said
    assert "each job has a network of its own, encrypted" in said


# What every engine promises


class PatientSwarm(SwarmEngine):
    """Waits at a start until the service runs, or has ended: it has its own time to."""

    def start(self, container: str) -> None:
        super().start(container)
        assert eventually(lambda: self._settled(container), timeout=LOST_S)

    def _settled(self, container: str) -> bool:
        found = self.condition(container)
        return found is not None and (found.state != "starting" or found.reason is not None)


class SwarmHost:
    """The Swarm as the suite for all engines sees it."""

    def __init__(self, swarm: Cluster, engine: PatientSwarm, image: str) -> None:
        self.engine: Engine = engine
        self.image = image
        self._swarm, self._prefix, self._numbers = swarm, secrets.token_hex(4), count()

    def name(self) -> str:
        return f"jobctl-test-{self._prefix}-{next(self._numbers)}"

    def network_name(self) -> str:
        return self.name()

    def fail_once(self, container: str) -> None:
        (task,) = self._swarm.api.tasks(filters={"service": container, "desired-state": "running"})
        places = {one["ID"]: one["Description"]["Hostname"] for one in self._swarm.api.nodes()}
        node = self._swarm.node(places[task["NodeID"]])
        node.docker("kill", task["Status"]["ContainerStatus"]["ContainerID"])

    def vanish(self, container: str) -> None:
        self._swarm.api.remove_service(container)

    def clear(self) -> None:
        """Remove what was made, and don't wait for the nodes to end it."""
        for one in self._swarm.api.services(filters={"name": f"jobctl-test-{self._prefix}"}):
            self._swarm.api.remove_service(one["ID"])


@pytest.fixture
def host(swarm: Cluster, tiny_image: str) -> Iterator[SwarmHost]:
    with closing(PatientSwarm(swarm.manager.endpoint)) as engine:
        there = SwarmHost(swarm, engine, tiny_image)
        yield there
        there.clear()


def test_an_engine_that_manages_no_swarm(swarm: Cluster) -> None:
    with pytest.raises(EngineUnreachable, match="it manages no Swarm; name a manager"):
        SwarmEngine(swarm.nodes[-1].endpoint)


def test_the_swarm_is_the_same_whichever_manager_tells(host: SwarmHost) -> None:
    facts = host.engine.facts()

    assert host.engine.name == "swarm"
    assert facts.host.startswith("swarm ")
    assert facts.data_root == ""
