"""`esmd checkpoint` on a state file: what it shows, that it changes nothing unasked, and whom it leaves alone."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from esmd.cli import cli
from esmd.state.errors import StateError
from esmd.state.peek import peek
from esmd.state.position import SHARD_END, TRIM_HORIZON, Position
from esmd.state.protocol import ShardProgress, StreamIdentity
from esmd.state.sqlite import SqliteStateStore

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
IDENTITY = StreamIdentity(ARN, "1700000000.000")
SHARDS = (
    ShardProgress(shard_id="shard-a", position=SHARD_END, updated_at=1_700_000_000.0),
    ShardProgress(shard_id="shard-b", position=Position.after("10"), trouble="{}", updated_at=1_700_000_000.0),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration, and a state file in which the mapping has run."""
    document = {
        "version": 1,
        "state": {"path": str(tmp_path / "state.db")},
        "functions": {"handle": {"handler": "handlers:handle"}},
        "mappings": {
            "orders": {"event_source_arn": ARN, "function_name": "handle", "starting_position": "TRIM_HORIZON"},
            "jobs": {"event_source_arn": "arn:aws:sqs:us-east-1:000000000000:jobs", "function_name": "handle"},
        },
    }
    (tmp_path / "esmd.yaml").write_text(yaml.safe_dump(document))

    async def fill() -> None:
        store = await SqliteStateStore.open(tmp_path / "state.db")
        await store.begin("orders", IDENTITY)
        await store.save("orders", IDENTITY, *SHARDS)
        await store.close()

    asyncio.run(fill())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def esmd(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["checkpoint", *arguments])


def positions(folder: Path) -> dict[str, Position]:
    [stored] = peek(folder / "state.db")["orders"]
    return {shard_id: each.position for shard_id, each in stored.shards.items()}


BEFORE = {"shard-a": SHARD_END, "shard-b": Position.after("10")}


def test_show_says_where_every_shard_is(folder: Path):
    shown = esmd("show")
    assert shown.exit_code == 0
    title, _, first, second = shown.output.splitlines()
    assert title == f"orders: {ARN}"
    assert first.split()[:2] == ["shard-a", "SHARD_END"]
    assert second.split()[:3] == ["shard-b", "after", "10"]
    [document] = json.loads(esmd("show", "orders", "-o", "json").output)
    assert [each["position"]["kind"] for each in document["shards"]] == ["SHARD_END", "AFTER"]
    assert document["stream"]["arn"] == ARN


def test_the_state_file_alone_is_enough(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert "shard-b" in esmd("show", "--state", str(folder / "state.db")).output
    done = esmd("set", "orders", "TRIM_HORIZON", "--state", str(folder / "state.db"), "--yes")
    assert done.exit_code == 0, done.output
    assert positions(folder) == dict.fromkeys(BEFORE, TRIM_HORIZON)


def test_what_is_not_there_is_said(folder: Path):
    assert "nothing is stored of a mapping 'other'; there are positions of: orders" in esmd("show", "other").output
    missing = esmd("show", "--state", "nowhere.db")
    assert (missing.exit_code, "there is no state file nowhere.db" in missing.output) == (1, True)
    (folder / "text.db").write_text("no database" * 1000)
    assert "not a state file of esmd" in esmd("show", "--state", "text.db").output
    assert esmd("set", "orders", "TRIM_HORIZON", "--state", "nowhere.db", "--yes").exit_code == 1
    assert not (folder / "nowhere.db").exists(), "a state file made for nothing"


def test_set_shows_what_would_change_and_changes_nothing(folder: Path):
    shown = esmd("set", "orders", "9", "--shard", "shard-b")
    assert shown.exit_code == 0
    assert shown.output.splitlines() == [
        f"orders: {ARN}",
        "  shard    from      to       meaning",
        "  shard-b  after 10  after 9  records come again",
        "1 would move; nothing was changed, --yes does it",
    ]
    assert positions(folder) == BEFORE


def test_set_with_yes_does_it(folder: Path):
    done = esmd("set", "orders", "9", "--shard", "shard-b", "--yes")
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "1 moved")
    assert positions(folder) == BEFORE | {"shard-b": Position.after("9")}
    again = esmd("set", "orders", "9", "--shard", "shard-b", "--yes")
    assert again.output.splitlines()[-1] == "every shard is there already"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["set", "orders", "9"], 1, "a sequence number belongs to one shard. Name it with --shard."),
        (["set", "orders", "9", "--shard", "x"], 1, "there is no shard 'x'. There are: shard-a, shard-b."),
        (["set", "orders", "soon"], 2, "'soon' is no position"),
        (["set", "jobs", "LATEST"], 1, "nothing is stored of mapping jobs"),
        (["reset", "jobs"], 2, "no stream mapping 'jobs'"),
        (["import", "orders", "esmd.yaml"], 1, "not JSON"),
    ],
)
def test_what_cannot_be_done_is_refused(folder: Path, arguments: list[str], code: int, text: str):
    refused = esmd(*arguments, "--yes")
    assert refused.exit_code == code
    assert text in " ".join(refused.output.split())
    assert positions(folder) == BEFORE


def test_reset_goes_back_to_the_starting_position(folder: Path):
    assert esmd("reset", "orders", "--shard", "shard-b", "--yes").exit_code == 0
    assert positions(folder) == BEFORE | {"shard-b": TRIM_HORIZON}
    settings: dict[str, Any] = yaml.safe_load((folder / "esmd.yaml").read_text())
    settings["mappings"]["orders"] |= {
        "starting_position": "AT_TIMESTAMP",
        "starting_position_timestamp": "2026-01-31T12:00:00Z",
    }
    (folder / "esmd.yaml").write_text(yaml.safe_dump(settings))
    assert esmd("reset", "orders", "--yes").exit_code == 0
    assert positions(folder) == dict.fromkeys(BEFORE, Position.at_timestamp(1_769_860_800.0))


def test_an_export_is_imported_again(folder: Path):
    exported = esmd("export", "orders")
    assert exported.exit_code == 0
    (folder / "orders.json").write_text(exported.output)
    esmd("set", "orders", "TRIM_HORIZON", "--yes")
    shown = esmd("import", "orders", "orders.json")
    assert "2 would move" in shown.output
    assert esmd("import", "orders", "orders.json", "--yes").exit_code == 0
    [stored] = peek(folder / "state.db")["orders"]
    assert tuple(stored.shards.values()) == SHARDS, "attempts included"


async def test_while_a_daemon_has_the_file_it_is_shown_and_not_changed(folder: Path):
    store = await SqliteStateStore.open(folder / "state.db")
    try:
        await store.save(
            "orders", IDENTITY, ShardProgress(shard_id="shard-b", position=Position.after("11"), updated_at=1)
        )
        shown = await asyncio.to_thread(esmd, "show")
        assert "after 11" in shown.output
        refused = await asyncio.to_thread(esmd, "set", "orders", "TRIM_HORIZON", "--yes")
        assert refused.exit_code == 69
        assert re.search(
            "is in use by process [0-9]+, and no daemon answers on the socket .*Or stop it", refused.output
        )
    finally:
        await store.close()
    assert positions(folder) == BEFORE | {"shard-b": Position.after("11")}


def test_a_look_at_a_file_that_is_being_made_finds_nothing(tmp_path: Path):
    (tmp_path / "new.db").touch()
    assert peek(tmp_path / "new.db") == {}
    with pytest.raises(StateError, match="cannot be"):
        peek(tmp_path)
