"""What a handler is told of its function: environment variables, and the facts behind its context object."""

from __future__ import annotations

import os
import secrets
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypedDict

from esmd.invoke.protocol import PythonSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.invoke.environment import InitializationType
    from esmd.invoke.protocol import ProcessSpec

_INHERITED = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV"),
        *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),  # the interpreter itself may need them to start
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
        # Those that could make a worker wait for a terminal, or print for debugging, are not among these.
        *("PYTHONPATH", "PYTHONHOME", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONHASHSEED", "PYTHONWARNINGS"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONFAULTHANDLER", "PYTHONDEVMODE", "PYTHONOPTIMIZE"),
        *("PYTHONNOUSERSITE", "PYTHONUSERBASE", "PYTHONASYNCIODEBUG", "PYTHONMALLOC"),
    }
)


def log_stream_name(now: datetime | None = None) -> str:
    """A new environment's `log_stream_name`: `YYYY/MM/DD/[$LATEST]<32 hex>` [specification F.2]."""
    return f"{now or datetime.now(UTC):%Y/%m/%d}/[$LATEST]{secrets.token_hex(16)}"


class FunctionFacts(TypedDict):
    """The arguments of `LambdaContext` that stay the same for an environment."""

    name: str
    arn: str
    memory_size: int
    log_stream: str


def function_facts(spec: ProcessSpec, log_stream: str) -> FunctionFacts:
    """What the context says of the function."""
    return {"name": spec.name, "arn": spec.arn, "memory_size": spec.memory_size, "log_stream": log_stream}


def process_environment(
    spec: ProcessSpec,
    *,
    log_stream: str,
    initialization_type: InitializationType = "on-demand",
    daemon: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """What a handler's process finds in its environment; later sources win.

    1. of the daemon's own variables (`daemon`, default `os.environ`), those on the allow-list: no credentials;
    2. Lambda's [specification F.2], less those that name what does not exist here; programs have no
       `AWS_EXECUTION_ENV`, as runtimes of one's own have none on Lambda;
    3. `spec.aws_environment`;
    4. `spec.environment`.
    """
    daemon = os.environ if daemon is None else daemon
    inherited = {name: value for name, value in daemon.items() if name in _INHERITED or name.startswith("LC_")}
    return {
        "TZ": ":UTC",
        **inherited,
        "AWS_LAMBDA_FUNCTION_NAME": spec.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_size),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{spec.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "AWS_LAMBDA_INITIALIZATION_TYPE": initialization_type,
        "AWS_REGION": spec.region,
        "AWS_DEFAULT_REGION": spec.region,
        "_HANDLER": spec.handler,
        **_form(spec),
        **spec.aws_environment,
        **spec.environment,
    }


def _form(spec: ProcessSpec) -> dict[str, str]:
    """The variables that depend on what kind of process it is."""
    if not isinstance(spec, PythonSpec):
        return {"LAMBDA_TASK_ROOT": spec.working_directory}
    return {
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
        "LAMBDA_TASK_ROOT": spec.python_path[0] if spec.python_path else spec.working_directory,
    }
