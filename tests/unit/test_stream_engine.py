"""The streams in memory do what the services do where the daemon depends on it, on a clock that tests move."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from esmd.pollers.errors import Kind, SourceError
from esmd.pollers.streams import LATEST, TRIM_HORIZON, Seek
from esmd.testing.fake_streams import EngineStream
from esmd.testing.stream_engine import DAY, HASH_SPACE, StreamEngine, hash_of
from esmd.testing.stream_shards import StreamError

EPOCH = 1_700_000_000.0
KINDS = pytest.mark.parametrize("kind", ["kinesis", "dynamodb"])


class Bench:
    """An engine with one stream, `s`, and a clock that stands still until a test moves it."""

    def __init__(self, kind: str = "kinesis", *, shards: int = 1, **options: Any) -> None:
        self.kind = kind
        self.time = 0.0
        self.engine = StreamEngine(clock=lambda: self.time, epoch=EPOCH, **options)
        self.create(shards)
        self.shard = self.shards()[0]

    def create(self, shards: int = 1) -> str:
        create = self.engine.create_stream if self.kind == "kinesis" else self.engine.create_table
        return create("s", shards=shards)

    def shards(self) -> list[str]:
        return [shard.id for shard in self.engine.list_shards("s")]

    def put(self, *names: str, size: int = 0) -> list[str]:
        numbers = []
        for name in names:
            if self.kind == "kinesis":
                numbers.append(self.engine.put("s", name, name.encode().ljust(size, b"."))[1])
            else:
                new = {"id": {"S": name}, "pad": {"S": "." * size}}
                numbers.append(self.engine.write("s", {"id": {"S": name}}, new=new)[1])
        return numbers

    def seek(self, place: str, shard: str | None = None, **more: Any) -> str:
        return self.engine.iterator("s", shard or self.shard, place, **more)

    def read(self, iterator: str, limit: int = 1000) -> dict[str, Any]:
        return self.engine.read(iterator, limit)

    def all(self, shard: str | None = None) -> list[str]:
        return names(self.read(self.seek("TRIM_HORIZON", shard)))


def names(answer: dict[str, Any]) -> list[str]:
    return [
        record["PartitionKey"] if "Data" in record else record["dynamodb"]["Keys"]["id"]["S"]
        for record in answer["Records"]
    ]


def code_of(call: Any) -> str:
    with pytest.raises(StreamError) as caught:
        call()
    code: str = caught.value.response["Error"]["Code"]
    return code


def test_a_key_goes_to_the_shard_of_its_md5():
    bench = Bench(shards=4)
    shards = bench.shards()
    for n in range(40):
        shard, _ = bench.engine.put("s", f"k{n}", b"")
        assert shard == shards[hash_of(f"k{n}") * 4 // HASH_SPACE]
    assert bench.engine.put("s", "k", b"", hash_key=0)[0] == shards[0]
    assert bench.engine.put("s", "k", b"", hash_key=HASH_SPACE - 1)[0] == shards[-1]


def test_the_md5_of_a_key_is_read_as_one_big_number():
    assert hash_of("") == int("d41d8cd98f00b204e9800998ecf8427e", 16)


@KINDS
def test_sequence_numbers_grow_as_numbers_though_not_as_text(kind):
    numbers = Bench(kind).put(*map(str, range(20)))
    assert numbers == sorted(numbers, key=int)
    assert numbers != sorted(numbers)
    assert len(set(numbers)) == 20


def test_a_record_of_kinesis_has_the_form_of_the_raw_answer():
    bench = Bench()
    bench.time = 1.2344
    (number,) = bench.put("key")
    assert bench.read(bench.seek("TRIM_HORIZON"))["Records"] == [
        {
            "SequenceNumber": number,
            "ApproximateArrivalTimestamp": 1_700_000_001.234,
            "Data": base64.b64encode(b"key").decode(),
            "PartitionKey": "key",
        }
    ]


@pytest.mark.parametrize(
    ("old", "new", "event"), [(None, {}, "INSERT"), ({}, {}, "MODIFY"), ({}, None, "REMOVE")], ids=str
)
@pytest.mark.parametrize(
    ("view", "images"),
    [
        ("KEYS_ONLY", set()),
        ("NEW_IMAGE", {"NewImage"}),
        ("OLD_IMAGE", {"OldImage"}),
        ("NEW_AND_OLD_IMAGES", {"NewImage", "OldImage"}),
    ],
)
def test_a_change_of_an_item_shows_what_its_view_type_allows(old, new, event, view, images):
    bench = Bench("dynamodb")
    bench.engine.create_table("t", view=view)
    bench.engine.write("t", {"id": {"S": "a"}}, new=new, old=old)
    (shard,) = bench.engine.list_shards("t")
    (record,) = bench.engine.read(bench.engine.iterator("t", shard.id, "TRIM_HORIZON"), 1)["Records"]
    present = {name for name, image in (("NewImage", new), ("OldImage", old)) if image is not None}
    assert record["eventName"] == event
    assert set(record["dynamodb"]) & {"NewImage", "OldImage"} == images & present
    assert record["dynamodb"]["ApproximateCreationDateTime"] == EPOCH
    assert "userIdentity" not in record


def test_a_removal_by_ttl_is_signed_by_the_service():
    bench = Bench("dynamodb")
    bench.engine.write("s", {"id": {"S": "a"}}, old={}, by_ttl=True)
    (record,) = bench.read(bench.seek("TRIM_HORIZON"))["Records"]
    assert record["userIdentity"] == {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}


@KINDS
def test_positions(kind):
    bench = Bench(kind)
    numbers = bench.put("a", "b", "c")
    latest = bench.seek("LATEST")
    bench.put("d")
    assert bench.all() == ["a", "b", "c", "d"]
    assert names(bench.read(bench.seek("AT_SEQUENCE_NUMBER", sequence_number=numbers[1]))) == ["b", "c", "d"]
    assert names(bench.read(bench.seek("AFTER_SEQUENCE_NUMBER", sequence_number=numbers[1]))) == ["c", "d"]
    assert names(bench.read(latest)) == ["d"]


def test_a_position_by_time():
    bench = Bench()
    for name in "abc":
        bench.put(name)
        bench.time += 1.0
    assert names(bench.read(bench.seek("AT_TIMESTAMP", timestamp=EPOCH + 1.0))) == ["b", "c"]
    assert names(bench.read(bench.seek("AT_TIMESTAMP", timestamp=EPOCH + 1.1))) == ["c"]
    assert names(bench.read(bench.seek("AT_TIMESTAMP", timestamp=EPOCH + 9.0))) == []
    assert code_of(lambda: Bench("dynamodb").seek("AT_TIMESTAMP", timestamp=EPOCH)) == "ValidationException"


@pytest.mark.parametrize(
    ("kind", "code"), [("kinesis", "InvalidArgumentException"), ("dynamodb", "ValidationException")]
)
def test_a_sequence_number_of_another_shard_is_refused(kind, code):
    bench = Bench(kind)
    bench.put("a")
    left, right = bench.engine.split("s", bench.shard)
    for shard, number in ((bench.shard, "1"), (right, bench.engine.list_shards("s")[0].first_number)):
        assert code_of(lambda s=shard, n=number: bench.seek("AT_SEQUENCE_NUMBER", s, sequence_number=str(n))) == code
    assert bench.all(left) == []


@KINDS
def test_a_split_closes_the_parent_and_its_children_share_the_keys(kind):
    bench = Bench(kind)
    bench.put(*"abcdefgh")
    children = bench.engine.split("s", bench.shard)
    bench.put(*"ijklmnop")
    answer = bench.read(bench.seek("TRIM_HORIZON"))
    assert names(answer) == list("abcdefgh")
    assert "NextShardIterator" not in answer
    assert [child["ShardId"] for child in answer.get("ChildShards", [])] == (
        list(children) if kind == "kinesis" else []
    )
    parts = [bench.all(child) for child in children]
    assert all(parts)
    assert sorted(parts[0] + parts[1]) == list("ijklmnop")


@KINDS
def test_a_merge_has_two_parents_and_takes_all_keys(kind):
    bench = Bench(kind, shards=2)
    left, right = bench.shards()
    merged = bench.engine.merge("s", right, left)
    bench.put(*"abcdef")
    assert bench.all(merged) == list("abcdef")
    assert {shard.id: shard.parents for shard in bench.engine.list_shards("s")}[merged] == (left, right)


def test_only_open_shards_that_are_neighbours_can_be_merged():
    bench = Bench(shards=3)
    first, second, third = bench.shards()
    assert code_of(lambda: bench.engine.merge("s", first, third)) == "InvalidArgumentException"
    bench.engine.split("s", second)
    assert code_of(lambda: bench.engine.merge("s", first, second)) == "InvalidArgumentException"
    assert code_of(lambda: bench.engine.split("s", second)) == "InvalidArgumentException"


def test_a_shard_of_a_table_rolls_over_to_one_child():
    bench = Bench("dynamodb")
    bench.put("a")
    child = bench.engine.roll("s", bench.shard)
    bench.put("b")
    assert (bench.all(), bench.all(child)) == (["a"], ["b"])


def test_a_switched_off_stream_ends_without_children_and_can_still_be_read():
    bench = Bench("dynamodb")
    bench.put("a")
    bench.engine.disable("s")
    answer = bench.read(bench.seek("TRIM_HORIZON"))
    assert (names(answer), "NextShardIterator" in answer) == (["a"], False)


@KINDS
def test_records_older_than_the_retention_are_gone_and_closed_shards_with_them(kind):
    bench = Bench(kind)
    old, _ = bench.put("old", "old too")
    bench.time = DAY / 2
    bench.put("young")
    parent = bench.shard
    bench.engine.split("s", parent)
    bench.time = DAY + 1
    assert bench.all() == ["young"]
    assert parent in bench.shards()
    bench.time = DAY * 1.5 + 1
    assert parent not in bench.shards()
    assert (
        code_of(lambda: bench.seek("AFTER_SEQUENCE_NUMBER", parent, sequence_number=old)) == "ResourceNotFoundException"
    )


def test_a_trimmed_position_of_kinesis_is_the_oldest_record_kept():
    bench = Bench()
    (old,) = bench.put("old")
    bench.time = DAY - 10
    bench.put("young")
    iterator = bench.seek("TRIM_HORIZON")
    bench.time = DAY + 1
    assert names(bench.read(iterator)) == ["young"]
    assert names(bench.read(bench.seek("AFTER_SEQUENCE_NUMBER", sequence_number=old))) == ["young"]


def test_a_trimmed_position_of_a_table_is_refused():
    bench = Bench("dynamodb")
    (old,) = bench.put("old")
    bench.time = DAY - 10
    bench.put("young")
    iterator = bench.seek("TRIM_HORIZON")
    bench.time = DAY + 1
    assert code_of(lambda: bench.read(iterator)) == "TrimmedDataAccessException"
    assert code_of(lambda: bench.seek("AT_SEQUENCE_NUMBER", sequence_number=old)) == "TrimmedDataAccessException"
    assert bench.all() == ["young"]


@pytest.mark.parametrize(("kind", "seconds"), [("kinesis", 300.0), ("dynamodb", 900.0)])
def test_iterators_expire(kind, seconds):
    bench = Bench(kind)
    iterator = bench.seek("TRIM_HORIZON")
    bench.time = seconds
    following = bench.read(iterator)["NextShardIterator"]
    bench.time += 0.1
    assert code_of(lambda: bench.read(iterator)) == "ExpiredIteratorException"
    assert bench.read(following)["Records"] == []


@pytest.mark.parametrize("iterator", ["", "useless", "dXNlbGVzcw==", "ä"])
def test_what_is_no_iterator_is_refused(iterator):
    assert code_of(lambda: Bench().read(iterator)) == "InvalidArgumentException"


@pytest.mark.parametrize(("kind", "most"), [("kinesis", 10_000), ("dynamodb", 1_000)])
def test_a_read_gives_at_most_so_many_records(kind, most):
    bench = Bench(kind)
    bench.put(*map(str, range(most + 1)))
    iterator = bench.seek("TRIM_HORIZON")
    answer = bench.read(iterator, most)
    assert len(answer["Records"]) == most
    assert len(bench.read(answer["NextShardIterator"], most)["Records"]) == 1
    assert len(bench.read(iterator, 2)["Records"]) == 2
    for limit in (0, most + 1):
        assert code_of(lambda wrong=limit: bench.read(iterator, wrong)) == "ValidationException"


@pytest.mark.parametrize(("kind", "mib", "count"), [("kinesis", 10, 9), ("dynamodb", 1, 9)])
def test_a_read_gives_at_most_so_many_bytes_but_always_one_record(kind, mib, count):
    bench = Bench(kind)
    bench.put(*map(str, range(10)), size=mib * 1024 * 1024 // 10)
    bench.put("huge", size=mib * 1024 * 1024 + 1)
    pages, iterator = [], bench.seek("TRIM_HORIZON")
    for _ in range(3):
        answer = bench.read(iterator)
        pages.append(len(answer["Records"]))
        iterator = answer["NextShardIterator"]
    assert pages == [count, 1, 1]


@pytest.mark.parametrize(
    ("kind", "code"), [("kinesis", "ProvisionedThroughputExceededException"), ("dynamodb", "LimitExceededException")]
)
def test_more_than_five_reads_of_a_shard_per_second_are_throttled(kind, code):
    bench = Bench(kind, shards=2, throttling=True)
    iterator, other = bench.seek("TRIM_HORIZON"), bench.seek("TRIM_HORIZON", bench.shards()[1])
    for _ in range(5):
        bench.read(iterator)
    assert code_of(lambda: bench.read(iterator)) == code
    bench.read(other)
    bench.time = 1.0
    bench.read(iterator)


def test_iterators_of_a_kinesis_shard_are_throttled_too():
    bench = Bench(throttling=True)
    for _ in range(5):
        bench.seek("LATEST")
    assert code_of(lambda: bench.seek("LATEST")) == "ProvisionedThroughputExceededException"


def test_after_ten_mebibytes_a_shard_pauses_for_five_seconds():
    bench = Bench(throttling=True)
    bench.put("a", size=10 * 1024 * 1024 - 1)
    answer = bench.read(bench.seek("TRIM_HORIZON"))
    bench.time = 4.9
    assert code_of(lambda: bench.read(answer["NextShardIterator"])) == "ProvisionedThroughputExceededException"
    bench.time = 5.0
    bench.read(answer["NextShardIterator"])


def test_without_the_option_nothing_is_throttled():
    bench = Bench()
    iterator = bench.seek("TRIM_HORIZON")
    assert [bench.read(iterator)["Records"] for _ in range(50)] == [[]] * 50


def test_empty_pages_come_before_records_and_say_that_there_is_more():
    bench = Bench(empty_pages=2)
    bench.put("a", "b")
    bench.time = 2.0
    iterator, pages = bench.seek("TRIM_HORIZON"), []
    for _ in range(7):
        answer = bench.read(iterator, 1)
        pages.append((names(answer), answer["MillisBehindLatest"] > 0))
        iterator = answer["NextShardIterator"]
    empty = ([], True)
    assert pages == [empty, empty, (["a"], True), empty, empty, (["b"], False), ([], False)]


def test_millis_behind_is_the_age_of_the_next_record():
    bench = Bench()
    bench.put("a")
    bench.time = 1.0
    bench.put("b")
    bench.time = 3.5
    answer = bench.read(bench.seek("TRIM_HORIZON"), 1)
    assert answer["MillisBehindLatest"] == 2500
    assert bench.read(answer["NextShardIterator"])["MillisBehindLatest"] == 0


@pytest.mark.parametrize(("kind", "same_arn"), [("kinesis", True), ("dynamodb", False)])
async def test_a_stream_made_again_is_another_one_and_old_iterators_are_void(kind, same_arn):
    bench = Bench(kind)
    bench.put("a")
    iterator = bench.seek("TRIM_HORIZON")
    old = await EngineStream(bench.engine, "s").describe()
    bench.engine.delete("s")
    assert code_of(lambda: bench.put("b")) == "ResourceNotFoundException"
    bench.time = 1.0
    bench.create()
    new = await EngineStream(bench.engine, "s").describe()
    assert new.created_at != old.created_at
    assert (new.arn == old.arn) is same_arn
    assert code_of(lambda: bench.read(iterator)) == "ResourceNotFoundException"
    assert bench.all(bench.shards()[0]) == []


def test_a_stream_cannot_be_made_twice():
    bench = Bench()
    assert code_of(bench.create) == "ResourceInUseException"


@KINDS
@pytest.mark.parametrize("operation", ["describe", "list", "iterator", "read"])
async def test_the_next_calls_of_an_operation_can_be_made_to_fail(kind, operation):
    bench = Bench(kind)
    api = EngineStream(bench.engine, "s")
    good = await api.iterator(bench.shard, TRIM_HORIZON)
    calls = {
        "describe": api.describe,
        "list": api.list_shards,
        "iterator": lambda: api.iterator(bench.shard, LATEST),
        "read": lambda: api.read(good, 1),
    }
    bench.engine.fail(operation, "ThrottlingException", times=2)
    bench.engine.calls.clear()
    for _ in range(2):
        with pytest.raises(SourceError) as caught:
            await calls[operation]()
        assert caught.value.failure.kind is Kind.BACK_OFF
    await calls[operation]()
    assert bench.engine.calls[operation] >= 3


@pytest.mark.looptime
async def test_by_default_the_engine_lives_on_the_loops_clock_and_a_call_can_take_its_time():
    engine = StreamEngine(epoch=EPOCH)
    engine.create_stream("s")
    start = engine.now()
    api = EngineStream(engine, "s")
    api.latency = 60.0
    (shard,) = await api.list_shards()
    assert engine.now() - start == pytest.approx(60.0)
    engine.put("s", "k", b"")
    page = await api.read(await api.iterator(shard.id, Seek.at_time(start)), 10)
    assert page.records[0]["ApproximateArrivalTimestamp"] - start == pytest.approx(60.0, abs=0.001)


async def test_the_time_of_day_is_the_machines_unless_given():
    engine = StreamEngine()
    assert engine.now() > EPOCH
