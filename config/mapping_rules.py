"""The rules of mappings: what joins several settings, or what Lambda adds to a range; marks are of the specification.

| rule             | of      | reads                                     | finding |
|------------------|---------|-------------------------------------------|---------|
| `filters`        | all     | filter_criteria                           | AWS's text at its place [C.1]; warning: 6 to 10 |
| `tags`           | all     | tags                                      | 50 tags, 128 and 256 characters, no `aws:` |
| `without_effect` | all     | metrics_config, kms_key_arn               | warning |
| `backoff`        | SQS     | retry_backoff                             | initial above maximum |
| `fifo_batch`     | SQS     | event_source_arn, batch_size              | FIFO takes at most 10 [A.1] |
| `large_batch`    | SQS     | event_source_arn, batch_size, WINDOW      | above 10 needs a window, AWS's text [A.1] |
| `fifo_window`    | SQS     | event_source_arn, WINDOW                  | FIFO takes none, the text of AWS's tools [A.1] |
| `scaling`        | SQS     | scaling_config, provisioned_poller_config | one or the other [A.1]; warning: 1 is beyond AWS |
| `pollers`        | SQS     | provisioned_poller_config                 | minimum above maximum |
| `backoff`        | streams | retry_backoff                             | initial above maximum |
| `start`          | streams | starting_position, TIMESTAMP              | AT_TIMESTAMP and a timestamp: both or none [B.1] |
| `windows`        | streams | TUMBLING, parallelization_factor          | one or the other [B.9] |
| `short_age`      | streams | AGE                                       | warning: below 60 is beyond AWS [B.1] |
| `long_age`       | streams | AGE                                       | warning: DynamoDB keeps records 24 hours [B.2] |
| `bisect`         | streams | BISECT, batch_size                        | warning: one record cannot be split |
| `never_sent`     | streams | destination_config, RETRIES, AGE          | warning: without a limit nothing is given up |
| `no_destination` | streams | destination_config, ON_FAILURE, PAYLOAD   | warning: has no effect |
| `fast_polls`     | streams | poll_interval                             | warning: more than AWS allows per shard [B.2] |

WINDOW is maximum_batching_window_in_seconds, TIMESTAMP starting_position_timestamp, TUMBLING tumbling_window_in_seconds,
AGE maximum_record_age_in_seconds, RETRIES maximum_retry_attempts, BISECT bisect_batch_on_function_error, ON_FAILURE
on_destination_failure, PAYLOAD failure_payload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esmd.config.rules import Finding, apply
from esmd.config.schema import SqsMapping, StreamMapping
from esmd.mappings.filters import filter_warnings
from esmd.mappings.patterns import InvalidPattern

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from esmd.config.schema import AnyMapping, EventSourceMapping

DEFAULT_FILTERS = 5
"""Filters per mapping on AWS without a quota raise."""

_DAY = 86_400


def mapping_findings(mapping: AnyMapping, *, wrong: Container[str] = ()) -> Iterator[Finding]:
    """What the rules say about one mapping; rules that read a field in `wrong` are left out."""
    yield from apply(_SHARED_RULES, mapping, wrong)
    if isinstance(mapping, SqsMapping):
        yield from apply(_SQS_RULES, mapping, wrong)
    else:
        yield from apply(_STREAM_RULES, mapping, wrong)


def _filters(mapping: EventSourceMapping) -> Iterator[Finding]:
    patterns = mapping.filter_criteria.patterns
    if len(patterns) > DEFAULT_FILTERS:
        yield Finding(
            ("filter_criteria", "filters"),
            f"{len(patterns)} filters work here, but AWS takes 5, or up to 10 after a quota raise",
            severity="warning",
        )
    for index, text in enumerate(patterns):
        here = ("filter_criteria", "filters", index, "pattern")
        try:
            warnings = filter_warnings(text, source=mapping.source)
        except InvalidPattern as error:
            yield Finding((*here, *error.path), f"{error.aws_message} {error.message}")
        else:
            for warning in warnings:
                yield Finding((*here, *warning.path), warning.message, severity="warning")


def _tags(mapping: EventSourceMapping) -> Iterator[Finding]:
    if len(mapping.tags) > 50:
        yield Finding(("tags",), f"AWS takes at most 50 tags, not {len(mapping.tags)}")
    for key, value in mapping.tags.items():
        if not 1 <= len(key) <= 128:
            yield Finding(("tags", key), "a tag's key must be 1 to 128 characters")
        if key.lower().startswith("aws:"):
            yield Finding(("tags", key), "keys that start with aws: are reserved by AWS")
        if len(value) > 256:
            yield Finding(("tags", key), f"a tag's value must be at most 256 characters, not {len(value)}")


def _without_effect(mapping: EventSourceMapping) -> Iterator[Finding]:
    if mapping.metrics_config is not None:
        yield Finding(("metrics_config",), "has no effect here: nothing is sent to CloudWatch", severity="warning")
    if mapping.kms_key_arn:
        yield Finding(("kms_key_arn",), "has no effect here: filters are not encrypted at rest", severity="warning")


def _backoff(mapping: SqsMapping | StreamMapping) -> Iterator[Finding]:
    backoff = mapping.retry_backoff
    if backoff and backoff.initial > backoff.maximum:
        yield Finding(("retry_backoff",), f"initial {backoff.initial:g} s is more than maximum {backoff.maximum:g} s")


def _fifo_batch(mapping: SqsMapping) -> Iterator[Finding]:
    if mapping.queue.fifo and mapping.batch_size > 10:
        yield Finding(("batch_size",), f"must be 1 to 10 for a FIFO queue, not {mapping.batch_size}")


def _large_batch(mapping: SqsMapping) -> Iterator[Finding]:
    if not mapping.queue.fifo and mapping.batch_size > 10 and not mapping.maximum_batching_window_in_seconds:
        yield Finding(
            ("batch_size",),
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
            "set maximum_batching_window_in_seconds",
        )


def _fifo_window(mapping: SqsMapping) -> Iterator[Finding]:
    if mapping.queue.fifo and mapping.maximum_batching_window_in_seconds:
        yield Finding(("maximum_batching_window_in_seconds",), "Batching window is not supported for FIFO queues")


def _scaling(mapping: SqsMapping) -> Iterator[Finding]:
    here = ("scaling_config", "maximum_concurrency")
    maximum = mapping.scaling_config.maximum_concurrency
    if maximum is not None and mapping.provisioned_poller_config is not None:
        yield Finding(here, "cannot be set together with provisioned_poller_config")
    if maximum == 1:
        yield Finding(here, "1 works here, but AWS's minimum is 2", severity="warning")


def _pollers(mapping: SqsMapping) -> Iterator[Finding]:
    pollers = mapping.provisioned_poller_config
    if pollers and pollers.minimum_pollers > pollers.maximum_pollers:
        yield Finding(
            ("provisioned_poller_config",),
            f"minimum_pollers {pollers.minimum_pollers} is more than maximum_pollers {pollers.maximum_pollers}",
        )


def _start(mapping: StreamMapping) -> Iterator[Finding]:
    at_timestamp = mapping.starting_position == "AT_TIMESTAMP"
    if at_timestamp and mapping.starting_position_timestamp is None:
        yield Finding(("starting_position",), "AT_TIMESTAMP needs starting_position_timestamp")
    if not at_timestamp and mapping.starting_position_timestamp is not None:
        yield Finding(
            ("starting_position_timestamp",),
            f"is for starting_position AT_TIMESTAMP only, not for {mapping.starting_position}",
        )


def _windows(mapping: StreamMapping) -> Iterator[Finding]:
    if mapping.tumbling_window_in_seconds and mapping.parallelization_factor > 1:
        yield Finding(
            ("parallelization_factor",),
            "cannot be above 1 together with tumbling_window_in_seconds: a window has one state per shard",
        )


def _short_age(mapping: StreamMapping) -> Iterator[Finding]:
    if 0 < mapping.maximum_record_age_in_seconds < 60:
        yield Finding(
            ("maximum_record_age_in_seconds",),
            f"{mapping.maximum_record_age_in_seconds} works here, but AWS's minimum is 60",
            severity="warning",
        )


def _long_age(mapping: StreamMapping) -> Iterator[Finding]:
    if mapping.source == "dynamodb" and mapping.maximum_record_age_in_seconds > _DAY:
        yield Finding(
            ("maximum_record_age_in_seconds",),
            f"has no effect above {_DAY}: DynamoDB keeps stream records for 24 hours",
            severity="warning",
        )


def _bisect(mapping: StreamMapping) -> Iterator[Finding]:
    if mapping.bisect_batch_on_function_error and mapping.batch_size == 1:
        yield Finding(
            ("bisect_batch_on_function_error",),
            "has no effect with a batch_size of 1: one record cannot be split",
            severity="warning",
        )


def _never_sent(mapping: StreamMapping) -> Iterator[Finding]:
    limits = (mapping.maximum_retry_attempts, mapping.maximum_record_age_in_seconds)
    if mapping.on_failure and limits == (-1, -1):
        yield Finding(
            ("destination_config", "on_failure", "destination"),
            "nothing will ever be sent there: a failing batch is tried again without limit",
            "set maximum_retry_attempts or maximum_record_age_in_seconds",
            severity="warning",
        )


def _no_destination(mapping: StreamMapping) -> Iterator[Finding]:
    where = mapping.on_failure
    if where is None and mapping.on_destination_failure != "block":
        yield Finding(("on_destination_failure",), "has no effect without a destination", severity="warning")
    if mapping.failure_payload != "string" and (where is None or where.service != "s3"):
        yield Finding(
            ("failure_payload",), "has no effect: only an S3 destination gets the payload", severity="warning"
        )


def _fast_polls(mapping: StreamMapping) -> Iterator[Finding]:
    if mapping.poll_interval is not None and mapping.poll_interval < 0.2:
        yield Finding(
            ("poll_interval",),
            "below 0.2 s an emulator keeps up, but AWS allows about 5 reads a second per shard, of all its readers",
            severity="warning",
        )


_SHARED_RULES = (
    (_filters, ("filter_criteria",)),
    (_tags, ("tags",)),
    (_without_effect, ("metrics_config", "kms_key_arn")),
)

_SQS_RULES = (
    (_backoff, ("retry_backoff",)),
    (_fifo_batch, ("event_source_arn", "batch_size")),
    (_large_batch, ("event_source_arn", "batch_size", "maximum_batching_window_in_seconds")),
    (_fifo_window, ("event_source_arn", "maximum_batching_window_in_seconds")),
    (_scaling, ("scaling_config", "provisioned_poller_config")),
    (_pollers, ("provisioned_poller_config",)),
)

_STREAM_RULES = (
    (_backoff, ("retry_backoff",)),
    (_start, ("starting_position", "starting_position_timestamp")),
    (_windows, ("tumbling_window_in_seconds", "parallelization_factor")),
    (_short_age, ("maximum_record_age_in_seconds",)),
    (_long_age, ("maximum_record_age_in_seconds",)),
    (_bisect, ("bisect_batch_on_function_error", "batch_size")),
    (_never_sent, ("destination_config", "maximum_retry_attempts", "maximum_record_age_in_seconds")),
    (_no_destination, ("destination_config", "on_destination_failure", "failure_payload")),
    (_fast_polls, ("poll_interval",)),
)
