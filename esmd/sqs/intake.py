"""From messages to records, and filters have their say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from esmd.mappings.events import SqsText, sqs_record
from esmd.mappings.messages import Messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from esmd.mappings.filters import RecordFilter
    from esmd.mappings.records import Record
    from esmd.sqs.settings import SqsSettings


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A message that no filter matches: it is to be deleted."""

    id: str
    handle: str


class Intake:
    """Admits the messages of one mapping."""

    def __init__(self, settings: SqsSettings, record_filter: RecordFilter | None) -> None:
        self._queue_arn = settings.queue_arn
        self._region = settings.region
        self._windowed = settings.window > 0
        self._filter = record_filter
        text = SqsText(queue_arn=settings.queue_arn, region=settings.region, windowed=settings.window > 0)
        self._messages = Messages(text, fifo=settings.fifo)

    def admit(self, messages: Iterable[Mapping[str, Any]], hidden_until: float) -> tuple[list[Record], list[Unmatched]]:
        """Split messages, as ReceiveMessage returned them, into records and those that no filter matches.

        Args:
            messages: in the API's member names; order is kept.
            hidden_until: until when the queue hides them from others (loop time).
        """
        unmatched: list[Unmatched] = []
        if self._filter is not None:
            matched: list[Mapping[str, Any]] = []
            for message in messages:
                element = sqs_record(message, queue_arn=self._queue_arn, region=self._region, windowed=self._windowed)
                if self._filter.matches(element):
                    matched.append(message)
                else:
                    unmatched.append(Unmatched(element["messageId"], element["receiptHandle"]))
            messages = matched
        return self._messages.records(messages, hidden_until), unmatched
