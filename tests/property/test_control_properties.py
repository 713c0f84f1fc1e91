"""A live set of mappings under any sequence of changes, against a model, in virtual time.

The lab itself fails where a mapping runs twice at once, or a function is closed under a batch.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

import looptime
from hypothesis import given, settings
from hypothesis import strategies as st

from esmd.config.schema import DynamoDbMapping, KinesisMapping, SqsMapping
from esmd.control.members import Member, member_of
from esmd.control.protocol import ConflictError, ControlError, InUseError
from esmd.state.memory import MemoryStateStore

from support.control_lab import ControlLab, config, function, mapping
from support.examples import examples

if TYPE_CHECKING:
    from esmd.config.schema import Config

FILE_NAMES = ("a", "b", "c")
UUIDS = tuple(UUID(f"00000000-0000-4000-8000-00000000000{n}") for n in range(3))

configurations = st.builds(
    lambda mappings, timeouts: config(
        *(mapping(name, f, batch_size=size, enabled=enabled) for name, (f, size, enabled) in mappings.items()),
        functions={name: function(timeout=each) for name, each in zip("fg", timeouts, strict=True)},
    ),
    st.dictionaries(
        st.sampled_from(FILE_NAMES),
        st.tuples(st.sampled_from("fg"), st.integers(1, 2), st.booleans()),
        max_size=3,
    ),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
)

steps = st.one_of(
    st.tuples(st.just("reload"), configurations),
    st.tuples(st.sampled_from(["pause", "resume"]), st.sampled_from([*FILE_NAMES, *map(str, UUIDS)])),
    st.tuples(st.just("create"), st.sampled_from(UUIDS), st.sampled_from("fg"), st.booleans()),
    st.tuples(st.just("update"), st.sampled_from(UUIDS), st.sampled_from("fg"), st.integers(1, 2), st.booleans()),
    st.tuples(st.just("delete"), st.sampled_from(UUIDS)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.5, 1.5, 6.0, 20.0])),
    st.tuples(st.just("restart")),
)


@dataclass
class Model:
    """What is to be: settings by name, and what is paused."""

    files: dict[str, Any]
    made: dict[str, Any] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)

    def states(self) -> dict[str, str]:
        runs = {
            **{name: each.enabled and name not in self.paused for name, each in self.files.items()},
            **{name: each.enabled for name, each in self.made.items()},
        }
        return {name: "Enabled" if value else "Disabled" for name, value in runs.items()}


async def step(lab: ControlLab, model: Model, what: str, *arguments: Any) -> None:
    """Do one thing, and note in the model what it is to lead to."""
    live = lab.set
    if what == "reload":
        [lab.next] = arguments
        outcome = await live.reload()
        assert outcome.applied
        model.files = dict(lab.next.mappings)
        model.paused &= set(model.files)
    elif what in {"pause", "resume"}:
        [name] = arguments
        await (live.pause(name) if what == "pause" else live.resume(name))
        if name in model.made:
            model.made[name] = model.made[name].model_copy(update={"enabled": what == "resume"})
        elif what == "pause":
            model.paused.add(name)
        else:
            model.paused.discard(name)
    elif what == "create":
        uuid, f, enabled = arguments
        wanted = mapping("any", f, queue=f"api-{uuid}", enabled=enabled)
        await live.create(wanted, uuid=uuid, tags={})
        model.made[str(uuid)] = wanted
    elif what == "update":
        uuid, f, size, enabled = arguments
        wanted = mapping("any", f, queue=f"api-{uuid}", batch_size=size, enabled=enabled)
        await live.update(str(uuid), wanted)
        model.made[str(uuid)] = wanted
    elif what == "delete":
        await live.delete(str(arguments[0]))
        del model.made[str(arguments[0])]
    else:
        await asyncio.sleep(*arguments)


async def act(first: Config, plan: list[tuple[Any, ...]]) -> None:
    store = MemoryStateStore()
    current = first
    lab = await ControlLab(first, store=store).begin()
    model = Model(dict(first.mappings))
    for what, *arguments in plan:
        if what == "restart":
            await lab.end()
            lab = await ControlLab(current, store=store).begin()
            continue
        try:
            await step(lab, model, what, *arguments)
        except (ConflictError, InUseError):
            assert what in {"create", "update", "delete"}
        except ControlError:
            assert what != "reload"  # it is there no more, or its file disables it
        if what == "reload":
            current = arguments[0]
    for name in list(lab.states()):
        await lab.set.settled(name)
    assert lab.states() == model.states()
    for name, wanted in {**model.files, **model.made}.items():
        shown = lab.set.entry(name).mapping
        assert (shown.batch_size, shown.function_name) == (wanted.batch_size, wanted.function_name)
        if name in lab.running:
            running = lab.running[name]
            assert running.mapping.batch_size == wanted.batch_size
            assert running._function.settings == lab.set.config.functions[wanted.function_name]
    assert set(lab.running) == {name for name, state in model.states().items() if state == "Enabled"}
    await asyncio.sleep(1)  # what was used until just now is being closed
    in_use = {id(each) for each in lab.workshop.functions.values()}
    assert all(each.closed for each in lab.workshop.every if id(each) not in in_use)
    await lab.end()


@settings(max_examples=examples(80))
@given(first=configurations, plan=st.lists(steps, max_size=12))
def test_whatever_is_asked_for_in_the_end_what_is_wanted_runs_once_with_its_latest_settings(first, plan):
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(act(first, plan))


# --- how mappings of the API are kept

common = {
    "name": st.uuids().map(str),
    "enabled": st.booleans(),
    "batch_size": st.integers(1, 10),
    "function_name": st.just("f"),
    "tags": st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), max_size=2),
    "function_response_types": st.sampled_from([(), ("ReportBatchItemFailures",)]),
}
STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/tab/stream/2026-01-01T00:00:00.000"
patterns = st.sampled_from([{}, {"filter_criteria": {"filters": ({"pattern": '{"body": {"ü": [1.0]}}'},)}}])
streams = {
    "starting_position": st.sampled_from(["TRIM_HORIZON", "LATEST"]),
    "maximum_retry_attempts": st.integers(-1, 100),
    "parallelization_factor": st.integers(1, 10),
    "destination_config": st.sampled_from(
        [{}, {"on_failure": {"destination": "arn:aws:sqs:us-east-1:000000000000:dlq"}}]
    ),
}


@given(
    st.one_of(
        st.tuples(
            st.just(SqsMapping),
            st.fixed_dictionaries(
                {
                    **common,
                    "event_source_arn": st.just("arn:aws:sqs:us-east-1:000000000000:q"),
                    "scaling_config": st.sampled_from([{}, {"maximum_concurrency": 5}]),
                    "retry_backoff": st.sampled_from([None, {}, {"initial": 1.5}]),
                }
            ),
            patterns,
        ),
        st.tuples(
            st.just(KinesisMapping),
            st.fixed_dictionaries({**common, **streams, "event_source_arn": st.just(STREAM)}),
            patterns,
        ),
        st.tuples(
            st.just(DynamoDbMapping),
            st.fixed_dictionaries({**common, **streams, "event_source_arn": st.just(TABLE)}),
            patterns,
        ),
    )
)
def test_a_mapping_that_was_kept_comes_back_as_it_was(made):
    model, values, more = made
    before = model.model_validate({**values, **more})
    member = Member(
        name=before.name,
        uuid=UUID(before.name),
        mapping=before,
        origin="api",
        created_at=1.0,
        modified_at=2.0,
    )
    after = member_of(member.kept())
    assert after.mapping == before
    assert (after.uuid, after.created_at, after.modified_at) == (member.uuid, 1.0, 2.0)
