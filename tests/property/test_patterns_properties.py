"""Laws of patterns, and agreement with a slow matcher that follows the reference engine's procedure literally."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st

from esmd.mappings.exact_json import decode
from esmd.mappings.filters import compile_filters
from esmd.mappings.patterns import InvalidPattern, compile_pattern

from support.examples import examples

# Few names and values, so that patterns and events meet often; a dotted name, so that spellings do.
NAMES = st.sampled_from(["a", "b", "c", "a.b", "b.c"])
SCALARS = st.sampled_from([None, True, False, 0, 1, 2, 1.5, "", "x", "xy", "X", "1"])

VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
EVENTS = st.dictionaries(NAMES, VALUES, max_size=4)

OPERATORS = st.sampled_from(
    [
        {"exists": True},
        {"exists": False},
        {"prefix": "x"},
        {"suffix": "y"},
        {"equals-ignore-case": "x"},
        {"numeric": [">", 0]},
        {"numeric": [">=", 0, "<", 2]},
        {"anything-but": "x"},
        {"anything-but": [1, 2]},
        {"anything-but": {"prefix": "x"}},
        {"wildcard": "x*"},
    ]
)
LEAVES = st.lists(SCALARS | OPERATORS, min_size=1, max_size=3)


def _with_or(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fields = st.dictionaries(NAMES, LEAVES | inner, min_size=1, max_size=3)
    alternatives = st.lists(fields, min_size=2, max_size=3)
    return fields | st.builds(lambda plain, either: {**plain, "$or": either}, fields, alternatives)


PATTERNS = _with_or(st.recursive(st.dictionaries(NAMES, LEAVES, min_size=1, max_size=2), _with_or, max_leaves=4))

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


# Random patterns hardly ever match random events. These nearly agree in shape, and differ where it is delicate: in
# lists of objects, with fields there and not there.
TIGHT_VALUES = st.recursive(
    st.sampled_from([1, 2]),
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(st.sampled_from("bcd"), inner, max_size=3),
    max_leaves=10,
)
TIGHT_OBJECTS = st.dictionaries(st.sampled_from("bcd"), TIGHT_VALUES, min_size=1, max_size=3)
TIGHT_EVENTS = st.fixed_dictionaries({"a": st.lists(TIGHT_OBJECTS | TIGHT_VALUES, min_size=1, max_size=4)})
TIGHT_LEAVES = st.sampled_from([[1], [2], [{"exists": True}], [{"exists": False}], [1, {"exists": False}]])
TIGHT_PATTERNS = st.fixed_dictionaries(
    {
        "a": st.dictionaries(
            st.sampled_from("bcd"),
            TIGHT_LEAVES | st.dictionaries(st.sampled_from("bcd"), TIGHT_LEAVES, min_size=1, max_size=2),
            min_size=1,
            max_size=3,
        )
    }
)


# The slow matcher: flatten the event into (path, value, which element of which list), then try all choices.


def flatten(value: Any, path: str, chosen: dict[int, int], lists: list[int]) -> list[tuple[str, Any, dict[int, int]]]:
    if isinstance(value, dict):
        return [
            field
            for key, inner in value.items()
            for field in flatten(inner, f"{path}.{key}" if path else key, chosen, lists)
        ]
    if isinstance(value, list):
        lists.append(0)
        number = len(lists)
        return [
            field
            for index, item in enumerate(value)
            for field in flatten(
                item, path, {**chosen, number: index} if isinstance(item, dict | list) else chosen, lists
            )
        ]
    return [(path, value, chosen)]


def branches_of(pattern: dict, path: str, branches: list[dict[str, list]]) -> list[dict[str, list]]:
    for key, inner in pattern.items():
        here = f"{path}.{key}" if path else key
        if key == "$or":
            branches = [b for one in inner for b in branches_of(one, path, [dict(branch) for branch in branches])]
        elif isinstance(inner, dict):
            branches = branches_of(inner, here, branches)
        else:
            branches = [{**branch, here: inner} for branch in branches]
    return branches


def accepts(item: Any, value: Any) -> bool:
    if not isinstance(item, dict):
        return type(item) is type(value) and item == value
    ((name, operand),) = item.items()
    text = isinstance(value, str)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match name:
        case "exists":
            return operand
        case "prefix":
            return text and value[: len(operand)] == operand
        case "suffix":
            return text and value.endswith(operand)
        case "equals-ignore-case":
            return text and value.lower() == operand.lower()
        case "wildcard":
            return accepts({"prefix": operand.rstrip("*")}, value)
        case "numeric":
            return number and (value > 0 if len(operand) == 2 else 0 <= value < 2)
        case _:
            if isinstance(operand, dict):
                return not accepts(operand, value)
            return not any(accepts(item, value) for item in (operand if isinstance(operand, list) else [operand]))


def agree(left: dict[int, int], right: dict[int, int]) -> bool:
    return all(left.get(number, index) == index for number, index in right.items())


def slowly_matches(pattern: dict, value: dict) -> bool:
    found = flatten(value, "", {}, [])

    def search(fields: list[tuple[str, list]], chosen: dict[int, int]) -> bool:
        if not fields:
            return True
        (path, leaf), *others = fields
        candidates = [(inner, places) for name, inner, places in found if name == path and agree(chosen, places)]
        if not candidates and {"exists": False} in leaf and search(others, chosen):
            return True
        return any(
            search(others, {**chosen, **places})
            for inner, places in candidates
            if any(accepts(item, inner) for item in leaf)
        )

    return any(search(sorted(branch.items()), {}) for branch in branches_of(pattern, "", [{}]))


def spells_a_path_twice(value: Any) -> bool:
    """Such an event is matched a little more generously than by the reference: see docs/filters.md."""
    if isinstance(value, list):
        return any(map(spells_a_path_twice, value))
    if not isinstance(value, dict):
        return False
    return any(map(spells_a_path_twice, value.values())) or any(
        longer.startswith(f"{shorter}.") for shorter in value for longer in value
    )


@settings(deadline=None, max_examples=examples(250))
@given(pattern=PATTERNS, value=EVENTS)
def test_agrees_with_the_slow_matcher(pattern, value):
    assume(not spells_a_path_twice(value))
    try:
        compiled = compile_pattern(json.dumps(pattern))
    except InvalidPattern as error:
        assume("combine to more than" not in error.message)  # a bound of ours, not of the language
        raise
    assert compiled.matches(value) is slowly_matches(pattern, value)


@settings(deadline=None, max_examples=examples(400))
@given(pattern=TIGHT_PATTERNS, value=TIGHT_EVENTS)
@example(pattern={"a": {"b": [1], "c": [1]}}, value={"a": [{"b": 1}, {"c": 1}]})
@example(pattern={"a": {"b": [1], "c": [{"exists": False}]}}, value={"a": [{"b": 1}, {"c": 1}]})
@example(pattern={"a": {"b": [{"exists": False}], "c": [1]}}, value={"a": [{"b": 1}, {"c": 1}]})
def test_agrees_with_the_slow_matcher_on_lists_of_objects(pattern, value):
    expected = slowly_matches(pattern, value)
    event("match" if expected else "no match")
    assert compile_pattern(json.dumps(pattern)).matches(value) is expected


def leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in leaves(inner, (*path, key))]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in leaves(inner, path)]
    return [(path, value)]


@settings(deadline=None)
@given(value=st.dictionaries(st.text(), ANY_JSON, min_size=1), data=st.data())
def test_an_event_matches_the_pattern_made_of_its_own_leaf(value, data):
    found = [(path, leaf) for path, leaf in leaves(value) if path[0] != "$or" and "$or" not in path]
    assume(found)
    path, leaf = data.draw(st.sampled_from(found))
    assume(sum(name.count(".") + 1 for name in path) <= 100)
    pattern: Any = [leaf]
    for name in reversed(path):
        pattern = {name: pattern}
    text = json.dumps(pattern)
    assert compile_pattern(text).matches(value)
    assert compile_pattern(text).matches(decode(json.dumps(value)))


@settings(deadline=None)
@given(left=PATTERNS, right=PATTERNS, value=EVENTS)
def test_or_is_or(left, right, value):
    either = compile_pattern(json.dumps({"$or": [left, right]}))
    assert either.matches(value) is any(compile_pattern(json.dumps(one)).matches(value) for one in (left, right))


@settings(deadline=None)
@given(pattern=PATTERNS, other=LEAVES, value=EVENTS)
def test_a_further_field_never_lets_more_events_through(pattern, other, value):
    narrower = compile_pattern(json.dumps({**pattern, "z": other}))
    if narrower.matches(value):
        assert compile_pattern(json.dumps(pattern)).matches(value)


@settings(deadline=None)
@given(
    leaf=st.lists(st.sampled_from(["x", "xy", "X"]), min_size=1) | st.lists(st.sampled_from([0, 1.5]), min_size=1),
    value=SCALARS,
)
def test_anything_but_is_the_contrary_for_a_field_with_one_value(leaf, value):
    is_one = compile_pattern(json.dumps({"a": leaf})).matches({"a": value})
    assert compile_pattern(json.dumps({"a": [{"anything-but": leaf}]})).matches({"a": value}) is not is_one


@settings(deadline=None)
@given(value=EVENTS, path=NAMES)
def test_a_field_is_there_or_not(value, path):
    there, absent = (compile_pattern(json.dumps({path: [{"exists": flag}]})).matches(value) for flag in (True, False))
    assert there is not absent


PATTERN_LIKE = st.recursive(
    SCALARS | OPERATORS | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["a", "$or", "prefix", "numeric", "anything-but", "wildcard", "cidr", "exists", ""]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


def error_of(text: str) -> InvalidPattern | None:
    try:
        compile_pattern(text)
    except InvalidPattern as error:
        return error
    return None


@settings(deadline=None, max_examples=examples(500))
@given(text=st.text() | st.builds(json.dumps, PATTERN_LIKE | ANY_JSON) | st.text(alphabet='{}[]":,a1\\ *'))
def test_a_text_is_a_pattern_or_invalid_and_nothing_else(text):
    error = error_of(text)
    if error is None:
        assert isinstance(json.loads(text), dict)
        assert compile_pattern(text).matches({}) in (True, False)
    else:
        assert error.message
        assert error.offset is not None
        assert 0 <= error.offset <= len(text)


@settings(deadline=None)
@given(pattern=PATTERNS, value=st.dictionaries(st.text() | NAMES, ANY_JSON | VALUES))
def test_matching_never_raises(pattern, value):
    assert compile_pattern(json.dumps(pattern)).matches(value) in (True, False)


@settings(deadline=None)
@given(inside=PATTERNS, data=st.text() | st.builds(json.dumps, ANY_JSON | EVENTS), raw=st.binary(), record=ANY_JSON)
def test_a_filter_never_raises_on_any_record(inside, data, raw, record):
    for source, key in (("sqs", "body"), ("kinesis", "data"), ("dynamodb", "dynamodb")):
        accepted = compile_filters([json.dumps({key: inside})], source=source)
        for payload in (
            data,
            base64.b64encode(data.encode(errors="surrogatepass")).decode(),
            base64.b64encode(raw).decode(),
            record,
        ):
            for candidate in (
                {key: payload},
                {"kinesis": {"data": payload}},
                record if isinstance(record, dict) else {},
            ):
                assert accepted.matches(candidate) in (True, False)


@settings(deadline=None)
@given(inside=PATTERNS, value=EVENTS)
def test_an_sqs_body_and_kinesis_data_are_matched_as_the_object_they_hold(inside, value):
    text = json.dumps(value)
    expected = compile_pattern(json.dumps({"data": inside})).matches({"data": value})
    assert compile_filters([json.dumps({"body": inside})], source="sqs").matches({"body": text}) is expected
    record = {"kinesis": {"data": base64.b64encode(text.encode()).decode()}}
    assert compile_filters([json.dumps({"data": inside})], source="kinesis").matches(record) is expected
