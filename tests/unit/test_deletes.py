"""Deletes: gathered ten to a call, tried again by kind of failure, settled once, ended with the mapping."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from esmd.pollers.deletes import DeleteGatherer
from esmd.pollers.errors import Failure, Kind, SourceError
from esmd.pollers.sqs import EntryFailure, Queue

pytestmark = pytest.mark.looptime

QUEUE = Queue(url="orders", visibility_timeout=30, max_receive_count=None, dead_letter_arn=None)
BUSY = Failure(Kind.BACK_OFF, "ServiceUnavailable", "try later")
GONE = Failure(Kind.RECONFIGURE, "AWS.SimpleQueueService.NonExistentQueue", "no queue")
STALE = Failure(Kind.REFUSED, "ReceiptHandleIsInvalid", "stale")
FAR = 1e9


class Deletes:
    """The delete call of an `SqsApi`. `answer` may raise or return the failed handles with their failure."""

    def __init__(self, answer=lambda handles: {}, *, latency: float = 0.01) -> None:
        self._answer = answer
        self._latency = latency
        self.calls: list[tuple[Queue, list[str], float]] = []
        self.at_once = 0
        self.most_at_once = 0

    async def delete(self, queue, handles):
        self.calls.append((queue, list(handles), asyncio.get_running_loop().time()))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self._latency)
            return [EntryFailure(handle, why) for handle, why in self._answer(handles).items()]
        finally:
            self.at_once -= 1

    @property
    def handles(self) -> list[list[str]]:
        return [handles for _, handles, _ in self.calls]


def fail_calls(*failures: Failure | Exception):
    """Calls that fail as a whole, one after the other; then all is well."""
    left = list(failures)

    def answer(handles):
        if left:
            error = left.pop(0)
            raise SourceError(error) if isinstance(error, Failure) else error
        return {}

    return answer


def messages(*names: str, until: float = FAR) -> list[tuple[str, float]]:
    return [(name, until) for name in names]


def submit(gatherer: DeleteGatherer, queue: Queue, messages: list[tuple[str, float]]) -> asyncio.Future:
    """As `post`, with a future. Cancelling that cancels no delete."""
    result = asyncio.get_running_loop().create_future()
    gatherer.post(queue, messages, lambda failures: None if result.done() else result.set_result(failures))
    return result


async def closed(gatherer: DeleteGatherer) -> None:
    await gatherer.close(within=60)


# --- gathering


async def test_a_lone_delete_leaves_at_once():
    api = Deletes()
    gatherer = DeleteGatherer(api)
    started = asyncio.get_running_loop().time()
    assert await submit(gatherer, QUEUE, messages("a")) == []
    [(queue, handles, at)] = api.calls
    assert (queue, handles, at) == (QUEUE, ["a"], started)
    await closed(gatherer)


async def test_nothing_to_delete_is_no_call():
    api = Deletes()
    gatherer = DeleteGatherer(api)
    assert await submit(gatherer, QUEUE, []) == []
    await closed(gatherer)
    assert api.calls == []


async def test_what_comes_in_the_same_moment_shares_a_call():
    api = Deletes()
    gatherer = DeleteGatherer(api)
    await asyncio.gather(*(submit(gatherer, QUEUE, messages(name)) for name in "abc"))
    assert api.handles == [["a", "b", "c"]]
    await closed(gatherer)


async def test_what_comes_while_a_call_is_under_way_leaves_with_the_next():
    api = Deletes(latency=1)
    gatherer = DeleteGatherer(api)
    results = [submit(gatherer, QUEUE, messages("a"))]
    await asyncio.sleep(0.1)
    for name in "bcd":
        results.append(submit(gatherer, QUEUE, messages(name)))
        await asyncio.sleep(0.1)
    await asyncio.gather(*results)
    assert api.handles == [["a"], ["b", "c", "d"]]
    await closed(gatherer)


async def test_ten_do_not_wait_for_the_call_under_way():
    api = Deletes(latency=1)
    gatherer = DeleteGatherer(api)
    results = [submit(gatherer, QUEUE, messages("a"))]
    await asyncio.sleep(0.1)
    results.append(submit(gatherer, QUEUE, messages(*map(str, range(12)))))
    await asyncio.sleep(0.1)
    assert api.handles == [["a"], [str(n) for n in range(10)]]
    await asyncio.gather(*results)
    assert api.handles[2] == ["10", "11"]
    await closed(gatherer)


async def test_a_post_that_finds_no_room_in_a_call_is_cut_and_settled_with_its_last_message():
    api = Deletes(latency=1)
    gatherer = DeleteGatherer(api)
    first, second = submit(gatherer, QUEUE, messages(*"abc")), submit(gatherer, QUEUE, messages(*"ABCDEFGHI"))
    await asyncio.sleep(1.5)
    assert api.handles == [[*"abcABCDEFG"], [*"HI"]]
    assert (first.done(), second.done()) == (True, False)
    assert await second == []
    await closed(gatherer)


async def test_a_call_never_mixes_queues():
    other = Queue(url="orders-made-anew", visibility_timeout=30, max_receive_count=None, dead_letter_arn=None)
    api = Deletes()
    gatherer = DeleteGatherer(api)
    await asyncio.gather(submit(gatherer, QUEUE, messages("a", "b")), submit(gatherer, other, messages("c")))
    assert sorted((queue.url, handles) for queue, handles, _ in api.calls) == [
        ("orders", ["a", "b"]),
        ("orders-made-anew", ["c"]),
    ]
    await closed(gatherer)


async def test_ten_thousand_deletes_are_a_thousand_full_calls_and_few_at_once():
    api = Deletes()
    gatherer = DeleteGatherer(api)
    names = [str(n) for n in range(10_000)]
    results = [submit(gatherer, QUEUE, messages(name)) for name in names]
    assert await asyncio.gather(*results) == [[]] * 10_000
    assert [len(handles) for handles in api.handles] == [10] * 1000
    assert sorted(handle for handles in api.handles for handle in handles) == sorted(names)
    assert api.most_at_once == 8
    await closed(gatherer)


# --- failures


@pytest.mark.parametrize("failure", [STALE, GONE])
@pytest.mark.parametrize("whole", [True, False], ids=["call", "entry"])
async def test_a_failure_that_stays_is_given_up_at_once(failure, whole):
    api = Deletes(fail_calls(failure) if whole else lambda handles: dict.fromkeys(handles, failure))
    gatherer = DeleteGatherer(api)
    assert await submit(gatherer, QUEUE, messages("a")) == [EntryFailure("a", failure)]
    assert len(api.calls) == 1
    await closed(gatherer)


@pytest.mark.parametrize("whole", [True, False], ids=["call", "entry"])
async def test_a_failure_that_may_pass_is_tried_again_later_each_time(whole):
    answers = [True] * 4

    def entries(handles):
        return dict.fromkeys(handles, BUSY) if answers and answers.pop() else {}

    api = Deletes(fail_calls(*[BUSY] * 4) if whole else entries)
    gatherer = DeleteGatherer(api)
    assert await submit(gatherer, QUEUE, messages("a")) == []
    times = [at for _, _, at in api.calls]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(gaps) == 4
    assert gaps == sorted(gaps)
    await closed(gatherer)


async def test_only_the_entries_that_failed_are_tried_again():
    first = [{"b": BUSY, "c": STALE}]
    api = Deletes(lambda handles: first.pop() if first else {})
    gatherer = DeleteGatherer(api)
    assert await submit(gatherer, QUEUE, messages("a", "b", "c")) == [EntryFailure("c", STALE)]
    assert api.handles == [["a", "b", "c"], ["b"]]
    await closed(gatherer)


async def test_tries_end_with_the_visibility_timeout():
    api = Deletes(fail_calls(*[BUSY] * 1000))
    gatherer = DeleteGatherer(api)
    loop = asyncio.get_running_loop()
    started = loop.time()
    assert await submit(gatherer, QUEUE, messages("a", until=started + 30)) == [EntryFailure("a", BUSY)]
    assert 20 < loop.time() - started < 30
    assert api.calls[-1][2] < started + 30
    await closed(gatherer)


async def test_a_message_whose_time_is_over_is_still_tried_three_times():
    # The handle stays good until somebody else receives the message.
    api = Deletes(fail_calls(*[BUSY] * 1000))
    gatherer = DeleteGatherer(api)
    assert await submit(gatherer, QUEUE, messages("a", until=0)) == [EntryFailure("a", BUSY)]
    assert len(api.calls) == 3
    await closed(gatherer)


async def test_an_answer_that_makes_no_sense_is_a_failure_and_nobody_waits_for_ever():
    api = Deletes(fail_calls(KeyError("Id"), KeyError("Id")))
    gatherer = DeleteGatherer(api)
    assert await submit(gatherer, QUEUE, messages("a")) == []
    assert len(api.calls) == 3
    await closed(gatherer)


async def test_whoever_gives_up_waiting_gives_up_no_delete():
    api = Deletes(latency=5)
    gatherer = DeleteGatherer(api)
    waiting = asyncio.ensure_future(asyncio.shield(submit(gatherer, QUEUE, messages("a"))))
    await asyncio.sleep(1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await closed(gatherer)
    assert api.handles == [["a"]]
    assert api.at_once == 0


# --- the end


async def test_close_waits_for_what_is_under_way_and_what_is_to_be_tried_again():
    api = Deletes(fail_calls(BUSY, BUSY), latency=1)
    gatherer = DeleteGatherer(api)
    result = submit(gatherer, QUEUE, messages("a"))
    await gatherer.close(within=60)
    assert result.result() == []
    assert len(api.calls) == 3


async def test_close_with_nothing_to_do_is_immediate():
    gatherer = DeleteGatherer(Deletes())
    started = asyncio.get_running_loop().time()
    await gatherer.close(within=60)
    assert asyncio.get_running_loop().time() == started


async def hang(gatherer_of: Deletes) -> tuple[DeleteGatherer, dict[str, asyncio.Future[list[EntryFailure]]]]:
    """A gatherer with a call that hangs, entries that wait for a call, and one that waits to be tried again."""
    gatherer = DeleteGatherer(gatherer_of)
    results = {"retried": submit(gatherer, QUEUE, messages("retried"))}
    await asyncio.sleep(1.01)
    results |= {str(n): submit(gatherer, QUEUE, messages(str(n))) for n in range(100)}
    await asyncio.sleep(0)
    return gatherer, results


class Hanging(Deletes):
    """The first call fails after a second, the others never end."""

    async def delete(self, queue, handles):
        if self.calls:
            self._latency = 1e6
        return await super().delete(queue, handles)


@pytest.mark.parametrize("how", ["time is up", "cancelled"])
async def test_close_ends_within_its_time_settles_everything_and_starts_nothing_more(how):
    api = Hanging(fail_calls(*[BUSY] * 10), latency=1)
    gatherer, results = await hang(api)
    started = asyncio.get_running_loop().time()
    closing = asyncio.create_task(gatherer.close(within=10))
    if how == "cancelled":
        await asyncio.sleep(5)
        closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    assert asyncio.get_running_loop().time() - started == pytest.approx(5 if how == "cancelled" else 10)
    assert closing.cancelled() is (how == "cancelled")
    await asyncio.sleep(0)
    for name, result in results.items():
        [failure] = result.result()
        assert (failure.handle, failure.failure.code) == (name, "Stopped")
    calls = len(api.calls)
    await asyncio.sleep(100)
    assert len(api.calls) == calls
    assert api.at_once == 0


async def test_a_result_given_up_is_not_settled_again():
    api = Deletes(lambda handles: {}, latency=100)
    gatherer = DeleteGatherer(api)
    result = submit(gatherer, QUEUE, messages("a"))
    await asyncio.sleep(1)
    await gatherer.close(within=1)
    await gatherer.close(within=1)
    assert [failure.failure.code for failure in result.result()] == ["Stopped"]


async def test_a_call_that_is_cut_off_before_it_began_settles_its_messages_too():
    api = Deletes()
    result = submit(DeleteGatherer(api), QUEUE, messages("a", "b"))
    await asyncio.sleep(0)  # the call's task exists and has not run yet
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    failures = await asyncio.wait_for(result, 1)
    assert [(failure.handle, failure.failure.code) for failure in failures] == [("a", "Stopped"), ("b", "Stopped")]
    assert api.calls == []


async def test_what_a_call_deletes_is_counted_for_the_batch_it_belongs_to():
    """A call whose first and last entries are of one batch may have another's between them."""
    busy = {"a2", "b1", "a3"}

    def answer(handles):
        return {handle: BUSY for handle in handles if handle in busy}

    gatherer = DeleteGatherer(Deletes(answer))
    first = submit(gatherer, QUEUE, messages("a1", "a2"))
    second = submit(gatherer, QUEUE, messages("b1"))
    third = submit(gatherer, QUEUE, messages("a3"))
    await asyncio.sleep(0.02)
    assert [first.done(), second.done(), third.done()] == [False] * 3
    busy.clear()
    assert [await first, await second, await third] == [[], [], []]
    await closed(gatherer)


async def test_whoever_posts_is_told_once_and_at_once_if_there_is_nothing_to_delete():
    gatherer = DeleteGatherer(Deletes(lambda handles: {"b": STALE} if "b" in handles else {}))
    told = []
    gatherer.post(QUEUE, [], told.append)
    assert told == [[]]
    gatherer.post(QUEUE, messages("a", "b"), told.append)
    await asyncio.sleep(1)
    assert told[1:] == [[EntryFailure("b", STALE)]]
    await closed(gatherer)
    assert len(told) == 2
