# ruff: noqa: E501 - a name is as long as what it names
"""Which rooms the walk of `tests/unit/test_cancellation.py` answers for, and which of their awaits it does not reach."""

from __future__ import annotations

ROOMS = (
    "esmd/api",
    "esmd/control",
    "esmd/daemon.py",
    "esmd/destinations",
    "esmd/function.py",
    "esmd/invoke",
    "esmd/positions",
    "esmd/processes/channel.py",
    "esmd/processes/desk.py",
    "esmd/processes/remote.py",
    "esmd/processes/status.py",
    "esmd/processes/trail.py",
    "esmd/service.py",
    "esmd/sqs",
    "esmd/state",
    "esmd/streams",
    "esmd/supervisor.py",
    "esmd/tasks.py",
    "esmd/waiting.py",
    "pollers",
)

_AT_ONCE = "done without a turn of the loop: the socket is there and bound, and no part of the application has to start"
_CANCELLED = "only on the way out of a cancellation, and a walk strikes once"
_FIRST = "what it makes is kept: the suspensions that wait for it are those of whoever asked first"
_BODY_READ = "the guard has read the whole body before"
_FLEET = "needs a process of its own, or a book; `tests/unit/test_processes_fleet.py` and the kills have them"

_NO_WAIT = "entering and leaving it never waits"
_ONE_READER = "waits only where several processes share a book; these scenarios have one reader"
_DOUBTED = "a listing has to lose a page; not walked (`tests/unit/test_stream_shards.py` has it)"
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
    f"{_BOOK}.listed: await self._keep(book, reader)": _DOUBTED,
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
    "esmd/api/server.py _Server.start: await loop.create_server(self._connection, sock=own, start_serving=False)": _AT_ONCE,
    "esmd/api/server.py _Server.start: await loop.create_unix_server(self._connection, sock=own, start_serving=False, **_KEPT)": _AT_ONCE,
    "esmd/api/server.py _Server.start: await self._runner.setup()": _AT_ONCE,
    "esmd/invoke/runtime_api.py RuntimeApi.serve: await asyncio.get_running_loop().create_server(lambda: Connection(self), sock=self._listener, start_serving=False)": _AT_ONCE,
    "esmd/api/security.py with_body: async with asyncio.timeout(BODY_SECONDS)": _NO_WAIT,
    "esmd/api/status_routes.py snapshot_of: async with asyncio.timeout(_LONGEST)": _NO_WAIT,
    "esmd/daemon.py Daemon._drain: async with asyncio.timeout(_HALT_PATIENCE)": _NO_WAIT,
    "esmd/invoke/lambda_api.py LambdaInvoker.start: async with asyncio.timeout(START_SECONDS)": _NO_WAIT,
    "esmd/invoke/remote.py RemoteInvoker.invoke: async with call.limit": _NO_WAIT,
    "pollers/connection_pool.py Pool._connect: async with asyncio.timeout(self._connect_seconds)": _NO_WAIT,
    "esmd/state/lazy.py LazyStateStore._opened: await unhurried(store.end())": _CANCELLED,
    "esmd/state/sqlite.py SqliteStateStore.open: await asyncio.shield(closing)": _CANCELLED,
    "esmd/state/lazy.py LazyStateStore.look: async with self._opening": _FIRST,
    "esmd/positions/change.py carry_out: await store.begin(change.mapping, planned.identity)": _FIRST,
    "esmd/api/checkpoint_routes.py routes.change: await request.read()": _BODY_READ,
    "esmd/api/security.py Guard.refuses_signature: await request.read()": _BODY_READ,
    "esmd/api/server.py make_app.answered: await guard.refuses_signature(bounded)": _BODY_READ,
    "esmd/processes/channel.py Channel.finish: await asyncio.wait(self._serving)": _FLEET,
    "esmd/processes/desk.py Desk._serve: await getattr(self._keepers[mapping], method)(process, *rest, **options)": _FLEET,
}
"""By `Await.name`: why no scenario waits there."""

SOMETIMES = frozenset(
    {
        "esmd/positions/change.py stored_of: await store.load(mapping, summary.identity.arn)",
        "esmd/positions/live.py LivePositions.move: await self._carry_out(change)",
        "esmd/sqs/batches.py Batches._resume: await self._give_back(ended.never_started)",
    }
)
"""Those at which a run waits or not by the turns that sockets take: nothing follows from their being walked, or missed."""
