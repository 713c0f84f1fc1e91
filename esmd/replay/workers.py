"""The three things that are done in a replay: failure records replayed, dead letters handled, dead letters sent back."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from esmd.config.schema import StreamMapping
from esmd.mappings.events import MAX_EVENT_BYTES, encode, join, sqs_record
from esmd.mappings.exact_json import decode
from esmd.mappings.filters import compile_filters
from esmd.mappings.records import Record
from esmd.mappings.stream_events import stream_event
from esmd.pollers.errors import SourceError
from esmd.replay.letters import as_sent, group_of, kept_because
from esmd.replay.reading import read_range
from esmd.replay.records import NotAFailureRecordError, read_failure_record
from esmd.replay.routes import NoRouteError, route
from esmd.replay.run import Result
from esmd.replay.selection import cut, selected
from esmd.replay.verdicts import event_ids, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from esmd.config.schema import AnyMapping, Config
    from esmd.mappings.outcomes import Outcome
    from esmd.pollers.streams import StreamApi
    from esmd.replay.queues import ReplayQueue
    from esmd.replay.records import FailureRecord
    from esmd.replay.routes import Route
    from esmd.replay.sources import Item


class Handlers(Protocol):
    """Invokes functions by name."""

    async def invoke(self, function: str, event: bytes) -> Outcome:
        """One invocation; never raises for a handler's failure."""
        ...


class RecordReplay:
    """`Worker` for failure records: each is read from its stream again, unless it has the event with it, and handled.

    Args:
        config: validated.
        handlers: invokes functions.
        stream_of: gives the calls on a stream by its ARN.
        function: the one to invoke; None for the mapping's.
        wanted: whether a failure record is to be replayed.
        pause: seconds between two reads of a shard.
        dry_run: read, and do nothing with it.
    """

    at_once = 1

    def __init__(
        self,
        config: Config,
        *,
        handlers: Handlers,
        stream_of: Callable[[str], StreamApi],
        function: str | None,
        wanted: Callable[[Mapping[str, Any]], bool],
        pause: float,
        dry_run: bool,
    ) -> None:
        self._config = config
        self._handlers = handlers
        self._stream_of = stream_of
        self._function = function
        self._wanted = wanted
        self._pause = pause
        self._dry_run = dry_run

    async def work(self, items: Sequence[Item]) -> Sequence[Result]:
        """See `Worker.work`."""
        return [await self._replay(item.text) for item in items]

    async def _replay(self, text: str) -> Result:
        try:
            record = read_failure_record(text)
            if not self._wanted(decode(record.text)):
                return Result("kept", f"{record}: the filter does not match it")
            where = route(self._config, record.stream_arn, failed=record.function_name, wanted=self._function)
            if record.event is not None:
                return await self._handle(record, where, [(record.event, event_ids(record.event, record.kind))])
            return await self._read_and_handle(record, where)
        except NotAFailureRecordError as error:
            return Result("kept", str(error))
        except NoRouteError as error:
            return Result("failed", str(error))
        except SourceError as error:
            return Result("failed", f"the stream cannot be read: {error}")

    async def _read_and_handle(self, record: FailureRecord, where: Route) -> Result:
        found = await read_range(self._stream_of(record.stream_arn), record, pause=self._pause)
        mapping = where.mapping
        patterns = mapping.filter_criteria.patterns if mapping is not None else ()
        records = selected(
            () if found.is_other else found.found,
            record,
            record_filter=compile_filters(patterns, source=record.kind) if patterns else None,
            factor=mapping.parallelization_factor if isinstance(mapping, StreamMapping) else 1,
        )
        if not records:
            return Result("expired", f"{record}: nothing of it is in the stream any more")
        events = [
            (stream_event(each), [one.id for one in each])
            for each in cut(records, most=max(record.count, 1), max_bytes=MAX_EVENT_BYTES - 100)
        ]
        result = await self._handle(record, where, events)
        if found.is_whole or result.status == "failed":
            return result
        return Result("expired", f"{record}: only {len(records)} left in the stream, {result.text}")

    async def _handle(self, record: FailureRecord, where: Route, events: Sequence[tuple[bytes, list[str]]]) -> Result:
        count = sum(len(ids) for _, ids in events)
        if self._dry_run:
            return Result("planned", f"{record}: {count} for {where.function}")
        for event, ids in events:
            outcome = await self._handlers.invoke(where.function, event)
            said = verdict(outcome, ids, report=_reports(where.mapping), is_stream=True)
            if said.reason is not None:
                return Result("failed", f"{record}: {where.function}: {said.reason}")
        return Result("replayed", f"{record}: {where.function}")


class LetterHandling:
    """`Worker` for dead letters that a function handles.

    Args:
        config: validated.
        handlers: invokes functions.
        function: the one to invoke.
        queue: the dead-letter queue.
        source_arn: of the queue whose letters these are, for letters that do not say it themselves.
        wanted: whether a letter, as a record of an event, is to be handled.
        at_once: most letters of one event.
        dry_run: do nothing with them.
    """

    def __init__(
        self,
        config: Config,
        *,
        handlers: Handlers,
        function: str,
        queue: ReplayQueue,
        source_arn: str,
        wanted: Callable[[Mapping[str, Any]], bool],
        at_once: int,
        dry_run: bool,
    ) -> None:
        self._config = config
        self._handlers = handlers
        self._function = function
        self._region = queue.arn.split(":")[3]
        self._source_arn = source_arn
        self._wanted = wanted
        self._dry_run = dry_run
        self.at_once = at_once

    async def work(self, items: Sequence[Item]) -> Sequence[Result]:
        """See `Worker.work`. Letters of several queues are events of their own."""
        results: dict[str, Result] = {}
        events: dict[str, dict[str, bytes]] = {}
        for item in items:
            arn = (item.origin.get("Attributes") or {}).get("DeadLetterQueueSourceArn") or self._source_arn
            record = sqs_record(item.origin, queue_arn=arn, region=self._region, windowed=False)
            if not self._wanted(record):
                results[item.name] = Result("kept", "the filter does not match it")
            elif self._dry_run:
                results[item.name] = Result("planned", f"for {self._function}")
            else:
                events.setdefault(arn, {})[item.name] = encode(record)
        for arn, records in events.items():
            results |= await self._handle(arn, records)
        return [results[item.name] for item in items]

    async def _handle(self, arn: str, records: Mapping[str, bytes]) -> dict[str, Result]:
        mapping = route(self._config, arn, failed=None, wanted=self._function).mapping
        event = join(Record(name, "", None, 1, 0.0, math.inf, text) for name, text in records.items())
        outcome = await self._handlers.invoke(self._function, event)
        said = verdict(outcome, list(records), report=_reports(mapping), is_stream=False)
        return {
            name: Result("replayed", self._function)
            if name in said.done
            else Result("failed", f"{self._function}: {said.reason}")
            for name in records
        }


class LetterSending:
    """`Worker` for dead letters that go back to their queue.

    Args:
        target: where they go.
        source_arn: as for `LetterHandling`; for filters.
        wanted: see there.
        new_ids: whether a FIFO queue's deduplication ids are made anew.
        dry_run: see there.
    """

    at_once = 1

    def __init__(
        self,
        target: ReplayQueue,
        *,
        source_arn: str,
        wanted: Callable[[Mapping[str, Any]], bool],
        new_ids: bool,
        dry_run: bool,
    ) -> None:
        self._target = target
        self._source_arn = source_arn
        self._wanted = wanted
        self._new_ids = new_ids
        self._dry_run = dry_run
        self._held_groups: set[str] = set()

    async def work(self, items: Sequence[Item]) -> Sequence[Result]:
        """See `Worker.work`."""
        return [await self._send(item.origin) for item in items]

    async def _send(self, message: Mapping[str, Any]) -> Result:
        fifo = self._target.name.fifo
        if fifo and group_of(message) in self._held_groups:
            return Result("kept", f"one of its group {group_of(message)} before it was kept")
        region = self._target.arn.split(":")[3]
        if not self._wanted(sqs_record(message, queue_arn=self._source_arn, region=region, windowed=False)):
            return Result("kept", "the filter does not match it")
        why = kept_because(message, new_ids=self._new_ids, now=time.time()) if fifo else None
        if why is not None:
            return self._hold(message, Result("kept", why))
        if self._dry_run:
            return Result("planned", f"for {self._target.name.name}")
        new_id = str(uuid4()) if fifo and self._new_ids else None
        try:
            await self._target.send(as_sent(message, fifo=fifo, new_id=new_id))
        except SourceError as error:
            return self._hold(message, Result("failed", str(error)))
        return Result("replayed", f"sent to {self._target.name.name}")

    def _hold(self, message: Mapping[str, Any], result: Result) -> Result:
        """The result of a letter that stays, and its group waits behind it."""
        group = group_of(message)
        if group is not None:
            self._held_groups.add(group)
        return result


def _reports(mapping: AnyMapping | None) -> bool:
    return mapping is not None and mapping.report_batch_item_failures
