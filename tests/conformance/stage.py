"""Runs every scenario of one subject on one server, all at once, and says of each what came of it."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from conformance.claims import Scenario, Seen, differences
from conformance.subjects import TIMEOUT, Job

from support.servers import Queue
from support.stream_world import World

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conformance.servers import Server
    from conformance.subjects import Subject

    from support.stream_world import Source

SETTLING = 3.0
"""Seconds for which nothing more may come once everything is as it should be: longer than a message is hidden."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a scenario; `why` unless it passed."""

    scenario: str
    verdict: Literal["pass", "fail", "cannot"]
    why: str = ""


def scenarios() -> list[Scenario]:
    """All of them."""
    text = Path(__file__).with_name("scenarios.yaml").read_text(encoding="utf-8")
    return [Scenario(**each) for each in yaml.safe_load(text)]


class Stage:
    """The sources of all scenarios on one server.

    Args:
        server: running.
        folder: for journals and whatever the subject leaves.
    """

    def __init__(self, server: Server, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._world = World(kinesis=server.kinesis, others=server.others)
        self._streams: dict[str, Source] = {}
        self._queues: dict[str, Queue] = {}
        self._dead: dict[str, Queue] = {}
        self._destinations: dict[str, Queue] = {}
        self._numbers: dict[str, list[int]] = {}
        self._records: dict[str, list[dict[str, Any]]] = {}

    def run(self, subject: Subject, chosen: Iterable[Scenario], *, within: float) -> list[Result]:
        """Run them; a scenario that has not come true by then has failed."""
        results, jobs = [], []
        with self._world:
            for scenario in chosen:
                if (reason := self._server.cannot.get(scenario.source)) is not None:
                    results.append(Result(scenario.name, "cannot", reason))
                else:
                    jobs.append(self._prepared(scenario))
            early = [job for job in jobs if job.scenario.source in {"kinesis", "table"} or job.scenario.together]
            for job in early:
                self._send(job)
            with subject.at_work(jobs, self._world, self._folder):
                for job in jobs:
                    if job not in early and job.refused is None:
                        self._send(job)
                found = self._watch([job for job in jobs if job.refused is None], within)
            results += [
                Result(job.scenario.name, "fail", f"refused: {job.refused}")
                if job.refused is not None
                else Result(
                    job.scenario.name,
                    "fail" if found[job.scenario.name] else "pass",
                    "; ".join(found[job.scenario.name]),
                )
                for job in jobs
            ]
        return sorted(results, key=lambda result: result.scenario)

    def _watch(self, jobs: list[Job], within: float) -> dict[str, list[str]]:
        """Wait until all is as it should be and stays so, or until the time is up; what is not."""
        deadline = time.monotonic() + within
        true_since: float | None = None
        while True:
            found = {job.scenario.name: differences(job.scenario.expect, self._seen(job)) for job in jobs}
            now = time.monotonic()
            if any(found.values()):
                true_since = None
            elif true_since is None:
                true_since = now
            if now >= deadline or (true_since is not None and now - true_since >= SETTLING):
                return found
            time.sleep(0.25)

    # --- sources

    def _prepared(self, scenario: Scenario) -> Job:
        name, source = scenario.name, self._source(scenario)
        mapping = json.loads(json.dumps(scenario.mapping))
        if "DestinationConfig" in mapping:
            self._destinations[name] = queue = self._world.make_queue("conf")
            mapping["DestinationConfig"]["OnFailure"]["Destination"] = queue.arn
        return Job(scenario, source, mapping, self._folder / f"{name}.jsonl")

    def _source(self, scenario: Scenario) -> str:
        if scenario.source == "kinesis":
            stream = self._world.make_stream("conf")
            self._streams[scenario.name] = stream
            return stream.arn
        if scenario.source == "table":
            table = self._world.make_table("conf")
            self._streams[scenario.name] = table
            return table.arn
        fifo = scenario.source == "fifo"
        dead = self._dead[scenario.name] = self._make_queue(fifo=fifo)
        most = scenario.queue.get("max_receive_count", 5)
        policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": most})
        hidden = str(scenario.queue.get("visibility_timeout", TIMEOUT))
        queue = self._make_queue(fifo=fifo, RedrivePolicy=policy, VisibilityTimeout=hidden)
        self._queues[scenario.name] = queue
        return queue.arn

    def _make_queue(self, *, fifo: bool, **attributes: str) -> Queue:
        sqs = self._world.client("sqs")
        name = f"conf-{uuid.uuid4().hex[:12]}{'.fifo' if fifo else ''}"
        attributes = {"VisibilityTimeout": str(TIMEOUT), **attributes, **({"FifoQueue": "true"} if fifo else {})}
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        return Queue(name, url, arn)

    def _send(self, job: Job) -> None:
        scenario, name = job.scenario, job.scenario.name
        match scenario.source:
            case "kinesis":
                for each in scenario.send:
                    self._world.put(self._streams[name], each, key=each.get("group", "k"))
            case "table":
                for each in scenario.send:
                    item = {"id": {"S": each.get("group", str(each["n"]))}, "n": {"N": str(each["n"])}}
                    self._world.write(self._streams[name], item | {"said": {"S": json.dumps(each)}})
            case _:
                self._send_messages(scenario)

    def _send_messages(self, scenario: Scenario) -> None:
        entries = []
        for place, each in enumerate(scenario.send):
            entry = {"Id": str(place), "MessageBody": each.get("text") or json.dumps(each)}
            if scenario.source == "fifo":
                entry |= {"MessageGroupId": each["group"], "MessageDeduplicationId": str(place)}
            entries.append(entry)
        sqs, url = self._world.client("sqs"), self._queues[scenario.name].url
        for start in range(0, len(entries), 10):
            sqs.send_message_batch(QueueUrl=url, Entries=entries[start : start + 10])

    # --- what came of it

    def _seen(self, job: Job) -> Seen:
        name = job.scenario.name
        journal = []
        if job.journal.exists():
            text = job.journal.read_text(encoding="utf-8")
            journal = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        if name in self._dead:
            numbers = self._numbers.setdefault(name, [])
            numbers += [json.loads(body)["n"] for body in self._bodies(self._dead[name])]
        if name in self._destinations:
            records = self._records.setdefault(name, [])
            records += [json.loads(body) for body in self._bodies(self._destinations[name])]
        return Seen(
            journal,
            self._left(self._queues[name]) if name in self._queues else None,
            self._numbers.get(name, []),
            self._records.get(name, []),
        )

    def _left(self, queue: Queue) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self._world.client("sqs").get_queue_attributes(QueueUrl=queue.url, AttributeNames=names)
        return sum(int(answer["Attributes"][each]) for each in names)

    def _bodies(self, queue: Queue) -> list[str]:
        sqs, bodies = self._world.client("sqs"), []
        while messages := sqs.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                bodies.append(message["Body"])
                sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=message["ReceiptHandle"])
        return bodies
