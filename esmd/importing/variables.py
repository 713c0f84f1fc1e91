"""Variables of a serverless.yml, filled in where they stand; intrinsic functions in its `resources` as in a template.

| written                               | becomes                                                                        |
|---------------------------------------|--------------------------------------------------------------------------------|
| `${self:PATH}`                        | what stands there in the file, also a list or mapping                          |
| `${opt:NAME}`                         | `--opt NAME=VALUE`                                                             |
| `${param:NAME}`                       | `--opt NAME=VALUE`, else `params.STAGE.NAME` or `params.default.NAME`          |
| `${env:NAME}`                         | a variable of the environment                                                  |
| `${sls:stage}`                        | the stage                                                                      |
| `${aws:region}`, `${aws:accountId}`   | region and account                                                             |
| `${A, B}`                             | A, else B: a variable or a text; every source may lead on to the next          |
| `${AWS::Region}` and other pseudo parameters | left to `Fn::Sub`                                                       |
| `${file(...)}`, `${ssm:...}`, `${cf:...}`, `${s3:...}`, any other | refused                                            |

Variables inside of variables are filled in first.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from esmd.config.document import Listing, Node, Scalar, Table, resolve
from esmd.config.report import shown
from esmd.importing.intrinsics import MAX_DEPTH, Resolver
from esmd.importing.template import get

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.importing.template import Template

_INNERMOST = re.compile(r"\$\{(?P<inside>[^${}]*(?:\$(?!\{)[^${}]*)*)\}")
_SOURCE = re.compile(r"(?P<source>[A-Za-z][A-Za-z0-9]*)(?:\((?P<argument>[^)]*)\))?:(?P<address>.*)", re.DOTALL)
_MOST_ROUNDS: Final = 200
_MOST_LINKS: Final = 20

_ELSEWHERE = {
    "file": "it stands in another file: write it into a copy of this one",
    "ssm": "it is in Parameter Store: write the value itself",
    "cf": "it comes from another stack: write the value itself",
    "s3": "it is in S3: write the value itself",
}

MISSING: Final = object()
"""A variable that has no value where it was looked for."""


class Variables(Resolver):
    """Values of a serverless.yml.

    Args:
        root: the whole file.
        resources: the template under `resources`.
        options: of the command line, by name.
        environ: the environment.
        pseudo: pseudo parameters of CloudFormation.
    """

    def __init__(
        self,
        root: Table,
        resources: Template,
        *,
        options: Mapping[str, str],
        environ: Mapping[str, str],
        pseudo: Mapping[str, str],
    ) -> None:
        super().__init__(resources, given={}, pseudo=pseudo)
        self._root = root
        self._options = options
        self._environ = environ

    @property
    def stage(self) -> str:
        """The stage that is deployed: `--opt stage=...`, `provider.stage`, `dev`."""
        if "stage" in self._options:
            return self._options["stage"]
        named = self.found("provider", "stage")
        return "dev" if named is None else self.text(named)

    def found(self, *path: str) -> Node | None:
        """What stands at a path in the file; None where nothing does."""
        node: Node | None = self._root
        for name in path:
            for _ in range(_MOST_LINKS):
                if not isinstance(node, Scalar) or "${" not in node.text:
                    break
                node = self._node_of(node)  # a variable that stands for a mapping
            if isinstance(node, Listing):
                node = node.items[int(name)] if name.isdecimal() and int(name[:6]) < len(node.items) else None
            else:
                node = get(node, name) if isinstance(node, Table) else None
        return node

    def scalar(self, node: Scalar) -> Any:
        """A scalar with its variables filled in."""
        if "${" not in node.text:
            return super().scalar(node)
        text, inside = self._filled(node)
        return text if inside is None else self._variable_value(inside, node)

    def _filled(self, node: Scalar) -> tuple[str, str | None]:
        """A text with its variables filled in; and what the last one says, where that is all of the text."""
        text = node.text
        for _ in range(_MOST_ROUNDS):
            match = next((m for m in _INNERMOST.finditer(text) if not m["inside"].startswith("AWS::")), None)
            if match is None or match[0] == text:
                return text, None if match is None else match["inside"]
            value = self._variable_value(match["inside"], node)
            if isinstance(value, list | dict):
                raise self.refused(node, f"{shown(match[0])} is a list or mapping inside of a text")
            written = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            text = self._bounded(text[: match.start()] + written + text[match.end() :], node)
        raise self.refused(node, f"more than {_MOST_ROUNDS} variables in one text")

    def _node_of(self, node: Scalar) -> Node | None:
        """What a `${self:...}` that is the whole of a text leads to; None for any other text."""
        if self._depth >= MAX_DEPTH:
            raise self.refused(node, "nested too deeply")
        self._depth += 1
        try:
            _, inside = self._filled(node)
            parts = _SOURCE.fullmatch(_alternatives(inside)[0]) if inside is not None else None
            return self.found(*parts["address"].split(".")) if parts is not None and parts["source"] == "self" else None
        finally:
            self._depth -= 1

    def _variable_value(self, inside: str, node: Scalar) -> Any:
        for alternative in _alternatives(inside):
            value = self._alternative(alternative, node)
            if value is not MISSING:
                return value
        raise self.refused(node, f"the variable {shown(f'${{{inside}}}')} has no value", self._hint(inside))

    def _alternative(self, text: str, node: Scalar) -> Any:
        if re.fullmatch(r"'[^']*'|\"[^\"]*\"", text):
            return text[1:-1]
        match = _SOURCE.fullmatch(text)
        if match is None:
            plain = resolve(text, accounts=False)
            if re.fullmatch(r"file\(.*\)", text):
                raise self.refused(node, f"{shown(text)} cannot be resolved here", _ELSEWHERE["file"])
            if isinstance(plain, str):
                raise self.refused(node, f"cannot read the variable {shown(text)}")
            return plain
        source, address = match["source"], match["address"].strip()
        match source:
            case "self":
                found = self.found(*address.split("."))
                default = self._implied(address) if found is None else MISSING
                return default if found is None else self.value(found)
            case "opt":
                return self._options.get(address, MISSING)
            case "param":
                return self._parameter_value(address)
            case "env":
                return self._environ.get(address, MISSING)
            case "sls" if address == "stage":
                return self.stage
            case "aws" if address in ("region", "accountId"):
                return self._pseudo["AWS::Region" if address == "region" else "AWS::AccountId"]
            case _:
                raise self.refused(node, f"${{{source}:...}} cannot be resolved here", _ELSEWHERE.get(source, ""))

    def _implied(self, address: str) -> Any:
        """What the framework takes for a setting that the file leaves out."""
        return {
            "provider.stage": self._options.get("stage", "dev"),
            "provider.region": self._pseudo["AWS::Region"],
        }.get(address, MISSING)

    def _parameter_value(self, name: str) -> Any:
        if name in self._options:
            return self._options[name]
        found = self.found("params", self.stage, name) or self.found("params", "default", name)
        return MISSING if found is None else self.value(found)

    def _hint(self, inside: str) -> str:
        match = _SOURCE.fullmatch(_alternatives(inside)[0])
        if match is not None and match["source"] in ("opt", "param"):
            return f"give it: --opt {match['address'].strip()}=VALUE"
        return "set the variable" if match is not None and match["source"] == "env" else ""


def _alternatives(inside: str) -> list[str]:
    """The parts of `A, B`, in order; a comma in quotes or parentheses parts nothing."""
    return [part.strip() for part in re.findall(r"(?:'[^']*'|\"[^\"]*\"|\([^)]*\)|[^,'\"(]|['\"(])+", inside)] or [""]
