"""Which batch a log line belongs to, also where it is written elsewhere: a library's line, a handler's output, its end.

What is bound inside a task is added to every line that is logged there. What a worker's pipe brings is read in another
task and knows only its request id; a register joins the two.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from contextvars import Token
    from typing import Any

    from structlog.typing import WrappedLogger

_NOTHING: Mapping[str, str] = {}
_bound: ContextVar[Mapping[str, str]] = ContextVar("esmd_log_context", default=_NOTHING)
_requests: dict[str, Mapping[str, str]] = {}


def bind(context: Mapping[str, str]) -> Token[Mapping[str, str]]:
    """What `bound_context` does on entering; `unbind` what this returns. For where every microsecond counts."""
    outer = _bound.get()
    return _bound.set({**outer, **context} if outer else context)


unbind = _bound.reset
"""What `bound_context` does on leaving."""


class bound_context:  # noqa: N801 - used like a function, and quicker than one that is a generator
    """While inside, lines that are logged in this task, and in those it starts, have `context` among their keys."""

    __slots__ = ("_context", "_token")

    def __init__(self, **context: str) -> None:
        self._context = context
        self._token: Token[Mapping[str, str]] | None = None

    def __enter__(self) -> None:
        self._token = bind(self._context)

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            unbind(self._token)


class request_context:  # noqa: N801 - as above
    """As `bound_context`, with the request id beside it; and events that carry `request_id` get `context` too."""

    __slots__ = ("_bound", "_context", "_request_id")

    def __init__(self, request_id: str, **context: str) -> None:
        self._request_id = request_id
        self._context = context
        self._bound = bound_context(request_id=request_id, **context)

    def __enter__(self) -> None:
        remember_request(self._request_id, self._context)
        self._bound.__enter__()

    def __exit__(self, *error: object) -> None:
        self._bound.__exit__(*error)
        forget_request(self._request_id)


def remember_request(request_id: str, context: Mapping[str, str]) -> None:
    """From now on events that carry `request_id` get `context`, until the request is forgotten."""
    _requests[request_id] = context


def forget_request(request_id: str) -> None:
    """The request has ended."""
    _requests.pop(request_id, None)


def bound() -> Mapping[str, str]:
    """What is bound in this task, or thread."""
    return _bound.get()


def context_of(request_id: str | None) -> Mapping[str, str]:
    """What is known of a request now; empty after it ended."""
    return _requests.get(request_id, _NOTHING) if request_id is not None else _NOTHING


def merge_context(_logger: WrappedLogger, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog: adds what is bound here to a line; the line's own keys win."""
    for key, value in _bound.get().items():
        line.setdefault(key, value)
    return line
