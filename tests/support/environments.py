"""Environments without processes, for tests of the pool in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import signal

from esmd.invoke.pool import EnvironmentPool
from esmd.mappings.outcomes import FunctionError, Success

from support.invocations import Recorder, function

BROKEN = FunctionError("init", "ValueError", "no limit is set")


class Fake:
    """An environment without a process. It takes a second to load, and runs for as many seconds as the event says."""

    def __init__(self, stage, number, initialization_type, on_end):
        self.stage = stage
        self.pid = number
        self.initialization_type = initialization_type
        self.on_end = on_end
        self.ended = asyncio.get_running_loop().create_future()
        self.usable = True
        self.status = 0
        self.ran = []
        self.cause = None
        self.code = stage.code

    async def load(self, *, limit, request_id):
        failure = self.stage.failure
        try:
            await asyncio.wait([self.ended], timeout=self.stage.load_seconds)
        except asyncio.CancelledError:
            await self._gone("cancelled")
            raise
        if self.ended.done():
            return FunctionError("init", "Runtime.ExitError", f"RequestId: {request_id} Error: it was ended")
        if isinstance(failure, Exception):
            raise failure
        if failure is not None:
            await self._gone("init")
        elif self.stage.ends == "unseen":
            self.end()
        elif self.stage.ends == "at once":
            asyncio.get_running_loop().call_soon(self.end)
        return failure

    async def run(self, event, *, request_id):
        if not self.usable:
            return None
        self.ran.append(request_id)
        try:
            await asyncio.wait([self.ended], timeout=float(event))
        except asyncio.CancelledError:
            await self._gone("cancelled")
            raise
        if self.ended.done():
            return FunctionError("exit", "Runtime.ExitError", "it was ended")
        return Success(str(self.pid).encode())

    def leave(self, cause):
        self.usable = False
        self.cause = cause
        asyncio.get_running_loop().call_later(self.stage.leave_seconds, self.end)

    def terminate(self):
        self.stage.terminated.append(self.pid)

    def kill(self, cause):
        self.cause = self.cause or cause
        self.status = -signal.SIGKILL
        self.usable = False
        if self.stage.kill_seconds:
            asyncio.get_running_loop().call_later(self.stage.kill_seconds, self.end)
        else:
            self.end()

    async def gone(self):
        await self._gone("shutdown")

    async def _gone(self, cause):
        self.kill(cause)
        await asyncio.wait([self.ended])

    def end(self):
        self.usable = False
        if not self.ended.done():
            self.ended.set_result(self.status)
            self.on_end(self)


class Stage:
    """Launches fakes, and remembers them.

    Attributes:
        failure: of every load from now on: a `FunctionError`, or what is raised.
        refusal: why no process can be started.
        ends: each ends by itself when it is loaded: `unseen` before anybody knows that it is, `at once` after that.
        most_alive: how many there were at once.
        kill_seconds: how long one that is killed takes to end.
    """

    def __init__(self):
        self.telemetry = Recorder()
        self.environments = []
        self.launched_at = []
        self.terminated = []
        self.failure = None
        self.refusal = None
        self.ends = None
        self.most_alive = 0
        self.kill_seconds = 0.0
        self.load_seconds = 1.0
        self.leave_seconds = 0.1
        self.code = 1

    def launch(self, spec, /, *, telemetry, initialization_type, on_end):
        self.launched_at.append(now())
        if self.refusal is not None:
            raise self.refusal
        fake = Fake(self, len(self.environments) + 1, initialization_type, on_end)
        self.environments.append(fake)
        self.most_alive = max(self.most_alive, len(self.alive))
        return fake

    def pool(self, **changes):
        return EnvironmentPool(function("app:handle", **changes), launch=self.launch, telemetry=self.telemetry)

    @property
    def alive(self):
        return [each.pid for each in self.environments if not each.ended.done()]

    def gaps(self):
        return [round(later - earlier, 6) for earlier, later in itertools.pairwise(self.launched_at)]


def now():
    return asyncio.get_running_loop().time()


async def call(pool, seconds=0, request_id="1"):
    return await pool.invoke(str(seconds).encode(), request_id=request_id)


def later(pool, seconds=0, request_id="1"):
    return asyncio.create_task(call(pool, seconds, request_id))
