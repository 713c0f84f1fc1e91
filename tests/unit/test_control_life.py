"""The states of a mapping: the whole table, and what holds over any sequence of causes."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esmd.control import life
from esmd.control.life import Cause, after
from esmd.control.protocol import TRANSIENT, State

STATES = get_args(State)
CAUSES = get_args(Cause)


def table() -> dict[tuple[str, str], str]:
    """The transitions as the module's docstring states them."""
    rows = [line.strip("|").split("|") for line in (life.__doc__ or "").splitlines() if line.startswith("|")]
    head = [cell.strip().strip("`") for cell in rows[0]][1:]
    found = {}
    for row in rows[2:]:
        state, *cells = [cell.strip().strip("`") for cell in row]
        found |= {(state, cause): state if cell == "-" else cell for cause, cell in zip(head, cells, strict=True)}
    return found


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("cause", CAUSES)
def test_the_documented_table_is_the_one_that_works(state, cause):
    assert table()[state, cause] == after(state, cause)


@given(st.lists(st.sampled_from(CAUSES), max_size=30))
def test_nothing_leads_out_of_deleting_and_creating_never_comes_back(causes):
    state, seen = "Creating", ["Creating"]
    for cause in causes:
        state = after(state, cause)
        seen.append(state)
    if "Deleting" in seen:
        assert set(seen[seen.index("Deleting") :]) == {"Deleting"}
    left = [each != "Creating" for each in seen]
    assert left == sorted(left)


@pytest.mark.parametrize("state", STATES)
def test_every_transient_state_comes_to_an_end(state):
    """Whatever is asked for, running to the end of it leads to a state that stays, or away."""
    if state in TRANSIENT - {"Deleting"}:
        assert after(after(state, "begin"), "tried") in {"Enabled", state} or state == "Disabling"
        assert after(state, "rest") == "Disabled"
