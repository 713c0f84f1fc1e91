"""Log lines: their shape, their keys, their order, and everything that ends up among them."""

from __future__ import annotations

import contextvars
import io
import json
import logging
import re
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import structlog

from esmd.mappings.values import dataclass
from esmd.observe import logging as house
from esmd.observe.context import bound_context, context_of, request_context
from esmd.observe.daemon_events import DaemonReady, InternalError
from esmd.observe.events import Event, HandlerOutput, HandlerTimeout
from esmd.observe.mapping_events import MappingEnabled, MappingStats, PollFailed, RecordsExpired
from esmd.observe.telemetry import Broadcast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIBRARIES = ("botocore", "aiobotocore", "aiohttp", "asyncio", "urllib3")
READY = DaemonReady(mappings=2, unavailable=1, disabled=0)


@pytest.fixture(autouse=True)
def logging_restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in LIBRARIES}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, number in levels.items():
        logging.getLogger(name).setLevel(number)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


class Stream(io.StringIO):
    """A stream that may be a terminal."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


def configured(
    log_format: str = "json", level: str = "debug", *, terminal: bool = False
) -> tuple[Callable[[Event], None], Stream]:
    stream = Stream(terminal=terminal)
    return house.configure(log_format=log_format, level=level, stream=stream).sink, stream


# --- JSON


def test_a_json_line_begins_with_time_level_and_event_then_the_fields_in_their_order():
    sink, stream = configured()
    sink(READY)
    [line] = stream.lines
    assert list(line) == ["timestamp", "level", "event", "mappings", "unavailable", "disabled"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
    assert (line["level"], line["event"], line["mappings"]) == ("info", "daemon.ready", 2)


def test_fields_that_are_none_are_left_out_and_floats_are_shortened():
    event = HandlerTimeout(function="process", request_id="r", timeout_s=1.23456789, pid=None)
    assert house.fields_of(event) == {"function": "process", "request_id": "r", "timeout_s": 1.235}
    assert house.fields_of(READY) == {"mappings": 2, "unavailable": 1, "disabled": 0}


def test_texts_of_several_parts_are_lists():
    sink, stream = configured()
    sink(RecordsExpired(mapping="orders", records=2, ids=("a", "b")))
    assert stream.lines[0]["ids"] == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    ["two\nlines", 'tab\t, quote " and \\', "\x1b[31mred\x1b[0m", "nul\x00", "naïve ☃ 😀", "lone \udc80 surrogate"],
)
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_whatever_a_handler_writes_is_one_line_of_ascii_and_comes_back(text, encoding):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict", write_through=True)
    sink = house.configure(log_format="json", level="info", stream=stream).sink
    sink(HandlerOutput(function="process", request_id=None, stream="stdout", message=text))
    assert raw.getvalue().count(b"\n") == 1
    assert json.loads(raw.getvalue())["message"] == text


def test_percent_signs_and_braces_are_no_formats():
    sink, stream = configured()
    sink(HandlerOutput(function="process", request_id=None, stream="stdout", message="100% %s {0} {x}"))
    assert stream.lines[0]["message"] == "100% %s {0} {x}"


# --- levels


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", {"poll.failed", "daemon.ready", "records.expired", "internal.error"}),
        ("info", {"daemon.ready", "records.expired", "internal.error"}),
        ("warning", {"records.expired", "internal.error"}),
        ("error", {"internal.error"}),
    ],
)
def test_only_events_of_the_level_and_above_are_written(level, expected):
    sink, stream = configured(level=level)
    sink(PollFailed(mapping="orders", error_type="X", error_message="y", retry_in_s=1))
    sink(READY)
    sink(RecordsExpired(mapping="orders", records=0, ids=()))
    sink(InternalError(where="here", error_type="X", error_message="y", stack=()))
    assert {line["event"] for line in stream.lines} == expected


@pytest.mark.parametrize(("level", "expected"), [("debug", ["own", "library"]), ("error", [])])
def test_libraries_are_held_at_warning_and_at_the_level_if_that_is_higher(level, expected):
    _, stream = configured(level=level)
    logging.getLogger("botocore.parsers").debug("chatter")
    logging.getLogger("aiohttp.client").info("chatter")
    logging.getLogger("my.handler").debug("own")
    logging.getLogger("botocore.credentials").warning("library")
    assert [line["event"] for line in stream.lines] == expected


# --- context


def test_what_is_bound_is_on_every_line_of_events_and_of_libraries():
    sink, stream = configured()
    with bound_context(mapping="orders", batch_id="b1"):
        sink(HandlerOutput(function="process", request_id=None, stream="stdout", message="hello"))
        logging.getLogger("my.handler").info("charged %s", "card")
    sink(READY)
    output, record, after = stream.lines
    assert (output["mapping"], output["batch_id"], output["function"]) == ("orders", "b1", "process")
    assert (record["mapping"], record["batch_id"], record["logger"]) == ("orders", "b1", "my.handler")
    assert (record["event"], record["level"]) == ("charged card", "info")
    assert list(record)[:3] == ["timestamp", "level", "event"]
    assert "mapping" not in after


def test_a_field_of_the_event_wins_over_what_is_bound():
    sink, stream = configured()
    with bound_context(mapping="bound"):
        sink(PollFailed(mapping="own", error_type="X", error_message="y", retry_in_s=1))
    assert stream.lines[0]["mapping"] == "own"


def test_a_line_from_another_task_is_joined_to_its_batch_by_the_request_id():
    sink, stream = configured()
    output = HandlerOutput(function="process", request_id="r1", stream="stdout", message="hello")
    elsewhere = contextvars.Context().run
    with request_context("r1", mapping="orders", batch_id="b1"):
        elsewhere(sink, output)
        elsewhere(sink, HandlerOutput(function="process", request_id="r2", stream="stdout", message="stranger"))
    elsewhere(sink, output)
    within, stranger, after = stream.lines
    assert (within["mapping"], within["batch_id"], within["request_id"]) == ("orders", "b1", "r1")
    assert "mapping" not in stranger
    assert "mapping" not in after


def test_a_request_is_forgotten_however_it_ends():
    def invoke():
        with request_context("r1", mapping="orders"):
            assert context_of("r1") == {"mapping": "orders"}
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        invoke()
    assert context_of("r1") == {}
    assert context_of(None) == {}


# --- the stdlib's records


def test_an_exception_of_a_library_is_in_its_line():
    _, stream = configured()
    try:
        {}["nobody home"]
    except LookupError:
        logging.getLogger("my.handler").exception("failed")
    [line] = stream.lines
    assert line["level"] == "error"
    assert "KeyError: 'nobody home'" in line["exception"]
    assert "test_logging.py" in line["exception"]


def test_a_warning_is_a_line_too():
    _, stream = configured()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old habit", DeprecationWarning, stacklevel=1)
    [line] = stream.lines
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")
    assert "old habit" in line["event"]


def test_configuring_twice_writes_each_record_once():
    configured()
    _, stream = configured()
    logging.getLogger("my.handler").info("once")
    assert len(stream.lines) == 1


# --- console


def test_a_terminal_gets_a_line_to_read_and_anything_else_json():
    sink, stream = configured("auto", terminal=True)
    sink(READY)
    assert re.match(r"\S*\d\d:\d\d:\d\d\.\d{3}\S* .*daemon\.ready.*mappings.*2", stream.getvalue())
    sink, stream = configured("auto")
    sink(READY)
    assert stream.lines[0]["event"] == "daemon.ready"


def test_the_console_shows_records_of_libraries_with_their_logger_and_traceback():
    _, stream = configured("console")
    try:
        {}["nobody home"]
    except LookupError:
        logging.getLogger("my.handler").exception("failed")
    assert "my.handler" in stream.getvalue()
    assert "KeyError" in stream.getvalue()


@pytest.mark.parametrize(
    ("environ", "terminal", "coloured"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
    ],
)
def test_colours_follow_the_terminal_and_its_conventions(monkeypatch, environ, terminal, coloured):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    sink, stream = configured("console", terminal=terminal)
    sink(READY)
    assert ("\x1b[" in stream.getvalue()) is coloured


# --- a stream that takes no more


class Closed(Stream):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_closed_pipe_breaks_nobody_who_says_something(log_format):
    sink = house.configure(log_format=log_format, level="info", stream=Closed())
    counted = []
    Broadcast(sink, counted.append).emit(READY)
    assert counted == [READY]


def test_every_sink_hears_every_event_in_order():
    heard = []
    telemetry = Broadcast(lambda event: heard.append(("a", event)), lambda event: heard.append(("b", event)))
    telemetry.emit(READY)
    assert heard == [("a", READY), ("b", READY)]


# --- events in general


def test_an_unknown_event_is_a_line_by_the_same_rules():
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Invented(Event):
        name: ClassVar[str] = "invented.thing"
        level: ClassVar[Any] = "warning"
        what: str
        how_much: float | None = None

    sink, stream = configured()
    sink(Invented(what="x"))
    [line] = stream.lines
    assert (line["event"], line["level"], line["what"]) == ("invented.thing", "warning", "x")
    assert "how_much" not in line


def test_wide_events_keep_the_order_of_their_class():
    sink, stream = configured()
    stats = MappingStats(
        mapping="orders",
        period_s=60.0,
        received=1,
        filtered=0,
        invoked=1,
        failed=0,
        deleted=1,
        batches=1,
        batch_errors=0,
        duration_avg_ms=None,
        duration_max_ms=None,
        in_flight=0,
        pollers=1,
        concurrency=5,
        available=True,
    )
    sink(stats)
    assert list(stream.lines[0])[3:] == list(house.fields_of(stats))
    assert "duration_avg_ms" not in stream.lines[0]


def test_a_source_without_a_redrive_policy_says_nothing_of_it():
    event = MappingEnabled(
        mapping="orders",
        source="arn",
        function="process",
        batch_size=10,
        window_s=0,
        max_concurrency=10,
        visibility_timeout_s=30,
        max_receive_count=None,
    )
    assert "max_receive_count" not in house.fields_of(event)
