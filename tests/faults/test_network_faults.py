"""Every fault of the way to the server, at every frequent call, on both clients: nothing is lost, streams stay in order.

One daemon for all tests of a client: it has to get over each fault, not merely to start anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from esmd.testing.proxy_faults import (
    Drip,
    Drop,
    Garbage,
    Mislabelled,
    Refuse,
    Repeat,
    Reset,
    Skewed,
    Stall,
    Truncated,
    Twice,
    expired_token,
    throttled,
)

from support.fault_stage import Stage, stage

if TYPE_CHECKING:
    from collections.abc import Iterator

FAULTS = {
    "500": Refuse(500),
    "503": Refuse(503, "ServiceUnavailable"),
    "throttled": throttled("GetRecords"),
    "expired token": expired_token(),
    "clock skew": Skewed(3600),
    "dropped before": Drop(),
    "dropped after": Drop(after_work=True),
    "reset before": Reset(),
    "reset after": Reset(after_work=True),
    "reset in mid-body": Reset(mid_body=True),
    "late": Stall(0.4),
    "no JSON": Garbage(),
    "no text": Garbage(b"\x00\xff\xfe{"),
    "no body": Garbage(b""),
    "another JSON": Garbage(b'{"Messages":"none","Records":7,"Failed":{}}'),
    "wrong content type": Mislabelled(),
    "half a body": Truncated(),
    "cut in mid-body": Truncated(mid_body=True),
    "dripping": Drip(pieces=10, pause=0.01),
    "asked twice": Twice(),
    "answered again": Repeat(),
}


@pytest.fixture(scope="module", params=["wire", "botocore"])
def faulty(request: pytest.FixtureRequest, ministack: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from stage(ministack, tmp_path_factory.mktemp(request.param), client=request.param)


@pytest.fixture(autouse=True)
def calm(faulty: Stage) -> Iterator[None]:
    yield
    faulty.calm()


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_records_survive_receives_and_reads_that_are(faulty: Stage, fault):
    armed = [faulty.strike("ReceiveMessage", fault), faulty.strike("GetRecords", fault)]
    bodies, numbers = faulty.send(12), faulty.put(7)
    faulty.await_delivered(numbers)
    faulty.await_handled(bodies)
    assert all(each.hits for each in armed)


# An old answer to a delete says nothing about this one: no network tells that lie, and nobody could know.
DELETES = {name: fault for name, fault in FAULTS.items() if fault != Repeat()}


@pytest.mark.parametrize("fault", DELETES.values(), ids=DELETES)
def test_records_survive_deletes_and_iterators_that_are(faulty: Stage, fault):
    armed = [faulty.strike("DeleteMessageBatch", fault), faulty.strike("GetShardIterator", fault)]
    faulty.strike("GetRecords", Refuse(400, "ExpiredIteratorException", "Iterator expired."), times=1)
    bodies, numbers = faulty.send(12), faulty.put(7)
    faulty.await_delivered(numbers)
    faulty.await_handled(bodies)
    assert all(each.hits for each in armed)


def test_an_endpoint_that_is_gone_for_a_while_is_said_and_healed(faulty: Stage):
    faulty.proxy.down()
    bodies, numbers = faulty.send(5), faulty.put(5)
    faulty.daemon.wait_for("mapping.unavailable", mapping="queue")
    faulty.proxy.up()
    faulty.await_handled(bodies)
    faulty.await_delivered(numbers)
    faulty.daemon.wait_for("mapping.recovered", mapping="queue")
