"""One mapping of a running daemon with all that is known of it, and how one of the API is kept."""

from __future__ import annotations

import asyncio
import json
import uuid as uuids
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

from pydantic import ValidationError

from esmd.config.schema import AnyMapping
from esmd.state.registry import KeptMapping

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from esmd.control.protocol import Origin
    from esmd.control.slot import Slot
    from esmd.observe.mapping_events import DisabledBecause

_NAMESPACE = uuids.UUID("b1a4c7d2-52a5-4d0c-9f4c-6c7d1b1f0e5d")
"""Of the UUIDs of mappings in files."""

_MODELS = {model.source: model for model in get_args(AnyMapping)}


@dataclass(slots=True, kw_only=True)
class Member:
    """What the set keeps of a mapping; times in epoch seconds."""

    name: str
    uuid: UUID
    mapping: AnyMapping
    origin: Origin
    file: Path | None = None
    paused: bool = False
    refusal: str | None = None
    """Why it may not run though it is enabled; None where nothing speaks against it."""
    created_at: float
    modified_at: float
    slot: Slot = field(init=False)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it was deleted, has drained, and is forgotten."""

    @property
    def held(self) -> DisabledBecause | None:
        """Why it is not to run; None where it is to."""
        if not self.mapping.enabled:
            return "configuration"
        return "paused" if self.paused else None

    def kept(self) -> KeptMapping:
        """How the registry keeps it."""
        settings = json.dumps(
            {"source": self.mapping.source, **json.loads(self.mapping.model_dump_json(by_alias=True))}
        )
        return KeptMapping(uuid=self.name, settings=settings, created_at=self.created_at, modified_at=self.modified_at)


def uuid_of(name: str, event_source_arn: str) -> UUID:
    """The UUID of a mapping in a file: the same in every run, another one for another source."""
    return uuids.uuid5(_NAMESPACE, f"{name}\n{event_source_arn}")


def member_of(kept: KeptMapping) -> Member:
    """The mapping that the registry keeps.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        settings = json.loads(kept.settings)
        model = _MODELS[settings.pop("source")]
        mapping = model.model_validate_json(json.dumps(settings))
        uuid = uuids.UUID(kept.uuid)
    except (ValidationError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(str(error)) from error
    return Member(
        name=kept.uuid,
        uuid=uuid,
        mapping=mapping,
        origin="api",
        created_at=kept.created_at,
        modified_at=kept.modified_at,
    )
