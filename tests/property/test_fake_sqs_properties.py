"""Whatever is done to the fake SQS, no message is lost, doubled or out of order: checked against a slow, plain model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from esmd.testing.queues import QueueEngine
from esmd.testing.sqs_errors import SqsError

from support.examples import examples

GROUPS = st.sampled_from("abc")
MOST_RECEIVES = 3


@dataclass
class Expected:
    """What the model knows of a message."""

    order: int
    group: str
    place: str
    until: float
    receives: int = 0
    handles: list[str] = field(default_factory=list)


class EngineMachine(RuleBasedStateMachine):
    """Drives one queue with a dead-letter queue, FIFO or standard."""

    @initialize(fifo=st.booleans())
    def create(self, fifo: bool):
        self.now = 0.0
        self.fifo = fifo
        self.engine = QueueEngine(clock=lambda: self.now, epoch=0.0)
        suffix = ".fifo" if fifo else ""
        self.queue, self.dead = f"q{suffix}", f"dead{suffix}"
        kind: dict[str, object] = {"FifoQueue": True} if fifo else {}
        self.engine.create_queue(self.dead, kind)
        policy = {"deadLetterTargetArn": self.engine.queue_arn(self.dead), "maxReceiveCount": MOST_RECEIVES}
        self.engine.create_queue(self.queue, {**kind, "RedrivePolicy": policy})
        self.model: dict[str, Expected] = {}

    def expire(self):
        for message in self.model.values():
            if message.place in ("delayed", "inflight") and message.until <= self.now:
                message.place = "visible"

    def of_place(self, place: str) -> dict[str, Expected]:
        return {name: message for name, message in self.model.items() if message.place == place}

    def note_redriven(self):
        for name in self.engine._queues[self.dead].backlog.messages:
            message = self.model[name]
            assert message.place in ("visible", "dead")
            assert message.receives == MOST_RECEIVES
            message.place = "dead"

    @rule(group=GROUPS, delay=st.sampled_from([0, 0, 3]))
    def send(self, group: str, delay: int):
        options: dict[str, Any] = {"delay": delay}
        if self.fifo:
            delay = 0
            options = {"group": group, "deduplication": str(len(self.model))}
        name = self.engine.send(self.queue, "body", **options)["MessageId"]
        assert name not in self.model
        place = "delayed" if delay else "visible"
        self.model[name] = Expected(len(self.model), group, place, self.now + delay)

    @rule(limit=st.integers(1, 10), visibility=st.sampled_from([0, 1, 5, 30]))
    def receive(self, limit: int, visibility: int):
        self.expire()
        locked = {m.group for m in self.of_place("inflight").values()} if self.fifo else set()
        can_come = {
            name: message
            for name, message in self.of_place("visible").items()
            if message.receives < MOST_RECEIVES and message.group not in locked
        }
        received = self.engine.receive_now(self.queue, limit=limit, visibility=visibility)
        names = [message["MessageId"] for message in received]
        assert len(names) == len(set(names)) == min(limit, len(can_come))
        assert set(names) <= set(can_come)
        for answer in received:
            message = self.model[answer["MessageId"]]
            message.receives += 1
            message.place, message.until = "inflight", self.now + visibility
            message.handles.append(answer["ReceiptHandle"])
            assert answer["Attributes"]["ApproximateReceiveCount"] == str(message.receives)
        if self.fifo:
            for group in {self.model[name].group for name in names}:
                orders = [self.model[name].order for name in names if self.model[name].group == group]
                oldest = sorted(message.order for message in can_come.values() if message.group == group)
                assert orders == oldest[: len(orders)]
        self.note_redriven()

    @precondition(lambda self: any(message.handles for message in self.model.values()))
    @rule(data=st.data(), seconds=st.sampled_from([None, 0, 2, 30]))
    def settle(self, data: st.DataObject, seconds: int | None):
        """Delete (None) or change visibility, with any handle ever given."""
        self.expire()
        name = data.draw(st.sampled_from([n for n, message in self.model.items() if message.handles]))
        message = self.model[name]
        handle = data.draw(st.sampled_from(message.handles))
        is_newest = handle == message.handles[-1] and message.place in ("visible", "inflight")
        try:
            if seconds is None:
                self.engine.delete(self.queue, handle)
            else:
                self.engine.change_visibility(self.queue, handle, seconds)
        except SqsError:
            assert not is_newest or message.place == "visible"
            assert seconds is not None or self.fifo
            return
        if is_newest and seconds is None:
            message.place = "deleted"
        elif seconds is not None:
            assert is_newest
            message.until = self.now + seconds

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0, 31.0]))
    def wait(self, seconds: float):
        self.now += seconds

    @rule()
    def drain(self):
        """Everything that is left can still be received, and then the queue is empty."""
        self.now += 100.0
        self.expire()
        left = self.of_place("visible")
        while answers := self.engine.receive_now(self.queue, limit=10):
            for answer in answers:
                self.engine.delete(self.queue, answer["ReceiptHandle"])
                self.model[answer["MessageId"]].place = "deleted"
        self.note_redriven()
        assert all(message.place in ("deleted", "dead") for message in left.values())

    @invariant()
    def every_message_is_in_exactly_one_place(self):
        if not hasattr(self, "model"):
            return
        self.expire()
        counts = self.engine.counts(self.queue)
        assert counts.visible == len(self.of_place("visible"))
        assert counts.inflight == len(self.of_place("inflight"))
        assert counts.delayed == len(self.of_place("delayed"))
        assert counts.deleted == len(self.of_place("deleted"))
        assert counts.redriven == self.engine.counts(self.dead).visible == len(self.of_place("dead"))
        assert counts.sent == len(self.model)


EngineMachine.TestCase.settings = settings(
    max_examples=examples(150), stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestEngine = EngineMachine.TestCase
