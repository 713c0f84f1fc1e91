"""The metrics of `/metrics` and of the log's EMF, one table: AWS's names and definitions [specification E.1, E.2, A.9].

`docs/metrics.md` is generated from it; `python -m esmd.observe.metric_names` renews it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
"""Where the page is in a checkout."""

Kind = Literal["counter", "gauge", "summary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric.

    Attributes:
        name: of Prometheus; a counter gets `_total` from the exposition.
        aws: the name of AWS's metric; None where AWS has none.
        text: its definition.
        labels: of Prometheus.
        emf: whether a log with `--emf` has it.
        unit: of CloudWatch.
    """

    name: str
    kind: Kind
    aws: str | None
    text: str
    labels: tuple[str, ...] = ("mapping",)
    emf: bool = False
    unit: str = "Count"

    @property
    def exposed(self) -> str:
        """Its name as a query names it."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


_FUNCTION = ("function",)

MAPPINGS = (
    Metric(
        name="esmd_polled_event_count",
        kind="counter",
        aws="PolledEventCount",
        text="Events that the mapping read from its source.",
        emf=True,
    ),
    Metric(
        name="esmd_filtered_out_event_count",
        kind="counter",
        aws="FilteredOutEventCount",
        text="Events that match no filter of the mapping.",
        emf=True,
    ),
    Metric(
        name="esmd_invoked_event_count",
        kind="counter",
        aws="InvokedEventCount",
        text="Events sent in invocations of the function; one that is retried counts again.",
        emf=True,
    ),
    Metric(
        name="esmd_failed_invoke_event_count",
        kind="counter",
        aws="FailedInvokeEventCount",
        text="Events of failed invocations; of partial failures those that the handler named.",
        emf=True,
    ),
    Metric(
        name="esmd_deleted_event_count",
        kind="counter",
        aws="DeletedEventCount",
        text="Messages deleted from the queue after they were processed; filtered ones are not counted. SQS only.",
        emf=True,
    ),
    Metric(
        name="esmd_dropped_event_count",
        kind="counter",
        aws="DroppedEventCount",
        text="Events given up for their age or exhausted retries that no destination has. Streams only.",
        emf=True,
    ),
    Metric(
        name="esmd_on_failure_destination_delivered_event_count",
        kind="counter",
        aws="OnFailureDestinationDeliveredEventCount",
        text="Events given up whose record the on-failure destination has accepted. Streams only.",
        emf=True,
    ),
    Metric(
        name="esmd_iterator_age_milliseconds",
        kind="gauge",
        aws="IteratorAge",
        text="Age of the last record of a batch when it was sent to the function; of the shards the largest, as each sent its "
        "last. In the log the largest of the period. Streams only.",
        emf=True,
        unit="Milliseconds",
    ),
    Metric(
        name="esmd_retried_batch_count",
        kind="counter",
        aws=None,
        text="SQS: batches with a message that had been received before. Streams: parts of batches that are invoked again.",
    ),
    Metric(
        name="esmd_millis_behind_latest",
        kind="gauge",
        aws="MillisBehindLatest",
        text="What the last read of a shard said; of the shards the largest. Kinesis only.",
    ),
    Metric(name="esmd_shards", kind="gauge", aws=None, text="Shards that are being read by this daemon. Streams only."),
    Metric(
        name="esmd_blocked_shards",
        kind="gauge",
        aws=None,
        text="Of these, the ones that a failing batch holds up. Streams only.",
    ),
    Metric(
        name="esmd_queue_messages_visible",
        kind="gauge",
        aws="ApproximateNumberOfMessagesVisible",
        text="Messages that could be received now; absent while the queue does not say. SQS only.",
    ),
    Metric(
        name="esmd_queue_messages_not_visible",
        kind="gauge",
        aws="ApproximateNumberOfMessagesNotVisible",
        text="Messages that were received and not deleted. SQS only.",
    ),
    Metric(
        name="esmd_queue_messages_delayed",
        kind="gauge",
        aws="ApproximateNumberOfMessagesDelayed",
        text="Messages that cannot be received yet. SQS only.",
    ),
    Metric(name="esmd_batches_in_flight", kind="gauge", aws=None, text="Batches under way."),
    Metric(
        name="esmd_pollers",
        kind="gauge",
        aws="ProvisionedPollers",
        text="Receives under way, or shards being read.",
        emf=True,
    ),
    Metric(
        name="esmd_mapping_state",
        kind="gauge",
        aws=None,
        text="1 for the state that the mapping is in, such as Enabled; other states are absent.",
        labels=("mapping", "state"),
    ),
    Metric(
        name="esmd_mapping_available",
        kind="gauge",
        aws=None,
        text="0 while the mapping is enabled and cannot run; else 1.",
    ),
)

FUNCTIONS = (
    Metric(
        name="esmd_function_invocations",
        kind="counter",
        aws="Invocations",
        text="Invocations that ran, those with an error included, throttled ones not.",
        labels=_FUNCTION,
        emf=True,
    ),
    Metric(
        name="esmd_function_errors",
        kind="counter",
        aws="Errors",
        text="Invocations that ended with an error: exceptions, timeouts, exits, handlers that could not be loaded.",
        labels=_FUNCTION,
        emf=True,
    ),
    Metric(
        name="esmd_function_throttles",
        kind="counter",
        aws="Throttles",
        text="Invocations refused for want of a free place; counted in neither of the two above.",
        labels=_FUNCTION,
        emf=True,
    ),
    Metric(
        name="esmd_function_duration_milliseconds",
        kind="summary",
        aws="Duration",
        text="How long invocations took: their sum and number. In the log the mean of the period.",
        labels=_FUNCTION,
        emf=True,
        unit="Milliseconds",
    ),
    Metric(
        name="esmd_function_concurrent_executions",
        kind="gauge",
        aws="ConcurrentExecutions",
        text="Invocations under way. In the log the most of the period.",
        labels=_FUNCTION,
        emf=True,
    ),
    Metric(
        name="esmd_function_concurrency_limit",
        kind="gauge",
        aws=None,
        text="Most invocations of the function at once.",
        labels=_FUNCTION,
    ),
    Metric(
        name="esmd_function_environments",
        kind="gauge",
        aws=None,
        text="Execution environments that there are; absent for forms of functions that have none.",
        labels=_FUNCTION,
    ),
)

DAEMON = (
    Metric(
        name="esmd_start_time_seconds",
        kind="gauge",
        aws=None,
        text="When the daemon started, epoch seconds.",
        labels=(),
    ),
    Metric(name="esmd_processes", kind="gauge", aws=None, text="Processes that share the work.", labels=()),
    Metric(name="esmd_build_info", kind="gauge", aws=None, text="1; the version is its label.", labels=("version",)),
)

ALL = (*MAPPINGS, *FUNCTIONS, *DAEMON)

_INTRODUCTION = """\
<!-- generated by python -m esmd.observe.metric_names; do not edit -->
# Metrics

`GET /metrics` serves these for Prometheus. Names are those of AWS's metrics in Prometheus' spelling; counters count since the
daemon's start. The label `mapping` is the mapping's name, `function` the function's; there is no label for shards, because
a stream may have thousands.

With `--emf` the log's `mapping.stats` and `function.stats` carry those marked under *EMF* as CloudWatch's Embedded Metric
Format: each line with the numbers of its period, in the namespace `esmd`, with AWS's names and the dimension
`EventSourceMappingUUID` or `FunctionName`.
"""

_TITLES = (("Mappings", MAPPINGS), ("Functions", FUNCTIONS), ("The daemon", DAEMON))


def page() -> str:
    """The whole page, as Markdown."""
    parts = [_INTRODUCTION]
    for title, metrics in _TITLES:
        rows = "".join(
            f"| `{each.exposed}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} "
            f"| {f'`{each.aws}`' if each.aws else ''} | {'yes' if each.emf else ''} | {each.text} |\n"
            for each in metrics
        )
        parts.append(
            f"\n## {title}\n\n| name | kind | labels | AWS's name | EMF | meaning |\n|---|---|---|---|---|---|\n{rows}"
        )
    return "".join(parts)


def main() -> None:
    """Write the page into the checkout."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
