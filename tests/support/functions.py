"""Functions around scripted invokers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esmd.function import Function
from esmd.observe.telemetry import Broadcast

if TYPE_CHECKING:
    from esmd.invoke.protocol import Invoker
    from esmd.observe.telemetry import Telemetry

FUNCTION_ARN = "arn:aws:lambda:us-east-1:000000000000:function:process"


def function_of(invoker: Invoker, *, telemetry: Telemetry | None = None, name: str = "process") -> Function:
    """A function that `invoker` runs; without a telemetry, nobody listens to it."""
    arn = FUNCTION_ARN.replace("process", name)
    return Function(name, invoker, arn=arn, telemetry=telemetry or Broadcast())
