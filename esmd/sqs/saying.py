"""What an SQS mapping says of messages that the queue would not delete, or whose visibility it would not change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from esmd.observe.mapping_events import DeleteFailed, VisibilityFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from esmd.observe.telemetry import Telemetry
    from esmd.pollers.sqs import EntryFailure


def say_delete_failures(
    telemetry: Telemetry, mapping: str, failures: Iterable[EntryFailure], ids: Mapping[str, str]
) -> None:
    """Emit `delete.failed` for each; `ids` gives the message id of a receipt handle."""
    for entry in failures:
        why = entry.failure
        telemetry.emit(
            DeleteFailed(mapping=mapping, id=ids[entry.handle], error_type=why.code, error_message=why.message)
        )


def say_visibility_failures(
    telemetry: Telemetry,
    mapping: str,
    failures: Iterable[EntryFailure],
    ids: Mapping[str, str],
    *,
    purpose: Literal["release", "retry_backoff", "heartbeat"],
) -> None:
    """Emit `visibility.failed` for each; `ids` gives the message id of a receipt handle."""
    for entry in failures:
        why = entry.failure
        telemetry.emit(
            VisibilityFailed(
                mapping=mapping,
                purpose=purpose,
                id=ids[entry.handle],
                error_type=why.code,
                error_message=why.message,
            )
        )
