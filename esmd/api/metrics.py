"""`GET /metrics`: a snapshot in Prometheus' exposition formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from esmd.api.status_routes import snapshot_of
from esmd.observe import metric_names as names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric as Family

    from esmd.api.parts import ApiParts
    from esmd.observe.metric_names import Metric
    from esmd.status.model import FunctionStatus, MappingStatus, Snapshot

Value = float | tuple[int, float]
"""What a sample is: a number; of a summary how many there are, and their sum."""


def routes(parts: ApiParts) -> list[web.RouteDef]:
    """The routes of this module."""

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = exposition(await snapshot_of(parts), encode)
        return web.Response(body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return [web.get("/metrics", metrics)]


def exposition(snapshot: Snapshot, encode: object = None) -> bytes:
    """A snapshot as text; `encode` is what the client chose, by default Prometheus' plain format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(snapshot))
    encoder = choose_encoder("")[0] if encode is None else encode
    assert callable(encoder)  # noqa: S101 - it is prometheus_client's
    body: bytes = encoder(registry)
    return body


class _Once(Collector):
    """One snapshot, collected once."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Family]:
        """Every family that has samples."""
        samples: dict[str, list[tuple[tuple[str, ...], Value]]] = {}
        for name, labels, value in _samples(self._snapshot):
            if value is not None:
                samples.setdefault(name, []).append((labels, value))
        for metric in names.ALL:
            if found := samples.pop(metric.name, None):
                yield _family(metric, found)
        if samples:
            raise LookupError(f"metrics without a definition: {sorted(samples)}")


def _family(metric: Metric, samples: list[tuple[tuple[str, ...], Value]]) -> Family:
    aws = f" AWS: {metric.aws}." if metric.aws else ""
    text = metric.text + aws
    if metric.kind == "summary":
        summary = SummaryMetricFamily(metric.name, text, labels=metric.labels)
        for labels, value in samples:
            assert isinstance(value, tuple)  # noqa: S101 - by its kind
            summary.add_metric(labels, count_value=value[0], sum_value=value[1])
        return summary
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, text, labels=metric.labels)
    for labels, value in samples:
        assert not isinstance(value, tuple)  # noqa: S101 - by its kind
        family.add_metric(labels, value)
    return family


def _samples(snapshot: Snapshot) -> Iterator[tuple[str, tuple[str, ...], Value | None]]:
    daemon = snapshot.daemon
    yield "esmd_start_time_seconds", (), daemon.started_at
    yield "esmd_processes", (), daemon.processes
    yield "esmd_build_info", (daemon.version,), 1
    for mapping in snapshot.mappings:
        for name, value in _of_mapping(mapping):
            yield name, (mapping.name,), value
        yield "esmd_mapping_state", (mapping.name, mapping.state), 1
    for function in snapshot.functions:
        for name, amount in _of_function(function):
            yield name, (function.name,), amount


def _of_mapping(mapping: MappingStatus) -> Iterator[tuple[str, float | None]]:
    totals = mapping.totals
    yield "esmd_polled_event_count", totals.received
    yield "esmd_filtered_out_event_count", totals.filtered
    yield "esmd_invoked_event_count", totals.invoked
    yield "esmd_failed_invoke_event_count", totals.failed
    yield "esmd_retried_batch_count", totals.retries
    yield "esmd_batches_in_flight", mapping.in_flight
    yield "esmd_pollers", mapping.pollers
    yield "esmd_mapping_available", float(mapping.reason is None)
    if mapping.source == "sqs":
        yield "esmd_deleted_event_count", totals.deleted
        if (backlog := mapping.backlog) is not None:
            yield "esmd_queue_messages_visible", backlog.visible
            yield "esmd_queue_messages_not_visible", backlog.not_visible
            yield "esmd_queue_messages_delayed", backlog.delayed
        return
    yield "esmd_dropped_event_count", totals.dropped
    yield "esmd_on_failure_destination_delivered_event_count", totals.discarded - totals.dropped
    yield "esmd_iterator_age_milliseconds", mapping.iterator_age_ms
    behind = [shard.millis_behind_latest for shard in mapping.shards if shard.millis_behind_latest is not None]
    yield "esmd_millis_behind_latest", max(behind, default=None)
    yield "esmd_shards", len(mapping.shards)
    yield "esmd_blocked_shards", len(mapping.blocked)


def _of_function(function: FunctionStatus) -> Iterator[tuple[str, Value | None]]:
    yield "esmd_function_invocations", function.invocations
    yield "esmd_function_errors", function.errors
    yield "esmd_function_throttles", function.throttles
    yield "esmd_function_duration_milliseconds", (function.invocations, function.duration_sum_ms)
    yield "esmd_function_concurrent_executions", function.busy
    yield "esmd_function_concurrency_limit", function.limit
    yield "esmd_function_environments", function.environments
