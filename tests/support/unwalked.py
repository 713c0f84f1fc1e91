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

UNWALKED: dict[str, str] = {
    "esmd/function.py Function.take_place: async with asyncio.timeout(patience)": _NO_WAIT,
    "esmd/tasks.py Tasks.__aenter__: await self._group.__aenter__()": _NO_WAIT,
    "esmd/waiting.py stopped_before: async with asyncio.timeout_at(deadline + _SLACK)": _NO_WAIT,
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
    "esmd/api/checkpoint_routes.py routes.change: await request.read()": _BODY_READ,
    "esmd/api/security.py Guard.refuses_signature: await request.read()": _BODY_READ,
    "esmd/api/server.py make_app.answered: await guard.refuses_signature(bounded)": _BODY_READ,
    "esmd/processes/channel.py Channel.finish: await asyncio.wait(self._serving)": _FLEET,
}
"""By `Await.name`: why no scenario waits there."""

SOMETIMES = frozenset(
    {
        "esmd/positions/live.py LivePositions.move: await self._carry_out(change)",
        "esmd/sqs/batches.py Batches._resume: await self._give_back(ended.never_started)",
    }
)
"""Those at which a run waits or not by the turns that sockets take: nothing follows from their being walked, or missed."""
