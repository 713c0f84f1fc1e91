"""Lambda's filters: which records of a source a mapping takes, by the rules of that source.

`esmd.mappings.patterns` knows nothing of sources. Here is what Lambda lays over it [specification C.2, C.3]:

| source   | data key of a pattern | matched against                                                           |
|----------|-----------------------|---------------------------------------------------------------------------|
| sqs      | `body`                | the record; `body` read as JSON where the pattern goes inside it          |
| kinesis  | `data`                | the record's own keys and those of its `kinesis` object, side by side;    |
|          |                       | `data` decoded and read as JSON                                           |
| dynamodb | `dynamodb`            | the record as it is                                                       |

The form of the data and that of the pattern must agree, or the record does not match. "JSON" is an object or a list;
any other text, also `123` or `"quoted"`, is a plain string. This is decided for each branch of a pattern (each way
through its `$or` lists) on its own:

| data         | inside the data key (JSON form) | values right at the data key (string form) | data key not named |
|--------------|---------------------------------|--------------------------------------------|--------------------|
| JSON         | evaluate                        | no match                                   | evaluate           |
| plain string | no match                        | evaluate                                   | evaluate           |

Only SQS knows the string form; for the streams it is an invalid pattern. Metadata (`eventName`, `attributes`, ...)
matches for every source, as recorded on AWS, although its pages promise the data key only.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from esmd.mappings.exact_json import decode
from esmd.mappings.patterns import Branch, Field, InvalidPattern, Pattern, PatternWarning, compile_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Source = Literal["sqs", "kinesis", "dynamodb"]
"""The sources whose filters are known."""

_DATA_KEYS: Mapping[Source, str] = {"sqs": "body", "kinesis": "data", "dynamodb": "dynamodb"}

_OPENING = re.compile(r"[ \t\n\r]*[\[{]")


@dataclass(frozen=True, slots=True)
class _Way:
    """A branch with the form of data it asks for; either, both (which never matches) or none."""

    branch: Branch
    needs_json: bool
    needs_text: bool


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """The filters of one mapping: a record passes if any pattern matches it, or if there are none."""

    source: Source
    patterns: tuple[Pattern, ...]
    _ways: tuple[_Way, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is no pattern, so that every record passes without being looked at."""
        return not self.patterns

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Whether a record passes.

        Never raises and never changes the record. Its data is read at most once, and only if a pattern asks.

        Args:
            record: the element of `Records` in the Lambda event [specification A.8, B.12].
        """
        if not self.patterns:
            return True
        plain = _plain_view(self.source, record)
        # For DynamoDB no way asks for a form: its data is an object, and the compiler has refused the string form.
        unread = True
        parsed: dict[str, Any] | None = None
        for way in self._ways:
            if not (way.needs_json or way.needs_text):
                if way.branch.matches(plain):
                    return True
                continue
            if unread:
                parsed = _parsed_view(self.source, plain)
                unread = False
            if parsed is None:
                if not way.needs_json and way.branch.matches(plain):
                    return True
            elif not way.needs_text and way.branch.matches(parsed):
                return True
        return False


def compile_filters(patterns: Sequence[str], *, source: Source) -> RecordFilter:
    """Compile the patterns of a mapping's `FilterCriteria`.

    Args:
        patterns: the texts of the `Pattern` members; none of them means that every record passes.
        source: where the records come from.

    Raises:
        InvalidPattern: one of them is invalid, or has the string form where the source has no strings; `index` says
            which one.
    """
    compiled: list[Pattern] = []
    ways: list[_Way] = []
    for index, text in enumerate(patterns):
        try:
            pattern = compile_pattern(text)
            ways += [_way(branch, source) for branch in pattern.branches]
        except InvalidPattern as error:
            error.index = index
            raise
        compiled.append(pattern)
    return RecordFilter(source, tuple(compiled), tuple(ways))


def filter_warnings(text: str, *, source: Source) -> tuple[PatternWarning, ...]:
    """What is suspicious in a pattern for this source, in the order of its text.

    Raises:
        InvalidPattern: the pattern cannot be used for this source.
    """
    (pattern,) = compile_filters([text], source=source).patterns
    fields = {field.path: field for branch in pattern.branches for field in branch.fields}
    found = [
        PatternWarning(field.path, message, field.offset)
        for field in fields.values()
        if (message := _doubt(field, source))
    ]
    return tuple(sorted((*pattern.warnings, *found), key=lambda warning: warning.offset))


def _doubt(field: Field, source: Source) -> str:
    key = _DATA_KEYS[source]
    if field.keys[0] == key:
        return ""
    if source == "kinesis" and field.keys[0] == "kinesis":
        return f'nothing is found under "kinesis": write its keys at the top level, as in {{"{key}": ...}}'
    if source == "dynamodb":
        return ""
    return f'works here, but Lambda documents filters under "{key}" only, not on "{field.name}"'


def _way(branch: Branch, source: Source) -> _Way:
    key = _DATA_KEYS[source]
    inside = f"{key}."
    needs_json = needs_text = False
    for field in branch.fields:
        if field.name.startswith(inside):
            needs_json = source != "dynamodb"
        elif field.name == key:
            needs_text = True
            if source != "sqs":
                raise InvalidPattern(
                    f'"{key}" of {source} is filtered as JSON only: write field names inside it, as in'
                    f' {{"{key}": {{"kind": ["order"]}}}}',
                    path=field.path,
                    offset=field.offset,
                )
    return _Way(branch, needs_json, needs_text)


def _plain_view(source: Source, record: Mapping[str, Any]) -> dict[str, Any]:
    """What patterns see of a record before its data is read."""
    if source == "kinesis":
        kinesis = record.get("kinesis")
        view = {**record, **(kinesis if isinstance(kinesis, dict) else {})}
        view.pop("kinesis", None)
        return view
    return record if isinstance(record, dict) else dict(record)


def _parsed_view(source: Source, plain: dict[str, Any]) -> dict[str, Any] | None:
    """The same with the data read; None if it is no JSON object or list."""
    key = _DATA_KEYS[source]
    data = plain.get(key)
    if not isinstance(data, str):
        return None
    try:
        text = base64.b64decode(data, validate=True).decode() if source == "kinesis" else data
        # Most plain strings are told by their first character, without the parser.
        value = decode(text) if _OPENING.match(text) else None
    except ValueError:
        return None
    return None if value is None else {**plain, key: value}
