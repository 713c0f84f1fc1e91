"""Patterns against AWS's verdicts, the specification's table of edge cases, and what a compiled pattern promises."""

from __future__ import annotations

import json
from collections import OrderedDict
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType

import pytest

from esmd.mappings.exact_json import MAX_PATTERN_DEPTH, decode
from esmd.mappings.patterns import (
    MAX_BRANCHES,
    MAX_EVENT_DEPTH,
    MAX_STEPS,
    InvalidPattern,
    compile_pattern,
    pattern_warnings,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "data/event_filter_golden.json").read_text(encoding="utf-8"))


def verdict(pattern: str, event: str) -> str:
    try:
        compiled = compile_pattern(pattern)
    except InvalidPattern:
        return "invalid-pattern"
    try:
        value = decode(event)
    except ValueError:
        return "invalid-event"
    if not isinstance(value, dict):
        return "invalid-event"
    return "match" if compiled.matches(value) else "no-match"


def test_the_golden_cases_are_all_here():
    assert len(GOLDEN) == 134
    assert {case["expect"] for case in GOLDEN} == {"match", "no-match", "invalid-pattern", "invalid-event"}


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_agrees_with_the_reference_engine(case):
    assert verdict(case["pattern"], case["event"]) == case["expect"]


# Every row of the table of edge cases [specification C.4]; "x" is the field's path where not written out.
EDGE_CASES = [
    # anything-but needs the field to be there, and takes null and values of other kinds
    ('{"x": [{"anything-but": "v"}]}', "{}", "no-match"),
    ('{"x": [{"anything-but": ["v"]}]}', "{}", "no-match"),
    ('{"x": [{"anything-but": {"prefix": "v"}}]}', "{}", "no-match"),
    ('{"x": [{"anything-but": {"suffix": "v"}}]}', "{}", "no-match"),
    ('{"x": [{"anything-but": {"wildcard": "v*"}}]}', "{}", "no-match"),
    ('{"x": [{"anything-but": {"equals-ignore-case": "v"}}]}', "{}", "no-match"),
    ('{"x": [{"anything-but": "v"}]}', '{"x": null}', "match"),
    ('{"x": [{"anything-but": ["v"]}]}', '{"x": null}', "match"),
    ('{"x": [{"anything-but": {"prefix": "v"}}]}', '{"x": null}', "match"),
    ('{"x": [{"anything-but": {"suffix": "v"}}]}', '{"x": null}', "match"),
    ('{"x": [{"anything-but": {"wildcard": "v*"}}]}', '{"x": null}', "match"),
    ('{"x": [{"anything-but": {"equals-ignore-case": "v"}}]}', '{"x": null}', "match"),
    ('{"x": [{"anything-but": {"prefix": "init"}}]}', '{"x": 5}', "match"),
    ('{"x": [{"anything-but": {"wildcard": "init*"}}]}', '{"x": 5}', "match"),
    ('{"x": [{"anything-but": {"prefix": {"equals-ignore-case": "x"}}}]}', "{}", "invalid-pattern"),
    ('{"x": [{"anything-but": {"suffix": {"equals-ignore-case": "x"}}}]}', "{}", "invalid-pattern"),
    ('{"x": [{"anything-but": {"prefix": ""}}]}', "{}", "invalid-pattern"),
    ('{"x": [{"anything-but": {"suffix": ["a", ""]}}]}', "{}", "invalid-pattern"),
    ('{"x": [{"anything-but": {"prefix": ["a", null]}}]}', "{}", "invalid-pattern"),
    ('{"x": [{"anything-but": {"prefix": []}}]}', "{}", "invalid-pattern"),
    ('{"x": [{"anything-but": {"numeric": ["=", 1]}}]}', "{}", "invalid-pattern"),
    # empty affixes and wildcards
    ('{"x": [{"prefix": ""}]}', '{"x": "any"}', "match"),
    ('{"x": [{"suffix": ""}]}', '{"x": "any"}', "match"),
    ('{"x": [{"prefix": ""}]}', '{"x": 5}', "no-match"),
    ('{"x": [{"wildcard": ""}]}', '{"x": "any"}', "no-match"),
    ('{"x": [{"wildcard": ""}]}', '{"x": ""}', "match"),
    ('{"x": [{"wildcard": "**"}]}', "{}", "invalid-pattern"),
    ('{"x": [{"wildcard": "*:*:*:*:*:x/*"}]}', "{}", "invalid-pattern"),
    # addresses
    ('{"x": [{"cidr": "10.0.0.0/8"}]}', '{"x": 10}', "no-match"),
    ('{"x": [{"cidr": "10.0.0.0/8"}]}', '{"x": "ten"}', "no-match"),
    # operands of a wrong kind
    ('{"x": [{"equals-ignore-case": ["a"]}]}', "{}", "invalid-pattern"),
    ('{"x": [{"prefix": ["a"]}]}', "{}", "invalid-pattern"),
    ('{"x": [{"suffix": 1}]}', "{}", "invalid-pattern"),
    ('{"x": []}', "{}", "invalid-pattern"),
    # lists in events
    ('{"x": [null]}', '{"x": []}', "no-match"),
    ('{"x": [{"exists": true}]}', '{"x": []}', "no-match"),
    ('{"x": ["a", "b"]}', '{"x": ["z", "b"]}', "match"),
    ('{"x": ["a", "b"]}', '{"x": ["z", "y"]}', "no-match"),
    ('{"list": {"id": [{"exists": true}]}}', '{"list": [{"n": 1}, {"id": 2}]}', "match"),
    # dotted names and nesting are the same path
    ('{"a": {"b": ["x"]}}', '{"a.b": "x"}', "match"),
    ('{"a.b": ["x"]}', '{"a": {"b": "x"}}', "match"),
    ('{"a": {"b.c": ["x"]}}', '{"a.b": {"c": "x"}}', "match"),
    # only the data keys of the sources are ever parsed
    ('{"detail": {"k": ["v"]}}', '{"detail": "{\\"k\\": \\"v\\"}"}', "no-match"),
    # or with exists, parent missing
    ('{"x": {"S": [{"anything-but": ["r"]}, {"exists": false}]}}', "{}", "match"),
    ('{"x": {"S": [{"anything-but": ["r"]}, {"exists": false}]}}', '{"x": {"S": "r"}}', "no-match"),
    # operators are written in small letters, and nothing stands without a list
    ('{"x": [{"EXISTS": true}]}', "{}", "invalid-pattern"),
    ('{"x": [{"numeric": 10}]}', "{}", "invalid-pattern"),
    ('{"x": "value"}', "{}", "invalid-pattern"),
    ('{"x": 10}', "{}", "invalid-pattern"),
    # the points above the table
    ('{"x": [300]}', '{"x": 300.0}', "match"),
    ('{"x": [3.0e2]}', '{"x": 300}', "match"),
    ('{"p": {"x": [{"exists": false}]}}', "{}", "match"),
    ('{"x": [{"exists": false}]}', '{"x": {"S": "a"}}', "match"),
    ('{"x": [{"exists": true}]}', '{"x": {"S": "a"}}', "no-match"),
    ('{"x": {"S": [{"exists": true}]}}', '{"x": {"S": "a"}}', "match"),
    ('{"x": {"L": {"S": [{"exists": true}]}}}', '{"x": {"L": [{"N": "1"}, {"S": "a"}]}}', "match"),
    ('{"x": {"N": [{"numeric": [">", 100]}]}}', '{"x": {"N": "101"}}', "no-match"),
    ('{"x": {"N": [{"anything-but": "101"}]}}', '{"x": {"N": "42"}}', "match"),
    ('{"x": {"N": [{"anything-but": "101"}]}}', '{"x": {"N": "101"}}', "no-match"),
    ('{"x": [100]}', '{"x": "100"}', "no-match"),
    ('{"x": ["100"]}', '{"x": 100}', "no-match"),
    # what Lambda itself was seen to refuse [specification C.1]
    ("null", "{}", "invalid-pattern"),
    ('"text"', "{}", "invalid-pattern"),
    ('{"eventSource": "aws:sqs"}', "{}", "invalid-pattern"),
    ('{"eventSource": []}', "{}", "invalid-pattern"),
    ('{"eventSource": ["aws:sqs"]', "{}", "invalid-pattern"),
]


@pytest.mark.parametrize(("pattern", "event", "expected"), EDGE_CASES)
def test_edge_case(pattern, event, expected):
    assert verdict(pattern, event) == expected


@pytest.mark.parametrize(
    ("pattern", "event", "expected"),
    [
        # The two fields may be found in different lists, but in one list only in one element.
        ('{"a": {"b": ["x"]}, "c": {"d": ["y"]}}', '{"a": [{"b": "x"}], "c": [{"d": "n"}, {"d": "y"}]}', "match"),
        ('{"a": {"b": {"x": [1]}, "c": [2]}}', '{"a": [{"b": [{"x": 1}], "c": 0}, {"b": [], "c": 2}]}', "no-match"),
        ('{"a": {"b": {"x": [1]}, "c": [2]}}', '{"a": [{"b": [{"x": 0}, {"x": 1}], "c": 2}]}', "match"),
        ('{"a": {"b": {"x": [1], "y": [2]}}}', '{"a": [{"b": [{"x": 1}, {"y": 2}]}, {"b": {"x": 1}}]}', "no-match"),
        # A plain element of a list ties nobody.
        ('{"a": ["s"], "a.b": [1]}', '{"a": ["s", {"b": 1}]}', "match"),
        # ...unless it stands in an inner list, which is itself one element.
        ('{"a": ["s"], "a.b": [1]}', '{"a": [["s"], [{"b": 1}]]}', "no-match"),
        ('{"a": ["s"], "a.b": [1]}', '{"a": [["s", {"b": 1}]]}', "match"),
        # Absence is judged against the element an earlier field has chosen...
        ('{"a": {"b": ["x"], "c": [{"exists": false}]}}', '{"a": [{"b": "x"}, {"b": "y", "c": 1}]}', "match"),
        ('{"a": {"b": ["x"], "c": [{"exists": false}]}}', '{"a": [{"b": "x", "c": 1}, {"b": "y"}]}', "no-match"),
        # ...and against the whole list if there is none.
        ('{"a": {"c": [{"exists": false}]}}', '{"a": [{"b": "x"}, {"c": 1}]}', "no-match"),
        ('{"a": {"b": [{"exists": false}], "c": [1]}}', '{"a": [{"b": "x"}, {"c": 1}]}', "no-match"),
        ('{"a": {"c": [{"exists": false}]}}', '{"a": [{"b": "x"}, {"c": {}}, {"c": []}]}', "match"),
        # A field the event spells in two ways is found in either.
        ('{"a": {"b": ["x"]}}', '{"a": {"b": "no"}, "a.b": "x"}', "match"),
        ('{"a": {"b": ["x"]}}', '{"a.b": "no", "a": {"b": "x"}}', "match"),
        ('{"a": {"b": ["x"]}}', '{"a.b": "no", "a": {"b": "no"}}', "no-match"),
        ('{"a": {"b": [{"exists": false}]}}', '{"a.b": {}, "a": {"b": []}}', "match"),
        ('{"a": {"b": [{"exists": false}]}}', '{"a.b": {}, "a": {"b": 0}}', "no-match"),
        # Keys may be empty or consist of dots; it is the flat path that counts.
        ('{"": ["x"]}', '{"": "x"}', "match"),
        ('{"a": {"": ["x"]}}', '{"a.": "x"}', "match"),
        ('{".": ["x"]}', '{"": {"": "x"}}', "match"),
    ],
)
def test_lists_of_objects_and_dotted_keys(pattern, event, expected):
    assert verdict(pattern, event) == expected


@pytest.mark.parametrize(
    ("pattern", "event", "expected"),
    [
        ('{"k": ["1"], "$or": [{"a": [1]}, {"b": [2]}]}', '{"k": "1", "b": 2}', "match"),
        ('{"k": ["1"], "$or": [{"a": [1]}, {"b": [2]}]}', '{"k": "2", "b": 2}', "no-match"),
        ('{"$or": [{"a": [1], "b": [1]}, {"c": [2]}]}', '{"a": 1}', "no-match"),
        # Of a path given inside and outside, the later one counts.
        ('{"a": [1], "$or": [{"a": [2]}, {"b": [1]}]}', '{"a": 2}', "match"),
        ('{"$or": [{"a": [2]}, {"b": [1]}], "a": [1]}', '{"a": 2}', "no-match"),
        ('{"$or": [{"a": [2]}, {"b": [1]}], "a": [1]}', '{"a": 1}', "match"),
        ('{"$or": {"a": [1]}}', "{}", "invalid-pattern"),
        ('{"$or": [{"a": [1]}, {}]}', "{}", "invalid-pattern"),
        ('{"$or": [{"a": [1]}, 5]}', "{}", "invalid-pattern"),
        ('{"$or": [{"a": [1]}, {"x": {"prefix": ["a"]}}]}', "{}", "invalid-pattern"),
        # An empty key is a key, no way past the others.
        ('{"a": ["x"]}', '{"": {"a": "x"}}', "no-match"),
        # Outside of $or an operator's name is a name like any other.
        ('{"prefix": ["a"]}', '{"prefix": "a"}', "match"),
    ],
)
def test_or(pattern, event, expected):
    assert verdict(pattern, event) == expected


KNOWN = "prefix, suffix, equals-ignore-case, wildcard, cidr, exists, numeric, anything-but"


def nested_ors(count: int) -> str:
    return json.dumps({f"f{n}": {"$or": [{"a": [1]}, {"b": [1]}]} for n in range(count)})


def test_or_lists_may_combine_to_a_thousand_ways_only():
    assert len(compile_pattern(nested_ors(9)).branches) == 512
    with pytest.raises(InvalidPattern, match=f"more than {MAX_BRANCHES} ways"):
        compile_pattern(nested_ors(60))


@pytest.mark.parametrize(
    ("pattern", "path", "offset", "message"),
    [
        ("", (), 0, "expected a JSON value: the pattern is empty"),
        ("[]", (), 0, 'a pattern is a JSON object of fields, as in {"body": {"kind": ["order"]}}'),
        ("{}", (), 0, "an empty object matches nothing: name a field in it"),
        (
            '{"a": ["x"]} {',
            (),
            13,
            "the pattern goes on after its end: a pattern is one JSON object; check the brackets before this place",
        ),
        ('{"a": ["x"]', (), 11, 'expected "," or "}": the text ends here: a bracket is not closed'),
        ("{'a': [1]}", (), 1, "expected a key in double quotes: JSON takes straight double quotes"),
        ('{"a" ["x"]}', ("a",), 5, "expected \":\" after the key: found '['"),
        ('{"a": ["x",]}', ("a", 1), 11, "expected a JSON value: a comma before a closing bracket, or a value left out"),
        (
            '{"a": ["x"],}',
            (),
            12,
            "expected a key in double quotes: a comma before a closing bracket, or a value left out",
        ),
        ('{"a": [1 2]}', ("a",), 9, 'expected "," or "]": found \'2\''),
        (
            '{"a": [True]}',
            ("a", 0),
            7,
            "expected a JSON value: text goes in double quotes; true, false and null are written in small letters",
        ),
        ('{"a": [NaN]}', ("a", 0), 7, "NaN is not JSON: use a number"),
        ('{"a": [// no\n1]}', ("a", 0), 7, "expected a JSON value: JSON has no comments"),
        ('{"a": ["open]}', ("a", 0), 7, "the text is not valid JSON: unterminated string starting at"),
        ('\ufeff{"a": [1]}', (), 0, "expected a JSON value: the text starts with a byte order mark"),
        ('{"a": [+1]}', ("a", 0), 7, "expected a JSON value: found '+'"),
        ('{"a": {"b": "x"}}', ("a", "b"), 12, 'the value of "b" is not in a list: write [ ] around it'),
        (
            '{"a": {"b": []}}',
            ("a", "b"),
            12,
            "an empty list matches nothing: list the wanted values, or [null] for null",
        ),
        ('{"a": ["x", ["y"]]}', ("a", 1), 12, "a list inside the list of values: write the values side by side"),
        (
            '{"a": [{}]}',
            ("a", 0),
            7,
            "one operator to an object: write several side by side in the list, each in its own { }",
        ),
        (
            '{"a": [{"prefix": "x", "suffix": "y"}]}',
            ("a", 0),
            7,
            "one operator to an object: write several side by side in the list, each in its own { }",
        ),
        ('{"a": [{"Prefix": "x"}]}', ("a", 0), 7, '"Prefix" is not an operator: write "prefix", in small letters'),
        (
            '{"a": [{"contains": "x"}]}',
            ("a", 0),
            7,
            f'"contains" is not an operator: known are {KNOWN}',
        ),
        ('{"a": [{"prefix": 1}]}', ("a", 0, "prefix"), 18, '"prefix" takes a string, as in {"prefix": "x"}'),
        (
            '{"a": [{"prefix": {"suffix": "x"}}]}',
            ("a", 0, "prefix"),
            18,
            '"prefix" takes a string or {"equals-ignore-case": "..."}',
        ),
        ('{"a": [{"exists": "true"}]}', ("a", 0, "exists"), 18, '"exists" takes true or false, without quotes'),
        (
            '{"a": [{"cidr": "10.0.0.0/33"}]}',
            ("a", 0, "cidr"),
            16,
            '"10.0.0.0/33" is not a block of IPv4 or IPv6 addresses, as in {"cidr": "10.0.0.0/24"}',
        ),
        (
            '{"a": [{"cidr": "10.0.0.1/32"}]}',
            ("a", 0, "cidr"),
            16,
            '"10.0.0.1/32" is a single address: write the address itself as a value',
        ),
        (
            '{"a": [{"numeric": ["<>", 5]}]}',
            ("a", 0, "numeric", 0),
            20,
            '"numeric" compares by =, <, <=, >, >=, as in {"numeric": [">", 0, "<=", 10]}',
        ),
        (
            '{"a": [{"numeric": ["<", "5"]}]}',
            ("a", 0, "numeric", 1),
            25,
            '"numeric" compares with a number, without quotes',
        ),
        (
            '{"a": [{"numeric": ["<", true]}]}',
            ("a", 0, "numeric", 1),
            25,
            '"numeric" compares with a number, without quotes',
        ),
        (
            '{"a": [{"numeric": ["<", 5, ">", 1]}]}',
            ("a", 0, "numeric"),
            19,
            'a range is a lower bound, then an upper one, as in {"numeric": [">", 0, "<=", 10]}',
        ),
        (
            '{"a": [{"numeric": [">=", 5, "<=", 5]}]}',
            ("a", 0, "numeric"),
            19,
            "the range is empty: its lower bound must be below its upper one",
        ),
        (
            '{"a": [{"anything-but": ["x", 1]}]}',
            ("a", 0, "anything-but"),
            24,
            '"anything-but" takes strings, or numbers, one or a list; not both kinds, and not true, false or null',
        ),
        (
            '{"a": [{"anything-but": {"cidr": "x"}}]}',
            ("a", 0, "anything-but", "cidr"),
            33,
            '"anything-but" combines with prefix, suffix, equals-ignore-case, wildcard; not with "cidr"',
        ),
        (
            r'{"a": [{"wildcard": "a\\b"}]}',
            ("a", 0, "wildcard"),
            20,
            "in a wildcard a backslash stands only before a star or a backslash: \\* or \\\\",
        ),
        ('{"$or": [{"a": [1]}]}', ("$or",), 8, '"$or" takes a list of two or more objects'),
        (
            '{"$or": [{"a": [1]}, [1]]}',
            ("$or", 1),
            21,
            'only objects can stand in "$or": write the field and its list of values in { }',
        ),
        (
            '{"$or": [{"a": [1]}, {"cidr": ["x"]}]}',
            ("$or", 1, "cidr"),
            30,
            '"cidr" cannot be the name of a field inside "$or"; operators belong into the list of a field',
        ),
        (" ", (), 1, "expected a JSON value: the pattern is empty"),
        (
            "{a: [1]}",
            (),
            1,
            "expected a key in double quotes: text goes in double quotes; true, false and null are written in small letters",
        ),
        ('{"a": [1] "b": [2]}', (), 10, 'expected "," or "}": found \'"\''),
        ('{"a": [1]]', (), 9, 'expected "," or "}": a comma before a closing bracket, or a value left out'),
        ('{"a": [\u201cx\u201d]}', ("a", 0), 7, "expected a JSON value: JSON takes straight double quotes"),
        ('{"a" \u2019x\u2019}', ("a",), 5, 'expected ":" after the key: JSON takes straight double quotes'),
        ("{,}", (), 1, "expected a key in double quotes: found ','"),
        ('{"a": [,]}', ("a", 0), 7, "expected a JSON value: found ','"),
        (
            '{"a": [x]}',
            ("a", 0),
            7,
            "expected a JSON value: text goes in double quotes; true, false and null are written in small letters",
        ),
        (
            '{"a": [X]}',
            ("a", 0),
            7,
            "expected a JSON value: text goes in double quotes; true, false and null are written in small letters",
        ),
        ('{"a: [1]}', (), 1, "the text is not valid JSON: unterminated string starting at"),
        ('{"a": {}}', ("a",), 6, "an empty object matches nothing: name a field in it"),
        ('{"$or": [{"a": [1]}, {}]}', ("$or", 1), 21, "an empty object matches nothing: name a field in it"),
        (
            '{"a": [{"prefix": {}}]}',
            ("a", 0, "prefix"),
            18,
            "one operator to an object: write several side by side in the list, each in its own { }",
        ),
        (
            '{"a": [{"prefix": {"equals-ignore-case": 1}}]}',
            ("a", 0, "prefix", "equals-ignore-case"),
            41,
            '"equals-ignore-case" takes a string, as in {"prefix": {"equals-ignore-case": "x"}}',
        ),
        ('{"a": [{"suffix": true}]}', ("a", 0, "suffix"), 18, '"suffix" takes a string, as in {"suffix": "x"}'),
        (
            '{"a": [{"equals-ignore-case": 1}]}',
            ("a", 0, "equals-ignore-case"),
            30,
            '"equals-ignore-case" takes a string, as in {"equals-ignore-case": "x"}',
        ),
        ('{"a": [{"wildcard": 1}]}', ("a", 0, "wildcard"), 20, '"wildcard" takes a string, as in {"wildcard": "a*b"}'),
        (
            '{"a": [{"wildcard": "**"}]}',
            ("a", 0, "wildcard"),
            20,
            '"**" is not a wildcard: one star already spans anything',
        ),
        (
            '{"a": [{"wildcard": "a\\\\"}]}',
            ("a", 0, "wildcard"),
            20,
            "in a wildcard a backslash stands only before a star or a backslash: \\* or \\\\",
        ),
        ('{"a": [{"cidr": 1}]}', ("a", 0, "cidr"), 16, '"cidr" takes a string, as in {"cidr": "10.0.0.0/24"}'),
        (
            '{"a": [{"cidr": "10.0.0.0/x"}]}',
            ("a", 0, "cidr"),
            16,
            '"10.0.0.0/x" is not a block of IPv4 or IPv6 addresses, as in {"cidr": "10.0.0.0/24"}',
        ),
        (
            '{"a": [{"numeric": 5}]}',
            ("a", 0, "numeric"),
            19,
            '"numeric" takes a list of one comparison or a range, as in {"numeric": [">", 0, "<=", 10]}',
        ),
        (
            '{"a": [{"numeric": ["<", 5, "<", 7]}]}',
            ("a", 0, "numeric"),
            19,
            'a range is a lower bound, then an upper one, as in {"numeric": [">", 0, "<=", 10]}',
        ),
        (
            '{"a": [{"numeric": [">", 5, ">", 7]}]}',
            ("a", 0, "numeric"),
            19,
            'a range is a lower bound, then an upper one, as in {"numeric": [">", 0, "<=", 10]}',
        ),
        (
            '{"a": [{"anything-but": {}}]}',
            ("a", 0, "anything-but"),
            24,
            "one operator to an object: write several side by side in the list, each in its own { }",
        ),
        (
            '{"a": [{"anything-but": {"prefix": 1}}]}',
            ("a", 0, "anything-but", "prefix"),
            35,
            '"prefix" takes a string, as in {"anything-but": {"prefix": "x"}} or a list of strings',
        ),
        (
            '{"a": [{"anything-but": {"prefix": ""}}]}',
            ("a", 0, "anything-but", "prefix"),
            35,
            'an empty "prefix" under "anything-but" would exclude every string',
        ),
        (
            '{"a": [{"anything-but": {"suffix": []}}]}',
            ("a", 0, "anything-but", "suffix"),
            35,
            "an empty list excludes nothing: name at least one text",
        ),
        (
            '{"a": [{"anything-but": {"wildcard": "**"}}]}',
            ("a", 0, "anything-but", "wildcard"),
            37,
            '"**" is not a wildcard: one star already spans anything',
        ),
        (
            '{"a": [{"anything-but": {"wildcard": 1}}]}',
            ("a", 0, "anything-but", "wildcard"),
            37,
            '"wildcard" takes a string, as in {"wildcard": "a*b"}',
        ),
    ],
)
def test_an_invalid_pattern_says_what_and_where(pattern, path, offset, message):
    with pytest.raises(InvalidPattern) as caught:
        compile_pattern(pattern)
    assert (caught.value.path, caught.value.offset) == (path, offset)
    assert caught.value.message == message
    assert caught.value.index is None
    assert caught.value.aws_message == "Invalid filter pattern definition."


def test_what_is_wrong_with_a_whole_pattern_has_its_place_too():
    with pytest.raises(InvalidPattern) as deep:
        compile_pattern('{"a":' + "[" * 150)
    assert (deep.value.path, deep.value.offset) == (("a", *[0] * (MAX_PATTERN_DEPTH - 1)), 5 + MAX_PATTERN_DEPTH - 1)
    with pytest.raises(InvalidPattern) as long:
        compile_pattern(json.dumps({"." * 4000: [1]}))
    assert (long.value.path, long.value.offset) == (("." * 4000,), 4005)
    with pytest.raises(InvalidPattern) as wide:
        compile_pattern(nested_ors(60))
    assert (wide.value.path, wide.value.offset) == (
        ("f9", "$or"),
        nested_ors(60).index("[{", nested_ors(60).index("f9")),
    )


def test_exactly_a_thousand_ways_are_allowed():
    thousand = [{"a": [n]} for n in range(MAX_BRANCHES)]
    assert len(compile_pattern(json.dumps({"$or": thousand})).branches) == MAX_BRANCHES


def test_a_pattern_keeps_its_text():
    assert compile_pattern('{"a": [1]}').text == '{"a": [1]}'


def test_an_event_may_be_any_mapping():
    assert compile_pattern('{"a": [1]}').matches(MappingProxyType({"a": 1}))


@pytest.mark.parametrize("text", ['{"a":' * 5000, "[" * 100_000, '{"a": [' + '{"anything-but": ' * 5000])
def test_a_pattern_nested_without_end_is_invalid_and_harmless(text):
    with pytest.raises(InvalidPattern, match=f"deeper than {MAX_PATTERN_DEPTH} levels"):
        compile_pattern(text)


def test_a_path_of_very_many_names_is_invalid():
    compile_pattern(json.dumps({".".join(["a"] * MAX_STEPS): [1]}))
    with pytest.raises(InvalidPattern, match=f"at most {MAX_STEPS} names"):
        compile_pattern(json.dumps({"." * 4000: [1]}))


def nested(levels: int, *, into: str) -> dict:
    value: object = "x"
    for _ in range(levels):
        value = {"a": value} if into == "objects" else [0, value]
    return {"a": value}


@pytest.mark.parametrize("into", ["objects", "lists"])
@pytest.mark.parametrize("leaf", ['["x"]', '[{"exists": true}]', '["x", {"exists": false}]'])
def test_an_event_nested_ten_thousand_levels_deep_is_harmless(into, leaf):
    event = nested(10_000, into=into)
    # The plain element on top is there; what is buried below is not looked for.
    assert compile_pattern(f'{{"a": {leaf}}}').matches(event) is (
        "exists" in leaf and ("true" in leaf if into == "lists" else "false" in leaf)
    )


def test_lists_are_searched_to_a_depth_far_beyond_any_real_event():
    pattern = compile_pattern('{"a": ["x"]}')
    assert pattern.matches(nested(MAX_EVENT_DEPTH, into="lists"))
    assert not pattern.matches(nested(MAX_EVENT_DEPTH + 1, into="lists"))


@pytest.mark.parametrize("lists", [MAX_EVENT_DEPTH - 2, MAX_EVENT_DEPTH - 1, MAX_EVENT_DEPTH, MAX_EVENT_DEPTH + 1])
def test_a_field_is_there_for_both_questions_or_for_none(lists):
    event: object = {"b": 1}
    for _ in range(lists):
        event = [event]
    there = compile_pattern('{"a": {"b": [{"exists": true}]}}').matches({"a": event})
    assert there is (lists < MAX_EVENT_DEPTH - 1)
    assert compile_pattern('{"a": {"b": [{"exists": false}]}}').matches({"a": event}) is not there


def test_an_absent_field_is_absent_below_the_searched_depth():
    pattern = compile_pattern('{"a": {"b": [{"exists": false}]}}')
    shallow: object = {"b": 1}
    for _ in range(MAX_EVENT_DEPTH + 1):
        shallow = [shallow]
    assert pattern.matches({"a": shallow})
    assert not pattern.matches({"a": [[[{"b": 1}]]]})


def test_a_large_hostile_list_takes_no_combinations():
    # Thirty fields, each satisfied by many elements of its own list, the last by none.
    pattern = compile_pattern(json.dumps({**{f"f{n}": {"v": [1]} for n in range(30)}, "z": {"v": [1], "w": [1]}}))
    event = {f"f{n}": [{"v": 1}] * 50 for n in range(30)}
    assert not pattern.matches({**event, "z": [{"v": 1}, {"w": 1}] * 50})
    assert pattern.matches({**event, "z": [{"v": 1}, {"w": 1}] * 50 + [{"v": 1, "w": 1}]})


@pytest.mark.parametrize("mapping", [OrderedDict, MappingProxyType])
def test_any_mapping_will_do_as_an_event(mapping):
    assert compile_pattern('{"a": {"b": [1]}}').matches(mapping({"a": {"b": 1}}))


def test_events_of_the_standard_parser_match_as_those_of_the_exact_one():
    pattern = compile_pattern('{"a": [0.3], "b": [9007199254740993]}')
    assert pattern.matches(json.loads('{"a": 0.3, "b": 9007199254740993}'))
    assert pattern.matches({"a": Decimal("0.30"), "b": Decimal("9007199254740993.0")})
    assert not pattern.matches(json.loads('{"a": 0.30000000000000004, "b": 9007199254740993}'))


@pytest.mark.parametrize(
    ("pattern", "warnings"),
    [
        ('{"a": ["x"], "b": [{"prefix": "p"}]}', []),
        ('{"a": ["x"], "a": ["y"]}', [(("a",), "twice")]),
        ('{"a": {"b": [1], "b": [2], "b": [3]}}', [(("a", "b"), "twice"), (("a", "b"), "twice")]),
        ('{"a": {"b": [1]}, "a.b": [2]}', [(("a.b",), 'the path "a.b" is already given')]),
        ('{"$or": [{"a": [1]}, {"b": [1]}], "a": [2]}', [(("a",), 'the path "a" is already given')]),
        ('{"a": [{"wildcard": "x*"}]}', [(("a", 0), 'may refuse it: "wildcard"')]),
        ('{"a": ["v", {"cidr": "10.0.0.0/8"}]}', [(("a", 1), 'may refuse it: "cidr"')]),
        ('{"a": [{"prefix": {"equals-ignore-case": "x"}}]}', [(("a", 0), '"prefix" with "equals-ignore-case"')]),
        ('{"a": [{"suffix": {"equals-ignore-case": "x"}}]}', [(("a", 0), '"suffix" with "equals-ignore-case"')]),
        ('{"a": [{"anything-but": {"prefix": "x"}}]}', [(("a", 0), '"anything-but" with "prefix"')]),
        ('{"a": [{"anything-but": {"suffix": "x"}}]}', [(("a", 0), '"anything-but" with "suffix"')]),
        ('{"a": [{"anything-but": {"wildcard": "x"}}]}', [(("a", 0), '"anything-but" with "wildcard"')]),
        (
            '{"a": [{"anything-but": {"equals-ignore-case": "x"}}]}',
            [(("a", 0), '"anything-but" with "equals-ignore-case"')],
        ),
        # One finding, however many branches share the field.
        ('{"w": [{"wildcard": "x*"}], "$or": [{"a": [1]}, {"b": [1]}]}', [(("w", 0), "may refuse")]),
        ('{"$or": [{"a": [1]}, {"b": [1]}], "w": [{"wildcard": "x*"}]}', [(("w", 0), "may refuse")]),
    ],
)
def test_warnings(pattern, warnings):
    found = pattern_warnings(pattern)
    assert [warning.path for warning in found] == [path for path, _ in warnings]
    assert all(part in warning.message for warning, (_, part) in zip(found, warnings, strict=True))
    assert compile_pattern(pattern).warnings == found
    assert all(0 < warning.offset < len(pattern) for warning in found)


def test_of_a_key_given_twice_the_later_one_counts():
    pattern = compile_pattern('{"a": {"b": [1]}, "a": {"c": [2]}}')
    assert pattern.matches({"a": {"c": 2}})
    assert not pattern.matches({"a": {"b": 1}})


def test_warnings_of_an_invalid_pattern_are_its_error():
    with pytest.raises(InvalidPattern):
        pattern_warnings("{")
