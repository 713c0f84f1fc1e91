"""Targets that read what the user wrote: configuration files, settings, filter patterns."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from esmd.config import values
from esmd.config.document import MAX_DEPTH, MAX_NODES, Listing, Scalar, Table, read_document
from esmd.config.loader import load
from esmd.config.report import Report
from esmd.mappings.filters import compile_filters, filter_warnings
from esmd.mappings.patterns import InvalidPattern, compile_pattern

FILE = Path(tempfile.gettempdir()) / "fuzzed.yaml"
SOURCES = ("sqs", "kinesis", "dynamodb")


class _InMemory(type(FILE)):  # type: ignore[misc] - a path whose file is never on a disk
    """A path to bytes."""

    raw = b""

    def is_dir(self):
        return False

    def open(self, *_args, **_options):
        import io

        return io.BytesIO(self.raw)


def configuration(data: bytes) -> None:
    """`load` gives a configuration, or errors that a terminal can show."""
    path = _InMemory(FILE)
    path.raw = data
    loaded = load([path], environ={"A": "\udcff", "B": "7", "C": "x" * 1000})
    assert (loaded.config is None) == any(each.severity == "error" for each in loaded.diagnostics)
    for each in loaded.diagnostics:
        assert str(each).isprintable()
        assert len(str(each)) < 20_000


def document(data: bytes) -> None:
    """A document has no more levels and nodes than are allowed, aliases expanded."""
    report = Report()
    root = read_document(data, file=FILE, report=report)
    assert root is not None or report.failed
    level = [] if root is None else [root]
    depth = nodes = 0
    while level:
        nodes += len(level)
        below = []
        for node in level:
            if isinstance(node, Listing):
                below += node.items
            elif isinstance(node, Table):
                below += [each for entry in node.entries for each in entry]
            else:
                assert isinstance(node, Scalar)
        depth, level = depth + 1, below
    assert depth <= MAX_DEPTH + 1
    assert nodes <= 2 * MAX_NODES


def settings(data: bytes) -> None:
    """The small languages of settings refuse with a sentence."""
    text = data.decode(errors="surrogateescape")
    readers = (
        values.seconds,
        values.instant,
        values.handler,
        values.service_of,
        values.queue_arn,
        lambda given: values.stream_arn(given, kind="kinesis"),
        lambda given: values.stream_arn(given, kind="dynamodb"),
        values.lambda_target,
    )
    for read in readers:
        try:
            read(text)
        except ValueError as error:
            assert len(str(error)) < 2000


def pattern(data: bytes) -> None:
    """A text is a pattern or an `InvalidPattern`; a pattern judges any event without raising."""
    text, _, event = data.decode(errors="surrogateescape").partition("\x1e")
    try:
        compiled = compile_pattern(text)
    except InvalidPattern as error:
        assert error.message
        assert error.offset is None or 0 <= error.offset <= len(text)
        return
    for source in SOURCES:
        try:
            record_filter = compile_filters([text], source=source)
            filter_warnings(text, source=source)
        except InvalidPattern:
            continue
        for record in _records(event):
            assert record_filter.matches(record) in {True, False}
    assert compiled.matches({"body": text, "a": [text]}) in {True, False}


FILTERS = [
    compile_filters([json.dumps(each)], source=source)
    for source, key in (("sqs", "body"), ("kinesis", "data"), ("dynamodb", "dynamodb"))
    for each in (
        {key: {"a": [{"numeric": [">", 0, "<", 1e300]}], "b": {"c": [{"exists": False}]}}},
        {"$or": [{key: {"a": [{"cidr": "10.0.0.0/8"}, 1.5]}}, {"eventName": [{"wildcard": "a*b*c*d*e*f"}]}]},
        {key: {"a": {"a": {"a": [{"anything-but": {"suffix": "x"}}]}}, "a.a": [{"equals-ignore-case": "ß"}]}},
    )
]


def filtered_record(data: bytes) -> None:
    """A record passes a filter or does not, whatever is in it."""
    for record in _records(data.decode(errors="surrogateescape")):
        for record_filter in FILTERS:
            assert record_filter.matches(record) in {True, False}


def _records(text):
    """Records around and of a text."""
    yield {"body": text}
    yield {"kinesis": {"data": text}}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return
    yield {"dynamodb": found, "eventName": found, "body": found, "kinesis": {"data": found}}
    yield {"kinesis": found}
    if isinstance(found, dict):
        yield found


_CONFIG = {
    "version": 1,
    "aws": {"endpoint_url": "http://localhost:4566", "region": "us-east-1"},
    "functions": {
        "f": {"handler": "m.f", "timeout": 3, "environment": {"A": "${B}"}, "python_path": ["."], "tags": {"a": "b"}},
        "g": {"url": "http://localhost:1/", "timeout": "30s", "reserved_concurrency": 3},
        "h": {"command": ["./run", "x"], "handler": "x", "memory_size": 128},
        "r": {"versions": {"f": 3, "g": 1}},
    },
    "mappings": {
        "m": {
            "event_source_arn": "arn:aws:sqs:us-east-1:000000000000:q",
            "function_name": "f",
            "batch_size": 10,
            "maximum_batching_window_in_seconds": 1,
            "filter_criteria": {
                "filters": [{"pattern": {"body": {"a": [1, {"prefix": "x"}]}}}, {"pattern": '{"a":[1]}'}]
            },
            "scaling_config": {"maximum_concurrency": 2},
            "function_response_types": ["ReportBatchItemFailures"],
        },
        "k": {
            "EventSourceArn": "arn:aws:kinesis:us-east-1:000000000000:stream/s",
            "FunctionName": "g",
            "StartingPosition": "AT_TIMESTAMP",
            "StartingPositionTimestamp": "2026-01-31T12:00:00Z",
            "ParallelizationFactor": 2,
            "TumblingWindowInSeconds": 30,
            "BisectBatchOnFunctionError": True,
            "MaximumRetryAttempts": 3,
            "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:dlq"}},
        },
        "d": {
            "event_source_arn": "arn:aws:dynamodb:us-east-1:000000000000:table/tab/stream/2024-01-01T00:00:00.000",
            "function_name": "h",
            "starting_position": "TRIM_HORIZON",
            "maximum_record_age_in_seconds": 60,
        },
    },
    "state": {"path": "x.db"},
    "x-a": {"b": [1, 2.5, None]},
}
_YAML = b"""\
x-base: &base {timeout: 3, environment: {A: "${A:-x}"}}
x-0: &a0 [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]
x-1: &a1 [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[*a0]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]
x-2: &a2 [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[*a1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]
x-3: &a3 [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[*a2, *a2]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]
functions:
  f: {<<: *base, handler: m.f}
  g:
    <<: [*base, *base]
    handler: 'n.g'
    timeout: 0x1F
mappings:
  m:
    event_source_arn: arn:aws:sqs:us-east-1:000000000000:q
    function_name: f
    tags: {a: 1.10}
    filter_criteria:
      filters:
        - pattern: |
            {"body": {"a": [1]}}
        - pattern: {body: {b: [{numeric: [">", 0x10]}]}}
"""
_PATTERNS = tuple(
    json.dumps(each).encode() + b"\x1e" + event
    for each, event in (
        ({"body": {"a": [1, "x", None, True], "b": {"c": [{"exists": False}]}}}, b'{"a":1,"b":[{"c":2},{"d":[[1]]}]}'),
        ({"$or": [{"a": [1]}, {"b": [{"prefix": "x"}]}, {"$or": [{"c": [1]}, {"d": [2]}]}], "e": ["f"]}, b'{"a":[1]}'),
        ({"data": {"n": [{"numeric": [">", 0, "<=", 1e3]}, {"anything-but": [1, 2]}]}}, b'{"n":5.0}'),
        (
            {"dynamodb": {"a.b": [{"wildcard": "a*b*c"}, {"cidr": "10.0.0.0/8"}]}},
            b'{"a.b":"10.1.2.3","a":{"b":"axbxc"}}',
        ),
        ({"a": [{"anything-but": {"wildcard": ["x*", "\\*"]}}, {"suffix": {"equals-ignore-case": "x"}}]}, b"{"),
    )
)
_PATTERN_WORDS = (
    *(b'"$or":[{"a":[1]},{"b":[1]}],', b'{"exists":false}', b'{"numeric":["=",1e99999999999999999999]}', b"\x1e"),
    *(b'{"wildcard":"*a*a*a*a*a"}', b'{"cidr":"::/0"}', b'{"anything-but":', b'{"prefix":', b'"a.a.a.a"', b"[1]"),
)

TARGETS = (
    (
        configuration,
        (json.dumps(_CONFIG).encode(), _YAML),
        (b"*a3", b"&x ", b"*x", b"<<: ", b"${A}", b"${", b"$$", b"!!str ", b"? ", b"- ", b"---\n", b"0x" + b"f" * 298),
    ),
    (document, (json.dumps(_CONFIG).encode(), _YAML), (b"*a2", b"*a3", b"&x ", b"*x", b"<<: *base", b"\n", b"|", b">")),
    (
        settings,
        (
            *(b"500ms", b"1.5h", b"2026-01-31T12:00:00+23:59", b"0001-01-01", b"a.b:c.d", b"a/b.c", b"f:$LATEST"),
            *(
                b"arn:aws:sqs:us-east-1:000000000000:q.fifo",
                b"arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/c:1",
            ),
            b"arn:aws:dynamodb:ddblocal:000000000000:table/tab/stream/2024-01-01T00:00:00.000",
        ),
        (b":", b"/", b".", b"s", b"9", b"-", b"T"),
    ),
    (pattern, _PATTERNS, _PATTERN_WORDS),
    (
        filtered_record,
        (
            *(seed.partition(b"\x1e")[2] for seed in _PATTERNS),
            b'{"body":"{\\"a\\":1}","kinesis":{"data":"eyJhIjoxfQ==","partitionKey":"k"},"dynamodb":{"a":{"a":{"a":"x"}}}}',
        ),
        (b"eyJhIjoxfQ==", b'"a":', b'"a.a":', b'"b":[{"c":1}]', b'"10.1.2.3"', b"1e99999999999999999999"),
    ),
)
