"""`esmd invoke` before and after the invocation: what it takes for an event, what it shows of an outcome and its meaning."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml
from click.testing import CliRunner

from esmd.cli import cli, readings
from esmd.cli.readings import readings as read
from esmd.cli.shown import title_of, version_of
from esmd.config.loader import load
from esmd.dev.sample_events import Chance, Change, dynamodb_event, kinesis_event, sqs_event
from esmd.invoke.payloads import payload_of
from esmd.mappings.outcomes import FunctionError, Rejected, Success, Throttled, Unreachable

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from esmd.config.schema import Config

QUEUE = "arn:aws:sqs:us-east-1:000000000000:orders"
STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/latest"
REPORT = {"function_response_types": ["ReportBatchItemFailures"]}
FROM_START = {"starting_position": "TRIM_HORIZON"}


def config(folder: Path, **mappings: dict[str, Any]) -> Config:
    file = folder / "esmd.yaml"
    functions = {
        "handle": {"handler": "handlers:handle"},
        "other": {"handler": "handlers:other"},
        "routed": {"versions": {"handle": 100}},
    }
    document = {
        "version": 1,
        "functions": functions,
        "mappings": {name: {"function_name": "handle", **mapping} for name, mapping in mappings.items()},
    }
    file.write_text(yaml.safe_dump(document))
    loaded = load([file], environ={})
    assert loaded.config is not None, [str(each) for each in loaded.diagnostics]
    return loaded.config


def esmd(*arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(cli, ["invoke", *arguments], input=stdin)


# --- the command line


def test_the_help_explains_every_option_and_shows_examples():
    output = esmd("--help").output
    assert len(re.findall(r"^ +(?:esmd event .*\| )?esmd invoke \S+.*$", output, re.MULTILINE)) >= 4
    command = cli.get_command(click.Context(cli), "invoke")
    assert command is not None
    assert [p.opts for p in command.params if isinstance(p, click.Option) and not p.help] == []


def test_an_unknown_function_is_wrong_usage_and_the_known_ones_are_named(tmp_path):
    config(tmp_path, orders={"event_source_arn": QUEUE})
    result = esmd("hnadle", str(tmp_path / "esmd.yaml"))
    assert result.exit_code == 2
    assert "there is no function 'hnadle'; there are: handle, other, routed" in result.stderr


def test_an_invalid_configuration_ends_with_its_own_code(tmp_path):
    (tmp_path / "esmd.yaml").write_text("functions: 5\n")
    assert esmd("handle", str(tmp_path)).exit_code == 78


@pytest.mark.parametrize(
    ("event", "complaint"),
    [
        ('{"a": 1,\n "b" 2}', "not JSON: Expecting ':' delimiter at line 2, column 6"),
        ("[1, 2", "not JSON: Expecting ',' delimiter at line 1, column 6"),
        ('{"a": NaN}', "NaN is no value of JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("missing.json", "cannot read 'missing.json': No such file or directory; JSON text begins with { or ["),
        ("text.json", "text.json: not JSON: Expecting value at line 1, column 1"),
        ("latin.json", "latin.json: not UTF-8 at byte 3"),
        (".", "cannot read '.': Is a directory"),
    ],
)
def test_an_event_that_is_no_json_is_wrong_usage_with_its_place(tmp_path, monkeypatch, event, complaint):
    monkeypatch.chdir(tmp_path)
    config(tmp_path, orders={"event_source_arn": QUEUE})
    (tmp_path / "text.json").write_text("hello")
    (tmp_path / "latin.json").write_bytes(b'{"\xe9": 1}')
    result = esmd("handle", "-e", event)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_standard_input_is_named_in_a_complaint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = esmd("handle", "-e", "-", stdin="{")
    assert result.exit_code == 2
    assert "standard input: not JSON: Expecting property name enclosed in double quotes at line 1" in result.stderr


# --- what is shown of an outcome


@pytest.mark.parametrize(
    ("outcome", "payload", "title"),
    [
        (Success(b'{"a": 1.10}'), b'{"a": 1.10}', "success"),
        (
            FunctionError("exception", "ValueError", "no", ("line",)),
            {"errorMessage": "no", "errorType": "ValueError", "requestId": "id", "stackTrace": ["line"]},
            "function error (ValueError)",
        ),
        (
            FunctionError("init", "Runtime.ImportModuleError", "no module"),
            {"errorMessage": "no module", "errorType": "Runtime.ImportModuleError", "requestId": "", "stackTrace": []},
            "function error (Runtime.ImportModuleError)",
        ),
        (
            FunctionError("timeout", "Sandbox.Timedout", "late"),
            {"errorMessage": "late", "errorType": "Sandbox.Timedout"},
            "function error (Sandbox.Timedout)",
        ),
        (
            FunctionError("exit", "Runtime.ExitError", "gone"),
            {"errorMessage": "gone", "errorType": "Runtime.ExitError"},
            "function error (Runtime.ExitError)",
        ),
        (Throttled("ConcurrentInvocationLimitExceeded"), None, "throttled (ConcurrentInvocationLimitExceeded)"),
        (Unreachable("connection refused"), None, "unreachable (connection refused)"),
        (Rejected("RequestTooLarge", "7 MB"), None, "rejected (RequestTooLarge: 7 MB)"),
    ],
)
def test_the_payload_is_what_lambda_would_return(outcome, payload, title):
    shown = payload_of(outcome, "id")
    assert (json.loads(shown) if isinstance(outcome, FunctionError) and shown else shown) == payload
    assert title_of(outcome, limit=1) == title


def test_a_stopped_function_is_told_from_a_busy_one():
    assert "reserved_concurrency 0 stops the function" in title_of(Throttled(), limit=0)
    assert "stops" not in title_of(Throttled(), limit=1)


def test_the_version_is_named_where_there_is_a_choice():
    assert version_of(Success(b"", executed_version="blue")) == ", version blue"
    assert version_of(FunctionError("exit", "a", "b", executed_version="blue:3")) == ", version blue:3"
    assert version_of(Success(b"")) == version_of(Throttled()) == ""


# --- how mappings would read the answer


CHANCE = Chance.of(1)
SQS = sqs_event(
    ["a", "b", "c"],
    queue_arn=QUEUE,
    region="us-east-1",
    group=None,
    attributes={},
    windowed=False,
    chance=CHANCE,
)
KINESIS = kinesis_event(
    [b"a", b"b", b"c"], keys=["k"] * 3, stream_arn=STREAM, region="us-east-1", role_arn="", chance=CHANCE
)
DYNAMODB = dynamodb_event(
    [Change(None, {"id": name}) for name in "abc"],
    key_names=["id"],
    stream_arn=TABLE,
    region="us-east-1",
    chance=CHANCE,
)
IDS = {
    "sqs": [each["messageId"] for each in json.loads(SQS)["Records"]],
    "kinesis": [each["kinesis"]["sequenceNumber"] for each in json.loads(KINESIS)["Records"]],
    "dynamodb": [each["dynamodb"]["SequenceNumber"] for each in json.loads(DYNAMODB)["Records"]],
}


def failing(*ids: str) -> Success:
    return Success(json.dumps({"batchItemFailures": [{"itemIdentifier": each} for each in ids]}).encode())


NOTHING = Success(b"null")
BAD = failing("who?")
SQS_REPORT = {"event_source_arn": QUEUE, **REPORT}
KINESIS_REPORT = {"event_source_arn": STREAM, **FROM_START, **REPORT}
DYNAMODB_REPORT = {"event_source_arn": TABLE, **FROM_START, **REPORT}
WINDOW = {**KINESIS_REPORT, "tumbling_window_in_seconds": 30}
NOT_IN_BATCH = "the whole batch has failed: batchItemFailures[0].itemIdentifier 'who?' is not in the batch"

# The rows of the table in the module's docstring, in their order: one example or more of each.
ROWS: list[list[tuple[dict[str, Any], bytes, Success, str | None]]] = [
    [
        (SQS_REPORT, KINESIS, failing(IDS["kinesis"][0]), None),
        (SQS_REPORT, b'{"hello": "world"}', BAD, None),
        (SQS_REPORT, b"[]", BAD, None),
        (SQS_REPORT, b'{"Records": []}', BAD, None),
        (SQS_REPORT, b'{"Records": [{"eventSource": "aws:sqs"}]}', BAD, None),
        (SQS_REPORT, b'{"Records": 7}', BAD, None),
    ],
    [
        (WINDOW, KINESIS, NOTHING, "the whole batch has failed: the answer is not an object"),
    ],
    [
        (SQS_REPORT, SQS, NOTHING, "all 3 records are done"),
        (KINESIS_REPORT, KINESIS, failing(), "all 3 records are done"),
        (WINDOW, KINESIS, Success(b'{"state": {}}'), "all 3 records are done"),
    ],
    [
        (SQS_REPORT, SQS, failing(IDS["sqs"][1]), f"2 of 3 records are done; delivered again: {IDS['sqs'][1]}"),
        (
            SQS_REPORT,
            SQS,
            failing(*reversed(IDS["sqs"])),
            f"0 of 3 records are done; delivered again: {', '.join(IDS['sqs'])}",
        ),
    ],
    [
        (
            KINESIS_REPORT,
            KINESIS,
            failing(IDS["kinesis"][2], IDS["kinesis"][1]),
            f"1 of 3 records are done; tried again from {IDS['kinesis'][1]} on",
        ),
        (
            DYNAMODB_REPORT,
            DYNAMODB,
            failing(IDS["dynamodb"][0]),
            f"0 of 3 records are done; tried again from {IDS['dynamodb'][0]} on",
        ),
    ],
    [
        (SQS_REPORT, SQS, BAD, NOT_IN_BATCH),
        (KINESIS_REPORT, KINESIS, BAD, NOT_IN_BATCH),
        (SQS_REPORT, SQS, Success(b'"done"'), "the whole batch has failed: the answer is a string, not an object"),
    ],
    [
        (
            {"event_source_arn": QUEUE},
            SQS,
            failing(IDS["sqs"][0]),
            "all records are done: without function_response_types [ReportBatchItemFailures] the answer is not read",
        ),
    ],
    [
        ({"event_source_arn": QUEUE}, SQS, NOTHING, None),
        ({"event_source_arn": QUEUE}, SQS, Success(b'"done"'), None),
        ({"event_source_arn": QUEUE}, SQS, failing(), None),
    ],
]


def test_every_row_of_the_table_has_an_example():
    assert readings.__doc__ is not None
    assert len([line for line in readings.__doc__.splitlines() if line.startswith("| ")]) - 1 == len(ROWS)


@pytest.mark.parametrize(("mapping", "event", "outcome", "said"), [case for row in ROWS for case in row])
def test_a_mapping_reads_the_answer(tmp_path, mapping, event, outcome, said):
    found = list(read(config(tmp_path, orders=mapping), "handle", event, outcome))
    assert found == ([] if said is None else [f"mapping orders: {said}"])


def test_one_record_is_not_many_and_many_ids_are_not_all_named(tmp_path):
    def event(count: int) -> bytes:
        bodies = ["x"] * count
        return sqs_event(
            bodies, queue_arn=QUEUE, region="us-east-1", group=None, attributes={}, windowed=False, chance=CHANCE
        )

    settings = config(tmp_path, orders=SQS_REPORT)
    assert list(read(settings, "handle", event(1), NOTHING)) == ["mapping orders: the record is done"]
    many = event(12)
    [line] = read(settings, "handle", many, failing(*(each["messageId"] for each in json.loads(many)["Records"])))
    assert line.endswith(" and 2 more")
    assert line.count("-") == 40


def test_only_mappings_that_may_invoke_the_function_are_asked(tmp_path):
    settings = config(
        tmp_path,
        mine=SQS_REPORT,
        through={"event_source_arn": f"{QUEUE}2", "function_name": "routed", **REPORT},
        others={"event_source_arn": f"{QUEUE}3", "function_name": "other", **REPORT},
    )
    assert [line.partition(":")[0] for line in read(settings, "handle", SQS, NOTHING)] == [
        "mapping mine",
        "mapping through",
    ]
    assert [line.partition(":")[0] for line in read(settings, "routed", SQS, NOTHING)] == ["mapping through"]
