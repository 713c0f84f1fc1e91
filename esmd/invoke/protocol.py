"""The contract between a mapping and its function: event bytes in, one `Outcome` out.

An invoker never raises for anything a handler does. What it returns says what happened; what that means for the
records is decided by the rules in `esmd.mappings`.

| outcome         | meaning                                                                | on AWS                         |
|-----------------|------------------------------------------------------------------------|--------------------------------|
| `Success`       | the handler returned; `payload` is its answer as JSON text              | 200                            |
| `FunctionError` | it raised, timed out, exited, could not start, or answered rubbish      | 200 + `X-Amz-Function-Error`   |
| `Throttled`     | no free concurrency; nothing was run                                    | 429                            |
| `Unreachable`   | the function could not be reached; it may or may not have run           | 5xx, connection lost           |
| `Rejected`      | the request itself is impossible (event larger than 6 MB)               | 413                            |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

MAX_REQUEST_BYTES = 6 * 1024 * 1024
"""Lambda's limit on a synchronous event [specification F.1]."""

MAX_RESPONSE_BYTES = 6_291_556
"""Lambda's limit on an answer, as its error message spells it [specification F.1]."""


@dataclass(frozen=True, slots=True)
class Success:
    """The handler returned.

    Attributes:
        payload: the answer as JSON text, byte for byte as the runtime produced it; may be empty or invalid
            where a runtime is foreign.
    """

    payload: bytes
    executed_version: str = "$LATEST"


@dataclass(frozen=True, slots=True)
class FunctionError:
    """The handler failed.

    Attributes:
        kind: what the daemon saw: `exception` (it raised, or its answer cannot be sent), `timeout` (killed at
            its deadline), `exit` (its process ended), `init` (it could not be loaded).
        error_type: as Lambda spells it: exception class, `Sandbox.Timedout`, `Runtime.ExitError`,
            `Runtime.ImportModuleError`, `Runtime.HandlerNotFound`, `Runtime.MarshalError`,
            `Function.ResponseSizeTooLarge`.
        message: `errorMessage` of Lambda's error object.
        stack: `stackTrace`, a line each.
    """

    kind: Literal["exception", "timeout", "exit", "init"]
    error_type: str
    message: str
    stack: tuple[str, ...] = ()
    executed_version: str = "$LATEST"


@dataclass(frozen=True, slots=True)
class Throttled:
    """The function runs as often as it may; nothing was started. `reason` is Lambda's `Reason` text."""

    reason: str = "ReservedFunctionConcurrentInvocationLimitExceeded"


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The function could not be reached, or the connection broke: retry, it is not the handler's failure."""

    message: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The invocation can never work as it is, for example an event above Lambda's payload limit."""

    error_type: str
    message: str


Outcome = Success | FunctionError | Throttled | Unreachable | Rejected


class StartFailed(Exception):
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
