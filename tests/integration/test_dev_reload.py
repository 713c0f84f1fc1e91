"""Code reload in `esmd dev`: an edited handler runs without a new start, and no message is lost on the way."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import Daemon
from support.servers import sqs_client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ARN = "arn:aws:sqs:us-east-1:000000000000:orders"

HANDLER = """
import json, os, pathlib, time

FOLDER = pathlib.Path(os.environ["RESULTS"])

def handle(event, context):
    for record in event["Records"]:
        if record["body"] == "wait":
            (FOLDER / "waiting").touch()
            while not (FOLDER / "go").exists():
                time.sleep(0.01)
        with open(FOLDER / "handled", "a") as file:
            file.write(json.dumps([record["body"], "VERSION"]) + "\\n")
"""


@pytest.fixture
def fake() -> Iterator[str]:
    """The fast fake as a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "esmd.testing.fake_sqs", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Stage:
    """A folder with code, a folder with results, and a queue."""

    def __init__(self, folder: Path, url: str) -> None:
        self.url = url
        self.code = folder / "code"
        self.results = folder / "results"
        for each in (self.code, self.results):
            each.mkdir()

    def write(self, version: str) -> None:
        """Save the handler, all versions of the same length."""
        self.save(HANDLER.replace("VERSION", version))

    def save(self, text: str) -> None:
        """As editors do: nobody ever sees half a file. And all in one second, by which Python tells files apart."""
        new = self.code / ".orders.py.new"
        new.write_text(text)
        os.utime(new, (1_700_000_000, 1_700_000_000))
        new.replace(self.code / "orders.py")

    def handled(self) -> list[list[str]]:
        """Bodies and the version that handled each, in order."""
        file = self.results / "handled"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def send(self, *bodies: str) -> None:
        async def call() -> None:
            async with sqs_client(self.url) as client:
                queue = (await client.get_queue_url(QueueName="orders"))["QueueUrl"]
                for body in bodies:
                    await client.send_message(QueueUrl=queue, MessageBody=body)

        asyncio.run(call())

    def daemon(self, *arguments: str, isolation: str = "worker") -> Daemon:
        settings: dict[str, Any] = {"isolation": isolation}
        if isolation == "worker":
            settings["environment"] = {"RESULTS": str(self.results)}
        config = {
            "version": 1,
            "aws": {"endpoint_url": self.url},
            "functions": {
                "orders": {"handler": "orders:handle", "timeout": 20, **settings},
            },
            "mappings": {"orders": {"event_source_arn": ARN, "function_name": "orders", "batch_size": 1}},
        }
        # Bytecode is written, whatever the tests themselves were told: it must not stand for an edited file.
        environ = {"RESULTS": str(self.results), "PYTHONDONTWRITEBYTECODE": ""}
        return Daemon(self.code, config, *arguments, command="dev", environ=environ)


@pytest.fixture
def stage(tmp_path: Path, fake: str) -> Stage:
    made = Stage(tmp_path, fake)
    made.write("one")
    return made


def test_an_edited_handler_runs_without_a_new_start_and_every_message_is_handled_once(stage: Stage) -> None:
    with stage.daemon() as daemon:
        daemon.wait_for("daemon.ready")
        stage.send(*(f"first {n}" for n in range(5)))
        daemon.wait_until(lambda: len(stage.handled()) == 5, what="the first five")
        stage.write("two")
        reloaded = daemon.wait_for("function.reloaded", function="orders")
        stage.send(*(f"second {n}" for n in range(5)))
        daemon.wait_until(lambda: len(stage.handled()) == 10, what="the next five")
        assert len(daemon.events("daemon.ready")) == 1
    assert reloaded["files"] == ["orders.py"]
    assert sorted(stage.handled()) == sorted(
        [[f"first {n}", "one"] for n in range(5)] + [[f"second {n}", "two"] for n in range(5)]
    )


def test_what_runs_during_a_change_finishes_with_the_code_it_began_with(stage: Stage) -> None:
    with stage.daemon() as daemon:
        daemon.wait_for("daemon.ready")
        stage.send("wait")
        daemon.wait_until((stage.results / "waiting").exists, what="the handler to wait")
        stage.write("two")
        daemon.wait_for("function.reloaded")
        stage.send("meanwhile")
        daemon.wait_until(lambda: ["meanwhile", "two"] in stage.handled(), what="the new code beside the old")
        (stage.results / "go").touch()
        daemon.wait_until(lambda: len(stage.handled()) == 2, what="the old code to finish")
        # By itself, not by force.
        daemon.wait_for("environment.stopped", reason="reloaded")
        assert daemon.events("environment.killed") == []
    assert stage.handled() == [["meanwhile", "two"], ["wait", "one"]]


def test_a_broken_edit_is_said_once_and_healed_by_the_next_save(stage: Stage) -> None:
    with stage.daemon() as daemon:
        daemon.wait_for("daemon.ready")
        stage.save("def handle(event, context)\n    pass\n")
        failed = daemon.wait_for("function.init_failed", function="orders")
        stage.write("two")
        daemon.wait_until(lambda: len(daemon.events("function.reloaded")) == 2, what="the second reload")
        stage.send("after")
        daemon.wait_until(stage.handled, what="the message")
        assert len(daemon.events("function.init_failed")) == 1
    assert failed["error_type"] == "Runtime.UserCodeSyntaxError"
    assert stage.handled() == [["after", "two"]]


def test_an_inline_handler_says_that_it_needs_a_new_start(stage: Stage) -> None:
    with stage.daemon(isolation="inline") as daemon:
        daemon.wait_for("dev.watching")
        daemon.wait_for("daemon.ready")
        stage.write("two")
        said = daemon.wait_for("dev.reload_off", function="orders")
    assert "start esmd dev anew" in said["reason"]


def test_no_reload_watches_nothing(stage: Stage) -> None:
    with stage.daemon("--no-reload") as daemon:
        daemon.wait_for("daemon.ready")
        stage.send("a")
        daemon.wait_until(stage.handled, what="the message")
        assert daemon.events("dev.watching") == []
