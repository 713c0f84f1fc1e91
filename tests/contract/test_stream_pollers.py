"""The stream pollers keep their contract on every server and through both clients: positions, pages, shards and errors."""

from __future__ import annotations

import asyncio
import base64
import math
from typing import TYPE_CHECKING

import pytest

from esmd.pollers.errors import Kind, SourceError
from esmd.pollers.streams import LATEST, TRIM_HORIZON, Seek, may_be_stale, pinned

from support.stream_backends import EngineBackend, arrival_of, names_in, number_of, server_backend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from esmd.pollers.streams import Page, StreamApi

    from support.stream_backends import Backend

ENGINES = [pytest.param("engine-kinesis"), pytest.param("engine-dynamodb")]
CLIENTS = ["botocore", "wire"]


def servers(*names: str) -> list[object]:
    """Each server through each client."""
    return [pytest.param(f"{name}-{client}", marks=pytest.mark.server) for name in names for client in CLIENTS]


MINISTACKS = servers("ministack-kinesis", "ministack-dynamodb")
MINISTACK_KINESIS = servers("ministack-kinesis")
KINESIS_LOCAL = servers("kinesis_local-kinesis")


async def backend_of(request: pytest.FixtureRequest, *, shards: int = 1) -> AsyncIterator[Backend]:
    server, kind, *client = request.param.split("-")
    if server == "engine":
        yield EngineBackend(kind, shards)
        return
    url = request.getfixturevalue(server)
    async with server_backend(kind, url, shards=shards, client=client[0]) as backend:
        yield backend


@pytest.fixture(params=[*ENGINES, *MINISTACKS, *KINESIS_LOCAL])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    async for backend in backend_of(request):
        yield backend


# MiniStack is left out: there a split takes the parent away, with all its records.
@pytest.fixture(params=[*ENGINES, *KINESIS_LOCAL])
async def splitting(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    async for backend in backend_of(request):
        yield backend


@pytest.fixture(params=["engine-kinesis", *MINISTACK_KINESIS, *KINESIS_LOCAL])
async def kinesis(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    async for backend in backend_of(request):
        yield backend


@pytest.fixture(params=["engine-kinesis", *MINISTACK_KINESIS, *KINESIS_LOCAL])
async def many(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    async for backend in backend_of(request, shards=5):
        yield backend


async def only_shard(api: StreamApi) -> str:
    (shard,) = await api.list_shards()
    return shard.id


async def read_from(api: StreamApi, shard_id: str, position: Seek, *, count: int, limit: int = 1000) -> list[Page]:
    """Read pages until `count` records came, or the shard ended; a server may need a moment to show what was put."""
    iterator: str | None = await api.iterator(shard_id, position)
    pages: list[Page] = []
    async with asyncio.timeout(20):
        while iterator is not None and sum(len(page.records) for page in pages) < count:
            pages.append(await api.read(iterator, limit))
            iterator = pages[-1].next_iterator
            if not pages[-1].records:
                await asyncio.sleep(0.02)
    return pages


def all_names(pages: list[Page]) -> list[str]:
    return [name for page in pages for name in names_in(page)]


async def test_a_stream_says_what_it_is_and_always_the_same(backend):
    info = await backend.api.describe()
    await backend.put("a")
    assert await backend.api.describe() == info
    assert info.arn.startswith(f"arn:aws:{backend.kind}:")
    assert float(info.created_at) > 0
    assert info.retention == 24 * 3600
    assert info.status in {"ACTIVE", "ENABLED"}


async def test_a_stream_that_was_made_again_is_another_one(backend):
    before = await backend.api.describe()
    after = await (await backend.recreate()).describe()
    assert (after.arn, after.created_at) != (before.arn, before.created_at)
    assert (after.arn == before.arn) == (backend.kind == "kinesis")


async def test_a_stream_has_one_open_shard_without_parents(backend):
    (shard,) = await backend.api.list_shards()
    assert (shard.parents, shard.closed) == ((), False)


async def test_records_come_in_order_with_their_blobs_and_times_untouched(backend):
    await backend.put("a", "b", "c")
    pages = await read_from(backend.api, await only_shard(backend.api), TRIM_HORIZON, count=3)
    records = [record for page in pages for record in page.records]
    assert all_names(pages) == ["a", "b", "c"]
    numbers = [int(number_of(record)) for record in records]
    assert numbers == sorted(set(numbers))
    for record in records:
        assert isinstance(arrival_of(record), float | int)
        if backend.kind == "kinesis":
            assert record["PartitionKey"] == "key"
        else:
            assert record["eventName"] == "INSERT"
            assert record["dynamodb"]["NewImage"]["blob"] == {"B": "AQL/"}
            assert record["dynamodb"]["Keys"] == {"name": record["dynamodb"]["NewImage"]["name"]}


async def test_blobs_of_kinesis_are_the_base64_text_that_was_put(kinesis):
    await kinesis.put("\x00ÿ")
    (page,) = (await read_from(kinesis.api, await only_shard(kinesis.api), TRIM_HORIZON, count=1))[-1:]
    assert page.records[0]["Data"] == base64.b64encode("\x00ÿ".encode()).decode()


async def test_reading_goes_on_from_page_to_page_and_never_passes_the_limit(backend):
    names = [f"r{n}" for n in range(7)]
    await backend.put(*names)
    pages = await read_from(backend.api, await only_shard(backend.api), TRIM_HORIZON, count=7, limit=3)
    assert all_names(pages) == names
    assert max(len(page.records) for page in pages) <= 3


async def test_who_has_read_everything_is_told_so_and_may_go_on(backend):
    await backend.put("a")
    shard_id = await only_shard(backend.api)
    (*_, last) = await read_from(backend.api, shard_id, TRIM_HORIZON, count=1)
    page = await backend.api.read(last.next_iterator, 10)
    assert (page.records, page.children) == ([], ())
    assert page.next_iterator is not None
    assert page.millis_behind == (0 if backend.kind == "kinesis" else None)
    await backend.put("b")
    async with asyncio.timeout(20):
        while not page.records:
            page = await backend.api.read(page.next_iterator, 10)
    assert names_in(page) == ["b"]


async def test_who_has_not_read_everything_is_told_how_far_behind(kinesis):
    await kinesis.put("a", "b")
    shard_id = await only_shard(kinesis.api)
    await read_from(kinesis.api, shard_id, TRIM_HORIZON, count=2)  # both can be read by now
    await asyncio.sleep(0.01)
    page = await kinesis.api.read(await kinesis.api.iterator(shard_id, TRIM_HORIZON), 1)
    assert names_in(page) == ["a"]
    assert page.millis_behind > 0


@pytest.mark.parametrize(("make", "first"), [(Seek.at, 1), (Seek.after, 2)], ids=["at", "after"])
async def test_a_position_by_sequence_number(backend, make, first):
    names = [f"r{n}" for n in range(4)]
    await backend.put(*names)
    shard_id = await only_shard(backend.api)
    pages = await read_from(backend.api, shard_id, TRIM_HORIZON, count=4)
    number = number_of([record for page in pages for record in page.records][1])
    pages = await read_from(backend.api, shard_id, make(number), count=4 - first)
    assert all_names(pages) == names[first:]


async def test_after_the_newest_record_comes_what_is_put_next(backend):
    await backend.put("a")
    shard_id = await only_shard(backend.api)
    (*_, last) = await read_from(backend.api, shard_id, TRIM_HORIZON, count=1)
    await backend.put("b")
    pages = await read_from(backend.api, shard_id, Seek.after(number_of(last.records[-1])), count=1)
    assert all_names(pages) == ["b"]


async def test_latest_is_the_moment_of_the_call_for_the_iterator(backend):
    shard_id = await only_shard(backend.api)
    await backend.put("before")
    await read_from(backend.api, shard_id, TRIM_HORIZON, count=1)
    iterator = await backend.api.iterator(shard_id, LATEST)
    await backend.put("after")
    page = await backend.api.read(iterator, 10)
    async with asyncio.timeout(20):
        while not page.records:
            page = await backend.api.read(page.next_iterator, 10)
    assert names_in(page) == ["after"]


async def test_a_position_by_time_leaves_out_what_arrived_before(backend):
    shard_id = await only_shard(backend.api)
    await backend.put("before")
    pages = await read_from(backend.api, shard_id, TRIM_HORIZON, count=1)
    arrived = arrival_of(pages[-1].records[-1])
    border = math.floor(arrived) + 1
    while await latest_arrival(backend, shard_id) < border:
        await asyncio.sleep(0.1)
    pages = await read_from(backend.api, shard_id, Seek.at_time(border), count=1)
    assert all_names(pages)[0].startswith("later")
    assert all(arrival_of(record) >= border for page in pages for record in page.records)


async def latest_arrival(backend: Backend, shard_id: str) -> float:
    """Put one more record and return when it arrived."""
    name = f"later-{asyncio.get_running_loop().time()}"
    await backend.put(name)
    iterator: str | None = await backend.api.iterator(shard_id, TRIM_HORIZON)
    while iterator is not None:
        page = await backend.api.read(iterator, 1000)
        if name in names_in(page):
            return arrival_of(page.records[-1])
        iterator = page.next_iterator
    raise AssertionError("the shard ended")


async def test_latest_can_be_asked_for_again_when_it_was_pinned(backend):
    shard_id = await only_shard(backend.api)
    info = await backend.api.describe()
    position = pinned(LATEST, float(info.created_at))
    await backend.api.iterator(shard_id, LATEST)  # lost with all it would have brought
    await backend.put("a", "b")
    assert all_names(await read_from(backend.api, shard_id, position, count=2)) == ["a", "b"]


async def test_a_split_closes_the_parent_whose_last_page_has_no_next_iterator(splitting):
    await splitting.put("a", "b")
    parent = await only_shard(splitting.api)
    await splitting.split(parent)
    shards = {shard.id: shard for shard in await splitting.api.list_shards()}
    children = [shard for shard in shards.values() if shard.parents == (parent,)]
    assert shards[parent].closed
    assert [child.closed for child in children] == [False, False]
    pages = await read_from(splitting.api, parent, TRIM_HORIZON, count=10)
    assert all_names(pages) == ["a", "b"]
    assert pages[-1].next_iterator is None
    if splitting.kind == "kinesis":
        assert {(child.id, child.parents) for child in pages[-1].children} == {(c.id, c.parents) for c in children}


async def test_a_shard_that_was_closed_before_a_time_gives_nothing_from_it_and_ends(splitting):
    await splitting.put("a")
    parent = await only_shard(splitting.api)
    pages = await read_from(splitting.api, parent, TRIM_HORIZON, count=1)
    arrived = arrival_of(pages[-1].records[-1])
    await splitting.split(parent)
    await asyncio.sleep(1.1)  # kinesis-local refuses a time to come
    pages = await read_from(splitting.api, parent, Seek.at_time(math.floor(arrived) + 1), count=1)
    assert all_names(pages) == []
    assert pages[-1].next_iterator is None


async def test_all_shards_are_listed_however_many_pages_it_takes(many, monkeypatch):
    monkeypatch.setattr("esmd.pollers.kinesis.LIST_PAGE", 2)
    shards = await many.api.list_shards()
    assert len({shard.id for shard in shards}) == len(shards) == 5


async def test_a_missing_stream_is_named_as_aws_does(backend):
    missing = backend.missing()
    for call in (missing.describe(), missing.list_shards()):
        with pytest.raises(SourceError) as caught:
            await call
        assert caught.value.failure.kind is Kind.RECONFIGURE
        assert caught.value.failure.message.startswith("Stream not found: arn:aws:")


async def test_an_unknown_shard_asks_for_another_look_at_the_stream(backend):
    known = await only_shard(backend.api)
    unknown = known[:-1] + ("1" if known[-1] != "1" else "2")
    with pytest.raises(SourceError) as caught:
        await backend.api.iterator(unknown, TRIM_HORIZON)
    assert caught.value.failure.kind is Kind.RE_SEEK
    assert caught.value.failure.code == "ResourceNotFoundException"


async def test_a_useless_iterator_asks_for_a_new_one(backend):
    with pytest.raises(SourceError) as caught:
        await backend.api.read("useless" * 10, 10)
    failure = caught.value.failure
    assert failure.kind is Kind.RE_SEEK or may_be_stale(failure)
