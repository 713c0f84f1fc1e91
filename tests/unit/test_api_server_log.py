"""What is no request, and what nobody caught, is an event; no library writes a traceback into the log."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp.http_exceptions import BadHttpMessage

from esmd.api.listening import Listening
from esmd.api.parts import ApiParts
from esmd.api.server_log import ServerLog
from esmd.config.schema import Config
from esmd.observe.control_events import ApiFailed, ApiUnreadable

from support.fake_control import FakeControl, config_of
from support.mapping_lab import Collector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def collector() -> Collector:
    return Collector()


@pytest.fixture
async def socket(collector: Collector) -> AsyncIterator[Path]:
    """The path of a socket on which the API is served."""
    parts = ApiParts(control=FakeControl(config_of()), status=None, telemetry=collector, config=Config())
    with tempfile.TemporaryDirectory(prefix="esmd-") as folder:
        path = Path(folder) / "esmd.sock"
        async with Listening(parts, path=path, listen=None):
            yield path


async def answer_to(path: Path, data: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # TLS to where there is none
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno header\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"b" * 10_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_an_event_without_a_traceback(collector, socket, caplog, data):
    assert (await answer_to(socket, data)).startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
    [event] = [each for each in collector.said if isinstance(each, ApiUnreadable | ApiFailed)]
    assert event.name == "api.unreadable"
    assert 0 < len(event.reason) <= 200
    assert "\n" not in event.reason
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_anything_else_that_aiohttp_tells_is_a_defect(collector):
    ServerLog(collector).exception("Error handling request from %s", "127.0.0.1", exc_info=KeyError("name"))
    [event] = collector.said
    assert (event.name, event.error_type, event.error_message) == ("api.failed", "KeyError", "'name'")
    assert event.stack


def test_without_an_error_its_words_are_what_is_known(collector):
    ServerLog(collector).exception("Missing return statement on request handler")
    [event] = collector.said
    assert event.error_message == "Missing return statement on request handler"


def test_what_is_for_debugging_is_not_said_unless_it_tells_of_a_request(collector):
    log = ServerLog(collector)
    log.debug("Ignored premature client disconnection")
    assert collector.said == []
    log.debug("Error handling request from %s", None, exc_info=BadHttpMessage("no method"))
    assert [(event.name, event.reason) for event in collector.said] == [("api.unreadable", "no method")]
