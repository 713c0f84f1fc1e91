from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from esmd.mappings.backoff import delay


def test_doubles_up_to_the_maximum():
    waits = [delay(n, initial=1, maximum=10, jitter=lambda: 1.0) for n in range(1, 7)]
    assert waits == [1, 2, 4, 8, 10, 10]


@given(st.integers(min_value=1, max_value=10_000), st.floats(min_value=0, max_value=0.999))
def test_jitter_takes_at_most_a_quarter_off_and_never_passes_the_maximum(failures, jitter):
    full = min(60.0, 0.5 * 2.0 ** min(failures - 1, 63))
    assert 0.75 * full <= delay(failures, initial=0.5, maximum=60, jitter=lambda: jitter) <= full
