"""Which batch an invocation belongs to, for lines that are written elsewhere: a handler's output, its end.

Log lines inside the batch's own task get this from structlog's context variables. What a worker's pipe brings is read in
another task and knows only its request id; this register joins the two.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_REQUESTS: dict[str, Mapping[str, str]] = {}


@contextmanager
def request_context(request_id: str, **context: str) -> Iterator[None]:
    """While inside, events that carry `request_id` get `context` too."""
    _REQUESTS[request_id] = context
    try:
        yield
    finally:
        del _REQUESTS[request_id]


def context_of(request_id: str | None) -> Mapping[str, str]:
    """What is known of a request now; empty after it ended."""
    return _REQUESTS.get(request_id, {}) if request_id is not None else {}
