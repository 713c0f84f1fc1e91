"""From files to a validated `Config`, or to every problem at once, each with its place.

Nothing that a file holds makes `load` raise. One mistake gives one diagnostic: what depends on a wrong setting is not
judged, and a function is not called unregistered while a file that may register it cannot be read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from esmd.config.binding import Unreadable, bind, described, plain, suggestion
from esmd.config.files import Contents, Section, read_files
from esmd.config.function_kinds import form_of
from esmd.config.kinds import kind_of
from esmd.config.mapping_rules import mapping_findings
from esmd.config.report import Diagnostic, Place, Report, shown
from esmd.config.rules import api_findings, function_findings
from esmd.config.schema import (
    ApiSettings,
    AwsSettings,
    Config,
    InvokedFunction,
    RoutedFunction,
    SqsMapping,
    StateSettings,
)
from esmd.config.validation import Kind, Validated, report_findings, validate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from esmd.config.fields import Settings
    from esmd.config.rules import Finding
    from esmd.config.schema import AnyFunction, AnyMapping

_Model = TypeVar("_Model", bound="Settings")

_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAPPING_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of reading a configuration.

    Attributes:
        config: None if there are errors.
        diagnostics: errors and warnings, in the order of files and lines.
        api: the section `api`, as far as it could be read, also where other sections have errors: a command has to reach
            the daemon that is to be told of the mended ones.
    """

    config: Config | None
    diagnostics: tuple[Diagnostic, ...]
    api: ApiSettings = field(default_factory=ApiSettings)


def load(paths: Sequence[Path], *, environ: Mapping[str, str]) -> Loaded:
    """Read files and folders, unite them, and validate the whole.

    Args:
        paths: files, or folders whose `*.yaml` and `*.yml` files are read; diagnostics name them as given here.
        environ: where `${VAR}` is looked up.

    Returns:
        The configuration, or everything that is wrong with it. Never raises for what the user wrote.
    """
    report = Report()
    contents = read_files(paths, environ=environ, report=report)
    version = _version(contents, report)
    aws = _shared(contents, "aws", AwsSettings, report)
    state = _shared(contents, "state", StateSettings, report)
    api = _shared(contents, "api", ApiSettings, report, rules=api_findings)
    registered = contents.named["functions"].items()
    functions = {name: each for name, section in registered if (each := _function(section, report))}
    mapped = contents.named["mappings"].items()
    mappings = {name: found for name, section in mapped if (found := _mapping(section, report))}
    _registered(contents, mappings, report)
    _versions(contents, functions, report)
    _no_twins(contents, mappings, report)
    _shares(mappings, functions, report)
    _purpose(contents, report)
    if report.failed:
        return Loaded(None, report.ordered(), api)
    config = Config(
        version=version,
        aws=aws,
        state=state,
        api=api,
        functions={name: function.model for name, function in functions.items()},
        mappings={name: mapping.model for name, mapping in mappings.items()},
        files=tuple(file.absolute() for file in contents.files),
        file_of={name: contents.named["mappings"][name].source.file.absolute() for name in mappings},
    )
    return Loaded(config, report.ordered(), api)


def _version(contents: Contents, report: Report) -> Any:
    version: Any = 1
    for section in contents.single["version"]:
        try:
            version = plain(section.node, section.path, section.source)
        except Unreadable:
            continue
        if isinstance(version, bool) or version != 1 or not isinstance(version, int):
            place = section.source.place(section.node, section.path)
            report.error(place, f"must be 1, the only version of this format, not {described(version)}")
    return version


def _shared(
    contents: Contents,
    name: str,
    model: type[Any],
    report: Report,
    *,
    rules: Callable[[Any], Iterator[Finding]] | None = None,
) -> Any:
    """A section that several files may hold, if all of them say the same."""
    first: tuple[Section, Settings] | None = None
    for section in contents.single[name]:
        place = section.source.place(section.node, section.path)
        bound = bind(section.node, model, place, section.source)
        checked = validate(model, bound, report, context={"directory": section.directory})
        if checked is None or checked.wrong:
            continue
        if rules is not None:
            report_findings(rules(checked.model), bound, report)
        if first is None:
            first = (section, checked.model)
        elif first[1] != checked.model:
            report.error(section.place, f"differs from that at {first[0].place}", hint="say it once")
    return first[1] if first else model()


def _function(section: Section, report: Report) -> Validated[AnyFunction] | None:
    if not _FUNCTION_NAME.fullmatch(section.key.text):
        report.error(section.place, "a function's name must be 1 to 64 letters, digits, hyphens and underscores")
    form = form_of(section, report)
    if form is None:
        return None
    checked = _checked(section, form, report, directory=section.directory)
    if checked:
        report_findings(function_findings(checked.model, wrong=checked.wrong), checked.bound, report)
    return checked


def _mapping(section: Section, report: Report) -> Validated[AnyMapping] | None:
    name = section.key.text
    if not _MAPPING_NAME.fullmatch(name):
        report.error(section.place, "a mapping's name must be 1 to 64 letters, digits, hyphens, underscores and dots")
    kind = kind_of(section, report)
    if kind is None:
        return None
    checked = _checked(section, kind, report, name=name)
    if checked:
        report_findings(mapping_findings(checked.model, wrong=checked.wrong), checked.bound, report)
    return checked


def _checked(section: Section, kind: Kind[_Model], report: Report, **injected: Any) -> Validated[_Model] | None:
    """What a section says, as far as it can be read; `injected` is what the loader knows of it."""
    bound = bind(section.node, kind.model, section.place, section.source, foreign=kind.foreign)
    bound.data.update(injected)
    context = {"directory": section.directory}
    return validate(kind.model, bound, report, context=context, stand_ins=kind.stand_ins)


def _registered(contents: Contents, mappings: Mapping[str, Validated[AnyMapping]], report: Report) -> None:
    names = contents.named["functions"]
    for checked in mappings.values():
        name = checked.model.function_name
        if "function_name" in checked.wrong or name in names or not contents.complete:
            continue
        hint = "" if report.is_full else suggestion(name, list(names))
        hint = hint or "registered: " + (", ".join(list(names)[:10]) or "none")
        report.error(checked.bound.place(("function_name",)), f"Function does not exist: {shown(name)}", hint=hint)


def _versions(contents: Contents, functions: Mapping[str, Validated[AnyFunction]], report: Report) -> None:
    """Functions route to functions that are registered and do not route themselves."""
    names = contents.named["functions"]
    for checked in functions.values():
        if not isinstance(checked.model, RoutedFunction) or "versions" in checked.wrong:
            continue
        for version in checked.model.versions:
            place = checked.bound.place(("versions", version))
            if version not in names and contents.complete:
                hint = "" if report.is_full else suggestion(version, list(names))
                report.error(place, f"Function does not exist: {shown(version)}", hint=hint)
            elif version in functions and isinstance(functions[version].model, RoutedFunction):
                report.error(place, f"{version} routes to versions itself", hint="name the functions that it routes to")


def _no_twins(contents: Contents, mappings: Mapping[str, Validated[AnyMapping]], report: Report) -> None:
    first: dict[tuple[str, str], str] = {}
    for name, checked in mappings.items():
        if checked.wrong & {"event_source_arn", "function_name"}:
            continue
        arn, function = checked.model.event_source_arn, checked.model.function_name
        other = first.setdefault((arn, function), name)
        if other != name:
            place = contents.named["mappings"][other].place
            twin = (
                f'An event source mapping with SQS arn (" {arn} ") and function (" {function} ") already exists.'
                if isinstance(checked.model, SqsMapping)
                else f'The event source arn (" {arn} ") and function (" {function} ") provided mapping already exists.'
            )
            report.error(
                contents.named["mappings"][name].place,
                f"{twin} Please update or delete the existing mapping {other} at {place}",
            )


def _shares(
    mappings: Mapping[str, Validated[AnyMapping]],
    functions: Mapping[str, Validated[AnyFunction]],
    report: Report,
) -> None:
    """The caps of a function's mappings should fit into what it may run at once [specification A.3]."""
    totals: dict[str, int] = {}
    for checked in mappings.values():
        if not isinstance(checked.model, SqsMapping):
            continue
        name, maximum = checked.model.function_name, checked.model.scaling_config.maximum_concurrency
        function = functions.get(name)
        reserved = (
            function.model.reserved_concurrency if function and isinstance(function.model, InvokedFunction) else None
        )
        if maximum is None or not reserved or not checked.model.enabled or "scaling_config" in checked.wrong:
            continue
        before = totals.get(name, 0)
        totals[name] = before + maximum
        if before <= reserved < totals[name]:
            report.warning(
                checked.bound.place(("scaling_config", "maximum_concurrency")),
                f"the mappings of {name} may run {totals[name]} at once, but its reserved_concurrency is {reserved}",
                hint="what is above waits and is throttled",
            )


def _purpose(contents: Contents, report: Report) -> None:
    if not report.failed and contents.files and not contents.named["mappings"]:
        report.warning(Place(contents.files[0]), "there are no mappings: nothing to run")
