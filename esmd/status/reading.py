"""A snapshot read from what a daemon answers: `esmd.status.model` in JSON, of this version or a later one."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from esmd.status import model

T = TypeVar("T")

_PARTS: dict[type, dict[str, type]] = {
    model.Snapshot: {
        "daemon": model.DaemonStatus,
        "mappings": model.MappingStatus,
        "functions": model.FunctionStatus,
        "failures": model.Failure,
    },
    model.MappingStatus: {
        "last_error": model.LastError,
        "totals": model.Totals,
        "pace": model.Pace,
        "backlog": model.Backlog,
        "shards": model.ShardStatus,
    },
    model.Pace: {"last_10_s": model.Rates, "last_60_s": model.Rates},
    model.ShardStatus: {"blocked": model.BlockedStatus},
    model.Failure: {"lines": model.Line},
}
"""The members that are values of their own."""


def read(kind: type[T], value: Any) -> T:
    """A value of the model. Members that are not known here are passed over: a later version may have more.

    Raises:
        ValueError: it is not what this version understands.
    """
    if not isinstance(value, dict):
        raise ValueError(f"a {kind.__name__} was expected, not {str(value)[:80]!r}")  # noqa: TRY004 - it is data
    parts = _PARTS.get(kind, {})
    known: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type] # every kind here is a dataclass
        if field.name in value:
            known[field.name] = _member(parts.get(field.name), value[field.name])
    try:
        return kind(**known)
    except TypeError as error:
        raise ValueError(f"a {kind.__name__} without all of its members: {error}") from error


def _member(kind: type | None, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value if kind is None else (read(kind, each) for each in value))
    return value if kind is None or value is None else read(kind, value)
