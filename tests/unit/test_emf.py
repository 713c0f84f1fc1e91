"""Lines with CloudWatch's Embedded Metric Format: valid by its rules, with AWS's names, and only where it is wanted."""

from __future__ import annotations

import io
import json
import logging as stdlib
import re

import pytest
from click.testing import CliRunner

from esmd.cli.run import command as run
from esmd.observe import logging
from esmd.observe.daemon_events import DaemonReady
from esmd.observe.emf import EmbeddedMetrics
from esmd.observe.events import FunctionStats
from esmd.observe.mapping_events import MappingStats

UNITS = {"Count", "Milliseconds"}
SQS = MappingStats(
    mapping="orders",
    period_s=60.0,
    received=10,
    filtered=1,
    invoked=9,
    failed=2,
    deleted=7,
    batches=3,
    batch_errors=1,
    duration_avg_ms=12.3456,
    duration_max_ms=20.0,
    in_flight=1,
    pollers=2,
    concurrency=5,
    available=True,
)
STREAM = MappingStats(
    mapping="payments",
    period_s=60.0,
    received=10,
    filtered=0,
    invoked=9,
    failed=2,
    discarded=3,
    dropped=1,
    iterator_age_max_ms=1234.56789,
    batches=3,
    batch_errors=1,
    duration_avg_ms=1.0,
    duration_max_ms=1.0,
    in_flight=0,
    pollers=4,
    concurrency=4,
    available=True,
)
FUNCTION = FunctionStats(
    function="process",
    period_s=60.0,
    invocations=0,
    errors=0,
    throttles=4,
    duration_avg_ms=None,
    duration_max_ms=None,
    concurrency_max=1,
    limit=5,
)


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    root = stdlib.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before[0], before[1]
    stdlib.captureWarnings(capture=False)


def line_of(event, *, emf=True) -> dict:
    stream = io.StringIO()
    metrics = EmbeddedMetrics(wall=lambda: 1_700_000_000.1239)
    metrics.uuid_of = {"orders": "11111111-2222-3333-4444-555555555555"}.get
    sink = logging.configure(log_format="json", level="info", stream=stream, beside=metrics if emf else None).sink
    sink(event)
    return json.loads(stream.getvalue())


def check(line: dict) -> dict[str, float]:
    """The rules of the format [CloudWatch: embedded metric format specification]; the metrics by name."""
    block = line["_aws"]
    assert block.keys() == {"Timestamp", "CloudWatchMetrics"}
    assert type(block["Timestamp"]) is int
    values = {}
    for directive in block["CloudWatchMetrics"]:
        assert directive.keys() == {"Namespace", "Dimensions", "Metrics"}
        assert re.fullmatch(r"(?!AWS/)[^\s:]{1,1024}", directive["Namespace"])
        assert len(directive["Metrics"]) <= 100
        for dimensions in directive["Dimensions"]:
            assert 0 < len(dimensions) <= 30
            assert all(isinstance(line[name], str) and 1 <= len(line[name]) <= 1024 for name in dimensions)
        for metric in directive["Metrics"]:
            assert metric.keys() == {"Name", "Unit"}
            assert metric["Unit"] in UNITS
            value = line[metric["Name"]]
            assert isinstance(value, int | float)
            assert not isinstance(value, bool)
            values[metric["Name"]] = value
    return values


@pytest.mark.parametrize(
    ("event", "dimension", "metrics"),
    [
        (
            SQS,
            ("EventSourceMappingUUID", "11111111-2222-3333-4444-555555555555"),
            {
                "PolledEventCount": 10,
                "FilteredOutEventCount": 1,
                "InvokedEventCount": 9,
                "FailedInvokeEventCount": 2,
                "DeletedEventCount": 7,
                "ProvisionedPollers": 2,
            },
        ),
        (
            FUNCTION,
            ("FunctionName", "process"),
            {"Invocations": 0, "Errors": 0, "Throttles": 4, "ConcurrentExecutions": 1},
        ),
    ],
    ids=["sqs", "function"],
)
def test_statistics_carry_awss_metrics(event, dimension, metrics):
    line = line_of(event)
    assert check(line) == metrics
    assert line["_aws"]["Timestamp"] == 1_700_000_000_123
    name, value = dimension
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [[name]]
    assert line[name] == value
    assert line["event"] == event.name, "the line is what it was, and more"


def test_streams_have_ages_and_what_was_given_up():
    metrics = EmbeddedMetrics()
    line = json.loads(json.dumps({**metrics(STREAM)}))
    values = check(line)
    assert (values["DroppedEventCount"], values["OnFailureDestinationDeliveredEventCount"]) == (1, 2)
    assert values["IteratorAge"] == 1234.568
    assert "DeletedEventCount" not in values
    assert line["EventSourceMappingUUID"] == "payments", "a mapping of the API is named by its UUID"


def test_other_lines_and_a_log_without_the_option_have_no_metrics():
    assert "_aws" not in line_of(DaemonReady(mappings=1, unavailable=0, disabled=0))
    assert "_aws" not in line_of(SQS, emf=False)


def test_the_console_has_no_place_for_metrics():
    done = CliRunner().invoke(run, ["--emf", "--log-format", "console"])
    assert done.exit_code == 2
    assert "the metrics need JSON lines" in done.output
