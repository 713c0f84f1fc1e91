"""What inline handlers log through Python's logging, for the history of failures."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from esmd.observe.context import bound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esmd.status.history import History


class _Heard(logging.Handler):
    """Keeps records that are logged inside an invocation; handlers on threads log there."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        request_id = bound().get("request_id")
        if request_id is None:
            return
        try:
            text = self._formatter.format(record)  # with the traceback, if there is one
            if threading.get_ident() == self._thread:
                self._history.logged(request_id, record.name, text)
            else:
                self._loop.call_soon_threadsafe(self._history.logged, request_id, record.name, text)
        except Exception:  # noqa: BLE001 - what a handler logs must not break it; logging says how
            self.handleError(record)


@contextmanager
def hearing(history: History) -> Iterator[None]:
    """While inside, what is logged inside invocations is kept. Inside the running loop."""
    handler = _Heard(history)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
