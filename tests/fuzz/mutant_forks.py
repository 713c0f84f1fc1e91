"""A pytest plugin: one process collects the tests, and is forked for each mutant.

mutmut has pytest collect the tests anew for every mutant, which takes longer than to run them. Here a mutant runs the
tests that reached its function when nothing was changed, the quickest first, up to the first that fails. What became of
it goes into mutmut's own files, so `mutmut results` and `mutmut show` know it.

It is bounded by the time of the processor, not by that of the clock: a machine at work on other things must not pass
for a mutant that hangs.
"""

from __future__ import annotations

import gc
import json
import math
import os
import resource
import shutil
import sys
import time
import traceback
import warnings
from collections import defaultdict
from fnmatch import fnmatch
from inspect import iscoroutinefunction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from _pytest.python import DirectParamFixtureDef
from _pytest.runner import runtestprotocol
from mutmut.mutation import trampoline
from mutmut.mutation.data import SourceFileMutationData

if TYPE_CHECKING:
    from collections.abc import Iterator

KILLED, SURVIVED, NO_TESTS, TIMEOUT = 1, 0, 33, 36
OF_ALL_TESTS = {"clean_environment", "event_loop_policy", "monkeypatch", "tmp_path_factory"}  # no rule looks there
LEAST_SECONDS = 2  # of the processor, for a test
TIMES_AS_LONG = 5  # as the test takes when nothing is changed
SLEEPING_SECONDS = 600.0  # by the clock, for one that waits for ever


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which mutants, for how long, and how many at once."""
    parser.addoption("--mutants", action="append", default=[])
    parser.addoption("--mutant-seconds", type=float, default=3600.0)
    parser.addoption("--mutant-children", type=int, default=2)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Find out which tests belong to which function, then try the mutants."""
    if session.testsfailed:
        raise session.Interrupted("the tests cannot be collected")
    gc.collect()
    gc.freeze()
    reached, seconds = _reached(session)
    _try_nothing(session, seconds)
    _try_all(session, reached, seconds)
    return True


def _is_plain(item: pytest.Item) -> bool:
    """Whether the test is a function that needs nothing of pytest but its parameters."""
    if type(item) is not pytest.Function or item.cls is not None or iscoroutinefunction(item.obj):
        return False
    fixtures = item._fixtureinfo.name2fixturedefs
    own = {name for name, found in fixtures.items() if not isinstance(found[-1], DirectParamFixtureDef)}
    marks = {mark.name for mark in item.iter_markers()}
    if own & set(item._fixtureinfo.argnames):
        return False
    return own <= OF_ALL_TESTS and not marks & {"skip", "skipif", "xfail", "usefixtures", "filterwarnings"}


def _fails(item: pytest.Item) -> bool:
    if not _is_plain(item):
        return any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))
    assert isinstance(item, pytest.Function)
    given = item.callspec.params if hasattr(item, "callspec") else {}
    # A hundred times as quick as with the fixtures and reports.
    try:
        item.obj(**given)
    except pytest.skip.Exception:
        return False
    except BaseException:  # whatever it is, it is the mutant's
        return True
    return False


def _mutate(session: pytest.Session, name: str, folder: Path) -> None:
    warnings.simplefilter("error")
    trampoline.get_mutant_under_test = lambda: name
    folder.mkdir(parents=True, exist_ok=True)
    # Otherwise pytest looks through the folders of all mutants for the next free name.
    session.config._tmp_path_factory._basetemp = folder  # type: ignore[attr-defined]


def _reached(session: pytest.Session) -> tuple[dict[str, list[int]], list[float]]:
    """The tests of each function by their places in `session.items`, and how long each takes.

    In a process of its own: what a test leaves behind, such as a filled cache, could hide a mutant.
    """
    answer = Path("reached.json").resolve()
    pid = os.fork()
    if not pid:
        try:
            _mutate(session, "stats", Path("tmp-stats").resolve())
            hits: set[str] = set()
            vars(trampoline)["record_trampoline_hit"] = lambda name, caller=None: hits.add(name)
            functions, seconds = defaultdict(list), []
            for at, item in enumerate(session.items):
                hits.clear()
                start = time.process_time()
                if _fails(item):
                    print(f"fails without a mutant: {item.nodeid}", file=sys.__stderr__)
                    os._exit(1)
                seconds.append(time.process_time() - start)
                for name in hits:
                    functions[name].append(at)
            answer.write_text(json.dumps([functions, seconds]))
            os._exit(0)
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(2)
    _, status = os.waitpid(pid, 0)
    if status:
        raise session.Failed("the tests do not pass as they are")
    functions, seconds = json.loads(answer.read_text())
    print(f"\n{len(session.items)} tests, {sum(seconds):.0f} seconds of the processor", file=sys.__stderr__)
    return functions, seconds


def _try_nothing(session: pytest.Session, seconds: list[float]) -> None:
    """Without a mutant, and in the order that mutants get them, the tests have to pass: no mutant is killed by chance."""
    places = sorted(range(len(session.items)), key=lambda at: seconds[at])
    pid = os.fork()
    if not pid:
        _child(session, "none", [(session.items[at], seconds[at]) for at in places])
    _, status = os.waitpid(pid, 0)
    if status:
        raise session.Failed("the tests do not pass in another order")


def _to_try(session: pytest.Session) -> Iterator[tuple[SourceFileMutationData, str]]:
    wanted = session.config.getoption("--mutants")
    for pattern in wanted or ["*"]:
        for meta in sorted(Path("esmd/mappings").glob("*.py.meta")):
            data = SourceFileMutationData(path=meta.with_suffix(""))
            data.meta_path = meta
            data.load()
            for name, status in data.exit_code_by_key.items():
                if fnmatch(name, pattern) and (status is None or (wanted and status != KILLED)):
                    yield data, name


def _try_all(session: pytest.Session, reached: dict[str, list[int]], seconds: list[float]) -> None:
    ends = time.monotonic() + session.config.getoption("--mutant-seconds")
    running: dict[int, tuple[SourceFileMutationData, str, float]] = {}
    waiting = _to_try(session)
    tried, last = 0, None
    while time.monotonic() < ends:
        while len(running) < session.config.getoption("--mutant-children") and (following := next(waiting, None)):
            data, name = following
            function = name.partition("__mutmut_")[0]
            places = sorted(reached.get(function, ()), key=lambda at: seconds[at])
            if not places:
                _tell(data, name, NO_TESTS, 0.0)
                continue
            pid = os.fork()
            if not pid:
                _child(session, name, [(session.items[at], seconds[at]) for at in places])
            running[pid] = data, name, time.monotonic()
        if not running:
            break
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            for late, (_, _, since) in running.items():
                if time.monotonic() - since > SLEEPING_SECONDS:
                    os.kill(late, 9)
            time.sleep(0.005)
            continue
        data, name, since = running.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        _tell(data, name, code if code in (KILLED, SURVIVED) else TIMEOUT, time.monotonic() - since)
        tried += 1
        if data.path != last:
            print(f"{tried} tried; {data.path}", file=sys.__stderr__)
            last = data.path
    for pid in running:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    print(f"{tried} tried", file=sys.__stderr__)


def _child(session: pytest.Session, name: str, tests: list[tuple[pytest.Item, float]]) -> None:
    """Never returns."""
    folder = Path("tmp-mutants", str(os.getpid())).resolve()
    try:
        _mutate(session, name, folder)
        failed = False
        for item, seconds in tests:
            most = math.ceil(time.process_time() + LEAST_SECONDS + TIMES_AS_LONG * seconds)
            resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
            if failed := _fails(item):
                break
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(KILLED if failed else SURVIVED)
    finally:
        os._exit(KILLED)


def _tell(data: SourceFileMutationData, name: str, code: int, seconds: float) -> None:
    data.exit_code_by_key[name] = code
    data.durations_by_key[name] = seconds
    data.save()
    words = {SURVIVED: "survived", NO_TESTS: "no tests", TIMEOUT: "hangs"}
    if code in words:
        print(f"{words[code]}: {name}", file=sys.__stderr__)
