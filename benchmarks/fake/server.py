"""The fake AWS where there is no C compiler: the same behaviour as `fake_aws.c`, and a good deal slower.

    python -m benchmarks.fake.server --folder F [--queues N ...]

Started by `benchmarks.fake.process`. The tables say so when it was used: the quickest rows then measure it.
"""

from __future__ import annotations

import argparse
import asyncio
import mmap
import re
import signal
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fake.parts import Idle, about, entries, iterator_text, number_of, rendered, template
from benchmarks.fake.spec import ACCOUNT, COUNTERS, REGION

_HEAD = "HTTP/1.1 {}\r\nx-amzn-RequestId: 00000000-0000-4000-8-{:012}\r\nContent-Type: application/x-amz-json-1.0\r\n{}"
_ITERATOR = re.compile(r'"ShardIterator": ?"AAAAAAAA(\d{4})(\d{4})(\d{12})')
_NO_QUEUE = ("com.amazonaws.sqs#QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue;Sender")
_FREE, _IN_FLIGHT, _GONE = range(3)


@dataclass(slots=True)
class _Queue:
    """What a queue has given out; see the C server for the rules."""

    limit: int
    state: bytearray
    next: int = 0
    returned: list[int] = field(default_factory=list)
    waiting: deque[_Poll] = field(default_factory=deque)
    group_next: list[int] = field(default_factory=list)
    ready: deque[int] = field(default_factory=deque)


@dataclass(slots=True, eq=False)
class _Poll:
    """A receive that waits for a message."""

    connection: _Connection
    most: int
    timer: asyncio.TimerHandle | None = None


class _Refused(Exception):  # noqa: N818 - it becomes an answer
    """The request is answered with status 400."""


class Server:
    """All the sources and their counters."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        folder = Path(options.folder)
        self._messages, self._records, self._items = (
            [template(line) for line in (folder / name).read_text().splitlines()]
            for name in ("messages", "records", "items")
        )
        with (folder / "counters").open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8 * len(COUNTERS))
        self._counters = memoryview(self._map).cast("Q")
        self.loop = asyncio.get_running_loop()
        groups = options.groups
        self._queues = [
            _Queue(
                options.messages,
                bytearray(options.messages),
                group_next=[0] * groups,
                ready=deque(range(min(groups, options.messages))),
            )
            for _ in range(options.queues)
        ]
        self._high: dict[tuple[int, int], int] = {}
        self._stamps: dict[int, int] = {}
        self._rate_began: int | None = None
        self.count("started_ns", time.monotonic_ns())

    def count(self, name: str, more: int = 1) -> None:
        """Add to a counter."""
        self._counters[COUNTERS.index(name)] += more

    # --- requests

    def request(self, connection: _Connection, target: str, body: str) -> None:
        """Answer now, or when there is something to say."""
        self.count("requests")
        try:
            answer = self._dispatch(connection, target, body)
        except _Refused as refused:
            self.count("refused")
            kind, query_error = refused.args
            more = f"x-amzn-query-error: {query_error}\r\n" if query_error else ""
            connection.answer(f'{{"__type":"{kind}","message":"refused by the fake"}}', status=400, more=more)
        else:
            if answer is not None:
                connection.answer(answer)

    def _dispatch(self, connection: _Connection, target: str, body: str) -> str | None:
        """The answer's body; None if it comes later."""
        service, _, action = target.partition(".")
        if service == "AmazonSQS":
            return self._sqs(connection, action, body)
        if service.startswith(("Kinesis_", "DynamoDBStreams_")):
            return self._stream(action, body, is_kinesis=service.startswith("Kinesis_"))
        if target:
            raise _Refused("UnknownOperationException", "")
        return ""

    def _first_poll(self) -> None:
        if not self._counters[COUNTERS.index("first_poll_ns")]:
            self.count("first_poll_ns", time.monotonic_ns())
        if self.options.rate and self._rate_began is None:
            self._rate_began = time.monotonic_ns() + round(self.options.start_after * 1e9)
            self.loop.call_later(self.options.start_after, self._tick)

    def _made(self, most: int) -> int:
        """How many messages or records there are by now."""
        if not self.options.rate:
            return most
        if self._rate_began is None or time.monotonic_ns() < self._rate_began:
            return 0
        return min(most, int((time.monotonic_ns() - self._rate_began) * self.options.rate / 1e9) + 1)

    def _tick(self) -> None:
        self._serve(self._queues[0])
        self.loop.call_later(1 / self.options.rate, self._tick)

    def _stamp(self, number: int) -> int:
        if self.options.rate and self._rate_began is not None:
            return self._rate_began + int(number * 1e9 / self.options.rate)
        return self._stamps.get(number, 0) or time.monotonic_ns()

    # --- SQS

    def _queue(self, body: str, name: str = "QueueUrl") -> tuple[int, _Queue]:
        found = re.search(rf'"{name}": ?"[^"]*q(\d+)(?:\.fifo)?"', body)
        if found is None or int(found[1]) >= len(self._queues):
            raise _Refused(*_NO_QUEUE)
        return int(found[1]), self._queues[int(found[1])]

    def _sqs(self, connection: _Connection, action: str, body: str) -> str | None:
        number, queue = self._queue(body, "QueueName" if action == "GetQueueUrl" else "QueueUrl")
        handles = [int(digits) for digits in re.findall(r'"ReceiptHandle": ?"AQEB(\d{12})', body)]
        match action:
            case "ReceiveMessage":
                return self._receive_or_wait(connection, number, queue, body)
            case "DeleteMessageBatch" | "DeleteMessage":
                self.count("delete_calls")
                for handle in handles:
                    self._delete(queue, handle)
                if self.options.groups:
                    self.loop.call_soon(self._serve, queue)
                return entries(body) if action == "DeleteMessageBatch" else "{}"
            case "ChangeMessageVisibilityBatch":
                timeouts = map(int, re.findall(r'"VisibilityTimeout": ?(\d+)', body))
                for handle, timeout in zip(handles, timeouts, strict=True):
                    if timeout == 0 and queue.state[handle] == _IN_FLIGHT:
                        queue.state[handle] = _FREE
                        queue.returned.append(handle)
                        self.count("returned")
                self.loop.call_soon(self._serve, queue)
                return entries(body)
            case "SendMessage":
                self._stamps[queue.limit] = time.monotonic_ns()
                queue.state.append(_FREE)
                queue.limit += 1
                self.count("sent")
                self.loop.call_soon(self._serve, queue)
                return '{"MessageId":"sent","MD5OfMessageBody":"d41d8cd98f00b204e9800998ecf8427e"}'
            case "GetQueueUrl":
                fifo = ".fifo" if self.options.groups else ""
                return f'{{"QueueUrl":"http://sqs.fake/{ACCOUNT}/q{number:04}{fifo}"}}'
            case "GetQueueAttributes":
                dead = rf"{{\"deadLetterTargetArn\":\"arn:aws:sqs:{REGION}:{ACCOUNT}:dead\",\"maxReceiveCount\":5}}"
                return f'{{"Attributes":{{"VisibilityTimeout":"300","RedrivePolicy":"{dead}"}}}}'
        raise _Refused("com.amazonaws.sqs#UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation;Sender")

    def _receive_or_wait(self, connection: _Connection, number: int, queue: _Queue, body: str) -> str | None:
        self.count("receives")
        self._first_poll()
        most = min(10, number_of(body, "MaxNumberOfMessages", 1))
        if (answer := self._receive(number, queue, most)) is not None:
            return answer
        wait = number_of(body, "WaitTimeSeconds", 0)
        if not wait:
            self.count("empty_receives")
            return "{}"
        poll = _Poll(connection, most)
        poll.timer = self.loop.call_later(wait, self._end_poll, queue, poll)
        queue.waiting.append(poll)
        return None

    def _receive(self, number: int, queue: _Queue, most: int) -> str | None:
        taken: list[str] = []
        while len(taken) < most and (n := self._take(queue)) is not None:
            queue.state[n] = _IN_FLIGHT
            group = n % self.options.groups if self.options.groups else 0
            pattern = self._messages[n % len(self._messages)]
            taken.append(rendered(pattern, n, number, group, self._stamp(n)))
        self.count("received", len(taken))
        return f'{{"Messages":[{",".join(taken)}]}}' if taken else None

    def _take(self, queue: _Queue) -> int | None:
        """The number of a message that may be handed out now."""
        if queue.returned:
            return queue.returned.pop()
        if not self.options.groups:
            made = queue.limit if queue.limit > self.options.messages else self._made(queue.limit)
            if queue.next >= made:
                return None
            queue.next += 1
            return queue.next - 1
        if not queue.ready:
            return None
        group = queue.ready.popleft()
        number: int = group + self.options.groups * queue.group_next[group]
        queue.group_next[group] += 1
        return number

    def _serve(self, queue: _Queue) -> None:
        """Give what there is to those who wait."""
        number = self._queues.index(queue) if len(self._queues) > 1 else 0
        while queue.waiting:
            poll = queue.waiting[0]
            if poll.connection.is_open:
                if (answer := self._receive(number, queue, poll.most)) is None:
                    return
                poll.connection.answer(answer)
            queue.waiting.popleft()
            if poll.timer is not None:
                poll.timer.cancel()

    def _end_poll(self, queue: _Queue, poll: _Poll) -> None:
        queue.waiting.remove(poll)
        self.count("empty_receives")
        poll.connection.answer("{}")

    def _delete(self, queue: _Queue, number: int) -> None:
        if number >= queue.limit or queue.state[number] == _FREE:
            self.count("deleted_unknown")
        elif queue.state[number] == _GONE:
            self.count("deleted_twice")
        else:
            queue.state[number] = _GONE
            self.count("deleted")
            if self.options.groups:
                group = number % self.options.groups
                if group + self.options.groups * queue.group_next[group] < queue.limit:
                    queue.ready.append(group)

    # --- streams

    def _stream(self, action: str, body: str, *, is_kinesis: bool) -> str:
        if action == "GetRecords":
            return self._get_records(body, is_kinesis=is_kinesis)
        found = re.search(rf'"Stream(?:ARN|Arn|Name)": ?"[^"]*?{"s" if is_kinesis else "t"}(\d{{4}})[/"]', body)
        if found is None or int(found[1]) >= self.options.streams:
            raise _Refused("ResourceNotFoundException", "")
        stream = int(found[1])
        match action:
            case "GetShardIterator":
                shard = re.search(r"shardId-00000000(\d{4})", body)
                after = re.search(r'SequenceNumber": ?"\d{32}(\d{12})', body)
                at = self._made(self.options.records) if '"LATEST"' in body else 0
                if after is not None:
                    at = int(after[1]) + ("AFTER_SEQUENCE_NUMBER" in body)
                return f'{{"ShardIterator":{iterator_text(stream, int(shard[1]) if shard else 0, at)}}}'
            case "ListShards":
                return f'{{"Shards":[{self._shards()}]}}'
            case "DescribeStreamSummary":
                return f'{{"StreamDescriptionSummary":{{{about(stream, is_kinesis=True)}}}}}'
            case "DescribeStream":
                described = about(stream, is_kinesis=is_kinesis)
                return f'{{"StreamDescription":{{{described},"Shards":[{self._shards()}]}}}}'
        raise _Refused("UnknownOperationException", "")

    def _get_records(self, body: str, *, is_kinesis: bool) -> str:
        found = _ITERATOR.search(body)
        stream, shard, at = (int(digits) for digits in found.groups()) if found else (0, 0, 0)
        if found is None or shard >= self.options.shards or stream >= self.options.streams:
            raise _Refused("InvalidArgumentException" if is_kinesis else "ValidationException", "")
        self._first_poll()
        there = self._made(self.options.records)
        end = max(at, min(there, at + number_of(body, "Limit", 1000)))
        high = self._high.get((stream, shard), 0)
        self._high[stream, shard] = max(high, end)
        self.count("reads")
        self.count("empty_reads", end == at)
        self.count("read", end - at)
        self.count("read_again", max(0, min(end, high) - at))
        templates = self._records if is_kinesis else self._items
        records = (rendered(templates[n % len(templates)], n, shard, n % 1000, self._stamp(n)) for n in range(at, end))
        behind = f',"MillisBehindLatest":{1000 if end < there else 0}' if is_kinesis else ""
        return f'{{"NextShardIterator":{iterator_text(stream, shard, end)}{behind},"Records":[{",".join(records)}]}}'

    def _shards(self) -> str:
        numbers = '{"StartingSequenceNumber":"49000000000000000000000000000000000000000000"}'
        keys = '{"StartingHashKey":"0","EndingHashKey":"1"}'
        return ",".join(
            f'{{"ShardId":"shardId-00000000{n:04}","HashKeyRange":{keys},"SequenceNumberRange":{numbers}}}'
            for n in range(self.options.shards)
        )


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, one request at a time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._data = bytearray()
        self._busy = False
        self.is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.is_open = False

    def data_received(self, data: bytes) -> None:
        self._data += data
        self._go_on()

    def _go_on(self) -> None:
        while not self._busy and (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].decode()
            length = re.search(r"(?i)\r\ncontent-length: *(\d+)", head)
            until = end + 4 + (int(length[1]) if length else 0)
            if len(self._data) < until:
                return
            body = self._data[end + 4 : until].decode()
            del self._data[:until]
            target = re.search(r"(?i)\r\nx-amz-target: *(\S+)", head)
            self._busy = True
            self._server.request(self, target[1] if target else "", body)

    def answer(self, body: str, *, status: int = 200, more: str = "") -> None:
        """Send an answer, at once or when the latency is over."""
        reason = "200 OK" if status == 200 else "400 Bad Request"
        head = _HEAD.format(reason, id(self) % 10**12, more)
        data = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        if self._server.options.latency_us:
            self._server.loop.call_later(self._server.options.latency_us / 1e6, self._send, data)
        else:
            self._send(data)

    def _send(self, data: bytes) -> None:
        self._transport.write(data)
        self._busy = False
        if self._data:
            self._go_on()


async def serve(options: argparse.Namespace) -> None:
    """Serve until TERM."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    server = Server(options)
    if (selector := getattr(loop, "_selector", None)) is not None:
        loop._selector = Idle(selector, server.count)  # type: ignore[attr-defined]  # noqa: SLF001
    listening = await loop.create_server(lambda: _Connection(server), "127.0.0.1", 0, backlog=4096)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await stopped.wait()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fake.server")
    parser.add_argument("--folder", required=True)
    for name in ("queues", "messages", "groups", "streams", "shards", "records", "latency-us"):
        parser.add_argument(f"--{name}", type=int, default=0)
    for name in ("rate", "start-after"):
        parser.add_argument(f"--{name}", type=float, default=0.0)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
