"""The loop of a replay and its workers, over a source and a queue in memory: nothing leaves that was not handled."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml
from click.testing import CliRunner

from esmd.cli import cli
from esmd.cli.replay import Rate
from esmd.config.loader import load
from esmd.mappings.outcomes import FunctionError, Success
from esmd.pollers.errors import Failure, Kind, SourceError
from esmd.replay import run as looping
from esmd.replay.letters import as_sent, kept_because
from esmd.replay.names import QueueName, parse_queue, parse_s3
from esmd.replay.queues import QueueSource
from esmd.replay.run import Pace, Result, Tally, run
from esmd.replay.sources import FileSource, Item
from esmd.replay.workers import LetterHandling, LetterSending

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from esmd.config.schema import Config
    from esmd.mappings.outcomes import Outcome

ARN = "arn:aws:sqs:us-east-1:000000000000:orders"


# --- the loop


class Source:
    """Items by name; `left` are still there, `released` says that the end has come."""

    def __init__(self, *names: str, at_once: int = 2, stuck: str = "") -> None:
        self.left = list(names)
        self._names = list(names)
        self._at_once = at_once
        self._stuck = stuck
        self.released = 0
        self.left_alone = 0

    async def count(self) -> int:
        return len(self.left)

    async def next(self) -> list[Item]:
        given, self._names = self._names[: self._at_once], self._names[self._at_once :]
        return [Item(name, name) for name in given]

    async def done(self, items: Sequence[Item]) -> list[str]:
        stuck = [item.name for item in items if item.name == self._stuck]
        for item in items:
            if item.name not in stuck:
                self.left.remove(item.name)
        return stuck

    async def release(self) -> None:
        self.released += 1


class Letters:
    """Answers each item with the status that it is named after."""

    def __init__(self, at_once: int = 1) -> None:
        self.at_once = at_once
        self.calls: list[list[str]] = []

    async def work(self, items: Sequence[Item]) -> list[Result]:
        self.calls.append([item.name for item in items])
        if any(item.name == "hangs" for item in items):
            await asyncio.sleep(3600)
        return [Result(item.name.rstrip("0123456789"), "") for item in items]  # type: ignore[arg-type]


async def replayed(source: Source, worker: Letters, limit: int | None = None, *, expired: bool = False) -> Tally:
    return await run(
        source, worker, pace=Pace(None), limit=limit, delete_expired=expired, say=lambda item, result: None
    )


def rows_of_the_table() -> dict[str, str]:
    lines = [line for line in (looping.__doc__ or "").splitlines() if line.startswith("| `")]
    return {cells[1].strip(" `"): cells[3].strip() for cells in (line.split("|") for line in lines)}


@pytest.mark.parametrize("status", rows_of_the_table())
async def test_what_leaves_its_source(status: str):
    leaves = rows_of_the_table()[status]
    for asked in (False, True):
        source = Source(status)
        tally = await replayed(source, Letters(), expired=asked)
        assert (source.left == []) == (leaves == "yes" or (leaves.startswith("only if") and asked))
        assert (tally.counts.total(), source.released) == (1, 1)


async def test_a_limit_counts_what_is_tried():
    source = Source("kept1", "replayed1", "failed1", "replayed2", "replayed3")
    worker = Letters()
    tally = await replayed(source, worker, limit=2)
    assert str(tally) == "1 replayed, 1 failed, 0 expired, 1 kept"
    assert source.left == ["kept1", "failed1", "replayed2", "replayed3"]


async def test_items_go_together_as_the_worker_takes_them():
    worker = Letters(at_once=3)
    await replayed(Source(*(f"replayed{n}" for n in range(5)), at_once=4), worker)
    assert [len(call) for call in worker.calls] == [3, 1, 1]


async def test_what_cannot_be_deleted_is_said():
    tally = await replayed(Source("replayed1", "replayed2", stuck="replayed1"), Letters())
    assert (str(tally), tally.went_well) == ("2 replayed, 0 failed, 0 expired, 0 kept, 1 not deleted", False)


@pytest.mark.parametrize(
    ("counts", "well"),
    [
        ({"replayed": 3, "kept": 1}, True),
        ({"failed": 1}, False),
        ({"expired": 1}, False),
        ({"planned": 1}, True),
        ({}, True),
    ],
)
def test_when_all_went_well(counts: dict[Any, int], well: bool):
    tally = Tally()
    tally.counts.update(counts)
    assert tally.went_well is well


async def test_an_interrupt_gives_back_what_is_held():
    source = Source("replayed1", "hangs")
    task = asyncio.create_task(replayed(source, Letters()))
    while source.left != ["hangs"]:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (source.left, source.released) == (["hangs"], 1)


@pytest.mark.looptime
async def test_a_rate_spreads_the_calls_evenly():
    pace, loop = Pace(4), asyncio.get_running_loop()
    began = loop.time()
    times = []
    for _ in range(5):
        await pace.turn()
        times.append(round(loop.time() - began, 3))
    assert times == [0, 0.25, 0.5, 0.75, 1]


# --- names and numbers


@pytest.mark.parametrize(
    ("text", "queue"),
    [
        ("orders", QueueName("orders")),
        ("orders.fifo", QueueName("orders.fifo")),
        (ARN, QueueName("orders", "us-east-1", "000000000000")),
        (
            "http://127.0.0.1:4566/000000000000/orders",
            QueueName("orders", url="http://127.0.0.1:4566/000000000000/orders"),
        ),
        (
            "https://sqs.eu-west-1.amazonaws.com/123456789012/orders",
            QueueName("orders", "eu-west-1", url="https://sqs.eu-west-1.amazonaws.com/123456789012/orders"),
        ),
    ],
)
def test_a_queue_is_named_in_three_ways(text: str, queue: QueueName):
    assert parse_queue(text) == queue
    assert queue.fifo == text.endswith(".fifo")


@pytest.mark.parametrize("text", ["", "a b", "a" * 81, "http://127.0.0.1/", "arn:aws:sns:us-east-1:000000000000:x"])
def test_what_is_no_queue_is_refused(text: str):
    with pytest.raises(ValueError, match="queue"):
        parse_queue(text)


def test_a_prefix_is_a_url():
    assert parse_s3("s3://failures/aws/lambda/") == ("failures", "aws/lambda/")
    assert parse_s3("s3://failures") == ("failures", "")
    with pytest.raises(ValueError, match="s3://BUCKET/PREFIX"):
        parse_s3("failures/aws")


@pytest.mark.parametrize(("text", "rate"), [("5", 5), ("5/s", 5), ("30/m", 0.5), ("0.5/s", 0.5), ("36/h", 0.01)])
def test_a_rate_is_read(text: str, rate: float):
    assert Rate().convert(text, None, None) == pytest.approx(rate)


@pytest.mark.parametrize("text", ["0", "-1", "fast", "5/d", "1/0", "five"])
def test_what_is_no_rate_is_refused(text: str):
    with pytest.raises(click.BadParameter):
        Rate().convert(text, None, None)


# --- dead letters

NOW = 1_800_000_000.0


def letter(
    name: str, *, age: float | None = 3600, group: str | None = None, body: str = "{}", **more: Any
) -> dict[str, Any]:
    attributes = {} if age is None else {"SentTimestamp": str(round((NOW - age) * 1000))}
    if group is not None:
        attributes |= {"MessageGroupId": group, "MessageDeduplicationId": f"id-{name}"}
    return {"MessageId": name, "ReceiptHandle": f"handle-{name}", "Body": body, "Attributes": attributes, **more}


@pytest.mark.parametrize(
    ("age", "new_ids", "kept"),
    [
        (400, False, None),
        (10, False, "try again in 305 s, or with --new-deduplication-ids"),
        (None, False, "duplicate"),
        (10, True, None),
    ],
)
def test_when_a_letter_may_go_to_a_fifo_queue(age: float | None, new_ids: bool, kept: str | None):
    why = kept_because(letter("a", age=age), new_ids=new_ids, now=NOW)
    assert (why is None) == (kept is None)
    if kept is not None:
        assert kept in (why or "")


def test_a_letter_is_sent_as_it_was():
    attributes = {
        "text": {"StringValue": "x", "DataType": "String", "StringListValues": []},
        "bytes": {"BinaryValue": b"\x00", "DataType": "Binary"},
    }
    message = letter("a", group="g", body="größe", MessageAttributes=attributes)
    message["Attributes"]["AWSTraceHeader"] = "Root=1"
    sent = as_sent(message, fifo=True, new_id=None)
    assert sent == {
        "MessageBody": "größe",
        "MessageAttributes": {
            "text": {"StringValue": "x", "DataType": "String"},
            "bytes": {"BinaryValue": b"\x00", "DataType": "Binary"},
        },
        "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}},
        "MessageGroupId": "g",
        "MessageDeduplicationId": "id-a",
    }
    assert as_sent(message, fifo=True, new_id="new")["MessageDeduplicationId"] == "new"
    assert as_sent(letter("a"), fifo=False, new_id=None) == {"MessageBody": "{}"}
    assert as_sent(letter("a", group="g"), fifo=False, new_id=None)["MessageGroupId"] == "g", "a fair queue"


class Queue:
    """The calls of a `ReplayQueue`, in memory."""

    def __init__(self, *receives: list[dict[str, Any]], name: str = "orders", refuses: str = "") -> None:
        self.name = QueueName(name)
        self.arn = ARN
        self._receives = list(receives)
        self._refuses = refuses
        self.sent: list[str] = []
        self.deleted: list[str] = []
        self.freed: list[str] = []

    async def messages(self) -> int:
        return 7

    async def receive(self, most: int, *, visibility: int) -> list[dict[str, Any]]:
        self.visibility = visibility
        return self._receives.pop(0) if self._receives else []

    async def send(self, request: Mapping[str, Any]) -> None:
        if request["MessageBody"] == self._refuses:
            raise SourceError(Failure(Kind.BACK_OFF, "Busy", "not now"))
        self.sent.append(request["MessageBody"])

    async def delete(self, handles: Sequence[str]) -> dict[str, str]:
        self.deleted += handles
        return {handle: "no" for handle in handles if handle == "handle-stuck"}

    async def free(self, handles: Sequence[str]) -> None:
        self.freed += handles


def source_of(queue: Any, most: int = 10) -> QueueSource:
    return QueueSource(queue, most=most, hold=30, began=NOW - 1)


async def test_a_queue_gives_each_message_out_once_and_frees_what_it_holds():
    again = letter("a") | {"ReceiptHandle": "newer"}
    queue = Queue([letter("a"), letter("b")], [again], [letter("c"), again], *[[again]] * 10, [letter("d")])
    source = source_of(queue)
    given = []
    while items := await source.next():
        given += [item.name for item in items]
    assert given == ["a", "b", "c"]
    assert queue.visibility == 360
    assert await source.count() == 7
    assert await source.done([Item("b", "")]) == []
    await source.release()
    assert (queue.deleted, sorted(queue.freed)) == (["handle-b"], ["handle-c", "newer"])
    await source.release()
    assert len(queue.freed) == 2


async def test_what_was_sent_since_the_replay_began_is_left_alone_and_freed():
    queue = Queue([letter("late", age=0)], [letter("b"), letter("later", age=-5)])
    source = source_of(queue)
    assert [item.name for item in await source.next()] == ["b"]
    assert await source.next() == []
    await source.release()
    assert (source.left_alone, sorted(queue.freed)) == (2, ["handle-b", "handle-late", "handle-later"])
    tally = Tally(left_alone=2)
    assert str(tally).endswith("0 kept, 2 came since and were left alone")


async def test_a_message_that_is_not_deleted_is_named():
    source = source_of(Queue([letter("stuck")]))
    items = await source.next()
    assert await source.done(items) == ["stuck: no"]


def items_of(*messages: dict[str, Any]) -> list[Item]:
    return [Item(message["MessageId"], message["Body"], message) for message in messages]


def sending(queue: Any, **more: Any) -> LetterSending:
    options: dict[str, Any] = {"wanted": lambda _: True, "new_ids": False, "dry_run": False, **more}
    return LetterSending(queue, source_arn=ARN, **options)


async def test_of_a_group_nothing_overtakes_what_is_kept_or_failed():
    queue = Queue(name="orders.fifo", refuses="bad")
    letters = [
        letter("1", group="a", body="bad"),
        letter("2", group="a", body="behind"),
        letter("3", group="b", body="fine"),
        letter("4", group="c", body="young", age=NOW - time.time() + 10),
        letter("5", group="c", body="behind"),
        letter("6", group="d", body="unwanted"),
        letter("7", group="d", body="wanted"),
    ]
    for each in letters:  # `letter` counts from its own time
        if each["Body"] != "young":
            each["Attributes"]["SentTimestamp"] = str(round((time.time() - 3600) * 1000))
    worker = sending(queue, wanted=lambda record: record["body"] != "unwanted")
    results = await worker.work(items_of(*letters))
    assert [each.status for each in results] == ["failed", "kept", "replayed", "kept", "kept", "kept", "replayed"]
    assert queue.sent == ["fine", "wanted"]


async def test_a_dry_run_sends_nothing():
    queue = Queue()
    [result] = await sending(queue, dry_run=True).work(items_of(letter("1", age=None)))
    assert (result, queue.sent) == (Result("planned", "for orders"), [])


class Handlers:
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.events: list[Any] = []

    async def invoke(self, function: str, event: bytes) -> Outcome:
        self.events.append(json.loads(event))
        return self.outcome


def configuration(folder: Path, **mapping: Any) -> Config:
    document = {
        "version": 1,
        "functions": {"handle": {"handler": "h:handle"}},
        "mappings": {"orders": {"event_source_arn": ARN, "function_name": "handle", **mapping}},
    }
    (folder / "esmd.yaml").write_text(yaml.safe_dump(document))
    loaded = load([folder / "esmd.yaml"], environ={})
    assert loaded.config is not None
    return loaded.config


def handling(config: Config, handlers: Handlers, **more: Any) -> LetterHandling:
    queue: Any = Queue(name="dead")
    options: dict[str, Any] = {"wanted": lambda _: True, "dry_run": False, **more}
    return LetterHandling(
        config, handlers=handlers, function="handle", queue=queue, source_arn=ARN, at_once=10, **options
    )


async def test_letters_of_two_queues_are_two_events(tmp_path: Path):
    handlers = Handlers(Success(b"null"))
    elsewhere = letter("b")
    elsewhere["Attributes"]["DeadLetterQueueSourceArn"] = ARN + "-2"
    worker = handling(configuration(tmp_path), handlers)
    results = await worker.work(items_of(letter("a"), elsewhere, letter("c")))
    assert [each.status for each in results] == ["replayed"] * 3
    arns = [[record["eventSourceARN"] for record in event["Records"]] for event in handlers.events]
    assert arns == [[ARN, ARN], [ARN + "-2"]]


@pytest.mark.parametrize(
    ("settings", "statuses"),
    [
        ({}, ["replayed", "replayed"]),
        ({"function_response_types": ["ReportBatchItemFailures"]}, ["failed", "replayed"]),
    ],
)
async def test_partial_answers_count_where_the_mapping_says_so(tmp_path: Path, settings: Any, statuses: list[str]):
    handlers = Handlers(Success(b'{"batchItemFailures": [{"itemIdentifier": "a"}]}'))
    results = await handling(configuration(tmp_path, **settings), handlers).work(items_of(letter("a"), letter("b")))
    assert [each.status for each in results] == statuses


async def test_a_failing_function_keeps_its_letters(tmp_path: Path):
    handlers = Handlers(FunctionError("exception", "ValueError", "no"))
    [result] = await handling(configuration(tmp_path), handlers).work(items_of(letter("a")))
    assert result == Result("failed", "handle: ValueError: no")
    [result] = await handling(configuration(tmp_path), handlers, dry_run=True).work(items_of(letter("a")))
    assert (result.status, len(handlers.events)) == ("planned", 1)


# --- the command line


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        ([], 2, "name one of --queue, --s3, --file and --dlq"),
        (["--queue", "a", "--dlq", "b"], 2, "name one of"),
        (["--queue", "a b"], 2, "neither a queue's name nor its URL nor its ARN"),
        (["--s3", "failures"], 2, "is not s3://BUCKET/PREFIX"),
        (["--queue", "a", "--to", "b"], 2, "--to does not go with --queue"),
        (["--queue", "a", "--delete"], 2, "--delete does not go with --queue"),
        (["--dlq", "a", "--delete-expired"], 2, "--delete-expired does not go with --dlq"),
        (["--s3", "s3://abc", "--new-deduplication-ids"], 2, "--new-deduplication-ids does not go with --s3"),
        (["--dlq", "a", "--to", "b", "--function", "handle"], 2, "not both"),
        (["--queue", "a", "--function", "nobody"], 2, "there is no function 'nobody'; there are: handle"),
        (["--queue", "a", "--rate", "fast"], 2, "is not a rate"),
        (["--dlq", "a", "--filter", "{"], 78, "esmd replay: Invalid filter pattern definition."),
        (["--dlq", "a", "--filter", '{"body": 1}'], 78, "esmd replay: Invalid filter"),
        (["--file", "esmd.yaml"], 1, "esmd.yaml: not JSON in UTF-8"),
        (["--queue", "a", "--function", "handle"], 78, "refused, so that nobody's production is polled by accident"),
    ],
)
def test_wrong_usage_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, complaint: str
):
    configuration(tmp_path)
    monkeypatch.chdir(tmp_path)
    if "--file" in arguments:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = CliRunner().invoke(cli, ["replay", *arguments])
    assert (result.exit_code, complaint in " ".join(result.output.split())) == (code, True), result.output


async def test_a_file_is_given_out_once(tmp_path: Path):
    (tmp_path / "a.json").write_text('[{"n": 1}, 2]')
    source = FileSource(tmp_path / "a.json")
    assert await source.count() == 2
    assert [(item.name, item.text) for item in await source.next()] == [
        ("a.json, record 1", '{"n": 1}'),
        ("a.json, record 2", "2"),
    ]
    assert await source.next() == []
