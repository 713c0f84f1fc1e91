"""The fake AWS of the benchmarks, compiled and in Python: both hand out everything once, and notice what is wrong."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.server
_ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["compiled", "python"])
def fake(request, monkeypatch):
    """Starts a fake; the URL's host and port are enough to call it."""
    monkeypatch.syspath_prepend(str(_ROOT))
    from benchmarks.fake.process import FakeAws, compiled
    from benchmarks.fake.spec import FakeSpec

    if request.param == "compiled" and compiled() is None:
        pytest.skip("no C compiler, or not Linux")
    started = []

    def start(**spec):
        server = FakeAws(FakeSpec(**spec), in_python=request.param == "python").__enter__()
        started.append(server)
        return server

    yield start
    for server in started:
        server.__exit__(None, None, None)
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        monkeypatch.delitem(sys.modules, name)


def _call(server, target, **body):
    """The status and the answer; `query_error` is the header of that name."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    connection.request("POST", "/", json.dumps(body), {"X-Amz-Target": target})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text), answer.headers.get("x-amzn-query-error")


def _sqs(server, action, queue="q0000", **body):
    status, answer, _ = _call(server, f"AmazonSQS.{action}", QueueUrl=f"{server.url}/000000000000/{queue}", **body)
    assert status == 200
    return answer


def _receive(server, queue="q0000", **body):
    return _sqs(server, "ReceiveMessage", queue, **{"MaxNumberOfMessages": 10, **body}).get("Messages", [])


def _delete(server, messages, queue="q0000"):
    entries = [{"Id": f"e{n}", "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(messages)]
    answer = _sqs(server, "DeleteMessageBatch", queue, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == [entry["Id"] for entry in entries]
    return answer


def test_every_message_is_handed_out_once_and_its_delete_counted_once(fake):
    server = fake(messages=25)
    batches = [_receive(server) for _ in range(4)]
    assert [len(batch) for batch in batches] == [10, 10, 5, 0]
    ids = [message["MessageId"] for batch in batches for message in batch]
    assert len(set(ids)) == 25
    assert server.in_flight == 25
    for batch in batches[:3]:
        _delete(server, batch)
    assert server.in_flight == 0
    assert (server.count("deleted"), server.count("deleted_twice")) == (25, 0)


def test_a_second_delete_and_one_of_what_was_never_received_are_noticed(fake):
    server = fake(messages=5)
    first = _receive(server, MaxNumberOfMessages=1)
    _delete(server, first)
    _delete(server, first)
    unknown = dict(first[0], ReceiptHandle=first[0]["ReceiptHandle"].replace("AQEB000000000000", "AQEB000000000003"))
    _delete(server, [unknown])
    assert (server.count("deleted"), server.count("deleted_twice"), server.count("deleted_unknown")) == (1, 1, 1)


def test_bodies_are_json_of_the_size_asked_for_with_their_md5(fake):
    server = fake(messages=10, body=1000, matching=0.5)
    messages = _receive(server)
    for message in messages:
        assert len(message["Body"]) == 1000
        assert message["MD5OfBody"] == hashlib.md5(message["Body"].encode(), usedforsecurity=False).hexdigest()
    assert sorted(json.loads(message["Body"])["type"] for message in messages) == ["order"] * 5 + ["other"] * 5


def test_what_is_given_back_is_handed_out_again(fake):
    server = fake(messages=1)
    (message,) = _receive(server)
    entry = {"Id": "a", "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
    _sqs(server, "ChangeMessageVisibilityBatch", Entries=[entry])
    assert server.in_flight == 0
    assert [again["MessageId"] for again in _receive(server)] == [message["MessageId"]]


def test_a_group_hands_out_one_message_at_a_time_in_order(fake):
    server = fake(messages=6, groups=2)
    seen = {"g0000": [], "g0001": []}
    for _ in range(3):
        batch = _receive(server, "q0000.fifo")
        assert sorted(message["Attributes"]["MessageGroupId"] for message in batch) == ["g0000", "g0001"]
        assert _receive(server, "q0000.fifo") == []
        for message in batch:
            seen[message["Attributes"]["MessageGroupId"]].append(message["Attributes"]["SequenceNumber"])
        _delete(server, batch, "q0000.fifo")
    assert all(numbers == sorted(numbers) and len(numbers) == 3 for numbers in seen.values())


def test_a_long_poll_is_answered_by_what_is_sent_meanwhile(fake):
    server = fake(stamped=True)
    waiting = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    request = {"QueueUrl": f"{server.url}/000000000000/q0000", "MaxNumberOfMessages": 10, "WaitTimeSeconds": 20}
    waiting.request("POST", "/", json.dumps(request), {"X-Amz-Target": "AmazonSQS.ReceiveMessage"})
    deadline = time.monotonic() + 5
    while not server.count("receives"):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    _sqs(server, "SendMessage", MessageBody="whatever")
    (message,) = json.loads(waiting.getresponse().read())["Messages"]
    waiting.close()
    assert int(json.loads(message["Body"])["stamp"]) > 0
    assert server.count("sent") == server.count("received") == 1


def test_queues_are_told_apart_and_an_unknown_one_is_refused_as_sqs_does(fake):
    server = fake(queues=2, messages=3)
    assert len(_receive(server, "q0001")) == 3
    assert len(_receive(server, "q0000")) == 3
    found = _call(server, "AmazonSQS.GetQueueUrl", QueueName="q0001")
    assert found[1]["QueueUrl"].endswith("/q0001")
    status, _, query_error = _call(server, "AmazonSQS.GetQueueUrl", QueueName="q0002")
    assert (status, query_error) == (400, "AWS.SimpleQueueService.NonExistentQueue;Sender")
    assert server.count("refused") == 1


def test_a_shard_is_read_to_its_end_without_gaps_and_reading_again_is_noticed(fake):
    server = fake(shards=2, records=5, body=10)
    listed = _call(server, "Kinesis_20131202.ListShards", StreamName="s0000")[1]["Shards"]
    assert [shard["ShardId"] for shard in listed] == ["shardId-000000000000", "shardId-000000000001"]
    where = {"StreamName": "s0000", "ShardId": "shardId-000000000001"}
    start = _call(server, "Kinesis_20131202.GetShardIterator", **where, ShardIteratorType="TRIM_HORIZON")[1]
    first = _call(server, "Kinesis_20131202.GetRecords", ShardIterator=start["ShardIterator"], Limit=3)[1]
    assert (len(first["Records"]), first["MillisBehindLatest"] > 0) == (3, True)
    rest = _call(server, "Kinesis_20131202.GetRecords", ShardIterator=first["NextShardIterator"], Limit=10)[1]
    assert (len(rest["Records"]), rest["MillisBehindLatest"]) == (2, 0)
    numbers = [int(record["SequenceNumber"]) for record in first["Records"] + rest["Records"]]
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    assert all(base64.b64decode(record["Data"]) == b"x" * 10 for record in first["Records"])
    assert server.count("read_again") == 0
    after = {
        "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
        "StartingSequenceNumber": rest["Records"][0]["SequenceNumber"],
    }
    again = _call(server, "Kinesis_20131202.GetShardIterator", **where, **after)[1]
    last = _call(server, "Kinesis_20131202.GetRecords", ShardIterator=again["ShardIterator"], Limit=10)[1]
    assert [int(record["SequenceNumber"]) for record in last["Records"]] == numbers[4:]
    assert server.count("read_again") == 1


def test_a_tables_stream_is_described_and_read(fake):
    server = fake(shards=1, records=2)
    arn = "arn:aws:dynamodb:us-east-1:000000000000:table/t0000/stream/2024-01-01T00:00:00.000"
    described = _call(server, "DynamoDBStreams_20120810.DescribeStream", StreamArn=arn)[1]["StreamDescription"]
    assert (described["StreamArn"], len(described["Shards"])) == (arn, 1)
    where = {"StreamArn": arn, "ShardId": described["Shards"][0]["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
    iterator = _call(server, "DynamoDBStreams_20120810.GetShardIterator", **where)[1]["ShardIterator"]
    records = _call(server, "DynamoDBStreams_20120810.GetRecords", ShardIterator=iterator, Limit=100)[1]["Records"]
    assert len({record["eventID"] for record in records}) == 2
    assert all(len(record["dynamodb"]["NewImage"]["note"]["S"]) == 1000 for record in records)


def test_an_answer_can_be_held_back(fake):
    server = fake(messages=1, latency=0.02)
    began = time.monotonic()
    assert len(_receive(server)) == 1
    assert time.monotonic() - began >= 0.02


def test_it_tells_how_long_it_had_nothing_to_do(fake):
    server = fake(messages=1)
    _receive(server)
    before = server.count("idle_ns")
    _receive(server)
    assert server.count("idle_ns") > before
