"""Every error message in the code, with what to do about it, and the page that lists them.

The messages are read from the source: nothing is run, and none can be forgotten.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parent.parent
PAGE = PROJECT / "docs" / "reference" / "errors.md"
GAP = "…"
"""What stands for a value in the pattern of a message."""

IMPERATIVES = frozenset(
    {
        *("add", "allow", "ask", "bring", "call", "change", "check", "choose", "close"),
        *(
            "convert",
            "end",
            "expected",
            "expose",
            "free",
            "give",
            "go",
            "have",
            "install",
            "launch",
        ),
        *("leave", "look", "make", "mend", "mount", "move", "name", "remove", "rename"),
        *("return", "run", "save", "see", "send", "set", "show", "start", "stop", "swap"),
        *("take", "try", "uninstall", "use", "widen", "work", "write"),
    }
)
"""How a next step begins. ``expected`` says what to give in place of what was given."""

# Functions that word a message for others to raise.
WORDED = {
    ("jobctl/broker.py", "_elsewhere"),
    ("jobctl/broker.py", "_keeps"),
    ("jobctl/startup.py", "way_past"),
    ("jobctl/lifetimes.py", "_over"),
}

# Where a ValueError is a message as well, which the reader of a file or an option passes on.
OF_VALUES = ("jobctl/schema.py", "jobctl/placeholders.py", "jobctl/yamlfile.py")

EXCEPTIONS = {
    ("jobctl/broker.py", "…"): "said by `_elsewhere` and `_keeps`, which are listed",
    ("jobctl/images/build.py", "…: …. The last lines were:…"): "the engine's, with what it wrote",
    ("jobctl/config.py", "…"): "another message of this page, or that of a size, which is listed",
    ("jobctl/engines/sdk.py", "… (…)"): "one of the places that `connect` lists as tried",
    ("jobctl/engines/podman.py", "… (…)"): "likewise",
    ("jobctl/engines/podman.py", "… (that is no Podman, or one before 4.0)"): "likewise",
    ("jobctl/engines/podman.py", "… (that is no socket of this host)"): "likewise",
    ("jobctl/engines/docker.py", "… (…)"): "likewise",
    ("jobctl/engines/swarm.py", "… (…)"): "likewise",
    ("jobctl/startup.py", "… was not started: …"): "the cluster's, with the end of the app's log",
    ("jobctl/engines/over_ssh.py", "… (…)"): "likewise",
    ("jobctl/labels.py", "labels of a job: …"): "shown to nobody: such labels are passed over",
    ("jobctl/labels.py", "labels of a job: … has control characters in it"): "likewise",
    ("jobctl/labels.py", "labels of a job: … is too long"): "likewise",
    ("jobctl/validation.py", "…: …: ……"): "of a type, which says what it expected, or listed",
    ("jobctl/yamlfile.py", "…: not YAML: …"): "one of the others of that module",
    ("jobctl/startup.py", "……"): "another message of this page, with the end of a log",
    ("jobctl/startup.py", "…"): "said by `way_past`, which is listed",
    ("jobctl/arrays.py", "…"): "of a placeholder, which is listed",
    (
        "jobctl/batch.py",
        "number … of … failed, so that none was launched: …",
    ): "another message of this page",
    ("jobctl/batch.py", "…"): "another message of this page",
    (
        "jobctl/cli/batches.py",
        "… of … jobs were not launched:\n…",
    ): "others of this page, a line for each reason",
    ("jobctl/lifetimes.py", "…"): "said by `_over`, which is listed",
    ("jobctl/cli/lifetimes.py", "…"): "others of this page, a line for each job",
    ("jobctl/remote.py", "…: …"): "what jobctl says on that host",
}
"""Messages without a next step of their own, and why that is so."""

# In the order of the page; a module belongs to the first whose prefix fits.
SUBJECTS = {
    "The command line": ("jobctl/cli/",),
    "Configuration": (
        *("jobctl/config.py", "jobctl/yamlfile.py", "jobctl/validation.py", "jobctl/plugins.py"),
        *("jobctl/schema.py", "jobctl/ownership.py", "jobctl/legacy/"),
    ),
    "Apps and their modules": (
        *("jobctl/apps.py", "jobctl/helpers.py", "jobctl/scaffold.py", "jobctl/preparation.py"),
        *("jobctl/placeholders.py", "jobctl/gateway.py", "jobctl/containers.py", "app_modules/"),
    ),
    "Launching": (
        *("jobctl/orders.py", "jobctl/passwords.py", "jobctl/ports.py", "jobctl/launch.py"),
        *("jobctl/startup.py", "jobctl/probe/", "jobctl/conformance/", "jobctl/farness.py"),
        *("jobctl/arrays.py", "jobctl/batch.py", "jobctl/handouts.py", "jobctl/place.py"),
    ),
    "Jobs and records": (
        *("jobctl/broker.py", "jobctl/job.py", "jobctl/registry.py", "jobctl/locks.py"),
        *("jobctl/jobfiles.py", "jobctl/labels.py", "jobctl/authority.py"),
    ),
    "Lifetimes": (
        *("jobctl/lifetimes.py", "jobctl/durations.py", "jobctl/reaping.py", "jobctl/idleness.py"),
        "jobctl/schedule.py",
    ),
    "Reaching jobs": (
        *("jobctl/reach.py", "jobctl/browsers.py", "jobctl/remote.py", "jobctl/ssh.py"),
        *("jobctl/tunnel.py", "jobctl/trust.py", "jobctl/candidate.py", "jobctl/nss.py"),
        "jobctl/systemstore.py",
    ),
    "Images": ("jobctl/images/", "jobctl/sources.py"),
    "The container engine": ("jobctl/engines/", "jobctl/errors.py"),
    "Others": ("",),
}

_HEAD = """\
# Error messages

What jobctl says when something fails, and what to do about it. `…` stands for a value. A message
goes to standard error after `jobctl: `; the exit code is 1, and 2 for wrong usage. With `jobctl
--debug COMMAND` it comes with where in the code it arose. `jobctl doctor` looks for what is behind
many of them.

Made by `make reference` from the code; changes belong there.
"""


@dataclass(frozen=True, order=True)
class Message:
    """One error message: where it is from, and its pattern with ``GAP`` for values."""

    source: str
    pattern: str

    @property
    def step(self) -> str | None:
        """What it says to do: from the first clause on that begins with an imperative."""
        for found in re.finditer(
            r"(?:^|[;:,.)] |\n)(?:or |then |and )?([A-Za-z]+)\b", self.pattern
        ):
            if found[1].lower() in IMPERATIVES:
                return self.pattern[found.start(1) :]
        command = re.search(r": (jobctl .*)", self.pattern)
        return command[1] if command else None


def messages() -> list[Message]:
    """Return the messages of all errors that users get to see, as the code has them."""
    paths = sorted([*PROJECT.glob("jobctl/**/*.py"), *PROJECT.glob("app_modules/*.py")])
    trees = {path.relative_to(PROJECT).as_posix(): ast.parse(path.read_bytes()) for path in paths}
    kinds = _kinds(trees.values())
    return sorted({one for source, tree in trees.items() for one in _of(source, tree, kinds)})


def _kinds(trees: Iterable[ast.Module]) -> dict[str, bool]:
    """Return the names of the error classes, and whether each words its message itself."""
    classes = {
        node.name: node
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    kinds = {"JobctlError": False}
    while True:
        more = {
            name: any(isinstance(inner, ast.FunctionDef) for inner in node.body)
            for name, node in classes.items()
            if name not in kinds
            and any(ast.unparse(base).rpartition(".")[2] in kinds for base in node.bases)
        }
        if not more:
            return kinds
        kinds |= more


def _of(source: str, tree: ast.Module, kinds: dict[str, bool]) -> Iterator[Message]:
    constants = dict(_named(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func)
            kind = called.rpartition(".")[2]
            of_value = kind == "ValueError" and source in OF_VALUES
            if of_value or (kind in kinds and not kinds[kind]) or called == "type(error)":
                yield Message(source, _pattern(node.args[0], constants))
        elif isinstance(node, ast.ClassDef) and kinds.get(node.name):
            yield from (
                Message(source, _pattern(call.args[0], constants))
                for call in ast.walk(node)
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__"
            )
        elif isinstance(node, ast.FunctionDef) and (source, node.name) in WORDED:
            yield from (
                Message(source, _pattern(inner.value, constants))
                for inner in ast.walk(node)
                if isinstance(inner, ast.Return) and isinstance(inner.value, ast.JoinedStr)
            )


def _named(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield the values of a module's constants, and what its functions return at their end."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.FunctionDef):
            last = node.body[-1]
            if isinstance(last, ast.Return) and last.value is not None:
                yield node.name, last.value


def _pattern(node: ast.expr, constants: dict[str, ast.expr]) -> str:
    """Return the text of an expression, with ``GAP`` for what is known only when it runs."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_pattern(part, constants) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _pattern(node.value, constants) if isinstance(node.value, ast.Name) else GAP
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _pattern(node.left, constants) + _pattern(node.right, constants)
    name = node.func if isinstance(node, ast.Call) and not node.args else node
    if isinstance(name, ast.Name) and name.id in constants:
        return _pattern(constants[name.id], {})
    return GAP


def page(found: list[Message]) -> str:
    """Return the page in Markdown, by subject."""
    lines = [_HEAD]
    for subject, prefixes in SUBJECTS.items():
        rows = [
            one
            for one in found
            if subject == _subject(one.source) and (one.source, one.pattern) not in EXCEPTIONS
        ]
        if rows and prefixes:
            lines += [f"## {subject}\n", "| message | what to do | from |", "|---|---|---|"]
            lines += [*map(_row, sorted(rows, key=lambda one: (one.pattern, one.source))), ""]
    return "\n".join(lines).rstrip() + "\n"


def _subject(source: str) -> str:
    return next(name for name, prefixes in SUBJECTS.items() if source.startswith(prefixes))


def _row(message: Message) -> str:
    step = message.step or ""
    said = message.pattern[: len(message.pattern) - len(step)].rstrip(" ;:,\n") or message.pattern
    where = f"[{_cell(message.source)}](../../{message.source})"
    return f"| {_cell(said)} | {_cell(step)} | {where} |"


def _cell(text: str) -> str:
    return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", " ".join(text.split()))
