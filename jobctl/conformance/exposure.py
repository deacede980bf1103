"""Ways around the job's port: what else its containers publish, or take connections on."""

from __future__ import annotations

from jobctl import startup
from jobctl.conformance.trial import Failed, Trial, Unknown


def ports(trial: Trial) -> str:
    """Make sure that nothing listens beside the job's port where others than the job get to."""
    job = trial.job
    published = [one for container in trial.containers() for one in container.details.publishes]
    foreign = [one for one in published if one.host_port != int(job.port)]
    if foreign or len(published) != 1:
        words = ", ".join(f"{one.address}:{one.host_port}" for one in published) or "nothing"
        raise Failed(f"its containers publish {words} instead of its own port")
    found = startup.open_ports(trial.broker.ledger, job)
    if found is None:
        raise Unknown("not checked: from here, the containers can't be reached or looked into")
    if found:
        raise Failed(startup.way_past(job, found))
    return f"{job.bind_address}:{job.port}"
