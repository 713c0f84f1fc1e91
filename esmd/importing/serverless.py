"""Event source mappings of a serverless.yml: the events `sqs` and `stream` of its functions.

| event                                                   | becomes                                                  |
|---------------------------------------------------------|----------------------------------------------------------|
| `sqs`                                                   | the mapping `FUNCTION.QUEUE`                             |
| `stream`                                                | the mapping `FUNCTION.STREAM`, or `FUNCTION.TABLE`       |
| `msk`, `kafka`, `activemq`, `rabbitmq`, `documentdb`    | refused                                                  |
| any other                                               | left out, with a warning                                 |

What an event leaves out is what the Serverless Framework takes: batches of 10, and TRIM_HORIZON for streams. A function
has 6 seconds. Variables are filled in by `esmd.importing.variables`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from esmd.config.binding import suggestion
from esmd.config.document import Listing, Node, Scalar, Table
from esmd.config.report import shown
from esmd.importing.intrinsics import NOTHING
from esmd.importing.model import Imported, ImportedFunction, ImportedMapping, Refused, function_key, name_for
from esmd.importing.resources import DEFAULTS, Resources
from esmd.importing.runtimes import Code, form_of
from esmd.importing.settings import flag, of_stream_itself, source_name, whole
from esmd.importing.template import Template, get, template_of
from esmd.importing.variables import Variables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from esmd.config.report import Place, Report

_OTHER_SOURCES = ("msk", "kafka", "activemq", "rabbitmq", "documentdb")
_TIMEOUT: Final = 6
"""Seconds that the framework gives a function."""

_RUNTIME: Final = "nodejs"
"""The kind of runtime that it takes where none is named."""


def _same(value: Any) -> Any:
    return value


def _patterns(value: Any) -> Any:
    patterns = value if isinstance(value, list) else [value]
    return {"filters": [{"pattern": pattern} for pattern in patterns]} if patterns else None


def _response(value: Any) -> Any:
    return [value] if value else None


def _concurrency(value: Any) -> Any:
    return {"maximum_concurrency": whole(value)}


def _provisioned(value: Any) -> Any:
    names = {"minimumPollers": "minimum_pollers", "maximumPollers": "maximum_pollers"}
    if not isinstance(value, dict):
        return value
    return {own: whole(value[name]) for name, own in names.items() if name in value} or None


def _destination(value: Any) -> Any:
    on_failure = value.get("onFailure") if isinstance(value, dict) else None
    arn = on_failure.get("arn") if isinstance(on_failure, dict) else on_failure
    return {"on_failure": {"destination": arn}} if arn else None


_SHARED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "enabled": ("enabled", flag),
    "batchSize": ("batch_size", whole),
    "functionResponseType": ("function_response_types", _response),
    "filterPatterns": ("filter_criteria", _patterns),
}
_SETTINGS: dict[str, dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "sqs": {
        **_SHARED,
        "maximumBatchingWindow": ("maximum_batching_window_in_seconds", whole),
        "maximumConcurrency": ("scaling_config", _concurrency),
        "provisioned": ("provisioned_poller_config", _provisioned),
    },
    "stream": {
        **_SHARED,
        "batchWindow": ("maximum_batching_window_in_seconds", whole),
        "startingPosition": ("starting_position", _same),
        "startingPositionTimestamp": ("starting_position_timestamp", _same),
        "parallelizationFactor": ("parallelization_factor", whole),
        "maximumRetryAttempts": ("maximum_retry_attempts", whole),
        "maximumRecordAgeInSeconds": ("maximum_record_age_in_seconds", whole),
        "bisectBatchOnFunctionError": ("bisect_batch_on_function_error", flag),
        "tumblingWindowInSeconds": ("tumbling_window_in_seconds", whole),
        "destinations": ("destination_config", _destination),
    },
}
"""The framework's name of each setting, with that of the configuration and how its value is read."""

_DEFAULTS: dict[str, dict[str, Any]] = {
    "sqs": {"batch_size": 10},
    "stream": {"starting_position": "TRIM_HORIZON", "batch_size": 10},
}


def import_serverless(
    file: Path,
    root: Table,
    *,
    options: Mapping[str, str],
    environ: Mapping[str, str],
    folder: Path,
    report: Report,
    account: str | None = None,
) -> Imported:
    """The mappings of a serverless.yml, and the functions that they invoke; problems are reported, never raised.

    Args:
        file: as the user named it.
        root: what it holds.
        options: what `${opt:...}` is; `stage` and `region` win over those of the provider.
        environ: what `${env:...}` is.
        folder: where the configuration will stand: paths are relative to it.
        report: takes errors, and warnings about what is left out.
        account: of ARNs.
    """
    imported = Imported()
    try:
        _Import(file, root, options, environ, folder, report, account, imported).run()
    except Refused as refused:
        report.error(refused.place, refused.message, hint=refused.hint)
    return imported


class _Import:
    def __init__(  # noqa: PLR0917 - made in one place
        self,
        file: Path,
        root: Table,
        options: Mapping[str, str],
        environ: Mapping[str, str],
        folder: Path,
        report: Report,
        account: str | None,
        imported: Imported,
    ) -> None:
        self._file = file
        self._folder = folder
        self._report = report
        self._imported = imported
        self._names: set[str] = set()
        template = _resources_of(file, root, report)
        pseudo = {**DEFAULTS, "AWS::AccountId": account or DEFAULTS["AWS::AccountId"]}
        self._values = Variables(root, template, options=options, environ=environ, pseudo=pseudo)
        self._resources = self._values.resources = Resources(template, self._values, pseudo)
        region = options.get("region") or self._text_at("provider", "region")
        pseudo |= {"AWS::Region": region} if region else {}
        self._service = self._text_at("service") or self._text_at("service", "name") or "service"
        pseudo["AWS::StackName"] = f"{self._service}-{self._values.stage}"

    def run(self) -> None:
        functions = self._values.found("functions")
        for part in functions.items if isinstance(functions, Listing) else (functions,):
            if isinstance(part, Scalar) and part.text not in ("", "~", "null"):
                self._try(partial(self._values.value, part))  # a ${file(...)} says what it is
            for key, node in part.entries if isinstance(part, Table) else ():
                if isinstance(node, Table):
                    self._try(partial(self._function, key, node))
                elif isinstance(node, Scalar) and node.text not in ("", "~", "null"):
                    self._try(partial(self._values.value, node))
        for name, made_up in self._resources.made_up.items():
            self._report.warning(self._place(functions), f"{name} has no name of its own: called {made_up} here")

    def _try(self, read: Callable[[], object]) -> None:
        try:
            read()
        except Refused as refused:
            self._report.error(refused.place, refused.message, hint=refused.hint)

    def _place(self, node: Node | None, path: str = "") -> Place:
        return Template(self._file).place(node if node is not None else Table(0, 0, ()), path)

    def _text_at(self, *path: str) -> str:
        node = self._values.found(*path)
        return self._values.text(node) if isinstance(node, Scalar) and node.text not in ("", "~", "null") else ""

    # --- functions

    def _function(self, key: Scalar, node: Table) -> None:
        path = f"functions.{key.text}"
        events = get(node, "events")
        if not isinstance(events, Listing):
            if isinstance(events, Scalar):
                self._values.value(events)  # a ${file(...)} says what it is
            return
        kinds = [each.entries[0][0].text for each in events.items if isinstance(each, Table) and each.entries]
        if not {*_SETTINGS, *_OTHER_SOURCES} & set(kinds):
            return  # nothing of it is imported, so that nothing of it is missed
        found = [self._event(key, event, path) for event in events.items]
        mappings = [each for each in found if each is not None]
        if not mappings:
            return
        function = self._registered(key, node, path)
        for name, place, settings, note in mappings:
            mapping = ImportedMapping(
                name=name_for(f"{key.text}.{name}", self._names),
                settings={
                    "event_source_arn": settings.pop("event_source_arn"),
                    "function_name": function.name,
                    **settings,
                },
                place=place,
                notes=(note,) if note else (),
            )
            self._names.add(mapping.name)
            self._imported.mappings.append(mapping)

    def _registered(self, key: Scalar, node: Table, path: str) -> ImportedFunction:
        place = self._place(key, path)
        handler = self._own(node, "handler")
        name = self._own(node, "name") or f"{self._service}-{self._values.stage}-{key.text}"
        root = os.path.relpath(self._file.absolute().parent, self._folder.absolute())
        is_image = get(node, "image") is not None
        code = Code(
            name=function_key(str(name), place),
            runtime="" if is_image else str(self._setting(node, "runtime") or _RUNTIME),
            handler=str(handler or ""),
            folder=None if is_image else root,
            layers=get(node, "layers") is not None or self._values.found("provider", "layers") is not None,
            timeout=whole(_or(self._setting(node, "timeout"), _TIMEOUT)),
            memory=whole(self._setting(node, "memorySize")),
            reserved=whole(self._own(node, "reservedConcurrency")),
            environment=self._environment(node, path),
        )
        settings, notes = form_of(code)
        function = ImportedFunction(name=code.name, settings=settings, place=place, notes=notes)
        self._imported.functions.append(function)
        return function

    def _own(self, node: Table, name: str) -> Any:
        found = get(node, name)
        value = None if found is None else self._values.value(found)
        return None if value is NOTHING else value

    def _setting(self, node: Table, name: str) -> Any:
        """A function's own setting, else the provider's."""
        shared = self._values.found("provider", name)
        return _or(self._own(node, name), None if shared is None else self._values.value(shared))

    def _environment(self, node: Table, path: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for table in (self._values.found("provider", "environment"), get(node, "environment")):
            for key, value in table.entries if isinstance(table, Table) else ():
                try:
                    if self._values.value(value) is not NOTHING:
                        found[key.text] = self._values.text(value)
                except Refused as refused:
                    self._report.warning(
                        replace(refused.place, path=f"{path}.environment.{key.text}"),
                        f"left out: {refused.message}",
                        hint=refused.hint,
                    )
        return found

    # --- events

    def _event(self, function: Scalar, node: Node, path: str) -> tuple[str, Place, dict[str, Any], str | None] | None:
        if isinstance(node, Scalar):
            self._warn(node, path, node.text)
            return None
        if not isinstance(node, Table) or not node.entries:
            raise Refused(self._place(node, path), "an event is a mapping with its type as key")
        key, body = node.entries[0]
        path = f"{path}.events.{key.text}"
        if key.text in _OTHER_SOURCES:
            raise Refused(
                self._place(key, path),
                f"events of type {key.text} are not supported by this version, only sqs and stream are",
                hint="take the event out of a copy of the file",
            )
        if key.text not in _SETTINGS:
            self._warn(key, path, key.text)
            return None
        settings, note = self._settings(key, body, path)
        arn, about_arn = of_stream_itself(settings["event_source_arn"])
        settings["event_source_arn"] = arn
        return source_name(arn) or function.text, self._place(key, path), settings, about_arn or note

    def _warn(self, node: Node, path: str, kind: str) -> None:
        what = f"an event of type {kind[:40]} is no event source mapping: left out"
        self._report.warning(self._place(node, path), what)

    def _settings(self, key: Scalar, body: Node, path: str) -> tuple[dict[str, Any], str | None]:
        known = _SETTINGS[key.text]
        settings = dict(_DEFAULTS[key.text])
        note: str | None = None
        arn: Any = None
        is_settings = isinstance(body, Table) and get(body, "arn") is not None
        if not is_settings:
            arn = self._values.value(body)
        else:
            assert isinstance(body, Table)  # noqa: S101 - asked above
            for name, node in body.entries:
                if name.text not in (*known, "arn", "type", "consumer"):
                    hint = suggestion(name.text, ["arn", "type", *known])
                    raise Refused(self._place(name, path), f"unknown setting {shown(name.text)}", hint=hint)
                value = self._values.value(node)
                if name.text == "arn":
                    arn = value
                elif name.text == "consumer":
                    note = "enhanced fan-out is not supported: the stream itself is read" if flag(value) else None
                elif name.text in known:
                    own_name, read = known[name.text]
                    if value is not NOTHING and value is not None and (value := read(value)) is not None:
                        settings[own_name] = value
        if not isinstance(arn, str):
            raise Refused(self._place(body, path), "the arn is missing, or no text")
        return {"event_source_arn": arn, **settings}, note


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _tables(node: Node | None) -> Iterator[Table]:
    """The mappings of a section that is one, or a list of them."""
    for each in node.items if isinstance(node, Listing) else (node,):
        if isinstance(each, Table):
            yield each


def _resources_of(file: Path, root: Table, report: Report) -> Template:
    """The template under `resources`, which may be a list of them."""
    united = Template(file)
    for table in _tables(get(root, "resources")):
        if get(table, "Resources") is None:
            continue
        part = template_of(file, table, report)
        if part is not None:
            united.parameters.update(part.parameters)
            united.conditions.update(part.conditions)
            united.resources.update(part.resources)
            entries = (*united.mappings.entries, *part.mappings.entries)
            united = replace(united, mappings=replace(part.mappings, entries=entries))
    return united
