"""The settings that every mapping has, whatever it reads from, and those of SQS mappings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from esmd.config import values
from esmd.config.fields import Injected, JsonText, Seconds, Settings, TextMap, Texts, api
from esmd.config.report import shown

if TYPE_CHECKING:
    from esmd.config.values import QueueArn
    from esmd.mappings.filters import Source


def arn_of(service: str) -> WithJsonSchema:
    """What an editor checks about a source's ARN: enough to tell the kinds of mappings apart."""
    return WithJsonSchema({"type": "string", "pattern": rf"^arn:[^:]*:{service}:|\$\{{"})


def _queue(text: str) -> str:
    return str(values.queue_arn(text))


def _key(text: str | None) -> str | None:
    if text and values.service_of(text) != "kms":
        raise ValueError(f"must be the ARN of a KMS key, or empty, not {shown(text)}")
    return text


class FilterSettings(Settings):
    """One filter."""

    pattern: Annotated[
        str,
        api("Pattern"),
        JsonText(),
        Field(max_length=4096),
        WithJsonSchema({"type": ["object", "string"]}),
    ]
    """The event pattern, as a YAML mapping or as JSON text."""


class FilterCriteria(Settings):
    """Which records the handler sees: those that match any filter. A queue loses the others, a stream passes them over."""

    filters: Annotated[tuple[FilterSettings, ...], api("Filters"), Field(max_length=10)] = ()
    """At most 5 on AWS by default, 10 after a quota raise."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """The JSON texts of the patterns, in order."""
        return tuple(each.pattern for each in self.filters)


class MetricsConfig(Settings):
    """Accepted so that a block can be pasted; has no effect here."""

    metrics: Annotated[
        tuple[Literal["EventCount", "ErrorCount", "KafkaMetrics"], ...], api("Metrics"), Field(max_length=3)
    ] = ()
    """Kinds of metrics that AWS would publish."""


class EventSourceMapping(Settings):
    """What all kinds of mappings have in common [specification A.1, B.1]."""

    source: ClassVar[Source]
    """Where the records come from."""

    name: Annotated[str, Injected()]
    """The mapping's name in the configuration."""
    event_source_arn: Annotated[str, api("EventSourceArn")]
    """Where the records come from."""
    function_name: Annotated[str, api("FunctionName"), AfterValidator(values.function_name)]
    """A function registered under `functions`: its name, partial ARN or ARN; `$LATEST` is the only qualifier."""
    enabled: Annotated[bool, api("Enabled")] = True
    """Whether the source is polled."""
    batch_size: Annotated[int, api("BatchSize"), Field(ge=1, le=10_000)]
    """Most records in one invocation."""
    maximum_batching_window_in_seconds: Annotated[int, api("MaximumBatchingWindowInSeconds"), Field(ge=0, le=300)] = 0
    """How long records are gathered before the function is invoked, in whole seconds."""
    function_response_types: Annotated[
        tuple[Literal["ReportBatchItemFailures"], ...], api("FunctionResponseTypes"), Field(max_length=1)
    ] = ()
    """`[ReportBatchItemFailures]`: the handler's answer names the records that failed."""
    filter_criteria: Annotated[FilterCriteria, api("FilterCriteria")] = FilterCriteria()
    """Which records the handler sees."""
    tags: Annotated[TextMap, api("Tags"), Texts(pairs=True)] = Field(default_factory=dict)
    """Checked as AWS does, and kept."""
    metrics_config: Annotated[MetricsConfig | None, api("MetricsConfig")] = None
    """Accepted so that a block can be pasted; has no effect here."""
    kms_key_arn: Annotated[str | None, api("KMSKeyArn", "KmsKeyArn"), AfterValidator(_key)] = None
    """Accepted so that a block can be pasted; has no effect here: filters are not encrypted at rest."""

    @property
    def report_batch_item_failures(self) -> bool:
        """Whether the handler's answer names the records that failed."""
        return bool(self.function_response_types)


class ScalingConfig(Settings):
    """How many invocations the mapping may have under way."""

    maximum_concurrency: Annotated[int | None, api("MaximumConcurrency"), Field(ge=1, le=1000)] = None
    """Most invocations at once for this mapping. AWS's minimum is 2; 1 works here. Left out: no cap of its own."""


class ProvisionedPollerConfig(Settings):
    """Dedicated pollers instead of scaling with the backlog. Each has up to 10 invocations under way."""

    minimum_pollers: Annotated[int, api("MinimumPollers"), Field(ge=2, le=200)] = 2
    """Pollers that are always there."""
    maximum_pollers: Annotated[int, api("MaximumPollers"), Field(ge=2, le=2000)] = 200
    """Most pollers."""


class RetryBackoff(Settings):
    """Beyond AWS: after a failure, a message stays hidden for a growing time instead of the queue's visibility timeout.

    The delay starts at `initial` and doubles with each receive, up to `maximum`.
    """

    initial: Annotated[Seconds, Field(ge=1, le=43_200)] = 5.0
    """Delay after the first failure: seconds, or a duration."""
    maximum: Annotated[Seconds, Field(ge=1, le=43_200)] = 900.0
    """Longest delay; SQS hides a message for 12 hours at most."""


class SqsMapping(EventSourceMapping):
    """Feeds the messages of one SQS queue to one function, as Lambda's event source mapping would."""

    source: ClassVar[Source] = "sqs"

    event_source_arn: Annotated[str, api("EventSourceArn", "Queue"), AfterValidator(_queue), arn_of("sqs")]
    """The queue: `arn:aws:sqs:REGION:ACCOUNT:NAME`."""
    batch_size: Annotated[int, api("BatchSize"), Field(ge=1, le=10_000)] = 10
    """Most messages in one invocation. Above 10 a batching window is needed; at most 10 for a FIFO queue."""
    maximum_batching_window_in_seconds: Annotated[int, api("MaximumBatchingWindowInSeconds"), Field(ge=0, le=300)] = 0
    """How long messages are gathered before the function is invoked, in whole seconds. Not for FIFO queues."""
    filter_criteria: Annotated[FilterCriteria, api("FilterCriteria")] = FilterCriteria()
    """Which messages the handler sees. The others are deleted."""
    scaling_config: Annotated[ScalingConfig, api("ScalingConfig")] = ScalingConfig()
    """How many invocations may be under way. Excludes `provisioned_poller_config`."""
    provisioned_poller_config: Annotated[ProvisionedPollerConfig | None, api("ProvisionedPollerConfig")] = None
    """Dedicated pollers. Excludes `scaling_config.maximum_concurrency`."""
    visibility_heartbeat: bool = False
    """Beyond AWS: extend the visibility of a batch while its handler runs."""
    retry_backoff: RetryBackoff | None = None
    """Beyond AWS: growing delays between the attempts at a message; `{}` takes the defaults. Left out: the queue's
    visibility timeout is the delay, as on AWS."""
    release_on_stop: bool = True
    """Beyond AWS: on stop, messages that were received and never started become visible at once."""
    receive_wait_time_seconds: Annotated[int | None, Field(ge=1, le=20)] = None
    """Beyond AWS: how long one receive waits for messages, in whole seconds. Left out: the daemon chooses."""

    @property
    def queue(self) -> QueueArn:
        """The parts of `event_source_arn`."""
        return values.queue_arn(self.event_source_arn)
