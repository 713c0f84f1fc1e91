"""Shards that are split and merged under traffic, and mappings that are disabled for a while: nothing is lost or disordered.

MiniStack is left out of the first: there a split takes the parent away, with all its records.
"""

from __future__ import annotations

import signal
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import Daemon, Journal, function
from support.stream_kills import KEYS, Traffic
from support.stream_world import World, data_of, stream_config, stream_mapping

if TYPE_CHECKING:
    from pathlib import Path

    from support.stream_world import Source

pytestmark = pytest.mark.server


@pytest.mark.parametrize("server", ["kinesis_local", "localstack_kinesis"])
def test_splits_and_merges_under_traffic(server: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(server)
    journals = {name: Journal(tmp_path / f"{name}.jsonl") for name in ("one", "lanes")}
    functions = {name: function("script", journal, timeout=10) for name, journal in journals.items()}
    with World(kinesis=url, others=url) as world:
        stream = world.make_stream("reshard")
        mappings = {
            "one": stream_mapping(stream.arn, "one", batch_size=10),
            "lanes": stream_mapping(stream.arn, "lanes", batch_size=10, parallelization_factor=3),
        }
        config = stream_config(tmp_path, functions, mappings)
        with Daemon(tmp_path, config, environ=world.environ) as daemon:
            daemon.wait_for("daemon.ready", within=60)
            with Traffic(world, stream) as traffic:

                def more_rounds() -> None:
                    goal = traffic.rounds + 5
                    daemon.wait_until(
                        lambda: all(rounds_in(journal) >= goal for journal in journals.values()),
                        what=f"{goal} rounds",
                        within=60,
                    )

                more_rounds()
                [only] = world.open_shards(stream)
                world.split(stream, only)
                more_rounds()
                left, right = world.open_shards(stream)
                world.merge(stream, left, right)
                more_rounds()
            daemon.wait_until(
                lambda: all(rounds_in(journal) >= traffic.rounds for journal in journals.values()),
                what="everything",
                within=60,
            )
            for name, journal in journals.items():
                daemon.wait_until(
                    lambda name=name: len(daemon.events("shard.finished", mapping=name)) == 3,
                    what="three shards to be finished",
                )
                assert orders(journal) == {key: list(range(traffic.rounds)) for key in KEYS}
                assert_children_follow_their_parents(daemon, name, only, left, right)


def orders(journal: Journal) -> dict[str, list[int]]:
    """The numbers of each key, as they were delivered."""
    found: dict[str, list[int]] = defaultdict(list)
    for entry in journal.entries():
        for record in entry["records"]:
            found[record["kinesis"]["partitionKey"]].append(data_of(record)["n"])
    return found


def rounds_in(journal: Journal) -> int:
    """How many rounds have been delivered whole."""
    found = orders(journal)
    return min(len(found[key]) for key in KEYS)


def assert_children_follow_their_parents(daemon: Daemon, mapping: str, *shards: dict[str, Any]) -> None:
    said = [e for e in daemon.log if e["event"] in ("shard.started", "shard.finished") and e["mapping"] == mapping]
    story = [(entry["event"].removeprefix("shard."), entry["shard"]) for entry in said]
    first, left, right = (shard["ShardId"] for shard in shards)
    assert story[:2] == [("started", first), ("finished", first)]
    assert sorted(story[2:6]) == sorted((event, shard) for event in ("started", "finished") for shard in (left, right))
    [(event, child)] = story[6:]
    assert event == "started"
    assert child not in (first, left, right)


def test_a_mapping_that_is_enabled_again_goes_on_where_it_was(ministack: str, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    with World(kinesis=ministack, others=ministack) as world:
        stream, other = world.make_streams(("paused", "other")).values()

        def running(*, enabled: bool) -> Daemon:
            mappings = {
                "paused": stream_mapping(stream.arn, "script", batch_size=2, enabled=enabled),
                "other": stream_mapping(other.arn, "script"),
            }
            config = stream_config(tmp_path, {"script": function("script", journal, timeout=10)}, mappings)
            return Daemon(tmp_path, config, environ=world.environ)

        def numbers(source: Source) -> list[int]:
            records = [record for entry in journal.entries() for record in entry["records"]]
            return [data_of(r)["n"] for r in records if r["eventSourceARN"] == source.arn]

        def ended(daemon: Daemon) -> None:
            daemon.signal(signal.SIGTERM)
            assert daemon.exit_code() == 0

        world.put(stream, *({"n": n} for n in range(5)))
        with running(enabled=True) as daemon:
            daemon.wait_until(lambda: len(numbers(stream)) == 5, what="the first five")
            ended(daemon)
        with running(enabled=False) as daemon:
            daemon.wait_for("mapping.disabled", mapping="paused", reason="configuration")
            world.put(stream, *({"n": n} for n in range(5, 8)))
            world.put(other, {"n": 0})
            daemon.wait_until(lambda: numbers(other), what="the other mapping at work")
            assert len(numbers(stream)) == 5
            ended(daemon)
        with running(enabled=True) as daemon:
            world.put(stream, {"n": 8})
            daemon.wait_until(lambda: len(numbers(stream)) >= 9, what="the rest")
            ended(daemon)
        assert numbers(stream) == list(range(9))
        assert numbers(other) == [0]
