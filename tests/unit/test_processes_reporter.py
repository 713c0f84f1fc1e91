"""What a child sends of all that happens in it, and what of it is not worth sending."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from esmd.observe import daemon_events as say
from esmd.observe.context import bound_context, request_context
from esmd.observe.events import FunctionStats, FunctionThrottled, HandlerOutput
from esmd.observe.mapping_events import MappingAdvice, MappingDisabled, RecordsReceived
from esmd.processes.messages import Line, Said, Tried
from esmd.processes.reporter import Reporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esmd.observe.events import Event

DRAINING = say.DaemonDraining(reason="SIGTERM", in_flight=1, pollers=2, grace_s=1.0)
CUT_SHORT = say.DaemonCutShort(reason="second signal", in_flight=1)
ADVICE = MappingAdvice(mapping="orders", topic="no_redrive_policy", hint="make one")
STATS = FunctionStats(
    function="f",
    period_s=1.0,
    invocations=1,
    errors=0,
    throttles=0,
    duration_avg_ms=1.0,
    duration_max_ms=1.0,
    concurrency_max=1,
    limit=1,
)

SENT: dict[str, tuple[Event, list[Any]]] = {
    "the parent says that it starts": (
        say.DaemonStarting(version="1", pid=1, files=(), endpoint="AWS", region=None),
        [],
    ),
    "and that it stops": (say.DaemonStopped(exit_code=0, uptime_s=1.0), []),
    "ready": (say.DaemonReady(mappings=1, unavailable=1, disabled=0), [Tried({"orders": True})]),
    "draining": (DRAINING, [Said(DRAINING)]),
    "cut short": (CUT_SHORT, [Said(CUT_SHORT)]),
    "statistics": (STATS, [Said(STATS)]),
    "advice": (ADVICE, [Said(ADVICE)]),
    "below the level": (RecordsReceived(mapping="orders", records=1), []),
    "at the level": (
        MappingDisabled(mapping="orders", reason="stopping"),
        [Line(logging.INFO, "mapping.disabled", {"mapping": "orders", "reason": "stopping"})],
    ),
}


def reporter(sent: list[Any], level: str = "info") -> Reporter:
    return Reporter(sent.append, level=level, unavailable=lambda: {"orders": True})


@pytest.mark.parametrize("row", SENT)
def test_what_becomes_of_an_event(row: str) -> None:
    event, wanted = SENT[row]
    sent: list[Any] = []
    reporter(sent).sink(event)
    assert sent == wanted


def test_a_line_has_the_context_of_its_batch() -> None:
    sent: list[Any] = []
    with request_context("r1", mapping="orders", batch_id="b1"):
        reporter(sent).sink(HandlerOutput(function="f", request_id="r1", stream="stdout", message="hello"))
    with bound_context(mapping="orders"):
        reporter(sent, "debug").sink(FunctionThrottled(function="f", request_id="r2", limit=1, reason="full"))
    assert [line.fields["mapping"] for line in sent] == ["orders", "orders"]
    assert sent[0].fields["batch_id"] == "b1"


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logging.captureWarnings(capture=False)


async def test_records_of_pythons_logging_are_lines_too(root: logging.Logger) -> None:
    sent: list[Any] = []
    reporter(sent, "warning").capture_stdlib()
    shop = logging.getLogger("shop")
    shop.info("too little")
    with bound_context(mapping="orders"):
        shop.warning("sold %d", 3)
    try:
        raise KeyError("gone")
    except KeyError:
        shop.exception("failed")
    assert [(line.level, line.event) for line in sent] == [(logging.WARNING, "sold 3"), (logging.ERROR, "failed")]
    assert sent[0].fields == {"logger": "shop", "mapping": "orders"}
    assert "KeyError: 'gone'" in sent[1].fields["exception"]


async def test_what_a_handler_logs_on_its_thread_is_told_on_the_loops(root: logging.Logger) -> None:
    told_on: list[int] = []
    Reporter(lambda _: told_on.append(threading.get_ident()), level="info", unavailable=dict).capture_stdlib()
    await asyncio.to_thread(logging.getLogger("shop").warning, "sold %d", 3)
    await asyncio.sleep(0)
    assert told_on == [threading.get_ident()]
