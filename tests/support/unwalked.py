# ruff: noqa: E501 - a name is as long as what it names
"""Which rooms the walk of `tests/unit/test_cancellation.py` answers for, and which of their awaits can never wait.

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

_AT_ONCE = "done without a turn of the loop: the socket is there and bound, and no part of the application has to start"
_BODY_READ = "the guard has read the whole body before"
_NOTHING = "there is no await in what it begins; its end is walked"
_NO_WAIT = "entering and leaving it never waits"

UNWALKED: dict[str, str] = {
    "esmd/function.py Function.take_place: async with asyncio.timeout(patience)": _NO_WAIT,
    "esmd/tasks.py Tasks.__aenter__: await self._group.__aenter__()": _NO_WAIT,
    "esmd/waiting.py stopped_before: async with asyncio.timeout_at(deadline + _SLACK)": _NO_WAIT,
    "esmd/processes/child.py Child._run: await mappings.begin()": "a child has no registry, and waits for none",
    "esmd/processes/child.py Child._serve: await self._trail.trace(*request.arguments)": _NOTHING,
    "esmd/cli/launch.py launch: await beside.enter_async_context(_served(parts, environ))": _NOTHING,
    "esmd/cli/launch.py launch: await beside.enter_async_context(status.running())": _NOTHING,
    "esmd/cli/launch.py launch: await beside.enter_async_context(watched(paths, watching, reload, telemetry))": _NOTHING,
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
}
"""By `Await.name`: why nothing can wait there. There is no turn of the loop in which a cancellation could strike."""
