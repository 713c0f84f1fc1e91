"""The Runtime API's state machine does what its table says, cell by cell."""

from __future__ import annotations

import re

import pytest

from esmd.invoke import runtime_session
from esmd.invoke.runtime_session import OTHER_ID, RESPONSE_TOO_LARGE, TOO_LARGE, Invocation, Refusal, RuntimeSession
from esmd.mappings.outcomes import FunctionError, Success

STATES = ("starting", "idle", "away", "offered", "invoking", "responded", "failed", "ended")
INPUTS = ("next", "offer", "lost", "response", "error", "too large", "other id", "init/error", "end")

ANSWER = Success(b"{}")
FAILURE = FunctionError("exception", "ValueError", "no")
UNLOADABLE = FunctionError("init", "ValueError", "no")


def invocation(request_id="one"):
    return Invocation(request_id=request_id, event=b"{}", deadline_ms=1, arn="arn", trace="Root=1")


ONE = invocation()


def table():
    """The docstring's rows: state -> input -> (next state, answer)."""
    cells = {}
    for line in (runtime_session.__doc__ or "").splitlines():
        row = re.fullmatch(r"\| ([a-z, ]+?) +\| `([a-z/ ]+)` +\| (\(same\)|[a-z]+) +\| (.+?) +\|", line)
        if row:
            states, what, then, answer = row.groups()
            for state in states.split(", "):
                assert (state, what) not in cells, f"two rows for {state} and {what}"
                cells[state, what] = (state if then == "(same)" else then, answer)
    return cells


def at(state):
    """A session that has come to `state`; `first` waits where one waits, and invocation `one` runs where one does."""
    session = RuntimeSession()
    if state == "failed":
        session.init_error(UNLOADABLE)
    elif state != "starting":
        session.next("first")
    if state in {"away", "offered"}:
        session.lost("first")
    if state in {"offered", "invoking", "responded"}:
        session.offer(ONE)
    if state == "responded":
        session.respond("one", ANSWER)
    if state == "ended":
        session.end()
    assert session.state == state
    return session


def apply(session, what):
    """Give the session an input; returns what it answers."""
    match what:
        case "next":
            return session.next("second")
        case "offer":
            return session.offer(invocation("two"))
        case "lost":
            return session.lost("first")
        case "response":
            return session.respond("one", ANSWER)
        case "error":
            return session.respond("one", FAILURE)
        case "too large":
            return session.too_large("one")
        case "other id":
            return session.respond("zero", ANSWER)
        case "init/error":
            return session.init_error(UNLOADABLE)
        case _:
            return session.end()


def answered(answer):
    """An answer as the table words it, by its beginning."""
    if answer in (None, []):
        return "none"
    if isinstance(answer, Refusal):
        return str(answer.status)
    ((waiter, what),) = answer
    if isinstance(what, Refusal):
        return "403" if waiter == "second" else "it waits; the one"
    return f"{'the same' if what.request_id == 'one' and waiter == 'second' else 'the'} invocation"


def test_the_table_has_every_cell():
    assert set(table()) == {(state, what) for state in STATES for what in INPUTS}


@pytest.mark.parametrize("what", INPUTS)
@pytest.mark.parametrize("state", STATES)
def test_a_cell(state, what):
    then, answer = table()[state, what]
    session = at(state)
    if answer.startswith("`RuntimeError`"):
        with pytest.raises(RuntimeError, match=state):
            apply(session, what)
        assert session.state == state
        return
    said = answered(apply(session, what))
    assert session.state == then
    if answer.startswith("202"):
        assert said == "none"
    elif (state, what) == ("offered", "next"):
        assert (answer, said) == ("the invocation", "the same invocation")
    else:
        assert answer.startswith(said)


def test_an_invocation_goes_to_the_next_that_waits():
    session = at("idle")
    assert session.offer(ONE) == [("first", ONE)]
    assert session.handed_over
    assert session.waiter is None


def test_of_two_that_wait_the_later_one_is_served():
    session = at("idle")
    ((former, refusal),) = session.next("second")
    assert (former, refusal.status, refusal.error_type) == ("first", 403, "InvalidStateTransition")
    assert session.offer(ONE) == [("second", ONE)]


def test_an_invocation_is_never_handed_to_a_connection_that_was_lost():
    session = at("idle")
    session.lost("first")
    assert session.offer(ONE) == []
    assert not session.handed_over
    assert session.next("second") == [("second", ONE)]
    assert session.handed_over


def test_the_loss_of_a_connection_that_does_not_wait_makes_no_difference():
    session = at("idle")
    session.next("second")
    session.lost("first")
    assert session.offer(ONE) == [("second", ONE)]


def test_asking_again_without_an_answer_gives_the_same_invocation_again():
    session = at("invoking")
    assert session.next("second") == [("second", ONE)]
    assert session.respond("one", ANSWER) is None


def test_the_outcome_stays_until_the_next_invocation_is_offered():
    session = at("responded")
    assert session.outcome == ANSWER
    session.next("second")
    assert session.resting
    assert session.outcome == ANSWER
    session.offer(invocation("two"))
    assert session.outcome is None


@pytest.mark.parametrize("second", [ANSWER, FAILURE])
def test_the_first_answer_counts(second):
    session = at("invoking")
    session.respond("one", FAILURE)
    refusal = session.respond("one", second)
    assert refusal is not None
    assert refusal.status == 403
    assert session.outcome == FAILURE


def test_an_answer_that_was_given_still_counts_when_the_process_ends():
    session = at("responded")
    session.end()
    assert session.outcome == ANSWER


def test_an_answer_for_another_invocation_changes_nothing():
    session = at("invoking")
    assert session.respond("zero", ANSWER) == OTHER_ID
    assert session.too_large("zero") == OTHER_ID
    assert session.outcome is None


def test_an_answer_that_is_too_large_is_a_function_error():
    session = at("invoking")
    assert session.too_large("one") == TOO_LARGE
    assert session.outcome == RESPONSE_TOO_LARGE
    assert RESPONSE_TOO_LARGE.message == "Response payload size exceeded maximum allowed payload size (6291556 bytes)."


@pytest.mark.parametrize("action", ["response", "error"])
@pytest.mark.parametrize("state", STATES)
def test_a_body_is_refused_before_it_is_read_exactly_when_it_would_be_after(state, action):
    session = at(state)
    early = session.refusal(action, "one")
    assert early == session.respond("one", ANSWER)


def test_a_failure_to_load_is_kept_and_nothing_follows_it():
    session = at("failed")
    assert session.failure == UNLOADABLE
    assert not session.resting
    ((_, refusal),) = session.next("second")
    assert refusal.status == 403


def test_an_environment_rests_when_it_can_be_given_an_invocation():
    assert [state for state in STATES if at(state).resting] == ["idle", "away"]
