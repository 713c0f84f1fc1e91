"""Filters of each source: which form of data meets which form of pattern, and what was recorded on AWS."""

from __future__ import annotations

import base64
import copy
import gzip
import json
from types import MappingProxyType

import pytest

from esmd.mappings import filters
from esmd.mappings.filters import compile_filters, filter_warnings
from esmd.mappings.patterns import InvalidPattern

SQS = {
    "messageId": "059f36b4",
    "receiptHandle": "AQEB",
    "body": "text",
    "attributes": {"ApproximateReceiveCount": "1", "MessageGroupId": "g"},
    "messageAttributes": {"Author": {"stringValue": "x", "stringListValues": [], "dataType": "String"}},
    "md5OfBody": "e4e68fb7",
    "eventSource": "aws:sqs",
    "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:my-queue",
    "awsRegion": "us-east-2",
}
KINESIS = {
    "kinesis": {
        "partitionKey": "1",
        "sequenceNumber": "4959",
        "data": "",
        "approximateArrivalTimestamp": 1545084650.987,
    },
    "eventSource": "aws:kinesis",
    "eventName": "aws:kinesis:record",
    "awsRegion": "us-east-2",
}
DYNAMODB = {
    "eventID": "c4ca",
    "eventName": "INSERT",
    "eventSource": "aws:dynamodb",
    "dynamodb": {
        "ApproximateCreationDateTime": 1697045500.0,
        "Keys": {"id": {"S": "a"}},
        "NewImage": {"id": {"S": "a"}, "n": {"N": "101"}, "presentKey": {"S": "test"}, "tags": {"L": [{"S": "red"}]}},
        "SequenceNumber": "1117",
    },
}


def sqs(body: object) -> dict:
    return {**SQS, "body": body}


def kinesis(data: bytes) -> dict:
    return {**KINESIS, "kinesis": {**KINESIS["kinesis"], "data": base64.b64encode(data).decode()}}


def passes(record: dict, *patterns: str, source: str) -> bool:
    before = copy.deepcopy(record)
    verdict = compile_filters(patterns, source=source).matches(record)
    assert record == before, "a filter changed the record"
    return verdict


JSON_BODY = '{"kind": "order"}'
METADATA = '"eventSource": ["aws:sqs"]'


@pytest.mark.parametrize(
    ("body", "pattern", "passing"),
    [
        # The table of the module, row by row: JSON data...
        (JSON_BODY, '{"body": {"kind": ["order"]}}', True),
        (JSON_BODY, '{"body": {"kind": ["other"]}}', False),
        (JSON_BODY, '{"body": [{"exists": true}]}', False),
        (JSON_BODY, f"{{{METADATA}}}", True),
        # ...and plain strings.
        ("text", '{"body": {"kind": ["order"]}}', False),
        ("text", '{"body": {"kind": [{"exists": false}]}}', False),
        ("text", '{"body": ["text"]}', True),
        ("text", '{"body": [{"prefix": "te"}]}', True),
        ("text", '{"body": ["other"]}', False),
        ("text", f"{{{METADATA}}}", True),
        # Metadata and data are both asked.
        (JSON_BODY, f'{{"body": {{"kind": ["order"]}}, {METADATA}}}', True),
        (JSON_BODY, '{"body": {"kind": ["order"]}, "eventSource": ["other"]}', False),
        ("text", f'{{"body": ["text"], {METADATA}}}', True),
        # The same path, spelled with a dot.
        (JSON_BODY, '{"body.kind": ["order"]}', True),
        ("text", '{"body.kind": [{"exists": false}]}', False),
        # Each way through an $or has its own form.
        (JSON_BODY, '{"$or": [{"body": {"kind": ["order"]}}, {"body": ["text"]}]}', True),
        ("text", '{"$or": [{"body": {"kind": ["order"]}}, {"body": ["text"]}]}', True),
        ("other", '{"$or": [{"body": {"kind": ["order"]}}, {"body": ["text"]}]}', False),
        # Both forms at once can never be.
        (JSON_BODY, '{"body": [{"exists": false}], "body.kind": ["order"]}', False),
        ("text", '{"body": ["text"], "body.kind": [{"exists": false}]}', False),
        # JSON means an object or a list; every other text is a plain string, quotes and all.
        ('[{"kind": "order"}]', '{"body": {"kind": ["order"]}}', True),
        (' \r\n\t{"kind": "order"} ', '{"body": {"kind": ["order"]}}', True),
        ("123", '{"body": ["123"]}', True),
        ("123", '{"body": [123]}', False),
        ('"text"', '{"body": ["text"]}', False),
        ('"text"', '{"body": ["\\"text\\""]}', True),
        ("null", '{"body": [null]}', False),
        ('{"n": NaN}', '{"body": [{"prefix": "{"}]}', True),
        ('{"n": NaN}', '{"body": {"n": [{"exists": true}]}}', False),
        ('{"cut": ', '{"body": ["{\\"cut\\": "]}', True),
        ("[" * 200_000, '{"body": [{"prefix": "[["}]}', True),
        ('\ufeff{"kind": "order"}', '{"body": {"kind": ["order"]}}', False),
        ("", '{"body": [""]}', True),
        ("", '{"body": {"kind": [{"exists": false}]}}', False),
        # Numbers stay exact.
        ('{"n": 9007199254740993}', '{"body": {"n": [9007199254740993]}}', True),
        ('{"n": 9007199254740992}', '{"body": {"n": [9007199254740993]}}', False),
        ('{"n": 0.1000000000000000000001}', '{"body": {"n": [0.1]}}', False),
        (f'{{"n": {"1" * 5000}}}', '{"body": {"n": [{"numeric": [">", 0]}]}}', True),
        # JSON inside JSON stays text.
        ('{"inner": "{\\"a\\": 1}"}', '{"body": {"inner": {"a": [1]}}}', False),
    ],
)
def test_sqs_forms_of_body_and_pattern(body, pattern, passing):
    assert passes(sqs(body), pattern, source="sqs") is passing


# The eight kinds of filters that were recorded on real mappings [specification C.4].
RECORDED_BODY = '{"message": "hey", "state": "active", "n": 5}'


@pytest.mark.parametrize(
    ("pattern", "passing"),
    [
        ('{"body": {"message": ["hey"]}}', True),
        ('{"body": {"message": ["hey", "other"]}}', True),
        ('{"body": {"message": ["hey"], "state": ["active"]}}', True),
        ('{"body": {"message": [{"exists": true}]}}', True),
        ('{"body": {"absent": [{"exists": true}]}}', False),
        ('{"body": {"n": [{"numeric": [">", 4]}]}}', True),
        ('{"body": {"n": [{"numeric": ["<", 5]}]}}', False),
        ('{"body": {"n": [{"numeric": [">", 4, "<=", 5]}]}}', True),
        ('{"body": {"state": [{"prefix": "act"}]}}', True),
    ],
)
def test_sqs_patterns_recorded_on_aws(pattern, passing):
    assert passes(sqs(RECORDED_BODY), pattern, source="sqs") is passing


@pytest.mark.parametrize(
    "pattern",
    [
        '{"attributes": {"MessageGroupId": ["g"]}}',
        '{"messageAttributes": {"Author": {"stringValue": ["x"]}}}',
        '{"awsRegion": [{"prefix": "us-"}]}',
        '{"body": [{"exists": true}], "attributes": {"SequenceNumber": [{"exists": false}]}}',
    ],
)
def test_sqs_metadata_matches(pattern):
    assert passes(SQS, pattern, source="sqs")


def test_filters_are_alternatives():
    patterns = ['{"body": {"kind": ["a"]}}', '{"body": {"kind": ["b"]}}', '{"body": ["c"]}']
    assert passes(sqs('{"kind": "b"}'), *patterns, source="sqs")
    assert passes(sqs("c"), *patterns, source="sqs")
    assert not passes(sqs('{"kind": "c"}'), *patterns, source="sqs")


@pytest.mark.parametrize("source", ["sqs", "kinesis", "dynamodb"])
def test_without_patterns_every_record_passes(source):
    empty = compile_filters([], source=source)
    assert empty.is_empty
    assert empty.matches({})
    assert not compile_filters(['{"a": [1]}'], source=source).is_empty


def test_data_is_parsed_once_and_only_if_a_pattern_asks(monkeypatch):
    parsed = []

    def counting(text: str) -> object:
        parsed.append(text)
        return json.loads(text)

    monkeypatch.setattr(filters, "decode", counting)
    body = '{"kind": "z"}'
    assert not passes(sqs(body), '{"eventSource": ["other"]}', source="sqs")
    assert parsed == []
    assert passes(sqs(body), '{"eventSource": ["aws:sqs"]}', '{"body": {"kind": ["a"]}}', source="sqs")
    assert parsed == []
    assert not passes(sqs(body), *(f'{{"body": {{"kind": ["{k}"]}}}}' for k in "abc"), source="sqs")
    assert parsed == [body]
    assert passes(sqs("plain text"), '{"body": ["plain text"]}', source="sqs")
    assert parsed == [body], "a plain string is told by its first character"


@pytest.mark.parametrize(
    ("data", "pattern", "passing"),
    [
        (b'{"tire": 5}', '{"data": {"tire": [5]}}', True),
        (b'{"tire": 5}', '{"data": {"tire": [6]}}', False),
        (b'{"tire": 5}', '{"partitionKey": ["1"]}', True),
        (b'{"tire": 5}', '{"partitionKey": ["1"], "data": {"tire": [5]}}', True),
        (b'{"tire": 5}', '{"partitionKey": ["2"], "data": {"tire": [5]}}', False),
        (b'{"tire": 5}', '{"eventName": ["aws:kinesis:record"]}', True),
        (b'{"tire": 5}', '{"approximateArrivalTimestamp": [{"numeric": [">", 1545084650]}]}', True),
        # Data is at the top, not under "kinesis".
        (b'{"tire": 5}', '{"kinesis": {"data": {"tire": [5]}}}', False),
        (b'{"tire": 5}', '{"kinesis": {"partitionKey": ["1"]}}', False),
        # What is no JSON fits no pattern on data, and any on metadata.
        (b"plain", '{"data": {"tire": [{"exists": false}]}}', False),
        (b"plain", '{"partitionKey": ["1"]}', True),
        (b"\xff\xfe{}", '{"data": {"tire": [{"exists": false}]}}', False),
        (gzip.compress(b'{"tire": 5}', mtime=0), '{"data": {"tire": [5]}}', False),
        (b"", '{"data": {"tire": [{"exists": false}]}}', False),
        (b"{}", '{"data": {"tire": [{"exists": false}]}}', True),
    ],
)
def test_kinesis(data, pattern, passing):
    assert passes(kinesis(data), pattern, source="kinesis") is passing


@pytest.mark.parametrize(
    ("pattern", "passing"),
    [
        # Recorded on AWS [specification C.4, H 10].
        ('{"dynamodb": {"NewImage": {"n": {"N": [{"numeric": [">", 100]}]}}}}', False),
        ('{"dynamodb": {"NewImage": {"n": {"N": [{"anything-but": "101"}]}}}}', False),
        ('{"dynamodb": {"NewImage": {"n": {"N": [{"anything-but": "42"}]}}}}', True),
        ('{"dynamodb": {"NewImage": {"presentKey": [{"exists": false}]}}}', True),
        ('{"dynamodb": {"NewImage": {"presentKey": [{"exists": true}]}}}', False),
        ('{"dynamodb": {"NewImage": {"presentKey": {"S": [{"exists": true}]}}}}', True),
        ('{"eventName": ["INSERT"]}', True),
        ('{"eventName": ["INSERT"], "eventSource": ["aws:dynamodb"]}', True),
        ('{"eventName": ["REMOVE"]}', False),
        ('{"dynamodb": {"ApproximateCreationDateTime": [{"numeric": [">", 1600000000]}]}}', True),
        ('{"dynamodb": {"NewImage": {"tags": {"L": {"S": ["red"]}}}}}', True),
        ('{"dynamodb": {"Keys": {"id": {"S": ["a"]}}}}', True),
        ('{"dynamodb": {"Keys": {"id": ["a"]}}}', False),
        ('{"dynamodb": {"OldImage": {"id": {"S": [{"exists": false}]}}}}', True),
    ],
)
def test_dynamodb(pattern, passing):
    assert passes(DYNAMODB, pattern, source="dynamodb") is passing


@pytest.mark.parametrize(
    ("source", "pattern", "path"),
    [
        ("kinesis", '{"data": ["text"]}', ("data",)),
        ("kinesis", '{"data": [{"exists": true}]}', ("data",)),
        ("kinesis", '{"$or": [{"partitionKey": ["1"]}, {"data": ["x"]}]}', ("$or", 1, "data")),
        ("dynamodb", '{"dynamodb": ["text"]}', ("dynamodb",)),
    ],
)
def test_streams_know_no_string_form(source, pattern, path):
    with pytest.raises(InvalidPattern, match="filtered as JSON only") as caught:
        compile_filters(['{"eventName": ["x"]}', pattern], source=source)
    assert (caught.value.path, caught.value.index) == (path, 1)
    assert caught.value.offset is not None
    assert pattern[caught.value.offset] == "["


def test_an_invalid_pattern_says_which_filter_it_is():
    with pytest.raises(InvalidPattern) as caught:
        compile_filters(['{"body": ["x"]}', '{"body": "x"}'], source="sqs")
    assert caught.value.index == 1


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"body": None},
        {"body": {"kind": "order"}},
        {"body": 5},
        {"kinesis": None},
        {"kinesis": {"data": None}},
        {"kinesis": {"data": "not base64"}},
        {"kinesis": {"data": "é"}},
        {"kinesis": {"data": "AAA"}},
        {"dynamodb": "text"},
    ],
)
@pytest.mark.parametrize(
    ("source", "pattern"),
    [
        ("sqs", '{"body": {"kind": ["order"]}}'),
        ("kinesis", '{"data": {"kind": ["order"]}}'),
        ("dynamodb", '{"dynamodb": {"Keys": {"id": {"S": ["a"]}}}}'),
    ],
)
def test_a_record_out_of_shape_does_not_pass(record, source, pattern):
    assert not passes(record, pattern, source=source)


@pytest.mark.parametrize(
    ("source", "pattern", "messages"),
    [
        ("sqs", '{"body": {"a": ["x"]}}', []),
        ("sqs", '{"body": ["x"]}', []),
        ("sqs", '{"attributes": {"a": ["x"]}}', ['documents filters under "body" only, not on "attributes.a"']),
        ("kinesis", '{"partitionKey": ["x"]}', ['documents filters under "data" only, not on "partitionKey"']),
        ("kinesis", '{"kinesis": {"data": {"a": ["x"]}}}', ['nothing is found under "kinesis"']),
        ("dynamodb", '{"eventName": ["x"]}', []),
        (
            "sqs",
            '{"body": {"a": [{"wildcard": "x*"}]}, "$or": [{"eventSource": ["x"]}, {"awsRegion": ["y"]}]}',
            ["may refuse", 'not on "eventSource"', 'not on "awsRegion"'],
        ),
    ],
)
def test_warnings_of_a_source(source, pattern, messages):
    found = filter_warnings(pattern, source=source)
    assert len(found) == len(messages)
    assert all(part in warning.message for warning, part in zip(found, messages, strict=True))


def test_a_warning_of_a_source_names_the_place():
    (found,) = filter_warnings('{"attributes": {"a": ["x"]}}', source="sqs")
    assert (found.path, found.offset) == (("attributes", "a"), 21)


def test_a_pattern_on_the_data_is_tried_after_one_that_is_not():
    filters = compile_filters(['{"eventSource": ["other"]}', '{"body": {"a": [1]}}'], source="sqs")
    assert filters.matches({"eventSource": "aws:sqs", "body": '{"a": 1}'})


@pytest.mark.parametrize("source", ["sqs", "dynamodb", "kinesis"])
def test_a_record_may_be_any_mapping(source):
    filters = compile_filters(['{"eventSource": ["x"]}'], source=source)
    assert filters.matches(MappingProxyType({"eventSource": "x"}))


@pytest.mark.parametrize(
    ("data", "passes"), [("eyJhIjoxfQ==", True), ("eyJh!IjoxfQ==", False), ("eyJhIjox fQ==", False)]
)
def test_data_that_is_no_clean_base64_is_no_json(data, passes):
    filters = compile_filters(['{"data": {"a": [1]}}'], source="kinesis")
    assert filters.matches({"kinesis": {"data": data}}) is passes
