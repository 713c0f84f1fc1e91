"""What a new configuration changes: by the table, and for any two configurations."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esmd.config.schema import (
    ApiSettings,
    AwsSettings,
    Config,
    PythonFunction,
    RoutedFunction,
    SqsMapping,
    StateSettings,
)
from esmd.control.changes import compare


def function(**settings) -> PythonFunction:
    return PythonFunction.model_validate({"handler": "m.f", "directory": Path("/code"), **settings})


def mapping(name: str, function_name: str = "f", *, region: str = "us-east-1", **settings) -> SqsMapping:
    arn = f"arn:aws:sqs:{region}:000000000000:{name}"
    return SqsMapping(name=name, event_source_arn=arn, function_name=function_name, **settings)


def config(*mappings: SqsMapping, functions=None, **sections) -> Config:
    return Config(
        functions=functions if functions is not None else {"f": function(), "g": function()},
        mappings={each.name: each for each in mappings},
        **sections,
    )


OLD = config(mapping("a"), mapping("b", "g"))


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (config(mapping("a"), mapping("b", "g")), {"unchanged": ("a", "b")}),
        (config(mapping("b", "g"), mapping("a")), {"unchanged": ("b", "a")}),
        (config(mapping("a"), mapping("b", "g"), mapping("c")), {"added": ("c",), "unchanged": ("a", "b")}),
        (config(mapping("a")), {"removed": ("b",), "changed": (), "unchanged": ("a",), "functions": ("g",)}),
        (config(mapping("a", batch_size=5), mapping("b", "g")), {"changed": ("a",), "unchanged": ("b",)}),
        (config(mapping("a", enabled=False), mapping("b", "g")), {"changed": ("a",), "unchanged": ("b",)}),
        (
            config(mapping("a"), mapping("b", "g"), functions={"f": function(), "g": function(timeout=9)}),
            {"changed": ("b",), "unchanged": ("a",), "functions": ("g",)},
        ),
        (
            config(mapping("a"), mapping("b", "g"), functions={"f": function(), "g": function(), "h": function()}),
            {"unchanged": ("a", "b"), "functions": ("h",)},
        ),
        (
            config(mapping("a", region="eu-west-1"), mapping("b", "g")),
            {"changed": ("a",), "unchanged": ("b",), "functions": ("f",)},
        ),
    ],
)
def test_what_differs_and_nothing_else_is_changed(new, expected):
    changes = compare(OLD, new)
    found = {name: getattr(changes, name) for name in ("added", "changed", "removed", "unchanged", "functions")}
    assert found == {"added": (), "changed": (), "removed": (), "unchanged": (), "functions": ()} | expected


def test_a_changed_version_changes_all_that_route_to_it():
    def routed(timeout):
        functions = {
            "v": function(timeout=timeout),
            "w": function(),
            "r": RoutedFunction(versions={"v": 50, "w": 50}, directory=Path("/code")),
        }
        return config(mapping("a", "r"), mapping("b", "w"), functions=functions)

    changes = compare(routed(1), routed(2))
    assert (changes.changed, changes.unchanged) == (("a",), ("b",))
    assert changes.stale == {"v", "r"}


@pytest.mark.parametrize(
    ("sections", "names"),
    [
        ({"aws": AwsSettings(endpoint_url="http://127.0.0.1:1")}, ("aws.endpoint_url",)),
        ({"state": StateSettings(path=Path("/s"))}, ("state.path",)),
        ({"api": ApiSettings(listen="127.0.0.1:1", enabled=False)}, ("api.enabled", "api.listen")),
    ],
)
def test_what_is_read_at_the_start_only_is_named_and_stays_as_it_was(sections, names):
    changes = compare(OLD, config(mapping("a"), mapping("b", "g"), mapping("c"), **sections))
    assert changes.restart_needed == names
    assert (changes.config.aws, changes.config.state, changes.config.api) == (OLD.aws, OLD.state, OLD.api)
    assert changes.added == ("c",)


def test_mappings_beside_the_configuration_change_with_their_function_only():
    beside = {"x": mapping("x", "g"), "y": mapping("y"), "z": mapping("z", "late")}
    new = config(
        mapping("a"), mapping("b", "g"), functions={"f": function(), "g": function(timeout=9), "late": function()}
    )
    changes = compare(OLD, new, beside=beside)
    assert set(changes.changed) == {"b", "x", "z"}
    assert set(changes.unchanged) == {"a", "y"}
    assert changes.removed == ()


def test_mappings_that_do_not_count_are_not_mentioned():
    changes = compare(OLD, config(mapping("a"), mapping("c")), only=frozenset({"a"}))
    assert (changes.added, changes.removed, changes.unchanged) == ((), (), ("a",))


configurations = st.builds(
    lambda mappings, timeouts: config(
        *(mapping(name, f, batch_size=size) for name, (f, size) in mappings.items()),
        functions={name: function(timeout=each) for name, each in zip("fg", timeouts, strict=True)},
    ),
    st.dictionaries(st.sampled_from("abcd"), st.tuples(st.sampled_from("fg"), st.integers(1, 3)), max_size=4),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
)


@given(old=configurations, new=configurations)
def test_every_mapping_is_in_exactly_one_group_and_the_unchanged_are_equal(old, new):
    changes = compare(old, new)
    groups = [changes.added, changes.changed, changes.removed, changes.unchanged]
    assert sorted(name for group in groups for name in group) == sorted({*old.mappings, *new.mappings})
    assert set(changes.removed) == set(old.mappings) - set(new.mappings)
    for name in changes.unchanged:
        assert old.mappings[name] == new.mappings[name]
        assert new.mappings[name].function_name not in changes.stale
    assert changes.config.mappings == new.mappings


@given(old=configurations)
def test_the_same_configuration_changes_nothing(old):
    changes = compare(old, old)
    assert changes.unchanged == tuple(old.mappings)
    assert (changes.added, changes.changed, changes.removed) == ((), (), ())
    assert (changes.functions, changes.restart_needed) == ((), ())
