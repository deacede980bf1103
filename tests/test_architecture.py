"""The house as the design draws it: who imports whom, who prints, and what every module says."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "jobctl"

VALUES = {
    "errors",
    "durations",
    "progress",
    "job",
    "placeholders",
    "schema",
    "validation",
    "yamlfile",
    "config",
    "ownership",
    "engines.base",
}
LEAVES = {
    *("browsers", "certs", "confinement", "containers", "exposure", "gateway", "hosts", "idleness"),
    *("images", "jobfiles", "jsonschema", "labels", "legacy", "lifetimes", "locks", "nss"),
    *("passwords", "plugins", "ports", "probe", "provenance", "registry", "schedule", "ssh"),
    *("systemstore", "usage"),
}
LEAF_TO_LEAF = {
    ("containers", "gateway"),
    ("containers", "labels"),
    ("exposure", "hosts"),
    ("idleness", "jobfiles"),
    ("lifetimes", "jobfiles"),
    ("ports", "hosts"),
    ("registry", "jobfiles"),
    ("registry", "locks"),
}
# From here on each may import the leaves and what stands before it.
STOREYS = [
    *("authority", "helpers", "apps", "sources", "orders", "observation", "place", "ledger"),
    *("contexts", "startup", "farness", "preparation", "revival", "launch", "reaping", "broker"),
    *("conformance", "doctor", "scaffold"),
    *("reach", "remote", "tunnel", "candidate", "trust"),
]
ADAPTERS = {
    *("engines.docker", "engines.docker_values", "engines.endpoints"),
    *("engines.carried", "engines.docker_contexts", "engines.over_ssh"),
}
ENTRANCE = "__main__"


def modules() -> dict[str, Path]:
    """Return the files of the package by the name of their module, without the package's."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


MODULES = modules()
TREES = {name: ast.parse(path.read_bytes()) for name, path in MODULES.items()}


def imported(name: str) -> set[str]:
    """Return the full names of all that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own(full: str) -> str | None:
    """Return the module of this package that an import names, without the package's name."""
    head, _, rest = full.partition(".")
    if head != "jobctl":
        return None
    while rest not in MODULES:
        rest = rest.rpartition(".")[0]
    return rest


def part(module: str) -> str:
    """Return what a module counts as: packages but that of the engines are one part."""
    return module if module.startswith("engines") else module.partition(".")[0]


def edges() -> Iterator[tuple[str, str]]:
    """Yield who imports whom, in parts."""
    for name in MODULES:
        for target in map(own, imported(name)):
            if target and part(target) != part(name):
                yield part(name), part(target)


EDGES = sorted(set(edges()))
PARTS = {part(name) for name in MODULES} - {"", "engines"}


def test_every_part_has_its_place() -> None:
    assert VALUES | LEAVES | set(STOREYS) | ADAPTERS | {"cli", ENTRANCE} == PARTS


def allowed(importer: str) -> set[str]:
    """Return what a part may import."""
    if importer == "errors":
        return set()
    if importer in VALUES:
        return VALUES
    if importer in LEAVES:
        return VALUES | {target for source, target in LEAF_TO_LEAF if source == importer}
    if importer in ADAPTERS:
        # An engine of another host is reached by the same ssh as its jobs.
        return VALUES | ADAPTERS | ({"ssh"} if importer == "engines.over_ssh" else set())
    if importer in STOREYS:
        below = VALUES | LEAVES | set(STOREYS[: STOREYS.index(importer)])
        chosen = {"engines.endpoints", "engines.docker_contexts"}
        return below | chosen if importer in ("broker", "doctor") else below
    if importer == "cli":
        return VALUES | LEAVES | set(STOREYS)
    return {"cli"}


@pytest.mark.parametrize("importer", sorted(PARTS))
def test_imports_point_down(importer: str) -> None:
    assert {target for source, target in EDGES if source == importer} <= allowed(importer)


@pytest.mark.parametrize(("source", "target"), sorted(LEAF_TO_LEAF))
def test_an_exception_that_nobody_needs_any_more_is_gone(source: str, target: str) -> None:
    assert (source, target) in EDGES


def test_values_do_not_import_each_other_in_circles() -> None:
    between = {(s, t) for s, t in EDGES if s in VALUES and t in VALUES}

    assert not any((target, source) in between for source, target in between)


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Packages as single modules: inside one of them there are no circles either."""
    graph = {
        name: {target for target in map(own, imported(name)) if target and target != name}
        for name in MODULES
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        for target in graph[name]:
            # A package's own __init__ gathers its modules; they don't count as importing it.
            if not name.startswith(f"{target}."):
                visit(target, (*path, name))
        done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("typer", {"cli"}),
        ("rich", {"cli"}),
        ("click", {"cli"}),
        ("docker", {"engines"}),
        ("yaml", {"yamlfile", "legacy"}),
    ],
)
def test_a_library_that_few_import(library: str, homes: set[str]) -> None:
    importers = {
        name for name in MODULES for full in imported(name) if full.partition(".")[0] == library
    }

    assert {name.partition(".")[0] for name in importers} <= homes


def test_nobody_imports_the_command_line_but_the_entrance() -> None:
    assert {source for source, target in EDGES if target == "cli"} == {ENTRANCE}


@pytest.mark.parametrize("module", ["jobctl.cli.commands", "jobctl.broker"])
def test_the_way_to_a_help_text_imports_nothing_heavy(module: str) -> None:
    heavy = ["docker", "requests", "cryptography", "passlib", "bcrypt", "http.client"]
    script = f"import sys, {module}; print(*(name for name in {heavy} if name in sys.modules))"

    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )

    assert done.stdout.split() == []


def calls(name: str) -> set[str]:
    """Return the names of the functions that a module calls."""
    return {ast.unparse(node.func) for node in ast.walk(TREES[name]) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_only_the_command_line_prints_prompts_and_exits(name: str) -> None:
    if part(name) != "cli":
        talkative = {"print", "input", "exit", "sys.exit", "os._exit", "getpass.getpass"}
        assert calls(name) & talkative == set()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_module_relies_on_assertions(name: str) -> None:
    """``python -O`` leaves them out, and what users do wrong is told in words.

    ``assert x is not None`` is for the type checker.
    """
    asserted = [
        ast.unparse(node.test) for node in ast.walk(TREES[name]) if isinstance(node, ast.Assert)
    ]

    assert [test for test in asserted if not test.endswith(" is not None")] == []


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_module_says_what_it_is(name: str) -> None:
    assert ast.get_docstring(TREES[name])


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_public_function_and_class_says_what_it_does(name: str) -> None:
    """Commands say it with their help; properties and ``classmethod`` factories by their name."""
    silent = [
        node.name
        for node in TREES[name].body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
        and not is_callback(node)
    ]

    assert silent == []


def is_callback(node: ast.FunctionDef | ast.ClassDef) -> bool:
    """Tell whether a function only takes the options before the command, which have help."""
    return any(ast.unparse(decorator).endswith(".callback()") for decorator in node.decorator_list)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_subprocess_runs_a_shell(name: str) -> None:
    keywords = chain.from_iterable(
        node.keywords for node in ast.walk(TREES[name]) if isinstance(node, ast.Call)
    )

    assert not any(keyword.arg == "shell" for keyword in keywords)
    assert not calls(name) & {"os.system", "os.popen", "subprocess.getoutput"}
