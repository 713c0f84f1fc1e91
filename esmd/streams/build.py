"""From the configuration of a stream mapping to its runner's parts.

| pace                                | AWS, Kinesis | AWS, DynamoDB | local endpoint |
|-------------------------------------|--------------|---------------|----------------|
| between reads of a caught-up shard  | 1 s          | 0.25 s        | 0.2 s          |
| between any two reads of a shard    | 0.2 s        | 0.2 s         | 0.01 s         |
| after a read that was full          | 0.2 s        | 0.2 s         | none           |
| between listings of the shards      | 60 s         | 60 s          | 5 s            |

On AWS the first row is Lambda's base rate, the next two what the services allow [specification B.2]. Emulators have no
such limits, and whoever works with one wants to see a record at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from esmd.config.schema import KinesisMapping
from esmd.mappings.policy import RETRY_BACKOFF_INITIAL, RETRY_BACKOFF_MAXIMUM, PolicyOptions
from esmd.pollers.streams import LATEST, TRIM_HORIZON, Seek
from esmd.pollers.wire_streams import WireDynamoStreams, WireKinesis
from esmd.streams.settings import StreamSettings

if TYPE_CHECKING:
    from esmd.config.schema import StreamMapping
    from esmd.pollers.localstack import LocalStackClients
    from esmd.pollers.streams import StreamApi
    from esmd.pollers.wire_clients import WireClients

_MOST_AT_ONCE = {"kinesis": 10_000, "dynamodb": 1_000}
"""Records that one read may ask for."""

_READ_AT_LEAST = 1_000
"""Records that one read asks for even if batches are smaller: reading ahead costs one call instead of many."""


def stream_api(mapping: StreamMapping, clients: LocalStackClients, wires: WireClients) -> StreamApi:
    """The calls on the mapping's stream."""
    kind = WireKinesis if isinstance(mapping, KinesisMapping) else WireDynamoStreams
    return kind(clients, wires, stream_arn=mapping.event_source_arn, region=mapping.stream.region)


def stream_settings(mapping: StreamMapping, *, function_arn: str, is_local: bool, log_payloads: bool) -> StreamSettings:
    """The settings of a mapping at work.

    Args:
        mapping: as configured.
        function_arn: of its function.
        is_local: whether its endpoint is an emulator's.
        log_payloads: say the event of every invocation.
    """
    kind = mapping.source
    backoff = mapping.retry_backoff
    idle = 0.2 if is_local else 1.0 if kind == "kinesis" else 0.25
    wanted = max(_READ_AT_LEAST, mapping.batch_size * mapping.parallelization_factor)
    return StreamSettings(
        name=mapping.name,
        mapping_id=str(uuid5(NAMESPACE_URL, f"esmd:{mapping.name}:{mapping.event_source_arn}")),
        source=kind,
        stream_arn=mapping.event_source_arn,
        region=mapping.stream.region,
        function_arn=function_arn,
        role_arn=f"arn:aws:iam::{mapping.stream.account_id}:role/esmd",
        start=start_of(mapping),
        batch_size=mapping.batch_size,
        window=mapping.maximum_batching_window_in_seconds,
        parallelization_factor=mapping.parallelization_factor,
        policy=PolicyOptions(
            maximum_retry_attempts=mapping.maximum_retry_attempts,
            maximum_record_age=mapping.maximum_record_age_in_seconds,
            bisect=mapping.bisect_batch_on_function_error,
            report_batch_item_failures=mapping.report_batch_item_failures,
            retry_backoff_initial=backoff.initial if backoff else RETRY_BACKOFF_INITIAL,
            retry_backoff_maximum=backoff.maximum if backoff else RETRY_BACKOFF_MAXIMUM,
        ),
        tumbling_window=mapping.tumbling_window_in_seconds,
        on_destination_failure=mapping.on_destination_failure,
        payload_as_object=mapping.failure_payload == "object",
        read_limit=min(_MOST_AT_ONCE[kind], wanted),
        idle_interval=mapping.poll_interval or idle,
        least_interval=0.01 if is_local else 0.2,
        full_interval=0.0 if is_local else 0.2,
        discovery_interval=5.0 if is_local else 60.0,
        log_payloads=log_payloads,
    )


def start_of(mapping: StreamMapping) -> Seek:
    """The starting position of a mapping."""
    if mapping.starting_position == "AT_TIMESTAMP" and mapping.starting_position_timestamp is not None:
        return Seek.at_time(mapping.starting_position_timestamp)
    return LATEST if mapping.starting_position == "LATEST" else TRIM_HORIZON
