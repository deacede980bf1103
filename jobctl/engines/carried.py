"""Files that a container gets on an engine of another machine: copies, in volumes of its own.

They are mounted read-only, which not even the engine can write to through that container: a second
one, never started, is what they are filled by. Each has a name that nobody had before: another
job's of the same id would show what it holds. Beside these nothing on the engine's host has the
files.
"""

from __future__ import annotations

import io
import json
import secrets
import tarfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from docker import APIClient
from docker.errors import APIError, NotFound

from jobctl.engines.base import FILES_LABEL, ContainerSpec
from jobctl.errors import JobctlError

_HELPER = "-files"
"""What the name of a helper ends with, behind that of its container."""


def paths(spec: ContainerSpec) -> list[str]:
    """Return the paths of what a container is to see."""
    return [*spec.files, *spec.secrets]


def labels(spec: ContainerSpec) -> dict[str, str]:
    """Return what says with a container which files it has."""
    found = paths(spec)
    return {FILES_LABEL: json.dumps(found)} if found else {}


def mounts(spec: ContainerSpec) -> list[dict[str, Any]]:
    """Return the volumes that a container has its files in: one for each of their directories."""
    return [
        {
            "Type": "volume",
            "Source": f"{spec.name}-{secrets.token_hex(8)}",
            "Target": directory,
            "ReadOnly": True,
            # What an image has there is nothing that the container was to see.
            "VolumeOptions": {"NoCopy": True, "Labels": dict(spec.labels)},
        }
        for directory in _by_directory(paths(spec))
    ]


def fill(api: APIClient, container: str) -> None:
    """Copy the files of this host to a container that was created with ``labels`` and ``mounts``.

    Raises:
        JobctlError: one of them can't be read.
    """
    answer = api.inspect_container(container)
    config = answer["Config"]
    told = (config.get("Labels") or {}).get(FILES_LABEL)
    if told is None:
        return
    packed = {
        directory: _tar(names, user=config["User"])
        for directory, names in _by_directory(json.loads(told)).items()
    }
    helper = _helper(api, answer)
    try:
        for directory, data in packed.items():
            api.put_archive(helper, directory, data)
    finally:
        _remove(api, helper)


def volumes_of(api: APIClient, container: str) -> list[str]:
    """Return the names of the volumes that a container has its files in, if it is there."""
    try:
        answer = api.inspect_container(container)
    except NotFound:
        return []
    return [mount["Source"] for mount in _own(answer)]


def remove(api: APIClient, volumes: Sequence[str]) -> None:
    """Remove volumes that no container has any more; those that are gone are fine."""
    for name in volumes:
        try:
            api.remove_volume(name)
        except APIError as error:
            if error.status_code not in (404, 409):  # 409: a helper has it, and is swept up too
                raise


def sweep(api: APIClient, wanted: Sequence[str]) -> None:
    """Remove helpers and volumes that carry all the ``wanted`` labels, and which nothing uses."""
    for entry in api.containers(all=True, filters={"label": list(wanted)}):
        if any(name.endswith(_HELPER) for name in entry["Names"] or ()):
            _remove(api, entry["Id"])
    answer = api.volumes(filters={"label": list(wanted), "dangling": True})
    remove(api, [volume["Name"] for volume in answer.get("Volumes") or ()])


def _helper(api: APIClient, answer: Mapping[str, Any]) -> str:
    """Create a container that never runs, which can write to the volumes of another."""
    name = answer["Name"].lstrip("/") + _HELPER
    _remove(api, name)  # of a process that was killed
    volumes: list[Any] = _own(answer)
    created = api.create_container(
        image=answer["Image"],
        name=name,
        command=["-"],
        entrypoint=[],
        labels=answer["Config"]["Labels"],
        host_config=api.create_host_config(mounts=volumes, network_mode="none"),
    )
    return str(created["Id"])


def _own(answer: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the mounts of the volumes with files; there may be others, which an image asks for."""
    told = json.loads((answer["Config"].get("Labels") or {}).get(FILES_LABEL, "[]"))
    return [
        {"Type": "volume", "Source": mount["Name"], "Target": mount["Destination"]}
        for mount in answer["Mounts"]
        if mount["Type"] == "volume" and mount["Destination"] in _by_directory(told)
    ]


def _remove(api: APIClient, helper: str) -> None:
    # With the volumes that its image asks for, if it does; those of the other have names.
    try:
        api.remove_container(helper, force=True, v=True)
    except APIError as error:
        if error.status_code not in (404, 409):
            raise


def _by_directory(files: Sequence[str]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for path in map(Path, files):
        found[str(path.parent)].append(path)
    return found


def _tar(files: Sequence[Path], *, user: str) -> bytes:
    """Return an archive of files that belong to ``uid:gid``, who alone can read them."""
    uid, _, gid = user.partition(":")

    def owned(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid, entry.gid = int(uid or 0), int(gid or uid or 0)
        entry.uname = entry.gname = ""
        entry.mode = 0o500 if entry.isdir() else 0o400
        return entry

    packed = io.BytesIO()
    try:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for path in files:
                archive.add(path, arcname=path.name, filter=owned)
    except OSError as error:
        raise JobctlError(
            f"can't read {error.filename}, which the container is to see: {error.strerror}; "
            "launch it anew"
        ) from None
    return packed.getvalue()
