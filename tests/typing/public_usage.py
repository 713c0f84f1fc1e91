"""What users write against esmd, as mypy must understand it. Checked by `test_typing.py`, never run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, assert_type

from esmd.config.loader import Loaded, load
from esmd.mappings.filters import RecordFilter, compile_filters
from esmd.mappings.patterns import InvalidPattern, compile_pattern
from esmd.pollers.errors import Failure, Kind, classify
from esmd.testing.embedded import EmbeddedAws
from esmd.testing.fake_sqs import FakeSqs
from esmd.testing.faults import FailEntries, Refuse

if TYPE_CHECKING:
    from pathlib import Path

    from esmd.config.report import Diagnostic
    from esmd.config.schema import Config
    from esmd.mappings.outcomes import Outcome


def configuration(path: Path) -> list[str]:
    loaded = load([path], environ=os.environ)
    assert_type(loaded, Loaded)
    if loaded.config is None:
        problems: list[Diagnostic] = list(loaded.diagnostics)
        return [f"{each.file}:{each.line}:{each.column}: {each.message}" for each in problems]
    config: Config = loaded.config
    return [f"{name}: {mapping.batch_size}" for name, mapping in config.mappings.items() if mapping.enabled]


def filters(records: list[dict[str, object]]) -> list[dict[str, object]]:
    try:
        chosen = compile_filters(['{"body": {"type": ["order"]}}'], source="sqs")
    except InvalidPattern as error:
        assert_type(error.aws_message, str)
        return []
    assert_type(chosen, RecordFilter)
    assert_type(chosen.is_empty, bool)
    return [record for record in records if chosen.matches(record)]


def pattern(event: dict[str, object]) -> bool:
    return compile_pattern('{"kind": ["order"]}').matches(event)


def errors(error: Exception) -> bool:
    failure = classify(error)
    assert_type(failure, Failure)
    return failure.kind is Kind.BACK_OFF


def outcomes(outcome: Outcome) -> str:
    match outcome:
        case _ if hasattr(outcome, "payload"):
            return "answered"
        case _:
            return "failed"


async def servers() -> None:
    async with FakeSqs() as fake:
        assert_type(fake.endpoint_url, str)
        fake.engine.create_queue("orders", {"VisibilityTimeout": "30"})
        fake.faults.add("ReceiveMessage", Refuse(503), times=3)
        fake.faults.add("DeleteMessageBatch", FailEntries(frozenset({0})))
        assert_type(fake.calls["ReceiveMessage"], int)
    async with EmbeddedAws() as aws:
        assert_type(aws.endpoint_url, str)


def mistakes(path: Path) -> None:
    load(path, environ=os.environ)  # type: ignore[arg-type]  # several paths, not one
    load([path])  # type: ignore[call-arg]  # the environment is given, never taken
    compile_filters(["{}"], source="s3")  # type: ignore[arg-type]  # no such source
    compile_filters(["{}"], "sqs")  # type: ignore[call-arg]  # options are named
