"""`esmd import`: what is written where, exit codes, and the mappings of a live endpoint."""

from __future__ import annotations

import asyncio
import importlib
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from esmd.cli import cli
from esmd.cli.lint import command as lint
from esmd.config.report import Report
from esmd.importing import live
from esmd.importing.live import import_live

from support.imports import TEMPLATES
from support.imports import Result as ImportResult

IMPORTS = [
    ("sam", TEMPLATES / "sqs-lambda.yaml"),
    ("sam", TEMPLATES / "kinesis-consumer.yaml"),
    ("cloudformation", TEMPLATES / "table-stream.json"),
    ("serverless", TEMPLATES / "serverless.yml"),
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["import", *map(str, arguments)])


@pytest.mark.parametrize(("kind", "file"), IMPORTS, ids=lambda each: getattr(each, "name", each))
def test_what_is_written_passes_lint(kind, file):
    result = run(kind, file, "-o", "esmd.yaml")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("esmd.yaml: ")
    linted = CliRunner().invoke(lint, ["esmd.yaml"])
    assert linted.exit_code == 0, linted.output
    assert run(kind, file).stdout.splitlines()[1:] != [], "and to stdout without -o"


def test_a_file_is_overwritten_by_force_only():
    Path("esmd.yaml").write_text("mine", encoding="utf-8")
    arguments = ("sam", TEMPLATES / "sqs-lambda.yaml", "-o", "esmd.yaml")
    refused = run(*arguments)
    assert (refused.exit_code, refused.stderr) == (1, "Error: esmd.yaml exists; --force overwrites it\n")
    assert Path("esmd.yaml").read_text(encoding="utf-8") == "mine"
    assert run(*arguments, "--force").exit_code == 0
    assert "OrdersFunction.Orders" in Path("esmd.yaml").read_text(encoding="utf-8")


def test_paths_are_relative_to_where_the_configuration_stands():
    Path("deep/er").mkdir(parents=True)
    Path("t.yaml").write_text((TEMPLATES / "sqs-lambda.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    run("sam", "t.yaml", "-o", "deep/er/esmd.yaml")
    assert "      - ../../src/orders\n" in Path("deep/er/esmd.yaml").read_text(encoding="utf-8")


def test_a_refusal_writes_nothing_and_ends_with_78():
    Path("t.yaml").write_text("Resources: {A: 1}", encoding="utf-8")
    result = run("sam", "t.yaml", "-o", "esmd.yaml")
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr == "t.yaml:1:16: Resources.A: a resource is a mapping with a Type\n"
    assert not Path("esmd.yaml").exists()


def test_nothing_to_import_ends_with_1():
    Path("t.yaml").write_text("Resources: {A: {Type: 'AWS::SQS::Queue'}}", encoding="utf-8")
    result = run("cloudformation", "t.yaml")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no event source mapping" in result.stderr


@pytest.mark.parametrize("text", ["novalue", "=x"])
def test_a_parameter_is_a_name_and_a_value(text):
    result = run("sam", "t.yaml", "-p", text)
    assert result.exit_code == 2
    assert "is not NAME=VALUE" in result.stderr


def test_region_and_account_are_those_of_the_arns():
    text = run("sam", TEMPLATES / "sqs-lambda.yaml", "--region", "eu-west-1", "--account", "123456789012").stdout
    assert "event_source_arn: arn:aws:sqs:eu-west-1:123456789012:orders-dev\n" in text


def test_an_endpoint_that_cannot_be_reached_ends_with_69():
    result = run("lambda", "--endpoint-url", "http://127.0.0.1:9", "--region", "us-east-1")
    assert result.exit_code == 69
    assert result.stderr.startswith("http://127.0.0.1:9: EndpointConnectionError")


def test_a_url_that_is_none_is_wrong_usage():
    result = run("lambda", "--endpoint-url", "nonsense")
    assert result.exit_code == 2
    assert "--endpoint-url" in result.stderr


# --- a live endpoint


class ResourceNotFoundException(Exception):  # noqa: N818
    """As botocore's."""


class Lambda:
    """A client whose endpoint has these mappings, a few to a page, and these functions."""

    exceptions = SimpleNamespace(ResourceNotFoundException=ResourceNotFoundException)

    def __init__(
        self, *mappings: dict[str, Any], per_page: int = 2, functions: tuple[str, ...] = ("f", "g:live")
    ) -> None:
        self.mappings, self.per_page, self.functions = mappings, per_page, functions
        self.asked: list[str] = []

    async def list_event_source_mappings(self, Marker: str = "0") -> dict[str, Any]:  # noqa: N803
        start = int(Marker)
        end = start + self.per_page
        more = {"NextMarker": str(end)} if end < len(self.mappings) else {}
        return {"EventSourceMappings": list(self.mappings[start:end]), **more}

    async def get_function(self, FunctionName: str) -> dict[str, Any]:  # noqa: N803
        self.asked.append(FunctionName)
        if FunctionName.partition("function:")[2] not in self.functions:
            raise ResourceNotFoundException
        return {"Configuration": {"Runtime": "python3.12"}}


def listed(source: str, function: str = "f", **more: Any) -> dict[str, Any]:
    return {
        "UUID": "u",
        "EventSourceArn": f"arn:aws:{source}",
        "FunctionArn": f"arn:aws:lambda:us-east-1:000000000000:function:{function}",
        "State": "Enabled",
        **more,
    }


QUEUE = "sqs:us-east-1:000000000000:q"
STREAM = "kinesis:us-east-1:000000000000:stream/s"


def imported(client: Lambda, tmp_path: Path) -> ImportResult:
    report = Report()
    found = asyncio.run(import_live(client, source=Path("there:4566"), report=report))
    return ImportResult(found, report, tmp_path)


def test_the_mappings_of_all_pages_and_each_function_once(tmp_path):
    client = Lambda(
        listed(QUEUE, BatchSize=10, MaximumBatchingWindowInSeconds=0, FunctionResponseTypes=[]),
        listed(QUEUE, "g:live", State="Disabled", ScalingConfig={"MaximumConcurrency": 5}),
        listed(
            STREAM,
            StartingPosition="AT_TIMESTAMP",
            StartingPositionTimestamp=datetime(2026, 1, 31, tzinfo=UTC),
            MaximumRetryAttempts=-1,
            MaximumRecordAgeInSeconds=-1,
            ParallelizationFactor=2,
            DestinationConfig={"OnFailure": {}},
            FilterCriteria={"Filters": [{"Pattern": '{"data": {"n": [1]}}'}]},
        ),
        listed("dynamodb:us-east-1:000000000000:table/tab/stream/2026", StartingPosition="LATEST"),
        listed("dynamodb:us-east-1:000000000000:table/tab/stream/2025", StartingPosition="LATEST"),
    )
    result = imported(client, tmp_path)
    config = result.config
    assert list(config.mappings) == ["f.q", "g-live.q", "f.s", "f.tab", "f.tab-2"]
    assert not config.mappings["g-live.q"].enabled
    assert config.mappings["f.s"].starting_position_timestamp == 1769817600
    assert [each for each in ("retry", "age", "bisect", "window", "on_failure") if each in result.text] == [], (
        "defaults"
    )
    assert [getattr(each, "target", None) for each in config.functions.values()] == ["f", "g:live"]
    assert len(client.asked) == 2


def test_what_cannot_run_here_is_left_out_with_a_warning(tmp_path):
    client = Lambda(
        listed("kafka:us-east-1:000000000000:cluster/c"),
        listed(QUEUE, "gone"),
        listed(QUEUE, State="Deleting"),
        {"UUID": "v", "FunctionArn": "x", "State": "Enabled"},
        listed(QUEUE),
    )
    result = imported(client, tmp_path)
    assert list(result.config.mappings) == ["f.q"]
    assert [line.rpartition(": ")[2] for line in result.said] == ["left out"] * 4


def test_a_list_without_an_end_is_not_followed_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "MOST_PAGES", 5)

    class Endless(Lambda):
        async def list_event_source_mappings(self, Marker: str = "0") -> dict[str, Any]:  # noqa: N803
            self.asked.append(Marker)
            return {"EventSourceMappings": [listed(QUEUE, State="Deleting")], "NextMarker": "0"}

    client = Endless()
    imported(client, tmp_path)
    assert client.asked == ["0"] * 5


def test_two_mappings_that_are_one_are_refused_without_the_place_of_a_file_that_is_gone(tmp_path):
    result = imported(Lambda(listed(QUEUE), listed(QUEUE)), tmp_path)
    assert result.failed
    assert result.said[0].endswith("already exists. Please update or delete the existing mapping f.q")


def test_the_command_is_a_group_of_four():
    group = importlib.import_module("esmd.cli.import_").command
    assert set(group.commands) == {"sam", "cloudformation", "serverless", "lambda"}
