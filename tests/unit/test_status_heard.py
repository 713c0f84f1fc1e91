"""What inline handlers log through Python's logging is with the failure of their invocation."""

from __future__ import annotations

import asyncio
import logging

from esmd.observe.context import request_context
from esmd.observe.mapping_events import BatchFailed
from esmd.status.heard import hearing
from esmd.status.history import History

LOGGER = logging.getLogger("handler.of.a.test")


def failed(request_id):
    return BatchFailed(
        mapping="orders",
        function="process",
        batch_id="b",
        request_id=request_id,
        records=1,
        attempt=1,
        duration_ms=1.0,
        ids=(),
        error_type="E",
        error_message="e",
        next="retry",
        retry_in_s=0.0,
    )


async def test_lines_inside_an_invocation_are_kept_also_from_threads_and_with_tracebacks():
    history = History()

    def work():
        try:
            raise ValueError("boom")
        except ValueError:
            LOGGER.exception("in a thread")

    with hearing(history):
        with request_context("r1", mapping="orders"):
            LOGGER.warning("in the %s", "loop")
            await asyncio.to_thread(work)
        LOGGER.warning("outside")
        await asyncio.sleep(0)
    with request_context("r1", mapping="orders"):
        LOGGER.warning("after the end")
    history.sink(failed("r1"))
    one, two = history.failures()[0].lines
    assert (one.stream, one.message) == ("handler.of.a.test", "in the loop")
    assert two.message.startswith("in a thread\nTraceback")
    assert "ValueError: boom" in two.message
