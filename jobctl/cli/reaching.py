"""The commands ``open``, on a job's host, and ``tunnel``, on the machine that its user sits at."""

from __future__ import annotations

import ipaddress
import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli import render
from jobctl.cli.context import broker, job_ids, progress
from jobctl.errors import JobctlError, UsageError

if TYPE_CHECKING:
    from jobctl.broker import Broker
    from jobctl.job import Job
    from jobctl.remote import Wish
    from jobctl.tunnel import Tunnel


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("open")(open_command)
    app.command()(tunnel)


def open_command(
    context: typer.Context,
    job: Annotated[str, typer.Argument(metavar="JOB", autocompletion=job_ids)],
    only_print: Annotated[
        bool,
        typer.Option("--print", help="Open nothing; print what to open, and how to get there."),
    ] = False,
) -> None:
    """Open a job in your browser, or print how to get to it from the machine that you sit at.

    Example: jobctl open job_8000
    """
    from jobctl import hosts

    desk = broker(context)
    found = desk.job(job)
    if found.ended:
        raise JobctlError(
            f"{found.job_id} is {found.status}; start it with: jobctl start {found.job_id}"
        )
    url = found.open_url or found.url
    if not only_print:
        elsewhere = found.host != hosts.name()
        reason = f"{found.job_id} runs on {found.host}" if elsewhere else _open(url)
        if reason is None:
            print(render.clean(url))
            return
        progress(f"no browser is opened: {reason}")
    print(render.clean(_there(desk, found, url) or _route(found, url)))


def _there(desk: Broker, job: Job, url: str) -> str | None:
    """Return how to get to a job whose engine is on another machine, if it is."""
    place = desk.ledger.place
    if place.here:
        return None
    lines = [f"{job.job_id} runs {job.app} on {place.host}"]
    if not ipaddress.ip_address(job.bind_address).is_loopback:
        return "\n".join([*lines, f"  open                {url}"])
    return "\n".join(
        [*lines, f"  type                {tunnel_line(desk, job)}", f"  open then           {url}"]
    )


def tunnel_line(desk: Broker, job: Job) -> str:
    """Return the command that brings a job of an engine elsewhere to this machine."""
    return f"{_line(desk)} tunnel {job.job_id}"


def _line(desk: Broker) -> str:
    kind = ["--engine", desk.engine_kind] if desk.engine_kind else []
    context = ["--context", desk.context] if desk.context else []
    return shlex.join(["jobctl", *kind, *context])


def _route(job: Job, url: str) -> str:
    from jobctl.reach import route

    way = route(job, os.environ)
    lines = [f"{job.job_id} runs {job.app}", f"  on its host, open   {url}"]
    if way.direct:
        lines.append(f"  elsewhere, open     {way.direct}")
    return "\n".join(
        [
            *lines,
            "from the machine that you sit at",
            f"  type there          {way.ssh}",
            f"  and open there      {way.url}",
            f"  or, with jobctl     {way.tunnel}",
        ]
    )


def tunnel(
    context: typer.Context,
    host: Annotated[
        str,
        typer.Argument(
            metavar="[[USER@]HOST]",
            help="As for ssh; without, a job of yours on an engine that is reached by ssh.",
        ),
    ],
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="Its id or port there.")] = None,
    local_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="This port here, or fail; without, the job's or the next free."
        ),
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in your browser too.")] = False,
    remote_command: Annotated[
        str,
        typer.Option(
            metavar="COMMAND",
            help="What runs jobctl there, where it is not on the path of a session without a login "
            "shell, such as ~/.local/bin/jobctl. The shell there reads it.",
        ),
    ] = "jobctl",
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--ssh-option",
            "-o",
            metavar="NAME=VALUE",
            help="An option for ssh, as in ssh_config(5), such as ProxyJump=gate.",
        ),
    ] = None,
) -> None:
    """Bring a job of another host to this machine through ssh, verified, until Ctrl-C.

    Needs neither an engine nor a configuration here, unless HOST has but an engine.

    Example: jobctl tunnel alice@host.example job_8000 --open
    """
    from jobctl.remote import Wish
    from jobctl.ssh import Destination
    from jobctl.tunnel import opened

    if job is None:
        wish = _own(broker(context), host, options or (), local_port)
    else:
        wish = Wish(
            destination=Destination.of(host, options or ()),
            ref=job,
            command=remote_command,
            local_port=local_port,
        )
    with opened(wish, progress) as way:
        print(render.clean(_ready(wish, way)), flush=True)
        try:
            if open_it and (problem := _open(way.url)):
                progress(f"no browser is opened: {problem}")
            reason = way.keep_up()
        except KeyboardInterrupt:
            progress("the tunnel is closed")
            return
    raise JobctlError(f"the tunnel is closed: {reason}; start the job there, or open it anew")


def _own(desk: Broker, ref: str, options: Sequence[str], local_port: int | None) -> Wish:
    """Return the wish for a job of one's own, on an engine that is reached by ssh."""
    from dataclasses import replace

    from jobctl.remote import Wish
    from jobctl.ssh import of_url

    job, facts = desk.job(ref), desk.ledger.facts
    if facts.transport != "ssh":
        raise UsageError(
            f"{job.job_id} is on {job.host}, whose engine is not reached by ssh; name a host with "
            "jobctl, as in: jobctl tunnel alice@host.example job_8000"
        )
    destination, _ = of_url(facts.endpoint)
    return Wish(
        destination=replace(destination, options=(*destination.options, *options)),
        ref=job.job_id,
        command=_line(desk),
        local_port=local_port,
        told_here=lambda: desk.job(ref),
    )


def _ready(wish: Wish, way: Tunnel) -> str:
    job, file = way.job, f"jobctl-{wish.destination.host}.crt"
    lines = [f"{job.job_id} of {wish.destination.host} is here, verified", f"  URL     {way.url}"]
    if way.user:
        lines.append(f"  user    {way.user}")
    if str(way.local_port) != job.port:
        lines.append(
            f"  port    {way.local_port}, since {job.port} is taken here or another was asked for; "
            "the name is the same, and so the certificate fits"
        )
    trust = f"{wish.line('ca', 'export', '-')} > {file} && jobctl ca trust {file}"
    if wish.told_here:
        trust = "jobctl ca trust"
    return "\n".join([*lines, f"  trust   {trust}", "Ctrl-C closes it"])


def _open(url: str) -> str | None:
    """Open a page and return why it was not, if it wasn't."""
    from jobctl.browsers import open_page

    return open_page(url, os.environ, uid=os.geteuid())
