"""Makes the invoker that a function's `isolation` asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, assert_never

from esmd.invoke.inline import InlineInvoker
from esmd.invoke.workers import WorkerInvoker

if TYPE_CHECKING:
    from esmd.invoke.protocol import FunctionSpec, Invoker
    from esmd.observe.telemetry import Telemetry


def make_invoker(spec: FunctionSpec, *, isolation: Literal["worker", "inline"], telemetry: Telemetry) -> Invoker:
    """An invoker for `spec`; nothing is started or imported yet."""
    match isolation:
        case "worker":
            return WorkerInvoker(spec, telemetry=telemetry)
        case "inline":
            return InlineInvoker(spec, telemetry=telemetry)
        case _:
            assert_never(isolation)
