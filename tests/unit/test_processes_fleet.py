"""The parent and its children, where these are small scripts that do as they are told: deaths, pauses, kills, exit codes."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from esmd.assembly import RunOptions
from esmd.cli.exits import Exit
from esmd.config.loader import load
from esmd.daemon import About, DaemonOptions
from esmd.observe import daemon_events as say
from esmd.observe import process_events as said
from esmd.observe.mapping_events import MappingDisabled
from esmd.processes import entry, fleet, member
from esmd.processes.fleet import Fleet, exit_of
from esmd.shutdown import Shutdown
from esmd.status.source import Process

from support.mapping_lab import Collector

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.server  # all but the tables start processes

CONFIG = """
version: 1
functions: {f: {handler: "a:b"}}
mappings:
  orders: {event_source_arn: "arn:aws:sqs:us-east-1:000000000000:orders", function_name: f}
  later: {event_source_arn: "arn:aws:sqs:us-east-1:000000000000:later", function_name: f, enabled: false}
"""

PARENT = fleet.__doc__ or ""


class Stage:
    """A fleet whose children run `script`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
        (folder / "esmd.yaml").write_text(CONFIG, encoding="utf-8")
        (folder / "child.py").write_text(script, encoding="utf-8")
        monkeypatch.setattr(entry, "__file__", str(folder / "child.py"))
        monkeypatch.setattr(member, "PAUSE_INITIAL", 0.02)
        monkeypatch.setattr(fleet, "_DRAIN_SECONDS", 0.02)
        monkeypatch.setattr(fleet, "_HALT_PATIENCE", 0.05)
        self.collector = Collector()
        self.shutdown = Shutdown()
        config = load([folder / "esmd.yaml"], environ={}).config
        assert config is not None
        self.config = config

    def start(self, *, processes: int = 2, grace: float = 0.05) -> asyncio.Task[Exit]:
        daemon = DaemonOptions(grace=grace, exit_when_idle=None, fail_fast=False, stats_period=60.0)
        made = Fleet(
            self.config,
            options=RunOptions(daemon=daemon, only=frozenset(), longest_poll=None, log_payloads=False),
            process=Process(
                about=About(files=("esmd.yaml",), endpoint="http://127.0.0.1:1", region="us-east-1"),
                started_at=0.0,
                draining=self.shutdown.drain.is_set,
            ),
            processes=processes,
            level="info",
            store=None,
            telemetry=self.collector,
            shutdown=self.shutdown,
        )
        return asyncio.create_task(made.run())

    def heard(self, kind: type) -> list[Any]:
        return [event for event in self.collector.said if isinstance(event, kind)]

    async def until(self, kind: type, count: int) -> list[Any]:
        async with asyncio.timeout(20):
            while len(self.heard(kind)) < count:
                await asyncio.sleep(0.01)
        return self.heard(kind)


async def test_a_process_that_always_dies_is_started_ever_more_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, monkeypatch, "import sys\nprint('boom', file=sys.stderr)\nsys.exit(3)\n")
    running = stage.start(processes=1)
    deaths = await stage.until(said.ProcessDied, 5)
    stage.shutdown.request("SIGTERM")
    assert await running == Exit.OK
    assert {death.exit_status for death in deaths} == {3}
    assert deaths[0].restart_in_s == 0.0
    assert [after.restart_in_s / before.restart_in_s > 1.1 for before, after in itertools.pairwise(deaths[1:])] == [
        True
    ] * (len(deaths) - 2)
    assert {line.message for line in stage.heard(said.ProcessOutput)} == {"boom"}
    assert len(stage.heard(said.ProcessStarted)) >= 5
    assert not stage.heard(say.DaemonReady)
    assert len(stage.heard(say.DaemonStarting)) == len(stage.heard(say.DaemonStopped)) == 1
    assert stage.heard(MappingDisabled) == [MappingDisabled(mapping="later", reason="configuration")]


async def test_a_process_that_does_not_end_is_ended_by_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(tmp_path, monkeypatch, "import time\nprint('here', flush=True)\ntime.sleep(600)\n")
    running = stage.start()
    started = await stage.until(said.ProcessStarted, 2)
    stage.shutdown.request("SIGTERM")
    assert await running == Exit.CUT_SHORT
    assert {kill.pid for kill in stage.heard(said.ProcessKilled)} == {start.pid for start in started}
    [cut_short] = stage.heard(say.DaemonCutShort)
    assert cut_short.reason == "grace period over"


async def test_a_process_that_cannot_be_started_is_said_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, monkeypatch, "")
    monkeypatch.setattr(member.sys, "executable", str(tmp_path / "no-python"))
    running = stage.start(processes=1)
    events = await stage.until(said.ProcessNotStarted, 3)
    stage.shutdown.request("SIGTERM")
    assert await running == Exit.OK
    assert "no-python" in events[0].error_message


async def test_a_process_that_hangs_up_without_ending_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member, "_LAST_WORDS", 0.02)
    script = "import os, sys, time\nos.close(int(sys.argv[1]))\ntime.sleep(600)\n"
    stage = Stage(tmp_path, monkeypatch, script)
    running = stage.start(processes=1)
    [death, *_] = await stage.until(said.ProcessDied, 1)
    stage.shutdown.request("SIGTERM")
    await running
    assert death.exit_status == -9
    assert stage.heard(said.ProcessKilled)[0].pid == death.pid


def rows_of_the_table() -> list[str]:
    lines = [line for line in PARENT.splitlines() if line.startswith("| ")]
    return [line.strip("|").split("|")[0].strip() for line in lines[1:]]


EXITS: dict[str, list[tuple[dict[str, Any], Exit]]] = {
    "a second interrupt": [
        ({"interrupted": True, "cut_short": True, "codes": {Exit.FAILED}}, Exit.INTERRUPTED),
    ],
    "the grace period, or a second TERM, cut a process short": [
        ({"cut_short": True, "codes": {Exit.FAILED}}, Exit.CUT_SHORT),
        ({"codes": {Exit.OK, Exit.CUT_SHORT}}, Exit.CUT_SHORT),
    ],
    "a process failed, or was idle with a mapping unavailable": [
        ({"codes": {Exit.OK, Exit.FAILED}, "failed_fast": Exit.UNAVAILABLE}, Exit.FAILED),
    ],
    "`--fail-fast`, and a mapping could not run": [
        ({"failed_fast": Exit.UNAVAILABLE}, Exit.UNAVAILABLE),
        ({"failed_fast": Exit.FAILED}, Exit.FAILED),
    ],
    "all drained": [({}, Exit.OK)],
}


@pytest.mark.parametrize("row", rows_of_the_table())
def test_every_row_of_the_exit_codes(row: str) -> None:
    for values, code in EXITS[row]:
        given = {"codes": {Exit.OK}, "interrupted": False, "cut_short": False, "failed_fast": None} | values
        assert exit_of(given.pop("codes"), **given) == code


def test_no_exit_code_is_without_its_row() -> None:
    assert set(EXITS) == set(rows_of_the_table())
