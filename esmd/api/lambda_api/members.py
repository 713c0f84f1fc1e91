"""The members of a request, turned into fields of the configuration's models, and their errors into AWS's.

Names, ranges and defaults are those of the models: nothing is said twice. A member is called as `Api` says first.

| member                                             | becomes                                                          |
|----------------------------------------------------|------------------------------------------------------------------|
| null                                               | as if it were not there                                          |
| of the wrong JSON type                             | `SerializationException`                                         |
| out of its range, not of its set, missing          | `ValidationException`, in the words of AWS's own validation      |
| refused by a rule or a parser of the configuration | `InvalidParameterValueException`, with the text that stands there |
| of another kind of source, or unknown              | `InvalidParameterValueException`                                 |
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import BaseModel, ValidationError

from esmd.api.lambda_api.errors import LambdaError, constraint, invalid, violation
from esmd.config.binding import inner_model, marker
from esmd.config.fields import Api, Missed
from esmd.config.mapping_rules import mapping_findings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from esmd.config.schema import AnyMapping
    from esmd.config.validation import Kind

_FUNCTION_NAME = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)
_EVENT_SOURCE_ARN = (
    r"arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})?:(\d{12})?:(.*)"
)
# DynamoDB Local's word for every region.
_LOCAL_TABLE = re.compile(r"arn:aws[a-z-]*:dynamodb:ddblocal:\d{12}:.*")

_PATTERNS = {"FunctionName": _FUNCTION_NAME, "EventSourceArn": _EVENT_SOURCE_ARN}
"""AWS's own patterns, for its own error; what follows it is judged by the configuration's parsers."""

_SHOWN = 200
"""Most characters of a value that an error repeats."""

_TYPES = {
    "int_type": "an Integer",
    "int_from_float": "an Integer",
    "bool_type": "a Boolean",
    "string_type": "a String",
    "float_type": "a Double",
}
_INVALID_PATTERN = "Invalid filter pattern definition."


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a request; no body is an empty one.

    Raises:
        LambdaError: it is no JSON object.
    """
    if not body:
        return {}
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        raise _unreadable("nested too deeply") from None
    except ValueError as error:  # also where it is not UTF-8
        raise _unreadable(str(error)) from None
    if not isinstance(document, dict):
        raise LambdaError("SerializationException", "Expected a structure or map")
    return document


def fields_of(kind: Kind[AnyMapping], document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a request sets.

    Raises:
        LambdaError: a member does not belong there.
    """
    for name, pattern in _PATTERNS.items():
        value = document.get(name)
        if isinstance(value, str) and not re.fullmatch(pattern, value) and not _LOCAL_TABLE.fullmatch(value):
            place = f"{name[0].lower()}{name[1:]}"
            raise constraint(_quoted(value), place, f"Member must satisfy regular expression pattern: {pattern}")
    return _fields(kind.model, document, kind.foreign)


def validated(kind: Kind[AnyMapping], data: Mapping[str, Any]) -> AnyMapping:
    """The mapping that the fields make.

    Raises:
        LambdaError: they do not make one.
    """
    try:
        mapping = kind.model.model_validate(dict(data), context={})
    except ValidationError as error:
        raise _refused(kind.model, error) from None
    for finding in mapping_findings(mapping):
        if finding.severity == "error":
            raise _finding(finding.message, finding.hint)
    return mapping


def members_of(model: type[BaseModel]) -> dict[str, str]:
    """AWS's names of a model's settings, with the fields they mean; settings that AWS does not have are left out."""
    marks = ((name, marker(info, Api)) for name, info in model.model_fields.items())
    return {mark.names[0]: name for name, mark in marks if mark is not None}


def _fields(model: type[BaseModel], document: Mapping[str, Any], foreign: Mapping[str, str]) -> dict[str, Any]:
    known = members_of(model)
    found = {}
    for member, value in document.items():
        if value is None:
            continue
        if member not in known:
            raise invalid(_stranger(member, foreign))
        name = known[member]
        found[name] = _value(model.model_fields[name], value, foreign)
    return found


def _stranger(member: str, foreign: Mapping[str, str]) -> str:
    sentence = foreign.get(member.lower(), "unknown member")
    return sentence if sentence.endswith("mapping type.") else f"{member[:_SHOWN]}: {sentence}"


def _value(info: FieldInfo, value: Any, foreign: Mapping[str, str]) -> Any:
    inner, is_list = inner_model(info)
    if isinstance(value, list):
        return tuple(_item(inner if is_list else None, item, foreign) for item in value)
    return value if is_list else _item(inner, value, foreign)


def _item(model: type[BaseModel] | None, value: Any, foreign: Mapping[str, str]) -> Any:
    return _fields(model, value, foreign) if model is not None and isinstance(value, dict) else value


# --- errors


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no value of JSON")


def _unreadable(why: str) -> LambdaError:
    return LambdaError("InvalidRequestContentException", f"Could not parse request body into json: {why}")


def _finding(message: str, hint: str) -> LambdaError:
    if message.startswith(_INVALID_PATTERN):
        return invalid(_INVALID_PATTERN, detail=message.removeprefix(_INVALID_PATTERN).strip())
    return invalid(message, detail=hint)


def _refused(model: type[BaseModel], error: ValidationError) -> LambdaError:
    """The gravest of what pydantic found: wrong types, then AWS's constraints, all at once, then the rest."""
    details = error.errors(include_url=False)
    violations = []
    rest: LambdaError | None = None
    for detail in details:
        if (wrong_type := _wrong_type(detail)) is not None:
            return LambdaError("SerializationException", wrong_type)
        missed = _missed(model, detail)
        if missed is not None:
            rest = rest or invalid(missed.message, detail=missed.hint)
        elif (rule := _rule(detail)) is not None:
            value = "null" if detail["type"] == "missing" else _quoted(_shown(detail["input"]))
            violations.append(violation(value, _place(model, detail["loc"]), rule))
        else:
            rest = rest or _other(model, detail)
    if violations:
        count = f"{len(violations)} validation error{'s' if len(violations) > 1 else ''} detected: "
        return LambdaError("ValidationException", count + "; ".join(violations))
    if rest is None:
        raise RuntimeError("a validation error without details") from error
    return rest


def _wrong_type(detail: ErrorDetails) -> str | None:
    kind, given = detail["type"], detail["input"]
    if kind in _TYPES:
        if isinstance(given, tuple | list):
            return "Start of list found where not expected"
        if isinstance(given, dict):
            return "Start of structure or map found where not expected"
        return f"{_token(given)} can not be converted to {_TYPES[kind]}"
    if kind == "tuple_type":
        return "Expected list or null"
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return "Expected a structure or map"
    if kind == "string_unicode":
        return "Expected text in UTF-8"
    return None


def _token(value: Any) -> str:
    if isinstance(value, bool):
        return f"{str(value).upper()}_VALUE"
    if isinstance(value, int):
        return "NUMBER_VALUE"
    return "DECIMAL_VALUE" if isinstance(value, float) else "STRING_VALUE"


def _missed(model: type[BaseModel], detail: ErrorDetails) -> Missed | None:
    if detail["type"] != "missing" or len(detail["loc"]) != 1:
        return None
    return marker(model.model_fields[str(detail["loc"][0])], Missed)


def _rule(detail: ErrorDetails) -> str | None:
    context = detail.get("ctx", {})
    match detail["type"]:
        case "missing":
            return "Member must not be null"
        case "greater_than_equal":
            return f"Member must have value greater than or equal to {context['ge']}"
        case "less_than_equal":
            return f"Member must have value less than or equal to {context['le']}"
        case "too_long" | "string_too_long":
            return f"Member must have length less than or equal to {context['max_length']}"
        case "literal_error":
            choices = str(context["expected"]).replace("'", "").replace(" or ", ", ")
            return f"Member must satisfy enum value set: [{choices}]"
        case _:
            return None


def _other(model: type[BaseModel], detail: ErrorDetails) -> LambdaError:
    """A value that a parser of the configuration refused, in its words."""
    text = str(detail.get("ctx", {}).get("error", detail["msg"]))
    if text.startswith("1 validation error detected: "):
        return LambdaError("ValidationException", text)
    if text.startswith("Unsupported starting position"):
        return invalid(text)
    return invalid(f"{_place(model, detail['loc'])}: {text}")


def _place(model: type[BaseModel], location: tuple[str | int, ...]) -> str:
    """Where a value stands, as AWS writes it: `filterCriteria.filters.1.member.pattern`."""
    parts = []
    current: type[BaseModel] | None = model
    for step in location:
        if isinstance(step, int):
            parts.append(f"{step + 1}.member")
            continue
        info = current.model_fields.get(step) if current else None
        mark = marker(info, Api) if info else None
        name = mark.names[0] if mark else step
        parts.append(f"{name[:1].lower()}{name[1:]}")
        current = inner_model(info)[0] if info else None
    return ".".join(parts)


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_shown, value[:3]))}]"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _quoted(text: str) -> str:
    return f"'{_shown(text)}'"
