"""What fields of models are made of: their base, their types, and how AWS and the user spell them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, WithJsonSchema

from esmd.config import values
from esmd.config.report import shown


@dataclass(frozen=True, slots=True)
class Api:
    """How AWS spells a setting: the API first, then CloudFormation or SAM where they differ."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Texts:
    """A mapping of text to text, where a number or boolean counts as its text.

    Attributes:
        wrapper: a single key of this name around the mapping is taken off, as in `Environment: {Variables: ...}`.
        pairs: a list of `{Key, Value}` is read too, as CloudFormation writes tags.
    """

    wrapper: str = ""
    pairs: bool = False


@dataclass(frozen=True, slots=True)
class JsonText:
    """JSON text, or a YAML value that is turned into it."""


@dataclass(frozen=True, slots=True)
class Injected:
    """Not written by the user: the loader knows it from where the settings stand, or the model itself."""


@dataclass(frozen=True, slots=True)
class Missed:
    """What AWS says where a required setting is missing, and what to do about it."""

    message: str
    hint: str


def api(*names: str) -> Api:
    """How AWS spells a setting: the API first."""
    return Api(names)


def url(text: str) -> str:
    """A URL of HTTP without a slash at its end."""
    try:
        parts = urlsplit(text)
        usable = bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        usable = False
    if not usable or not text.isprintable() or " " in text:
        raise ValueError("must be an http:// or https:// URL, such as http://127.0.0.1:4566")
    return text.rstrip("/")


def _absolute(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str | Path):
        return value
    directory: Path = (info.context or {}).get("directory", Path())
    try:
        return directory / Path(value).expanduser()
    except RuntimeError:
        raise ValueError(f"the home directory in {shown(str(value))} is not known") from None


def _text_path(value: Any) -> Any:
    if isinstance(value, str) and "\0" in value:
        raise ValueError("must not hold a zero byte")
    return value


_DURATION: list[dict[str, Any]] = [
    {"type": "number"},
    {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$"},
]

Seconds = Annotated[float, BeforeValidator(values.seconds), WithJsonSchema({"anyOf": _DURATION})]
"""A number of seconds, or text with a unit."""

OR_NOTHING = WithJsonSchema({"anyOf": [*_DURATION, {"type": "null"}]})
"""The JSON schema of `Seconds | None` with bounds, which pydantic cannot put into a schema that is a choice."""

Instant = Annotated[
    float,
    BeforeValidator(values.instant),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"}]}),
]
"""A point in time as Unix seconds, read from that or from ISO 8601."""

TextMap = Annotated[
    dict[str, str],
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}),
]

FilePath = Annotated[Path, BeforeValidator(_absolute), BeforeValidator(_text_path), WithJsonSchema({"type": "string"})]
"""A path; relative to the file that says it."""


class Settings(BaseModel):
    """Base of all models: frozen, nothing unknown, nothing converted silently.

    A validator is made for the model that is asked to validate, and not beforehand for every model: a start waits for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)
