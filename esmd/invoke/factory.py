"""Makes the invoker for a function, by the form of its specification."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from esmd.invoke.environment import PythonEnvironment
from esmd.invoke.inline import InlineInvoker
from esmd.invoke.lambda_api import LambdaInvoker
from esmd.invoke.pool import EnvironmentPool
from esmd.invoke.protocol import CommandSpec, HttpSpec, LambdaSpec, PythonSpec

if TYPE_CHECKING:
    from esmd.invoke.protocol import Invoker
    from esmd.observe.telemetry import Telemetry
    from esmd.pollers.localstack import LocalStackClients


def make_invoker(
    spec: PythonSpec | CommandSpec | HttpSpec | LambdaSpec,
    *,
    clients: LocalStackClients,
    telemetry: Telemetry,
    inline: bool = False,
) -> Invoker:
    """An invoker for `spec`; nothing is started or imported yet.

    Args:
        spec: the function.
        clients: of the daemon, for functions of Lambda.
        telemetry: where events go.
        inline: run a Python function in the daemon's own process.
    """
    match spec:
        case PythonSpec() if inline:
            return InlineInvoker(spec, telemetry=telemetry)
        case PythonSpec():
            return EnvironmentPool(spec, launch=PythonEnvironment.launch, telemetry=telemetry)
        case CommandSpec():
            from esmd.invoke.command import CommandEnvironment  # noqa: PLC0415 - with it comes a server of HTTP

            return EnvironmentPool(spec, launch=CommandEnvironment.launch, telemetry=telemetry)
        case HttpSpec():
            from esmd.invoke.http import HttpInvoker  # noqa: PLC0415 - aiohttp is heavy, and only such functions need it

            return HttpInvoker(spec, telemetry=telemetry)
        case LambdaSpec():
            return LambdaInvoker(spec, clients=clients, telemetry=telemetry)
        case _:
            assert_never(spec)
