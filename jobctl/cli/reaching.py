"""The commands ``open``, on a job's host, and ``tunnel``, on the machine that its user sits at."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli import render
from jobctl.cli.context import broker, job_ids, progress
from jobctl.errors import JobctlError

if TYPE_CHECKING:
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

    found = broker(context).job(job)
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
    print(render.clean(_route(found, url)))


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
    host: Annotated[str, typer.Argument(metavar="[USER@]HOST", help="As for ssh.")],
    job: Annotated[str, typer.Argument(metavar="JOB", help="Its id or port there.")],
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

    Needs neither an engine nor a configuration here.

    Example: jobctl tunnel alice@host.example job_8000 --open
    """
    from jobctl.remote import Wish
    from jobctl.ssh import Destination
    from jobctl.tunnel import opened

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
    return "\n".join([*lines, f"  trust   {trust}", "Ctrl-C closes it"])


def _open(url: str) -> str | None:
    """Open a page and return why it was not, if it wasn't."""
    from jobctl.browsers import open_page

    return open_page(url, os.environ, uid=os.geteuid())
