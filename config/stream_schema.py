"""The settings of mappings that read a stream: Kinesis and DynamoDB Streams [specification B.1]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from esmd.config import values
from esmd.config.fields import OR_NOTHING, Injected, Instant, Missed, Seconds, Settings, api
from esmd.config.mapping_schema import EventSourceMapping, FilterCriteria, arn_of
from esmd.config.values import StreamKind  # noqa: TC001 - pydantic reads the annotations
from esmd.mappings.destinations import parse_destination
from esmd.mappings.policy import RETRY_BACKOFF_INITIAL, RETRY_BACKOFF_MAXIMUM

if TYPE_CHECKING:
    from esmd.config.values import StreamArn
    from esmd.mappings.destinations import DestinationArn

StartingPosition = Literal["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"]

_NO_POSITION = (
    "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint:"
    " Member must not be null."
)


def _kinesis(text: str) -> str:
    return str(values.stream_arn(text, kind="kinesis"))


def _dynamodb(text: str) -> str:
    return str(values.stream_arn(text, kind="dynamodb"))


def _position(value: Any) -> Any:
    """Refuses an unknown text in AWS's words; what is no text at all is left to the type."""
    if isinstance(value, str) and value not in ("TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"):
        raise ValueError(
            f"1 validation error detected: Value '{value[:80]}' at 'startingPosition' failed to satisfy constraint:"
            " Member must satisfy enum value set: [LATEST, AT_TIMESTAMP, TRIM_HORIZON]"
        )
    return value


def _dynamodb_position(value: Any, info: ValidationInfo) -> Any:
    if value == "AT_TIMESTAMP":
        raise ValueError(f"Unsupported starting position for arn type: {info.data.get('event_source_arn', 'dynamodb')}")
    return _position(value)


def _age(value: int) -> int:
    if value == 0:
        raise ValueError("must be -1 for no limit, or at least 1 second: 0 would discard every record")
    return value


def _destination(text: str) -> str:
    return str(parse_destination(text)) if text else ""


class OnFailure(Settings):
    """Where records are reported that are given up."""

    destination: Annotated[str, api("Destination"), AfterValidator(_destination)] = ""
    """The ARN of a standard SQS queue, a standard SNS topic or an S3 bucket. Empty: nowhere."""


class DestinationConfig(Settings):
    """What happens to records that are given up: retries exhausted, or too old."""

    on_failure: Annotated[OnFailure, api("OnFailure")] = OnFailure()
    """Where they are reported."""


class StreamRetryBackoff(Settings):
    """Beyond AWS: the wait between the attempts at a batch. It starts at `initial` and doubles, up to `maximum`."""

    initial: Annotated[Seconds, Field(ge=0.1, le=3600)] = RETRY_BACKOFF_INITIAL
    """Wait after the first failure: seconds, or a duration."""
    maximum: Annotated[Seconds, Field(ge=0.1, le=3600)] = RETRY_BACKOFF_MAXIMUM
    """Longest wait."""


class StreamMapping(EventSourceMapping):
    """What mappings of Kinesis and DynamoDB Streams have in common."""

    source: ClassVar[StreamKind]

    enabled: Annotated[bool, api("Enabled")] = True
    """Whether the stream is read. A mapping that is enabled again goes on where it was."""
    batch_size: Annotated[int, api("BatchSize"), Field(ge=1, le=10_000)] = 100
    """Most records in one invocation. They are of one shard."""
    filter_criteria: Annotated[FilterCriteria, api("FilterCriteria")] = FilterCriteria()
    """Which records the handler sees. The others are passed over."""
    starting_position: Annotated[
        StartingPosition,
        api("StartingPosition"),
        BeforeValidator(_position),
        Missed(_NO_POSITION, "set starting_position to TRIM_HORIZON or LATEST"),
    ]
    """Where a mapping without a saved position begins: at the oldest records kept, at those written from now on, or at
    `starting_position_timestamp`."""
    starting_position_timestamp: Annotated[Instant | None, api("StartingPositionTimestamp")] = None
    """For `AT_TIMESTAMP`: Unix seconds, or ISO 8601 such as `2026-01-31T12:00:00Z`; without an offset it is UTC."""
    parallelization_factor: Annotated[int, api("ParallelizationFactor"), Field(ge=1, le=10)] = 1
    """Most batches of one shard at once; the order is kept per partition key. Excludes `tumbling_window_in_seconds`."""
    maximum_record_age_in_seconds: Annotated[
        int, api("MaximumRecordAgeInSeconds"), Field(ge=-1, le=604_800), AfterValidator(_age)
    ] = -1
    """A record that gets older is given up; -1: no limit. AWS's minimum is 60; 1 to 59 work here."""
    maximum_retry_attempts: Annotated[int, api("MaximumRetryAttempts"), Field(ge=-1, le=10_000)] = -1
    """Attempts at a failing batch after the first; then it is given up. -1: no limit, the shard waits."""
    bisect_batch_on_function_error: Annotated[bool, api("BisectBatchOnFunctionError")] = False
    """Whether a failing batch is split in two, until the records that fail stand alone."""
    tumbling_window_in_seconds: Annotated[int, api("TumblingWindowInSeconds"), Field(ge=0, le=900)] = 0
    """Length of the windows over which the handler keeps state, in whole seconds; 0: none."""
    destination_config: Annotated[DestinationConfig, api("DestinationConfig")] = DestinationConfig()
    """Where records are reported that are given up."""
    retry_backoff: StreamRetryBackoff | None = None
    """Beyond AWS: the wait between the attempts at a batch. Left out: about 8 attempts in the first minute, as on AWS."""
    on_destination_failure: Literal["block", "drop"] = "block"
    """Beyond AWS: what a destination that takes nothing leads to. `block`: the shard waits and the delivery is tried
    again. `drop`: the records are given up unreported, as on AWS."""
    failure_payload: Literal["string", "object"] = "string"
    """Beyond AWS: how an S3 object holds the event: as JSON text, as on AWS, or as an object."""
    poll_interval: Annotated[Seconds | None, Field(ge=0.05, le=60), OR_NOTHING] = None
    """Beyond AWS: the pause between reads of a shard that has nothing new. Left out: the daemon chooses."""

    @property
    def stream(self) -> StreamArn:
        """The parts of `event_source_arn`."""
        return values.stream_arn(self.event_source_arn, kind=self.source)

    @property
    def on_failure(self) -> DestinationArn | None:
        """The parts of `destination_config.on_failure.destination`; None where there is none."""
        text = self.destination_config.on_failure.destination
        return parse_destination(text) if text else None


class KinesisMapping(StreamMapping):
    """Feeds the records of one Kinesis stream to one function, as Lambda's event source mapping would."""

    source: ClassVar[StreamKind] = "kinesis"

    event_source_arn: Annotated[str, api("EventSourceArn", "Stream"), AfterValidator(_kinesis), arn_of("kinesis")]
    """The stream: `arn:aws:kinesis:REGION:ACCOUNT:stream/NAME`."""


class DynamoDbMapping(StreamMapping):
    """Feeds the changes of one DynamoDB table to one function, as Lambda's event source mapping would."""

    source: ClassVar[StreamKind] = "dynamodb"

    event_source_arn: Annotated[str, api("EventSourceArn", "Stream"), AfterValidator(_dynamodb), arn_of("dynamodb")]
    """The table's stream: `arn:aws:dynamodb:REGION:ACCOUNT:table/NAME/stream/LABEL`, the table's `LatestStreamArn`.
    Beyond AWS: the label `latest` stands for whichever that is."""
    starting_position: Annotated[
        Literal["TRIM_HORIZON", "LATEST"],
        api("StartingPosition"),
        BeforeValidator(_dynamodb_position),
        Missed(_NO_POSITION, "set starting_position to TRIM_HORIZON or LATEST"),
    ]
    """Where a mapping without a saved position begins: at the oldest records kept, or at those written from now on."""
    starting_position_timestamp: Annotated[None, Injected()] = None
    """Always None: DynamoDB Streams cannot begin at a time."""
    parallelization_factor: Annotated[int, api("ParallelizationFactor"), Field(ge=1, le=10)] = 1
    """Most batches of one shard at once; the order is kept per item. Excludes `tumbling_window_in_seconds`."""
