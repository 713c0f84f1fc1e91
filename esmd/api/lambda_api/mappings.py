"""What a request makes of a mapping: one that is created, one that is updated, its tags.

| on Update                                            | means                                                           |
|------------------------------------------------------|-----------------------------------------------------------------|
| a member that is left out, or null                   | stays as it is                                                  |
| `FilterCriteria`, `ScalingConfig`, `DestinationConfig`, `ProvisionedPollerConfig`, `MetricsConfig` as `{}` | cleared |
| `KMSKeyArn` as `""`                                  | cleared                                                         |
| any other member                                     | replaces what was there, as a whole                             |
| a member that only Create has, with the value it has | nothing                                                         |
| ... with another value                               | refused                                                         |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esmd.api.lambda_api.answers import configuration
from esmd.api.lambda_api.errors import LambdaError, constraint, invalid
from esmd.api.lambda_api.members import fields_of, validated
from esmd.config.kinds import kind_reading
from esmd.config.values import service_of, unsupported_source

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from esmd.config.schema import AnyMapping
    from esmd.config.validation import Kind
    from esmd.control.protocol import Entry

CREATE_ONLY = (
    "EventSourceArn",
    "StartingPosition",
    "StartingPositionTimestamp",
    "Tags",
    "Topics",
    "Queues",
    "SelfManagedEventSource",
)
"""Members that Update does not have [specification D.2]."""

_CLEARED: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
    ("ProvisionedPollerConfig", "provisioned_poller_config", ({},)),
    ("MetricsConfig", "metrics_config", ({}, {"Metrics": []})),
    ("KMSKeyArn", "kms_key_arn", ("",)),
)
"""Members whose empty value means none, where an empty section of a file would mean defaults."""

_NO_SOURCE = "Unrecognized event source."


def created(document: Mapping[str, Any], *, uuid: UUID) -> tuple[AnyMapping, dict[str, str]]:
    """The mapping that a Create asks for, and its tags, which are kept beside it.

    Raises:
        LambdaError: AWS's error, where it has one.
    """
    if document.get("FunctionName") is None:
        raise constraint("null", "functionName", "Member must not be null")
    arn = document.get("EventSourceArn")
    if arn is None and document.get("SelfManagedEventSource") is not None:
        raise invalid(unsupported_source("kafka"))
    if not arn:
        raise invalid(_NO_SOURCE)
    kind = _kind(arn)
    data = _settings(kind, document)
    mapping = validated(kind, {**data, "name": str(uuid)})
    return mapping.model_copy(update={"tags": {}}), dict(mapping.tags)


def updated(entry: Entry, document: Mapping[str, Any]) -> AnyMapping:
    """The mapping that an Update makes of one.

    Raises:
        LambdaError: AWS's error, where it has one.
    """
    shown = {**configuration(entry), "Tags": dict(entry.tags)}
    kept = dict(document)
    for name in CREATE_ONLY:
        value = kept.pop(name, None)
        if value is not None and value != shown.get(name):
            raise invalid(f"{name} cannot be changed: delete the event source mapping and create another one.")
    kind = _kind(entry.mapping.event_source_arn)
    data = _settings(kind, kept)
    return validated(kind, {**entry.mapping.model_dump(), **data})


def with_tags(entry: Entry, tags: Mapping[str, str]) -> dict[str, str]:
    """All tags that a mapping then has, checked by AWS's rules.

    Raises:
        LambdaError: they break them.
    """
    kind = _kind(entry.mapping.event_source_arn)
    checked = validated(kind, {**entry.mapping.model_dump(), "tags": dict(tags)})
    return dict(checked.tags)


def _settings(kind: Kind[AnyMapping], document: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(document)
    cleared: dict[str, Any] = {}
    for member, name, empty in _CLEARED:
        if name in kind.model.model_fields and kept.get(member) in empty:
            del kept[member]
            cleared[name] = None
    return {**fields_of(kind, kept), **cleared}


def _kind(arn: Any) -> Kind[AnyMapping]:
    if not isinstance(arn, str):
        token = "list" if isinstance(arn, list) else "value"
        raise LambdaError("SerializationException", f"EventSourceArn: a String was expected, not a {token}")
    service = service_of(arn)
    kind = kind_reading(service) or (None if service else kind_reading("sqs"))  # AWS's pattern refuses what is no ARN
    if kind is None:
        message = unsupported_source(service)
        raise invalid(_NO_SOURCE if message.startswith("Unrecognized") else message)
    return kind
