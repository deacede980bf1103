"""Things of a kind, listed as somebody wants them: a table, all of a table, JSON, or names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import msgspec
import typer

from jobctl.cli import render
from jobctl.cli.screen import screen
from jobctl.cli.tables import Column, draw
from jobctl.errors import UsageError
from jobctl.job import Job, Status, to_dict

if TYPE_CHECKING:
    from jobctl.contexts import Seen
    from jobctl.images import ListedImage
    from jobctl.provenance import Setting
    from jobctl.usage import JobUsage

T = TypeVar("T")


class Output(StrEnum):
    """What a listing is printed as."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    NAME = "name"


OutputOption = Annotated[
    Output | None,
    typer.Option(
        "--output",
        "-o",
        help="A table that fits the terminal, all there is, JSON, or names only.",
        show_default="table",
    ),
]


def chosen(output: Output | None, *, json: bool, names: bool = False) -> Output:
    """Return the output that was asked for, be it with ``-o`` or by one of its older names.

    Raises:
        UsageError: they contradict each other.
    """
    short = Output.JSON if json else Output.NAME if names else None
    if output and short and output != short:
        raise UsageError(f"-o {output} goes with no option that means -o {short}; leave one out")
    return output or short or Output.TABLE


class Listing(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """How things of a kind are listed: in columns, by name, or as JSON objects."""

    columns: Sequence[Column[T]]
    name: Callable[[T], str]
    as_object: Callable[[T], Mapping[str, Any]]

    def text(self, items: Sequence[T], output: Output) -> str:
        """Return the listing; without items there is no line of it but a table's head."""
        if output is Output.JSON:
            return render.as_json([self.as_object(item) for item in items])
        if output is Output.NAME:
            return "\n".join(render.one_line(self.name(item)) for item in items)
        if output is Output.WIDE:
            return draw(self.columns, items, screen()._replace(width=None))
        return draw([column for column in self.columns if not column.wide], items, screen())

    def show(self, items: Sequence[T], output: Output) -> None:
        """Print the listing."""
        if text := self.text(items, output):
            print(text)


_COLOURS = {Status.LAUNCHED: "green", Status.UNHEALTHY: "red", Status.LOST: "red"}


def _colour(job: Job) -> str | None:
    failed = job.status == Status.EXITED and job.exit_code
    return "red" if failed else _COLOURS.get(job.status)


def _url(job: Job) -> str:
    return job.open_url or job.url


def jobs(*, owners: bool = False) -> Listing[Job]:
    """Return how jobs are listed, with their ``owners`` if those of several are."""
    return Listing(
        columns=[
            Column(head="JOB", text=lambda job: job.job_id),
            Column(head="OWNER", text=lambda job: job.owner, spare=1, least=8, wide=not owners),
            Column(head="APP", text=lambda job: job.app, spare=2, least=8),
            Column(head="STATUS", text=render.status, colour=_colour),
            Column(head="AGE", text=render.age, spare=4),
            Column(head="URL", text=_url, link=_url, spare=3, least=16),
            Column(head="BIND", text=lambda job: job.bind_address, wide=True),
            Column(head="HOST", text=lambda job: job.host, wide=True),
            Column(head="IMAGE", text=lambda job: job.image, wide=True),
            Column(head="RESTARTS", text=lambda job: str(job.restarts), wide=True),
        ],
        name=lambda job: job.job_id,
        as_object=lambda job: to_dict(job, reveal=False),
    )


def jobs_of_contexts() -> Listing[tuple[str, Job]]:
    """Return how jobs are listed with the contexts whose engines they are on."""

    def of_job(column: Column[Job]) -> Column[tuple[str, Job]]:
        link, colour = column.link, column.colour
        return Column(
            head=column.head,
            text=lambda row: column.text(row[1]),
            spare=column.spare,
            least=column.least,
            wide=column.wide,
            colour=(lambda row: colour(row[1])) if colour else None,
            link=(lambda row: link(row[1])) if link else None,
        )

    one = jobs(owners=True)
    return Listing(
        columns=[
            Column(head="CONTEXT", text=lambda row: row[0]),
            *map(of_job, one.columns),
        ],
        name=lambda row: one.name(row[1]),
        as_object=lambda row: {"context": row[0], **one.as_object(row[1])},
    )


def context_object(seen: Seen) -> Mapping[str, Any]:
    """Return what a context shows as a JSON object."""
    jobs = [to_dict(job, reveal=False) for job in seen.jobs]
    return {**asdict(replace(seen, jobs=())), "jobs": jobs}


def _usage_object(usage: JobUsage) -> Mapping[str, Any]:
    return {
        "job_id": usage.job.job_id,
        "owner": usage.job.owner,
        "app": usage.job.app,
        "cpu_percent": round(usage.cpu, 1),
        "memory_bytes": usage.memory,
        "received_bytes": usage.received,
        "sent_bytes": usage.sent,
    }


def usages(*, owners: bool = False) -> Listing[JobUsage]:
    """Return how it is listed what jobs use."""
    return Listing(
        columns=[
            Column(head="JOB", text=lambda usage: usage.job.job_id),
            Column(head="OWNER", text=lambda one: one.job.owner, spare=1, least=8, wide=not owners),
            Column(head="APP", text=lambda usage: usage.job.app, spare=2, least=8),
            Column(head="CPU", text=lambda usage: f"{usage.cpu:.1f} %"),
            Column(head="MEMORY", text=lambda usage: render.size(usage.memory)),
            Column(head="RECEIVED", text=lambda usage: render.size(usage.received), spare=4),
            Column(head="SENT", text=lambda usage: render.size(usage.sent), spare=3),
        ],
        name=lambda usage: usage.job.job_id,
        as_object=_usage_object,
    )


APPS = Listing[Mapping[str, Any]](
    columns=[
        Column(head="APP", text=lambda app: str(app["app"])),
        Column(head="IMAGE", text=lambda app: str(app["image"]), spare=1, least=16),
        Column(head="SECURED BY", text=lambda app: str(app["secured_by"]), wide=True),
        Column(
            head="PASSWORD", text=lambda app: "yes" if app["require_password"] else "no", wide=True
        ),
        Column(head="SOURCE", text=lambda app: str(app["source"]), spare=2, least=16),
    ],
    name=lambda app: str(app["app"]),
    as_object=lambda app: app,
)


def _image_state(image: ListedImage) -> str:
    return ("current" if image.current else "outdated") if image.present else "not built"


def _image_size(image: ListedImage) -> str:
    return "-" if image.size is None else render.size(image.size)


def _short_id(image: ListedImage) -> str:
    return (image.id or "-").removeprefix("sha256:")[:12]


IMAGES: Listing[ListedImage] = Listing(
    columns=[
        Column(head="IMAGE", text=lambda image: image.tag),
        Column(
            head="STATE",
            text=_image_state,
            colour=lambda image: "green" if image.current else None,
        ),
        Column(head="SIZE", text=_image_size, spare=1),
        Column(head="ID", text=_short_id, spare=2),
    ],
    name=lambda image: image.tag,
    as_object=asdict,
)

SETTINGS: Listing[Setting] = Listing(
    columns=[
        Column(head="KEY", text=lambda setting: setting.key),
        Column(head="VALUE", text=lambda one: render.compact(one.value), spare=1, least=12),
        Column(head="SOURCE", text=lambda setting: setting.source, spare=2, least=12),
    ],
    name=lambda setting: setting.key,
    as_object=asdict,
)
