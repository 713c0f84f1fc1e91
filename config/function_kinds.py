"""Which form of function a section describes, and which settings it would find with another form.

| the section has                                     | the form                                           |
|-----------------------------------------------------|----------------------------------------------------|
| one of `command`, `url`, `lambda`, `versions`        | that                                               |
| two of them                                         | none: an error, and the only one about it          |
| none of them                                        | a Python function, whose handler must be there     |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esmd.config.binding import spellings_of
from esmd.config.document import Table
from esmd.config.function_schema import (
    CommandFunction,
    HttpFunction,
    LambdaFunction,
    PythonFunction,
    RoutedFunction,
)
from esmd.config.validation import Kind

if TYPE_CHECKING:
    from esmd.config.files import Section
    from esmd.config.function_schema import AnyFunction
    from esmd.config.report import Report


_WHAT: dict[type[AnyFunction], str] = {
    PythonFunction: "a Python function",
    CommandFunction: "a command",
    HttpFunction: "a function behind a URL",
    LambdaFunction: "a function of Lambda",
    RoutedFunction: "a function that routes to versions",
}

_KEYS: dict[str, type[AnyFunction]] = {
    "command": CommandFunction,
    "url": HttpFunction,
    "lambda": LambdaFunction,
    "versions": RoutedFunction,
}

_STAND_INS: dict[type[AnyFunction], dict[str, Any]] = {
    PythonFunction: {"handler": "stand.in:handler"},
    CommandFunction: {"command": ("stand-in",)},
    HttpFunction: {"url": "http://127.0.0.1:9000"},
    LambdaFunction: {"target": "stand-in"},
    RoutedFunction: {"versions": {"stand-in": 100}},
}


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _form(model: type[AnyFunction]) -> Kind[AnyFunction]:
    own = {_plain(name) for name in spellings_of(model)}
    foreign = {
        _plain(name): f"has no effect here: {_WHAT[model]} has no such setting, {_WHAT[other]} has"
        for other in reversed(_WHAT)  # of several that have it, the first is named
        for name in spellings_of(other)
    }
    return Kind(model, {name: text for name, text in foreign.items() if name not in own}, _STAND_INS[model])


_FORMS = {model: _form(model) for model in _WHAT}


def form_of(section: Section, report: Report) -> Kind[AnyFunction] | None:
    """The form of the function in a section, by the table above; None where that is an error, which is reported."""
    entries = section.node.entries if isinstance(section.node, Table) else ()
    keys = [key for key, _ in entries if key.text in _KEYS]
    if len(keys) > 1:
        first, second = keys[0].text, keys[1].text
        place = section.source.place(keys[1], f"{section.path}.{second}")
        report.error(place, f"a function has one form: it cannot have both {first} and {second}")
        return None
    return _FORMS[_KEYS[keys[0].text] if keys else PythonFunction]
