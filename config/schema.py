"""Every setting with its type, range, default and meaning: the only home of a default.

The JSON schema and the reference in the docs are generated from these models. The docstring under a field is its
description there. What joins several settings is checked in `esmd.config.rules`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
)

from esmd.config import values
from esmd.config.report import shown

if TYPE_CHECKING:
    from esmd.config.values import QueueArn


@dataclass(frozen=True, slots=True)
class Api:
    """How AWS spells a setting: the API first, then CloudFormation or SAM where they differ."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Texts:
    """A mapping of text to text, where a number or boolean counts as its text.

    Attributes:
        wrapper: a single key of this name around the mapping is taken off, as in `Environment: {Variables: ...}`.
        pairs: a list of `{Key, Value}` is read too, as CloudFormation writes tags.
    """

    wrapper: str = ""
    pairs: bool = False


@dataclass(frozen=True, slots=True)
class JsonText:
    """JSON text, or a YAML value that is turned into it."""


@dataclass(frozen=True, slots=True)
class Injected:
    """Not written by the user: the loader knows it from where the settings stand."""


def _api(*names: str) -> Api:
    return Api(names)


def _queue(text: str) -> str:
    return str(values.queue_arn(text))


def _key(text: str | None) -> str | None:
    if text and values.service_of(text) != "kms":
        raise ValueError(f"must be the ARN of a KMS key, or empty, not {shown(text)}")
    return text


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        usable = False
    if not usable or not text.isprintable() or " " in text:
        raise ValueError("must be an http:// or https:// URL, such as http://127.0.0.1:4566")
    return text.rstrip("/")


def _absolute(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str | Path):
        return value
    directory: Path = (info.context or {}).get("directory", Path())
    try:
        return directory / Path(value).expanduser()
    except RuntimeError:
        raise ValueError(f"the home directory in {shown(str(value))} is not known") from None


def _text_path(value: Any) -> Any:
    if isinstance(value, str) and "\0" in value:
        raise ValueError("must not hold a zero byte")
    return value


Seconds = Annotated[
    float,
    BeforeValidator(values.seconds),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$"}]}),
]
"""A number of seconds, or text with a unit."""

TextMap = Annotated[
    dict[str, str],
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}),
]

FilePath = Annotated[Path, BeforeValidator(_absolute), BeforeValidator(_text_path), WithJsonSchema({"type": "string"})]
"""A path; relative to the file that says it."""


class Settings(BaseModel):
    """Base of all models: frozen, nothing unknown, nothing converted silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class AwsSettings(Settings):
    """Where AWS is. What is left out comes from the standard environment variables and profiles of AWS."""

    endpoint_url: Annotated[str, AfterValidator(_url)] | None = None
    """The endpoint of all services, such as `http://127.0.0.1:4566`. Left out: `AWS_ENDPOINT_URL_SQS`,
    `AWS_ENDPOINT_URL`, then `LOCALSTACK_HOST`, then AWS itself."""
    region: Annotated[str, Field(min_length=1)] | None = None
    """Left out: `AWS_REGION`, then `AWS_DEFAULT_REGION`, then the profile, then `us-east-1` for a local endpoint.
    A queue is always polled in the region of its ARN."""
    profile: Annotated[str, Field(min_length=1)] | None = None
    """A profile of the AWS configuration files, for credentials."""
    allow_remote: bool = False
    """Whether an endpoint that is not local, such as AWS itself, may be used."""


class StateSettings(Settings):
    """Where positions in streams are kept. SQS mappings keep none."""

    path: FilePath | None = None
    """A file; left out: `esmd.db` under the XDG state directory."""


class FunctionSettings(Settings):
    """A registered handler."""

    directory: Annotated[Path, Injected()]
    """The folder of the file that registers the function."""
    handler: Annotated[str, _api("Handler"), AfterValidator(values.handler)]
    """`module.sub:callable`. Lambda's `module.sub.callable` and `folder/module.callable` work too."""
    timeout: Annotated[Seconds, _api("Timeout"), Field(gt=0, le=900)] = 3.0
    """How long an invocation may take: seconds, or a duration such as `30s` or `5m`."""
    reserved_concurrency: Annotated[int | None, _api("ReservedConcurrentExecutions"), Field(ge=0)] = None
    """Most invocations at once, over all mappings; 0 stops the function. Left out: no limit of its own."""
    isolation: Literal["worker", "inline"] = "worker"
    """`worker`: in a process of its own, killed at its timeout. `inline`: inside the daemon, cancelled at its
    timeout; quick to start, but a blocking handler blocks everything."""
    environment: Annotated[TextMap, _api("Environment"), Texts(wrapper="Variables")] = Field(default_factory=dict)
    """Variables added to the handler's environment. Only for `isolation: worker`."""
    python_path: Annotated[tuple[FilePath, ...], Field(default_factory=lambda settings: (settings["directory"],))]
    """Folders put in front of the handler's `sys.path`, relative to the file. Left out: the file's own folder."""


class FilterSettings(Settings):
    """One filter."""

    pattern: Annotated[
        str,
        _api("Pattern"),
        JsonText(),
        Field(max_length=4096),
        WithJsonSchema({"type": ["object", "string"]}),
    ]
    """The event pattern, as a YAML mapping or as JSON text."""


class FilterCriteria(Settings):
    """Which records the handler sees: those that match any of the filters. Others are deleted from the queue."""

    filters: Annotated[tuple[FilterSettings, ...], _api("Filters"), Field(max_length=10)] = ()
    """At most 5 on AWS by default, 10 after a quota raise."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """The JSON texts of the patterns, in order."""
        return tuple(each.pattern for each in self.filters)


class ScalingConfig(Settings):
    """How many invocations the mapping may have under way."""

    maximum_concurrency: Annotated[int | None, _api("MaximumConcurrency"), Field(ge=1, le=1000)] = None
    """Most invocations at once for this mapping. AWS's minimum is 2; 1 works here. Left out: no cap of its own."""


class ProvisionedPollerConfig(Settings):
    """Dedicated pollers instead of scaling with the backlog. Each has up to 10 invocations under way."""

    minimum_pollers: Annotated[int, _api("MinimumPollers"), Field(ge=2, le=200)] = 2
    """Pollers that are always there."""
    maximum_pollers: Annotated[int, _api("MaximumPollers"), Field(ge=2, le=2000)] = 200
    """Most pollers."""


class MetricsConfig(Settings):
    """Accepted so that a block can be pasted; has no effect here."""

    metrics: Annotated[
        tuple[Literal["EventCount", "ErrorCount", "KafkaMetrics"], ...], _api("Metrics"), Field(max_length=3)
    ] = ()
    """Kinds of metrics that AWS would publish."""


class RetryBackoff(Settings):
    """Beyond AWS: after a failure, a message stays hidden for a growing time instead of the queue's visibility timeout.

    The delay starts at `initial` and doubles with each receive, up to `maximum`.
    """

    initial: Annotated[Seconds, Field(ge=1, le=43_200)] = 5.0
    """Delay after the first failure: seconds, or a duration."""
    maximum: Annotated[Seconds, Field(ge=1, le=43_200)] = 900.0
    """Longest delay; SQS hides a message for 12 hours at most."""


class SqsMapping(Settings):
    """Feeds the messages of one SQS queue to one function, as Lambda's event source mapping would."""

    name: Annotated[str, Injected()]
    """The mapping's name in the configuration."""
    event_source_arn: Annotated[str, _api("EventSourceArn", "Queue"), AfterValidator(_queue)]
    """The queue: `arn:aws:sqs:REGION:ACCOUNT:NAME`."""
    function_name: Annotated[str, _api("FunctionName"), AfterValidator(values.function_name)]
    """A function registered under `functions`: its name, partial ARN or ARN; `$LATEST` is the only qualifier."""
    enabled: Annotated[bool, _api("Enabled")] = True
    """Whether the queue is polled."""
    batch_size: Annotated[int, _api("BatchSize"), Field(ge=1, le=10_000)] = 10
    """Most messages in one invocation. Above 10 a batching window is needed; at most 10 for a FIFO queue."""
    maximum_batching_window_in_seconds: Annotated[int, _api("MaximumBatchingWindowInSeconds"), Field(ge=0, le=300)] = 0
    """How long messages are gathered before the function is invoked, in whole seconds. Not for FIFO queues."""
    function_response_types: Annotated[
        tuple[Literal["ReportBatchItemFailures"], ...], _api("FunctionResponseTypes"), Field(max_length=1)
    ] = ()
    """`[ReportBatchItemFailures]`: the handler's answer names the messages that failed."""
    scaling_config: Annotated[ScalingConfig, _api("ScalingConfig")] = ScalingConfig()
    """How many invocations may be under way. Excludes `provisioned_poller_config`."""
    provisioned_poller_config: Annotated[ProvisionedPollerConfig | None, _api("ProvisionedPollerConfig")] = None
    """Dedicated pollers. Excludes `scaling_config.maximum_concurrency`."""
    filter_criteria: Annotated[FilterCriteria, _api("FilterCriteria")] = FilterCriteria()
    """Which messages the handler sees. The others are deleted."""
    tags: Annotated[TextMap, _api("Tags"), Texts(pairs=True)] = Field(default_factory=dict)
    """Checked as AWS does, and kept."""
    metrics_config: Annotated[MetricsConfig | None, _api("MetricsConfig")] = None
    """Accepted so that a block can be pasted; has no effect here."""
    kms_key_arn: Annotated[str | None, _api("KMSKeyArn", "KmsKeyArn"), AfterValidator(_key)] = None
    """Accepted so that a block can be pasted; has no effect here: filters are not encrypted at rest."""
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

    @property
    def report_batch_item_failures(self) -> bool:
        """Whether the handler's answer names the messages that failed."""
        return bool(self.function_response_types)


class Config(Settings):
    """A whole configuration, merged from all its files."""

    version: Literal[1] = 1
    """The version of this format."""
    aws: AwsSettings = AwsSettings()
    """Where AWS is."""
    state: StateSettings = StateSettings()
    """Where positions in streams are kept."""
    functions: dict[str, FunctionSettings] = Field(default_factory=dict)
    """The registered handlers by name: 1 to 64 letters, digits, hyphens and underscores."""
    mappings: dict[str, SqsMapping] = Field(default_factory=dict)
    """The event source mappings by name: 1 to 64 letters, digits, hyphens, underscores and dots."""
    files: Annotated[tuple[Path, ...], Injected()] = ()
    """The files it was read from, absolute."""
