"""A Runtime API and its clients, written and read by hand."""

from __future__ import annotations

import asyncio
import contextlib
import json

from esmd.invoke.runtime_api import RuntimeApi
from esmd.invoke.runtime_session import Invocation, RuntimeSession

from support.invocations import until

NEXT = b"/2018-06-01/runtime/invocation/next"
INIT_ERROR = b"/2018-06-01/runtime/init/error"
RESPONSE = b"/2018-06-01/runtime/invocation/one/response"
ERROR = b"/2018-06-01/runtime/invocation/one/error"


def invocation(event=b'{"Records": []}', request_id="one"):
    return Invocation(request_id=request_id, event=event, deadline_ms=5, arn="arn:x", trace="Root=1")


class Client:
    """One connection, written and read by hand."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def send(self, data):
        self.writer.write(data)

    def ask(self, method, path, body=None, *headers):
        lines = [method + b" " + path + b" HTTP/1.1", b"Host: localhost", *headers]
        if body is not None:
            lines.append(b"Content-Length: %d" % len(body))
        self.send(b"\r\n".join([*lines, b"", b""]) + (body or b""))

    async def head(self):
        """Status and headers of the next response."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        return int(lines[0].split()[1]), dict(line.lower().split(": ", 1) for line in lines[1:] if line)

    async def answer(self):
        """Status and body of the next response."""
        status, headers = await self.head()
        return status, await self.reader.readexactly(int(headers["content-length"]))

    async def refusal(self):
        status, body = await self.answer()
        return status, json.loads(body)["errorType"]

    async def is_closed(self):
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True

    def close(self):
        self.writer.close()


class ApiStage:
    """A server and its clients."""

    def __init__(self, **options):
        self.changes = 0
        self.foreign = []
        self.session = RuntimeSession()
        self.api = RuntimeApi(
            self.session, on_change=self.change, on_foreign=lambda *who: self.foreign.append(who), **options
        )
        self.clients = []

    def change(self):
        self.changes += 1

    async def client(self):
        client = Client(*await asyncio.open_connection("127.0.0.1", self.api.port))
        # The tests say `localhost`, and no port: then it is this one's.
        plain = client.send
        client.send = lambda data: plain(data.replace(b"Host: localhost\r", b"Host: localhost:%d\r" % self.api.port))
        self.clients.append(client)
        return client

    async def waiting(self):
        """A client whose `next` waits."""
        client = await self.client()
        client.ask(b"GET", NEXT)
        await until(lambda: self.session.state == "idle")
        return client

    async def invoking(self, event=b"{}"):
        """A client that was given an invocation."""
        client = await self.waiting()
        self.api.offer(invocation(event))
        assert await client.answer() == (200, event)
        return client


@contextlib.asynccontextmanager
async def api_stages():
    """Makes stages that serve already; at the end all is closed."""
    stages = []

    async def build(judge=None, **options):
        stage = ApiStage(**options)
        stages.append(stage)
        await stage.api.serve(judge)
        return stage

    yield build
    for stage in stages:
        stage.api.close()
        for client in stage.clients:
            client.close()
    await asyncio.sleep(0.01)  # connections close in the loop's next turns
