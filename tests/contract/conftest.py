"""Fixtures of the suite that every form of function passes (`test_functions_*.py`)."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from esmd.invoke import keeper
from esmd.observe.events import (
    EnvironmentKilled,
    EnvironmentStarted,
    EnvironmentStopped,
    FunctionInit,
    HandlerCrashed,
)

from support.forms import params
from support.invocations import has_zombies, is_running
from support.programs import by_hand, make_program, telemetry  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from support.forms import Form, Stage
    from support.invocations import Recorder

ENDS = (EnvironmentStopped, EnvironmentKilled, HandlerCrashed)
"""What is said of an environment's end, once."""


@pytest.fixture(params=params())
def form(request: pytest.FixtureRequest) -> Form:
    """Each form in turn; `support.forms.needs` leaves out those that lack something."""
    chosen: Form = request.param
    return chosen


@pytest.fixture
async def stage(form: Form) -> AsyncIterator[Stage]:
    """Where the test's functions live; at the end all are closed, and nothing is left of them."""
    stage = form.stage()
    keeper.ensure()  # one for all functions of the process: it stays
    gc.collect()  # what earlier tests have dropped is not to go away in the middle of this one
    descriptors = open_descriptors()
    yield stage
    await stage.clear()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    started = [event.pid for event in stage.said_there.of(EnvironmentStarted)]
    assert [pid for pid in started if is_running(pid)] == []
    ends = Counter(event.pid for kind in ENDS for event in stage.said_there.of(kind) if event.pid is not None)
    loaded = [event.pid for event in stage.said_there.of(FunctionInit) if event.pid is not None]
    assert set(loaded) <= set(ends) <= set(started)  # what could not be loaded has its own event
    assert set(ends.values()) <= {1}
    assert not has_zombies()
    if form.has("processes"):
        assert open_descriptors() <= descriptors


@pytest.fixture
def make(form: Form, stage: Stage) -> Callable[..., object]:
    """Makes invokers: `await make("module:callable", timeout=1.0, ...)`."""

    def build(handler: str, **changes: object) -> object:
        return form.make(stage, handler, **changes)

    return build


@pytest.fixture
def said(stage: Stage) -> Recorder:
    """What the invokers under test said."""
    return stage.said


@pytest.fixture
def said_there(stage: Stage) -> Recorder:
    """What was said where the handlers' processes are."""
    return stage.said_there


def open_descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0
