"""Tumbling windows of a shard: bounds, state, final invokes, answers."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re

import pytest

from esmd.mappings import window_replies
from esmd.mappings import windows as windows_module
from esmd.mappings.events import MAX_EVENT_BYTES
from esmd.mappings.outcomes import FunctionError, Rejected, Success, Throttled, Unreachable
from esmd.mappings.records import Record
from esmd.mappings.stream_events import stream_event
from esmd.mappings.window_replies import FIELD_BYTES, MAX_STATE_BYTES, WindowReply, read_reply
from esmd.mappings.windows import MAX_RECORDS_BYTES, QUIET_SECONDS, Windows

from support.batches import record

LARGE = b'"' + b"x" * MAX_STATE_BYTES + b'"'


def rec(number, at):
    return record(str(number))._replace(arrived_at=at)


def make(length=60, **options):
    return Windows(length, shard_id="shard-1", stream_arn="arn:stream", **options)


def opened(*, state=b'{"sum":1}'):
    """Window 60 to 120, one record resolved."""
    windows = make()
    assert windows.due(70, next_record=rec(1, 65)) is None
    windows.resolved([rec(1, 65)], state=state)
    return windows


def table_rows(module):
    lines = [line for line in module.__doc__.splitlines() if line.startswith("| ")]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[1:]]


# --- the table of the module docstring: every combination of its columns


def untouched():
    windows = make()
    windows.due(70, next_record=rec(1, 65))
    return windows


def closing():
    windows = opened()
    windows.due(130, next_record=rec(2, 125))
    return windows


WINDOWS = {
    "none": make,
    "untouched": untouched,
    "open": opened,
    "too large": lambda: opened(state=LARGE),
    "closing": closing,
}
NOW = 1000.0
NEXT = {"none": None, "before the end": rec(2, 119.9), "at or past the end": rec(2, 120)}
QUIET = {"never": None, "too early": NOW - QUIET_SECONDS + 1, "2 minutes have gone": NOW - QUIET_SECONDS}
SHARD = {"open": False, "ended": True}
MATCHES = {"a record": {"before the end", "at or past the end"}, "never, or too early": {"never", "too early"}}


def rows_for(*case):
    return [
        row
        for row in table_rows(windows_module)
        if all(cell == "any" or value in MATCHES.get(cell, {cell}) for cell, value in zip(row, case, strict=False))
    ]


CASES = list(itertools.product(WINDOWS, NEXT, QUIET, SHARD))


@pytest.mark.parametrize("case", CASES, ids=" / ".join)
def test_what_is_due(case):
    window, next_record, quiet, shard = case
    answers = {row[4] for row in rows_for(*case)}
    assert len(answers) == 1
    windows = WINDOWS[window]()
    final = windows.due(NOW, next_record=NEXT[next_record], quiet_since=QUIET[quiet], shard_ended=SHARD[shard])
    match answers.pop():
        case "nothing" | "nothing; ask again at `due_at`" | "go on":
            assert final is None
        case "its window opens with state {}; go on":
            assert final is None
            assert windows.fields().state == b"{}"
            assert windows.fields().end > NEXT[next_record].arrived_at
        case "final invoke" | "the same final invoke again":
            assert final.fields.final
            assert not final.fields.terminated_early
        case "final invoke, terminated early":
            assert final.fields.final
            assert final.fields.terminated_early
            assert final.fields.state == LARGE


def test_every_row_is_about_some_case():
    used = {row for case in CASES for row in rows_for(*case)}
    assert used == set(table_rows(windows_module))


# --- bounds


@pytest.mark.parametrize(
    ("length", "at", "bounds"),
    [(60, 120.0, (120, 180)), (60, 179.999, (120, 180)), (7, 20, (14, 21)), (900, 1, (0, 900))],
)
def test_windows_are_aligned_to_multiples_of_their_length(length, at, bounds):
    windows = make(length)
    windows.due(at, next_record=rec(1, at))
    assert (windows.fields().start, windows.fields().end) == bounds


def test_a_late_record_joins_the_current_window():
    windows = opened()
    assert windows.due(200, next_record=rec(2, 5)) is None
    assert windows.joins(rec(2, 5))
    assert windows.fields().start == 60


def test_a_record_later_than_a_closed_window_does_not_go_back():
    windows = opened()
    assert windows.due(500, shard_ended=True)
    windows.closed()
    assert windows.due(500, next_record=rec(2, 5)) is None
    assert windows.fields().start == 60


def test_a_batch_ends_where_the_window_ends():
    windows = opened()
    assert windows.joins(rec(2, 119.999))
    assert not windows.joins(rec(3, 120))


def test_without_a_window_nothing_joins():
    assert not make().joins(rec(1, 5))
    with pytest.raises(RuntimeError, match="no window"):
        make().fields()
    with pytest.raises(RuntimeError, match="no window"):
        make().resolved([rec(1, 5)], state=None)


def test_a_new_length_begins_with_the_next_window():
    old = opened().snapshot()
    windows = make(900, snapshot=old)
    assert windows.due(130, next_record=rec(2, 119)) is None
    assert windows.due(130, next_record=rec(2, 125)).fields.end == 120
    windows.closed()
    windows.due(130, next_record=rec(2, 125))
    assert (windows.fields().start, windows.fields().end) == (0, 900)


# --- state


def test_the_state_goes_from_invocation_to_invocation():
    windows = make()
    windows.due(70, next_record=rec(1, 65))
    assert windows.fields().state == b"{}"
    windows.resolved([rec(1, 65)], state=b'{"sum":1}')
    assert windows.fields().state == b'{"sum":1}'
    assert windows.fields() == windows.fields()


def test_discarded_records_leave_the_state_alone():
    windows = opened()
    windows.resolved([rec(2, 66)], state=None)
    assert windows.fields().state == b'{"sum":1}'


def test_an_invocation_that_got_no_record_done_hands_on_no_state():
    windows = opened()
    windows.resolved([], state=b'{"sum":9}')
    assert windows.fields().state == b'{"sum":1}'


def test_the_next_window_starts_empty():
    windows = opened()
    assert windows.due(130, next_record=rec(2, 125))
    windows.closed()
    assert windows.due(130, next_record=rec(2, 125)) is None
    fields = windows.fields()
    assert (fields.start, fields.state, fields.final) == (120, b"{}", False)


def test_after_early_termination_the_same_window_opens_again():
    windows = opened(state=LARGE)
    assert windows.due(80, next_record=rec(2, 70)).fields.terminated_early
    windows.closed()
    assert windows.due(80, next_record=rec(2, 70)) is None
    fields = windows.fields()
    assert (fields.start, fields.end, fields.state) == (60, 120, b"{}")


def test_a_state_of_exactly_the_limit_is_kept():
    windows = opened(state=b'"' + b"x" * (MAX_STATE_BYTES - 2) + b'"')
    assert windows.due(80, next_record=rec(2, 70)) is None


# --- final invokes


def test_the_event_of_a_final_invoke():
    final = opened().due(130, next_record=rec(2, 125))
    assert json.loads(stream_event([], window=final.fields)) == {
        "Records": [],
        "window": {"start": "1970-01-01T00:01:00Z", "end": "1970-01-01T00:02:00Z"},
        "state": {"sum": 1},
        "shardId": "shard-1",
        "eventSourceARN": "arn:stream",
        "isFinalInvokeForWindow": True,
        "isWindowTerminatedEarly": False,
    }


def test_the_largest_batch_and_the_largest_state_fit_one_event():
    windows = make()
    windows.due(0, next_record=rec(1, 0))
    windows.resolved([rec(1, 0)], state=b"1" * MAX_STATE_BYTES)
    one = record("1", size=MAX_RECORDS_BYTES - len(stream_event([])))
    fields = dataclasses.replace(windows.fields(), shard_id="s" * 65, stream_arn="a" * 2048)
    assert len(stream_event([one], window=fields)) <= MAX_EVENT_BYTES


def test_a_final_invoke_stands_for_the_records_of_its_window():
    windows = opened()
    windows.resolved([rec(10, 70)], state=None)
    windows.resolved([rec(2, 66), rec(9, 66)], state=b"{}")
    final = windows.due(130.5, next_record=rec(11, 125))
    assert (final.first, final.last, final.records) == ("1", "10", 4)
    assert final.stand_in == Record("10", "", None, 1, 130.5, math.inf, b"")


def test_the_first_record_of_a_window_is_the_lowest_number_not_the_first_text():
    windows = untouched()
    windows.resolved([rec(9, 65), rec(10, 66)], state=b"{}")
    final = windows.due(130, next_record=rec(11, 125))
    assert (final.first, final.last) == ("9", "10")


def test_a_shard_goes_on_unless_it_is_said_to_have_ended():
    assert opened().due(70) is None


@pytest.mark.parametrize("ask", [Windows.fields, lambda windows: windows.resolved([rec(1, 65)], state=None)])
def test_without_an_open_window_there_is_nothing_to_tell(ask):
    with pytest.raises(RuntimeError, match=r"^no window is open$"):
        ask(make())


def test_a_failing_final_invoke_stays_the_same_whatever_comes():
    windows = opened()
    first = windows.due(130, next_record=rec(2, 125))
    assert windows.due(140, next_record=rec(2, 70)) == first
    assert windows.due(150) == first
    again = make(snapshot=json.loads(json.dumps(windows.snapshot())))
    assert again.due(160) == first


@pytest.mark.parametrize(("quiet_since", "at"), [(90, 240), (120, 240), (500, 620), (None, None)])
def test_quiet_counts_from_the_end_or_the_last_record(quiet_since, at):
    assert opened().due_at(quiet_since) == at


def test_nothing_is_due_later_without_a_window_to_close():
    assert make().due_at(0) is None
    assert untouched().due_at(0) is None


def test_only_a_window_with_resolved_records_keeps_a_shard_from_finishing():
    windows = make()
    assert not windows.is_open
    windows.due(70, next_record=rec(1, 65))
    assert not windows.is_open
    windows.resolved([rec(1, 65)], state=None)
    assert windows.is_open
    windows.due(70, shard_ended=True)
    windows.closed()
    assert not windows.is_open


# --- restarts


@pytest.mark.parametrize("name", WINDOWS)
def test_a_snapshot_survives_json_and_goes_on_alike(name):
    windows = WINDOWS[name]()
    restored = make(snapshot=json.loads(json.dumps(windows.snapshot())))
    assert restored.snapshot() == windows.snapshot()
    for case in ({"next_record": rec(2, 119)}, {"next_record": rec(2, 120)}, {"shard_ended": True}):
        assert restored.due(500, **case) == windows.due(500, **case)


@pytest.mark.parametrize(
    "snapshot",
    [
        {},
        {"newest": "60", "open": None},
        {"newest": 60},
        {"newest": None, "open": opened().snapshot()["open"]},
        {"newest": 60, "open": opened().snapshot()["open"] | {"state": None}},
        [],
    ],
)
def test_a_damaged_snapshot_is_refused(snapshot):
    with pytest.raises(ValueError, match=re.escape(f"not the snapshot of a tumbling window: {str(snapshot)[:200]}")):
        make(snapshot=snapshot)


def test_of_a_long_damaged_snapshot_the_beginning_is_told():
    with pytest.raises(ValueError, match=r"^not the snapshot of a tumbling window: \{'newest': 'x{188}$"):
        make(snapshot={"newest": "x" * 1000})


# --- answers: the table of esmd.mappings.window_replies

NO_STATE = "the answer has no state"
REPLIES = [
    (
        "success",
        "object with `state`",
        [
            (b'{"state":{"a":1}}', b'{"a":1}'),
            (b' {"batchItemFailures": [] ,\n "state" : {"x": 1.10, "y": 1e999} } ', b'{"x": 1.10, "y": 1e999}'),
            (b'{"a":{"state":1},"b":"}\\"state\\":","state":[1,{}],"c":null}', b"[1,{}]"),
            (b'{"state":1,"state":""}', b'""'),
            (b'{"st\\u0061te":false}', b"false"),
            ('{"state":{"é":"\\ud800"}}'.encode(), '{"é":"\\ud800"}'.encode()),
            (b'{"state":' + b"9" * 5000 + b"}", b"9" * 5000),
            (b'{"state":' + LARGE + b"}", LARGE),
        ],
    ),
    (
        "success",
        "object with `state` that fits no event",
        [(b'{"state":"' + b"x" * (MAX_EVENT_BYTES - FIELD_BYTES) + b'"}', "fits no event")],
    ),
    (
        "success",
        "object without `state`, or with null",
        [(b"{}", NO_STATE), (b'{"state":null}', NO_STATE), (b'{"batchItemFailures":[]}', NO_STATE)],
    ),
    (
        "success",
        "any other JSON, invalid JSON, empty",
        [
            (b"null", "the answer is not an object"),
            (b'["state"]', "the answer is not an object"),
            (b"", "not JSON"),
            (b"{", "not JSON"),
            (b'{"state":NaN}', "not JSON (NaN is not a JSON value)"),
            (b'{"state":"\xff"}', "utf-8"),
            (b'{"state":' + b"[" * 100_000, "the answer is nested too deeply"),
        ],
    ),
    (
        "not success",
        "-",
        [
            (FunctionError("exception", "E", "boom"), None),
            (Throttled(), None),
            (Unreachable("gone"), None),
            (Rejected("TooLarge", "7 MB"), None),
        ],
    ),
]


def test_the_largest_state_that_fits_an_event_is_kept():
    state = b'"' + b"x" * (MAX_EVENT_BYTES - FIELD_BYTES - 2) + b'"'
    assert read_reply(Success(b'{"state":' + state + b"}")) == WindowReply(state)


@pytest.mark.parametrize(
    ("row", "answer", "expected"),
    [
        pytest.param(row, answer, expected, id=f"{row[1]} {number}")
        for row, (*_, cases) in zip(table_rows(window_replies), REPLIES, strict=True)
        for number, (answer, expected) in enumerate(cases)
    ],
)
def test_what_an_answer_means(row, answer, expected):
    outcome, about, refused, kept = row
    assert any((outcome, about) == (known, what) for known, what, _ in REPLIES)
    reply = read_reply(Success(answer) if outcome == "success" else answer)
    if refused == "yes":
        assert reply.state is None
        if expected.startswith("the answer"):
            assert reply.refused == expected
        else:
            assert expected in reply.refused
    elif kept == "none":
        assert reply == WindowReply()
    else:
        assert reply == WindowReply(expected)
