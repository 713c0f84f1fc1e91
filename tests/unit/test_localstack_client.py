"""The clients: made once, shared, without retries of their own; and queue URLs that can be reached."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from esmd.pollers.errors import Kind, SourceError
from esmd.pollers.localstack import (
    MAX_INVOCATION_SECONDS,
    MAX_POLL_SECONDS,
    Connection,
    LocalStackClients,
    reachable_url,
)
from esmd.pollers.sqs import BotoSqs
from esmd.testing.faults import FailEntries, Garbage, Refuse

from support.servers import make_queue, sqs_client

if TYPE_CHECKING:
    from esmd.testing.fake_sqs import FakeSqs


def clients(url: str | None, *, region: str | None = None, profile: str | None = None) -> LocalStackClients:
    def connect(service: str, wanted: str | None, endpoint_url: str | None = None) -> Connection:
        return Connection(endpoint_url=endpoint_url or url, region=wanted or region, dummy_credentials=True)

    return LocalStackClients(connect, profile=profile, pool=20)


@pytest.mark.parametrize(
    ("queue_url", "endpoint", "expected"),
    [
        # a name that only resolves on the Internet, or only in a container
        (
            "http://sqs.us-east-1.localhost.localstack.cloud:4566/000000000000/q",
            "http://127.0.0.1:4566",
            "http://127.0.0.1:4566/000000000000/q",
        ),
        ("http://localstack:4566/000000000000/q", "http://localhost:4566", "http://localhost:4566/000000000000/q"),
        # another port, outside of a container
        ("http://localhost:4566/000000000000/q", "http://localhost:32768", "http://localhost:32768/000000000000/q"),
        # https in front
        ("http://localhost:4566/000000000000/q", "https://aws.test", "https://aws.test/000000000000/q"),
        # other shapes of path stay as they are
        ("http://localhost:4566/queue/us-east-1/0/q", "http://h:1", "http://h:1/queue/us-east-1/0/q"),
        ("http://localhost:4566/?QueueName=q", "http://h:1/", "http://h:1/?QueueName=q"),
        ("http://localhost:4566/000000000000/q.fifo", "http://[::1]:4566", "http://[::1]:4566/000000000000/q.fifo"),
        # nothing to do
        ("http://h:1/0/q", "http://h:1", "http://h:1/0/q"),
        ("https://sqs.eu-west-1.amazonaws.com/1/q", None, "https://sqs.eu-west-1.amazonaws.com/1/q"),
    ],
)
def test_a_queue_url_leads_to_the_configured_endpoint(queue_url, endpoint, expected):
    assert reachable_url(queue_url, endpoint) == expected


async def test_mappings_that_ask_together_share_one_client():
    async with clients("http://127.0.0.1:1") as made:
        found = await asyncio.gather(*(made.client("sqs", "us-east-1") for _ in range(10)))
    assert len({id(client) for client, _ in found}) == 1


async def test_each_region_and_service_has_a_client_of_its_own():
    async with clients("http://127.0.0.1:1") as made:
        places = [("sqs", "us-east-1"), ("sqs", "eu-west-1"), ("kinesis", "us-east-1")]
        found = [await made.client(*place) for place in places]
        assert len({id(client) for client, _ in found}) == 3
        assert [(c.meta.service_model.service_name, c.meta.region_name) for c, _ in found] == places
        assert found[1][1] == Connection(endpoint_url="http://127.0.0.1:1", region="eu-west-1", dummy_credentials=True)


async def test_a_client_may_be_asked_for_at_an_endpoint_of_its_own():
    async with clients("http://127.0.0.1:1") as made:
        own, connection = await made.client("lambda", "us-east-1", endpoint_url="http://127.0.0.1:2")
        again, _ = await made.client("lambda", "us-east-1", endpoint_url="http://127.0.0.1:2")
        shared, _ = await made.client("lambda", "us-east-1")
        assert own is again
        assert own is not shared
        assert own.meta.endpoint_url == connection.endpoint_url == "http://127.0.0.1:2"
        assert shared.meta.endpoint_url == "http://127.0.0.1:1"


async def test_a_client_of_lambda_waits_for_the_longest_invocation_and_never_for_a_connection():
    async with clients("http://127.0.0.1:1") as made:
        client, _ = await made.client("lambda", "us-east-1")
        config = client.meta.config
        assert config.read_timeout > MAX_INVOCATION_SECONDS
        assert config.max_pool_connections == 0, "unlimited, as aiohttp has it"
        assert config.retries["total_max_attempts"] == 1


async def test_a_client_is_fit_for_long_polls_and_leaves_retries_to_the_loops():
    async with clients("http://127.0.0.1:1") as made:
        client, _ = await made.client("sqs", "us-east-1")
        config = client.meta.config
        assert config.read_timeout > MAX_POLL_SECONDS
        assert config.max_pool_connections == 20
        assert config.retries["total_max_attempts"] == 1
        credentials = client._get_credentials()
        assert (credentials.access_key, credentials.secret_key) == ("test", "test")


async def test_a_profile_that_is_not_there_is_a_failure_with_its_name():
    async with clients(None, region="us-east-1", profile="nobody") as made:
        api = BotoSqs(made, region="us-east-1", account_id="000000000000", queue_name="q")
        with pytest.raises(SourceError, match="nobody") as caught:
            await api.look_up()
    assert caught.value.failure.kind is Kind.RECONFIGURE


# --- the queue through them


@pytest.fixture
async def api(fake_sqs: FakeSqs):
    async with clients(fake_sqs.endpoint_url) as made:
        async with sqs_client(fake_sqs.endpoint_url) as client:
            queue = await make_queue(client, VisibilityTimeout=45)
        yield BotoSqs(made, region="us-east-1", account_id="000000000000", queue_name=queue.name)


async def test_a_refused_call_is_made_once(fake_sqs: FakeSqs, api: BotoSqs):
    queue = await api.look_up()
    fake_sqs.faults.add("ReceiveMessage", Refuse(503), times=5)
    with pytest.raises(SourceError):
        await api.receive(queue, most=10, wait=0, visibility_timeout=None)
    assert fake_sqs.calls["ReceiveMessage"] == 1


async def test_a_queue_is_what_the_service_says_of_it(api: BotoSqs):
    queue = await api.look_up()
    assert (queue.visibility_timeout, queue.max_receive_count, queue.dead_letter_arn) == (45, None, None)


@pytest.mark.parametrize("policy", ["{", "[]", '{"maxReceiveCount": "many", "deadLetterTargetArn": "x"}', "{}"])
async def test_a_redrive_policy_that_cannot_be_read_is_said(fake_sqs: FakeSqs, api: BotoSqs, policy, monkeypatch):
    monkeypatch.setattr(
        fake_sqs.engine, "get_attributes", lambda *_, **__: {"VisibilityTimeout": "30", "RedrivePolicy": policy}
    )
    with pytest.raises(SourceError, match="RedrivePolicy"):
        await api.look_up()


async def test_a_queue_that_is_gone_is_said_with_awss_text(fake_sqs: FakeSqs, api: BotoSqs):
    fake_sqs.engine.delete_queue((await api.look_up()).url)
    with pytest.raises(SourceError) as caught:
        await api.look_up()
    failure = caught.value.failure
    assert (failure.kind, failure.code) == (Kind.RECONFIGURE, "AWS.SimpleQueueService.NonExistentQueue")
    assert failure.message.startswith("Error occurred while ReceiveMessage. SQS Error Code: ")


async def test_a_failed_entry_is_named_and_the_others_are_done(fake_sqs: FakeSqs, api: BotoSqs):
    queue = await api.look_up()
    for body in "abc":
        fake_sqs.engine.send(queue.url, body)
    messages = await api.receive(queue, most=10, wait=0, visibility_timeout=None)
    handles = [message["ReceiptHandle"] for message in messages]
    fake_sqs.faults.add("DeleteMessageBatch", FailEntries(frozenset({1})))
    [failure] = await api.delete(queue, handles)
    assert (failure.handle, failure.failure.kind) == (handles[1], Kind.BACK_OFF)
    assert fake_sqs.engine.counts(queue.url).inflight == 1


@pytest.mark.parametrize(
    ("body", "failed"),
    [
        (b"{}", ["a", "b"]),
        (b'{"Successful": [{"Id": "0"}]}', ["b"]),
        (b'{"Successful": [{"Id": "0"}, {"Id": "1"}]}', []),
        (b'{"Successful": [{}], "Failed": [{}]}', ["a", "b"]),
        # named in both: believed to have failed, since a second delete harms nobody
        (b'{"Successful": [{"Id": "0"}, {"Id": "1"}], "Failed": [{"Id": "0", "Code": "X"}]}', ["a"]),
    ],
)
async def test_an_entry_that_the_answer_does_not_mention_has_failed(fake_sqs: FakeSqs, api: BotoSqs, body, failed):
    queue = await api.look_up()
    for operation in ("DeleteMessageBatch", "ChangeMessageVisibilityBatch"):
        fake_sqs.faults.add(operation, Garbage(body))
    for failures in (await api.delete(queue, ["a", "b"]), await api.change_visibility(queue, {"a": 0, "b": 0})):
        assert [each.handle for each in failures] == failed


async def test_a_message_without_a_handle_is_no_message(fake_sqs: FakeSqs, api: BotoSqs):
    queue = await api.look_up()
    fake_sqs.faults.add("ReceiveMessage", Garbage(b'{"Messages": [{"MessageId": "m", "Body": "x"}]}'))
    with pytest.raises(SourceError, match="ReceiptHandle") as caught:
        await api.receive(queue, most=10, wait=0, visibility_timeout=None)
    assert caught.value.failure.kind is Kind.BACK_OFF
