"""Findings: what rules say beyond the type of a setting, and the rules of functions.

| rule                | reads                                     | finding                                              |
|---------------------|-------------------------------------------|------------------------------------------------------|
| `variables`         | environment                               | names, Lambda's reserved names, 4 KB                 |
| `inline_variables`  | environment, isolation                    | the process environment is shared                    |
| `folders`           | python_path                               | warning: a folder does not exist                     |

A rule is a pure function from a model to findings. It is left out where a setting that it reads is itself wrong: one
mistake, one diagnostic.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from esmd.config.report import Severity, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from esmd.config.fields import Settings
    from esmd.config.schema import FunctionSettings

_Model = TypeVar("_Model", bound="Settings")

RESERVED_VARIABLES = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    }
)
"""Variables that Lambda sets itself and refuses to take."""

_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says about one place of a model: names of fields and indexes of lists, from the model inwards."""

    location: tuple[str | int, ...]
    message: str
    hint: str = ""
    severity: Severity = "error"


def function_findings(function: FunctionSettings, *, wrong: Container[str] = ()) -> Iterator[Finding]:
    """What the rules say about one function; rules that read a field in `wrong` are left out."""
    yield from apply(_FUNCTION_RULES, function, wrong)


def apply(
    rules: tuple[tuple[Callable[[_Model], Iterator[Finding]], tuple[str, ...]], ...],
    model: _Model,
    wrong: Container[str],
) -> Iterator[Finding]:
    """What rules say about a model. Each stands with the fields that it reads; one that reads a wrong field is left out."""
    for rule, reads in rules:
        if not any(name in wrong for name in reads):
            yield from rule(model)


def _variables(function: FunctionSettings) -> Iterator[Finding]:
    for name in function.environment:
        if name in RESERVED_VARIABLES:
            yield Finding(("environment", name), "Lambda sets this variable itself and takes no value for it")
        elif not _VARIABLE.fullmatch(name):
            yield Finding(("environment", name), "a variable's name must be letters, digits and _, a letter first")
    size = len(
        json.dumps(function.environment, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
    )
    if size > 4096:
        yield Finding(("environment",), f"the variables take {size} bytes, Lambda's limit is 4096")


def _inline_variables(function: FunctionSettings) -> Iterator[Finding]:
    if function.environment and function.isolation == "inline":
        yield Finding(
            ("environment",),
            "an inline handler has no environment of its own",
            "use isolation: worker, or set the variables of the daemon",
        )


def _folders(function: FunctionSettings) -> Iterator[Finding]:
    for index, folder in enumerate(function.python_path):
        if not folder.is_dir():
            yield Finding(("python_path", index), f"no such folder: {shown(str(folder), 200)}", severity="warning")


_FUNCTION_RULES = (
    (_variables, ("environment",)),
    (_inline_variables, ("environment", "isolation")),
    (_folders, ("python_path",)),
)
