"""Which rooms the walk of `tests/unit/test_cancellation.py` answers for, and which of their awaits it does not reach."""

from __future__ import annotations

ROOMS = (
    "esmd/sqs",
    "esmd/streams",
    "esmd/function.py",
    "esmd/supervisor.py",
    "esmd/waiting.py",
    "esmd/tasks.py",
    "pollers/deletes.py",
    "pollers/visibility.py",
)

_NO_WAIT = "entering and leaving it never waits"
_ONE_READER = "waits only where several processes share a book; these scenarios have one reader"
_VANISHED = "a shard has to vanish from the listing; not walked"
_LATER_WINDOW = "a batch has to go on in a later window than it began; not walked"
_STORE = "the store has to fail while a shard is taken anew; not walked"
_FAR_BEHIND = "more than 64 pages that no filter matches have to wait for the store; not walked"

_BOOK = "esmd/streams/book.py Bookkeeper"
_READER = "esmd/streams/bookreader.py BookReader"
_RUNNER = "esmd/streams/runner.py StreamRunner"
_SHARD = "esmd/streams/shard.py ShardConsumer"

UNWALKED: dict[str, str] = {
    "esmd/function.py Function.take_place: async with asyncio.timeout(patience)": _NO_WAIT,
    "esmd/tasks.py Tasks.__aenter__: await self._group.__aenter__()": _NO_WAIT,
    "esmd/waiting.py stopped_before: async with asyncio.timeout_at(deadline + _SLACK)": _NO_WAIT,
    f"{_BOOK}._keep: await self._store.forget(self._mapping, book.identity, book.to_forget)": _VANISHED,
    f"{_BOOK}._keep: await self._write_leases(book)": _ONE_READER,
    f"{_BOOK}._write_leases: await self._table.assign(self._mapping, book.identity, writing)": _ONE_READER,
    f"{_BOOK}.begin: async with self._lock": _ONE_READER,
    f"{_BOOK}.ended: async with self._lock": _ONE_READER,
    f"{_BOOK}.flush: async with self._lock": _ONE_READER,
    f"{_BOOK}.give_back: async with self._lock": _ONE_READER,
    f"{_BOOK}.give_back: await self._write_leases(book)": _ONE_READER,
    f"{_BOOK}.listed: async with self._lock": _ONE_READER,
    f"{_BOOK}.take: async with self._lock": _ONE_READER,
    f"{_BOOK}.take: await self._write_leases(book)": _ONE_READER,
    f"{_READER}.give_back: await self._call('give_back', identity, shard_id, gone=gone)": _ONE_READER,
    f"{_READER}.ticket: await self._call('ticket', identity)": _ONE_READER,
    f"{_RUNNER}._consume_shard: await self._book.give_back(identity, shard_id, gone=gone)": _ONE_READER,
    f"{_RUNNER}._consume_shard: await self._take(identity, tasks)": _ONE_READER,
    f"{_RUNNER}._list: await self._book.ticket(identity)": _ONE_READER,
    f"{_RUNNER}._list: async with around.calls": "reads leave room for a listing in every scenario; not walked",
    f"{_RUNNER}._take: await mended(self._around, error)": _STORE,
    f"{_SHARD}._read: await self._take_in(page)": _FAR_BEHIND,
    f"{_SHARD}._take_in: await self.ledger.commit_soon(self._lanes, self._windows)": _FAR_BEHIND,
    f"{_SHARD}.window_for: await self._close_window(final)": _LATER_WINDOW,
    "esmd/streams/shard.py _LaneProgress.before_invoke: await self._shard.window_for(first)": _LATER_WINDOW,
    "esmd/streams/delivery.py Delivery._discard: await self._progress.before_invoke(discard.records[0])": _LATER_WINDOW,
    "esmd/streams/delivery.py Delivery._invoke: await self._progress.before_invoke(records[0])": _LATER_WINDOW,
}
"""By `Await.name`: why no scenario waits there."""
