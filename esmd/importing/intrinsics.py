"""Intrinsic functions of CloudFormation, resolved inside one template: what needs a deployment is refused with its place.

| function                                          | becomes                                                            |
|---------------------------------------------------|--------------------------------------------------------------------|
| `Ref` of a parameter                              | what was given, else its default                                   |
| `Ref` of a pseudo parameter                       | as `esmd.importing.resources` says; `AWS::NoValue` leaves it out   |
| `Ref`, `Fn::GetAtt` of a resource                 | as `esmd.importing.resources` says                                 |
| `Fn::Sub`, `Fn::Join`, `Fn::Select`, `Fn::Split`  | their results                                                      |
| `Fn::If`, `Condition`                             | by the template's conditions; the branch not taken is not looked at |
| `Fn::Equals`, `Fn::And`, `Fn::Or`, `Fn::Not`      | true or false                                                      |
| `Fn::FindInMap`                                   | by the template's mappings, else its `DefaultValue`                |
| `Fn::Base64`, `Fn::ToJsonString`, `Fn::Length`    | their results                                                      |
| any other (`Fn::ImportValue`, `Fn::Cidr`, ...)    | refused                                                            |

Each is understood as a tag (`!Sub`) and in its long form. Values are bounded in length and references in depth, so that
nothing a template says takes long.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from esmd.config.binding import suggestion
from esmd.config.document import Listing, Node, Scalar, Table, resolve
from esmd.config.report import shown
from esmd.importing.model import Refused
from esmd.importing.template import get

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from esmd.importing.resources import Resources
    from esmd.importing.template import Template

MAX_TEXT: Final = 65_536
"""Longest text that a function may make."""

MAX_WRITTEN: Final = 16_777_216
"""Most characters that all functions of a template may make."""

MAX_STEPS: Final = 60_000
"""Most values that are looked at, each time that they are."""

MAX_DEPTH: Final = 60
"""Deepest nesting of values and references together."""


class _Nothing:
    """What `AWS::NoValue` stands for."""


NOTHING: Final = _Nothing()

_VARIABLE = re.compile(r"\$\{(?P<literal>!)?(?P<name>[^{}]*)\}")
_HINTS = {
    "ImportValue": "it comes from another stack: write the value itself, or a parameter and --parameter NAME=VALUE",
    "GetAZs": "write the zones themselves",
    "Cidr": "write the blocks themselves",
    "Transform": "import the template that the deployment shows as processed",
}


class Resolver:
    """Gives the values of a template's nodes.

    Args:
        template: where parameters, mappings and conditions stand.
        given: values of parameters by name; they win over defaults.
        pseudo: values of pseudo parameters, such as `AWS::Region`.
    """

    resources: Resources
    """What `Ref` and `Fn::GetAtt` of a resource become; set by whoever makes both."""

    def __init__(self, template: Template, *, given: Mapping[str, str], pseudo: Mapping[str, str]) -> None:
        self._template = template
        self._given = given
        self._pseudo = pseudo
        self._conditions: dict[str, bool] = {}
        self._open: set[str] = set()
        self._depth = 0
        self._written = 0
        self._steps = 0
        self._functions: dict[str, Callable[[Node], Any]] = {
            "Ref": self._ref,
            "Condition": self._condition,
            "GetAtt": self._get_att,
            "Sub": self._sub,
            "Join": self._join,
            "Select": self._select,
            "Split": self._split,
            "If": self._if,
            "Equals": self._equals,
            "And": lambda node: all(self._truth(each) for each in self._items(node, 2, 10)),
            "Or": lambda node: any(self._truth(each) for each in self._items(node, 2, 10)),
            "Not": lambda node: not self._truth(self._items(node, 1, 1)[0]),
            "FindInMap": self._find_in_map,
            "Base64": lambda node: base64.b64encode(self.text(node).encode()).decode(),
            "ToJsonString": lambda node: self._bounded(json.dumps(self.value(node), separators=(",", ":")), node),
            "Length": lambda node: len(self._list(node)),
        }

    def refused(self, node: Node, message: str, hint: str = "") -> Refused:
        """The error about a node."""
        return Refused(self._template.place(node), message, hint=hint)

    # --- values

    def value(self, node: Node) -> Any:
        """A node as plain data; `NOTHING` where it is to be left out.

        Raises:
            Refused: it cannot be known.
        """
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise self.refused(node, f"more than {MAX_STEPS:,} values are needed to know this one")
        if self._depth >= MAX_DEPTH:
            raise self.refused(node, "nested too deeply")
        self._depth += 1
        try:
            function, argument = self._function_of(node)
            if function is not None:
                known = self._functions.get(function)
                if known is None:
                    raise self.refused(node, f"Fn::{function} cannot be resolved here", _HINTS.get(function, ""))
                return known(argument)
            if isinstance(node, Scalar):
                return self.scalar(node)
            if isinstance(node, Listing):
                items = [self.value(item) for item in node.items]
                return [item for item in items if item is not NOTHING]
            entries = [(key.text, self.value(item)) for key, item in node.entries]
            return {key: item for key, item in entries if item is not NOTHING}
        finally:
            self._depth -= 1

    def scalar(self, node: Scalar) -> Any:
        """A scalar that is no function."""
        return resolve(node.text, accounts=False) if node.plain else node.text

    def text(self, node: Node) -> str:
        """A node as text.

        Raises:
            Refused: it cannot be known, or is no text.
        """
        if isinstance(node, Scalar) and not node.tag and "${" not in node.text:
            return node.text  # as it is written: 1.10 is no number here
        value = self.value(node)
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str | int | float):
            return self._bounded(str(value), node)
        raise self.refused(node, "must be text here")

    def _bounded(self, text: str, node: Node) -> str:
        self._written += len(text)
        if self._written > MAX_WRITTEN:
            raise self.refused(node, f"the template makes texts of more than {MAX_WRITTEN:,} characters")
        if len(text) > MAX_TEXT:
            raise self.refused(node, f"becomes a text of more than {MAX_TEXT:,} characters")
        return text

    def _function_of(self, node: Node) -> tuple[str | None, Node]:
        """The function that a node calls, without `Fn::`, and its argument; None where it calls none."""
        if node.tag:
            return node.tag, replace(node, tag="")
        if isinstance(node, Table) and len(node.entries) == 1:
            key, argument = node.entries[0]
            if key.text.startswith("Fn::"):
                return key.text[4:], argument
            if key.text == "Ref" or (key.text == "Condition" and isinstance(argument, Scalar)):
                return key.text, argument
        return None, node

    def _items(self, node: Node, least: int, most: int) -> tuple[Node, ...]:
        """The arguments of a function that takes a list of them."""
        if not isinstance(node, Listing) or not least <= len(node.items) <= most:
            count = str(least) if least == most else f"{least} to {most}"
            raise self.refused(node, f"the function takes a list of {count}")
        return node.items

    def _list(self, node: Node) -> list[Any]:
        value = self.value(node)
        if not isinstance(value, list):
            raise self.refused(node, "must be a list here")
        return value

    # --- references

    def _ref(self, node: Node) -> Any:
        if not isinstance(node, Scalar):
            raise self.refused(node, "Ref takes a name")
        return self.reference(node.text, node)

    def reference(self, name: str, node: Node) -> Any:
        """What `Ref` of a name is."""
        if name == "AWS::NoValue":
            return NOTHING
        if name in self._pseudo:
            return self._pseudo[name]
        if name in self._template.parameters:
            return self._parameter(name, node)
        if name.partition(".")[0] in self._template.resources:
            return self.resources.ref(name, node)
        if name.startswith("AWS::"):
            raise self.refused(node, f"{name} is known only when it is deployed", f"give it: --parameter {name}=VALUE")
        known = [*self._template.parameters, *self._template.resources]
        raise self.refused(node, f"there is no parameter or resource {shown(name)}", suggestion(name, known))

    def _parameter(self, name: str, node: Node) -> Any:
        definition = self._template.parameters[name]
        kind = get(definition, "Type") if isinstance(definition, Table) else None
        type_name = kind.text if isinstance(kind, Scalar) else "String"
        hint = f"give it: --parameter {name}=VALUE"
        if name in self._given:
            text = self._given[name]
        elif type_name.startswith("AWS::SSM::"):
            raise self.refused(node, f"the value of parameter {name} is in Parameter Store", hint)
        else:
            default = get(definition, "Default") if isinstance(definition, Table) else None
            if isinstance(default, Listing):
                return [self.text(each) for each in default.items]
            if not isinstance(default, Scalar):
                raise self.refused(node, f"the parameter {name} has no default", hint)
            text = default.text
        if "List" in type_name:
            return [each.strip() for each in text.split(",")] if text else []
        number = resolve(text, accounts=False) if type_name == "Number" else text
        return number if isinstance(number, int | float) else text

    def _get_att(self, node: Node) -> Any:
        if isinstance(node, Listing):
            first, second = self._items(node, 2, 2)
            return self.attribute(self.text(first), self.text(second), node)
        if not isinstance(node, Scalar) or "." not in node.text:
            raise self.refused(node, "GetAtt takes a resource and the name of its attribute")
        name, _, attribute = node.text.partition(".")
        return self.attribute(name, attribute, node)

    def attribute(self, name: str, attribute: str, node: Node) -> Any:
        """What `Fn::GetAtt` is."""
        if name not in self._template.resources:
            raise self.refused(
                node, f"there is no resource {shown(name)}", suggestion(name, list(self._template.resources))
            )
        return self.resources.attribute(name, attribute, node)

    # --- text

    def _sub(self, node: Node) -> str:
        own: dict[str, Node] = {}
        text = node
        if isinstance(node, Listing):
            text, variables = self._items(node, 2, 2)
            if not isinstance(variables, Table):
                raise self.refused(variables, "Sub takes a text and a mapping of variables")
            own = {key.text: value for key, value in variables.entries}
        if not isinstance(text, Scalar):
            raise self.refused(node, "Sub takes a text")
        parts: list[str] = []
        length = end = 0
        for match in _VARIABLE.finditer(text.text):
            name = match["name"].strip()
            filled = f"${{{match['name']}}}" if match["literal"] else self._variable(name, own, text)
            parts += [text.text[end : match.start()], filled]
            length += len(filled)
            end = match.end()
            if length > MAX_TEXT:
                break
        return self._bounded("".join([*parts, text.text[end:]]), node)

    def _variable(self, name: str, own: Mapping[str, Node], node: Scalar) -> str:
        if name in own:
            return self.text(own[name])
        first, dot, attribute = name.partition(".")
        is_attribute = dot and first in self._template.resources
        value = self.attribute(first, attribute, node) if is_attribute else self.reference(name, node)
        if isinstance(value, str | int | float):
            return str(value)
        raise self.refused(node, f"${{{name}}} is no text")

    def _join(self, node: Node) -> str:
        delimiter, values = self._items(node, 2, 2)
        between = self.text(delimiter)
        items = self._list(values)
        if any(isinstance(item, list | dict) for item in items):
            raise self.refused(values, "Join takes a list of texts")
        texts = [str(item).lower() if isinstance(item, bool) else str(item) for item in items]
        if sum(map(len, texts)) + len(between) * len(texts) > MAX_TEXT:
            raise self.refused(node, f"becomes a text of more than {MAX_TEXT:,} characters")
        return self._bounded(between.join(texts), node)

    def _split(self, node: Node) -> list[str]:
        delimiter, text = self._items(node, 2, 2)
        between = self.text(delimiter)
        if not between:
            raise self.refused(delimiter, "Split takes a delimiter")
        return self.text(text).split(between)

    def _select(self, node: Node) -> Any:
        index, values = self._items(node, 2, 2)
        number, items = self.text(index), self._list(values)
        if not re.fullmatch(r"[0-9]{1,6}", number) or int(number) >= len(items):
            raise self.refused(index, f"Select finds nothing at {shown(number)} of {len(items)}")
        return items[int(number)]

    # --- conditions

    def holds(self, name: str, node: Node) -> bool:
        """Whether a condition of the template holds."""
        if name not in self._conditions:
            if name not in self._template.conditions:
                known = list(self._template.conditions)
                raise self.refused(node, f"there is no condition {shown(name)}", suggestion(name, known))
            if name in self._open:
                raise self.refused(node, f"the condition {name} depends on itself")
            self._open.add(name)
            try:
                self._conditions[name] = self._truth(self._template.conditions[name])
            finally:
                self._open.discard(name)
        return self._conditions[name]

    def _condition(self, node: Node) -> bool:
        if not isinstance(node, Scalar):
            raise self.refused(node, "Condition takes a name")
        return self.holds(node.text, node)

    def _truth(self, node: Node) -> bool:
        value = self.value(node)
        if value in ("true", "false"):
            return bool(value == "true")
        if not isinstance(value, bool):
            raise self.refused(node, "must be a condition")
        return value

    def _equals(self, node: Node) -> bool:
        left, right = self._items(node, 2, 2)
        return self.text(left) == self.text(right)

    def _if(self, node: Node) -> Any:
        name, then, otherwise = self._items(node, 3, 3)
        return self.value(then if self.holds(self.text(name), name) else otherwise)

    # --- mappings

    def _find_in_map(self, node: Node) -> Any:
        arguments = self._items(node, 3, 4)
        found: Node | None = self._template.mappings
        names = [self.text(each) for each in arguments[:3]]
        for name in names:
            found = get(found, name) if isinstance(found, Table) else None
        if found is not None:
            return self.value(found)
        default = get(arguments[3], "DefaultValue") if len(arguments) > 3 and isinstance(arguments[3], Table) else None
        if default is None:
            raise self.refused(node, f"the mappings have no {shown('.'.join(names))}")
        return self.value(default)
