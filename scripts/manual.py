"""The manual page ``jobctl(1)``, in the macros of man(7)."""

from __future__ import annotations

import re

from command_tree import Command, Parameter

from jobctl import __version__

CHANGED = "2026-11-25"
"""When what this module says was last changed, which a page has to state."""

DESCRIPTION = [
    "jobctl launches web applications in containers on a Linux host that is shared with others. "
    "Each gets a host port that nobody else has, a TLS certificate that clients can verify, a "
    "password, a locked-down container, and a record. A job counts as running only after jobctl "
    "itself has connected, seen the job's own certificate, been turned away without and with a "
    "wrong password, and been let in with the right one.",
    "JOB is an id such as job_8000, or its port.",
]
EXIT_STATUS = [
    Parameter("0", "Done."),
    Parameter("1", "It failed; a line on standard error says what, and what to do next."),
    Parameter("2", "Wrong usage."),
    Parameter("130", "Interrupted; what had begun is undone."),
]
ENVIRONMENT = [
    Parameter("JOBCTL_CONFIG", "The configuration file, unless --config names one."),
    Parameter("DOCKER_HOST", "The container engine, as for docker(1); so are DOCKER_CONTEXT, "
              "DOCKER_TLS_VERIFY and DOCKER_CERT_PATH."),
    Parameter("XDG_CONFIG_HOME, XDG_STATE_HOME", "Where the user's configuration and records are, "
              "instead of ~/.config and ~/.local/state."),
]  # fmt: skip
FILES = [
    Parameter("~/.config/jobctl/config.yaml", "The user's configuration."),
    Parameter("/etc/jobctl/config.yaml", "The host's, for users who have none."),
    Parameter("~/.local/state/jobctl/USER/connections.txt", "The jobs on record."),
    Parameter("~/.local/state/jobctl/USER/ca.crt", "The certificate that clients have to trust."),
]
EXAMPLES = [
    "jobctl run conduit \\-\\- results/mesh.json",
    "jobctl run jupyter \\-\\-generate\\-password",
    "jobctl ps",
    "jobctl rm \\-\\-force job_8000",
]


def manual(commands: list[Command]) -> str:
    """Return the page."""
    root = commands[0]
    lines = [
        '.\\" Made by `make reference` from the command tree; changes belong there.',
        f'.TH JOBCTL 1 {CHANGED} "jobctl {__version__}" "User commands"',
        *(".SH NAME", "jobctl \\- launch web applications in containers, protected and verified"),
        *(".SH SYNOPSIS", _usage(root)),
        *(".SH DESCRIPTION", *_paragraphs(DESCRIPTION)),
        *(".SH OPTIONS", *_tagged(root.options)),
        ".SH COMMANDS",
    ]
    for one in commands[1:]:
        if not one.is_group:
            lines += _command(one)
    for title, tagged in {
        "EXIT STATUS": EXIT_STATUS,
        "ENVIRONMENT": ENVIRONMENT,
        "FILES": FILES,
    }.items():
        lines += [f".SH {title}", *_tagged(tagged)]
    lines += [".SH EXAMPLES", ".EX", *EXAMPLES, ".EE", ".SH SEE ALSO", ".BR docker (1)"]
    return "\n".join(lines) + "\n"


def _command(one: Command) -> list[str]:
    lines = [f".SS {_text(one.name)}", *_paragraphs(one.paragraphs), ".PP", _usage(one)]
    lines += _tagged(one.arguments + one.options)
    if one.example:
        lines += [".PP", "For example:", ".PP", ".EX", f".in +4n\n{_text(one.example)}\n.in", ".EE"]
    return lines


def _usage(one: Command) -> str:
    words = one.usage.removeprefix(one.name)
    return f".B {_text(one.name)}\n{_text(words.strip())}" if words else f".B {_text(one.name)}"


def _paragraphs(texts: list[str]) -> list[str]:
    lines: list[str] = []
    for text in texts:
        lines += [".PP", *_sentences(text)] if lines else _sentences(text)
    return lines


def _sentences(text: str) -> list[str]:
    """Return the lines of a text; each sentence begins one, so that it gets its space."""
    return [_text(sentence) for sentence in re.split(r"(?<=[.!?:]) (?=[A-Z])", text)]


def _tagged(parameters: list[Parameter]) -> list[str]:
    lines = []
    for one in parameters:
        lines += [".TP", f".B {_text(one.spelled)}", *_sentences(one.help)]
    return lines


def _text(text: str) -> str:
    """Return text in which nothing is taken for a request or an escape, nor a dash for a hyphen."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    text = (
        text.replace("'", "\\(aq").replace("`", "\\(ga").replace("~", "\\(ti").replace("^", "\\(ha")
    )
    text = text.replace("\N{HORIZONTAL ELLIPSIS}", "...")
    return f"\\&{text}" if text.startswith(".") else text
