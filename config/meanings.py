"""What fields mean: the texts below the fields of a class, read from its source. Python does not keep them.

Pydantic would read those of each model whenever it is loaded, which every start would wait for; only what is generated from the
models, or from the events, needs them.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise


def meanings(kind: type) -> dict[str, str]:
    """By the name of the field; the nearest class that has a text has the last word."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        found |= _texts_in(each.__module__).get(each.__qualname__, {})
    return found


@cache
def _texts_in(module: str) -> dict[str, dict[str, str]]:
    """Of a module's classes, by their names."""
    if not module.startswith("esmd."):
        return {}
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {each.name: _texts_of(each) for each in tree.body if isinstance(each, ast.ClassDef)}


def _texts_of(of_class: ast.ClassDef) -> dict[str, str]:
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(of_class.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
