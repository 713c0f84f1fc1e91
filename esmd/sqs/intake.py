"""From messages to records: the event's JSON is made here, once, and filters have their say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from esmd.mappings.events import SqsText, encode, sqs_record
from esmd.mappings.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from esmd.mappings.filters import RecordFilter
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
        self._fifo = settings.fifo
        self._windowed = settings.window > 0
        self._filter = record_filter
        self._text = SqsText(queue_arn=settings.queue_arn, region=settings.region, windowed=settings.window > 0)

    def admit(self, messages: Iterable[Mapping[str, Any]], hidden_until: float) -> tuple[list[Record], list[Unmatched]]:
        """Split messages, as ReceiveMessage returned them, into records and those that no filter matches.

        Args:
            messages: in the API's member names; order is kept.
            hidden_until: until when the queue hides them from others (loop time).
        """
        if self._filter is None:
            return [self._record(message, hidden_until, self._text.of(message)) for message in messages], []
        records: list[Record] = []
        unmatched: list[Unmatched] = []
        for message in messages:
            element = sqs_record(message, queue_arn=self._queue_arn, region=self._region, windowed=self._windowed)
            if not self._filter.matches(element):
                unmatched.append(Unmatched(element["messageId"], element["receiptHandle"]))
                continue
            records.append(self._record(message, hidden_until, encode(element)))
        return records, unmatched

    def _record(self, message: Mapping[str, Any], hidden_until: float, event: bytes) -> Record:
        attributes = message.get("Attributes") or {}
        group = attributes.get("MessageGroupId") if self._fifo else None
        return Record(
            message["MessageId"],
            message["ReceiptHandle"],
            None if group is None else str(group),
            int(attributes.get("ApproximateReceiveCount", 1)),
            int(attributes.get("SentTimestamp", 0)) / 1000,
            hidden_until,
            event,
        )
