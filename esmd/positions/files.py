"""Positions as a JSON file: written by `esmd checkpoint export`, read by `import`, and what the API answers.

```json
{"esmd_checkpoint": 1, "mapping": "orders", "stream": {"arn": "...", "created_at": "..."}, "exported_at": 1769860800.0,
 "shards": [{"shard": "shardId-000000000000", "parents": [], "position": {"kind": "AFTER", "sequence_number": "4960"},
             "trouble": null, "window": null, "updated_at": 1769860700.0}]}
```

The number is the version of this form. `trouble` and `window` are JSON texts that only esmd reads.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from esmd.positions.errors import PositionsError
from esmd.state.position import Position
from esmd.state.protocol import ShardProgress, Stored, StreamIdentity

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1


@dataclass(frozen=True, slots=True)
class Exported:
    """A file's content: the positions of one mapping in one stream."""

    mapping: str
    stored: Stored


def document(mapping: str, stored: Stored, *, now: float) -> dict[str, Any]:
    """What the file of a mapping holds, as JSON values."""
    return {
        "esmd_checkpoint": VERSION,
        "mapping": mapping,
        "stream": {"arn": stored.identity.arn, "created_at": stored.identity.created_at},
        "exported_at": now,
        "shards": [_shard(each) for _, each in sorted(stored.shards.items())],
    }


def read(text: str | bytes) -> Exported:
    """The content of a file.

    Raises:
        PositionsError: it is none, of a newer esmd, or damaged; the message says where.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PositionsError(f"not JSON: {error}", hint="Files are made by esmd checkpoint export.") from error
    return from_document(value)


def from_document(value: Any) -> Exported:
    """The same of JSON values.

    Raises:
        PositionsError: see `read`.
    """
    if not isinstance(value, dict) or "esmd_checkpoint" not in value:
        raise PositionsError("no exported checkpoint", hint="Files are made by esmd checkpoint export.")
    version = value["esmd_checkpoint"]
    if version != VERSION:
        raise PositionsError(
            f"the file has version {version!r}, this esmd reads version {VERSION}", hint="Use the esmd that wrote it."
        )
    try:
        stream = value["stream"]
        shards = [_progress(each) for each in value["shards"]]
        identity = StreamIdentity(_text(stream["arn"]), _text(stream["created_at"]))
        exported = Exported(_text(value["mapping"]), Stored(identity, {each.shard_id: each for each in shards}))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PositionsError(f"the file is damaged: {type(error).__name__}: {error}") from error
    if len(exported.stored.shards) != len(shards):
        raise PositionsError("the file is damaged: a shard is in it twice")
    return exported


def check_stream(exported: Exported, now: StreamIdentity) -> None:
    """Refuse positions of another stream than the one there is: their numbers mean nothing in it.

    Raises:
        PositionsError: it is another one.
    """
    was = exported.stored.identity
    if was != now:
        what = (
            f"the stream {was.arn} as created at {was.created_at}, and it has been made anew at {now.created_at}"
            if was.arn == now.arn
            else f"the stream {was.arn}, and the mapping reads {now.arn}"
        )
        raise PositionsError(
            f"the positions are of {what}",
            hint="Sequence numbers mean nothing in another stream: move to a time instead, with esmd checkpoint set.",
        )


def _shard(progress: ShardProgress) -> dict[str, Any]:
    position = progress.position
    where: dict[str, Any] = {"kind": position.kind}
    if position.sequence_number is not None:
        where["sequence_number"] = position.sequence_number
    if position.timestamp is not None:
        where["timestamp"] = position.timestamp
    return {
        "shard": progress.shard_id,
        "parents": list(progress.parents),
        "position": where,
        "trouble": progress.trouble,
        "window": progress.window,
        "updated_at": progress.updated_at,
    }


def _progress(shard: Mapping[str, Any]) -> ShardProgress:
    where = shard["position"]
    return ShardProgress(
        shard_id=_text(shard["shard"]),
        parents=tuple(_text(parent) for parent in shard["parents"]),
        position=_position(where),
        trouble=None if shard["trouble"] is None else _text(shard["trouble"]),
        window=None if shard["window"] is None else _text(shard["window"]),
        updated_at=_number(shard["updated_at"]),
    )


def _position(where: Mapping[str, Any]) -> Position:
    kind = where["kind"]
    if kind not in ("TRIM_HORIZON", "LATEST", "AT_TIMESTAMP", "AFTER", "SHARD_END"):
        raise ValueError(f"there is no position {kind!r}")
    number, time = where.get("sequence_number"), where.get("timestamp")
    return Position(kind, None if number is None else _text(number), None if time is None else _number(time))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{value!r} is no number")
    return float(value)
