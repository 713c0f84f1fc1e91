"""Who may import whom, and how large a module may be: the house's rooms, read from the code itself."""

from __future__ import annotations

import ast
import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
ROOMS = {"esmd.pollers": ROOT / "pollers", "esmd.mappings": ROOT / "mappings", "esmd.config": ROOT / "config"}
MOST_LINES = 400
IMPURE = [
    "socket",
    "asyncio",
    "time",
    "logging",
    "structlog",
    "threading",
    "subprocess",
    "os",
    "selectors",
    "http",
    "urllib",
    "aiobotocore",
    "botocore",
]


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package by its import name; the links inside esmd/ are followed once."""
    folders = {"esmd": ROOT / "esmd", **ROOMS}
    for package, folder in folders.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            if package == "esmd" and f"esmd.{parts[0]}" in ROOMS:
                continue
            yield ".".join((package, *parts)).removesuffix(".__init__"), path


MODULES = dict(modules())


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path) -> set[str]:
    """Names that the module imports anywhere in it: also late, also for type checking."""
    return set(imported(tree_of(path)))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            # `from esmd import config` imports a room, `from esmd.x import Y` the module x: both spellings count.
            yield prefix
            yield from (f"{prefix}.{alias.name}" for alias in node.names if f"{prefix}.{alias.name}" in MODULES)


@functools.cache
def imports() -> dict[str, set[str]]:
    """What each module imports."""
    return {name: imports_of(path) for name, path in MODULES.items()}


def inside(name: str, *rooms: str) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def strangers(room: str, *allowed: str) -> list[str]:
    """What modules of `room` import of esmd outside `allowed`."""
    return [
        f"{module} imports {name}"
        for module, names in imports().items()
        if inside(module, room)
        for name in sorted(names)
        if inside(name, "esmd") and not inside(name, *allowed) and name != "esmd"
    ]


def test_the_walk_sees_the_code():
    assert {"esmd", "esmd.cli", "esmd.mappings.batching", "esmd.pollers.sqs", "esmd.config.schema"} <= MODULES.keys()
    assert len(MODULES) > 90
    assert "esmd.mappings.records" in imports()["esmd.sqs.batch"]
    assert "esmd.function" in imports()["esmd.sqs.batch"], "imports for type checking count"
    assert "esmd.assembly" in imports()["esmd.cli.run"], "late imports count"
    assert "esmd.config.aws" in imports()["esmd.assembly"], "`from package import module` counts"


def test_the_rules_import_nothing_but_each_other():
    assert strangers("esmd.mappings", "esmd.mappings") == []


def test_the_rules_know_no_socket_clock_loop_or_logger():
    impure = [
        f"{module} imports {name}"
        for module, names in imports().items()
        if inside(module, "esmd.mappings")
        for name in sorted(names)
        if name.partition(".")[0] in IMPURE
    ]
    assert impure == []


def test_the_configuration_knows_the_rules_only():
    assert strangers("esmd.config", "esmd.config", "esmd.mappings") == []


def test_pollers_know_the_rules_only():
    assert strangers("esmd.pollers", "esmd.pollers", "esmd.mappings") == []


@pytest.mark.parametrize("room", ["esmd.testing", "esmd.dev"])
def test_what_is_for_development_is_used_by_commands_for_development_alone(room):
    users = [
        module
        for module, names in imports().items()
        if not inside(module, "esmd.testing", "esmd.dev", "esmd.cli.dev", "esmd.cli.event", "esmd.cli.event_arguments")
        and any(inside(name, room) for name in names)
    ]
    assert users == []


def test_imports_are_absolute_and_by_the_packages_name():
    wrong = [
        f"{module} imports {name}"
        for module, names in imports().items()
        for name in sorted(names)
        if name.startswith(".") or name.partition(".")[0] in {"pollers", "mappings", "config"}
    ]
    assert wrong == []


def test_the_workers_runtime_needs_the_standard_library_only():
    # It runs in the handler's process, where nothing else of ours may be importable.
    foreign = [
        name for name in imports()["esmd.invoke.runtime"] if name.partition(".")[0] not in sys.stdlib_module_names
    ]
    assert foreign == []


def loaded(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after `code`."""
    script = f"import json, sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint('\\n' + json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60, env=dict(os.environ)
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import esmd.cli",
        "import esmd.cli; sys.argv = ['esmd', '--help']; esmd.cli.main()",
        "import esmd.cli; sys.argv = ['esmd', '--version']; esmd.cli.main()",
        "import esmd.cli; sys.argv = ['esmd', 'run', '--help']; esmd.cli.main()",
        "import esmd.cli; sys.argv = ['esmd', 'dev', '--help']; esmd.cli.main()",
        "import esmd.cli; sys.argv = ['esmd', 'invoke', '--help']; esmd.cli.main()",
        "import esmd.cli; sys.argv = ['esmd', 'event', '--help']; esmd.cli.main()",
    ],
)
def test_help_is_quick_because_nothing_heavy_is_loaded(code):
    modules = loaded(code)
    assert "esmd.cli" in modules
    assert modules.isdisjoint({"aiobotocore", "botocore", "aiohttp", "pydantic", "yaml"})


def test_a_daemon_is_small_because_it_loads_nothing_that_only_others_need():
    modules = loaded("import esmd.cli.run, esmd.cli.launch")
    assert {"structlog", "pydantic"} <= modules
    assert modules.isdisjoint(
        {"rich", "pygments", "prometheus_client", "aiohttp", "esmd.api.server", "botocore", "boto3"}
    )


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_says_what_it_answers_for_and_is_not_too_long(name):
    text = MODULES[name].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert ast.get_docstring(tree_of(MODULES[name])), "a module begins with a docstring"
