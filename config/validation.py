"""Runs a model over bound data and says in plain words what it refuses.

Whatever field is wrong is taken out and the rest validated again, so that the rules of `esmd.config.rules` can look at
what is right and all problems come at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ValidationError

from esmd.config.binding import Bound, described, join
from esmd.config.fields import Missed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from esmd.config.binding import Location
    from esmd.config.report import Report
    from esmd.config.rules import Finding

_Model = TypeVar("_Model", bound=BaseModel)

_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "is_instance_of": "a path",
}
_BEFORE_12 = frozenset(("yes", "no", "on", "off", "y", "n"))


@dataclass(frozen=True, slots=True)
class Validated(Generic[_Model]):
    """What validation made of one model's data.

    Attributes:
        model: the settings; where `wrong` is not empty, with stand-ins and defaults in the place of wrong ones.
        wrong: top-level fields that are wrong or missing.
        bound: the data with its places.
    """

    model: _Model
    wrong: frozenset[str]
    bound: Bound


@dataclass(frozen=True, slots=True)
class Kind(Generic[_Model]):
    """What a section may describe, where there are several kinds of it.

    Attributes:
        model: its settings.
        foreign: settings of other kinds, by lower-case name without underscores, each with the sentence that says so.
        stand_ins: take the place of required settings that are wrong, so that the others can still be judged.
    """

    model: type[_Model]
    foreign: Mapping[str, str]
    stand_ins: Mapping[str, Any]


def validate(
    model: type[_Model],
    bound: Bound,
    report: Report,
    *,
    context: Mapping[str, Any],
    stand_ins: Mapping[str, Any] | None = None,
) -> Validated[_Model] | None:
    """Validate `bound.data`, report what is wrong, and return what can be made of the rest.

    Args:
        model: the model.
        bound: its data and places.
        report: where problems go.
        context: pydantic's validation context: `directory`, that relative paths start from.
        stand_ins: valid values for required fields, for use where the user's are wrong.

    Returns:
        None where the data as a whole could not be read, which is reported already.
    """
    if () in bound.failed:
        return None
    wrong = {str(location[0]) for location in bound.failed}
    try:
        result = model.model_validate(bound.data, context=dict(context))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            if detail["type"] == "default_factory_not_called":  # its default needs a field that is wrong itself
                continue
            if not _is_told(detail["loc"], bound):
                _report(model, detail, bound, report)
            wrong.add(str(detail["loc"][0]))
        rest = {name: value for name, value in bound.data.items() if name not in wrong}
        needed = {name: value for name, value in (stand_ins or {}).items() if name in wrong}
        result = model.model_validate({**rest, **needed}, context=dict(context))
    return Validated(result, frozenset(wrong), bound)


def report_findings(findings: Iterable[Finding], bound: Bound, report: Report) -> None:
    """Report what rules found, each at the place of its setting."""
    for finding in findings:
        place = bound.place(finding.location)
        if finding.location not in bound.places:
            # Inside a pattern that is JSON text: the text has a place, what is in it has a path only.
            path = place.path
            for name in finding.location[bound.depth(finding.location) :]:
                path = join(path, name)
            place = replace(place, path=path)
        if finding.severity == "error":
            report.error(place, finding.message, hint=finding.hint)
        else:
            report.warning(place, finding.message, hint=finding.hint)


def _is_told(location: Location, bound: Bound) -> bool:
    return any(location[:depth] in bound.failed for depth in range(len(location) + 1))


def _report(model: type[BaseModel], detail: ErrorDetails, bound: Bound, report: Report) -> None:
    location = detail["loc"]
    if detail["type"] == "missing":
        info = _field(model, location)
        missed = next((each for each in info.metadata if isinstance(each, Missed)), None) if info else None
        if missed:
            report.error(bound.place(location), missed.message, hint=missed.hint)
            return
        written = location in bound.places
        message = "must have a value" if written else f"{location[-1]} is missing"
        report.error(bound.place(location), message)
        return
    hint = "YAML 1.2 knows no other words for them" if _is_old_boolean(detail) else ""
    report.error(bound.place(location), _message(detail, _field(model, location), detail["input"]), hint=hint)


def _is_old_boolean(detail: ErrorDetails) -> bool:
    return detail["type"] == "bool_type" and str(detail["input"]).lower() in _BEFORE_12


def _message(detail: ErrorDetails, info: FieldInfo | None, given: Any) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}, not {described(given)}"
    if kind == "literal_error":
        choices = str(context["expected"]).replace("'", "")
        return f"must be {choices}, not {described(given)}"
    if kind == "value_error":
        return str(context["error"])
    if kind in ("greater_than", "greater_than_equal", "less_than_equal"):
        return f"must be {_range(info, context)}, not {described(given).removeprefix('the number ')}"
    if kind == "string_too_long":
        return f"must be at most {context['max_length']} characters, not {len(given)}"
    if kind in ("string_too_short", "too_short"):
        return "must not be empty"
    if kind == "too_long":
        most = context["max_length"]
        return f"must have at most {most} {'item' if most == 1 else 'items'}, not {context['actual_length']}"
    return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}, not {described(given)}"


def _range(info: FieldInfo | None, context: Mapping[str, Any]) -> str:
    """The bounds of a field; of an item inside it, the one that was broken."""
    bounds = {type(each): each for each in (info.metadata if info else ())}
    low, above, high = bounds.get(Ge), bounds.get(Gt), bounds.get(Le)
    unit = " seconds" if info and float in _parts(info.annotation) else ""
    if isinstance(low, Ge) and isinstance(high, Le):
        return f"{low.ge} to {high.le}{unit}"
    if isinstance(above, Gt) and isinstance(high, Le):
        return f"above {above.gt} and at most {high.le}{unit}"
    if isinstance(low, Ge):
        return f"{low.ge} or more"
    return f"{context['ge']} or more" if "ge" in context else f"at most {context['le']}"


def _parts(annotation: Any) -> list[Any]:
    """What an annotation is made of, itself included."""
    return [annotation, *(part for each in get_args(annotation) for part in _parts(each))]


def _field(model: type[BaseModel], location: Location) -> FieldInfo | None:
    """The field that a location ends in, through nested models and lists."""
    info: FieldInfo | None = None
    current: type[BaseModel] | None = model
    for name in location:
        if isinstance(name, int) or current is None:
            continue
        info = current.model_fields.get(name)
        current = _nested(info) if info else None
    return info


def _nested(info: FieldInfo) -> type[BaseModel] | None:
    for candidate in (info.annotation, *get_args(info.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
