"""What the images of a configuration's apps are made from: Dockerfiles, and lists of packages."""

from __future__ import annotations

from jobctl import images
from jobctl.config import Config
from jobctl.containers import image_of
from jobctl.errors import JobctlError
from jobctl.images import Source
from jobctl.schema import Build, Section


def sources(catalogue: Config) -> dict[str, Source]:
    """Return the source of each image that jobctl can make, by its tag.

    Raises:
        JobctlError: a Dockerfile or a file of requirements can't be read, or one image has two
            sources.
    """
    directories = [path / "images" for path in catalogue.directories()]
    found = images.known_sources(path for path in directories if path.is_dir())
    for app, section in catalogue.apps.items():
        if section.build:
            source = _generated(app, section.build, catalogue)
            if source.tag in found:
                raise JobctlError(
                    f"apps.{app}.build and {found[source.tag].recipe} both make {source.tag}; "
                    "remove one of them"
                )
            found[source.tag] = source
    return found


def _generated(app: str, build: Build, catalogue: Config) -> Source:
    requirements = None
    if build.requirements is not None:
        path = catalogue.origins[app].path.parent / build.requirements
        try:
            requirements = path.read_bytes()
        except OSError as error:
            raise JobctlError(
                f"apps.{app}.build.requirements: can't read {path}: {error.strerror}; name another"
            ) from None
    tag = image_of(app, Section())
    return images.generated(tag, python=build.python, apt=build.apt, requirements=requirements)
