"""A mapping's settings by AWS's names, as a configuration spells them [specification D.6].

Templates of SAM and CloudFormation and Lambda's API have one set of names. Numbers and truths may come as text there:
parameters of a template are text.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""CloudFormation reads YAML 1.1, where these are truths."""


def whole(value: Any) -> Any:
    """A whole number from that, or from text; anything else as it is, for the configuration's own check."""
    if isinstance(value, str) and value.strip().removeprefix("-").isdecimal() and len(value) < 20:
        return int(value)
    return int(value) if isinstance(value, float) and math.isfinite(value) and value == int(value) else value


def flag(value: Any) -> Any:
    """A truth from that, or from text."""
    return _TRUTHS.get(value.lower(), value) if isinstance(value, str) else value


def _criteria(value: Any) -> Any:
    filters = value.get("Filters", []) if isinstance(value, dict) else value
    if not isinstance(filters, list):
        return {"filters": filters}
    return {"filters": [_renamed(each, {"Pattern": "pattern"}) for each in filters]} if filters else None


def _scaling(value: Any) -> Any:
    return _inner(value, {"MaximumConcurrency": "maximum_concurrency"}) or None


def _pollers(value: Any) -> Any:
    return _inner(value, {"MinimumPollers": "minimum_pollers", "MaximumPollers": "maximum_pollers"}) or None


def _destinations(value: Any) -> Any:
    on_failure = value.get("OnFailure") if isinstance(value, dict) else value
    if isinstance(on_failure, dict):
        # SAM's Type says what the ARN says too.
        on_failure = {"destination": on_failure["Destination"]} if on_failure.get("Destination") else None
    return {"on_failure": on_failure} if on_failure else None


def _metrics(value: Any) -> Any:
    return _inner(value, {"Metrics": "metrics"}) or None


def _time(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value


def _texts(value: Any) -> Any:
    return value or None


SETTINGS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "EventSourceArn": ("event_source_arn", _texts),
    "Enabled": ("enabled", flag),
    "BatchSize": ("batch_size", whole),
    "MaximumBatchingWindowInSeconds": ("maximum_batching_window_in_seconds", whole),
    "FunctionResponseTypes": ("function_response_types", _texts),
    "FilterCriteria": ("filter_criteria", _criteria),
    "ScalingConfig": ("scaling_config", _scaling),
    "ProvisionedPollerConfig": ("provisioned_poller_config", _pollers),
    "StartingPosition": ("starting_position", _texts),
    "StartingPositionTimestamp": ("starting_position_timestamp", _time),
    "ParallelizationFactor": ("parallelization_factor", whole),
    "MaximumRecordAgeInSeconds": ("maximum_record_age_in_seconds", whole),
    "MaximumRetryAttempts": ("maximum_retry_attempts", whole),
    "BisectBatchOnFunctionError": ("bisect_batch_on_function_error", flag),
    "TumblingWindowInSeconds": ("tumbling_window_in_seconds", whole),
    "DestinationConfig": ("destination_config", _destinations),
    "MetricsConfig": ("metrics_config", _metrics),
    "KmsKeyArn": ("kms_key_arn", _texts),
    "KMSKeyArn": ("kms_key_arn", _texts),
    "Tags": ("tags", _texts),
}
"""AWS's name of each setting, with that of the configuration and how its value is read."""

FOREIGN: Final = frozenset(
    {
        "AmazonManagedKafkaEventSourceConfig",
        "DocumentDBEventSourceConfig",
        "Queues",
        "SelfManagedEventSource",
        "SelfManagedKafkaEventSourceConfig",
        "SourceAccessConfigurations",
        "Topics",
    }
)
"""Settings of Kafka, Amazon MQ and DocumentDB."""

IGNORED: Final = frozenset({"LoggingConfig"})
"""Settings without a counterpart, and without an effect on records."""


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    return {names.get(key, key): item for key, item in value.items()} if isinstance(value, dict) else value


def _inner(value: Any, names: Mapping[str, str]) -> Any:
    renamed = _renamed(value, names)
    return {key: whole(item) for key, item in renamed.items()} if isinstance(renamed, dict) else renamed


def of_stream_itself(arn: str) -> tuple[str, str | None]:
    """The ARN of the stream that an ARN of an enhanced fan-out consumer belongs to, and a note about it; else as it is."""
    stream, separator, _ = arn.partition("/consumer/")
    if separator and ":kinesis:" in arn:
        return stream, "enhanced fan-out is not supported: the stream itself is read"
    return arn, None


def source_name(arn: str) -> str:
    """The name of the queue, stream or table in an ARN."""
    rest = arn.split(":", 5)[-1]
    parts = rest.split("/")
    return parts[1] if len(parts) > 1 else rest
