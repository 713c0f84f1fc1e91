"""Reads a CloudFormation or SAM template, YAML or JSON, into its sections; what is in them is looked at when it is needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esmd.config.document import MAX_BYTES, Node, Scalar, Table, read_document
from esmd.config.report import Place

if TYPE_CHECKING:
    from pathlib import Path

    from esmd.config.report import Report

_SECTIONS = ("Parameters", "Mappings", "Conditions", "Globals", "Resources")


@dataclass(frozen=True, slots=True)
class Resource:
    """An entry of `Resources`.

    Attributes:
        name: its logical id.
        key: where it begins.
        kind: its `Type`.
        body: all of it.
        properties: empty where it has none.
    """

    name: str
    key: Scalar
    kind: str
    body: Table
    properties: Table


@dataclass(frozen=True, slots=True)
class Template:
    """A template.

    Attributes:
        file: as the user named it.
        parameters: by name.
        mappings: the whole section.
        conditions: by name.
        globals: the whole section.
        resources: by logical id, in the order of the file.
    """

    file: Path
    parameters: dict[str, Node] = field(default_factory=dict)
    mappings: Table = field(default_factory=lambda: Table(0, 0, ()))
    conditions: dict[str, Node] = field(default_factory=dict)
    globals: Table = field(default_factory=lambda: Table(0, 0, ()))
    resources: dict[str, Resource] = field(default_factory=dict)

    def place(self, node: Node, path: str = "") -> Place:
        """Where a node stands."""
        return Place(self.file, node.line, node.column, path)


def read_root(file: Path, report: Report, *, tags: bool) -> Table | None:
    """The mapping that a YAML or JSON file holds; None after an error, which is reported."""
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        report.error(Place(file), f"cannot be read: {reason[:1].lower()}{reason[1:]}")
        return None
    if raw.lstrip()[:1] == b"{":
        # JSON may be indented by tabs, which YAML does not take. A tab in a text of JSON is written as an escape.
        raw = raw.replace(b"\t", b" ")
    root = read_document(raw, file=file, report=report, tags=tags)
    if root is not None and not isinstance(root, Table):
        report.error(Place(file, root.line, root.column), "must be a mapping")
        return None
    return root


def read_template(file: Path, report: Report) -> Template | None:
    """The template in a file; None after an error that leaves nothing to go on with, which is reported."""
    root = read_root(file, report, tags=True)
    return None if root is None else template_of(file, root, report)


def template_of(file: Path, root: Table, report: Report) -> Template | None:
    """The template that a mapping is."""
    template = Template(file)
    sections: dict[str, Table] = {}
    for key, node in root.entries:
        if key.text not in _SECTIONS:
            continue
        if not isinstance(node, Table):
            report.error(template.place(node, key.text), "must be a mapping")
            return None
        sections[key.text] = node
    empty = Table(0, 0, ())
    if "Resources" not in sections:
        report.error(
            template.place(root), "no Resources: this is no template", hint="name a SAM or CloudFormation template"
        )
        return None
    return Template(
        file,
        parameters={key.text: node for key, node in sections.get("Parameters", empty).entries},
        mappings=sections.get("Mappings", empty),
        conditions={key.text: node for key, node in sections.get("Conditions", empty).entries},
        globals=sections.get("Globals", empty),
        resources=_resources(template, sections["Resources"], report),
    )


def _resources(template: Template, section: Table, report: Report) -> dict[str, Resource]:
    found: dict[str, Resource] = {}
    for key, node in section.entries:
        path = f"Resources.{key.text}"
        if key.text.startswith("Fn::"):
            report.error(
                template.place(key, path),
                f"{key.text.split('::')[1]} makes resources that are known only when it is deployed",
                hint="import the template that the deployment shows as processed",
            )
            continue
        kind = get(node, "Type") if isinstance(node, Table) else None
        if not isinstance(node, Table) or not isinstance(kind, Scalar):
            report.error(template.place(node, path), "a resource is a mapping with a Type")
            continue
        properties = get(node, "Properties")
        found[key.text] = Resource(
            key.text,
            key,
            kind.text,
            node,
            properties if isinstance(properties, Table) else Table(node.line, node.column, ()),
        )
    return found


def get(table: Table, name: str) -> Node | None:
    """The value of a key; None without it."""
    return next((node for key, node in table.entries if key.text == name), None)
