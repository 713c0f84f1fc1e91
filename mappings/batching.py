"""When records become a batch [specification A.2].

A batch is closed by the first of: `batch_size` records, the batching window, the payload limit. Without a window,
whatever one poll brought is a batch.

| event                                   | open batch empty            | open batch holds records                      |
|-----------------------------------------|-----------------------------|-----------------------------------------------|
| records arrive                          | window opens, see below     | gathered; full ones are closed: size, bytes   |
| records arrive, no window               | closed at once: poll        | (never the case)                              |
| the window has run out                  | nothing                     | closed: window                                |
| an invocation ended                     | window opens then           | nothing                                       |
| the mapping stops                       | nothing                     | handed back: drain                            |

The window's clock: it opens when the previous batch was closed or its invocation ended, whichever is later, as on AWS.
On a mapping that has been idle for a whole window it opens with the first record, so that a lone record still gathers
company for the window's full length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esmd.mappings.events import ENVELOPE_BYTES, MAX_EVENT_BYTES
from esmd.mappings.records import Batch, Cut, Record

if TYPE_CHECKING:
    from collections.abc import Sequence


class Batcher:
    """Gathers the records of one ordering domain into batches. `now` is any monotonic clock, in seconds."""

    def __init__(self, *, batch_size: int, window: float, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._batch_size = batch_size
        self._window = window
        self._max_bytes = max_bytes
        self._open: list[Record] = []
        self._bytes = ENVELOPE_BYTES
        self._exact = False
        self._opened_at = float("-inf")
        self._due: float | None = None

    def __len__(self) -> int:
        """Records gathered and not yet in a batch."""
        return len(self._open)

    @property
    def due(self) -> float | None:
        """When the open batch must be closed (`expire`); None while it is empty."""
        return self._due

    @property
    def gathered(self) -> tuple[Record, ...]:
        """The records of the open batch."""
        return tuple(self._open)

    def add(self, records: Sequence[Record], now: float) -> list[Batch]:
        """Take the records of one poll; return the batches they closed, in order.

        A record that alone passes the payload limit is a batch of its own: the invocation is then refused, and that
        failure is the record's to answer for.
        """
        if not records:
            return []
        most = sum([record.most for record in records]) + len(records) - 1
        if not self._window and not self._open and len(records) <= self._batch_size and self._fits(most):
            # Nearly always: one batch, and nothing to be looked at one by one.
            self._opened_at = now
            return [Batch(records, "size" if len(records) == self._batch_size else "poll")]
        closed: list[Batch] = []
        if len(self._open) + len(records) <= self._batch_size and not self._exact and self._fits(most):
            self._gather(records, most, now)
        else:
            for record in records:
                if self._open and not self._takes(record):
                    closed.append(self._close("bytes", now))
                self._gather([record], record.size if self._exact else record.most, now)
                if self._is_full:
                    closed.append(self._close("size", now))
        if self._is_full:
            closed.append(self._close("size", now))
        if self._open and not self._window:
            closed.append(self._close("poll", now))
        return closed

    @property
    def _is_full(self) -> bool:
        return len(self._open) == self._batch_size

    def _fits(self, most: int) -> bool:
        """Whether there is room for so many bytes, and the comma before them."""
        return self._bytes + most + bool(self._open) <= self._max_bytes

    def _gather(self, records: Sequence[Record], size: int, now: float) -> None:
        """Put records into the open batch; `size` counts the commas between them."""
        if not self._open:
            window_opened = self._opened_at if now < self._opened_at + self._window else now
            self._due = window_opened + self._window
        else:
            self._bytes += 1
        self._open += records
        self._bytes += size

    def expire(self, now: float) -> Batch | None:
        """Close the open batch if its window has run out."""
        if self._due is None or now < self._due:
            return None
        return self._close("window", now)

    def invocation_ended(self, now: float) -> None:
        """Tell that an invocation of this mapping ended: the next window opens."""
        if not self._open:
            self._opened_at = now

    def drain(self) -> tuple[Record, ...]:
        """Give up the open batch: its records, to be handed back to the source."""
        records = self.gathered
        self._open = []
        self._bytes = ENVELOPE_BYTES
        self._exact = False
        self._due = None
        return records

    def _takes(self, record: Record) -> bool:
        """Whether the open batch has room for a record. Sizes are asked for only where their upper bounds do not tell."""
        if not self._exact:
            if self._bytes + 1 + record.most <= self._max_bytes:
                return True
            self._exact = True
            self._bytes = ENVELOPE_BYTES + len(self._open) - 1 + sum(each.size for each in self._open)
        return self._bytes + 1 + record.size <= self._max_bytes

    def _close(self, cut: Cut, now: float) -> Batch:
        self._opened_at = now
        return Batch(self.drain(), cut)
