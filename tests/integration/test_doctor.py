"""The doctor against MiniStack: a good set-up, one in which everything is wrong, and what an import makes of mappings there."""

from __future__ import annotations

import io
import json
import threading
import uuid
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner, Result

from esmd.cli import cli

from support.servers import make_queue, sqs_client
from support.stream_servers import service_client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.server

HOME = "us-east-1:000000000000"


@pytest.fixture
def url() -> Iterator[str]:
    """A web service that answers every HEAD."""

    class Web(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(405)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Web)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/run?token=hush"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def esmd(*arguments: str, **environ: str) -> Result:
    # The command starts a loop of its own, which must not be the test's.
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(CliRunner().invoke(cli, arguments, env=environ)))
    thread.start()
    thread.join(120)
    return results[0]


def examined(folder: Path, config: dict[str, Any], *arguments: str, **environ: str) -> tuple[int, list[dict[str, str]]]:
    (folder / "esmd.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    result = esmd("doctor", str(folder / "esmd.yaml"), "-o", "json", *arguments, **environ)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "hush" not in result.output
    return result.exit_code, json.loads(result.stdout)["findings"]


def handlers(folder: Path) -> None:
    (folder / "good.py").write_text("def f(event, context):\n    pass\n", encoding="utf-8")
    (folder / "bad.py").write_text("import no_such_module\n", encoding="utf-8")


def levels(findings: list[dict[str, str]], check: str) -> dict[str, str]:
    """The worst level that a check has for each subject."""
    found: dict[str, str] = {}
    rank = ["ok", "advice", "problem"]
    for each in findings:
        if each["check"] == check:
            found[each["subject"]] = max(each["level"], found.get(each["subject"], "ok"), key=rank.index)
    return found


async def zipped_function(ministack: str, name: str) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", "def handle(event, context):\n    return None\n")
    async with service_client("lambda", ministack) as client:
        await client.create_function(
            FunctionName=name,
            Runtime="python3.12",
            Handler="app.handle",
            Role="arn:aws:iam::000000000000:role/r",
            Code={"ZipFile": code.getvalue()},
        )


async def test_a_good_set_up_is_good_from_end_to_end(ministack, tmp_path, url):
    handlers(tmp_path)
    name = f"doctor-{uuid.uuid4().hex[:8]}"
    async with sqs_client(ministack) as client:
        dead = await make_queue(client, "dead")
        queue = await make_queue(client, "good", dead_letters=dead, max_receives=5, VisibilityTimeout=60)
        failures = await make_queue(client, "failures")
    async with service_client("kinesis", ministack) as kinesis:
        await kinesis.create_stream(StreamName=name, ShardCount=1)
        await kinesis.get_waiter("stream_exists").wait(StreamName=name)
    async with service_client("dynamodb", ministack) as tables:
        await tables.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        )
    await zipped_function(ministack, name)
    limits = {"maximum_retry_attempts": 2, "starting_position": "LATEST"}
    config = {
        "aws": {"endpoint_url": ministack},
        "state": {"path": "esmd.db"},
        "functions": {"f": {"handler": "good:f"}, "inline": {"handler": "good:f", "isolation": "inline"},
                      "web": {"url": url}, "deployed": {"lambda": name}},
        "mappings": {
            "q": {"event_source_arn": queue.arn, "function_name": "f", "function_response_types": ["ReportBatchItemFailures"]},
            "s": {"event_source_arn": f"arn:aws:kinesis:{HOME}:stream/{name}", "function_name": "web", **limits,
                  "destination_config": {"on_failure": {"destination": failures.arn}}},
            "t": {"event_source_arn": f"arn:aws:dynamodb:{HOME}:table/{name}/stream/latest", "function_name": "deployed",
                  **limits},
            "i": {"event_source_arn": f"arn:aws:kinesis:{HOME}:stream/{name}", "function_name": "inline", **limits},
        },
    }  # fmt: skip
    code, findings = examined(tmp_path, config, "--strict")
    assert [each for each in findings if each["level"] != "ok"] == []
    assert code == 0
    checks = {each["check"] for each in findings}
    assert checks == {
        "configuration", "endpoint", "clock", "credentials", "queue", "visibility", "redrive", "dead letters", "stream",
        "destination", "function", "settings", "state", "disk", "control",
    }  # fmt: skip
    [endpoint] = [each for each in findings if each["check"] == "endpoint"]
    assert endpoint["message"].startswith("MiniStack")
    assert not (tmp_path / "esmd.db").exists(), "it changes nothing"


async def test_everything_that_is_wrong_is_said_each_with_its_fix(ministack, tmp_path):
    handlers(tmp_path)
    async with sqs_client(ministack) as client:
        dead = await make_queue(client, "gone")
        short = await make_queue(client, "short", dead_letters=dead, max_receives=2, VisibilityTimeout=2)
        await client.delete_queue(QueueUrl=dead.url)
        bare = await make_queue(client, "bare", VisibilityTimeout=10)
    none = f"arn:aws:sqs:{HOME}:none-{uuid.uuid4().hex[:8]}"
    stream = f"arn:aws:kinesis:{HOME}:stream/none-{uuid.uuid4().hex[:8]}"
    config = {
        "aws": {"endpoint_url": ministack},
        "functions": {"good": {"handler": "good:f"}, "bad": {"handler": "bad:f"}, "no": {"handler": "good:no"},
                      "web": {"url": "http://127.0.0.1:9/"}, "absent": {"lambda": "no-such-function"},
                      "program": {"command": ["./no-such-program"]}},
        "mappings": {
            "short": {"event_source_arn": short.arn, "function_name": "good"},
            "bare": {"event_source_arn": bare.arn, "function_name": "bad"},
            "none": {"event_source_arn": none, "function_name": "no"},
            "stream": {"event_source_arn": stream, "function_name": "web", "starting_position": "LATEST",
                       "maximum_retry_attempts": 1, "destination_config": {"on_failure": {"destination": none}}},
            "others": {"event_source_arn": bare.arn, "function_name": "absent"},
            "program": {"event_source_arn": bare.arn, "function_name": "program"},
        },
    }  # fmt: skip
    code, findings = examined(tmp_path, config)
    assert code == 1
    assert [each for each in findings if each["level"] != "ok" and not each["fix"]] == []
    assert levels(findings, "queue") == {
        "short": "ok", "bare": "ok", "none": "problem", "others": "ok", "program": "ok",
    }  # fmt: skip
    assert levels(findings, "stream") == {"stream": "problem"}
    assert levels(findings, "destination") == {"stream": "problem"}
    assert levels(findings, "visibility")["short"] == "problem"
    assert levels(findings, "visibility")["bare"] == "advice"
    assert (levels(findings, "redrive")["short"], levels(findings, "redrive")["bare"]) == ("advice", "advice")
    assert levels(findings, "dead letters") == {"short": "problem"}
    assert levels(findings, "function") == {
        "good": "ok", "bad": "problem", "no": "problem", "web": "problem", "absent": "problem", "program": "problem",
    }  # fmt: skip
    bad = next(each for each in findings if each["subject"] == "bad")
    assert "no_such_module" in bad["message"]


async def test_the_mappings_of_a_live_endpoint_are_imported(ministack, tmp_path):
    name = f"live-{uuid.uuid4().hex[:8]}"
    await zipped_function(ministack, name)
    async with sqs_client(ministack) as client:
        queues = [await make_queue(client, "live") for _ in range(3)]
    async with service_client("lambda", ministack) as client:
        made = [
            await client.create_event_source_mapping(
                EventSourceArn=queue.arn, FunctionName=name, BatchSize=3 + number, Enabled=number != 1
            )
            for number, queue in enumerate(queues)
        ]
    try:
        file = tmp_path / "esmd.yaml"
        result = esmd("import", "lambda", "--endpoint-url", ministack, "--region", "us-east-1", "-o", str(file))
        assert result.exit_code == 0, result.output
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        own = {each: settings for each, settings in config["mappings"].items() if each.startswith(name)}
        assert sorted(own) == sorted(f"{name}.{queue.name}" for queue in queues)
        by_queue = {settings["event_source_arn"]: settings for settings in own.values()}
        assert [by_queue[queue.arn]["batch_size"] for queue in queues] == [3, 4, 5]
        assert [by_queue[queue.arn].get("enabled", True) for queue in queues] == [True, False, True]
        assert config["functions"][name] == {"lambda": name}
        assert config["aws"] == {"endpoint_url": ministack, "region": "us-east-1"}
        assert esmd("lint", str(file)).exit_code == 0
    finally:
        async with service_client("lambda", ministack) as client:
            for each in made:
                await client.delete_event_source_mapping(UUID=each["UUID"])
