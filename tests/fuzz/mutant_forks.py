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
import os
import resource
import shutil
import sys
import time
from collections import defaultdict
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from _pytest.runner import runtestprotocol
from mutmut.mutation import trampoline
from mutmut.mutation.data import SourceFileMutationData

if TYPE_CHECKING:
    from collections.abc import Iterator

KILLED, SURVIVED, NO_TESTS, TIMEOUT = 1, 0, 33, 36
LEAST_SECONDS = 10  # of the processor, for a mutant
TIMES_AS_LONG = 10  # as its tests take when nothing is changed
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
    _try_all(session, reached, seconds)
    return True


def _run(items: list[pytest.Item]) -> pytest.Item | None:
    """The first that fails."""
    for at, item in enumerate(items):
        following = items[at + 1] if at + 1 < len(items) else None
        if any(report.failed for report in runtestprotocol(item, log=False, nextitem=following)):
            return item
    return None


def _mutate(session: pytest.Session, name: str, folder: Path) -> None:
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
                if _run([item]):
                    print(f"fails without a mutant: {item.nodeid}", file=sys.__stderr__)
                    os._exit(1)
                seconds.append(time.process_time() - start)
                for name in hits:
                    functions[name].append(at)
            answer.write_text(json.dumps([functions, seconds]))
            os._exit(0)
        finally:
            os._exit(2)
    _, status = os.waitpid(pid, 0)
    if status:
        raise session.Failed("the tests do not pass as they are")
    functions, seconds = json.loads(answer.read_text())
    print(f"\n{len(session.items)} tests, {sum(seconds):.0f} seconds of the processor", file=sys.__stderr__)
    return functions, seconds


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
                _child(session, name, [session.items[at] for at in places], sum(seconds[at] for at in places))
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


def _child(session: pytest.Session, name: str, items: list[pytest.Item], seconds: float) -> None:
    """Never returns."""
    folder = Path("tmp-mutants", str(os.getpid())).resolve()
    try:
        most = int(LEAST_SECONDS + TIMES_AS_LONG * seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (most, most))
        _mutate(session, name, folder)
        try:
            failed = _run(items)
        except BaseException:  # whatever it is, it is the mutant's
            failed = items[0]
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
