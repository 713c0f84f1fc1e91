"""What the stream pollers make of answers and errors: classification, positions, listings in pages."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import BotoCoreError

from esmd.pollers.errors import Failure, Kind, SourceError, classify
from esmd.pollers.localstack import Connection, LocalStackClients
from esmd.pollers.streams import (
    LATEST,
    PIN_LEEWAY,
    TRIM_HORIZON,
    Place,
    Seek,
    Shard,
    may_be_stale,
    pinned,
    seek_again,
    stream_failure,
)
from esmd.testing.fake_streams import EngineStream
from esmd.testing.stream_engine import StreamEngine
from esmd.testing.stream_shards import StreamError

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
AFTER = Seek.after("17")


def engine(**options: Any) -> StreamEngine:
    return StreamEngine(clock=lambda: 0.0, epoch=1_700_000_000.0, **options)


def failure_of(code: str, call: str, *, status: int = 400, position: Seek | None = None) -> Failure:
    return stream_failure(StreamError(code, "why", status=status), call, stream_arn=ARN, position=position).failure


CALLS = ["describe", "list", "iterator", "read"]


@pytest.mark.parametrize(
    ("code", "calls", "position", "kind"),
    [
        ("ResourceNotFoundException", ["describe", "list"], None, Kind.RECONFIGURE),
        ("ResourceNotFoundException", ["iterator", "read"], TRIM_HORIZON, Kind.RE_SEEK),
        ("ExpiredIteratorException", ["iterator", "read"], None, Kind.RE_SEEK),
        ("TrimmedDataAccessException", ["iterator", "read"], AFTER, Kind.RE_SEEK),
        ("InvalidArgumentException", ["read"], None, Kind.RE_SEEK),
        ("ValidationException", ["read"], None, Kind.RE_SEEK),
        ("InvalidArgumentException", ["iterator"], AFTER, Kind.RE_SEEK),
        ("ValidationException", ["iterator"], AFTER, Kind.RE_SEEK),
        ("InvalidArgumentException", ["iterator"], LATEST, Kind.REFUSED),
        ("InvalidArgumentException", ["describe", "list"], None, Kind.REFUSED),
        ("ProvisionedThroughputExceededException", CALLS, TRIM_HORIZON, Kind.BACK_OFF),
        ("LimitExceededException", CALLS, TRIM_HORIZON, Kind.BACK_OFF),
        ("ThrottlingException", CALLS, TRIM_HORIZON, Kind.BACK_OFF),
        ("ResourceInUseException", CALLS, TRIM_HORIZON, Kind.BACK_OFF),
        ("InternalFailureException", CALLS, TRIM_HORIZON, Kind.BACK_OFF),
        ("ExpiredNextTokenException", ["list"], None, Kind.BACK_OFF),
        ("KMSThrottlingException", ["read"], None, Kind.BACK_OFF),
        ("KMSAccessDeniedException", ["read"], None, Kind.RECONFIGURE),
        ("AccessDeniedException", CALLS, TRIM_HORIZON, Kind.RECONFIGURE),
        ("NobodyKnowsThisException", CALLS, TRIM_HORIZON, Kind.REFUSED),
    ],
)
def test_errors_are_classified_by_code_and_call(code, calls, position, kind):
    assert {failure_of(code, call, position=position) for call in calls} == {
        Failure(kind, code, f"Stream not found: {ARN}" if kind is Kind.RECONFIGURE and "Resource" in code else "why")
    }


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_got_no_answer_backs_off(call):
    assert stream_failure(ConnectionError("cut"), call, stream_arn=ARN).failure.kind is Kind.BACK_OFF


@pytest.mark.parametrize(
    ("code", "status", "stale"),
    [
        ("InternalFailure", 500, True),
        ("500", 500, True),
        ("ServiceUnavailable", 503, False),
        ("Throttling", 400, False),
    ],
)
def test_only_an_internal_error_may_hide_a_stale_iterator(code, status, stale):
    assert may_be_stale(failure_of(code, "read", status=status)) is stale


def test_the_status_of_an_answer_does_not_make_two_failures_different():
    assert classify(StreamError("Boom", "why", status=500)) == Failure(Kind.BACK_OFF, "Boom", "why")
    assert classify(StreamError("Boom", "why", status=500)).status == 500


@pytest.mark.parametrize(
    ("code", "call", "position", "following"),
    [
        ("ResourceNotFoundException", "iterator", AFTER, None),
        ("ResourceNotFoundException", "read", AFTER, None),
        ("TrimmedDataAccessException", "iterator", AFTER, TRIM_HORIZON),
        ("TrimmedDataAccessException", "read", AFTER, TRIM_HORIZON),
        ("InvalidArgumentException", "iterator", AFTER, TRIM_HORIZON),
        ("InvalidArgumentException", "read", AFTER, AFTER),
        ("ExpiredIteratorException", "read", AFTER, AFTER),
        ("ExpiredIteratorException", "read", TRIM_HORIZON, TRIM_HORIZON),
        ("ExpiredIteratorException", "read", Seek.at_time(5), Seek.at_time(5)),
    ],
)
def test_where_to_look_again(code, call, position, following):
    failure = failure_of(code, call, position=position if call == "iterator" else None)
    assert failure.kind is Kind.RE_SEEK
    assert seek_again(position, failure, call=call) == following


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (Place.LATEST, {"timestamp": 1.0}),
        (Place.TRIM_HORIZON, {"sequence_number": "1"}),
        (Place.AT_TIMESTAMP, {}),
        (Place.AT_TIMESTAMP, {"timestamp": 1.0, "sequence_number": "1"}),
        (Place.AFTER_SEQUENCE_NUMBER, {}),
    ],
)
def test_a_position_has_what_its_kind_needs_and_nothing_else(place, value):
    with pytest.raises(ValueError, match="do not go together"):
        Seek(place, **value)


@pytest.mark.parametrize("position", [TRIM_HORIZON, AFTER, Seek.at("17"), Seek.at_time(3)])
def test_only_latest_is_pinned(position):
    assert pinned(position, 1000.0) == position
    assert pinned(LATEST, 1000.0) == Seek.at_time(1000.0 - PIN_LEEWAY)


@pytest.mark.parametrize("kind", ["kinesis", "dynamodb"])
@pytest.mark.parametrize("count", [1, 3, 4, 7])
@pytest.mark.parametrize("takes_token", [True, False])
async def test_listings_come_in_pages_with_a_token_or_without(kind, count, takes_token):
    streams = engine()
    (streams.create_stream if kind == "kinesis" else streams.create_table)("orders", shards=count)
    found = await EngineStream(streams, "orders", page=3, takes_token=takes_token).list_shards()
    assert [shard.id for shard in found] == [shard.id for shard in streams.list_shards("orders")]


async def test_a_listing_shows_parents_and_which_shards_are_closed():
    streams = engine()
    streams.create_stream("orders", shards=2)
    left, right = (shard.id for shard in streams.list_shards("orders"))
    merged = streams.merge("orders", left, right)
    found = {shard.id: shard for shard in await EngineStream(streams, "orders").list_shards()}
    assert set(found[merged].parents) == {left, right}
    assert [found[name].closed for name in (left, right, merged)] == [True, True, False]
    assert found[merged].starting_sequence_number.isdecimal()


class Scripted:
    """A client whose calls give the answers in turn."""

    def __init__(self, **answers: list[Any]) -> None:
        self._answers = answers
        self.requests: list[dict[str, Any]] = []

    async def client(self, service: str, region: str | None, *, raw: bool) -> tuple[Any, None]:
        return self, None

    def __getattr__(self, name: str):
        async def call(**request: Any) -> Any:
            self.requests.append(request)
            answer = self._answers[name].pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def kinesis(**answers: list[Any]):
    from esmd.pollers.kinesis import BotoKinesis

    return BotoKinesis(Scripted(**answers), stream_arn=ARN, region="us-east-1")


def dynamodb(**answers: list[Any]):
    from esmd.pollers.dynamodb import BotoDynamoStreams

    return BotoDynamoStreams(Scripted(**answers), stream_arn=ARN, region="us-east-1")


def item(shard_id: str) -> dict[str, Any]:
    return {"ShardId": shard_id, "SequenceNumberRange": {"StartingSequenceNumber": "1"}}


async def test_a_listing_whose_token_got_too_old_goes_on_behind_its_last_shard():
    api = kinesis(
        list_shards=[
            {"Shards": [item("a")], "NextToken": "t"},
            StreamError("ExpiredNextTokenException"),
            {"Shards": [item("b")]},
        ]
    )
    assert [shard.id for shard in await api.list_shards()] == ["a", "b"]
    first, second, third = api._clients.requests
    assert first == {"StreamARN": ARN, "StreamName": "orders", "MaxResults": 1000}
    assert second == {"NextToken": "t", "MaxResults": 1000}
    assert third == first | {"ExclusiveStartShardId": "a"}


async def test_a_listing_that_failed_without_an_answer_is_not_tried_in_another_way():
    api = kinesis(list_shards=[{"Shards": [item("a")], "NextToken": "t"}, ConnectionError("cut")])
    with pytest.raises(SourceError) as caught:
        await api.list_shards()
    assert caught.value.failure.kind is Kind.BACK_OFF


@pytest.mark.parametrize("kind", ["kinesis", "dynamodb"])
async def test_a_listing_that_repeats_itself_is_given_up(kind):
    page = [item("a")]
    if kind == "kinesis":
        api = kinesis(list_shards=[{"Shards": page, "NextToken": "t"}] * 3)
    else:
        api = dynamodb(describe_stream=[{"StreamDescription": {"Shards": page, "LastEvaluatedShardId": "a"}}] * 3)
    with pytest.raises(SourceError, match="repeats itself"):
        await api.list_shards()


@pytest.mark.parametrize(
    ("call", "answers"),
    [
        (lambda api: api.describe(), {"describe_stream_summary": [{}]}),
        (lambda api: api.list_shards(), {"list_shards": [{"Shards": [{}]}]}),
        (lambda api: api.iterator("s", TRIM_HORIZON), {"get_shard_iterator": [{}]}),
        (lambda api: api.read("i", 1), {"get_records": [{}]}),
        (lambda api: api.read("i", 1), {"get_records": [{"Records": [{"Data": ""}]}]}),
        (lambda api: api.read("i", 1), {"get_records": [{"Records": [{"SequenceNumber": "x"}]}]}),
    ],
)
async def test_an_answer_that_makes_no_sense_is_an_error_that_passes(call, answers):
    with pytest.raises(SourceError) as caught:
        await call(kinesis(**answers))
    assert caught.value.failure.kind is Kind.BACK_OFF


async def test_the_creation_time_reads_the_same_however_many_digits_a_server_gives():
    summaries = [{"StreamDescriptionSummary": {"StreamCreationTimestamp": at}} for at in (1.5, 1.50000001)]
    api = kinesis(describe_stream_summary=summaries)
    assert (await api.describe()).created_at == (await api.describe()).created_at == "1.500"


async def test_children_of_a_closed_shard_come_with_its_last_page():
    children = [{"ShardId": "c", "ParentShards": ["a", "b"], "HashKeyRange": {}}]
    page = await kinesis(get_records=[{"Records": [], "MillisBehindLatest": 0, "ChildShards": children}]).read("i", 1)
    assert (page.next_iterator, page.children) == (None, (Shard("c", ("a", "b")),))


def change(number: int, at: float | None) -> dict[str, Any]:
    times = {} if at is None else {"ApproximateCreationDateTime": at}
    return {"dynamodb": {"SequenceNumber": str(number), **times}}


async def test_a_start_by_time_that_dynamodb_does_not_know_leaves_out_older_records():
    pages = [
        {"Records": [change(1, 8.0), change(2, 9.0)], "NextShardIterator": "two"},
        {"Records": [], "NextShardIterator": "three"},
        {"Records": [change(3, 9.0), change(4, 10.0), change(5, 9.0)], "NextShardIterator": "four"},
        {"Records": [change(6, 8.0)]},
    ]
    api = dynamodb(get_shard_iterator=[{"ShardIterator": "one"}], get_records=pages)
    iterator: str | None = await api.iterator("s", Seek.at_time(10.7))
    seen = []
    while iterator:
        page = await api.read(iterator, 10)
        seen.append([record["dynamodb"]["SequenceNumber"] for record in page.records])
        iterator = page.next_iterator
    # The whole second counts, and from the first young record on everything does.
    assert seen == [[], [], ["4", "5"], ["6"]]
    assert api._clients.requests[0]["ShardIteratorType"] == "TRIM_HORIZON"
    assert [request["ShardIterator"] for request in api._clients.requests[1:]] == ["one", "two", "three", "four"]


async def test_such_a_start_in_a_shard_that_ends_before_ends_too():
    api = dynamodb(get_shard_iterator=[{"ShardIterator": "one"}], get_records=[{"Records": [change(1, 8.0)]}])
    page = await api.read(await api.iterator("s", Seek.at_time(10.0)), 10)
    assert (page.records, page.next_iterator) == ([], None)


async def test_a_record_without_a_time_is_never_left_out():
    api = dynamodb(get_shard_iterator=[{"ShardIterator": "one"}], get_records=[{"Records": [change(1, None)]}])
    assert len((await api.read(await api.iterator("s", Seek.at_time(10.0)), 10)).records) == 1


async def test_raw_clients_are_apart_from_the_others():
    def connect(_service: str, region: str | None) -> Connection:
        return Connection(endpoint_url="http://127.0.0.1:9", region=region, dummy_credentials=True)

    async with LocalStackClients(connect, profile=None, pool=2) as clients:
        plain, _ = await clients.client("kinesis", "us-east-1")
        raw, _ = await clients.client("kinesis", "us-east-1", raw=True)
        assert (await clients.client("kinesis", "us-east-1", raw=True))[0] is raw
        assert (await clients.client("kinesis", "us-east-1"))[0] is plain
        assert raw is not plain
        codes = []
        for client in (plain, raw):
            with pytest.raises(BotoCoreError) as caught:  # nobody listens there
                await client.get_records(ShardIterator="i", Limit=0)
            codes.append(type(caught.value).__name__)
        assert codes == ["ParamValidationError", "EndpointConnectionError"]


async def test_both_sessions_take_their_credentials_from_one_place():
    def connect(_service: str, region: str | None) -> Connection:
        return Connection(endpoint_url="http://127.0.0.1:9", region=region, dummy_credentials=True)

    async with LocalStackClients(connect, profile=None, pool=2) as clients:
        await clients.client("kinesis", "us-east-1", raw=True)
        plain, raw = clients._session, clients._raw_session
        assert raw.get_component("credential_provider") is plain.get_component("credential_provider")
        assert raw.get_component("response_parser_factory") is not plain.get_component("response_parser_factory")
