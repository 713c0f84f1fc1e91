"""Functions that somebody cancels: every invocation comes to an outcome, `close` closes, and no process is left."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
import tempfile
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from esmd.invoke import keeper
from esmd.invoke.command import CommandEnvironment
from esmd.invoke.environment import PythonEnvironment
from esmd.invoke.http import HttpInvoker
from esmd.invoke.inline import InlineInvoker
from esmd.invoke.lambda_api import LambdaInvoker
from esmd.invoke.pool import EnvironmentPool
from esmd.invoke.protocol import HttpSpec, LambdaSpec, StartFailed
from esmd.invoke.routing import RoutedInvoker
from esmd.mappings.outcomes import FunctionError, Success
from esmd.observe.events import EnvironmentStarted

from support.asked import asked
from support.environments import BROKEN, Stage
from support.functions import function_of
from support.invocations import Recorder, command, function, has_zombies, is_running
from support.mapping_lab import ScriptedInvoker
from support.programs import BY_HAND
from support.scripted_server import ScriptedServer, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from esmd.mappings.outcomes import Outcome

    from support.walker import How, Walk

LONGEST = 300.0
HOWS: Sequence[How] = ("cut", "late")
_REMOTE: dict[str, Any] = {"name": "orders", "region": "eu-west-1", "account_id": "000000000000"}


async def _started(invoker: Any) -> None:
    """Start it, whatever it takes."""
    for _ in range(20):
        with contextlib.suppress(StartFailed):
            await asked(invoker.start)
            return
        await asyncio.sleep(1)
    raise AssertionError("it does not start")


async def _invoked(invoker: Any, event: bytes, wanted: Callable[[Outcome], bool]) -> None:
    """Invoke until the outcome is one that is wanted: a cancellation may cost an outcome, and no more."""
    for _ in range(20):
        outcome = await asked(lambda: invoker.invoke(event, request_id="1"))
        if wanted(outcome):
            return
        await asyncio.sleep(0.5)
    raise AssertionError(f"it comes to no good: {outcome}")


async def _given_up(call: Coroutine[Any, Any, Any], after: float) -> None:
    """Make a call, and cancel it after so many seconds."""
    calling = asyncio.create_task(call)
    await asyncio.wait([calling], timeout=after)
    calling.cancel()
    await asyncio.wait([calling])


def _call(invoker: Any, event: bytes) -> Coroutine[Any, Any, Outcome]:
    call: Coroutine[Any, Any, Outcome] = invoker.invoke(event, request_id="1")
    return call


def _succeeds(outcome: Outcome) -> bool:
    return isinstance(outcome, Success)


def _is_late(outcome: Outcome) -> bool:
    return isinstance(outcome, FunctionError) and outcome.kind == "timeout"


@dataclass(kw_only=True)
class PoolScenario:
    """A pool of environments without processes. Call it with a walk.

    Attributes:
        seconds: how long each invocation takes; all begin at once.
        changes: of the function.
        fails: for so many seconds no environment can be loaded.
        failure: how it fails.
        ends: instead of failing, it ends by itself; see `Stage`.
        dies_in: seconds that an environment which is killed takes to end.
        leaves_in: seconds that an environment takes to leave.
        reloads: whether the code changes while they run.
    """

    seconds: Sequence[float] = (1, 1, 1)
    changes: dict[str, Any] = field(default_factory=dict)
    fails: float = 0.0
    failure: FunctionError | Exception = BROKEN
    ends: str | None = None
    dies_in: float = 0.0
    leaves_in: float = 0.1
    reloads: bool = False

    hows: ClassVar[Sequence[How]] = HOWS

    async def __call__(self, _: Walk) -> None:
        """Run it to its end, and see that nothing is left."""
        stage = Stage()
        stage.leave_seconds, stage.kill_seconds = self.leaves_in, self.dies_in
        if self.fails:
            stage.failure, stage.ends = (None, self.ends) if self.ends else (self.failure, None)
            for name in ("failure", "ends"):
                asyncio.get_running_loop().call_later(self.fails, setattr, stage, name, None)
        pool = stage.pool(**self.changes)
        async with asyncio.timeout(LONGEST):
            await _given_up(pool.start(), 0.5)
            starting = asyncio.create_task(_started(pool))
            calls = [asyncio.create_task(_invoked(pool, str(s).encode(), _succeeds)) for s in self.seconds]
            await asyncio.gather(_given_up(_call(pool, b"1"), 0.5), _given_up(_call(pool, b"9"), 1.5))
            if self.reloads:
                pool.reload(["app.py"])
            await asyncio.gather(starting, *calls)
            assert pool.running == 0
            await asyncio.sleep(20)  # those that are idle have left by now
            assert pool.environments <= 1, "one that was to leave keeps its place"
            await _invoked(pool, b"0", _succeeds)
            closing = asyncio.create_task(_invoked(pool, b"30", lambda outcome: not _succeeds(outcome)))
            await asyncio.sleep(3)
            await asked(pool.close)
            await closing
        assert stage.alive == []
        assert (pool.running, pool.environments) == (0, 0)
        assert stage.most_alive <= pool.limit


@dataclass(kw_only=True)
class ProcessScenario:
    """A pool of real processes. Call it with a walk.

    Attributes:
        make: makes the pool, in a folder of its own.
        events: of the invocations, each after the other.
        wanted: what each is to come to.
    """

    make: Callable[[Path, Recorder], Any]
    events: Sequence[bytes] = (b"null", b"null")
    wanted: Callable[[Outcome], bool] = _succeeds

    real_time: ClassVar[bool] = True
    hows: ClassVar[Sequence[How]] = HOWS

    @staticmethod
    def prepare() -> None:
        """Start what is one for all functions of the process, and stays."""
        keeper.ensure()

    async def __call__(self, _: Walk) -> None:
        """See that no process outlives it."""
        telemetry = Recorder()
        with tempfile.TemporaryDirectory(prefix="esmd-walk-") as folder:
            pool = self.make(Path(folder), telemetry)
            try:
                async with asyncio.timeout(60):
                    if self.wanted is _succeeds:
                        await _started(pool)
                    await _given_up(_call(pool, self.events[0]), 0.01)
                    for event in self.events:
                        await _invoked(pool, event, self.wanted)
            finally:
                await asked(pool.close)
        assert [each.pid for each in telemetry.of(EnvironmentStarted) if is_running(each.pid)] == []
        assert not has_zombies()


def _python(handler: str, **changes: Any) -> Callable[[Path, Recorder], Any]:
    return lambda _, telemetry: EnvironmentPool(
        function(handler, **changes), launch=PythonEnvironment.launch, telemetry=telemetry, leave_seconds=2.0
    )


def _program(text: str, **changes: Any) -> Callable[[Path, Recorder], Any]:
    def make(folder: Path, telemetry: Recorder) -> Any:
        file = folder / "runtime.py"
        file.write_text(textwrap.dedent(BY_HAND) + textwrap.dedent(text))
        spec = command([sys.executable, "-S", str(file)], working_directory=str(folder), **changes)
        return EnvironmentPool(spec, launch=CommandEnvironment.launch, telemetry=telemetry, leave_seconds=2.0)

    return make


_ANSWERS = """
    while True:
        request_id, event = ask()
        post(f"invocation/{request_id}/response", event)
"""
_FAILS_TO_LOAD = """
    post("init/error", b'{"errorType": "ValueError", "errorMessage": "no limit is set"}')
    time.sleep(60)
"""
_ENDS = """
    ask()
    sys.exit(1)
"""


def _not_loaded(outcome: Outcome) -> bool:
    return isinstance(outcome, FunctionError) and outcome.kind == "init"


def _ended(outcome: Outcome) -> bool:
    return isinstance(outcome, FunctionError) and outcome.kind == "exit"


@dataclass(kw_only=True)
class InlineScenario:
    """A handler in the daemon's own loop. Call it with a walk.

    Attributes:
        handler: whose.
        event: that it is given.
        changes: of the function.
        wanted: what it is to come to.
        real_time: a handler on a thread takes no virtual time.
    """

    handler: str
    event: bytes = b"null"
    changes: dict[str, Any] = field(default_factory=dict)
    wanted: Callable[[Outcome], bool] = _succeeds
    real_time: bool = False

    hows: ClassVar[Sequence[How]] = HOWS

    async def __call__(self, _: Walk) -> None:
        """See that every invocation has its outcome, and that none of the places is lost."""
        invoker = InlineInvoker(function(self.handler, **self.changes), telemetry=Recorder(), stop_seconds=0.2)
        async with asyncio.timeout(60):
            if self.wanted is not _not_loaded:
                await _started(invoker)
            for _ in range(2):
                await _invoked(invoker, self.event, self.wanted)
            await self._begun(invoker)
            await _given_up(_call(invoker, self.event), 0.01)
            while invoker.running:
                await asyncio.sleep(0.1)
            closing = asyncio.create_task(asked(lambda: invoker.invoke(self.event, request_id="2")))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await asked(invoker.close)
            await asked(invoker.close)
            await closing
            while invoker.running:
                await asyncio.sleep(0.1)

    async def _begun(self, invoker: InlineInvoker) -> None:
        """An invocation that nobody awaits comes to an outcome, whatever is cancelled."""
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        call = invoker.begin(_Event(self.event), request_id="3", done=done.set_result)
        if call is not None:
            await done


class _Event:
    """An event as a batch has it."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def is_longer_than(self, size: int) -> bool:
        return len(self._text) > size

    def value(self) -> object:
        return json.loads(self._text)


async def _over_http(_: Walk) -> None:
    async with ScriptedServer([answer(b'"done"')]) as server, asyncio.timeout(60):
        invoker = HttpInvoker(
            HttpSpec(**_REMOTE, url=f"{server.url}/", timeout=20.0, concurrency=2), telemetry=Recorder()
        )
        await _started(invoker)
        await asyncio.gather(*(_invoked(invoker, b"{}", _succeeds) for _ in range(2)))
        await _invoked(invoker, b"{}", _succeeds)
        assert invoker.running == 0
        await asked(invoker.close)


async def _over_http_closed(_: Walk) -> None:
    """Closed while it runs."""
    never = asyncio.Event()
    async with ScriptedServer([never]) as server, asyncio.timeout(60):
        invoker = HttpInvoker(
            HttpSpec(**_REMOTE, url=f"{server.url}/", timeout=20.0, concurrency=1), telemetry=Recorder()
        )
        calling = asyncio.create_task(_invoked(invoker, b"{}", lambda outcome: not _succeeds(outcome)))
        while not server.requests and not calling.done():
            await asyncio.sleep(0.001)
        await asked(invoker.close)
        await calling
        assert invoker.running == 0


class _Lambda:
    """A client of Lambda that takes its time; it does not know a function's configuration, and at first no log."""

    class exceptions:  # noqa: N801 - as the client has it
        class ResourceNotFoundException(Exception):  # noqa: N818
            pass

    class meta:  # noqa: N801
        endpoint_url = "http://127.0.0.1:1"

    def __init__(self) -> None:
        self.refuses = True

    async def get_function_configuration(self, **_: Any) -> Any:
        await asyncio.sleep(0.1)
        raise self.exceptions.ResourceNotFoundException

    async def get_alias(self, **_: Any) -> Any:
        await asyncio.sleep(0.1)

    async def invoke(self, **options: Any) -> Any:
        await asyncio.sleep(0.1)
        if options["LogType"] != "None":
            error = _NotSupportedError("no log")
            error.response = {"Error": {"Code": "X"}, "ResponseMetadata": {"HTTPStatusCode": 501}}
            raise error
        return {"Payload": _Payload(b'"done"'), "ExecutedVersion": "$LATEST"}


class _NotSupportedError(Exception):
    response: dict[str, Any]


class _Payload:
    def __init__(self, body: bytes) -> None:
        self._body = io.BytesIO(body)

    async def __aenter__(self) -> Self:
        await asyncio.sleep(0.1)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0.1)

    async def iter_chunks(self, _: int) -> Any:
        while chunk := self._body.read(3):
            await asyncio.sleep(0.1)
            yield chunk


class _Clients:
    """Has one client, after a while."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def client(self, *_: Any, **__: Any) -> tuple[Any, None]:
        await asyncio.sleep(0.1)
        return self._client, None


async def _by_lambda(_: Walk) -> None:
    spec = LambdaSpec(**_REMOTE, target="f", qualifier="live", timeout=20.0, concurrency=2)
    invoker = LambdaInvoker(spec, clients=_Clients(_Lambda()), telemetry=Recorder())  # type: ignore[arg-type]
    async with asyncio.timeout(LONGEST):
        await _started(invoker)
        await asyncio.gather(*(_invoked(invoker, b"{}", _succeeds) for _ in range(2)))
        closing = asyncio.create_task(_invoked(invoker, b"{}", lambda outcome: not _succeeds(outcome)))
        await asyncio.sleep(0.15)
        await asked(invoker.close)
        await closing
        assert invoker.running == 0


async def _routed(_: Walk) -> None:
    async def handle(_: Any) -> None:
        await asyncio.sleep(0.1)

    class Slow(ScriptedInvoker):
        async def start(self) -> None:
            await asyncio.sleep(0.1)

    versions = [function_of(Slow(handle), name=name) for name in ("old", "new")]
    invoker = RoutedInvoker(dict.fromkeys(versions, 50))
    async with asyncio.timeout(LONGEST):
        await _started(invoker)
        for _ in range(4):
            await _invoked(invoker, b'{"Records": []}', _succeeds)
        await asked(invoker.close)
        assert [version.busy for version in versions] == [0, 0]


for _each in (_over_http, _over_http_closed):
    _each.real_time = True  # type: ignore[attr-defined]
for _each in (_over_http, _over_http_closed, _by_lambda, _routed):
    _each.hows = HOWS  # type: ignore[attr-defined]

SCENARIOS: dict[str, Any] = {
    "pool": PoolScenario(changes={"concurrency": 2, "idle_timeout": 5.0}),
    "pool that cannot load": PoolScenario(fails=3.0, changes={"concurrency": 2, "idle_timeout": 5.0}),
    "pool that cannot load by a defect": PoolScenario(fails=3.0, failure=RuntimeError("a defect"), dies_in=0.3),
    "pool whose environments end unseen": PoolScenario(fails=3.0, ends="unseen", dies_in=0.3),
    "pool whose environments end at once": PoolScenario(fails=3.0, ends="at once", dies_in=0.3),
    "pool whose environments do not leave": PoolScenario(
        leaves_in=1000.0, changes={"concurrency": 2, "idle_timeout": 5.0, "provisioned_concurrency": 1}
    ),
    "pool that is reloaded": PoolScenario(reloads=True, changes={"concurrency": 3, "idle_timeout": 5.0}),
    "worker": ProcessScenario(make=_python("answering:echo")),
    "worker that cannot load": ProcessScenario(make=_python("nowhere:echo"), events=[b"null"], wanted=_not_loaded),
    "program": ProcessScenario(make=_program(_ANSWERS)),
    "program that cannot load": ProcessScenario(make=_program(_FAILS_TO_LOAD), events=[b"null"], wanted=_not_loaded),
    "program that ends": ProcessScenario(make=_program(_ENDS), events=[b"null"], wanted=_ended),
    "inline": InlineScenario(handler="answering:nap_async", event=b"0.1"),
    "inline, on a thread": InlineScenario(handler="answering:echo", real_time=True),
    "inline, late": InlineScenario(
        handler="failing:hang_async", event=b"60", changes={"timeout": 1.0}, wanted=_is_late
    ),
    "inline, late and obstinate": InlineScenario(
        handler="failing:ignore_cancellation", event=b"3", changes={"timeout": 1.0, "concurrency": 2}, wanted=_is_late
    ),
    "inline that cannot load": InlineScenario(handler="nowhere:echo", wanted=_not_loaded),
    "HTTP": _over_http,
    "HTTP, closed while it runs": _over_http_closed,
    "Lambda": _by_lambda,
    "routed": _routed,
}
