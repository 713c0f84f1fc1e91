"""A whole SQS mapping under everything that goes wrong at once, in virtual time: nothing is lost, nothing deleted unearned."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import looptime
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from esmd.mappings.outcomes import FunctionError, Outcome, Rejected, Success, Throttled, Unreachable
from esmd.pollers.errors import Failure, Kind

from support.examples import examples
from support.mapping_lab import BROKEN, NO_QUEUE, Lab, mapping

if TYPE_CHECKING:
    from collections.abc import Coroutine

REFUSED = Failure(Kind.REFUSED, "InvalidParameterValue", "no")
LONG = 3600.0
"""Long enough for every planned failure to pass and every message to be delivered again and again."""

Answer = Literal["ok", "error", "partial", "all failed", "invalid", "throttled", "unreachable", "rejected"]
ANSWERS: list[Answer] = ["ok", "error", "partial", "all failed", "invalid", "throttled", "unreachable", "rejected"]


@dataclass(frozen=True)
class Plan:
    """One life of a mapping. Answers and failures are used up in order; after them all goes well."""

    messages: int
    groups: int
    """0: a standard queue."""
    batch_size: int
    window: int
    report: bool
    maximum_concurrency: int
    limit: int
    duration: float
    latency: float
    visibility: int
    max_receive_count: int | None
    answers: tuple[Answer, ...]
    failures: dict[str, list[Failure]]
    failed_entries: tuple[Failure, ...]
    retry_backoff: tuple[float, float] | None
    heartbeat: bool
    release_on_stop: bool
    begun: bool
    """Whether nobody has to await an invocation."""
    end: Literal["drain", "halt", "late drain"]
    end_at: float


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    fifo = draw(st.booleans())
    failures = st.lists(st.sampled_from([BROKEN, NO_QUEUE, REFUSED]), max_size=4)
    end = draw(st.sampled_from(["drain", "halt", "late drain"]))
    return Plan(
        messages=draw(st.integers(1, 40)),
        groups=draw(st.integers(1, 3)) if fifo else 0,
        batch_size=draw(st.integers(1, 10)),
        window=0 if fifo else draw(st.sampled_from([0, 0, 1, 5])),
        report=draw(st.booleans()),
        maximum_concurrency=draw(st.integers(1, 5)),
        limit=draw(st.integers(1, 5)),
        duration=draw(st.sampled_from([0.0, 0.3, 5.0])),
        latency=draw(st.sampled_from([0.0, 0.05, 0.5])),
        visibility=draw(st.sampled_from([10, 30])),
        max_receive_count=draw(st.sampled_from([None, 2, 4])),
        answers=tuple(draw(st.lists(st.sampled_from(ANSWERS), max_size=12))),
        failures=draw(
            st.fixed_dictionaries(dict.fromkeys(["look_up", "receive", "delete", "change_visibility"], failures))
        ),
        failed_entries=tuple(draw(failures)),
        retry_backoff=draw(st.sampled_from([None, None, (1.0, 20.0)])),
        heartbeat=draw(st.booleans()),
        release_on_stop=draw(st.booleans()),
        begun=draw(st.booleans()),
        end=end,
        end_at=LONG if end == "late drain" else draw(st.floats(0, 60)),
    )


class Witness:
    """The handler, and everything that was seen at the mapping's two ends."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._answers = list(plan.answers)
        self.covered: set[str] = set()
        """Messages that may be deleted: a success covered them, or no filter wants them."""
        self.first: dict[str, list[int]] = defaultdict(list)
        """By group, the messages' numbers in the order of their first delivery."""
        self._delivered: set[str] = set()
        self._message_of: dict[str, str] = {}
        self.unearned: list[str] = []

    def watch(self, lab: Lab) -> None:
        """Stand between the mapping and its queue."""
        receive, delete = lab.api.receive, lab.api.delete

        async def received(*arguments: Any, **options: Any) -> Any:
            messages = await receive(*arguments, **options)
            for message in messages:
                self._message_of[message["ReceiptHandle"]] = message["MessageId"]
                if not json.loads(message["Body"])["wanted"]:
                    self.covered.add(message["MessageId"])
            return messages

        async def deleted(queue: Any, handles: Any) -> Any:
            # Kept for later: an assertion here would be one more failed call to the mapping.
            self.unearned += [h for h in handles if self._message_of.get(h) not in self.covered]
            return await delete(queue, handles)

        lab.api.receive = received  # type: ignore[method-assign]
        lab.api.delete = deleted  # type: ignore[method-assign]

    def handle(self, records: list[dict[str, Any]]) -> Outcome:
        """The answer that the plan has next; notes what it covers."""
        answer = self._answers.pop(0) if self._answers else "ok"
        if answer == "throttled":
            return Throttled()
        if answer == "unreachable":
            return Unreachable("connection refused")
        for record in records:
            if record["messageId"] not in self._delivered:
                self._delivered.add(record["messageId"])
                group = record["attributes"].get("MessageGroupId", "")
                self.first[group].append(json.loads(record["body"])["n"])
        if answer == "error":
            return FunctionError("exception", "ValueError", "boom")
        if answer == "rejected":
            return Rejected("RequestTooLargeException", "too large")
        ids = [record["messageId"] for record in records]
        failed = {"partial": ids[::2], "all failed": ids}.get(answer, [])
        if not self._plan.report:
            failed = []  # the answer is not even read
        elif answer == "invalid":
            failed = ids
        self.covered.update(set(ids) - set(failed))
        if answer == "invalid":
            return Success(b'{"batchItemFailures": [{"itemIdentifier": "nobody"}]}')
        return Success(json.dumps({"batchItemFailures": [{"itemIdentifier": i} for i in failed]}).encode())


def left_in(lab: Lab, queue: str) -> set[str]:
    """Messages that are in a queue once nobody has them in hand; empties it."""
    found: set[str] = set()
    while messages := lab.engine.receive_now(queue, limit=10):
        for message in messages:
            found.add(message["MessageId"])
            lab.engine.delete(queue, message["ReceiptHandle"])  # or its group would stay locked
    return found


async def live(plan: Plan) -> None:
    """Run the plan, then look at what is left."""
    witness = Witness(plan)
    fifo = plan.groups > 0
    async with mapping(
        witness.handle,
        filters=['{"body": {"wanted": [true]}}'],
        visibility=plan.visibility,
        max_receive_count=plan.max_receive_count,
        limit=plan.limit,
        duration=plan.duration,
        started=False,
        begun=plan.begun,
        fifo=fifo,
        batch_size=plan.batch_size,
        window=plan.window,
        report_batch_item_failures=plan.report,
        maximum_concurrency=plan.maximum_concurrency,
        function_timeout=6.0,
        retry_backoff=plan.retry_backoff,
        visibility_heartbeat=plan.heartbeat,
        release_on_stop=plan.release_on_stop,
    ) as lab:
        witness.watch(lab)
        lab.api.latency = plan.latency
        lab.api.fail = {name: list(failures) for name, failures in plan.failures.items()}
        lab.api.fail_entries = list(plan.failed_entries)
        sent: set[str] = set()
        for n in range(plan.messages):
            body = json.dumps({"n": n, "wanted": n % 5 != 4})
            sent.update(lab.send(body, group=f"g{n % plan.groups}" if fifo else None))
        lab.task = asyncio.create_task(lab.runner.run())
        await asyncio.sleep(plan.end_at)
        assert not lab.task.done(), "the mapping heals by itself and ends only when it is told to"
        if plan.end == "halt":
            lab.task.cancel()
        else:
            lab.stop.set()
        ended, _ = await asyncio.wait((lab.task,), timeout=60)
        assert ended, "a stop has a bound"
        assert lab.task.cancelled() if plan.end == "halt" else lab.task.exception() is None
        lab.task = asyncio.create_task(asyncio.sleep(0))

        assert witness.unearned == [], "deleted without a success"
        most = min(plan.maximum_concurrency, plan.limit)
        assert lab.invoker.most_running <= most, "more at once than allowed"
        assert lab.function.busy == 0, "a place was not given back"
        for group, numbers in witness.first.items():
            assert not fifo or numbers == sorted(numbers), f"first deliveries of {group} out of order"

        await asyncio.sleep(1000)  # whatever is hidden is visible again
        waiting = left_in(lab, lab.queue)
        dead = left_in(lab, "dlq.fifo" if fifo else "dlq") if plan.max_receive_count else set()
        lost = sent - waiting - dead - witness.covered
        assert lost == set(), "lost: neither in a queue nor handled"
        if plan.end == "late drain":
            assert waiting == set(), "still waiting after an hour without a failure"
        event(f"{plan.end}, {'fifo' if fifo else 'standard'}, {'something' if dead else 'nothing'} dead")


def in_virtual_time(story: Coroutine[Any, Any, None]) -> None:
    """Run it in a loop of its own, whose clock jumps: the marker would cover all examples with one loop."""
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(story)


@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plans())
def test_nothing_is_lost_and_nothing_is_deleted_without_a_success(plan: Plan) -> None:
    in_virtual_time(live(plan))


@pytest.mark.looptime
async def test_a_server_that_does_not_wait_is_not_asked_without_pause() -> None:
    async with mapping(started=False) as lab:

        async def at_once(*_: Any, **__: Any) -> list[Any]:
            lab.api.calls.append(("receive", None))
            return []

        lab.api.receive = at_once  # type: ignore[method-assign, assignment]
        lab.task = asyncio.create_task(lab.runner.run())
        await asyncio.sleep(10)
        assert sum(name == "receive" for name, _ in lab.api.calls) <= 60
