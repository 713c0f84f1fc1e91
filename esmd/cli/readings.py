"""Says how the mappings of a function would read its answer to an event.

| mapping                           | answer                          | said                                                  |
|-----------------------------------|---------------------------------|-------------------------------------------------------|
| of another kind than the event    | any                             | nothing                                               |
| with a tumbling window            | without a state                 | the whole batch has failed, and why                   |
| `ReportBatchItemFailures`         | no failures                     | every record is done                                  |
| the same, a queue                 | failures, all in the batch      | how many are done, and which are delivered again      |
| the same, a stream                | failures, all in the batch      | how many are done, and from which on it is tried again |
| the same                          | one that cannot be read         | the whole batch has failed, and why                   |
| without it                        | with `batchItemFailures`        | that these are ignored                                |
| without it                        | any other                       | nothing: every record is done, as always              |
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from esmd.config.schema import StreamMapping
from esmd.mappings.partial import Invalid, read_answer
from esmd.mappings.window_replies import read_reply

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esmd.config.schema import AnyMapping, Config
    from esmd.mappings.outcomes import Success

_SHOWN = 10
"""Ids that are named; the rest is counted."""

_ID_PATHS = {
    "sqs": ("messageId",),
    "kinesis": ("kinesis", "sequenceNumber"),
    "dynamodb": ("dynamodb", "SequenceNumber"),
}


def readings(config: Config, function: str, event: bytes, outcome: Success) -> Iterator[str]:
    """A line for each mapping that has something to say about the answer.

    Args:
        config: validated.
        function: the function that was invoked; mappings of a function that routes to it count too.
        event: what it was invoked with.
        outcome: its answer.
    """
    for mapping in config.mappings.values():
        if function == mapping.function_name or function in config.versions_of(mapping.function_name):
            ids = _record_ids(event, mapping.source)
            if ids and (text := _reading(mapping, ids, outcome)) is not None:
                yield f"mapping {mapping.name}: {text}"


def _record_ids(event: bytes, source: str) -> list[str]:
    """The ids of the event's records, in order; empty where it is no event of that kind of source."""
    try:
        records = json.loads(event)["Records"]
        if any(record["eventSource"] != f"aws:{source}" for record in records):
            return []
        return [str(_at(record, _ID_PATHS[source])) for record in records]
    except (ValueError, LookupError, TypeError):  # it has another shape
        return []


def _at(value: Any, path: Sequence[str]) -> Any:
    for step in path:
        value = value[step]
    return value


def _reading(mapping: AnyMapping, ids: Sequence[str], outcome: Success) -> str | None:
    is_stream = isinstance(mapping, StreamMapping)
    if isinstance(mapping, StreamMapping) and mapping.tumbling_window_in_seconds:
        refused = read_reply(outcome).refused
        if refused is not None:
            return f"the whole batch has failed: {refused}"
    answer = read_answer(outcome.payload, set(ids))
    if not mapping.report_batch_item_failures:
        if isinstance(answer, Invalid) or not answer.failed:
            return None
        return "all records are done: without function_response_types [ReportBatchItemFailures] the answer is not read"
    if isinstance(answer, Invalid):
        return f"the whole batch has failed: {answer.reason}"
    if not answer.failed:
        return f"all {len(ids)} records are done" if len(ids) > 1 else "the record is done"
    failed = [each for each in ids if each in answer.failed]
    if is_stream:
        return f"{ids.index(failed[0])} of {len(ids)} records are done; tried again from {failed[0]} on"
    named = ", ".join(failed[:_SHOWN]) + (f" and {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else "")
    return f"{len(ids) - len(failed)} of {len(ids)} records are done; delivered again: {named}"
