"""Which event loop the daemon runs on."""

from __future__ import annotations

import importlib
import importlib.util
from types import SimpleNamespace

import pytest

from esmd.loop import LoopError, loop_factory


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> object:
    """A uvloop that is installed, whether it is or not; what makes its loops."""
    uvloop = SimpleNamespace(new_event_loop=object())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: uvloop)
    monkeypatch.setattr(importlib, "import_module", lambda name: uvloop)
    return uvloop.new_event_loop


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.mark.parametrize("environ", [{}, {"ESMD_LOOP": ""}, {"ESMD_LOOP": "auto"}, {"ESMD_LOOP": "uvloop"}])
def test_uvloop_is_used_where_it_is_installed(installed: object, environ: dict[str, str]) -> None:
    assert loop_factory(environ) is installed


@pytest.mark.usefixtures("installed")
def test_asyncio_can_be_asked_for() -> None:
    assert loop_factory({"ESMD_LOOP": "asyncio"}) is None


@pytest.mark.usefixtures("missing")
@pytest.mark.parametrize("environ", [{}, {"ESMD_LOOP": "auto"}, {"ESMD_LOOP": "asyncio"}])
def test_without_uvloop_it_is_asyncios_own(environ: dict[str, str]) -> None:
    assert loop_factory(environ) is None


@pytest.mark.usefixtures("missing")
def test_uvloop_that_is_asked_for_and_missing_is_an_error_that_says_how_to_get_it() -> None:
    with pytest.raises(LoopError, match=r"not installed: pip install 'esmd\[fast\]'"):
        loop_factory({"ESMD_LOOP": "uvloop"})


@pytest.mark.usefixtures("installed")
def test_another_word_is_an_error() -> None:
    with pytest.raises(LoopError, match="must be auto, asyncio or uvloop, not 'trio'"):
        loop_factory({"ESMD_LOOP": "trio"})
