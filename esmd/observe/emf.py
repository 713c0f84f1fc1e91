"""Metrics in log lines: CloudWatch's Embedded Metric Format on `mapping.stats` and `function.stats`.

A log agent that sends such lines to CloudWatch Logs makes metrics of them, with AWS's names. The namespace is ours, since
CloudWatch keeps those that begin with `AWS/` for itself; dimensions are AWS's [specification E.1, E.2].
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from esmd.observe import metric_names
from esmd.observe.events import FunctionStats
from esmd.observe.mapping_events import MappingStats

if TYPE_CHECKING:
    from collections.abc import Callable

    from esmd.observe.events import Event

NAMESPACE = "esmd"

_UNITS = {metric.aws: metric.unit for metric in metric_names.ALL if metric.emf}


class EmbeddedMetrics:
    """Makes the members that a line has beside its own.

    Args:
        wall: epoch seconds.
    """

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self.uuid_of: Callable[[str], str] = lambda name: name
        """The UUID of a mapping, by its name."""

    def __call__(self, event: Event) -> dict[str, Any]:
        """The members of one event's line; none where it has no metrics."""
        match event:
            case MappingStats():
                return self._block(_of_mapping(event), "EventSourceMappingUUID", self.uuid_of(event.mapping))
            case FunctionStats():
                return self._block(_of_function(event), "FunctionName", event.function)
            case _:
                return {}

    def _block(self, values: dict[str, float | None], dimension: str, value: str) -> dict[str, Any]:
        known = {name: number for name, number in values.items() if number is not None}
        block = {
            "Timestamp": int(self._wall() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": NAMESPACE,
                    "Dimensions": [[dimension]],
                    "Metrics": [{"Name": name, "Unit": _UNITS[name]} for name in known],
                }
            ],
        }
        return {"_aws": block, dimension: value, **known}


def _of_mapping(event: MappingStats) -> dict[str, float | None]:
    delivered = None
    if event.discarded is not None and event.dropped is not None:
        delivered = event.discarded - event.dropped
    return {
        "PolledEventCount": event.received,
        "FilteredOutEventCount": event.filtered,
        "InvokedEventCount": event.invoked,
        "FailedInvokeEventCount": event.failed,
        "DeletedEventCount": event.deleted,
        "DroppedEventCount": event.dropped,
        "OnFailureDestinationDeliveredEventCount": delivered,
        "IteratorAge": _rounded(event.iterator_age_max_ms),
        "ProvisionedPollers": event.pollers,
    }


def _of_function(event: FunctionStats) -> dict[str, float | None]:
    return {
        "Invocations": event.invocations,
        "Errors": event.errors,
        "Throttles": event.throttles,
        "Duration": _rounded(event.duration_avg_ms),
        "ConcurrentExecutions": event.concurrency_max,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
