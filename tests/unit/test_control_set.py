"""The live set of mappings, step by step in virtual time: who runs, who drains, what is said and what is kept."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from esmd.config.report import Diagnostic
from esmd.config.schema import AwsSettings
from esmd.control.protocol import (
    ConflictError,
    ControlError,
    FromFileError,
    InUseError,
    InvalidError,
    NotFoundError,
)
from esmd.observe.mapping_events import BatchFailed, BatchSucceeded
from esmd.state.errors import StateError
from esmd.state.memory import MemoryStateStore
from esmd.state.registry import KeptMapping

from support.control_lab import ControlLab, config, function, mapping

pytestmark = pytest.mark.looptime

X = UUID("00000000-0000-4000-8000-000000000001")
Y = UUID("00000000-0000-4000-8000-000000000002")


async def lab_of(*mappings, **settings) -> ControlLab:
    return await ControlLab(config(*mappings), **settings).begin()


async def made(lab: ControlLab, uuid: UUID = X, queue: str = "api", **settings):
    return await lab.set.create(mapping("any", queue=queue, **settings), uuid=uuid, tags={"a": "b"})


# --- pausing


async def test_a_pause_stops_polling_at_once_and_is_over_when_what_runs_has_ended():
    lab = await lab_of(mapping("orders"), mapping("other"))
    entry = await lab.set.pause("orders")
    assert (entry.state, entry.paused) == ("Disabling", True)
    assert lab.running["orders"]._stop.is_set()
    before = asyncio.get_running_loop().time()
    settled = await lab.set.settled("orders")
    assert asyncio.get_running_loop().time() - before == pytest.approx(lab.drains_for)
    assert (settled.state, settled.paused, settled.trouble) == ("Disabled", True, None)
    assert lab.ended == [("orders", "paused")]
    assert lab.states()["other"] == "Enabled"
    assert lab.runs.count("other") == 1
    await lab.end()


async def test_resume_runs_it_again_and_a_resume_during_the_drain_waits_for_its_end():
    lab = await lab_of(mapping("orders"))
    await lab.set.pause("orders")
    await asyncio.sleep(1)
    entry = await lab.set.resume("orders")
    assert (entry.state, entry.paused) == ("Enabling", False)
    assert lab.runs == ["orders"]
    assert (await lab.set.settled("orders")).state == "Enabled"
    assert lab.runs == ["orders", "orders"]
    assert [event.name for event in lab.collector.said if "paus" in event.name or "resum" in event.name] == [
        "mapping.paused",
        "mapping.resumed",
    ]
    await lab.end()


async def test_a_pause_survives_the_daemon():
    store = MemoryStateStore()
    first = await lab_of(mapping("orders"), store=store)
    await first.set.pause("orders")
    await first.end()
    second = await lab_of(mapping("orders"), mapping("other"), store=store)
    assert second.states() == {"orders": "Disabled", "other": "Enabled"}
    assert [(event.mapping, event.reason) for event in second.said("mapping.disabled")] == [("orders", "paused")]
    await second.set.resume("orders")
    await second.end()
    third = await lab_of(mapping("orders"), store=store)
    assert third.states() == {"orders": "Enabled"}
    await third.end()


async def test_pausing_and_resuming_again_changes_nothing():
    lab = await lab_of(mapping("orders"))
    await lab.set.resume("orders")
    await lab.set.pause("orders")
    await lab.set.pause("orders")
    assert len(lab.said("mapping.paused")) == 1
    assert lab.said("mapping.resumed") == []
    await lab.end()


async def test_what_its_file_disables_cannot_be_resumed_here_and_the_answer_names_the_file():
    lab = await lab_of(mapping("orders", enabled=False))
    with pytest.raises(FromFileError, match=r"/etc/esmd\.yaml") as refused:
        await lab.set.resume("orders")
    assert "esmd reload" in refused.value.hint
    assert lab.states() == {"orders": "Disabled"}
    await lab.end()


async def test_an_unknown_mapping_is_not_found_and_those_there_are_named():
    lab = await lab_of(mapping("orders"))
    with pytest.raises(NotFoundError) as refused:
        await lab.set.pause("order")
    assert "orders" in refused.value.hint
    assert lab.set.runner("order") is None
    assert await lab.set.settled("order") is None
    await lab.end()


async def test_a_pause_that_cannot_be_kept_is_refused_and_polling_goes_on():
    class Full(MemoryStateStore):
        async def pause(self, uuid, since):
            raise StateError("the disk is full", hint="Make room.")

    lab = await lab_of(mapping("orders"), store=Full())
    with pytest.raises(ControlError) as refused:
        await lab.set.pause("orders")
    assert (refused.value.message, refused.value.hint) == ("the disk is full", "Make room.")
    assert lab.set.entry("orders").paused is False
    assert lab.states() == {"orders": "Enabled"}
    await lab.end()


# --- the API's mappings


async def test_a_mapping_of_the_api_lives_from_creating_to_gone():
    lab = await lab_of(mapping("orders"))
    entry = await made(lab)
    assert (entry.name, entry.uuid, entry.origin, entry.state) == (str(X), X, "api", "Creating")
    assert (entry.tags, entry.file, entry.last_result) == ({"a": "b"}, None, "No records processed")
    assert (await lab.set.settled(str(X))).state == "Enabled"
    lab.now = 2000.0
    entry = await lab.set.update(str(X), mapping("any", queue="api", batch_size=3))
    assert (entry.state, entry.last_modified, entry.tags) == ("Updating", 2000.0, {"a": "b"})
    assert (await lab.set.settled(str(X))).mapping.batch_size == 3
    assert lab.runs == ["orders", str(X), str(X)]
    entry = await lab.set.delete(str(X))
    assert entry.state == "Deleting"
    assert lab.states()[str(X)] == "Deleting"
    assert await lab.set.settled(str(X)) is None
    assert lab.states() == {"orders": "Enabled"}
    assert await lab.store.kept() == []
    await lab.end()


async def test_it_survives_the_daemon_with_its_times_and_tags():
    store = MemoryStateStore()
    first = await lab_of(store=store)
    await made(first)
    await made(first, Y, "later", enabled=False)
    first.now = 3000.0
    await first.set.tag(str(X), {"new": "tag"})
    await first.end()
    second = await lab_of(mapping("orders"), store=store)
    entries = second.set.entries()
    assert [entry.name for entry in entries] == ["orders", str(X), str(Y)]
    assert (entries[1].tags, entries[1].last_modified, entries[1].state) == ({"new": "tag"}, 1000.0, "Enabled")
    assert entries[2].state == "Disabled"
    await second.end()


async def test_a_mapping_that_cannot_be_read_is_said_and_kept():
    store = MemoryStateStore()
    broken = KeptMapping(uuid=str(X), settings='{"source": "sqs", "from": "the future"}', created_at=1, modified_at=1)
    await store.keep(broken)
    lab = await lab_of(mapping("orders"), store=store)
    assert [event.mapping for event in lab.said("mapping.unreadable")] == [str(X)]
    assert lab.states() == {"orders": "Enabled"}
    assert await store.kept() == [broken]
    await lab.end()


async def test_a_twin_and_an_unknown_function_are_refused_and_nothing_is_kept():
    lab = await lab_of(mapping("orders"))
    with pytest.raises(ConflictError) as refused:
        await made(lab, queue="orders")
    assert refused.value.twin.name == "orders"
    with pytest.raises(InvalidError, match="Function does not exist: nope"):
        await made(lab, function_name="nope")
    lab.forbidden = InvalidError("not a local endpoint")
    with pytest.raises(InvalidError, match="not a local endpoint"):
        await made(lab)
    assert await lab.store.kept() == []
    await lab.end()


async def test_while_a_change_is_under_way_another_one_is_refused():
    lab = await lab_of()
    await made(lab)
    for change in (lab.set.update(str(X), mapping("any", queue="api")), lab.set.delete(str(X))):
        with pytest.raises(InUseError):
            await change
    await lab.set.settled(str(X))
    await lab.set.delete(str(X))
    with pytest.raises(InUseError):
        await lab.set.delete(str(X))
    await lab.end()


async def test_mappings_of_files_are_changed_in_their_files():
    lab = await lab_of(mapping("orders"))
    for change in (
        lab.set.update("orders", mapping("orders")),
        lab.set.delete("orders"),
        lab.set.tag("orders", {}),
    ):
        with pytest.raises(FromFileError, match=r"/etc/esmd\.yaml"):
            await change
    await lab.end()


async def test_pausing_one_of_the_api_is_its_enabled():
    lab = await lab_of()
    await made(lab)
    await lab.set.settled(str(X))
    entry = await lab.set.pause(str(X).upper())
    assert (entry.state, entry.mapping.enabled, entry.paused) == ("Disabling", False, False)
    await lab.set.settled(str(X))
    entry = await lab.set.resume(str(X))
    assert (entry.state, entry.mapping.enabled) == ("Enabling", True)
    await lab.end()


# --- reloading


async def test_a_reload_touches_what_changed_and_nothing_else():
    lab = await lab_of(mapping("same"), mapping("changed"), mapping("gone"))
    lab.next = config(mapping("new"), mapping("changed", batch_size=5), mapping("same"))
    outcome = await lab.set.reload()
    assert (outcome.applied, outcome.added, outcome.changed, outcome.removed, outcome.unchanged) == (
        True,
        ("new",),
        ("changed",),
        ("gone",),
        1,
    )
    assert lab.states() == {"new": "Creating", "changed": "Updating", "same": "Enabled", "gone": "Deleting"}
    for name in ("new", "changed", "gone"):
        await lab.set.settled(name)
    assert lab.states() == {"new": "Enabled", "changed": "Enabled", "same": "Enabled"}
    assert lab.runs.count("same") == 1
    assert sorted(lab.ended) == [("changed", "updating"), ("gone", "removed")]
    await lab.end()


async def test_a_bad_file_changes_nothing_and_is_said_once():
    lab = await lab_of(mapping("orders"))
    lab.next = [Diagnostic(Path("esmd.yaml"), 3, 5, "mappings.x", "is wrong"), Diagnostic(Path("y"), 0, 0, "", "also")]
    outcome = await lab.set.reload()
    assert (outcome.applied, len(outcome.diagnostics)) == (False, 2)
    [rejected] = lab.said("config.rejected")
    assert rejected.errors == ("esmd.yaml:3:5: mappings.x: is wrong", "y: also")
    assert lab.said("config.reloaded") == []
    assert lab.runs == ["orders"]
    await lab.end()


async def test_a_changed_function_is_closed_when_all_its_mappings_have_drained_and_only_then_does_the_new_one_begin():
    lab = await lab_of(mapping("a"), mapping("b"), mapping("c", "g"))
    [old, _] = lab.workshop.every
    lab.next = config(
        mapping("a"), mapping("b"), mapping("c", "g"), functions={"f": function(timeout=9), "g": function()}
    )
    outcome = await lab.set.reload()
    assert (outcome.changed, outcome.functions, outcome.unchanged) == (("a", "b"), ("f",), 1)
    await asyncio.sleep(lab.drains_for - 1)
    assert not old.closed
    await lab.set.settled("a")
    await lab.set.settled("b")
    assert old.closed
    assert lab.workshop.functions["f"].settings.timeout == 9
    assert lab.runs == ["a", "b", "c", "a", "b"]
    await lab.end()


async def test_a_mapping_that_is_removed_and_added_while_it_drains_begins_when_that_is_over():
    lab = await lab_of(mapping("orders"))
    lab.next = config()
    await lab.set.reload()
    lab.next = config(mapping("orders", batch_size=3))
    await lab.set.reload()
    assert lab.runs == ["orders"]
    settled = await lab.set.settled("orders")
    assert (settled.state, settled.mapping.batch_size) == ("Enabled", 3)
    assert lab.states() == {"orders": "Enabled"}
    await lab.end()


async def test_what_cannot_change_is_named_and_the_rest_is_applied():
    lab = await lab_of(mapping("orders"))
    lab.next = config(mapping("orders", batch_size=2), aws=AwsSettings(endpoint_url="http://127.0.0.1:1"))
    outcome = await lab.set.reload()
    assert (outcome.restart_needed, outcome.changed) == (("aws.endpoint_url",), ("orders",))
    assert lab.said("config.needs_restart")[0].settings == ("aws.endpoint_url",)
    assert lab.set.config.aws.endpoint_url is None
    await lab.end()


async def test_a_file_may_not_take_the_place_or_the_function_of_a_mapping_of_the_api():
    lab = await lab_of(mapping("orders"))
    await made(lab, function_name="g")
    lab.next = config(
        mapping("orders"), mapping("twin", "g", queue="api"), functions={"f": function(), "g": function()}
    )
    outcome = await lab.set.reload()
    assert not outcome.applied
    assert "has the same source and function" in outcome.diagnostics[-1].message
    lab.next = config(mapping("orders"), functions={"f": function()})
    outcome = await lab.set.reload()
    assert not outcome.applied
    assert f"g is used by the mapping {X}" in outcome.diagnostics[-1].message
    assert lab.states() == {"orders": "Enabled", str(X): "Enabled"} or lab.states()[str(X)] == "Enabling"
    await lab.end()


async def test_at_the_start_a_mapping_of_the_api_gives_way_to_a_file_and_heals_with_it():
    store = MemoryStateStore()
    first = await lab_of(store=store)
    await made(first, X, "orders")
    await made(first, Y, "other", function_name="g")
    await first.end()
    lab = await ControlLab(config(mapping("orders"), functions={"f": function()}), store=store).begin()
    assert "orders has the same source" in lab.set.entry(str(X)).trouble
    assert lab.set.entry(str(Y)).trouble == "Function does not exist: g"
    lab.next = config(mapping("orders"), functions={"f": function(), "g": function()})
    await lab.set.reload()
    await lab.set.settled(str(Y))
    assert lab.set.entry(str(Y)).trouble is None
    await lab.end()


async def test_a_pause_follows_its_mapping_to_another_source_and_ends_with_it():
    lab = await lab_of(mapping("orders"))
    await lab.set.pause("orders")
    lab.next = config(mapping("orders", queue="moved"))
    await lab.set.reload()
    assert lab.set.entry("orders").paused
    assert list(await lab.store.pauses()) == [str(lab.set.entry("orders").uuid)]
    lab.next = config()
    await lab.set.reload()
    assert await lab.store.pauses() == {}
    await lab.end()


async def test_only_chosen_mappings_count():
    lab = await ControlLab(config(mapping("a"), mapping("b")), only=frozenset({"a"})).begin()
    lab.next = config(mapping("a"), mapping("b", batch_size=2), mapping("c"))
    outcome = await lab.set.reload()
    assert (outcome.added, outcome.changed, outcome.unchanged) == ((), (), 1)
    assert lab.states() == {"a": "Enabled"}
    await lab.end()


async def test_a_daemon_that_stops_takes_no_changes():
    lab = await lab_of(mapping("orders"))
    lab.slots.stop()
    for change in (lab.set.pause("orders"), lab.set.reload(), made(lab)):
        with pytest.raises(ControlError, match="the daemon is stopping"):
            await change
    await lab.end()


# --- results


async def test_the_last_result_is_that_of_the_last_batch():
    lab = await lab_of(mapping("orders"), mapping("other"))
    common = {"mapping": "orders", "function": "f", "batch_id": "1", "request_id": "2", "records": 1, "attempt": 1}
    failed = {"ids": (), "error_type": "X", "error_message": "", "next": "retry", "retry_in_s": 1.0}
    lab.telemetry.emit(BatchFailed(**common, **failed, duration_ms=1.0))
    assert lab.set.entry("orders").last_result == "PROBLEM: Function call failed"
    lab.telemetry.emit(BatchSucceeded(**common, duration_ms=1.0, cut="size"))
    assert lab.set.entry("orders").last_result == "OK"
    assert lab.set.entry("other").last_result == "No records processed"
    await lab.end()
