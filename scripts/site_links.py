"""For MkDocs: what pages link to outside of docs/ becomes part of the site.

On a code host, ``../README.md`` in a page leads to the file. In the site there is no such place, so
that the file is copied to ``project/`` and the link led there.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

PROJECT = Path(__file__).parent.parent
ELSEWHERE = "project"
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)#\s]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, config: Any) -> Files:
    """Add what lies outside of docs/ and is linked to from inside, and from what was added."""
    todo = list(files.documentation_pages())
    while todo:
        page = todo.pop()
        for link in _LINK.finditer(page.content_string):
            name = _in_site(page.src_uri, link[1])
            if name.startswith(f"{ELSEWHERE}/") and files.get_file_from_path(name) is None:
                added = _copied(name, config)
                files.append(added)
                todo += [added] if added.is_documentation_page() else []
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead the links of a page to where things are in the site."""
    here = PurePosixPath(page.file.src_uri).parent

    def led(link: re.Match[str]) -> str:
        return os.path.relpath(_in_site(page.file.src_uri, link[1]), here) + (link[2] or "")

    return _LINK.sub(led, markdown)


def _in_site(page: str, link: str) -> str:
    """Return where in the site the target of a link is, whether it is there or not."""
    inside, outside = "docs", f"{ELSEWHERE}/"
    place = page.removeprefix(outside) if page.startswith(outside) else f"{inside}/{page}"
    target = os.path.normpath(PurePosixPath(place).parent / link)
    if target.startswith(f"{inside}/"):
        return target.removeprefix(f"{inside}/")
    return outside + (f"{target}/README.md" if (PROJECT / target).is_dir() else target)


def _copied(name: str, config: Any) -> File:
    source = PROJECT / name.removeprefix(f"{ELSEWHERE}/")
    if source.name == "README.md" and not source.exists():  # of a directory that has none
        listed = "\n".join(f"- {path.name}" for path in sorted(source.parent.iterdir()))
        return File.generated(config, name, content=f"# {source.parent.name}/\n\n{listed}\n")
    return File.generated(config, name, abs_src_path=str(source))
