"""Several processes look like one daemon: sums, worst cases, and who did not answer."""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import dataclass, replace
from typing import Any

import pytest

from esmd.config.loader import load
from esmd.processes import status as fleet_status
from esmd.processes.status import FleetStatus
from esmd.status.history import FAILURES
from esmd.status.merging import merged
from esmd.status.model import Backlog, LastError

from support.status_lab import NOW, process, snapshot

VALUE = snapshot()
ORDERS, PAYMENTS, *_ = VALUE.mappings


def of(*mappings, **changes):
    return replace(VALUE, mappings=mappings, **changes)


def test_one_alone_is_as_it_was():
    assert merged(VALUE.daemon, [VALUE], at=VALUE.at).mappings[0] == ORDERS
    assert merged(VALUE.daemon, [VALUE], at=VALUE.at).functions == VALUE.functions


def test_numbers_are_added_and_ages_compared():
    other = replace(
        PAYMENTS,
        iterator_age_ms=5.0,
        shards=(replace(PAYMENTS.shards[0], shard="shardId-000000000009"),),
        pace=replace(PAYMENTS.pace, invoked=(1, 2), failed=(0, 1)),
    )
    [mapping] = merged(VALUE.daemon, [of(PAYMENTS), of(other)], at=NOW).mappings
    assert mapping.totals.received == 2 * PAYMENTS.totals.received
    assert mapping.pace.last_10_s.invoked == 2 * PAYMENTS.pace.last_10_s.invoked
    assert mapping.pace.invoked[-2:] == (PAYMENTS.pace.invoked[-2] + 1, PAYMENTS.pace.invoked[-1] + 2)
    assert len(mapping.pace.invoked) == 60
    assert mapping.in_flight == 2 * PAYMENTS.in_flight
    assert mapping.iterator_age_ms == 91_200.0
    assert [shard.shard[-1] for shard in mapping.shards] == ["0", "1", "2", "9"]
    [process_function, _] = merged(VALUE.daemon, [VALUE, VALUE], at=NOW).functions
    assert (process_function.limit, process_function.environments, process_function.invocations) == (10, 8, 24_100)
    assert process_function.duration_max_ms == 912.0


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (["Enabled", "Enabled"], "Enabled"),
        (["Enabled", "Enabling"], "Enabling"),
        (["Disabling", "Disabled"], "Disabling"),
    ],
)
def test_a_state_that_ends_by_itself_is_that_of_the_whole(states, state):
    parts = [of(replace(ORDERS, state=each)) for each in states]
    assert merged(VALUE.daemon, parts, at=NOW).mappings[0].state == state


def test_trouble_in_one_process_is_trouble():
    early, late = (LastError(error_type="E", error_message=text, at=at) for text, at in (("early", 1.0), ("late", 2.0)))
    one = replace(ORDERS, last_result="No records processed", last_error=late, backlog=Backlog(reason="slow"))
    two = replace(ORDERS, last_result="PROBLEM: Function call failed", last_error=early, reason="no function")
    three = replace(ORDERS, last_result="OK")
    [mapping] = merged(VALUE.daemon, [of(one), of(two), of(three)], at=NOW).mappings
    assert mapping.reason == "no function"
    assert mapping.last_error == late
    assert mapping.last_result == "PROBLEM: Function call failed"
    assert mapping.backlog == ORDERS.backlog


def test_failures_are_in_order_and_as_many_as_one_process_keeps():
    many = [
        replace(VALUE, failures=tuple(replace(VALUE.failures[0], at=float(n)) for n in range(start, 200, 2)[::-1]))
        for start in (0, 1)
    ]
    failures = merged(VALUE.daemon, many, at=NOW).failures
    assert [failure.at for failure in failures] == [float(n) for n in range(199, 199 - FAILURES, -1)]


# --- the parent asks


@dataclass
class FakeMember:
    number: int
    answer: Any = None
    hangs: bool = False
    state: str = "ready"
    unavailable: Any = ()

    async def ask(self, method: str) -> Any:
        assert method == "status"
        if self.hangs:
            await asyncio.Event().wait()
        return None if self.answer is None else pickle.loads(pickle.dumps(self.answer))  # noqa: S301 - our own


def chosen(tmp_path):
    text = """
version: 1
functions: {process: {handler: "a:b"}}
mappings:
  orders: {event_source_arn: "arn:aws:sqs:us-east-1:000000000000:orders", function_name: process}
  later: {event_source_arn: "arn:aws:sqs:us-east-1:000000000000:later", function_name: process, enabled: false}
"""
    (tmp_path / "esmd.yaml").write_text(text, encoding="utf-8")
    config = load([tmp_path / "esmd.yaml"], environ={}).config
    assert config is not None
    return list(config.mappings.values())


@pytest.mark.looptime
async def test_processes_that_do_not_answer_are_named_and_not_waited_for_long(tmp_path):
    members = [FakeMember(0, of(ORDERS)), FakeMember(1, of(ORDERS)), FakeMember(2), FakeMember(3, hangs=True)]
    source = FleetStatus(members, chosen=chosen(tmp_path), process=process(), wall=lambda: NOW)
    loop = asyncio.get_running_loop()
    began = loop.time()
    value = await source.snapshot()
    assert loop.time() - began == pytest.approx(fleet_status.ANSWER_SECONDS)
    assert value.daemon.processes == 4
    assert value.daemon.missing == (2, 3)
    orders, later = value.mappings
    assert orders.totals.received == 2 * ORDERS.totals.received
    assert (later.name, later.state) == ("later", "Disabled")


async def test_a_daemon_whose_processes_start_has_mappings_already(tmp_path):
    value = await FleetStatus([FakeMember(0)], chosen=chosen(tmp_path), process=process()).snapshot()
    assert [(m.name, m.state) for m in value.mappings] == [("orders", "Enabling"), ("later", "Disabled")]
    assert value.daemon.missing == (0,)


@pytest.mark.parametrize(
    ("members", "strict", "draining", "reasons"),
    [
        ([FakeMember(0), FakeMember(1)], False, False, {}),
        ([FakeMember(0), FakeMember(1, state="starting")], False, False, {"process 1": "it is starting"}),
        ([FakeMember(0, unavailable={"orders": True})], False, False, {}),
        ([FakeMember(0, unavailable={"orders": True})], True, False, {"orders": "it could not run"}),
        ([FakeMember(0, state="draining")], False, True, {"daemon": "it is draining"}),
    ],
)
async def test_ready_is_a_daemon_whose_processes_are(members, strict, draining, reasons):
    source = FleetStatus(members, chosen=[], process=process(draining=draining))
    assert source.unready(strict=strict) == reasons
