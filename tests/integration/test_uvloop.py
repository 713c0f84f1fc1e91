"""The daemon on uvloop: its outcomes are the same, and nothing is left of a kill."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.daemon import Daemon
from support.invocations import is_running, until

if TYPE_CHECKING:
    from typing import Any

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed: pip install uvloop"
)


def test_the_demonstration_ends_as_it_does_on_asyncios_own_loop() -> None:
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "esmd", "dev", str(QUICKSTART), "--traffic", str(QUICKSTART / "traffic.jsonl")),
            *("--exit-when-idle", "2s", "--log-format", "json"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "ESMD_LOOP": "uvloop"},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    told = Counter(json.loads(line)["event"] for line in ended.stderr.splitlines())
    assert (told["record.filtered"], told["batch.discarded"], told["destination.sent"]) == (1, 1, 1)
    assert told["dev.dead_letters"] >= 1
    assert told["internal.error"] == 0


async def test_a_kill_leaves_no_worker_and_a_drain_ends_well(ministack: str, tmp_path: Path) -> None:
    (tmp_path / "orders.py").write_text("def handle(event, context):\n    return None\n")
    config: dict[str, Any] = {
        "version": 1,
        "aws": {"endpoint_url": ministack},
        "functions": {"handle": {"handler": "orders:handle", "provisioned_concurrency": 3}},
        "mappings": {
            "orders": {
                "event_source_arn": "arn:aws:sqs:us-east-1:000000000000:no-such-queue",
                "function_name": "handle",
            }
        },
    }
    environ = {"ESMD_LOOP": "uvloop"}
    with Daemon(tmp_path, config, environ=environ) as daemon:
        daemon.wait_until(lambda: len(daemon.events("function.init")) == 3)
        workers = [event["pid"] for event in daemon.events("function.init")]
        daemon.signal(signal.SIGKILL)
        await until(lambda: not any(is_running(pid) for pid in workers))
    with Daemon(tmp_path, config, environ=environ) as daemon:
        daemon.wait_until(lambda: len(daemon.events("function.init")) == 3)
        daemon.signal(signal.SIGTERM)
        assert daemon.exit_code() == 0
        assert len(daemon.events("environment.stopped", reason="shutdown")) == 3
        assert daemon.garbage == []
