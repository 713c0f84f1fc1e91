"""`esmd replay` of what a real daemon has given up: from a queue, a bucket and a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.replays import Shop
from support.stream_world import World, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.servers import Queue
    from support.stream_world import Source

POISONED = [{"n": 0}, {"n": 1, "poison": True}, {"n": 2}]


@pytest.fixture
def shop(world: World, tmp_path: Path) -> Shop:
    return Shop(tmp_path, world)


def given_up(shop: Shop, queue: Queue, function: str = "handle", **mapping: object) -> Source:
    """A stream with a poisoned record, which a daemon has reported to the queue."""
    stream = shop.world.make_stream("poisoned")
    shop.world.put(stream, *POISONED)
    shop.configure(
        stream.arn,
        function,
        **{
            "batch_size": 10,
            "maximum_retry_attempts": 0,
            "bisect_batch_on_function_error": True,
            "destination_config": {"on_failure": {"destination": queue.arn}},
            **mapping,
        },
    )
    shop.drain()
    assert len(shop.left(queue)) == 1
    (shop.folder / "journal.jsonl").unlink()
    return stream


def test_a_poisoned_record_is_read_again_handled_and_leaves_its_queue(world: World, shop: Shop):
    queue = world.make_queue("failures")
    given_up(shop, queue)

    dry = shop.esmd("replay", "--queue", queue.name, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert dry.stdout.endswith("esmd replay: 1 planned, 0 failed, 0 expired, 0 kept\n")
    assert shop.said("handle") == []

    failed = shop.esmd("replay", "--queue", queue.arn)
    assert failed.returncode == 1, failed.stderr
    assert "handle: ValueError: poison" in failed.stdout
    assert failed.stdout.endswith("esmd replay: 0 replayed, 1 failed, 0 expired, 0 kept\n")
    assert len(shop.left(queue)) == 1, "what was not handled stays, and is free at once"

    other = shop.esmd(
        "replay", "--queue", queue.name, "--filter", '{"requestContext": {"condition": ["RecordAgeExceeded"]}}'
    )
    assert (other.returncode, other.stdout.splitlines()[-1]) == (
        0,
        "esmd replay: 0 replayed, 0 failed, 0 expired, 1 kept",
    )

    shop.mend()
    done = shop.esmd("replay", "--queue", queue.url, "--rate", "5/s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("esmd replay: 1 replayed, 0 failed, 0 expired, 0 kept\n")
    assert shop.said("handle")[-1] == [{"n": 1, "poison": True}]
    assert shop.left(queue) == []


def test_the_event_is_the_one_that_failed(world: World, shop: Shop):
    queue = world.make_queue("failures")
    stream = world.make_stream("poisoned")
    world.put(stream, *POISONED)
    shop.configure(stream.arn, maximum_retry_attempts=0, destination_config={"on_failure": {"destination": queue.arn}})
    shop.drain()
    assert shop.esmd("replay", "--queue", queue.name, "--function", "repair").returncode == 0
    assert shop.events("repair") == shop.events("handle")
    assert shop.left(queue) == []


def test_records_of_other_lanes_and_filtered_ones_are_not_replayed(world: World, shop: Shop):
    queue = world.make_queue("failures")
    stream = world.make_stream("lanes")
    records = [(f"key-{n % 5}", {"n": n, "key": n % 5, "poison": n % 5 == 1, "kind": "ab"[n % 2]}) for n in range(40)]
    world.put_many(stream, records)
    shop.configure(
        stream.arn,
        batch_size=40,
        parallelization_factor=4,
        maximum_retry_attempts=0,
        filter_criteria={"filters": [{"pattern": {"data": {"kind": ["a"]}}}]},
        destination_config={"on_failure": {"destination": queue.arn}},
    )
    shop.drain()
    failed = [batch for batch in shop.said("handle") if any(each["poison"] for each in batch)]
    done = shop.esmd("replay", "--queue", queue.name, "--function", "repair")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(shop.said("repair"), key=str) == sorted(failed, key=str)


def test_partial_answers_count(world: World, shop: Shop):
    queue = world.make_queue("failures")
    given_up(shop, queue, "names", function_response_types=["ReportBatchItemFailures"])
    failed = shop.esmd("replay", "--queue", queue.name)
    assert failed.returncode == 1
    assert "0 of 1 records are done, by batchItemFailures" in failed.stdout
    assert len(shop.left(queue)) == 1
    shop.mend()
    assert shop.esmd("replay", "--queue", queue.name).returncode == 0
    assert shop.left(queue) == []


def test_objects_carry_their_event_and_are_deleted_only_if_that_was_said(world: World, shop: Shop):
    bucket = world.make_bucket("failures")
    stream = world.make_stream("poisoned")
    world.put(stream, *POISONED)
    shop.configure(
        stream.arn,
        maximum_retry_attempts=0,
        destination_config={"on_failure": {"destination": f"arn:aws:s3:::{bucket}"}},
    )
    shop.drain()
    world.client("kinesis").delete_stream(StreamName=stream.name)
    prefix = f"s3://{bucket}/aws/lambda/"
    assert shop.esmd("replay", "--s3", prefix).returncode == 1
    assert len(world.objects(bucket)) == 1
    shop.mend()
    done = shop.esmd("replay", "--s3", prefix)
    assert done.returncode == 0, done.stdout + done.stderr
    assert shop.events("handle")[-1] == shop.events("handle")[0]
    assert len(world.objects(bucket)) == 1
    assert shop.esmd("replay", "--s3", prefix, "--delete").returncode == 0
    assert world.objects(bucket) == {}


def test_what_has_expired_is_said_and_stays_until_it_may_go(world: World, shop: Shop):
    queue = world.make_queue("failures")
    stream = given_up(shop, queue)
    world.put(stream, {"n": 9})
    world.client("kinesis").delete_stream(StreamName=stream.name)
    shop.mend()
    expired = shop.esmd("replay", "--queue", queue.name)
    assert expired.returncode == 1
    assert "nothing of it is in the stream any more" in expired.stdout
    assert expired.stdout.endswith("esmd replay: 0 replayed, 0 failed, 1 expired, 0 kept\n")
    assert len(shop.left(queue)) == 1
    assert shop.esmd("replay", "--queue", queue.name, "--delete-expired").returncode == 1
    assert shop.left(queue) == []


def test_a_stream_made_anew_under_its_name_gives_no_record_of_its_own(world: World, shop: Shop):
    queue = world.make_queue("failures")
    stream = given_up(shop, queue)
    world.client("kinesis").delete_stream(StreamName=stream.name)
    wait_until(lambda: stream.name not in world.client("kinesis").list_streams()["StreamNames"], "the stream to go")
    world.create_stream(stream.name)
    world.put(stream, *({"other": n} for n in range(5)))
    shop.mend()
    assert " 1 expired" in shop.esmd("replay", "--queue", queue.name).stdout
    assert shop.said("handle") == []


def test_a_file_of_records_with_an_envelope_and_rubbish_in_between(world: World, shop: Shop):
    queue = world.make_queue("failures")
    given_up(shop, queue)
    [body] = shop.left(queue)
    envelope = json.dumps({"Type": "Notification", "Message": body})
    (shop.folder / "records.jsonl").write_text(f'{body}\n{{"no": "record"}}\n{envelope}\n')
    shop.mend()
    done = shop.esmd("replay", "--file", "records.jsonl", "--limit", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("esmd replay: 2 replayed, 0 failed, 0 expired, 1 kept\n")
    assert shop.said("handle") == [[{"n": 1, "poison": True}]] * 2


def test_records_of_a_table_are_replayed(world: World, shop: Shop):
    queue = world.make_queue("failures")
    table = world.make_table("poisoned")
    world.write(table, {"id": {"S": "a"}, "n": {"N": "1.10"}}, {"id": {"S": "b"}})
    shop.configure(
        table.arn,
        "names",
        maximum_retry_attempts=0,
        function_response_types=["ReportBatchItemFailures"],
        destination_config={"on_failure": {"destination": queue.arn}},
    )
    (shop.folder / "shop.py").write_text(
        (shop.folder / "shop.py").read_text()
        + "\ndef broken(event, context):\n    write('broken', event)\n    raise KeyError\n"
    )
    shop.settings["functions"]["broken"] = {"handler": "shop:broken"}
    shop.settings["mappings"]["orders"]["function_name"] = "broken"
    shop.drain()
    done = shop.esmd("replay", "--queue", queue.name, "--function", "repair")
    assert done.returncode == 0, done.stdout + done.stderr
    assert shop.events("repair") == shop.events("broken")
    assert shop.left(queue) == []
