"""A configuration divided among processes."""

from __future__ import annotations

from typing import Any

import pytest

from esmd.config.loader import load
from esmd.functions import UNRESERVED_CALLS, UNRESERVED_PROCESSES
from esmd.processes.shares import divided

QUEUE = "arn:aws:sqs:us-east-1:000000000000:orders"
STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"


@pytest.fixture
def config(tmp_path):
    def make(functions: dict[str, Any], mappings: dict[str, Any]) -> Any:
        import yaml

        path = tmp_path / "esmd.yaml"
        path.write_text(yaml.safe_dump({"version": 1, "functions": functions, "mappings": mappings}), encoding="utf-8")
        loaded = load([path], environ={})
        assert loaded.config is not None, loaded.diagnostics
        return loaded.config

    return make


def queue(function: str = "f", **settings: Any) -> dict[str, Any]:
    return {"event_source_arn": QUEUE, "function_name": function, **settings}


def parts(config: Any, count: int) -> list[Any]:
    return [divided(config, process, count) for process in range(count)]


def running(config: Any, count: int) -> list[list[str]]:
    return [sorted(part.mappings) for part in parts(config, count)]


@pytest.mark.parametrize(
    ("function", "total"),
    [
        ({"handler": "a:b", "reserved_concurrency": 5}, 5),
        ({"handler": "a:b"}, UNRESERVED_PROCESSES),
        ({"handler": "a:b", "isolation": "inline"}, UNRESERVED_CALLS),
        ({"url": "http://127.0.0.1:1"}, UNRESERVED_CALLS),
    ],
    ids=["reserved", "unreserved", "inline", "http"],
)
def test_the_concurrency_of_a_function_is_divided(config, function, total):
    found = [part.functions["f"].reserved_concurrency for part in parts(config({"f": function}, {"m": queue()}), 3)]
    assert sum(found) == total
    assert max(found) - min(found) <= 1


def test_environments_that_are_kept_are_divided(config):
    function = {"handler": "a:b", "reserved_concurrency": 8, "provisioned_concurrency": 3}
    found = [part.functions["f"].provisioned_concurrency for part in parts(config({"f": function}, {"m": queue()}), 2)]
    assert found == [2, 1]


def test_the_maximum_of_a_mapping_is_divided_and_who_has_no_part_does_not_run_it(config):
    made = config({"f": {"handler": "a:b"}}, {"m": queue(scaling_config={"maximum_concurrency": 2})})
    found = parts(made, 3)
    assert [part.mappings["m"].scaling_config.maximum_concurrency for part in found if part.mappings] == [1, 1]
    assert running(made, 3) == [["m"], ["m"], []]


def test_provisioned_pollers_are_divided(config):
    pollers = {"minimum_pollers": 3, "maximum_pollers": 5}
    made = config({"f": {"handler": "a:b"}}, {"m": queue(provisioned_poller_config=pollers)})
    found = [part.mappings["m"].provisioned_poller_config for part in parts(made, 4)]
    assert [(each.minimum_pollers, each.maximum_pollers) for each in found] == [(1, 2), (1, 1), (1, 1), (1, 1)]


def test_a_function_whose_part_is_nothing_keeps_its_mappings_out(config):
    stream = {"event_source_arn": STREAM, "function_name": "f", "starting_position": "LATEST"}
    made = config({"f": {"handler": "a:b", "reserved_concurrency": 1}}, {"m": queue(), "s": stream})
    assert running(made, 2) == [["m", "s"], []]


def test_small_limits_do_not_all_fall_to_the_first_process(config):
    functions = {name: {"handler": "a:b", "reserved_concurrency": 1} for name in "abcd"}
    made = config(functions, {name: queue(name) for name in "abcd"})
    assert running(made, 2) == [["a", "c"], ["b", "d"]]


def test_a_stopped_function_says_so_in_one_process(config):
    made = config({"f": {"handler": "a:b", "reserved_concurrency": 0}}, {"m": queue()})
    assert running(made, 3) == [["m"], [], []]
    assert parts(made, 3)[0].functions["f"].reserved_concurrency == 0


def test_versions_of_a_function_are_divided_together(config):
    functions = {
        "other": {"handler": "a:b", "reserved_concurrency": 1},
        "blue": {"handler": "a:b", "reserved_concurrency": 1},
        "green": {"handler": "a:b", "reserved_concurrency": 1},
        "routed": {"versions": {"blue": 90, "green": 10}},
    }
    made = config(functions, {"m": queue("routed"), "o": queue("other")})
    assert sorted(running(made, 2)) == [["m"], ["o"]]


def test_disabled_mappings_run_nowhere_and_one_process_changes_nothing_else(config):
    made = config(
        {"f": {"handler": "a:b"}}, {"on": queue(), "off": queue(enabled=False, event_source_arn=QUEUE + "-2")}
    )
    assert running(made, 2) == [["on"], ["on"]]
    [alone] = parts(made, 1)
    assert alone.mappings == {"on": made.mappings["on"]}
