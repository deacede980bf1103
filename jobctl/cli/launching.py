"""Commands that launch: ``run`` and its documented twin ``server``."""

from __future__ import annotations

import codecs
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobctl.cli import batches, render, streams
from jobctl.cli.batches import Many
from jobctl.cli.context import AsJson, app_names, broker, image_names
from jobctl.cli.lifetimes import tell_end
from jobctl.cli.screen import screen
from jobctl.errors import JobctlError, UsageError

if TYPE_CHECKING:
    from jobctl.broker import Broker
    from jobctl.job import Job
    from jobctl.orders import Order

AppName = Annotated[str | None, typer.Argument(metavar="APP", autocompletion=app_names)]
Args = Annotated[list[str] | None, typer.Argument(metavar="[-- ARGS...]", help="For the app.")]
Image = Annotated[
    str | None,
    typer.Option(
        metavar="IMAGE",
        help="Instead of APP: an image that no section speaks of; ARGS are its command.",
        autocompletion=image_names,
    ),
]
AppPort = Annotated[
    int | None,
    typer.Option(metavar="PORT", help="Where it listens; without, on the port of the job."),
]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(run)
    app.command()(server)


def run(
    context: typer.Context,
    app: AppName = None,
    args: Args = None,
    image: Image = None,
    app_port: AppPort = None,
    bind: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Where to publish the port. Other than loopback, it is open to the network even "
            "behind a host firewall such as ufw.",
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(metavar="PORT", help="This port, or fail.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    generate_password: Annotated[
        bool, typer.Option("--generate-password", help="Make a password up and print it once.")
    ] = False,
    mount: Annotated[
        list[str] | None,
        typer.Option(metavar="SRC:DST[:rw]", help="Show the app a directory or file."),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", metavar="NAME=VALUE", help="An environment variable."),
    ] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory limit, such as 512m.")
    ] = None,
    cpus: Annotated[
        float | None, typer.Option(min=0.01, metavar="N", help="CPU limit, in cores.")
    ] = None,
    gpus: Annotated[str | None, typer.Option(metavar="N", help="GPUs: all, or how many.")] = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option(metavar="EXPRESSION", help="On a Swarm: nodes, as in node.labels.gpu==true."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="SECONDS", help="Seconds to wait until it is ready."),
    ] = None,
    ttl: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="How long until `jobctl reap` stops it, such as 90m, 8h or 2d; never: for ever.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any other key of the app's section, for this job; VALUE is YAML.",
        ),
    ] = None,
    attach: Annotated[
        bool, typer.Option("--attach", help="Follow the log; Ctrl-C stops the job.")
    ] = False,
    count: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Launch N jobs. {number}, or {number:03} with zeros, stands for 1 to N in ARGS, "
            "--env, --mount and --set.",
        ),
    ] = None,
    parallel: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="With --count: so many at a time; by default 2 a core, at most 8."
        ),
    ] = None,
    all_or_none: Annotated[
        bool,
        typer.Option("--all-or-none", help="With --count: if one fails, undo those launched too."),
    ] = False,
    hand_out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --count: write how to get into each job to FILE.csv or FILE.json, "
            "generated passwords too, for you alone to read.",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Launch an app and return once it is verified: reachable, and protected.

    Example: jobctl run conduit --generate-password -- results/mesh.json
    """
    from dataclasses import replace

    from jobctl.containers import parse_mount
    from jobctl.lifetimes import NEVER
    from jobctl.passwords import generate

    if password_stdin and generate_password:
        raise UsageError("use either --password-stdin or --generate-password, not both")
    many = Many(count=count, parallel=parallel, all_or_none=all_or_none, hand_out=hand_out)
    many.check(port=port, attach=attach)
    wanted = order(app, args, image)
    changes = _settings(settings or ())
    given = {
        "app_port": app_port,
        "memory": memory,
        "cpus": cpus,
        "gpus": int(gpus) if gpus and gpus.isdecimal() else gpus,
        "launch_timeout": timeout,
        "constraints": constraint or None,
    }
    changes |= {key: value for key, value in given.items() if value is not None}
    if ttl is not None:
        changes["ttl"] = None if ttl == NEVER else ttl
    generated = generate() if generate_password and not count else None
    desk = broker(context)
    wanted = replace(
        wanted,
        password=streams.secret("the password") if password_stdin else generated,
        ask=prompt(),
        bind=bind,
        port=port,
        mounts=[parse_mount(text) for text in mount or ()],
        env=_env(env or ()),
        changes=changes,
    )
    if count:
        batches.launch(desk, wanted, many, generate=generate_password, json=json)
        return
    job = desk.run(wanted)
    if job.password_hash is None:
        generated = None  # the app has none
    print(_launched_json(job, generated) if json else _launched(job, generated, desk))
    sys.stdout.flush()
    tell_end(job)
    if attach:
        _attach(desk, job)


def server(
    context: typer.Context,
    app: Annotated[str, typer.Option("-a", metavar="APP", autocompletion=app_names)],
    args: Args = None,
) -> None:
    """Launch an app: the older name of `run`.

    Example: jobctl server -a conduit
    """
    run(context, app, args)


def order(app: str | None, args: Sequence[str] | None, image: str | None) -> Order:
    """Return the order for an app, or for an image, whose command is all that was given."""
    from jobctl.orders import Order

    words = [app, *(args or ())] if app else []
    if image:
        return Order(image=image, args=words)
    if not words:
        raise UsageError("name an app, or an image with --image; see: jobctl apps")
    return Order(app=words[0], args=words[1:])


def _settings(texts: Iterable[str]) -> dict[str, Any]:
    """Return the keys and values of ``--set``."""
    from jobctl.yamlfile import parse

    pairs = [_pair("--set", text) for text in texts]
    return {key: parse(value, f"--set {key}") for key, value in pairs}


def _env(texts: Iterable[str]) -> dict[str, str]:
    """Return the variables of ``--env``."""
    from jobctl.schema import ENV_NAME, ENV_NAME_EXPECTED

    pairs = dict(_pair("--env", text) for text in texts)
    for name in pairs:
        if re.fullmatch(ENV_NAME, name) is None:
            raise UsageError(f'--env "{name}": expected {ENV_NAME_EXPECTED}')
    return pairs


def _pair(option: str, text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not (key and sign):
        raise UsageError(f'{option} "{text}": expected a name, = and a value')
    return key, value


def prompt() -> Callable[[], str] | None:
    """Return what asks for a password, hidden and twice; ``None`` without a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    return lambda: str(
        typer.prompt("Password", hide_input=True, confirmation_prompt="Again", err=True)
    )


def show_log(chunks: Iterable[bytes]) -> None:
    """Print a log: as it is to a file or a pipe, without control characters to a terminal."""
    if not sys.stdout.isatty():
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
            sys.stdout.flush()
        return
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for chunk in chunks:  # which end anywhere, be it in a character
        print(render.clean(decoder.decode(chunk)), end="", flush=True)
    print(render.clean(decoder.decode(b"", final=True)), end="", flush=True)


def _launched_json(job: Job, password: str | None) -> str:
    from jobctl.job import to_dict

    return render.as_json(to_dict(job, reveal=False) | ({"password": password} if password else {}))


def _launched(job: Job, password: str | None, desk: Broker) -> str:
    from jobctl.cli.reaching import tunnel_line
    from jobctl.passwords import user_of

    address = render.one_line(job.open_url or job.url)
    lines = [f"{job.job_id} is running {job.app}, verified", f"  URL       {address}"]
    check = ["curl", "--cacert", f"{desk.directory}/ca.crt"]
    if not desk.ledger.place.here and "localhost" in job.url:
        lines.append(f"  get there {tunnel_line(desk, job)}")
    if job.password_hash and (user := user_of(job.password_hash)):
        lines.append(f"  user      {user}")
        how = "--digest" if job.hash_algorithm == "apache_md5_digest" else "--basic"
        check += [how, "--user", user]
    if password:
        lines.append(f"  password  {password}  (shown this once)")
    if job.login_path is None:
        lines.append(f"  try it    {shlex.join([*check, job.url])}")
    text = render.clean("\n".join(lines))
    return text.replace(address, screen().linked(address, address), 1) if address else text


def _attach(desk: Broker, job: Job) -> None:
    try:
        show_log(desk.logs(job.job_id, follow=True))
    except KeyboardInterrupt:
        print(f"stopping {job.job_id}", file=sys.stderr)
        desk.stop(job.job_id)
        return
    ended = desk.job(job.job_id)
    if ended.exit_code:
        raise JobctlError(
            f"{job.job_id} ended: {render.status(ended)}; see: jobctl logs {job.job_id}"
        )
