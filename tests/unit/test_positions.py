"""Moving positions: what a person may write, what it comes to, and the file of an export."""

from __future__ import annotations

import json
from typing import Any

import pytest

from esmd.positions import plan as planning
from esmd.positions.change import Change, carry_out, plan
from esmd.positions.errors import PositionsError
from esmd.positions.files import check_stream, document, from_document, read
from esmd.positions.plan import chosen, moves_to
from esmd.positions.shown import PLANNED, ago_text, planned_rows, position_text, stored_lines, table
from esmd.positions.targets import lasting, parse_target
from esmd.state.memory import MemoryStateStore
from esmd.state.position import LATEST, SHARD_END, TRIM_HORIZON, Position
from esmd.state.protocol import ShardProgress, Stored, StreamIdentity

NOW = 1_800_000_000.0
ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
IDENTITY = StreamIdentity(ARN, "1700000000.000")
OTHER = StreamIdentity(ARN, "1750000000.000")


def shard(name: str, position: Position, **more: Any) -> ShardProgress:
    return ShardProgress(shard_id=name, position=position, updated_at=NOW - 90, **more)


def stored(*shards: ShardProgress, identity: StreamIdentity = IDENTITY) -> Stored:
    return Stored(identity, {each.shard_id: each for each in shards})


# --- what is written


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("TRIM_HORIZON", TRIM_HORIZON),
        ("LATEST", LATEST),
        ("2026-01-31T12:00:00Z", Position.at_timestamp(1_769_860_800.0)),
        ("2026-01-31T13:00:00+01:00", Position.at_timestamp(1_769_860_800.0)),
        ("2026-01-31", Position.at_timestamp(1_769_817_600.0)),
        ("@1769860800", Position.at_timestamp(1_769_860_800.0)),
        ("@1769860800.25", Position.at_timestamp(1_769_860_800.25)),
        ("90s", Position.at_timestamp(NOW - 90)),
        ("15m", Position.at_timestamp(NOW - 900)),
        ("2h", Position.at_timestamp(NOW - 7200)),
        ("3d", Position.at_timestamp(NOW - 259_200)),
        ("000496", Position.after("000496")),
    ],
)
def test_a_position_is_read(text: str, position: Position):
    assert parse_target(text, now=NOW) == position


@pytest.mark.parametrize(
    "text", ["", "latest", "yesterday", "15", "-15m", "15 m", "@soon", "@nan", "12:00", "١٢", "1e3"]
)
def test_what_is_no_position_is_refused_or_a_sequence_number(text: str):
    if text == "15":
        assert parse_target(text, now=NOW) == Position.after("15")
        return
    with pytest.raises(PositionsError, match="is no position"):
        parse_target(text, now=NOW)


def test_a_time_that_has_not_come_is_refused():
    with pytest.raises(PositionsError, match="has not come yet"):
        parse_target("2099-01-01", now=NOW)


def test_latest_lasts_as_a_time_a_little_early():
    assert lasting(LATEST, now=NOW) == Position.at_timestamp(NOW - 5)
    assert lasting(TRIM_HORIZON, now=NOW) == TRIM_HORIZON


# --- what it comes to: the rows of the table

BUSY = stored(
    shard("a", SHARD_END),
    shard("b", Position.after("10"), parents=("a",), trouble="{}", window="{}"),
    shard("c", TRIM_HORIZON),
)
WHEN = Position.at_timestamp(NOW - 900)
ROWS: dict[tuple[str, str], Any] = {
    ("`TRIM_HORIZON`, a time", "no"): [(TRIM_HORIZON, ["a", "b"]), (WHEN, ["a", "b", "c"])],
    ("`LATEST`", "no"): [(LATEST, ["b", "c"])],
    ("a sequence number", "no"): [(Position.after("9"), "belongs to one shard")],
    ("anything", "yes"): [
        (Position.after("9"), "b"),
        (TRIM_HORIZON, "a"),
        (LATEST, "a"),
    ],
    ("anything", "an unknown one"): [(TRIM_HORIZON, "there is no shard 'x'")],
}


def rows_of_the_table() -> list[tuple[str, str]]:
    lines = [line for line in (planning.__doc__ or "").splitlines() if line.startswith("| ")][1:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [(each[0], each[1]) for each in cells if each[1] != "-"]


@pytest.mark.parametrize("row", rows_of_the_table(), ids="; ".join)
def test_every_row_of_the_plan(row: tuple[str, str]):
    for target, expected in ROWS[row]:
        named = {"no": None, "an unknown one": "x"}.get(row[1], expected)
        if isinstance(expected, str) and named != expected:
            with pytest.raises(PositionsError, match=expected):
                moves_to(BUSY, target, shard=named, now=NOW)
            continue
        moves = moves_to(BUSY, target, shard=named, now=NOW)
        assert [move.after.shard_id for move in moves] == ([expected] if isinstance(expected, str) else expected)
        for move in moves:
            after = move.after
            assert (after.position, after.trouble, after.window) == (lasting(target, now=NOW), None, None)
            assert move.before is not None
            assert (after.parents, after.updated_at) == (move.before.parents, NOW)


def test_a_shard_that_is_there_moves_only_to_forget_its_trouble():
    there = stored(shard("a", Position.after("10")))
    assert moves_to(there, Position.after("10"), shard="a", now=NOW) == []
    troubled = stored(shard("a", Position.after("10"), trouble="{}"))
    [move] = moves_to(troubled, Position.after("10"), shard="a", now=NOW)
    assert (move.moves, move.meaning) == (False, "retries start anew")


def test_nothing_stored_is_said_to_begin_by_itself():
    with pytest.raises(PositionsError, match="no shard has a position yet"):
        moves_to(stored(), TRIM_HORIZON, shard=None, now=NOW)
    with pytest.raises(PositionsError, match="nothing is stored of mapping orders on"):
        chosen([], mapping="orders", arn=ARN)


def test_of_several_streams_the_configured_one_counts():
    elsewhere = stored(identity=StreamIdentity(ARN + "-2", "x"))
    assert chosen([BUSY, elsewhere], mapping="orders", arn=ARN) is BUSY
    with pytest.raises(PositionsError, match="several streams"):
        chosen([BUSY, elsewhere], mapping="orders", arn=None)


# --- carried out


async def store_with(*shards: ShardProgress) -> MemoryStateStore:
    store = MemoryStateStore()
    await store.begin("orders", IDENTITY)
    await store.save("orders", IDENTITY, *shards)
    return store


async def test_a_change_is_stored_and_decided_from_what_is_stored_then():
    store = await store_with(*BUSY.shards.values())
    change = Change(mapping="orders", arn=ARN, to=Position.after("9"), shard="b")
    shown = plan(change, [BUSY], now=NOW - 60)
    await store.save("orders", IDENTITY, shard("b", Position.after("12"), parents=("a",)))
    done = await carry_out(change, store, now=NOW)
    assert [move.before.position for move in shown.moves if move.before] == [Position.after("10")]
    assert [move.before.position for move in done.moves if move.before] == [Position.after("12")]
    after = await store.load("orders", ARN)
    assert after is not None
    assert after.shards["b"] == ShardProgress(
        shard_id="b", parents=("a",), position=Position.after("9"), updated_at=NOW
    )
    assert after.shards["a"] == BUSY.shards["a"]


async def test_an_import_puts_shards_back_and_makes_new_ones():
    exported = from_document(document("orders", BUSY, now=NOW))
    store = await store_with(shard("b", Position.after("99")), shard("d", TRIM_HORIZON))
    done = await carry_out(Change(mapping="orders", arn=ARN, to=exported), store, now=NOW)
    assert [move.after.shard_id for move in done.moves] == ["a", "b", "c"]
    after = await store.load("orders", ARN)
    assert after is not None
    assert dict(after.shards) == {**BUSY.shards, "d": shard("d", TRIM_HORIZON)}
    again = await carry_out(Change(mapping="orders", arn=ARN, to=exported), store, now=NOW)
    assert again.moves == []


async def test_an_import_into_nothing_begins_on_the_stream_as_it_was_looked_up():
    exported = from_document(document("orders", BUSY, now=NOW))
    store = MemoryStateStore()
    with pytest.raises(PositionsError, match="nobody has looked the stream up"):
        await carry_out(Change(mapping="new", arn=ARN, to=exported), store, now=NOW)
    with pytest.raises(PositionsError, match="made anew"):
        await carry_out(Change(mapping="new", arn=ARN, to=exported, stream=OTHER), store, now=NOW)
    assert await store.mappings() == []
    await carry_out(Change(mapping="new", arn=ARN, to=exported, stream=IDENTITY), store, now=NOW)
    after = await store.load("new", ARN)
    assert after is not None
    assert dict(after.shards) == dict(BUSY.shards)


# --- the file


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not JSON"),
        ("[]", "no exported checkpoint"),
        ('{"a": 1}', "no exported checkpoint"),
        ('{"esmd_checkpoint": 2}', "version 2, this esmd reads version 1"),
        ('{"esmd_checkpoint": 1}', "damaged: KeyError"),
    ],
)
def test_a_file_that_is_none_is_refused(text: str, complaint: str):
    with pytest.raises(PositionsError, match=complaint):
        read(text)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("position", "kind"), "NOWHERE"),
        (("position", "sequence_number"), "ten"),
        (("position", "sequence_number"), 10),
        (("position",), None),
        (("shard",), 7),
        (("parents",), [7]),
        (("trouble",), {}),
        (("updated_at",), "now"),
        (("updated_at",), True),
    ],
)
def test_a_damaged_shard_is_refused(path: tuple[str, ...], value: Any):
    content = json.loads(json.dumps(document("orders", stored(shard("b", Position.after("10"))), now=NOW)))
    place = content["shards"][0]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(PositionsError, match="damaged"):
        from_document(content)


def test_a_shard_that_is_there_twice_is_refused():
    content = document("orders", stored(shard("b", TRIM_HORIZON)), now=NOW)
    content["shards"] *= 2
    with pytest.raises(PositionsError, match="twice"):
        from_document(content)


def test_another_stream_is_refused_and_says_which():
    exported = from_document(document("orders", BUSY, now=NOW))
    check_stream(exported, IDENTITY)
    with pytest.raises(PositionsError, match=r"made anew at 1750000000\.000"):
        check_stream(exported, OTHER)
    with pytest.raises(PositionsError, match="and the mapping reads arn-2"):
        check_stream(exported, StreamIdentity("arn-2", IDENTITY.created_at))


# --- shown

TROUBLE = {
    "lanes": None,
    "batches": {
        "0": {
            "parts": [
                {"attempts": 3, "records": 2, "failure": {"type": "ValueError", "message": "no"}},
                {"attempts": 0, "records": 5, "failure": None},
            ]
        }
    },
}


def test_a_table_shows_positions_trouble_and_windows():
    window = {"open": {"start": NOW - 300, "records": 1}}
    busy = stored(
        shard("shard-1", Position.after("10"), trouble=json.dumps(TROUBLE), window=json.dumps(window)),
        shard("shard-2", Position.at_timestamp(NOW - 60), trouble="damaged", window="[]"),
    )
    assert list(stored_lines("orders", busy, now=NOW)) == [
        f"orders: {ARN}",
        "  shard    position                 stored   trouble                            window",
        "  shard-1  after 10                 1 m ago  ValueError: 2 records, 3 attempts  2027-01-15T07:55:00Z, 1 record",
        "  shard-2  at 2027-01-15T07:59:00Z  1 m ago  -                                  cannot be read",
    ]


def test_a_plan_shows_from_to_and_what_comes_of_it():
    planned = plan(Change(mapping="orders", arn=ARN, to=Position.after("9"), shard="b"), [BUSY], now=NOW)
    assert list(table(PLANNED, planned_rows(planned))) == [
        "  shard  from      to       meaning",
        "  b      after 10  after 9  records come again",
    ]
    meanings = {
        str(target): [move.meaning for move in moves_to(BUSY, target, shard="b", now=NOW)]
        for target in (Position.after("11"), Position.after("10"), TRIM_HORIZON, WHEN)
    }
    assert list(meanings.values()) == [
        ["records are skipped"],
        ["retries start anew"],
        ["all records kept come again"],
        ["goes on from there"],
    ]


def test_texts_of_times():
    assert [ago_text(seconds) for seconds in (-3, 0.4, 59, 60, 7199, 7200, 200_000)] == [
        "0 s ago",
        "0 s ago",
        "59 s ago",
        "1 m ago",
        "1 h ago",
        "2 h ago",
        "2 d ago",
    ]
    assert position_text(None) == "nothing"
    assert position_text(SHARD_END) == "SHARD_END"
