"""Writes the configuration of the daemon for a benchmark: what a user would write, with partial failures on."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.fake.spec import queue_arn, stream_arn, table_stream_arn

Kind = Literal["sqs", "kinesis", "dynamodb"]
Handler = Literal["inline", "worker", "timed", "slow", "runtime"]

_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the daemon is to do.

    Attributes:
        kind: of all its mappings.
        mappings: one for each queue or stream of the fake.
        more: mappings of Kinesis beside those of SQS.
        handler: see `benchmarks.handlers`; `worker` runs in a process of its own, `runtime` is a program that speaks
            the Runtime API.
        batch_size: of every mapping.
        concurrency: `maximum_concurrency`; None leaves it to the daemon.
        pollers: provisioned pollers; None for none.
        fifo: whether the queues are FIFO.
        client: the setting of that name; None leaves it to the daemon.
        filtered: whether only messages of the type `order` are wanted.
    """

    kind: Kind = "sqs"
    mappings: int = 1
    more: int = 0
    handler: Handler = "inline"
    batch_size: int = 10
    concurrency: int | None = None
    pollers: int | None = None
    fifo: bool = False
    filtered: bool = False
    client: Literal["wire", "botocore"] | None = None

    def write(self, folder: Path, *, tally: Path) -> Path:
        """Write the file; its path."""
        path = folder / "esmd.yaml"
        path.write_text(json.dumps(self._document(folder, tally), indent=1))  # JSON is YAML
        return path

    def _document(self, folder: Path, tally: Path) -> dict[str, Any]:
        return {
            "version": 1,
            "aws": {} if self.client is None else {"client": self.client},
            "state": {"path": str(folder / "state.db")},
            "functions": {"counting": self._function(tally)},
            "mappings": {
                **{f"m{n:04}": self._mapping(self.kind, n) for n in range(self.mappings)},
                **{f"k{n:04}": self._mapping("kinesis", n) for n in range(self.more)},
            },
        }

    def _function(self, tally: Path) -> dict[str, Any]:
        if self.handler == "runtime":
            program = [sys.executable, "-m", "benchmarks.runtime_client", str(tally)]
            return {"command": program, "timeout": "30s", "environment": {"PYTHONPATH": str(_ROOT)}}
        function: dict[str, Any] = {
            "handler": f"benchmarks.handlers:{self.handler}",
            "isolation": "worker" if self.handler == "worker" else "inline",
            "python_path": [str(_ROOT)],
            "timeout": "30s",
        }
        if self.handler == "worker":
            function["environment"] = {"BENCH_TALLY": str(tally)}
        return function

    def _mapping(self, kind: Kind, number: int) -> dict[str, Any]:
        arns = {"kinesis": stream_arn, "dynamodb": table_stream_arn}
        mapping: dict[str, Any] = {
            "event_source_arn": arns[kind](number) if kind in arns else queue_arn(number, fifo=self.fifo),
            "function_name": "counting",
            "batch_size": self.batch_size,
            "function_response_types": ["ReportBatchItemFailures"],
        }
        if kind != "sqs":
            mapping["starting_position"] = "TRIM_HORIZON"
        elif self.concurrency is not None:
            mapping["scaling_config"] = {"maximum_concurrency": self.concurrency}
        elif self.pollers is not None:
            mapping["provisioned_poller_config"] = {"minimum_pollers": self.pollers, "maximum_pollers": self.pollers}
        if self.filtered:
            mapping["filter_criteria"] = {"filters": [{"pattern": {"body": {"type": ["order"]}}}]}
        return mapping
