"""What tests of `esmd replay` and `esmd checkpoint` share: a handler that is broken until it is mended, and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import yaml

from support.daemon import Daemon
from support.stream_world import stream_config, stream_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from support.servers import Queue
    from support.stream_world import World

HANDLERS = """
import base64, json, os, pathlib

HERE = pathlib.Path(__file__).parent

def said(record):
    if "kinesis" in record:
        return json.loads(base64.b64decode(record["kinesis"]["data"]))
    if "dynamodb" in record:
        return {"id": record["dynamodb"]["Keys"]["id"]["S"]}
    return json.loads(record["body"])

def write(name, event):
    with open(HERE / "journal.jsonl", "a") as journal:
        journal.write(json.dumps({"handler": name, "event": event, "said": [said(r) for r in event["Records"]]}) + "\\n")

def handle(event, context):
    write("handle", event)
    if not (HERE / "mended").exists() and any(said(r).get("poison") for r in event["Records"]):
        raise ValueError("poison")

def repair(event, context):
    write("repair", event)

def names(event, context):
    write("names", event)
    key = "kinesis" if "kinesis" in event["Records"][0] else None
    ids = [r["kinesis"]["sequenceNumber"] if key else r["messageId"] for r in event["Records"] if said(r).get("poison")]
    mended = (HERE / "mended").exists()
    return {"batchItemFailures": [] if mended else [{"itemIdentifier": each} for each in ids]}
"""


class Shop:
    """A folder with handlers, a configuration and a state file, and the commands run in it."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder = folder
        self.world = world
        (folder / "shop.py").write_text(HANDLERS)
        self.settings: dict[str, Any] = {}

    def configure(self, source: str, function: str = "handle", **mapping: Any) -> None:
        """One mapping, `orders`, of a stream; the functions are there whatever it invokes."""
        functions = {name: {"handler": f"shop:{name}", "timeout": 10} for name in ("handle", "repair", "names")}
        self.settings = stream_config(self.folder, functions, {"orders": stream_mapping(source, function, **mapping)})

    def write_settings(self) -> None:
        """Write the configuration without running a daemon on it."""
        (self.folder / "esmd.yaml").write_text(yaml.safe_dump(self.settings), encoding="utf-8")

    def daemon(self, *arguments: str) -> Daemon:
        """The daemon, to be entered."""
        return Daemon(self.folder, self.settings, *arguments, environ=self.world.environ)

    def drain(self) -> Daemon:
        """Run the daemon until it has nothing to do."""
        with self.daemon("--exit-when-idle", "500ms") as daemon:
            daemon.exit_code()
        return daemon

    def mend(self) -> None:
        """Nothing is poison any more."""
        (self.folder / "mended").touch()

    def said(self, handler: str) -> list[list[Any]]:
        """What the records of each invocation said."""
        path = self.folder / "journal.jsonl"
        entries = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [entry["said"] for entry in entries if entry["handler"] == handler]

    def events(self, handler: str) -> list[Any]:
        """The events of each invocation, whole."""
        entries = [json.loads(line) for line in (self.folder / "journal.jsonl").read_text().splitlines()]
        return [entry["event"] for entry in entries if entry["handler"] == handler]

    def esmd(self, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "esmd", *arguments],
            cwd=self.folder,
            env={**os.environ, **self.world.environ, **(environ or {})},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def left(self, queue: Queue) -> list[str]:
        """The bodies that a queue has now; they stay there."""
        sqs = self.world.client("sqs")
        found = []
        while messages := sqs.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10, VisibilityTimeout=30).get(
            "Messages"
        ):
            found += messages
        for message in found:
            sqs.change_message_visibility(
                QueueUrl=queue.url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )
        return [message["Body"] for message in found]
