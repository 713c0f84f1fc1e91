"""From the configuration of an SQS mapping to its runner's parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esmd.mappings.scaling import ScalingLimits
from esmd.sqs.settings import SqsSettings

if TYPE_CHECKING:
    from esmd.config.schema import SqsMapping


def sqs_settings(
    mapping: SqsMapping, *, function_timeout: float | None, function_limit: int, longest_poll: int, log_payloads: bool
) -> SqsSettings:
    """The settings of a mapping at work.

    Args:
        mapping: as configured.
        function_timeout: of its function, in seconds; None where that is not known.
        function_limit: how often the function may run at once.
        longest_poll: how long a receive waits where the mapping does not say, in seconds.
        log_payloads: say the event of every invocation.
    """
    pollers = mapping.provisioned_poller_config
    backoff = mapping.retry_backoff
    return SqsSettings(
        name=mapping.name,
        queue_arn=mapping.event_source_arn,
        region=mapping.queue.region,
        fifo=mapping.queue.fifo,
        batch_size=mapping.batch_size,
        window=mapping.maximum_batching_window_in_seconds,
        report_batch_item_failures=mapping.report_batch_item_failures,
        limits=ScalingLimits.of(
            maximum_concurrency=mapping.scaling_config.maximum_concurrency,
            provisioned_pollers=(pollers.minimum_pollers, pollers.maximum_pollers) if pollers else None,
            function_limit=function_limit,
        ),
        function_timeout=function_timeout or 0.0,
        visibility_heartbeat=mapping.visibility_heartbeat,
        retry_backoff=(backoff.initial, backoff.maximum) if backoff else None,
        release_on_stop=mapping.release_on_stop,
        longest_poll=mapping.receive_wait_time_seconds or longest_poll,
        log_payloads=log_payloads,
    )
