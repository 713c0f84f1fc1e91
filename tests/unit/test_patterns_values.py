"""What single values and operators accept, beyond the golden cases."""

from __future__ import annotations

import json
import re

import pytest

from esmd.mappings.exact_json import decode
from esmd.mappings.patterns import compile_pattern
from esmd.mappings.wildcards import MAX_STARS, compile_wildcard


def accepts(leaf: str, value: str) -> bool:
    return compile_pattern(f'{{"x": {leaf}}}').matches(decode(f'{{"x": {value}}}'))


# One value of each JSON kind: a value accepts itself and nothing of another kind.
KINDS = ["1", "0", '"1"', '"true"', '"null"', '""', "true", "false", "null"]


@pytest.mark.parametrize("wanted", KINDS)
@pytest.mark.parametrize("value", KINDS)
def test_values_of_different_kinds_are_never_equal(wanted, value):
    assert accepts(f"[{wanted}]", value) is (wanted == value)


@pytest.mark.parametrize(
    ("wanted", "value", "equal"),
    [
        ("5", "5.0", True),
        ("5e0", "5", True),
        ("0.5e1", "5", True),
        ("-0", "0", True),
        ("-0.0", "0", True),
        ("300", "3.0e2", True),
        ("0.1", "0.10", True),
        ("0.1", "0.1000000000000000000000001", False),
        ("123456789012345678901", "123456789012345678901.0", True),
        ("123456789012345678901", "123456789012345678902", False),
        ("1e400", "1e400", True),
        ("1e400", "1e401", False),
        ("1" * 5000, "1" * 5000, True),
        ("1" * 5000, "1" * 4999 + "2", False),
        ("1e99999999999999999999", "1e99999999999999999999", True),
        ("5", "1e-99999999999999999999", False),
    ],
)
def test_numbers_are_equal_by_exact_value(wanted, value, equal):
    assert accepts(f"[{wanted}]", value) is equal
    assert accepts(f'[{{"anything-but": {wanted}}}]', value) is not equal


def test_a_double_stands_for_the_number_it_was_written_as():
    pattern = compile_pattern('{"x": [0.3, 1e23]}')
    assert pattern.matches({"x": 0.3})
    assert pattern.matches({"x": 1e23})
    assert not pattern.matches({"x": 0.1 + 0.2})
    assert not pattern.matches({"x": float("nan")})


@pytest.mark.parametrize(
    ("comparison", "value", "accepted"),
    [
        ('["=", 5]', "5.0", True),
        ('["<", 5]', "5", False),
        ('["<", 5]', "4.999", True),
        ('["<=", 5]', "5", True),
        ('[">", 5]', "5", False),
        ('[">=", 5]', "5", True),
        ('[">", 0, "<", 5]', "0", False),
        ('[">=", 0, "<", 5]', "0", True),
        ('[">", 0, "<=", 5]', "5", True),
        ('[">", 0]', "1e400", True),
        ('["<", 0]', "-" + "9" * 400, True),
        ('[">", 0]', "9" * 400, True),
        ('[">", 0]', "true", False),
        ('[">=", 0]', "null", False),
        ('["=", 1]', "true", False),
        ('[">", 0]', '"1"', False),
        # Compared as doubles: the two are one and the same there.
        ('["=", 9007199254740993]', "9007199254740992", True),
    ],
)
def test_numeric(comparison, value, accepted):
    assert accepts(f'[{{"numeric": {comparison}}}]', value) is accepted


@pytest.mark.parametrize(
    ("leaf", "value", "accepted"),
    [
        ('[{"equals-ignore-case": "Straße"}]', '"STRASSE"', True),
        ('[{"equals-ignore-case": "abc"}]', '"abcd"', False),
        ('[{"equals-ignore-case": "1"}]', "1", False),
        ('[{"prefix": {"equals-ignore-case": "éA"}}]', '"ÉaX"', True),
        ('[{"suffix": {"equals-ignore-case": ".PNG"}}]', '"a.png"', True),
        ('[{"suffix": {"equals-ignore-case": ".PNG"}}]', '"a.pngx"', False),
        ('[{"prefix": {"equals-ignore-case": "1"}}]', "1", False),
        ('[{"suffix": {"equals-ignore-case": "1"}}]', "1", False),
        ('[{"anything-but": {"suffix": ["a", "b"]}}]', '"xb"', False),
        ('[{"anything-but": {"suffix": ["a", "b"]}}]', '"xc"', True),
        ('[{"anything-but": ["true"]}]', "true", True),
        ('[{"anything-but": [1]}]', "true", True),
        ('[{"anything-but": [""]}]', '""', False),
        ('[{"exists": true}]', "false", True),
        ('[{"exists": false}]', "null", False),
        # Values and operators of one list are alternatives.
        ('["a", 1, null, {"prefix": "p"}]', "null", True),
        ('["a", 1, null, {"prefix": "p"}]', "1.0", True),
        ('["a", 1, null, {"prefix": "p"}]', '"px"', True),
        ('["a", 1, null, {"prefix": "p"}]', "false", False),
        # A quoted value is itself, whatever escapes it is written with.
        (r'["\u0041\ud83d\ude00"]', '"A😀"', True),
        (r'["\ud83d"]', r'"\ud83d"', True),
    ],
)
def test_operators(leaf, value, accepted):
    assert accepts(leaf, value) is accepted


@pytest.mark.parametrize(
    ("block", "inside", "outside"),
    [
        ("10.0.0.0/24", "10.0.0.255", "10.0.1.0"),
        ("10.0.0.7/24", "10.0.0.1", "10.0.1.7"),
        ("128.0.0.0/1", "255.0.0.1", "127.0.0.1"),
        ("0.0.0.0/0", "1.2.3.4", "::1"),
        ("::/0", "::1", "1.2.3.4"),
        ("2001:db8::/127", "2001:DB8:0:0:0:0:0:1", "2001:db8::2"),
        ("10.0.0.0/8", "10.0.0.1", "10.0.0.1/8"),
        ("fe80::/10", "fe80::1", "fe80::1%eth0"),
        ("10.0.0.0/8", "10.0.0.1", "10.0.0"),
    ],
)
def test_cidr(block, inside, outside):
    leaf = f'[{{"cidr": "{block}"}}]'
    assert accepts(leaf, json.dumps(inside))
    assert not accepts(leaf, json.dumps(outside))


@pytest.mark.parametrize(
    "block",
    [
        "",
        "10.0.0.0",
        "10.0.0.0/",
        "10.0.0/8",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/255.0.0.0",
        "::/129",
        "fe80::%1/10",
    ],
)
def test_cidr_takes_a_block_written_in_full(block):
    with pytest.raises(ValueError, match="not a block"):
        compile_pattern(json.dumps({"x": [{"cidr": block}]}))


@pytest.mark.parametrize(
    ("wildcard", "value", "accepted"),
    [
        ("*", "", True),
        ("a*", "a", True),
        ("*a", "a", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("ab*ba", "aba", False),
        ("*b*", "abc", True),
        ("*ab*ab", "abab", True),
        ("*ab*ab", "ab", False),
        ("a*b*c", "a-b-b-c-c", True),
        ("a*b*c", "acb", False),
        ("*aab*", "aaab", True),
        ("*a*a*", "xa", False),
        ("*ab*ba*", "aba", False),
        ("*x*a*b", "--x--ab", True),
        ("*abc*de*f", "abcdef", True),
        ("*abc*de*f", "--abcdf", False),
        ("*abc*c*", "--abc--", False),
        (r"\**", "*x", True),
        (r"\**", "x", False),
        (r"a\\*", "a\\b", True),
        (r"\*\*", "**", True),
        ("a", "a", True),
        ("a", "ab", False),
        ("*.*", "a\nb.c", True),
        ("[a]?", "[a]?", True),
    ],
)
def test_wildcard(wildcard, value, accepted):
    assert compile_wildcard(wildcard)(value) is accepted


def test_a_wildcard_needs_no_more_time_than_the_text_is_long():
    # Engines that try every way would be busy for hours.
    assert compile_wildcard("*a*a*a*a*b")("a" * 100_000) is False


@pytest.mark.parametrize(
    ("wildcard", "message"),
    [
        ("a**", '"**" is not a wildcard: one star already spans anything'),
        ("a\\", r"in a wildcard a backslash stands only before a star or a backslash: \* or \\"),
        ("a\\b", r"in a wildcard a backslash stands only before a star or a backslash: \* or \\"),
    ],
)
def test_a_wildcard_that_is_none_says_why(wildcard, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        compile_wildcard(wildcard)


@pytest.mark.parametrize(
    ("numeric", "accepted"),
    [(["=", 5], {5}), (["<", 5], {4}), (["<=", 5], {4, 5}), ([">", 5], {6}), ([">=", 5], {5, 6})],
)
def test_every_comparison_of_numbers(numeric, accepted):
    pattern = compile_pattern(json.dumps({"x": [{"numeric": numeric}]}))
    assert {value for value in (4, 5, 6) if pattern.matches({"x": value})} == accepted


def test_a_wildcard_has_five_stars_at_most_escaped_ones_not_counted():
    assert compile_wildcard("*a" * MAX_STARS + r"\*")("-a-a-a-a-a*")
    with pytest.raises(ValueError, match="too complex"):
        compile_wildcard("*a" * (MAX_STARS + 1))


@pytest.mark.parametrize(
    "text", ["", "{", '{"a": 1} x', "NaN", '{"a": Infinity}', "[-Infinity]", "01", '"\n"', "[" * 200_000]
)
def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError):
        decode(text)


def test_an_event_nested_deeper_than_the_parser_reads_says_so():
    with pytest.raises(ValueError, match=r"^nested too deeply$"):
        decode("[" * 1_000_000)
