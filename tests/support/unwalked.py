# ruff: noqa: E501 - a name is as long as what it names
"""Which rooms the walk of `tests/unit/test_cancellation.py` answers for, and which of their awaits it does not reach.

They are those of the daemon, and the replay's, which takes letters out of queues. Other commands (`esmd/cli` but for
`launch.py`, `esmd/dev`, `esmd/doctor`, `esmd/importing`) and what serves tests (`esmd/testing`) stay out: whoever interrupts
them ends them.
"""

from __future__ import annotations

ROOMS = (
    "esmd/api",
    "esmd/cli/launch.py",
    "esmd/control",
    "esmd/daemon.py",
    "esmd/destinations",
    "esmd/function.py",
    "esmd/invoke",
    "esmd/positions",
    "esmd/processes",
    "esmd/replay",
    "esmd/service.py",
    "esmd/sqs",
    "esmd/state",
    "esmd/status",
    "esmd/streams",
    "esmd/supervisor.py",
    "esmd/tasks.py",
    "esmd/waiting.py",
    "pollers",
)

_AT_ONCE = "what it awaits is done without a turn of the loop"
_CANCELLED = "only on the way out of a cancellation, and a walk strikes once"
_FIRST = "what it makes is kept: the suspensions that wait for it are those of whoever asked first"
_BODY_READ = "the guard has read the whole body before"
_OTHER_LANE = "the other lane is walked by itself; these lines only lead to it"
_ENDED = "a process has to end in the same moment; not walked"
_TLS = "needs a server with TLS; not walked"
_AT_THE_END = "a removal has to be under way at the daemon's end in the same moment; not walked"
_EXPIRED = "a kept connection has to end while a request leaves on it; not walked"

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
    f"{_RUNNER}._list: async with around.calls": "reads leave room for a listing in every scenario; not walked",
    f"{_RUNNER}._take: await mended(self._around, error)": _STORE,
    f"{_SHARD}._read: await self._take_in(page)": _FAR_BEHIND,
    f"{_SHARD}._take_in: await self.ledger.commit_soon(self._lanes, self._windows)": _FAR_BEHIND,
    f"{_SHARD}.window_for: await self._close_window(final)": _LATER_WINDOW,
    "esmd/streams/shard.py _LaneProgress.before_invoke: await self._shard.window_for(first)": _LATER_WINDOW,
    "esmd/streams/delivery.py Delivery._discard: await self._progress.before_invoke(discard.records[0])": _LATER_WINDOW,
    "esmd/streams/delivery.py Delivery._invoke: await self._progress.before_invoke(records[0])": _LATER_WINDOW,
    "esmd/processes/child.py Child._run: await mappings.begin()": _AT_ONCE,
    "esmd/processes/child.py Child._serve: await self._trail.trace(*request.arguments)": _AT_ONCE,
    "esmd/cli/launch.py launch: await beside.enter_async_context(_served(parts, environ))": _AT_ONCE,
    "esmd/cli/launch.py launch: await beside.enter_async_context(status.running())": _AT_ONCE,
    "esmd/cli/launch.py launch: await beside.enter_async_context(watched(paths, watching, reload, telemetry))": _AT_ONCE,
    "esmd/api/server.py _Server.start: await loop.create_server(self._connection, sock=own, start_serving=False)": _AT_ONCE,
    "esmd/api/server.py _Server.start: await loop.create_unix_server(self._connection, sock=own, start_serving=False, **_KEPT)": _AT_ONCE,
    "esmd/api/server.py _Server.start: await self._runner.setup()": _AT_ONCE,
    "esmd/invoke/runtime_api.py RuntimeApi.serve: await asyncio.get_running_loop().create_server(lambda: Connection(self), sock=self._listener, start_serving=False)": _AT_ONCE,
    "pollers/wire_clients.py WireClients.lane: await route_of(client, operation, **parameters)": _AT_ONCE,
    "pollers/wire_routes.py route_of: await getattr(client, operation)(**parameters)": _AT_ONCE,
    "pollers/wire_sqs.py WireSqs.look_up: await self._wires.lane(client, 'receive_message', QueueUrl=queue.url)": _AT_ONCE,
    "pollers/wire_streams.py _WireStream._find_lane: await self._client()": _AT_ONCE,
    "pollers/wire_streams.py _WireStream._get_records: await self._find_lane()": _AT_ONCE,
    "pollers/wire_streams.py _WireStream._get_shard_iterator: await self._find_lane()": _AT_ONCE,
    "pollers/wire_clients.py WireClients._wire_like: await self._trust()": _AT_ONCE,
    "esmd/api/security.py with_body: async with asyncio.timeout(BODY_SECONDS)": _NO_WAIT,
    "esmd/api/status_routes.py snapshot_of: async with asyncio.timeout(_LONGEST)": _NO_WAIT,
    "esmd/daemon.py Daemon._drain: async with asyncio.timeout(_HALT_PATIENCE)": _NO_WAIT,
    "esmd/invoke/lambda_api.py LambdaInvoker.start: async with asyncio.timeout(START_SECONDS)": _NO_WAIT,
    "esmd/invoke/remote.py RemoteInvoker.invoke: async with call.limit": _NO_WAIT,
    "pollers/connection_pool.py Pool._connect: async with asyncio.timeout(self._connect_seconds)": _NO_WAIT,
    "esmd/api/server.py serve: await server.close()": _CANCELLED,
    "esmd/invoke/command.py CommandEnvironment.load: await process.gone('cancelled')": _CANCELLED,
    "esmd/invoke/pool.py EnvironmentPool.start: await self._shrink()": _CANCELLED,
    "esmd/state/lazy.py LazyStateStore._opened: await unhurried(store.end())": _CANCELLED,
    "esmd/state/sqlite.py SqliteStateStore.open: await asyncio.shield(closing)": _CANCELLED,
    "pollers/boto_stream.py BotoStream._get_records: await self._client()": _FIRST,
    "pollers/boto_stream.py BotoStream._get_shard_iterator: await self._client()": _FIRST,
    "pollers/wire_sqs.py WireSqs.look_up: await self._clients.client('sqs', self._region)": _FIRST,
    "pollers/localstack.py LocalStackClients.client: async with self._making": _FIRST,
    "pollers/localstack.py LocalStackClients.client: await self._make(service, connection, raw=raw)": _FIRST,
    "pollers/localstack.py LocalStackClients._make: await self._open.enter_async_context(create(service, region_name=connection.region, endpoint_url=connection.endpoint_url, config=AioConfig(max_pool_connections=0 if is_lambda else self._pool, connect_timeout=5, read_timeout=(MAX_INVOCATION_SECONDS if is_lambda else MAX_POLL_SECONDS) + 10, retries={'mode': 'standard', 'total_max_attempts': 1}, tcp_keepalive=True, parameter_validation=not raw, user_agent='esmd'), **keys))": _FIRST,
    "pollers/wire_clients.py WireClients.lane: async with self._making": _FIRST,
    "pollers/wire_clients.py WireClients.lane: await self._wire_like(client, route)": _FIRST,
    "esmd/state/lazy.py LazyStateStore.look: async with self._opening": _FIRST,
    "esmd/invoke/inline.py InlineInvoker.start: await self._loaded()": _FIRST,
    "esmd/positions/change.py carry_out: await store.begin(change.mapping, planned.identity)": _FIRST,
    "esmd/api/lambda_api/routes.py _body: await request.read()": _BODY_READ,
    "esmd/api/lambda_api/routes.py _call: await _body(request)": _BODY_READ,
    "esmd/api/checkpoint_routes.py routes.change: await request.read()": _BODY_READ,
    "esmd/api/security.py Guard.refuses_signature: await request.read()": _BODY_READ,
    "esmd/api/server.py make_app.answered: await guard.refuses_signature(bounded)": _BODY_READ,
    "pollers/wire_sqs.py WireSqs.change_visibility: await self._boto.change_visibility(queue, timeouts)": _OTHER_LANE,
    "pollers/wire_sqs.py WireSqs.delete: await self._boto.delete(queue, handles)": _OTHER_LANE,
    "pollers/wire_sqs.py WireSqs.receive: await self._boto.receive(queue, most=most, wait=wait, visibility_timeout=visibility_timeout)": _OTHER_LANE,
    "pollers/wire_streams.py _WireStream._get_records: await super()._get_records(request)": _OTHER_LANE,
    "pollers/wire_streams.py _WireStream._get_shard_iterator: await super()._get_shard_iterator(request)": _OTHER_LANE,
    "esmd/invoke/environment.py PythonEnvironment.load: await self._process.gone('itself')": _ENDED,
    "esmd/invoke/pool.py EnvironmentPool._invoke: await member.environment.gone()": _ENDED,
    "esmd/invoke/pool.py EnvironmentPool._load: await environment.gone()": _ENDED,
    "esmd/invoke/pool.py EnvironmentPool.close: await asyncio.gather(*(member.environment.gone() for member in self._members))": _ENDED,
    "pollers/wire_clients.py WireClients._trust: await asyncio.to_thread(tls_context, bundle)": _TLS,
    "esmd/control/mapping_set.py MappingSet.close: await self._roster.close()": _AT_THE_END,
    "esmd/control/roster.py Roster.close: await asyncio.wait([chore.ended for chore in self._chores])": _AT_THE_END,
    "esmd/control/slot.py Slot.run: await _first_of(self.pending[0], self._wake)": _AT_THE_END,
    "pollers/connection_pool.py Pool.request: await self._open()": _EXPIRED,
    "pollers/sqs.py BotoSqs.receive: await self._client()": _FIRST,
    "pollers/sqs.py BotoSqs.delete: await self._client()": _FIRST,
    "pollers/sqs.py BotoSqs.change_visibility: await self._client()": _FIRST,
    "pollers/kinesis.py BotoKinesis._list_page: await self._list({**self._named, 'ExclusiveStartShardId': next(reversed(shards)), 'MaxResults': LIST_PAGE})": "an emulator has to refuse its own token; not walked",
    "pollers/wire_credentials.py Credentials.renewed: async with self._renewing": "two calls have to see the same token expire; not walked",
    "esmd/invoke/http.py HttpInvoker._call: await read_at_most(response.content.iter_any())": "an answer has to come in pieces; not walked",
    "esmd/api/lambda_api/invoking.py Background._run: await function.take_place(_PATIENCE)": "an invocation has to wait for a place just then",
    "pollers/dynamodb.py BotoDynamoStreams._describe_table: await client.describe_table(TableName=name)": "a table whose stream is not named; not walked",
    "pollers/dynamodb.py BotoDynamoStreams._describe_table: await self._clients.client('dynamodb', self._region, raw=True)": "a table whose stream is not named; not walked",
    "pollers/dynamodb.py BotoDynamoStreams._latest: await self._describe_table(name)": "a table whose stream is not named; not walked",
    "pollers/wire_streams.py WireDynamoStreams._describe_table: await lane.ask(DESCRIBE_TABLE, encode({'TableName': name}), lists=(), within=LOOK_UP_SECONDS)": "a table whose stream is not named; not walked",
    "pollers/wire_streams.py WireDynamoStreams._describe_table: await super()._describe_table(name)": "a table whose stream is not named; not walked",
    "pollers/wire_sqs.py WireSqs.depth: await self._boto.depth(queue)": _OTHER_LANE,
    "pollers/wire_streams.py _WireStream._find_lane: await self._wires.lane(client, 'get_records', ShardIterator='unused', **self._told_apart_by())": _FIRST,
    "pollers/dynamodb.py BotoDynamoStreams.describe: await self._latest(self._table)": "a table whose stream is not named; not walked",
}
"""By `Await.name`: why no scenario waits there."""

SOMETIMES = frozenset(
    {
        "esmd/api/checkpoint_routes.py routes.change: await request.read()",
        "esmd/api/client.py DaemonClient.__aexit__: await self._session.close()",
        "esmd/api/client.py DaemonClient._call: await response.text()",
        "esmd/api/lambda_api/invoking.py Background._run: await function.take_place(_PATIENCE)",
        "esmd/api/lambda_api/routes.py _body: await request.read()",
        "esmd/api/lambda_api/routes.py _call: await _body(request)",
        "esmd/invoke/http.py HttpInvoker._call: await read_at_most(response.content.iter_any())",
        "esmd/positions/change.py stored_of: await store.load(mapping, summary.identity.arn)",
        "esmd/positions/live.py LivePositions.move: await self._carry_out(change)",
        "esmd/sqs/batches.py Batches._resume: await self._give_back(ended.never_started)",
        "pollers/connection_pool.py Pool._another: await self._open()",
        "pollers/connection_pool.py Pool.request: await connection.send(request, within)",
    }
)
"""Those at which a run waits or not by the turns that sockets take: nothing follows from their being walked, or missed."""
