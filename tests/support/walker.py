"""Cancels code at its n-th suspension: a loop whose tasks are wrapped, and a run of a scenario for every n.

A suspension is a coroutine's yield to the loop below an `await` of esmd. What is done there:

| how     | what happens at the n-th suspension                                                          |
|---------|----------------------------------------------------------------------------------------------|
| `look`  | nothing: the run counts                                                                      |
| `cut`   | the task that suspends there is cancelled                                                    |
| `late`  | the same, in the moment when what it waits for has come: the result is lost to the canceller |
| `halt`  | the main task is cancelled, wherever it is                                                   |
| `drain` | the stop is set                                                                              |

After every run: no task and no open file is left, no coroutine was never awaited, and no loop has had an exception that
nobody took.
"""

from __future__ import annotations

import asyncio
import gc
import types
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from unittest.mock import patch

import looptime

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

How = Literal["look", "cut", "late", "halt", "drain"]
HOWS: tuple[How, ...] = ("cut", "late", "halt", "drain")

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("esmd", "pollers", "mappings", "config")
_MOST = 20_000
"""Suspensions of a run, at most: whatever spins without time going on is found out."""

_NOOP_CYCLES = 3
"""Turns of a loop that does nothing before its time goes on; looptime's own 42 are most of what a run costs."""


class Place(NamedTuple):
    """Where a frame of esmd is suspended: its file below the checkout, its function, the line."""

    file: str
    function: str
    line: int


@dataclass
class Walk:
    """One run of a scenario.

    Attributes:
        at: the suspension at which something happens, counted from 1.
        where: or the first one at all of these places; for scenarios whose suspensions are not the same in every run.
        how: what happens there.
        main: what a halt cancels; a scenario sets it.
        stop: what a drain sets; a scenario sets it.
        suspensions: the places of each, the innermost last.
        hit: those of the n-th, once something has happened there.
    """

    at: int = 0
    where: frozenset[Place] = frozenset()
    how: How = "look"
    main: asyncio.Task[Any] | None = None
    stop: Callable[[], None] | None = None
    suspensions: list[tuple[Place, ...]] = field(default_factory=list)
    hit: tuple[Place, ...] | None = None

    def suspended(self, coroutine: Any, awaited: Any) -> None:
        """A task of the scenario yields to the loop."""
        places = tuple(_places(coroutine))
        if not places or len(self.suspensions) >= _MOST:
            return
        self.suspensions.append(places)
        if self.hit is None and self._is_it(places) and self.how != "look" and self._act(awaited):
            self.hit = places

    def _is_it(self, places: tuple[Place, ...]) -> bool:
        return self.where.issubset(places) if self.where else len(self.suspensions) == self.at

    def _act(self, awaited: Any) -> bool:
        task = asyncio.current_task()
        assert task is not None
        match self.how:
            case "cut":
                return task.cancel()
            case "late" if isinstance(awaited, asyncio.Future):
                # Ours is called before the task's own: it is cancelled while it is about to go on.
                awaited.add_done_callback(lambda done: done.cancelled() or task.cancel())
                return True
            case "halt" if self.main is not None and not self.main.done():
                return self.main.cancel()
            case "drain" if self.stop is not None:
                self.stop()
                return True
        return False


class _Probe(Coroutine[Any, Any, Any]):
    """A task's coroutine, watched."""

    def __init__(self, coroutine: Any, walk: Walk) -> None:
        self._coroutine = coroutine
        self._walk = walk

    def send(self, value: Any) -> Any:
        return self._yielded(self._coroutine.send(value))

    def throw(self, *error: Any) -> Any:
        return self._yielded(self._coroutine.throw(*error))

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Iterator[Any]:
        raise NotImplementedError

    def _yielded(self, awaited: Any) -> Any:
        self._walk.suspended(self._coroutine, awaited)
        return awaited


@cache
def file_of(code_file: str) -> str | None:
    """A code object's file below the checkout; None if it is not esmd's own."""
    path = Path(code_file)
    if not path.is_absolute() or not path.resolve().is_relative_to(ROOT):
        return None
    relative = path.resolve().relative_to(ROOT)
    return str(relative) if relative.parts[0] in FOLDERS and "testing" not in relative.parts else None


def _places(awaitable: Any) -> Iterator[Place]:
    """The suspended frames of esmd, from a task's own to the innermost."""
    while awaitable is not None:
        if isinstance(awaitable, types.CoroutineType):
            frame, inner = awaitable.cr_frame, awaitable.cr_await
        elif isinstance(awaitable, types.AsyncGeneratorType):
            frame, inner = awaitable.ag_frame, awaitable.ag_await
        elif isinstance(awaitable, types.GeneratorType):
            frame, inner = awaitable.gi_frame, awaitable.gi_yieldfrom
        else:
            # An asynchronous generator's `asend` or `athrow` does not tell what it drives, but holds it.
            held = (each for each in gc.get_referents(awaitable) if isinstance(each, types.AsyncGeneratorType))
            awaitable = next(held, None)
            continue
        if frame is not None and (file := file_of(frame.f_code.co_filename)) is not None:
            # Up to Python 3.11 a comprehension has a frame of its own.
            function = frame.f_code.co_qualname.replace("<locals>.", "").replace(".<listcomp>", "")
            yield Place(file, function, frame.f_lineno)
        awaitable = inner


def run(scenario: Callable[[Walk], Awaitable[None]], walk: Walk) -> Walk:
    """Run a scenario once, in a loop of its own; under virtual time unless it has an attribute `real_time`.

    A method `prepare` of it makes what stays.

    Raises:
        AssertionError: an invariant does not hold; a note says where something was done.
    """
    real_time = getattr(scenario, "real_time", False)
    getattr(scenario, "prepare", _nothing)()
    files = open_files()
    loop = asyncio.new_event_loop() if real_time else looptime.new_event_loop(noop_cycles=_NOOP_CYCLES)
    complaints: list[str] = []

    def complain(_: Any, context: dict[str, Any]) -> None:
        complaints.append(f"{context['message']}: {context.get('exception')!r} {context.get('task') or ''}")

    def make_task(loop: Any, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(_Probe(coroutine, walk), loop=loop, **options)

    async def whole() -> None:
        await scenario(walk)
        for _ in range(5):
            await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks are left: {left}"

    loop.set_exception_handler(complain)
    with (
        warnings.catch_warnings(record=True) as warned,
        patch("aiohttp.web_protocol.asyncio", _Asyncio()),
    ):
        warnings.simplefilter("always")
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                loop.set_task_factory(make_task)
                runner.run(whole())
            gc.collect()
            complaints += [str(each.message) for each in warned]
            assert not complaints, complaints
            assert open_files() <= files, "a file or a socket is left"
            assert len(walk.suspensions) < _MOST, "it spins"
        except BaseException as error:
            error.add_note(f"{walk.how} at suspension {walk.where or walk.at} of {len(walk.suspensions)}: {walk.hit}")
            raise
    return walk


class _Asyncio:
    """asyncio for aiohttp's server, which makes tasks that no factory sees where Python can begin them at once."""

    @staticmethod
    def Task(coroutine: Any, *, loop: asyncio.AbstractEventLoop, **_: Any) -> asyncio.Task[Any]:  # noqa: N802 - its name
        return loop.create_task(coroutine)

    @staticmethod
    def create_task(coroutine: Any, **_: Any) -> asyncio.Task[Any]:
        return asyncio.create_task(coroutine)

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)


def _nothing() -> None:
    """Prepare nothing."""


def open_files() -> int:
    """How many descriptors this process has; 0 where nobody can tell."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


Scenario = Callable[[Walk], Awaitable[None]]


def hows_of(scenario: Scenario) -> Sequence[How]:
    """What may be done to it: all that there is, unless its `hows` say otherwise."""
    found: Sequence[How] = getattr(scenario, "hows", HOWS)
    return found


_TRIES = 3


def _struck(scenario: Scenario, where: frozenset[Place], how: How) -> Walk:
    """Do it at places that a run may pass without waiting there: a few runs, until one does."""
    for _ in range(_TRIES):
        walk = run(scenario, Walk(where=where, how=how))
        if walk.hit is not None:
            break
    return walk


class Tour:
    """Walks through scenarios, each in turn; remembers the places at which something was done.

    Args:
        scenarios: each runs to its end whatever happens, and judges what has come of it.
    """

    def __init__(self, scenarios: Mapping[str, Scenario]) -> None:
        self._scenarios = scenarios
        self._hits: dict[tuple[str, How], set[Place]] = {}
        self._sample: dict[str, dict[int, frozenset[Place]]] = {}

    def sampled(self, name: str, how: How) -> set[Place]:
        """Do it where the scenario waits at a place at which none before it did; the places, once done."""
        if (name, how) not in self._hits:
            scenario = self._scenarios[name]
            steady = not getattr(scenario, "real_time", False)
            chosen = self.chosen()[name].items()
            hits: set[Place] = set()
            for at, places in chosen:
                if steady:
                    hits.update(run(scenario, Walk(at=at, how=how)).hit or ())
                if not places <= hits:  # no run is quite like another: sets are ordered anew, waits have a jitter
                    hits.update(_struck(scenario, places, how).hit or ())
            self._hits[name, how] = hits
        return self._hits[name, how]

    def everywhere(self, name: str, how: How) -> int:
        """Do it at every suspension, until there is no n-th; how many there were."""
        at = 0
        while True:
            at += 1
            if len(run(self._scenarios[name], Walk(at=at, how=how)).suspensions) < at:
                return at - 1

    def chosen(self) -> dict[str, dict[int, frozenset[Place]]]:
        """Of every scenario, the suspensions with places that none before them had, and these places."""
        if not self._sample:
            known: set[Place] = set()
            sample: dict[str, dict[int, frozenset[Place]]] = {}
            for name, scenario in self._scenarios.items():
                chosen = sample[name] = {}
                for at, places in enumerate(run(scenario, Walk()).suspensions, 1):
                    if new := frozenset(places) - known:
                        chosen[at] = new
                        known |= new
            self._sample = sample
        return self._sample
