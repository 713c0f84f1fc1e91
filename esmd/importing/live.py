"""Event source mappings of a Lambda endpoint: `ListEventSourceMappings`, page by page, and `GetFunction` of what they invoke.

The functions stay where they are: each becomes a function of Lambda at that endpoint.

| found                                              | becomes                                  |
|----------------------------------------------------|------------------------------------------|
| a mapping of SQS, Kinesis or DynamoDB Streams      | the mapping `FUNCTION.SOURCE`            |
| one that is disabled, or about to be               | a mapping with `enabled: false`          |
| one that is being deleted                          | left out, with a warning                 |
| one of another source                              | left out, with a warning                 |
| one whose function does not exist                  | left out, with a warning                 |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esmd.config.report import Place
from esmd.config.values import lambda_parts, lambda_target, service_of
from esmd.importing.model import Imported, ImportedFunction, ImportedMapping, function_key, name_for
from esmd.importing.settings import SETTINGS, of_stream_itself, source_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from esmd.config.report import Report

_SERVICES = ("sqs", "kinesis", "dynamodb")

_DEFAULTS: dict[str, Any] = {
    "maximum_batching_window_in_seconds": 0,
    "parallelization_factor": 1,
    "maximum_record_age_in_seconds": -1,
    "maximum_retry_attempts": -1,
    "bisect_batch_on_function_error": False,
    "tumbling_window_in_seconds": 0,
}
"""Settings that the API names though nobody set them: left out, so that those which were set are seen."""

MOST_PAGES = 1000
"""Most pages that are asked for: an endpoint that never ends its list is not followed for ever."""


async def import_live(client: Any, *, source: Path, report: Report) -> Imported:
    """The mappings of an endpoint, and the functions that they invoke.

    Args:
        client: of Lambda.
        source: what to call the endpoint in messages.
        report: takes warnings about what is left out.

    Raises:
        Exception: what the client raises where the endpoint cannot be asked.
    """
    imported = Imported()
    functions: dict[str, ImportedFunction | None] = {}
    names: set[str] = set()
    async for found in _listed(client):
        place = Place(source, path=str(found.get("UUID", "")))
        arn, note = of_stream_itself(str(found.get("EventSourceArn") or ""))
        if found.get("State") == "Deleting":
            report.warning(place, "is being deleted: left out")
            continue
        if service_of(arn) not in _SERVICES:
            report.warning(place, f"reads {arn or 'no ARN'}, not SQS, Kinesis or DynamoDB Streams: left out")
            continue
        target = str(found.get("FunctionArn", ""))
        if target not in functions:
            functions[target] = await _function(client, target, place)
        function = functions[target]
        if function is None:
            report.warning(place, f"invokes {target}, which does not exist: left out")
            continue
        name = name_for(f"{function.name}.{source_name(arn)}", names)
        names.add(name)
        settings = {"event_source_arn": arn, "function_name": function.name, **_settings(found)}
        imported.mappings.append(
            ImportedMapping(name=name, settings=settings, place=place, notes=(note,) if note else ())
        )
    imported.functions += [each for each in functions.values() if each is not None]
    return imported


async def _listed(client: Any) -> AsyncIterator[dict[str, Any]]:
    marker: dict[str, str] = {}
    for _ in range(MOST_PAGES):
        page = await client.list_event_source_mappings(**marker)
        for each in page.get("EventSourceMappings", []):
            yield each
        if not page.get("NextMarker"):
            return
        marker = {"Marker": page["NextMarker"]}


async def _function(client: Any, target: str, place: Place) -> ImportedFunction | None:
    """The function at an ARN; None where there is none."""
    try:
        found = await client.get_function(FunctionName=target)
    except client.exceptions.ResourceNotFoundException:
        return None
    name, qualifier = lambda_parts(lambda_target(target))
    bare = name.rpartition(":")[2]
    is_version = qualifier is not None and qualifier != "$LATEST"
    runtime = found.get("Configuration", {}).get("Runtime")
    return ImportedFunction(
        name=function_key(f"{bare}-{qualifier}" if is_version else bare, place),
        settings={"lambda": f"{bare}:{qualifier}" if is_version else bare},
        place=place,
        notes=(f"runtime {runtime}: invoked through Lambda's API",) if runtime else (),
    )


def _settings(found: dict[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for api_name, (own_name, read) in SETTINGS.items():
        value = found.get(api_name)
        if api_name in ("EventSourceArn", "Enabled") or value is None or (value := read(value)) is None:
            continue
        if own_name not in _DEFAULTS or value != _DEFAULTS[own_name]:
            settings[own_name] = value
    if found.get("State") in ("Disabled", "Disabling"):
        settings["enabled"] = False
    return settings
