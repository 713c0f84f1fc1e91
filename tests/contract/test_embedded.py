"""The embedded AWS: up in one `async with`, gone after it."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request

import pytest

from esmd.testing.embedded import EmbeddedAws

from support.servers import make_queue, sqs_client

pytestmark = pytest.mark.server


async def test_it_serves_sqs_and_is_gone_afterwards():
    async with EmbeddedAws() as aws:
        url = aws.endpoint_url
        async with sqs_client(url) as client:
            queue = await make_queue(client)
            assert queue.url.startswith(url)
    with pytest.raises(RuntimeError, match="not running"):
        _ = aws.endpoint_url
    with pytest.raises(urllib.error.URLError):
        await asyncio.to_thread(urllib.request.urlopen, url, timeout=5)


async def test_a_start_that_is_cancelled_leaves_nothing(monkeypatch: pytest.MonkeyPatch):
    launched = asyncio.Event()
    loop = asyncio.get_running_loop()
    processes = []
    original = EmbeddedAws.__aenter__.__globals__["ministack_process"]

    def noted():
        process = original()
        launch = process._launch

        def launch_and_tell() -> None:
            launch()
            loop.call_soon_threadsafe(launched.set)

        process._launch = launch_and_tell
        processes.append(process)
        return process

    monkeypatch.setattr("esmd.testing.embedded.ministack_process", noted)
    starting = asyncio.ensure_future(EmbeddedAws().__aenter__())
    await launched.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not processes[0].is_running
