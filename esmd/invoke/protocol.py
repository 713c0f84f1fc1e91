"""The contract between a mapping and its function: event bytes in, one `Outcome` out.

An invoker never raises for anything a handler does. What it returns (`esmd.mappings.outcomes`) says what happened;
what that means for the records is decided by the rules in `esmd.mappings`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from esmd.mappings.outcomes import FunctionError, Outcome, Rejected, Success, Throttled, Unreachable

__all__ = [
    "MAX_REQUEST_BYTES",
    "MAX_RESPONSE_BYTES",
    "FunctionError",
    "FunctionSpec",
    "Invoker",
    "Outcome",
    "Rejected",
    "StartFailed",
    "Success",
    "Throttled",
    "Unreachable",
]

MAX_REQUEST_BYTES = 6 * 1024 * 1024
"""Lambda's limit on a synchronous event [specification F.1]."""

MAX_RESPONSE_BYTES = 6_291_556
"""Lambda's limit on an answer, as its error message spells it [specification F.1]."""


class StartFailed(Exception):  # noqa: N818  it reads as what happened
    """A function cannot run at all: its module does not import, its handler is missing, it exits at once.

    `str()` of it is a sentence for a person, with what was searched.
    """

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSpec:
    """A registered function, as its invoker needs it. Built from the configuration; holds no defaults of its own.

    Attributes:
        name: the function's name in the configuration, `AWS_LAMBDA_FUNCTION_NAME`.
        handler: `module.sub:callable`, normalised (Lambda's dotted spelling already turned into this one).
        timeout: seconds an invocation may take.
        concurrency: most invocations at once; above it `invoke` answers `Throttled`. 0 stops the function.
        environment: variables added to the handler's environment.
        python_path: absolute folders put in front of the handler's `sys.path`, in this order.
        working_directory: absolute folder the worker process starts in.
        memory_size: what `context.memory_limit_in_mb` says.
        region: `AWS_REGION` of the handler, and part of its ARN.
        account_id: 12 digits, part of its ARN.
        aws_environment: endpoint and dummy credentials for the handler's own AWS clients; empty on AWS.
    """

    name: str
    handler: str
    timeout: float
    concurrency: int
    environment: dict[str, str] = field(default_factory=dict)
    python_path: tuple[str, ...] = ()
    working_directory: str
    memory_size: int = 128
    region: str
    account_id: str
    aws_environment: dict[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """`invoked_function_arn` of the context object."""
        return f"arn:aws:lambda:{self.region}:{self.account_id}:function:{self.name}"


class Invoker(Protocol):
    """Runs one function. Life cycle: `start`, any number of `invoke` (also at once), `close`."""

    @property
    def limit(self) -> int:
        """Most invocations at once."""
        ...

    @property
    def running(self) -> int:
        """Invocations under way now."""
        ...

    async def start(self) -> None:
        """Make sure the function can run (load it once). May be called again after it failed.

        Raises:
            StartFailed: it cannot run; the text says why and what was searched.
        """
        ...

    async def invoke(self, event: bytes, *, request_id: str) -> Outcome:
        """Run the handler once on `event` (UTF-8 JSON). Never queues: without a free place it is `Throttled`.

        If the awaiting task is cancelled, what ran is killed (worker) or cancelled (inline) before the
        cancellation goes on.
        """
        ...

    async def close(self) -> None:
        """Let go of everything: idle environments are asked to leave, busy ones killed. Never raises."""
        ...
