"""What Typer's own completion lacks: in zsh, an answer to the first Tab of a session."""

from __future__ import annotations

# zsh loads the installed file as a function at the first Tab, and calls that; Typer's text only
# defines what answers from the second Tab on.
_FIRST_TAB = """
if [ "$funcstack[1]" = "_%(prog_name)s" ]; then
  %(complete_func)s "$@"
fi
"""


def mend_completion() -> None:
    """Have ``--install-completion`` write for zsh what answers to the first Tab as well.

    Where another version of Typer has its texts elsewhere, they stay as they are.
    """
    try:
        from typer import _completion_shared
    except ImportError:
        return
    scripts = getattr(_completion_shared, "_completion_scripts", {})
    if "zsh" in scripts and _FIRST_TAB not in scripts["zsh"]:
        scripts["zsh"] += _FIRST_TAB
