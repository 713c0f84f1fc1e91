"""Tumbling windows of one shard: which window a record is in, its state, its last invocation [specification B.9].

A window is `[start, end)` in arrival times, aligned to multiples of its length since the epoch. A late record joins
the window that is current, so windows never go back. Needs `parallelization_factor` 1: one state, one lane.

What is to be done next (`due`), asked before every invocation and when there is no record:

| window      | next record           | quiet                | shard | answer                                   |
|-------------|-----------------------|----------------------|-------|------------------------------------------|
| none        | none                  | any                  | any   | nothing                                  |
| none        | a record              | any                  | any   | its window opens with state {}; go on    |
| untouched   | none                  | any                  | any   | nothing                                  |
| untouched   | a record              | any                  | any   | its window opens with state {}; go on    |
| open        | before the end        | any                  | any   | go on                                    |
| open        | at or past the end    | any                  | any   | final invoke                             |
| open        | none                  | never, or too early  | open  | nothing; ask again at `due_at`           |
| open        | none                  | 2 minutes have gone  | open  | final invoke                             |
| open        | none                  | any                  | ended | final invoke                             |
| too large   | any                   | any                  | any   | final invoke, terminated early           |
| closing     | any                   | any                  | any   | the same final invoke again              |

An untouched window has no resolved record: nothing was aggregated, so it needs no final invoke. The two minutes of
quiet count from the window's end or from the last record, whichever is later: clocks differ and reading lags behind,
so a window that was closed at its very end would often be opened again.

How state, failures and the checkpoint fit. An answer must have a state (`esmd.mappings.window_replies`). An
invocation that processed its records, or the first of them, hands its state on (`resolved` with the state). A failed
invocation's state is dropped, so a retry gets what the failed one got. The parts of a bisected batch follow each
other: the right one gets what the left one handed on. Discarded records leave the state alone (`resolved` without
one). Position and `snapshot` belong into one commit: then every record counts exactly once in the state that is
handed on, whatever is delivered twice.

How a final invoke fails. The shell drives it through a failure policy of its own, with `Final.stand_in` as its only
record: its id is the window's last record, its arrival the moment the window was closed, so attempts, age and
backoff apply as to a batch, nothing is bisected, and a failure record names where the window ended (`Final.first` to
`Final.last` for its whole range). By default that is retried without end and the shard waits, as on AWS. When it
succeeds, or is given up, `closed` drops the state.

A state above 1 MB is not cut off: its window gets its final invoke at once, with all of it, and with
`isWindowTerminatedEarly`. The records that follow open the same window again, with `{}`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from esmd.mappings.events import MAX_EVENT_BYTES
from esmd.mappings.records import Record
from esmd.mappings.stream_events import WindowFields
from esmd.mappings.window_replies import FIELD_BYTES, MAX_STATE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

QUIET_SECONDS = 120
"""After its end a window is closed when nothing new has come for so long [specification B.9]."""

MAX_RECORDS_BYTES = MAX_EVENT_BYTES - MAX_STATE_BYTES - FIELD_BYTES
"""What a batch may take in an event whose window may hold the largest state: the batcher's `max_bytes`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """The last invocation of a window; its event has no records.

    Attributes:
        fields: what its event says.
        stand_in: the record that stands for it in a failure policy; never sent to a handler.
        first: sequence number of the first record the window has seen to its end.
        last: of the last one.
        records: how many these are.
    """

    fields: WindowFields
    stand_in: Record
    first: str
    last: str
    records: int


@dataclass(frozen=True, slots=True)
class _Window:
    """An open window. The range counts the records that are resolved; `closing_since` is epoch seconds."""

    start: int
    end: int
    state: bytes = b"{}"
    first: str = ""
    last: str = ""
    records: int = 0
    closing_since: float | None = None

    @property
    def too_large(self) -> bool:
        return len(self.state) > MAX_STATE_BYTES


class Windows:
    """The tumbling windows of one shard. Times are epoch seconds: records arrive by the wall clock."""

    def __init__(self, length: int, *, shard_id: str, stream_arn: str, snapshot: dict[str, Any] | None = None) -> None:
        """Start where an earlier process stopped, or anew.

        Args:
            length: `tumbling_window`, 1 to 900 seconds.
            shard_id: the shard, for the event.
            stream_arn: the stream, for the event.
            snapshot: what `snapshot` returned. A window that was open keeps its bounds though the length has changed.

        Raises:
            ValueError: if the snapshot is damaged. The state in it is the only copy: what to do is not decided here.
        """
        self._length = length
        self._shard_id = shard_id
        self._stream_arn = stream_arn
        self._newest: int | None = None
        self._window: _Window | None = None
        if snapshot is not None:
            self._newest, self._window = _restore(snapshot)

    @property
    def is_open(self) -> bool:
        """Whether there is a window to close before the shard is finished."""
        return self._window is not None and self._window.records > 0

    def due(
        self,
        now: float,
        *,
        next_record: Record | None = None,
        quiet_since: float | None = None,
        shard_ended: bool = False,
    ) -> Final | None:
        """Decide by the table above. None: invoke with `next_record`, if there is one.

        Args:
            now: epoch seconds.
            next_record: the first record of the next invocation, if there is one.
            quiet_since: since when the shard is read to its tip and brings no record; None while it is behind.
            shard_ended: whether the shard is closed, read to its end and every record of it resolved.
        """
        window = self._window
        if window is None or not window.records:
            if next_record is not None:
                self._open(next_record)
            return None
        if window.closing_since is None:
            if next_record is not None:
                over = next_record.arrived_at >= window.end
            else:
                at = self.due_at(quiet_since)
                over = shard_ended or (at is not None and now >= at)
            if not (over or window.too_large):
                return None
            window = self._window = replace(window, closing_since=now)
        return self._final(window)

    def due_at(self, quiet_since: float | None) -> float | None:
        """When `due` has to be asked though no record comes, epoch seconds; None if not before one does."""
        if self._window is None or not self._window.records or quiet_since is None:
            return None
        return max(self._window.end, quiet_since) + QUIET_SECONDS

    def joins(self, record: Record) -> bool:
        """Whether a record may be in the batches of the current window."""
        return self._window is not None and record.arrived_at < self._window.end

    def fields(self) -> WindowFields:
        """What an event with records of the current window says. Every retry says the same.

        Raises:
            RuntimeError: if no window is open: `due` opens one.
        """
        return self._fields(self._current())

    def resolved(self, records: Sequence[Record], *, state: bytes | None) -> None:
        """Records of the current window are done with.

        Args:
            records: processed or discarded ones, in the shard's order.
            state: the `WindowReply.state` of the invocation that processed them; None if they were discarded.

        Raises:
            RuntimeError: if no window is open.
        """
        window = self._current()
        if not records:
            return
        # Not only the newer ones: a record that is too old may be discarded before those in front of it are processed.
        numbers = [records[0].id, records[-1].id]
        if window.records:
            numbers += [window.first, window.last]
        self._window = replace(
            window,
            state=window.state if state is None else state,
            first=min(numbers, key=int),
            last=max(numbers, key=int),
            records=window.records + len(records),
        )

    def closed(self) -> None:
        """The final invoke succeeded, or was given up by the failure policy: the state is dropped."""
        self._window = None

    def snapshot(self) -> dict[str, Any]:
        """Everything a restart needs, as JSON values; to be committed together with the position."""
        window = self._window
        if window is None or not window.records:
            return {"newest": self._newest, "open": None}
        return {
            "newest": self._newest,
            "open": {
                "start": window.start,
                "end": window.end,
                "state": window.state.decode(),
                "first": window.first,
                "last": window.last,
                "records": window.records,
                "closing_since": window.closing_since,
            },
        }

    def _open(self, record: Record) -> None:
        moment = record.arrived_at if self._newest is None else max(record.arrived_at, self._newest)
        self._newest = math.floor(moment / self._length) * self._length
        self._window = _Window(self._newest, self._newest + self._length)

    def _current(self) -> _Window:
        if self._window is None:
            raise RuntimeError("no window is open")
        return self._window

    def _fields(self, window: _Window) -> WindowFields:
        return WindowFields(
            start=window.start,
            end=window.end,
            state=window.state,
            shard_id=self._shard_id,
            stream_arn=self._stream_arn,
        )

    def _final(self, window: _Window) -> Final:
        return Final(
            fields=replace(self._fields(window), final=True, terminated_early=window.too_large),
            stand_in=Record(
                id=window.last,
                handle="",
                ordering_key=None,
                attempt=1,
                arrived_at=window.closing_since or 0.0,
                hidden_until=math.inf,
                event=b"",
            ),
            first=window.first,
            last=window.last,
            records=window.records,
        )


def _restore(snapshot: dict[str, Any]) -> tuple[int | None, _Window | None]:
    match snapshot:
        case {"newest": int() | None as newest, "open": None}:
            return newest, None
        case {
            "newest": int() as newest,
            "open": {
                "start": int() as start,
                "end": int() as end,
                "state": str() as state,
                "first": str() as first,
                "last": str() as last,
                "records": int() as records,
                "closing_since": float() | int() | None as since,
            },
        }:
            window = _Window(start, end, state.encode(), first, last, records, since)
            return newest, window
    raise ValueError(f"not the snapshot of a tumbling window: {str(snapshot)[:200]}")
