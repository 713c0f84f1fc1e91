"""Every answer that the specification has a row for [A.5, B.7], and what it makes of a batch of three records.

A row says what the handler does, and which records have failed then. What that means for an SQS batch and for a stream is
derived here in the plainest way, so that it checks the rules' own code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esmd.mappings.records import Batch
    from esmd.mappings.settlement import Settled, TryAgain
    from esmd.mappings.verdicts import Verdict

NONE: tuple[int, ...] = ()
ALL = (0, 1, 2)

Why = Literal["reported", "invalid_answer", "function_error"] | None


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        told: what the handler is told to do: `answer` a JSON value, send the `raw` text, or `raise` with a text.
        failed: positions of the records that have failed.
        why: None if none has.
        error: type of the handler's error, where that is why.
    """

    told: dict[str, Any]
    failed: tuple[int, ...] = NONE
    why: Why = None
    error: str = "AnswerRefusedError"

    @property
    def payload(self) -> bytes:
        """The answer as it comes back."""
        return self.told["raw"].encode() if "raw" in self.told else json.dumps(self.told["answer"]).encode()


def _items(*identifiers: object) -> dict[str, Any]:
    return {"answer": {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in identifiers]}}


def rows(ids: Sequence[str]) -> dict[str, Row]:
    """The rows for a batch of three records with these ids."""
    first, second, third = ids

    def entries(value: object) -> dict[str, Any]:
        return {"answer": {"batchItemFailures": value}}

    return {
        "nothing failed, an empty list": Row(entries([])),
        "nothing failed, null instead of a list": Row(entries(None)),
        "an empty object": Row({"answer": {}}),
        "an object about something else": Row({"answer": {"processed": 3}}),
        "no return value": Row({"answer": None}),
        "an empty text": Row({"answer": ""}),
        "an empty list": Row({"answer": []}),
        "no body at all": Row({"raw": ""}),
        "the first failed": Row(_items(first), ALL[:1], "reported"),
        "the second failed": Row(_items(second), (1,), "reported"),
        "the last failed": Row(_items(third), (2,), "reported"),
        "two failed, in another order": Row(_items(third, second), (1, 2), "reported"),
        "one failed and is named twice": Row(_items(second, second), (1,), "reported"),
        "all failed": Row(_items(*ids), ALL, "reported"),
        "an exception": Row({"raise": "no stock"}, ALL, "function_error"),
        "not JSON": Row({"raw": "Done."}, ALL, "invalid_answer"),
        "half an answer": Row({"raw": '{"batchItemFailures": ['}, ALL, "invalid_answer"),
        "an empty identifier": Row(_items(""), ALL, "invalid_answer"),
        "a null identifier": Row(_items(None), ALL, "invalid_answer"),
        "an identifier that is a list": Row(_items([second]), ALL, "invalid_answer"),
        "an identifier that is not in the batch": Row(_items("nobody"), ALL, "invalid_answer"),
        "a number that is not in the batch": Row(_items(123), ALL, "invalid_answer"),
        "a wrong key": Row(entries([{"foo": "notvalid"}]), ALL, "invalid_answer"),
        "a wrong key with a number": Row(entries([{"foo": 123}]), ALL, "invalid_answer"),
        "a wrong key with null": Row(entries([{"foo": None}]), ALL, "invalid_answer"),
        "a good identifier and a bad one": Row(_items(second, "nobody"), ALL, "invalid_answer"),
        "entries that are no list": Row(entries({"itemIdentifier": second}), ALL, "invalid_answer"),
        "an entry that is no object": Row(entries([second]), ALL, "invalid_answer"),
        "a text": Row({"answer": "done"}, ALL, "invalid_answer"),
        "a number": Row({"answer": 3}, ALL, "invalid_answer"),
        "a list of the failed": Row({"answer": [second]}, ALL, "invalid_answer"),
    }


def settled_as(row: Row, *, reports: bool) -> dict[str, object]:
    """What becomes of an SQS batch: positions that are kept and deleted, pace, error type."""
    failed = row.failed if reports or row.why == "function_error" else NONE
    why = row.why if failed else None
    pace = {None: "recover", "reported": "keep", "invalid_answer": "slow", "function_error": "slow"}[why]
    error = {"invalid_answer": "InvalidBatchResponse", "function_error": row.error}.get(str(why))
    return {"kept": failed, "done": tuple(at for at in ALL if at not in failed), "pace": pace, "error": error}


def judged_as(row: Row, *, reports: bool) -> dict[str, object]:
    """What becomes of a stream's batch: records done with, kind of failure, what a destination would be told."""
    failed = row.failed if reports or row.why == "function_error" else NONE
    if not failed:
        return {"processed": len(ALL), "why": None}
    return {
        "processed": min(failed),
        "why": row.why,
        "status": 200,
        "function_error": "Unhandled" if row.why == "function_error" else None,
        "counts": True,
    }


def settlement_seen(batch: Batch, settled: Settled | TryAgain) -> dict[str, object]:
    """A settlement in the words of `settled_as`."""
    place = [record.id for record in batch.records].index
    return {
        "kept": tuple(place(record.id) for record in settled.kept),
        "done": tuple(place(record.id) for record in settled.done),
        "pace": settled.pace,
        "error": settled.error_type,
    }


def verdict_seen(verdict: Verdict) -> dict[str, object]:
    """A verdict in the words of `judged_as`."""
    failure = verdict.failure
    if failure is None:
        return {"processed": verdict.processed, "why": None}
    response = failure.response
    return {
        "processed": verdict.processed,
        "why": failure.kind,
        "status": response and response.status_code,
        "function_error": response and response.function_error,
        "counts": failure.counts,
    }


def batch_with(row_name: str, make: Callable[..., Batch]) -> tuple[Batch, Row]:
    """A batch of three whose first record tells the handler to do as the row says."""
    ids = [record.id for record in make("", "", "").records]
    row = rows(ids)[row_name]
    return make(json.dumps(row.told), "{}", "{}"), row


ROW_NAMES = tuple(rows(("a", "b", "c")))
