"""`esmd checkpoint` around real daemons: what is set is where the next one goes on, and a running one is left alone."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from support.replays import Shop
from support.stream_world import World

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shop(world: World, tmp_path: Path) -> Shop:
    return Shop(tmp_path, world)


def numbers(shop: Shop) -> list[int]:
    """The numbers of all records since the last look."""
    found = [each["n"] for batch in shop.said("handle") for each in batch]
    (shop.folder / "journal.jsonl").unlink(missing_ok=True)
    return found


def test_a_stopped_daemon_goes_on_from_where_it_was_set(world: World, shop: Shop):
    stream = world.make_stream("moved")
    first, second, _ = world.put(stream, {"n": 0}, {"n": 1}, {"n": 2})
    shop.configure(stream.arn)
    shop.drain()
    assert numbers(shop) == [0, 1, 2]
    [shown] = json.loads(shop.esmd("checkpoint", "show", "orders", "-o", "json").stdout)
    [shard] = [each["shard"] for each in shown["shards"]]

    done = shop.esmd("checkpoint", "set", "orders", first, "--shard", shard, "--yes")
    assert (done.returncode, "records come again" in done.stdout) == (0, True), done.stderr
    shop.drain()
    assert numbers(shop) == [1, 2]

    exported = shop.esmd("checkpoint", "export", "orders")
    (shop.folder / "before.json").write_text(exported.stdout)
    assert shop.esmd("checkpoint", "reset", "orders", "--yes").returncode == 0
    shop.drain()
    assert numbers(shop) == [0, 1, 2]

    world.put(stream, {"n": 3})
    assert shop.esmd("checkpoint", "set", "orders", "@" + str(int(time.time()) - 3600), "--yes").returncode == 0
    assert shop.esmd("checkpoint", "import", "orders", "before.json", "--yes").returncode == 0
    shop.drain()
    assert numbers(shop) == [3], "as if nothing had been set in between"
    assert second != first


def test_attempts_are_forgotten_with_the_position(world: World, shop: Shop, tmp_path: Path):
    stream = world.make_stream("stuck")
    world.put(stream, {"n": 0, "poison": True})
    shop.configure(stream.arn, retry_backoff={"initial": 3600, "maximum": 3600})
    with shop.daemon() as daemon:
        daemon.wait_for("batch.failed")
        shown = shop.esmd("checkpoint", "show", "orders")
        daemon.wait_until(
            lambda: "ValueError: 1 record, 1 attempt" in shop.esmd("checkpoint", "show", "orders").stdout,
            what="the attempt in the state file",
        )
        refused = shop.esmd("checkpoint", "set", "orders", "LATEST", "--yes", "--api", str(tmp_path / "no.sock"))
        assert (shown.returncode, refused.returncode) == (0, 69)
        assert f"is in use by process {daemon.process.pid}, and no daemon answers" in refused.stderr
    assert shop.esmd("checkpoint", "set", "orders", "TRIM_HORIZON", "--yes").returncode == 0
    assert "ValueError" not in shop.esmd("checkpoint", "show", "orders").stdout


def test_a_table_is_moved_to_a_time_and_its_finished_past_is_not_read_at_latest(world: World, shop: Shop):
    table = world.make_table("moved")
    world.write(table, {"id": {"S": "a"}})
    shop.configure(table.arn)
    shop.drain()
    assert [each["id"] for batch in shop.said("handle") for each in batch] == ["a"]
    assert shop.esmd("checkpoint", "set", "orders", "1h", "--yes").returncode == 0
    shop.drain()
    assert [each["id"] for batch in shop.said("handle") for each in batch] == ["a", "a"]


def test_positions_go_to_another_state_file_and_to_no_other_stream(world: World, shop: Shop):
    stream, other = world.make_stream("moved"), world.make_stream("other")
    world.put(stream, {"n": 0})
    shop.configure(stream.arn)
    shop.drain()
    numbers(shop)
    (shop.folder / "orders.json").write_text(shop.esmd("checkpoint", "export", "orders").stdout)
    world.put(stream, {"n": 1})
    shop.settings["state"]["path"] = str(shop.folder / "new.db")
    shop.write_settings()
    done = shop.esmd("checkpoint", "import", "orders", "orders.json", "--yes")
    assert done.returncode == 0, done.stderr
    shop.drain()
    assert numbers(shop) == [1]
    shop.configure(other.arn)
    shop.write_settings()
    refused = shop.esmd("checkpoint", "import", "orders", "orders.json", "--yes")
    assert (refused.returncode, "and the mapping reads" in refused.stderr) == (1, True)


def test_a_running_daemon_drains_the_mapping_moves_it_and_goes_on(world: World, shop: Shop):
    stream = world.make_stream("live")
    world.put(stream, {"n": 0}, {"n": 1})
    shop.configure(stream.arn)
    with shop.daemon() as daemon:
        esmd = partial(shop.esmd, environ={"ESMD_SOCKET": str(daemon.socket)})
        daemon.wait_until(lambda: shop.said("handle") == [[{"n": 0}, {"n": 1}]], what="both records")
        done = esmd("checkpoint", "reset", "orders", "--yes")
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 moved"), done.stderr
        moved = daemon.wait_for("checkpoint.moved")
        assert (moved["before"][:6], moved["position"]) == ("after ", "TRIM_HORIZON")
        daemon.wait_until(lambda: shop.said("handle") == [[{"n": 0}, {"n": 1}]] * 2, what="both records again")
        names = [entry["event"] for entry in daemon.log]
        assert names.index("mapping.paused") < names.index("checkpoint.moved") < names.index("mapping.resumed")

        assert esmd("pause", "orders").returncode == 0
        world.put(stream, {"n": 2})
        assert esmd("checkpoint", "set", "orders", "TRIM_HORIZON", "--yes").returncode == 0
        assert "mapping.resumed" not in [entry["event"] for entry in daemon.log[len(names) :]], "it was paused before"
        assert esmd("resume", "orders").returncode == 0
        daemon.wait_until(lambda: len(shop.said("handle")) == 3, what="all of them")
    assert shop.said("handle")[-1] == [{"n": 0}, {"n": 1}, {"n": 2}]
