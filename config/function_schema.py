"""The settings of functions, a model for each form: whatever it is, a mapping invokes it in the same way."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field

from esmd.config import values
from esmd.config.fields import OR_NOTHING, FilePath, Injected, Missed, Seconds, Settings, TextMap, Texts, api, url

Weight = Annotated[int, Field(ge=0, le=100)]
Program = Annotated[str, Field(min_length=1)]

_FORMS = Missed(
    "handler is missing",
    "or, for a function of another form: command, url, lambda or versions",
)


class FunctionSettings(Settings):
    """What functions of every form have in common."""

    directory: Annotated[Path, Injected()]
    """The folder of the file that registers the function."""

    @property
    def longest(self) -> float | None:
        """Most seconds that an invocation may take; None where only the function's own service knows."""
        raise NotImplementedError


class InvokedFunction(FunctionSettings):
    """A function that is invoked itself, and not through others."""

    reserved_concurrency: Annotated[int | None, api("ReservedConcurrentExecutions"), Field(ge=0)] = None
    """Most invocations at once, over all mappings; 0 stops the function. Left out: 64 where each has a process, else
    1,000."""


class TimedFunction(InvokedFunction):
    """A function whose invocations are ended here."""

    timeout: Annotated[Seconds, api("Timeout"), Field(gt=0, le=900)] = 3.0
    """How long an invocation may take: seconds, or a duration such as `30s` or `5m`."""

    @property
    def longest(self) -> float | None:
        """Its timeout."""
        return self.timeout


class ProcessFunction(TimedFunction):
    """A function whose execution environments are processes of this machine."""

    environment: Annotated[TextMap, api("Environment"), Texts(wrapper="Variables")] = Field(default_factory=dict)
    """Variables added to the handler's environment."""
    credentials: Literal["none", "inherit"] = "none"
    """`none`: the handler's AWS clients find no credentials of the daemon; on a local endpoint they get dummy keys.
    `inherit`: they find what the daemon has."""
    memory_size: Annotated[int | None, api("MemorySize"), Field(ge=128, le=10_240)] = None
    """Most memory of an environment, in MB; above it, it is ended with `Runtime.OutOfMemory` (Linux only). Left out: no
    limit, and the handler is told 128."""
    provisioned_concurrency: Annotated[int, api("ProvisionedConcurrentExecutions"), Field(ge=0, le=1000)] = 0
    """Environments that are loaded at the start and kept."""
    idle_timeout: Annotated[Seconds, Field(ge=1)] = 300.0
    """How long an environment that has nothing to do is kept: seconds, or a duration."""


class PythonFunction(ProcessFunction):
    """A Python function. It needs nothing but the function itself."""

    handler: Annotated[str, api("Handler"), AfterValidator(values.handler), _FORMS]
    """`module.sub:callable`. Lambda's `module.sub.callable` and `folder/module.callable` work too."""
    isolation: Literal["worker", "inline"] = "worker"
    """`worker`: in processes of its own, killed at its timeout. `inline`: inside the daemon, cancelled at its
    timeout; quick to start, but a blocking handler blocks everything, and what belongs to a process cannot be set:
    environment, credentials, memory_size, provisioned_concurrency, idle_timeout."""
    python_path: Annotated[tuple[FilePath, ...], Field(default_factory=lambda settings: (settings["directory"],))]
    """Folders put in front of the handler's `sys.path`, relative to the file. Left out: the file's own folder."""


class CommandFunction(ProcessFunction):
    """A program in any language that speaks Lambda's Runtime API: what is in a Lambda container image, for instance."""

    command: Annotated[tuple[Program, ...], Field(min_length=1)]
    """The program and its arguments. It is started in the file's own folder; a program without a slash is looked for in
    `PATH`."""
    handler: Annotated[str, api("Handler")] = ""
    """What the program is to call: `_HANDLER` in its environment."""


class HttpFunction(TimedFunction):
    """A function behind a URL: a Lambda container's emulator, or any web service."""

    url: Annotated[str, AfterValidator(url)]
    """Where events are posted. At `/2015-03-31/functions/NAME/invocations` Lambda's answers are understood."""
    payload: Literal["event", "cloudevents"] = "event"
    """`event`: the event as Lambda has it. `cloudevents`: the same, with the headers of a CloudEvent."""
    headers: Annotated[TextMap, Texts()] = Field(default_factory=dict)
    """Headers of every request, such as an authorisation."""
    function_error_statuses: tuple[Annotated[int, Field(ge=500, le=599)], ...] = ()
    """Statuses from 500 to 599 that are failures of the handler, as those from 400 to 499 are. Left out: none is; the
    invocation is tried again without counting as an attempt."""
    verify_tls: bool = True
    """Whether the server's certificate is checked."""
    ca_file: FilePath | None = None
    """Certificates to check it with, in PEM. Left out: those of the system."""


class LambdaFunction(InvokedFunction):
    """A function of AWS Lambda, or of anything that has its Invoke API."""

    model_config = ConfigDict(validate_by_name=True, loc_by_alias=False)

    target: Annotated[str, Field(alias="lambda"), AfterValidator(values.lambda_target)]
    """The function: its name, partial ARN or ARN, with a version or alias or without."""
    timeout: Annotated[Seconds | None, api("Timeout"), Field(gt=0, le=900), OR_NOTHING] = None
    """How long to wait for an answer. Left out: as long as Lambda allows, 15 minutes."""
    endpoint_url: Annotated[str, AfterValidator(url)] | None = None
    """Where the function's service is. Left out: as for the other services, with `AWS_ENDPOINT_URL_LAMBDA` first."""

    @property
    def longest(self) -> float | None:
        """Its timeout here, if it has one."""
        return self.timeout


class RoutedFunction(FunctionSettings):
    """A name for several functions, each of which gets a share of the invocations, as an alias does with versions."""

    versions: Annotated[dict[str, Weight], Field(min_length=1)]
    """Names of functions, and the shares of the invocations they get, in percent."""

    @property
    def longest(self) -> float | None:
        """Not its own: that of its versions."""
        return None


AnyFunction: TypeAlias = PythonFunction | CommandFunction | HttpFunction | LambdaFunction | RoutedFunction
"""A function of any form."""
