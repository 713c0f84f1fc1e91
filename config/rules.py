"""Findings: what rules say beyond the type of a setting, and the rules of functions.

| rule                | reads                                     | finding                                              |
|---------------------|-------------------------------------------|------------------------------------------------------|
| `variables`         | environment                               | names, Lambda's reserved names, 4 KB                 |
| `inline`            | isolation, what belongs to a process      | an inline handler has no process of its own          |
| `folders`           | python_path                               | warning: a folder does not exist                     |
| `provisioned`       | provisioned_ and reserved_concurrency     | more kept than may run                               |
| `shares`            | versions                                  | the shares are not 100 percent                       |
| `headers`           | headers                                   | not a header's name or text, or one that esmd sets   |
| `certificates`      | url, verify_tls, ca_file                  | warning: no effect                                   |
| `exposed`           | listen, token, enabled                    | other machines could use the API without a token     |

`exposed` is of the section `api`, the others of functions.

A rule is a pure function from a model to findings. It is left out where a setting that it reads is itself wrong: one
mistake, one diagnostic.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from esmd.config.api_schema import host_and_port, is_loopback
from esmd.config.report import Severity, shown
from esmd.config.schema import HttpFunction, ProcessFunction, PythonFunction, RoutedFunction, TimedFunction

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from esmd.config.fields import Settings
    from esmd.config.schema import AnyFunction, ApiSettings

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
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

_OWN_HEADERS = frozenset({"host", "content-type", "content-length", "transfer-encoding", "connection"})
"""Headers that follow from the request itself."""

_OF_PROCESSES = frozenset(set(ProcessFunction.model_fields) - set(TimedFunction.model_fields))
"""Settings that only make sense where a handler has processes of its own."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says about one place of a model: names of fields and indexes of lists, from the model inwards."""

    location: tuple[str | int, ...]
    message: str
    hint: str = ""
    severity: Severity = "error"


def function_findings(function: AnyFunction, *, wrong: Container[str] = ()) -> Iterator[Finding]:
    """What the rules say about one function; rules that read a field in `wrong` are left out."""
    if isinstance(function, ProcessFunction):
        yield from apply(_PROCESS_RULES, function, wrong)
    if isinstance(function, PythonFunction):
        yield from apply(_PYTHON_RULES, function, wrong)
    if isinstance(function, HttpFunction):
        yield from apply(_HTTP_RULES, function, wrong)
    if isinstance(function, RoutedFunction):
        yield from apply(_ROUTED_RULES, function, wrong)


def api_findings(api: ApiSettings) -> Iterator[Finding]:
    """What the rules say about the section `api`."""
    if api.listen is None or api.token is not None:
        return
    host, _ = host_and_port(api.listen)
    if not is_loopback(host):
        yield Finding(
            ("listen",),
            f"other machines can reach {shown(host)}: without a token anybody there could change your mappings",
            "set api.token, such as ${ESMD_API_TOKEN}, or listen on 127.0.0.1",
        )


def apply(
    rules: tuple[tuple[Callable[[_Model], Iterator[Finding]], tuple[str, ...]], ...],
    model: _Model,
    wrong: Container[str],
) -> Iterator[Finding]:
    """What rules say about a model. Each stands with the fields that it reads; one that reads a wrong field is left out."""
    for rule, reads in rules:
        if not any(name in wrong for name in reads):
            yield from rule(model)


def _variables(function: ProcessFunction) -> Iterator[Finding]:
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


def _provisioned(function: ProcessFunction) -> Iterator[Finding]:
    kept, reserved = function.provisioned_concurrency, function.reserved_concurrency
    if reserved is not None and kept > reserved:
        yield Finding(("provisioned_concurrency",), f"{kept} cannot be kept where reserved_concurrency is {reserved}")


def _inline(function: PythonFunction) -> Iterator[Finding]:
    if function.isolation == "inline":
        for name in sorted(function.model_fields_set & _OF_PROCESSES):
            yield Finding(
                (name,),
                "an inline handler has no process of its own",
                "use isolation: worker, or set the variables of the daemon"
                if name == "environment"
                else "use isolation: worker",
            )


def _folders(function: PythonFunction) -> Iterator[Finding]:
    for index, folder in enumerate(function.python_path):
        if not folder.is_dir():
            yield Finding(("python_path", index), f"no such folder: {shown(str(folder), 200)}", severity="warning")


def _headers(function: HttpFunction) -> Iterator[Finding]:
    for name, value in function.headers.items():
        if not _HEADER.fullmatch(name):
            yield Finding(("headers", name), "not the name of a header")
        elif name.lower() in _OWN_HEADERS:
            yield Finding(("headers", name), "esmd sets this header itself")
        elif not value.isprintable() or not value.isascii():
            yield Finding(("headers", name), "a header's value must be printable ASCII")


def _certificates(function: HttpFunction) -> Iterator[Finding]:
    is_plain = function.url.startswith("http://")
    if function.ca_file is not None and (is_plain or not function.verify_tls):
        why = "the URL is not https" if is_plain else "verify_tls is false"
        yield Finding(("ca_file",), f"has no effect: {why}", severity="warning")
    if is_plain and not function.verify_tls:
        yield Finding(("verify_tls",), "has no effect: the URL is not https", severity="warning")


def _shares(function: RoutedFunction) -> Iterator[Finding]:
    total = sum(function.versions.values())
    if total != 100:
        yield Finding(("versions",), f"the shares must add up to 100 percent, not {total}")


_PROCESS_RULES = (
    (_variables, ("environment",)),
    (_provisioned, ("provisioned_concurrency", "reserved_concurrency")),
)

_PYTHON_RULES = (
    (_inline, ("isolation", *sorted(_OF_PROCESSES))),
    (_folders, ("python_path",)),
)

_HTTP_RULES = (
    (_headers, ("headers",)),
    (_certificates, ("url", "verify_tls", "ca_file")),
)

_ROUTED_RULES = ((_shares, ("versions",)),)
