"""How AWS shows a mapping: the same keys for the same kind of source [specification D.3, recorded].

- all: BatchSize, EventSourceArn, EventSourceMappingArn, FunctionArn, FunctionResponseTypes, LastModified,
  MaximumBatchingWindowInSeconds, State, StateTransitionReason, UUID;
- streams: BisectBatchOnFunctionError, DestinationConfig, LastProcessingResult, MaximumRecordAgeInSeconds,
  MaximumRetryAttempts, ParallelizationFactor, StartingPosition, TumblingWindowInSeconds;
- those that have one: FilterCriteria, KMSKeyArn, MetricsConfig, ProvisionedPollerConfig, ScalingConfig,
  StartingPositionTimestamp.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esmd.config.schema import SqsMapping

if TYPE_CHECKING:
    from esmd.config.schema import AnyMapping, StreamMapping
    from esmd.config.values import QueueArn, StreamArn
    from esmd.control.protocol import Entry

REASONS = {"sqs": "USER_INITIATED", "kinesis": "User action", "dynamodb": "User action"}
"""`StateTransitionReason`, by the kind of source."""


def configuration(entry: Entry) -> dict[str, Any]:
    """What Create, Get, Update and Delete answer, and List once per mapping."""
    mapping = entry.mapping
    answer: dict[str, Any] = {
        "UUID": str(entry.uuid),
        "BatchSize": mapping.batch_size,
        "MaximumBatchingWindowInSeconds": mapping.maximum_batching_window_in_seconds,
        "EventSourceArn": mapping.event_source_arn,
        "FunctionArn": entry.function_arn,
        "LastModified": round(entry.last_modified, 3),
        "State": entry.state,
        "StateTransitionReason": REASONS[mapping.source],
        "FunctionResponseTypes": list(mapping.function_response_types),
        "EventSourceMappingArn": mapping_arn(entry),
    }
    answer |= _sqs(mapping) if isinstance(mapping, SqsMapping) else _stream(mapping, entry.last_result)
    if mapping.filter_criteria.filters:
        answer["FilterCriteria"] = {"Filters": [{"Pattern": pattern} for pattern in mapping.filter_criteria.patterns]}
    if mapping.metrics_config is not None:
        answer["MetricsConfig"] = {"Metrics": list(mapping.metrics_config.metrics)}
    if mapping.kms_key_arn:
        answer["KMSKeyArn"] = mapping.kms_key_arn
    return answer


def mapping_arn(entry: Entry) -> str:
    """The ARN of a mapping: in the region and account of its source."""
    source = source_of(entry.mapping)
    return f"arn:{source.partition}:lambda:{source.region}:{source.account_id}:event-source-mapping:{entry.uuid}"


def source_of(mapping: AnyMapping) -> QueueArn | StreamArn:
    """The parts of a mapping's source."""
    return mapping.queue if isinstance(mapping, SqsMapping) else mapping.stream


def _sqs(mapping: SqsMapping) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    if mapping.scaling_config.maximum_concurrency is not None:
        answer["ScalingConfig"] = {"MaximumConcurrency": mapping.scaling_config.maximum_concurrency}
    if mapping.provisioned_poller_config is not None:
        pollers = mapping.provisioned_poller_config
        answer["ProvisionedPollerConfig"] = {
            "MinimumPollers": pollers.minimum_pollers,
            "MaximumPollers": pollers.maximum_pollers,
        }
    return answer


def _stream(mapping: StreamMapping, last_result: str) -> dict[str, Any]:
    destination = mapping.destination_config.on_failure.destination
    answer: dict[str, Any] = {
        "StartingPosition": mapping.starting_position,
        "ParallelizationFactor": mapping.parallelization_factor,
        "DestinationConfig": {"OnFailure": {"Destination": destination} if destination else {}},
        "MaximumRecordAgeInSeconds": mapping.maximum_record_age_in_seconds,
        "BisectBatchOnFunctionError": mapping.bisect_batch_on_function_error,
        "MaximumRetryAttempts": mapping.maximum_retry_attempts,
        "TumblingWindowInSeconds": mapping.tumbling_window_in_seconds,
        "LastProcessingResult": last_result,
    }
    if mapping.starting_position_timestamp is not None:
        answer["StartingPositionTimestamp"] = mapping.starting_position_timestamp
    return answer
