"""The contract between a mapping and its function: event bytes in, one `Outcome` out.

An invoker never raises for anything a handler does. What it returns (`esmd.mappings.outcomes`) says what happened;
what that means for the records is decided by the rules in `esmd.mappings`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from esmd.mappings.outcomes import FunctionError, Outcome, Rejected, Success, Throttled, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MAX_REQUEST_BYTES",
    "MAX_RESPONSE_BYTES",
    "CommandSpec",
    "FunctionError",
    "FunctionSpec",
    "HttpSpec",
    "Invoker",
    "LambdaSpec",
    "Outcome",
    "ProcessSpec",
    "PythonSpec",
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
    """A registered function, as far as every form of it goes. Built from the configuration; holds no defaults of its own.

    Attributes:
        name: the function's name in the configuration, `AWS_LAMBDA_FUNCTION_NAME`.
        timeout: seconds an invocation may take.
        concurrency: most invocations at once; above it `invoke` answers `Throttled`. 0 stops the function.
        region: `AWS_REGION` of the handler, and part of its ARN.
        account_id: 12 digits, part of its ARN.
    """

    name: str
    timeout: float
    concurrency: int
    region: str
    account_id: str

    @property
    def arn(self) -> str:
        """`invoked_function_arn` of the context object."""
        return f"arn:aws:lambda:{self.region}:{self.account_id}:function:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec(FunctionSpec):
    """A function whose execution environments are processes of this machine.

    Attributes:
        handler: what the runtime is to call, `_HANDLER`; of a Python function `module.sub:callable`, normalised.
        environment: variables added to the handler's environment.
        aws_environment: what the handler's own AWS clients find: endpoint, dummy or inherited credentials, or the
            variables that keep them from finding any.
        working_directory: absolute folder the process starts in.
        memory_size: what the handler is told it has, in MB.
        memory_limit: MB of resident memory above which an environment is ended; None: no limit.
        provisioned_concurrency: environments kept warm from the start.
        idle_timeout: seconds after which an idle environment above these is retired.
    """

    handler: str
    environment: dict[str, str] = field(default_factory=dict)
    aws_environment: dict[str, str] = field(default_factory=dict)
    working_directory: str
    memory_size: int = 128
    memory_limit: int | None = None
    provisioned_concurrency: int = 0
    idle_timeout: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonSpec(ProcessSpec):
    """A Python function.

    Attributes:
        python_path: absolute folders put in front of the handler's `sys.path`, in this order.
    """

    python_path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec(ProcessSpec):
    """A program that speaks Lambda's Runtime API.

    Attributes:
        command: program and arguments; a program without a slash is looked for in `PATH`.
    """

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSpec(FunctionSpec):
    """A function behind a URL.

    Attributes:
        url: where events are posted.
        payload: `event` posts the event as it is; `cloudevents` adds the headers of a CloudEvent around it.
        headers: sent with every request, beside those of esmd.
        function_error_statuses: statuses above 499 that are failures of the handler, as all of 400 to 499 are.
        verify_tls: whether the server's certificate is checked.
        ca_file: certificates to check it with; None: the system's.
    """

    url: str
    payload: Literal["event", "cloudevents"] = "event"
    headers: dict[str, str] = field(default_factory=dict)
    function_error_statuses: frozenset[int] = frozenset()
    verify_tls: bool = True
    ca_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaSpec(FunctionSpec):
    """A function of Lambda, or of something that speaks its Invoke API.

    Attributes:
        target: its name or ARN, without a qualifier.
        qualifier: version or alias; None for neither.
        endpoint_url: the Lambda service's endpoint; None where the `aws` settings decide.
    """

    target: str
    qualifier: str | None = None
    endpoint_url: str | None = None

    @property
    def arn(self) -> str:
        """The function's own ARN; built from region and account where only the name is known."""
        plain = (
            self.target
            if self.target.startswith("arn:")
            else f"arn:aws:lambda:{self.region}:{self.account_id}:function:{self.target}"
        )
        return plain if self.qualifier is None else f"{plain}:{self.qualifier}"


class Invoker(Protocol):
    """Runs one function. Life cycle: `start`, any number of `invoke` (also at once), `close`."""

    @property
    def limit(self) -> int:
        """Most invocations at once."""
        ...

    @property
    def running(self) -> int:
        """Places taken now: invocations under way, and whatever else keeps a place from being used."""
        ...

    def on_freed(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever a place becomes free otherwise than by the end of `start` or of an `invoke`."""
        ...

    async def start(self) -> None:
        """Make sure the function can run (load it once). May be called again after it failed.

        Raises:
            StartFailed: it cannot run; the text says why and what was searched.
        """
        ...

    async def invoke(self, event: bytes, *, request_id: str) -> Outcome:
        """Run the handler once on `event` (UTF-8 JSON). Never queues: without a free place it is `Throttled`.

        If the awaiting task is cancelled, what ran is killed (a process), cancelled (inline) or cut off (a
        connection) before the cancellation goes on.
        """
        ...

    async def close(self) -> None:
        """Let go of everything: idle environments are asked to leave, busy ones killed. Never raises."""
        ...
