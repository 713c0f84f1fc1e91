"""A daemon at a plain endpoint does its work where botocore cannot even be imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.daemon import Daemon, Journal, function
from support.stream_world import World, data_of, stream_config, stream_mapping

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.server


def test_queues_and_streams_are_read_without_botocore(world: World, tmp_path: Path) -> None:
    for name in ("botocore", "aiobotocore"):
        package = tmp_path / "blocked" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise ImportError('this endpoint is plain')\n", encoding="utf-8")
    queue, stream, table = world.make_queue("lean"), world.make_stream("lean"), world.make_table("lean")
    world.client("sqs").send_message(QueueUrl=queue.url, MessageBody="m")
    world.put(stream, {"n": 1})
    world.write(table, {"id": {"S": "a"}})
    journal = Journal(tmp_path / "journal.jsonl")
    latest = table.arn.rpartition("/")[0] + "/latest"
    setup = stream_config(
        tmp_path,
        {"script": function("script", journal, timeout=10), "fine": function("fine", journal, timeout=3)},
        {
            "stream": stream_mapping(stream.arn, "script"),
            "table": stream_mapping(latest, "fine"),
            "queue": {"event_source_arn": queue.arn, "function_name": "fine"},
        },
    )
    environ = {**world.environ, "PYTHONPATH": str(tmp_path / "blocked")}
    with Daemon(tmp_path, setup, "--exit-when-idle", "2s", environ=environ) as daemon:
        assert daemon.exit_code(within=60) == 0
        assert not daemon.events("mapping.unavailable")
    records = [record for entry in journal.entries("fine") for record in entry["records"]]
    assert sorted(record["eventSource"] for record in records) == ["aws:dynamodb", "aws:sqs"]
    [record] = [record for entry in journal.entries("script") for record in entry["records"]]
    assert data_of(record) == {"n": 1}
