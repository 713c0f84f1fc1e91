"""What `esmd dev` adds: samples read with their mistakes named, queues made once, traffic sent, endpoints that say no."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml

from esmd.config.loader import load
from esmd.dev.companion import DevOptions, beside
from esmd.dev.dead_letters import watch
from esmd.dev.events import (
    DevChoreFailed,
    DevDeadLetters,
    DevEndpoint,
    DevQueueCreated,
    DevTrafficSent,
    DevTrafficSkipped,
    DevWatching,
)
from esmd.dev.sources import MAX_RECEIVE_COUNT, DevSources, Maker
from esmd.dev.traffic import Sample, make_up, read_samples, send_samples
from esmd.pollers.localstack import Connection, LocalStackClients
from esmd.testing.fake_sqs import FakeSqs
from esmd.testing.faults import FailEntries, Refuse

from support.invocations import Recorder, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from esmd.config.schema import Config

ARN = "arn:aws:sqs:us-east-1:000000000000:"


# --- samples


def test_a_line_is_a_sample_with_its_body_as_text(tmp_path):
    file = tmp_path / "traffic.jsonl"
    file.write_text(
        '{"queue": "orders", "body": {"id": 1}}\n\n   \n{"queue": "orders.fifo", "body": "plain ☃", "key": 7}\n',
        encoding="utf-8",
    )
    assert read_samples(file) == [
        Sample("queue", "orders", '{"id": 1}', "default"),
        Sample("queue", "orders.fifo", "plain ☃", "7"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "7",
        '"text"',
        "null",
        "{}",
        '{"queue": "orders"}',
        '{"body": 1}',
        '{"queue": "a", "stream": "b", "body": 1}',
    ],
)
def test_a_line_that_is_no_sample_is_named_with_its_number(tmp_path, line):
    file = tmp_path / "traffic.jsonl"
    file.write_text('{"queue": "orders", "body": 1}\n\n' + line + "\n")
    with pytest.raises(click.ClickException) as caught:
        read_samples(file)
    assert caught.value.message.startswith(f"{file}:3: not a sample; write ")


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_an_error_for_people(tmp_path, content):
    file = tmp_path / "traffic.jsonl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(click.ClickException, match="cannot read the samples"):
        read_samples(file)


# --- queues


def config(tmp_path: Path, *queues: str, **settings: Any) -> Config:
    """A configuration with a mapping per queue, all with the same settings."""
    (tmp_path / "handlers.py").write_text("def handle(event, context):\n    pass\n")
    file = tmp_path / "esmd.yaml"
    mappings = {
        name.replace(".", "-"): {"event_source_arn": ARN + name, "function_name": "handle", **settings}
        for name in queues
    }
    file.write_text(
        yaml.safe_dump(
            {"version": 1, "functions": {"handle": {"handler": "handlers:handle", "timeout": 2}}, "mappings": mappings}
        )
    )
    loaded = load([file], environ={})
    assert loaded.config is not None, [str(each) for each in loaded.diagnostics]
    return loaded.config


@pytest.fixture
def heard() -> Recorder:
    return Recorder()


@pytest.fixture
async def clients(fake_sqs: FakeSqs) -> AsyncIterator[LocalStackClients]:
    async with clients_of(fake_sqs.endpoint_url) as made:
        yield made


def clients_of(url: str) -> LocalStackClients:
    def connect(service: str, region: str | None) -> Connection:
        return Connection(endpoint_url=url, region=region, dummy_credentials=True)

    return LocalStackClients(connect, profile=None, pool=10)


async def test_a_missing_queue_is_made_with_room_for_its_function_and_a_dead_letter_queue(
    fake_sqs, clients, heard, tmp_path
):
    wanted = config(tmp_path, "orders", maximum_batching_window_in_seconds=5)
    sources = await Maker(clients, heard).make_all(wanted)
    attributes = fake_sqs.engine.get_attributes("orders")
    assert attributes["VisibilityTimeout"] == str(6 * 2 + 5)
    assert json.loads(attributes["RedrivePolicy"]) == {
        "deadLetterTargetArn": ARN + "orders-dlq",
        "maxReceiveCount": MAX_RECEIVE_COUNT,
    }
    assert heard.events == [
        DevQueueCreated(
            queue="orders", visibility_timeout_s=17, dead_letter_queue="orders-dlq", max_receive_count=MAX_RECEIVE_COUNT
        )
    ]
    [queue] = sources.queues
    assert queue.name == "orders"
    assert queue.dead_letter_url is not None
    assert queue.dead_letter_url.endswith("/orders-dlq")


async def test_a_fifo_queue_gets_a_fifo_dead_letter_queue(fake_sqs, clients, heard, tmp_path):
    await Maker(clients, heard).make_all(config(tmp_path, "orders.fifo"))
    for name in ("orders.fifo", "orders-dlq.fifo"):
        assert fake_sqs.engine.get_attributes(name)["FifoQueue"] == "true"


async def test_queues_are_made_once_however_often_it_runs_and_however_many_mappings_share_them(
    fake_sqs, clients, heard, tmp_path
):
    wanted = config(tmp_path, "orders", "payments")
    first = await Maker(clients, heard).make_all(wanted)
    created = fake_sqs.calls["CreateQueue"]
    assert created == 4
    assert await Maker(clients, heard).make_all(wanted) == first
    assert fake_sqs.calls["CreateQueue"] == created
    assert len(heard.events) == 2


async def test_a_queue_that_exists_is_left_as_it_is(fake_sqs, clients, heard, tmp_path):
    fake_sqs.engine.create_queue("orders", {"VisibilityTimeout": "99"})
    before = fake_sqs.engine.get_attributes("orders")
    [queue] = (await Maker(clients, heard).make_all(config(tmp_path, "orders"))).queues
    assert fake_sqs.engine.get_attributes("orders") == before
    assert queue.dead_letter_url is None
    assert heard.events == []
    assert fake_sqs.calls["CreateQueue"] == fake_sqs.calls["SetQueueAttributes"] == 0


async def test_a_disabled_mapping_needs_no_queue(fake_sqs, clients, heard, tmp_path):
    sources = await Maker(clients, heard).make_all(config(tmp_path, "orders", enabled=False))
    assert sources == DevSources()
    assert fake_sqs.calls["CreateQueue"] == 0


# --- traffic


async def made(clients, heard, tmp_path, *queues: str) -> DevSources:
    sources = await Maker(clients, heard).make_all(config(tmp_path, *queues))
    heard.events.clear()
    return sources


async def test_samples_are_sent_in_order_ten_to_a_call_to_their_queues(fake_sqs, clients, heard, tmp_path):
    sources = await made(clients, heard, tmp_path, "orders", "payments.fifo")
    samples = [Sample("queue", "orders", str(n), "default") for n in range(23)]
    samples.insert(5, Sample("queue", "payments.fifo", "paid", "customer-1"))
    await send_samples(samples, sources, clients, heard)
    sent = fake_sqs.requests_of("SendMessageBatch")
    bodies = [[entry["MessageBody"] for entry in request["Entries"]] for request in sent]
    assert bodies == [
        [str(n) for n in range(10)],
        [str(n) for n in range(10, 20)],
        [str(n) for n in range(20, 23)],
        ["paid"],
    ]
    assert [entry.get("MessageGroupId") for entry in sent[-1]["Entries"]] == ["customer-1"]
    assert "MessageGroupId" not in sent[0]["Entries"][0]
    assert sum(event.records for event in heard.of(DevTrafficSent)) == 24


async def test_samples_for_a_source_that_no_mapping_reads_are_said_and_the_others_sent(
    fake_sqs, clients, heard, tmp_path
):
    sources = await made(clients, heard, tmp_path, "orders")
    samples = [Sample("queue", name, "x", "default") for name in ("oders", "orders", "oders")]
    samples.append(Sample("stream", "orders", "x", "k"))
    await send_samples(samples, sources, clients, heard)
    assert heard.of(DevTrafficSkipped) == [
        DevTrafficSkipped(kind="queue", source="oders", records=2),
        DevTrafficSkipped(kind="stream", source="orders", records=1),
    ]
    assert [event.records for event in heard.of(DevTrafficSent)] == [1]
    assert fake_sqs.engine.counts("orders").visible == 1


async def test_a_refused_sample_is_said_with_its_reason(fake_sqs, clients, heard, tmp_path):
    sources = await made(clients, heard, tmp_path, "orders")
    fake_sqs.faults.add("SendMessageBatch", FailEntries(code="InvalidMessageContents", status=400, message="odd"))
    with pytest.raises(click.ClickException, match="orders: a sample was refused: InvalidMessageContents: odd"):
        await send_samples([Sample("queue", "orders", "x", "default")], sources, clients, heard)


async def test_made_up_orders_go_to_every_queue_until_it_is_cancelled(fake_sqs, clients, heard, tmp_path):
    sources = await made(clients, heard, tmp_path, "orders", "payments.fifo")
    sending = asyncio.create_task(make_up(sources, clients, heard))
    await until(lambda: len(heard.of(DevTrafficSent)) >= 2)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    for queue in ("orders", "payments.fifo"):
        [message, *_] = fake_sqs.engine.receive_now(queue)
        order = json.loads(message["Body"])
        assert order["type"] == "order"
        assert order.keys() >= {"id", "amount"}


# --- dead letters


async def test_new_dead_letters_are_said_once_and_nothing_is_received(fake_sqs, clients, heard, tmp_path, monkeypatch):
    monkeypatch.setattr("esmd.dev.dead_letters._PERIOD", 0.01)
    sources = await made(clients, heard, tmp_path, "orders")
    watching = asyncio.create_task(watch(sources.queues, clients, heard))
    await until(lambda: fake_sqs.calls["GetQueueAttributes"] > 5)
    assert heard.events == []
    fake_sqs.engine.send("orders-dlq", "dead")
    await until(lambda: heard.events)
    seen = fake_sqs.calls["GetQueueAttributes"]
    await until(lambda: fake_sqs.calls["GetQueueAttributes"] > seen + 5)
    assert heard.events == [DevDeadLetters(queue="orders-dlq", messages=1)]
    fake_sqs.faults.add("GetQueueAttributes", Refuse(503), times=2)
    await until(lambda: fake_sqs.calls["GetQueueAttributes"] > seen + 15)
    assert not watching.done()
    assert fake_sqs.calls["ReceiveMessage"] == 0
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


# --- beside the daemon


def options(
    url: str, *, samples: list[Sample] | None = None, made_up: bool = False, reload: bool = False
) -> DevOptions:
    return DevOptions(endpoint_url=url, embedded=False, samples=samples or [], made_up=made_up, reload=reload)


async def test_queues_are_there_before_the_daemon_and_chores_end_with_it(fake_sqs, clients, heard, tmp_path):
    chosen = options(fake_sqs.endpoint_url, samples=[Sample("queue", "orders", "x", "default")])
    async with beside(config(tmp_path, "orders"), clients, heard, {}, options=chosen):
        assert fake_sqs.engine.get_attributes("orders")
        await until(lambda: heard.of(DevTrafficSent))
    assert heard.events[0] == DevEndpoint(endpoint_url=fake_sqs.endpoint_url, embedded=False)
    assert [task for task in asyncio.all_tasks() if "_say_failure" in repr(task)] == []
    assert heard.of(DevChoreFailed) == []


@pytest.mark.parametrize("reload", [True, False])
async def test_code_is_watched_if_it_is_to_be_reloaded(fake_sqs, clients, heard, tmp_path, reload):
    settings = config(tmp_path, "orders")
    async with beside(settings, clients, heard, {}, options=options(fake_sqs.endpoint_url, reload=reload)):
        await until(lambda: fake_sqs.calls["GetQueueAttributes"] > 1)  # the chores run
        assert bool(heard.of(DevWatching)) is reload


async def test_a_chore_that_fails_is_said_and_the_daemon_runs_on(fake_sqs, clients, heard, tmp_path):
    fake_sqs.faults.add("SendMessageBatch", Refuse(500, "InternalFailure", "no"))
    chosen = options(fake_sqs.endpoint_url, samples=[Sample("queue", "orders", "x", "default")])
    async with beside(config(tmp_path, "orders"), clients, heard, {}, options=chosen):
        await until(lambda: heard.of(DevChoreFailed))
    [failed] = heard.of(DevChoreFailed)
    assert failed.chore == "traffic"
    assert "InternalFailure" in failed.error_message


@pytest.mark.parametrize("fault", ["nobody there", "refused"])
async def test_an_endpoint_where_queues_cannot_be_made_is_an_error_for_people(fault, heard, tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        server = FakeSqs()
        async with server:
            url = server.endpoint_url
        if fault == "refused":
            await stack.enter_async_context(server)
            server.faults.add("*", Refuse(403, "AccessDenied", "not yours"), times=100)
        clients = await stack.enter_async_context(clients_of(url))
        with pytest.raises(click.ClickException) as caught:
            async with beside(config(tmp_path, "orders"), clients, heard, {}, options=options(url)):
                pass
    assert url in caught.value.message
    assert ("AccessDenied" if fault == "refused" else "EndpointConnectionError") in caught.value.message
