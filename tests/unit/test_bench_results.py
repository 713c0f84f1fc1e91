"""The arithmetic of the benchmarks: ratios, goals, profiles. No process is started."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from support.benchmarks import ROOT, benchmarks_importable  # noqa: F401 - a fixture

CALLS = {"G8", "G8b", "G9", "G9b"}


def _table(*, compared="us", **rows):
    from benchmarks.results import Table

    table = Table(name="t", title="title", compared=(compared,), shown=(compared, "server"))
    for name, values in rows.items():
        for value in values:
            table.add(name, {compared: value, "server": 0.1})
    return table


def test_a_ratio_is_taken_round_by_round_so_that_a_slow_round_does_not_show():
    table = _table(first=[10.0, 100.0, 20.0], second=[20.0, 200.0, 40.0])
    ratio = table.ratio("second")
    assert (ratio.least, ratio.median, ratio.greatest) == (2.0, 2.0, 2.0)


def test_more_is_better_turns_the_ratio_round():
    table = _table(compared="rate", first=[1000.0], second=[250.0])
    assert table.ratio("second").median == 4.0


def test_each_compared_figure_has_a_ratio_of_its_own_which_says_how_many_times_worse_a_row_is():
    from benchmarks.results import Table

    table = Table(name="t", title="title", compared=("us", "rate"), shown=("us", "rate"))
    table.add("first", {"us": 10.0, "rate": 1000.0})
    table.add("second", {"us": 20.0, "rate": 250.0})
    assert table.ratio("second").median == table.ratio("second", figure="us").median == 2.0
    assert table.ratio("second", figure="rate").median == 4.0
    assert "x first row, us (least to greatest) | x first row, per s (least to greatest)" in table.markdown()
    assert "| second | 20.0 | 250 | 2.00 (2.00 to 2.00) | 4.00 (4.00 to 4.00) |" in table.markdown()


def test_a_row_that_was_not_measured_has_no_ratio():
    assert _table(first=[1.0]).ratio("absent") is None


def test_a_row_about_the_fake_says_so():
    table = _table(first=[1.0])
    assert "server-bound" not in table.markdown()
    table.rows["first"][0]["server"] = 0.95
    assert "server-bound" in table.markdown()


def test_a_row_that_is_left_out_is_said():
    table = _table()
    table.notes.append("sqs-consumer x1 is left out: there is no node")
    assert "- sqs-consumer x1 is left out: there is no node" in table.markdown()


def test_a_goal_is_reached_not_reached_or_not_measured():
    from benchmarks.goals import GOALS, Run

    share = next(goal for goal in GOALS if goal.number == "G1")

    def verdict(floor):
        table = _table(**{"esmd, inline": [10.0], "floor, lean asyncio x4": [floor]})
        return share.verdict(Run({"sqs-noop": table}))

    assert verdict(9.0) == ("90%", "reached, the ambitious one too")
    assert verdict(6.0) == ("60%", "reached")
    assert verdict(4.0) == ("40%", "not reached")
    assert share.verdict(Run({})) == ("", "not measured")


def test_latency_goals_compare_the_daemon_with_the_raw_client_and_not_the_other_way_round():
    from benchmarks.goals import GOALS, Run

    table = _table(compared="p50_ms", **{"esmd, inline": [0.3], "raw blocking long poll": [0.2]})
    text, verdict = next(goal for goal in GOALS if goal.number == "G5").verdict(Run({"latency": table}))
    assert (text, verdict) == ("1.50 x", "reached")


def test_a_daemon_that_is_quicker_than_a_raw_client_is_not_believed():
    from benchmarks.goals import GOALS, Run

    table = _table(compared="p50_ms", **{"esmd, inline": [0.6], "raw blocking long poll": [1.0]})
    _, verdict = next(goal for goal in GOALS if goal.number == "G7").verdict(Run({"latency-idle": table}))
    assert verdict.startswith("doubtful")


def test_a_call_is_compared_with_the_socket_and_aiobotocore_with_it():
    from benchmarks.goals import GOALS, Run
    from benchmarks.results import Table

    table = Table(name="calls", title="title", compared=("receive_us", "delete_us"), shown=("receive_us", "delete_us"))
    table.add("esmd's client", {"receive_us": 75.0, "delete_us": 80.0})
    table.add("floor, blocking socket", {"receive_us": 50.0, "delete_us": 80.0})
    table.add("aiobotocore", {"receive_us": 750.0, "delete_us": 2400.0})
    verdicts = {goal.number: goal.verdict(Run({"calls": table})) for goal in GOALS if goal.number in CALLS}
    assert verdicts == {
        "G8": ("1.50 x", "reached"),
        "G8b": ("1.00 x", "reached, the ambitious one too"),
        "G9": ("10 x", "not reached"),
        "G9b": ("30 x", "reached, the ambitious one too"),
    }


def test_a_peer_is_compared_by_rate_and_by_cpu_in_lines_of_their_own():
    from benchmarks.goals import GOALS, Run
    from benchmarks.results import Table

    table = Table(name="kinesis", title="title", compared=("us", "rate"), shown=("us", "rate"))
    table.add("esmd, inline", {"us": 10.0, "rate": 60_000.0})
    table.add("esmd, inline, 1,000", {"us": 5.0, "rate": 120_000.0})
    table.add("async-kinesis, tuned", {"us": 50.0, "rate": 1_000.0})
    values = {goal.number: goal.verdict(Run({"kinesis": table}))[0] for goal in GOALS}
    assert {number: values[number] for number in ("G11", "G11b", "G11c", "G11d")} == {
        "G11": "120 x",
        "G11b": "10 x",
        "G11c": "60 x",
        "G11d": "5.00 x",
    }


def test_all_twenty_goals_are_there():
    from benchmarks.goals import GOALS

    numbers = {int(goal.number[1:].rstrip("bcdef")) for goal in GOALS}
    assert numbers == set(range(1, 21))


def test_every_goal_names_rows_that_a_scenario_has():
    from benchmarks.goals import GOALS, Run
    from benchmarks.scenarios import scenarios

    asked = []

    class Recorder(Run):
        def times(self, scenario, row, *, to=None, figure=None):
            asked.append((scenario, {row} | ({to} if to else set())))
            return super().times(scenario, row, to=to, figure=figure)

        def value(self, scenario, row, figure):
            asked.append((scenario, {row}))
            return super().value(scenario, row, figure)

    for goal in GOALS:
        goal.verdict(Recorder({}))
    rows = {scenario.name: {row.subject.name for row in scenario.rows} for scenario in scenarios()}
    assert asked
    assert [(scenario, names) for scenario, names in asked if not names <= rows[scenario]] == []


def test_a_profile_counts_the_innermost_line_of_the_daemon_on_the_loops_thread_only():
    from benchmarks.hotspots import read_raw

    loop = "run_to_exit (esmd/cli/launch.py:171);Runner.run (asyncio/runners.py:118)"
    profile = read_raw(
        "\n".join(
            [
                f"{loop};encode (esmd/mappings/events.py:91);dumps (json/__init__.py:231) 6",
                f"{loop};Lane.ask (esmd/pollers/wire_clients.py:9) 2",
                f"{loop};BotoSqs.receive (esmd/pollers/sqs.py:3);call (aiobotocore/client.py:4) 3",
                f"{loop};select (selectors.py:468) 4",
                "Thread.run (threading.py:982);_worker (concurrent/futures/thread.py:81) 100",
            ]
        )
    )
    assert profile.lines == {
        "esmd/mappings/events.py:91 encode": 6,
        "esmd/pollers/wire_clients.py:9 Lane.ask": 2,
        "the loop: select": 4,
    }
    assert (profile.client, profile.wire, profile.total) == (3, 2, 15)


@pytest.mark.thorough
def test_configurations_are_valid(tmp_path):
    from benchmarks.scenarios import scenarios
    from benchmarks.subjects import Place
    from esmd.config.loader import load

    place = Place(url="http://127.0.0.1:1", folder=tmp_path, tally=tmp_path / "tally")
    ours = [row for each in scenarios() for row in each.rows if row.subject.drains]
    assert len(ours) > 10
    for row in ours:
        row.subject.command(place)
        loaded = load([tmp_path / "esmd.yaml"], environ={"HOME": str(tmp_path)})
        assert loaded.config is not None, [row.subject.name, *map(str, loaded.diagnostics)]


def test_nothing_of_the_benchmarks_shadows_the_standard_library():
    modules = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"__init__", "__main__"}
    assert modules & set(sys.stdlib_module_names) == set()
    assert importlib.util.find_spec("profile") is not None
