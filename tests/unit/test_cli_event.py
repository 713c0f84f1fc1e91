"""`esmd event`: events as AWS has them, built around what the user gives, the same for the same seed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml
from click.testing import CliRunner

from esmd.cli import cli
from esmd.cli.pretty import indented
from esmd.dev.sample_events import typed
from esmd.mappings.stream_events import ordering_key_of_item

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

KINDS = ["sqs", "kinesis", "dynamodb"]


def esmd(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["event", *arguments])


def records(*arguments: str) -> list[dict[str, Any]]:
    """The records of the event that is printed; one line, nothing else."""
    result = esmd(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    found: list[dict[str, Any]] = json.loads(result.stdout)["Records"]
    return found


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- all kinds


@pytest.mark.parametrize("kind", KINDS)
def test_the_help_of_each_kind_has_examples_and_explains_every_option(kind):
    output = esmd(kind, "--help").output
    assert len(re.findall(rf"^ +esmd event {kind}\b", output, re.MULTILINE)) >= 3
    group = cli.get_command(click.Context(cli), "event")
    assert isinstance(group, click.Group)
    assert [p.opts for p in group.commands[kind].params if isinstance(p, click.Option) and not p.help] == []


def test_the_help_lists_the_kinds_and_shows_how_to_go_on():
    output = esmd("--help").output
    assert re.findall(r"^  (\w+)  ", output.partition("Commands:")[2], re.MULTILINE) == KINDS
    assert "| esmd invoke orders -e -" in output


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_record_given_one_is_made_up(kind):
    assert len(records(kind)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_as_asked_for_each_with_an_id_of_its_own(kind):
    found = records(kind, "-n", "25")
    assert len({each.get("eventID") or each["messageId"] for each in found}) == 25


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_prints_the_same_event_and_another_seed_another(kind):
    first, again, other = (esmd(kind, "-n", "3", "--seed", seed).stdout for seed in ("1", "1", "2"))
    assert first == again
    assert first != other


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_seed_every_event_is_new(kind):
    assert esmd(kind).stdout != esmd(kind).stdout


@pytest.mark.parametrize("count", ["0", "-1", "10001", "x"])
def test_a_number_of_records_that_no_batch_has_is_wrong_usage(count):
    assert esmd("sqs", "-n", count).exit_code == 2


# --- SQS


def test_a_message_has_the_fields_that_aws_sends_and_digests_that_are_right():
    [record] = records("sqs", "--body", '{"order": 7}', "--queue", "shop")
    assert list(record) == [
        "messageId",
        "receiptHandle",
        "body",
        "attributes",
        "messageAttributes",
        "md5OfBody",
        "eventSource",
        "eventSourceARN",
        "awsRegion",
    ]
    assert record["body"] == '{"order": 7}'
    assert record["md5OfBody"] == hashlib.md5(b'{"order": 7}', usedforsecurity=False).hexdigest()
    assert record["eventSourceARN"] == "arn:aws:sqs:us-east-1:000000000000:shop"
    sent, received = (int(record["attributes"][name]) for name in ("SentTimestamp", "ApproximateFirstReceiveTimestamp"))
    assert sent <= received
    assert record["attributes"]["ApproximateReceiveCount"] == "1"


def test_every_body_is_a_message_and_they_are_repeated_in_turn(here):
    (here / "third.json").write_bytes('{"☃": 1}\n'.encode())
    given = ["--body", "one", "--body", "not JSON", "--body", "@third.json"]
    assert [each["body"] for each in records("sqs", *given)] == ["one", "not JSON", '{"☃": 1}\n']
    assert [each["body"] for each in records("sqs", *given, "-n", "4")][3] == "one"


@pytest.mark.parametrize("arguments", [["--fifo"], ["--queue", "orders.fifo"], ["--group", "default"]])
def test_a_fifo_queue_adds_its_attributes_in_order(arguments):
    found = records("sqs", "-n", "3", *arguments)
    assert {each["eventSourceARN"].rpartition(":")[2] for each in found} == {"orders.fifo"}
    assert {each["attributes"]["MessageGroupId"] for each in found} == {"default"}
    numbers = [int(each["attributes"]["SequenceNumber"]) for each in found]
    assert numbers == sorted(set(numbers))
    assert len(str(numbers[0])) == 20
    assert len({each["attributes"]["MessageDeduplicationId"] for each in found}) == 3


def test_attributes_are_text_with_the_digest_that_sqs_makes():
    [record] = records("sqs", "--attribute", "source=web", "--attribute", "formula=a=b")
    assert {name: entry["stringValue"] for name, entry in record["messageAttributes"].items()} == {
        "source": "web",
        "formula": "a=b",
    }
    # The length of each part, then the part, in the order of names; 1 stands for text [SQS developer guide].
    parts = [b"formula", b"String", b"\x01", b"a=b", b"source", b"String", b"\x01", b"web"]
    expected = b"".join(part if part == b"\x01" else len(part).to_bytes(4) + part for part in parts)
    assert record["md5OfMessageAttributes"] == hashlib.md5(expected, usedforsecurity=False).hexdigest()


def test_a_queue_may_be_named_by_its_arn():
    [record] = records("sqs", "--queue", "arn:aws:sqs:eu-west-1:123456789012:shop")
    assert record["eventSourceARN"] == "arn:aws:sqs:eu-west-1:123456789012:shop"
    assert record["awsRegion"] == "eu-west-1"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--queue", "arn:aws:sqs:us-east-1:000000000000:orders", "--fifo"], "is not a FIFO queue"),
        (["--queue", "no queue"], "queue name must be"),
        (["--queue", "arn:aws:kinesis:us-east-1:000000000000:stream/orders"], "must be a queue's ARN"),
        (["--attribute", "source"], "is not NAME=TEXT"),
        (["--attribute", "=web"], "is not NAME=TEXT"),
        (["--body", "@missing.json"], "cannot read 'missing.json'"),
        (["--body", "@binary"], "not UTF-8 at byte 2"),
        (["--mapping", "orders"], "esmd.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_is_said(here, arguments, complaint):
    (here / "binary").write_bytes(b"a\xff")
    result = esmd("sqs", *arguments)
    assert result.exit_code in {2, 78}
    assert complaint in result.stderr
    assert result.stdout == ""


# --- Kinesis


def test_a_record_of_a_stream_has_its_data_in_base64_and_a_growing_sequence_number():
    found = records("kinesis", "--body", "one", "--body", '{"n": 2}', "--key", "sensor-1", "--stream", "readings")
    assert [base64.b64decode(each["kinesis"]["data"]) for each in found] == [b"one", b'{"n": 2}']
    assert {each["kinesis"]["partitionKey"] for each in found} == {"sensor-1"}
    numbers = [each["kinesis"]["sequenceNumber"] for each in found]
    assert [len(number) for number in numbers] == [56, 56]
    assert int(numbers[0]) < int(numbers[1])
    assert [each["eventID"] for each in found] == [f"shardId-000000000000:{number}" for number in numbers]
    assert {each["eventSourceARN"] for each in found} == {"arn:aws:kinesis:us-east-1:000000000000:stream/readings"}


def test_data_may_be_a_file_of_any_content(here):
    (here / "picture.png").write_bytes(b"\x89PNG\x00")
    [record] = records("kinesis", "--body", "@picture.png")
    assert base64.b64decode(record["kinesis"]["data"]) == b"\x89PNG\x00"


# --- DynamoDB


def test_plain_json_becomes_typed():
    item = {"id": "a", "n": 1, "price": Decimal("9.90"), "big": Decimal("1e3"), "on": True, "off": None}
    nested = {"list": ["x", 2, []], "map": {"deep": {}}}
    assert {name: typed(value) for name, value in (item | nested).items()} == {
        "id": {"S": "a"},
        "n": {"N": "1"},
        "price": {"N": "9.9"},
        "big": {"N": "1000"},
        "on": {"BOOL": True},
        "off": {"NULL": True},
        "list": {"L": [{"S": "x"}, {"N": "2"}, {"L": []}]},
        "map": {"M": {"deep": {"M": {}}}},
    }


@pytest.mark.parametrize(
    ("arguments", "name", "images"),
    [
        (["--item", '{"id": "a", "n": 2}'], "INSERT", ["NewImage"]),
        (["--old", '{"id": "a", "n": 1}'], "REMOVE", ["OldImage"]),
        (["--item", '{"id": "a", "n": 2}', "--old", '{"id": "a", "n": 1}'], "MODIFY", ["NewImage", "OldImage"]),
        (["--event-name", "INSERT"], "INSERT", ["NewImage"]),
        (["--event-name", "REMOVE"], "REMOVE", ["OldImage"]),
        (["--event-name", "MODIFY"], "MODIFY", ["NewImage", "OldImage"]),
    ],
)
def test_what_happened_follows_from_the_images(arguments, name, images):
    [record] = records("dynamodb", *arguments)
    change = record["dynamodb"]
    assert record["eventName"] == name
    assert [image for image in ("NewImage", "OldImage") if image in change] == images
    assert all(change[image]["id"] == change["Keys"]["id"] for image in images)
    assert len({json.dumps(change[image]) for image in images}) == len(images), "a change changes something"
    assert change["StreamViewType"] == "NEW_AND_OLD_IMAGES"


def test_keys_may_be_two_and_have_other_names():
    [record] = records("dynamodb", "--item", '{"sku": "a", "at": 5, "n": 1}', "--key", "sku", "--key", "at")
    assert record["dynamodb"]["Keys"] == {"sku": {"S": "a"}, "at": {"N": "5"}}
    assert ordering_key_of_item(record["dynamodb"]["Keys"])


def test_numbers_keep_all_their_digits():
    [record] = records("dynamodb", "--item", '{"id": 9007199254740993, "n": 0.12345678901234567890123456789}')
    assert record["dynamodb"]["NewImage"] == {
        "id": {"N": "9007199254740993"},
        "n": {"N": "0.12345678901234567890123456789"},
    }


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--item", "{"], "at line 1, column 2"),
        (["--item", "[]"], "an item is an object"),
        (["--item", '{"n": NaN}'], "NaN is not JSON"),
        (["--item", '{"sku": "a"}'], "the item has no attribute 'id'; name its key with --key"),
        (["--item", '{"id": ""}'], "the key 'id' has to be text or a number"),
        (["--item", '{"id": null}'], "the key 'id' has to be text or a number"),
        (["--item", '{"id": {}}'], "the key 'id' has to be text or a number"),
        (["--item", '{"id": 1}', "--event-name", "REMOVE"], "with these images it is INSERT"),
        (["--item", '{"id": 1}', "--old", '{"id": 1}'], "item 1 does not change"),
        (["--item", '{"id": 1}', "--old", '{"id": 2}'], "different keys"),
        (["--item", '{"id": 1}', "--item", '{"id": 2}', "--old", '{"id": 2}'], "2 --item and 1 --old"),
        (["--table", "arn:aws:dynamodb:us-east-1:000000000000:table/orders"], "must name a stream of the table"),
    ],
)
def test_changes_that_no_table_has_are_refused(arguments, complaint):
    result = esmd("dynamodb", *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr


# --- of a mapping


@pytest.fixture
def config(here: Path) -> Path:
    (here / "handlers.py").write_text("def handle(event, context):\n    pass\n")
    arns = {
        "fast": "arn:aws:sqs:eu-west-1:000000000000:fast",
        "slow": "arn:aws:sqs:eu-west-1:000000000000:slow",
        "line": "arn:aws:sqs:eu-west-1:000000000000:line.fifo",
        "clicks": "arn:aws:kinesis:eu-west-1:000000000000:stream/clicks",
        "stock": "arn:aws:dynamodb:eu-west-1:000000000000:table/stock/stream/latest",
    }
    extra: dict[str, dict[str, Any]] = {
        "slow": {"maximum_batching_window_in_seconds": 5},
        "clicks": {"starting_position": "LATEST"},
        "stock": {"starting_position": "LATEST"},
    }
    file = here / "esmd.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "version": 1,
                "functions": {"handle": {"handler": "handlers:handle"}},
                "mappings": {
                    name: {"event_source_arn": arn, "function_name": "handle", **extra.get(name, {})}
                    for name, arn in arns.items()
                },
            }
        )
    )
    return file


@pytest.mark.parametrize(
    ("kind", "name", "arn"),
    [
        ("sqs", "fast", "arn:aws:sqs:eu-west-1:000000000000:fast"),
        ("sqs", "line", "arn:aws:sqs:eu-west-1:000000000000:line.fifo"),
        ("kinesis", "clicks", "arn:aws:kinesis:eu-west-1:000000000000:stream/clicks"),
        ("dynamodb", "stock", "arn:aws:dynamodb:eu-west-1:000000000000:table/stock/stream/2026-01-01T00:00:00.000"),
    ],
)
def test_a_mapping_gives_arn_and_region(config, kind, name, arn):
    [record] = records(kind, "--mapping", name)
    assert record["eventSourceARN"] == arn
    assert record["awsRegion"] == "eu-west-1"


def test_a_mapping_with_a_window_has_its_null_digest(config):
    [slow], [fast] = records("sqs", "--mapping", "slow"), records("sqs", "--mapping", "fast")
    assert slow["md5OfMessageAttributes"] is None
    assert "md5OfMessageAttributes" not in fast


def test_a_mapping_may_be_in_another_file(config):
    other = config.rename(config.with_name("other.yaml"))
    assert records("sqs", "--mapping", "fast", "--config", str(other))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["sqs", "--mapping", "fats"], "there is no mapping 'fats'; there are: clicks, fast, line, slow, stock"),
        (["sqs", "--mapping", "clicks"], "the mapping 'clicks' reads from kinesis: esmd event kinesis"),
        (["sqs", "--mapping", "fast", "--fifo"], "fast is not a FIFO queue"),
    ],
)
def test_a_mapping_that_does_not_fit_is_said(config, arguments, complaint):
    result = esmd(*arguments)
    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.split())


# --- on a terminal


def test_indented_json_has_every_value_as_it_was_written():
    text = '{"a":1.10,"b":[],"c":{},"a":[1e400,"x, \\"{\\" ☃",{"d":null}]}'
    assert indented(text) == (
        '{\n  "a": 1.10,\n  "b": [],\n  "c": {},\n  "a": [\n    1e400,\n    "x, \\"{\\" ☃",\n'
        '    {\n      "d": null\n    }\n  ]\n}'
    )


@pytest.mark.parametrize("text", ["", "not JSON", '{"a":', "[" * 100_000])
def test_what_is_no_json_is_left_as_it_is(text):
    assert indented(text) == text


@pytest.mark.parametrize("text", ["null", '"text"', "[]", "{}", "3", '[[], {"a": {}}]'])
def test_indenting_changes_no_value(text):
    assert json.loads(indented(text)) == json.loads(text)
