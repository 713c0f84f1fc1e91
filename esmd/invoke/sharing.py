"""What inline functions share with the daemon and with each other: modules, and variables of the environment."""

from __future__ import annotations

import os
import sys
from collections import Counter
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esmd.invoke.protocol import PythonSpec

_shared_variables: Counter[str] = Counter()
"""Variables that inline functions have set in the daemon's environment, and how many of them rely on each."""


def other_module(spec: PythonSpec) -> str | None:
    """The complaint if the handler's name is taken by a module that was loaded from elsewhere."""
    name = spec.handler.partition(":")[0].partition(".")[0]
    loaded = getattr(sys.modules.get(name), "__file__", None)
    found = PathFinder.find_spec(name, list(spec.python_path))
    if loaded is None or found is None or found.origin is None or found.origin == loaded:
        return None
    return (
        f"Module '{name}' of function {spec.name} is {found.origin}, but the daemon has loaded {loaded} by that "
        "name, and inline functions share its modules."
    )


def other_value(spec: PythonSpec) -> str | None:
    """The complaint if the daemon's environment has another value for one of the function's variables."""
    for name, value in spec.environment.items():
        if os.environ.get(name, value) != value:
            return (
                f"Function {spec.name} wants another value of the variable {name} than the daemon's environment "
                "has, and inline functions share that."
            )
    return None


def publish(spec: PythonSpec) -> list[str]:
    """Put the function's variables into the daemon's environment; those for its AWS clients only where none are set.

    Returns the names that are to be withdrawn at the end.
    """
    names = []
    for name, value in {**spec.aws_environment, **spec.environment}.items():
        if name not in os.environ or _shared_variables[name]:
            os.environ.setdefault(name, value)
            _shared_variables[name] += 1
            names.append(name)
    return names


def withdraw(names: list[str]) -> None:
    """Take variables that were published out of the daemon's environment, unless another function relies on them."""
    for name in names:
        _shared_variables[name] -= 1
        if not _shared_variables[name]:
            os.environ.pop(name, None)
