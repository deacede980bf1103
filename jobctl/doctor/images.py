"""The images of the apps that are configured: whether the engine has them as their sources are."""

from __future__ import annotations

from jobctl import images
from jobctl.containers import GATEWAY_IMAGE, image_of
from jobctl.doctor.finding import Answer, ok, warning
from jobctl.doctor.subject import Subject
from jobctl.images import ListedImage, Source
from jobctl.sources import sources


def current(subject: Subject) -> Answer:
    """Look for images that the engine lacks, or has from what their sources were once."""
    _, listed = _built_here(subject)
    wrong = {
        "not built": [one.tag for one in listed if not one.present],
        "outdated": [one.tag for one in listed if one.present and not one.current],
    }
    if not any(wrong.values()):
        return ok(f"{len(listed)}, built from what their sources are now")
    missing = bool(wrong["not built"])
    return warning(
        "; ".join(f"{what}: {', '.join(tags)}" for what, tags in wrong.items() if tags),
        "jobctl images build"
        + (", as the first launch that needs one does for that one" if missing else ""),
        fixable=missing,
    )


def build(subject: Subject) -> list[str]:
    """Build those that are missing, and say which."""
    known, listed = _built_here(subject)
    missing = [one.tag for one in listed if not one.present]
    for tag in missing:
        images.ensure_image(subject.engine, tag, known, subject.report)
    return [f"{tag} is built" for tag in missing]


def _built_here(subject: Subject) -> tuple[dict[str, Source], list[ListedImage]]:
    """Return all sources, and what there is of the images that the apps need of them."""
    catalogue = subject.catalogue
    known = sources(catalogue)
    needed = {image_of(app, section) for app, section in catalogue.apps.items()}
    listed = images.listing(subject.engine, known)
    return known, [one for one in listed if one.tag in needed | {GATEWAY_IMAGE}]
