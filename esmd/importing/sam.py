"""Event source mappings of a SAM or CloudFormation template: `Events` of functions, and `AWS::Lambda::EventSourceMapping`.

| found                                                     | becomes                                              |
|-----------------------------------------------------------|------------------------------------------------------|
| an event of type SQS, Kinesis or DynamoDB                 | the mapping `FUNCTION.EVENT`                         |
| an event of type MSK, MQ, SelfManagedKafka, DocumentDB    | refused                                              |
| an event of any other type                                | left out, with a warning                             |
| `AWS::Lambda::EventSourceMapping`                         | a mapping with its logical id as name                |
| a resource whose condition does not hold                  | left out                                             |
| a function that a mapping invokes                         | a function, see `esmd.importing.runtimes`            |
| a function that is not in the template                    | a function of Lambda with that name                  |
| a variable whose value cannot be known                    | left out, with a warning                             |
| any other value that cannot be known                      | refused                                              |
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from esmd.config.binding import suggestion
from esmd.config.document import Node, Scalar, Table
from esmd.config.report import shown
from esmd.config.values import lambda_parts, lambda_target
from esmd.importing.intrinsics import NOTHING, Resolver
from esmd.importing.model import Imported, ImportedFunction, ImportedMapping, Refused, function_key, name_for
from esmd.importing.resources import DEFAULTS, Resources, with_tables
from esmd.importing.runtimes import Code, form_of
from esmd.importing.settings import FOREIGN, IGNORED, SETTINGS, of_stream_itself, whole
from esmd.importing.template import get

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from esmd.config.report import Place, Report
    from esmd.importing.template import Resource, Template

_SOURCES = {"SQS": "Queue", "Kinesis": "Stream", "DynamoDB": "Stream"}
"""Types of SAM's events that are imported, and where each has its ARN."""

_OTHER_SOURCES = ("MSK", "MQ", "SelfManagedKafka", "DocumentDB")
_SAM = "AWS::Serverless::Function"
_FUNCTIONS = (_SAM, "AWS::Lambda::Function")
_MAPPING = "AWS::Lambda::EventSourceMapping"


def import_template(
    template: Template, *, given: Mapping[str, str], folder: Path, report: Report, pseudo: Mapping[str, str]
) -> Imported:
    """The mappings of a template, and the functions that they invoke; problems are reported, never raised.

    Args:
        template: what was read.
        given: values of parameters.
        folder: where the configuration will stand: paths are relative to it.
        report: takes errors, and warnings about what is left out.
        pseudo: values of pseudo parameters, such as `AWS::Region`.
    """
    return _Import(template, given=given, folder=folder, report=report, pseudo={**DEFAULTS, **pseudo}).run()


class _Import:
    def __init__(
        self, template: Template, *, given: Mapping[str, str], folder: Path, report: Report, pseudo: dict[str, str]
    ) -> None:
        self._template = template
        self._folder = folder
        self._report = report
        pseudo = {"AWS::StackName": template.file.stem, **pseudo}
        pseudo |= {name: value for name, value in given.items() if name.startswith("AWS::")}
        self._resolver = Resolver(template, given=given, pseudo=pseudo)
        self._resources = self._resolver.resources = Resources(template, self._resolver, pseudo)
        self._imported = Imported()
        self._by_target: dict[str, ImportedFunction] = {}
        self._mapped: dict[str, None] = {}

    def run(self) -> Imported:
        for resource in self._template.resources.values():
            if resource.kind in (_SAM, _MAPPING):
                self._try(resource, self._events if resource.kind == _SAM else self._mapping)
        for name, made_up in self._resources.made_up.items():
            resource = self._template.resources[name]
            if resource.kind not in _FUNCTIONS:
                self._warn(resource.key, f"Resources.{name}", f"has no name of its own: called {made_up} here")
        return self._imported

    def _try(self, resource: Resource, read: Callable[[Resource], None]) -> None:
        """Read a resource that is made; what cannot be known is reported."""
        try:
            if self._resources.is_made(resource):
                read(resource)
        except Refused as refused:
            self._refuse(refused)

    def _refuse(self, refused: Refused) -> None:
        self._report.error(refused.place, refused.message, hint=refused.hint)

    def _warn(self, node: Node, path: str, message: str, hint: str = "") -> None:
        self._report.warning(self._template.place(node, path), message, hint=hint)

    # --- mappings

    def _events(self, resource: Resource) -> None:
        events = with_tables(resource.properties, "Events").entries
        kinds = [get(event, "Type") for _, event in events if isinstance(event, Table)]
        if not {*_SOURCES, *_OTHER_SOURCES} & {kind.text for kind in kinds if isinstance(kind, Scalar)}:
            return  # nothing of it is imported, so that nothing of it is missed
        for key, event in events:
            try:
                self._event(resource, key, event)
            except Refused as refused:
                self._refuse(refused)

    def _event(self, resource: Resource, key: Scalar, event: Node) -> None:
        path = f"Resources.{resource.name}.Events.{key.text}"
        kind = get(event, "Type") if isinstance(event, Table) else None
        if not isinstance(event, Table) or not isinstance(kind, Scalar):
            raise Refused(self._template.place(event, path), "an event is a mapping with a Type")
        if kind.text in _OTHER_SOURCES:
            raise Refused(
                self._template.place(kind, path),
                f"events of type {kind.text} are not supported by this version, only SQS, Kinesis and DynamoDB are",
                hint="take the event out of a copy of the template",
            )
        if kind.text not in _SOURCES:
            self._warn(kind, path, f"an event of type {kind.text} is no event source mapping: left out")
            return
        settings = self._settings(with_tables(event, "Properties"), path, _SOURCES[kind.text])
        function = self._own_function(resource)
        self._add(f"{resource.name}.{key.text}", self._template.place(key, path), settings, function)

    def _mapping(self, resource: Resource) -> None:
        path = f"Resources.{resource.name}"
        named = get(resource.properties, "FunctionName")
        if named is None:
            raise Refused(self._template.place(resource.key, path), "FunctionName is missing")
        function, note = self._function_named(named, path)
        settings = self._settings(resource.properties, path, "EventSourceArn")
        self._add(resource.name, self._template.place(resource.key, path), settings, function, note)

    def _settings(self, properties: Table, path: str, arn_name: str) -> dict[str, Any]:
        """The settings of a mapping as the configuration spells them."""
        settings: dict[str, Any] = {}
        for key, node in properties.entries:
            api_name = "EventSourceArn" if key.text == arn_name else key.text
            place = self._template.place(key, path)
            if api_name == "FunctionName":
                continue
            if api_name in FOREIGN:
                raise Refused(place, f"{api_name} belongs to Kafka, Amazon MQ or DocumentDB mappings")
            if api_name in IGNORED:
                self._warn(key, path, f"{api_name} has no counterpart: left out")
                continue
            if api_name not in SETTINGS or (api_name == "EventSourceArn" and key.text != arn_name):
                known = [arn_name, *(each for each in SETTINGS if each != "EventSourceArn")]
                raise Refused(place, f"unknown setting {shown(key.text)}", hint=suggestion(key.text, known))
            value = self._resolver.value(node)
            own_name, read = SETTINGS[api_name]
            if value is not NOTHING and (value := read(value)) is not None:
                settings[own_name] = value
        if not isinstance(settings.get("event_source_arn"), str):
            raise Refused(self._template.place(properties, path), f"{arn_name} is missing, or no text")
        return settings

    def _add(
        self, name: str, place: Place, settings: dict[str, Any], function: ImportedFunction, note: str | None = None
    ) -> None:
        arn, about_arn = of_stream_itself(settings.pop("event_source_arn"))
        mapping = ImportedMapping(
            name=name_for(name, self._mapped),
            settings={"event_source_arn": arn, "function_name": function.name, **settings},
            place=place,
            notes=tuple(each for each in (note, about_arn) if each),
        )
        self._mapped[mapping.name] = None
        self._imported.mappings.append(mapping)

    # --- functions

    def _function_named(self, node: Node, path: str) -> tuple[ImportedFunction, str | None]:
        """The function that a mapping names, and a note about its version."""
        text = self._resolver.text(node)
        try:
            target, qualifier = lambda_parts(lambda_target(text))
        except ValueError as error:
            raise Refused(self._template.place(node, path), str(error)) from None
        bare = target.rpartition(":")[2]
        for resource in self._template.resources.values():
            if resource.kind in _FUNCTIONS and self._resources.name(resource, node) == bare:
                note = f"AWS invokes version or alias {qualifier}" if qualifier else None
                return self._own_function(resource), note
        if text not in self._by_target:
            name = function_key(
                f"{bare}-{qualifier}" if qualifier and qualifier != "$LATEST" else bare, self._template.place(node)
            )
            self._by_target[text] = ImportedFunction(
                name=name,
                settings={"lambda": text},
                place=self._template.place(node, path),
                notes=("not in the template: invoked through Lambda's API, where it has to be deployed",),
            )
            self._imported.functions.append(self._by_target[text])
        return self._by_target[text], None

    def _own_function(self, resource: Resource) -> ImportedFunction:
        if resource.name not in self._by_target:
            name = function_key(self._resources.name(resource, resource.key), self._template.place(resource.key))
            settings, notes = form_of(self._code(resource, name))
            function = ImportedFunction(
                name=name,
                settings=settings,
                place=self._template.place(resource.key, f"Resources.{resource.name}"),
                notes=notes,
            )
            self._by_target[resource.name] = function
            self._imported.functions.append(function)
        return self._by_target[resource.name]

    def _code(self, resource: Resource, name: str) -> Code:
        folder, elsewhere = self._folder_of(resource)
        is_image = self._property(resource, "PackageType") == "Image"
        return Code(
            name=name,
            runtime="" if is_image else str(self._property(resource, "Runtime") or ""),
            handler=str(self._property(resource, "Handler") or ""),
            folder=None if is_image else folder,
            elsewhere="" if is_image else elsewhere,
            layers=bool(self._property(resource, "Layers")) if folder is not None else False,
            timeout=whole(self._property(resource, "Timeout")),
            memory=whole(self._property(resource, "MemorySize")),
            reserved=whole(self._property(resource, "ReservedConcurrentExecutions")),
            environment=self._environment(resource),
        )

    def _nodes(self, resource: Resource, name: str) -> list[Node]:
        """Where a property stands: in the function, and in SAM's Globals."""
        shared = with_tables(self._template.globals, "Function") if resource.kind == _SAM else None
        found = [get(table, name) for table in (resource.properties, shared) if table is not None]
        return [node for node in found if node is not None]

    def _property(self, resource: Resource, name: str) -> Any:
        """The value of a property; None without it."""
        for node in self._nodes(resource, name):
            if name == "Layers":
                return True  # that there are some is all that matters
            value = self._resolver.value(node)
            if value is not NOTHING:
                return value
        return None

    def _folder_of(self, resource: Resource) -> tuple[str | None, str]:
        """The folder of the code relative to the configuration; or None, and where it is instead."""
        if self._nodes(resource, "InlineCode"):
            return None, "its code stands in the template"
        nodes = self._nodes(resource, "CodeUri" if resource.kind == _SAM else "Code")
        code = nodes[0] if nodes else None
        if isinstance(code, Table) and not code.tag:
            inline = get(code, "ZipFile") is not None
            return None, "its code stands in the template" if inline else "its code is in S3 or in an image"
        text = self._resolver.text(code) if code is not None else "."
        if text.startswith("s3://"):
            return None, "its code is in S3"
        path = self._template.file.absolute().parent / text
        # `sam build` and a package name an archive where the code was a folder.
        if path.suffix in (".zip", ".jar"):
            return None, f"its code is the archive {path.name}"
        return os.path.relpath(path, self._folder.absolute()), ""

    def _environment(self, resource: Resource) -> dict[str, str]:
        found: dict[str, str] = {}
        for node in reversed(self._nodes(resource, "Environment")):  # what the function says wins
            variables = with_tables(node, "Variables") if isinstance(node, Table) else None
            for key, value in variables.entries if variables is not None else ():
                path = f"Resources.{resource.name}.Environment.{key.text}"
                try:
                    if self._resolver.value(value) is not NOTHING:
                        found[key.text] = self._resolver.text(value)
                except Refused as refused:
                    self._report.warning(
                        replace(refused.place, path=path),
                        f"left out: {refused.message}",
                        hint=refused.hint,
                    )
        return found
