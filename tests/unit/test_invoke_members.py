"""The environments of a pool, step by step through the table of their states."""

from __future__ import annotations

import pytest

from esmd.invoke import members as module
from esmd.invoke.members import Members


def member_in(members, state, *, provisioned=False):
    member = members.add(object(), provisioned=provisioned, failures=0)
    if state == "idle":
        members.rest(member, now=0.0)
    elif state == "leaving":
        members.part(member)
    else:
        member.state = state
    return member


ALL = ["loading", "fresh", "idle", "busy", "leaving"]


def test_the_table_knows_the_states_that_there_are():
    rows = [line.split("|")[1] for line in module.__doc__.splitlines() if line.startswith("| ") and "---" not in line][
        1:
    ]
    states = {state.strip() for row in rows for state in row.split(",")}
    assert states == {*ALL, "any"} - {"leaving"}


@pytest.mark.parametrize("state", ["fresh", "busy"])
@pytest.mark.parametrize("provisioned", [True, False])
def test_one_that_is_free_is_idle_and_the_next_to_be_taken(state, provisioned):
    members = Members(60.0)
    member = member_in(members, state, provisioned=provisioned)
    assert members.take() is None
    members.rest(member, now=5.0)
    assert member.state == "idle"
    assert members.take() is member
    assert members.take() is None


def test_a_provisioned_one_is_taken_first_then_the_one_used_last():
    members = Members(60.0)
    first, kept, last = (member_in(members, "idle", provisioned=each) for each in (False, True, False))
    assert [members.take() for _ in range(4)] == [kept, last, first, None]


def test_those_that_were_idle_for_too_long_are_overdue_unless_they_are_provisioned():
    members = Members(60.0)
    assert (members.overdue(1e9), members.next_overdue) == ([], None)
    member_in(members, "idle", provisioned=True)
    first, second = member_in(members, "idle"), member_in(members, "idle")
    second.idle_since = 30.0
    assert members.overdue(59.0) == []
    assert members.next_overdue == 60.0
    assert members.overdue(60.0) == [first]
    assert members.overdue(90.0) == [first, second]
    members.part(first)
    assert (first.state, members.next_overdue) == ("leaving", 90.0)


@pytest.mark.parametrize("state", ALL)
def test_one_whose_process_is_gone_is_dropped(state):
    members = Members(60.0)
    member = member_in(members, state)
    assert members.find(member.environment) is member
    members.drop(member)
    assert (len(members), list(members), members.take(), members.find(member.environment)) == (0, [], None, None)
    members.drop(member)


@pytest.mark.parametrize("state", ALL)
def test_what_counts_as_loading_loaded_and_provisioned(state):
    members = Members(60.0)
    member = member_in(members, state, provisioned=True)
    current = state != "leaving"
    assert members.is_current(member) == current
    assert members.loading == ([member] if state == "loading" else [])
    assert members.any_loaded == (state in {"fresh", "idle", "busy"})
    assert members.provisioned == int(current)
    members.generation += 1  # the code has changed
    assert not members.is_current(member)
    assert (members.loading, members.any_loaded, members.provisioned, len(members)) == ([], False, 0, 1)
