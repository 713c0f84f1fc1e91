"""Measures what is no throughput: latency, the first message after a pause, idling, cold start, drain.

Each function runs one subject once and gives figures by name; times are in the unit that the name ends with.
"""

from __future__ import annotations

import json
import socket
import statistics
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchmarks import meters
from benchmarks.run import SETTLING, RunError, measure_once, measure_whole, running
from benchmarks.subjects import CALLS_FILE

if TYPE_CHECKING:
    from benchmarks.calls import Blocks
    from benchmarks.fake.spec import FakeSpec
    from benchmarks.run import Measurement, Running
    from benchmarks.subjects import Subject

Figures = dict[str, float]

_LATENCY_SECONDS = 3.0
_WARM_UP = 20
"""Messages whose latency does not count: the first ones wait for connections."""


def throughput(subject: Subject, spec: FakeSpec, *, settling: float = SETTLING) -> Figures:
    """CPU per message, messages a second, and how busy the fake was, while there is more than enough to do."""
    return _figures(measure_once(subject, spec, settling=settling))


def whole(subject: Subject, spec: FakeSpec) -> Figures:
    """The same over everything that there is, from the first message to the last."""
    return _figures(measure_whole(subject, spec))


def _figures(seen: Measurement) -> Figures:
    return {"us": seen.own_us, "all_us": seen.all_us, "rate": seen.rate, "server": seen.server_busy}


def latency(subject: Subject, spec: FakeSpec) -> Figures:
    """From the moment a message is there to its handler, at the spec's rate."""
    with running(subject, spec) as at_work:
        at_work.wait_for(lambda: at_work.fake.count("first_poll_ns") > 0, what="first poll")
        time.sleep(spec.start_after + _LATENCY_SECONDS)
        at_work.stop()
        ages = _ages(at_work)[_WARM_UP:]
    if len(ages) < spec.rate:
        raise RunError(f"{subject.name}: only {len(ages)} messages came through\n{at_work.log[-2000:]}")
    return {"p50_ms": statistics.median(ages) / 1e6, "p99_ms": statistics.quantiles(ages, n=100)[98] / 1e6}


def calls(subject: Subject, spec: FakeSpec) -> Figures:
    """CPU of one call of each kind, in microseconds: the medians of what `benchmarks.calls` finds for its client."""
    (found,) = blocks_of_calls(subject, spec).values()
    return {kind: statistics.median(blocks) for kind, blocks in found.items()}


def blocks_of_calls(subject: Subject, spec: FakeSpec) -> Blocks:
    """What `benchmarks.calls` finds."""
    with running(subject, spec) as at_work:
        file = at_work.place.folder / CALLS_FILE
        at_work.wait_for(file.exists, what="figures of its calls", patience=120)
        found: Blocks = json.loads(file.read_text())
        at_work.check()
    return found


def _ages(at_work: Running) -> list[int]:
    """The latencies in nanoseconds: from the tally, or from the file of a subject that cannot write one."""
    file = at_work.place.folder / "latencies"
    return [int(line) for line in file.read_text().split()] if file.exists() else at_work.tally.samples


def after_idle(subject: Subject, spec: FakeSpec, *, seconds: float, times: int = 5) -> Figures:
    """Latency of a lone message after so many quiet seconds; the median of some."""
    with running(subject, spec) as at_work:
        at_work.wait_for(lambda: at_work.fake.count("first_poll_ns") > 0, what="first poll")
        for sent in range(times):
            time.sleep(seconds)
            send_message(at_work.fake.url)
            _wait_for_sample(at_work, sent + 1)
        ages = at_work.tally.samples
    return {"p50_ms": statistics.median(ages) / 1e6}


def _wait_for_sample(at_work: Running, count: int) -> None:
    at_work.wait_for(lambda: len(at_work.tally.samples) >= count, what="message came through")


def send_message(url: str) -> None:
    """One SendMessage to the fake's first queue: what it holds and when it was made is the fake's."""
    where = urlsplit(url)
    body = json.dumps({"QueueUrl": f"{url}/000000000000/q0000", "MessageBody": "x"}).encode()
    head = f"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.SendMessage\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((where.hostname, where.port)) as connection:
        connection.sendall(head.encode() + body)
        if b"200 OK" not in connection.recv(65_536):
            raise RunError("the fake did not take a message")


def idle(subject: Subject, spec: FakeSpec, *, seconds: float = 8.0) -> Figures:
    """Percent of a core, and megabytes, while there is nothing to do."""
    with running(subject, spec) as at_work:
        at_work.wait_for(lambda: at_work.fake.count("first_poll_ns") > 0, what="first poll")
        time.sleep(3)
        before = meters.read(at_work.process.pid)
        time.sleep(seconds)
        used = meters.read(at_work.process.pid) - before
        memory = meters.memory_of(at_work.process.pid)
    return {"cpu_percent": used.total / used.at * 100, "memory_mb": memory / 2**20}


def cold_start(subject: Subject, spec: FakeSpec) -> Figures:
    """From the start of the process to its first receive."""
    with running(subject, spec) as at_work:
        at_work.wait_for(lambda: at_work.fake.count("first_poll_ns") > 0, what="first poll")
        return {"start_s": at_work.fake.count("first_poll_ns") / 1e9 - at_work.started}


def drain(subject: Subject, spec: FakeSpec, *, in_flight: int = 100, handler_seconds: float = 1.0) -> Figures:
    """How much longer than its handlers a drain takes, and what it gives back although it was started."""
    with running(subject, spec) as at_work:
        at_work.wait_for(lambda: at_work.fake.in_flight >= in_flight, what=f"{in_flight} messages in flight")
        began = time.monotonic()
        at_work.stop()
        took = time.monotonic() - began
        at_work.check()
    return {"drain_s": max(0.0, took - handler_seconds)}
