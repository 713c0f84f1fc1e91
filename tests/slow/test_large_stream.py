"""200 shards, a million records: every record once, every shard in order, memory bounded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import stream_flood
from support.daemon import Daemon, Journal, function
from support.stream_world import stream_config, stream_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

SHARDS = 200
RECORDS_PER_SHARD = int(os.environ.get("ESMD_TEST_RECORDS", "1000000")) // SHARDS
BATCH_SIZE = 500
MOST_MEGABYTES = 700
"""Resident, at the worst moment. All records at once would be more than this as text alone: read-ahead must hold."""


@pytest.fixture
def flood() -> Iterator[str]:
    command = [sys.executable, stream_flood.__file__, str(SHARDS), str(RECORDS_PER_SHARD)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def test_a_million_records_of_200_shards(flood: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    # An inline function has the daemon's own environment.
    functions = {"extent": function("extent", journal, timeout=60, isolation="inline")}
    del functions["extent"]["environment"]
    mappings = {"flood": stream_mapping(stream_flood.ARN, "extent", batch_size=BATCH_SIZE)}
    environ = {"AWS_ENDPOINT_URL": flood, "JOURNAL": str(journal.path)}
    began = time.monotonic()
    config = stream_config(tmp_path, functions, mappings)
    arguments = ("--log-level", "info")
    with Daemon(tmp_path, config, *arguments, environ=environ) as daemon:
        daemon.wait_until(lambda: len(daemon.events("shard.finished")) == SHARDS, what="all shards", within=1500)
        took, peak = time.monotonic() - began, peak_megabytes(daemon.process.pid)
        daemon.process.terminate()
        assert daemon.exit_code() == 0
    records = SHARDS * RECORDS_PER_SHARD
    with capsys.disabled():
        sys.stdout.write(f"\n{records} records in {took:.0f} s, {records / took:.0f} a second, {peak} MB at most\n")
    extents: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for shard, first, last in map(json.loads, journal.path.read_text(encoding="utf-8").splitlines()):
        extents[shard].append((first, last))
    assert len(extents) == SHARDS
    for shard, found in extents.items():
        ends = [-1, *(last for _, last in found)]
        assert [first for first, _ in found] == [end + 1 for end in ends[:-1]], shard
        assert ends[-1] == RECORDS_PER_SHARD - 1, shard
    assert daemon.events("batch.failed") == []
    assert peak < MOST_MEGABYTES


def peak_megabytes(pid: int) -> int:
    """The most memory that a process has had resident so far."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines() if "VmHWM" in line]
    return int(line.split()[1]) // 1024
