"""Failure records at work: read again or not, handled or not, and what is said of it; functions invoked; a terminal's bar."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from esmd.cli.replaying import Shown
from esmd.config.loader import load
from esmd.mappings.outcomes import FunctionError, Success, Throttled, Unreachable
from esmd.pollers.errors import Failure, Kind, SourceError
from esmd.pollers.streams import Page
from esmd.replay.handlers import FunctionHandlers
from esmd.replay.run import Result
from esmd.replay.sources import Item
from esmd.replay.workers import RecordReplay

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from esmd.config.schema import Config
    from esmd.mappings.outcomes import Outcome

STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"


def failure_record(**more: Any) -> str:
    return json.dumps(
        {
            "requestContext": {"functionArn": "arn:aws:lambda:us-east-1:000000000000:function:handle"},
            "KinesisBatchInfo": {
                "shardId": "shard",
                "startSequenceNumber": "3",
                "endSequenceNumber": "5",
                "batchSize": 3,
                "streamArn": STREAM,
            },
            **more,
        }
    )


class Stream:
    """A shard that has these records, or an error."""

    def __init__(self, numbers: Sequence[int], error: SourceError | None = None) -> None:
        self._numbers = numbers
        self._error = error

    async def iterator(self, shard_id: str, position: Any) -> str:
        if self._error is not None:
            raise self._error
        return "iterator"

    async def read(self, iterator: str, limit: int) -> Page:
        return Page(
            [
                {"SequenceNumber": str(n), "PartitionKey": "k", "Data": "e30=", "ApproximateArrivalTimestamp": 1.0}
                for n in self._numbers
            ],
            None,
        )


class Handlers:
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.invoked: list[tuple[str, list[str]]] = []

    async def invoke(self, function: str, event: bytes) -> Outcome:
        numbers = [record["kinesis"]["sequenceNumber"] for record in json.loads(event)["Records"]]
        self.invoked.append((function, numbers))
        return self.outcome


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configuration(tmp_path)


def configuration(folder: Path, **mapping: Any) -> Config:
    document = {
        "version": 1,
        "functions": {"handle": {"handler": "h:handle"}, "repair": {"handler": "h:repair"}},
        "mappings": {
            "orders": {
                "event_source_arn": STREAM,
                "function_name": "handle",
                "starting_position": "TRIM_HORIZON",
                **mapping,
            }
        },
    }
    (folder / "esmd.yaml").write_text(yaml.safe_dump(document))
    loaded = load([folder / "esmd.yaml"], environ={})
    assert loaded.config is not None
    return loaded.config


async def replayed(
    config: Config,
    text: str,
    *,
    numbers: Sequence[int] = (3, 4, 5),
    error: SourceError | None = None,
    outcome: Outcome | None = None,
    function: str | None = None,
    wanted: Callable[[Mapping[str, Any]], bool] = lambda _: True,
    dry_run: bool = False,
) -> tuple[Result, list[tuple[str, list[str]]]]:
    handlers = Handlers(outcome or Success(b"null"))
    stream: Any = Stream(numbers, error)
    worker = RecordReplay(
        config,
        handlers=handlers,
        stream_of=lambda arn: stream,
        function=function,
        wanted=wanted,
        pause=0,
        dry_run=dry_run,
    )
    [result] = await worker.work([Item("message", text)])
    return result, handlers.invoked


async def test_a_range_is_read_again_and_handled(config: Config):
    result, invoked = await replayed(config, failure_record())
    assert (result.status, invoked) == ("replayed", [("handle", ["3", "4", "5"])])
    result, invoked = await replayed(config, failure_record(), function="repair")
    assert (result.status, invoked[0][0]) == ("replayed", "repair")


async def test_what_is_left_of_an_expired_range_is_handled_and_called_expired(config: Config):
    result, invoked = await replayed(config, failure_record(), numbers=[4, 5, 6])
    assert (result.status, invoked) == ("expired", [("handle", ["4", "5"])])
    assert "only 2 left in the stream" in result.text
    result, invoked = await replayed(config, failure_record(), numbers=[6])
    assert (result.status, invoked) == ("expired", [])
    failed = FunctionError("exception", "ValueError", "no")
    result, _ = await replayed(config, failure_record(), numbers=[4], outcome=failed)
    assert result.status == "failed"


async def test_a_range_with_more_than_was_given_up_comes_in_events_of_that_size(config: Config):
    record = json.loads(failure_record())
    record["KinesisBatchInfo"]["batchSize"] = 2
    _, invoked = await replayed(config, json.dumps(record))
    assert [numbers for _, numbers in invoked] == [["3", "4"], ["5"]]


async def test_a_partial_answer_counts_where_the_mapping_says_so(tmp_path: Path):
    answer = Success(b'{"batchItemFailures": [{"itemIdentifier": "4"}]}')
    result, _ = await replayed(configuration(tmp_path), failure_record(), outcome=answer)
    assert result.status == "replayed"
    reporting = configuration(tmp_path, function_response_types=["ReportBatchItemFailures"])
    result, _ = await replayed(reporting, failure_record(), outcome=answer)
    assert (result.status, "1 of 3 records are done" in result.text) == ("failed", True)
    event = json.dumps({"Records": [{"kinesis": {"sequenceNumber": n}} for n in "345"]})
    result, _ = await replayed(reporting, failure_record(payload=event), outcome=answer)
    assert (result.status, "1 of 3 records are done" in result.text) == ("failed", True)


async def test_an_event_that_the_record_carries_is_not_read_again(config: Config):
    event = json.dumps({"Records": [{"kinesis": {"sequenceNumber": "3"}}]})
    broken = SourceError(Failure(Kind.RECONFIGURE, "AccessDenied", "no"))
    result, invoked = await replayed(config, failure_record(payload=event), error=broken)
    assert (result.status, invoked) == ("replayed", [("handle", ["3"])])


@pytest.mark.parametrize(
    ("text", "more", "status", "said"),
    [
        ("hello", {}, "kept", "not JSON"),
        (failure_record(), {"wanted": lambda record: "payload" in record}, "kept", "the filter does not match it"),
        (failure_record(), {"dry_run": True}, "planned", "3 for handle"),
        (
            failure_record(),
            {"error": SourceError(Failure(Kind.RECONFIGURE, "AccessDenied", "no right"))},
            "failed",
            "the stream cannot be read: AccessDenied: no right",
        ),
        (
            failure_record().replace("stream/orders", "stream/others").replace(":handle", ":gone"),
            {},
            "failed",
            "--function",
        ),
    ],
)
async def test_what_else_may_become_of_a_record(config: Config, text: str, more: Any, status: str, said: str):
    result, invoked = await replayed(config, text, **more)
    assert (result.status, said in result.text, invoked) == (status, True, []), result


# --- functions


class Function:
    def __init__(self, *outcomes: Outcome, limit: int = 1) -> None:
        self.limit = limit
        self.outcomes = list(outcomes)
        self.closed = False

    async def invoke(self, event: bytes, *, request_id: str) -> Outcome:
        print("printed by an inline handler")  # noqa: T201
        return self.outcomes.pop(0)

    async def close(self) -> None:
        self.closed = True


class Functions:
    def __init__(self, function: Function) -> None:
        self.made = {"handle": function}

    def get(self, name: str) -> Function:
        return self.made[name]


def handlers_of(function: Function, asked: list[str]) -> FunctionHandlers:
    async def allowed(name: str) -> None:
        asked.append(name)

    functions: Any = Functions(function)
    return FunctionHandlers(functions, allowed=allowed)


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("outcomes", "limit", "last"),
    [
        ([Throttled(), Unreachable("gone"), Success(b"1")], 1, Success(b"1")),
        ([Throttled()] * 4, 1, Throttled()),
        ([Throttled()], 0, Throttled()),
        ([FunctionError("exit", "x", "y")], 1, FunctionError("exit", "x", "y")),
    ],
)
async def test_what_never_ran_is_tried_again(
    outcomes: list[Outcome], limit: int, last: Outcome, capsys: pytest.CaptureFixture[str]
):
    function, asked = Function(*outcomes, limit=limit), list[str]()
    handlers = handlers_of(function, asked)
    assert await handlers.invoke("handle", b"{}") == last
    assert function.outcomes == []
    function.outcomes = [Success(b"2")]
    assert await handlers.invoke("handle", b"{}") == Success(b"2")
    assert asked == ["handle"], "asked once"
    await handlers.close()
    assert function.closed
    assert capsys.readouterr().out == "", "stdout is for the report"


# --- what is shown


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("term", "is_bar"), [("xterm", True), ("dumb", False)])
def test_a_terminal_that_can_draw_shows_a_bar_and_what_did_not_go_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], term: str, is_bar: bool
):
    screen = Screen()
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys, "stderr", screen)
    with Shown(7, limit=3) as shown:
        shown.say(Item("one", ""), Result("replayed", "fine"))
        shown.say(Item("two", ""), Result("failed", "[bad] no"))
    drawn, lines = screen.getvalue(), capsys.readouterr().out
    assert ("2/3" in drawn) == is_bar
    assert ("failed    two: [bad] no" in drawn) == is_bar
    assert "fine" not in drawn
    assert lines == ("" if is_bar else "replayed  one: fine\nfailed    two: [bad] no\n")
