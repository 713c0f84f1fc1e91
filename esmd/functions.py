"""Makes the registered functions from the configuration, each once, however many mappings and versions share it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from esmd.config import aws, values
from esmd.config.schema import (
    CommandFunction,
    HttpFunction,
    LambdaFunction,
    ProcessFunction,
    PythonFunction,
    RoutedFunction,
    StreamMapping,
)
from esmd.function import Function
from esmd.invoke.credentials import handler_credentials
from esmd.invoke.factory import make_invoker
from esmd.invoke.protocol import CommandSpec, HttpSpec, LambdaSpec, PythonSpec
from esmd.invoke.routing import RoutedInvoker

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from esmd.config.schema import AnyFunction, AnyMapping, Config, InvokedFunction
    from esmd.observe.telemetry import Telemetry
    from esmd.pollers.localstack import LocalStackClients

UNRESERVED_PROCESSES = 64
"""Most invocations at once of a function without `reserved_concurrency`, where each has a process."""

UNRESERVED_CALLS = 1000
"""The same where they do not: what an AWS account has by default."""

LONGEST_INVOCATION = 900.0
"""Seconds that Lambda allows an invocation at most [specification F.1]."""

TOLD_MEMORY = 128
"""MB that a handler is told it has where `memory_size` is left out: Lambda's default."""

NO_ACCOUNT = "000000000000"
"""The account of a function that no mapping uses."""


def place_of(mapping: AnyMapping) -> tuple[str, str]:
    """Region and account of a mapping's source."""
    source = mapping.stream if isinstance(mapping, StreamMapping) else mapping.queue
    return source.region, source.account_id


class Functions:
    """The functions of one daemon, made when they are first asked for.

    Args:
        config: validated.
        clients: of the daemon, for functions of Lambda.
        environ: the environment that decides on endpoints and credentials.
        telemetry: where events go.
    """

    def __init__(
        self, config: Config, *, clients: LocalStackClients, environ: Mapping[str, str], telemetry: Telemetry
    ) -> None:
        self._config = config
        self._clients = clients
        self._environ = environ
        self._telemetry = telemetry
        self._made: dict[str, Function] = {}

    @property
    def made(self) -> Mapping[str, Function]:
        """Those that were asked for, and those that these route to; all of them are to be closed."""
        return self._made

    def get(self, name: str) -> Function:
        """The function of that name; nothing is started or imported yet."""
        if name not in self._made:
            self._made[name] = self._make(name, self._config.functions[name])
        return self._made[name]

    def arn_of(self, name: str) -> str:
        """The ARN of a function, made or not; also of one that is not registered."""
        if name in self._made:
            return self._made[name].arn
        region, account = self._place(name)
        settings = self._config.functions.get(name)
        if settings is None or isinstance(settings, RoutedFunction):
            return f"arn:aws:lambda:{region}:{account}:function:{name}"
        return self._spec(name, settings, region, account).arn

    def take(self, config: Config, stale: Collection[str]) -> list[Function]:
        """Make functions by another configuration from now on; those of `stale` are made anew when they are asked for.

        Returns:
            The functions that are not to be used any more; whoever calls closes them.
        """
        self._config = config
        return [self._made.pop(name) for name in stale if name in self._made]

    def _make(self, name: str, settings: AnyFunction) -> Function:
        region, account = self._place(name)
        if isinstance(settings, RoutedFunction):
            router = RoutedInvoker({self.get(version): share for version, share in settings.versions.items()})
            arn = f"arn:aws:lambda:{region}:{account}:function:{name}"
            return Function(name, router, arn=arn, telemetry=self._telemetry)
        spec = self._spec(name, settings, region, account)
        inline = isinstance(settings, PythonFunction) and settings.isolation == "inline"
        invoker = make_invoker(spec, clients=self._clients, telemetry=self._telemetry, inline=inline)
        return Function(name, invoker, arn=spec.arn, telemetry=self._telemetry)

    def _place(self, name: str) -> tuple[str, str]:
        """Region and account: those of the first mapping that uses the function, itself or as a version."""
        for mapping in self._config.mappings.values():
            if name == mapping.function_name or name in self._config.versions_of(mapping.function_name):
                return place_of(mapping)
        region = aws.region(self._where("lambda"), settings=self._config.aws, environ=self._environ)
        return region or aws.DEFAULT_REGION, NO_ACCOUNT

    def _where(self, service: str) -> aws.Endpoint:
        return aws.endpoint(service, settings=self._config.aws, environ=self._environ)

    def _spec(
        self,
        name: str,
        settings: PythonFunction | CommandFunction | HttpFunction | LambdaFunction,
        region: str,
        account: str,
    ) -> PythonSpec | CommandSpec | HttpSpec | LambdaSpec:
        shared: dict[str, Any] = {
            "name": name,
            "concurrency": most_at_once(settings),
            "timeout": settings.timeout or LONGEST_INVOCATION,
            "region": region,
            "account_id": account,
        }
        match settings:
            case PythonFunction():
                paths = tuple(map(str, settings.python_path))
                return PythonSpec(python_path=paths, handler=settings.handler, **shared, **self._process(settings))
            case CommandFunction():
                process = self._process(settings)
                return CommandSpec(command=settings.command, handler=settings.handler, **shared, **process)
            case HttpFunction():
                return HttpSpec(
                    url=settings.url,
                    payload=settings.payload,
                    headers=settings.headers,
                    function_error_statuses=frozenset(settings.function_error_statuses),
                    verify_tls=settings.verify_tls,
                    ca_file=None if settings.ca_file is None else str(settings.ca_file),
                    **shared,
                )
            case LambdaFunction():
                target, qualifier = values.lambda_parts(settings.target)
                return LambdaSpec(target=target, qualifier=qualifier, endpoint_url=settings.endpoint_url, **shared)
            case _:
                assert_never(settings)

    def _process(self, settings: ProcessFunction) -> dict[str, Any]:
        """What the specifications of all forms with processes have in common."""
        return {
            "environment": settings.environment,
            "aws_environment": self._aws_environment(settings),
            "working_directory": str(settings.directory),
            "memory_size": settings.memory_size or TOLD_MEMORY,
            "memory_limit": settings.memory_size,
            "provisioned_concurrency": settings.provisioned_concurrency,
            "idle_timeout": settings.idle_timeout,
        }

    def _aws_environment(self, settings: ProcessFunction) -> dict[str, str]:
        """What the handler's own AWS clients find: the same local endpoint, and credentials as far as configured."""
        where = self._where("sqs")
        chosen = aws.credentials(where, settings=self._config.aws, environ=self._environ)
        if isinstance(settings, PythonFunction) and settings.isolation == "inline":
            # The daemon's own are there already.
            found = handler_credentials("inherit", daemon={}, dummy=chosen.kind == "dummy")
        elif settings.credentials == "none":
            found = handler_credentials("none", daemon={}, dummy=where.is_local)
        else:
            profile = {} if chosen.profile is None else {"AWS_PROFILE": chosen.profile}
            daemon = {**self._environ, **profile}
            found = handler_credentials("inherit", daemon=daemon, dummy=chosen.kind == "dummy")
        return found if where.url is None else {"AWS_ENDPOINT_URL": where.url, **found}


def most_at_once(settings: InvokedFunction) -> int:
    """Most invocations of a function at once, configured or not."""
    if settings.reserved_concurrency is not None:
        return settings.reserved_concurrency
    if isinstance(settings, ProcessFunction) and getattr(settings, "isolation", "worker") == "worker":
        return max(UNRESERVED_PROCESSES, settings.provisioned_concurrency)
    return UNRESERVED_CALLS
