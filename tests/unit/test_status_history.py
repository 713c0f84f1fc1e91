"""What went wrong lately: bounded, with the lines of its invocation, and nothing of what went well."""

from __future__ import annotations

import pytest

from esmd.observe import events as say
from esmd.observe import mapping_events as seen
from esmd.observe import stream_events as streams
from esmd.observe.daemon_events import InternalError
from esmd.status.history import FAILURES, LINES, REQUESTS, History

BATCH = {"mapping": "orders", "function": "process", "batch_id": "b", "records": 3, "attempt": 1, "duration_ms": 1.0}
KEPT = {"ids": ("m",), "next": "visibility_timeout", "retry_in_s": 30.0}


def failed(request_id="r", **fields):
    values = {**BATCH, **KEPT, "request_id": request_id, "error_type": "ValueError", "error_message": "boom"}
    return seen.BatchFailed(**values | fields)


def succeeded(request_id="r", **fields):
    return seen.BatchSucceeded(**{**BATCH, "request_id": request_id, "cut": "size"} | fields)


def output(message, request_id="r", function="process"):
    return say.HandlerOutput(function=function, request_id=request_id, stream="stdout", message=message)


@pytest.fixture
def history():
    return History(wall=lambda: 1000.0)


def test_a_failed_batch_has_what_its_invocation_wrote_and_nothing_of_others(history):
    for event in (output("mine"), output("other", "r2"), failed(), output("late")):
        history.sink(event)
    [failure] = history.failures()
    assert (failure.event, failure.mapping, failure.function, failure.at) == (
        "batch.failed",
        "orders",
        "process",
        1000.0,
    )
    assert [line.message for line in failure.lines] == ["mine", "late"]
    assert failure.fields["error_message"] == "boom"


def test_what_succeeded_is_forgotten(history):
    history.sink(output("fine"))
    history.sink(succeeded())
    history.sink(failed())
    [failure] = history.failures()
    assert failure.lines == ()


def test_a_timeout_and_a_crash_are_lines_of_their_invocation(history):
    history.sink(say.HandlerTimeout(function="process", request_id="r", timeout_s=1.0, pid=7))
    history.sink(failed())
    [line] = history.failures()[0].lines
    assert (line.stream, line.message) == ("handler.timeout", "function=process timeout_s=1.0 pid=7")


def test_what_a_handler_wrote_while_it_loaded_is_with_its_failure(history):
    history.sink(output("cannot import", request_id=None))
    history.sink(
        say.FunctionInitFailed(function="process", error_type="ImportError", error_message="x", retry_in_s=1.0)
    )
    [failure] = history.failures()
    assert [line.message for line in failure.lines] == ["cannot import"]
    assert failure.mapping is None


def test_lines_of_pythons_logging_are_kept_too(history):
    history.logged("r", "my.logger", "before it failed")
    history.sink(failed())
    assert [(line.stream, line.message) for line in history.failures()[0].lines] == [("my.logger", "before it failed")]


def test_the_latest_is_first_and_the_memory_is_bounded(history):
    for number in range(FAILURES + 50):
        history.sink(failed(f"r{number}"))
    assert len(history.failures()) == FAILURES
    assert history.failures()[0].fields["request_id"] == f"r{FAILURES + 49}"
    assert len(history._by_request) == FAILURES
    for number in range(REQUESTS + 50):
        for line in range(LINES + 10):
            history.sink(output(f"line {line}", f"busy{number}"))
    assert len(history._lines) == REQUESTS
    assert max(map(len, history._lines.values())) == LINES
    history.sink(output("x" * 10_000, "long"))
    history.sink(failed("long", error_message="y" * 10_000))
    failure = history.failures()[0]
    assert len(failure.lines[0].message) == len(failure.fields["error_message"]) == 2_000


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (failed(), ("ValueError", "boom")),
        (
            seen.BatchPartial(**BATCH, **KEPT, request_id="r", failed=2),
            ("BatchItemFailures", "2 of 3 records were named as failed"),
        ),
        (
            seen.MappingUnavailable(
                mapping="orders", error_type="NoQueue", error_message="gone", failures=1, retry_in_s=1.0
            ),
            ("NoQueue", "gone"),
        ),
        (
            streams.BatchDiscarded(
                mapping="orders",
                shard="s",
                function="process",
                batch_id="b",
                condition="RetryAttemptsExhausted",
                approximate_invoke_count=3,
                records=4,
                first_sequence_number="1",
                last_sequence_number="4",
                destination=None,
            ),
            ("RetryAttemptsExhausted", "4 records were given up and dropped"),
        ),
        (streams.ShardLost(mapping="orders", shard="s"), ("ShardLost", "s vanished before it was read to its end")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_mappings_last_error(history, event, error):
    assert history.last_error("orders") is None
    history.sink(event)
    last = history.last_error("orders")
    assert (last.error_type, last.error_message, last.at) == (*error, 1000.0)
    assert len(history.failures()) == 1


def test_a_defect_is_a_failure_of_no_mapping(history):
    history.sink(InternalError(where="mapping orders", error_type="KeyError", error_message="x", stack=("a", "b")))
    assert history.failures()[0].fields["stack"] == ("a", "b")


def test_retries_and_iterator_ages(history):
    history.sink(succeeded(attempt=2))
    history.sink(succeeded(attempt=1))
    history.sink(succeeded(mapping="payments", shard="s1", iterator_age_ms=50.0))
    history.sink(failed(mapping="payments", shard="s1", iterator_age_ms=900.0, attempt=3))
    history.sink(
        streams.BatchRetrying(
            mapping="payments",
            shard="s1",
            function="f",
            batch_id="b",
            records=1,
            attempt=1,
            why="error",
            error_type="E",
            error_message="e",
            retry_in_s=1.0,
        )
    )
    assert history.retries == {"orders": 1, "payments": 1}
    assert history.iterator_age("payments", "s1") == 900.0
    assert history.iterator_age("payments", "s2") is None
    history.sink(streams.ShardFinished(mapping="payments", shard="s1", children=()))
    assert history.iterator_age("payments", "s1") is None


def test_a_mapping_that_is_gone_is_forgotten(history):
    history.sink(failed())
    history.sink(succeeded(attempt=2))
    history.forget_all_but(["payments"])
    assert history.last_error("orders") is None
    assert history.retries == {}
    assert history.failures(), "what went wrong stays to be read"
