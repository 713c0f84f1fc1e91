"""What `Ref` and `Fn::GetAtt` of a template's own resources become: names, ARNs and URLs, as far as the template fixes them.

| type                         | Ref             | attributes                                              |
|------------------------------|-----------------|---------------------------------------------------------|
| `AWS::SQS::Queue`            | its URL         | `Arn`, `QueueName`, `QueueUrl`                          |
| `AWS::SNS::Topic`            | its ARN         | `TopicArn`, `TopicName`                                 |
| `AWS::Kinesis::Stream`       | its name        | `Arn`                                                   |
| `AWS::Kinesis::StreamConsumer` | its ARN       | `ConsumerARN`, `StreamARN`, `ConsumerName`              |
| `AWS::DynamoDB::Table`, `GlobalTable` | its name | `Arn`, `StreamArn` with the label `latest`           |
| `AWS::Serverless::SimpleTable` | its name      | `Arn`                                                   |
| `AWS::S3::Bucket`            | its name        | `Arn`                                                   |
| `AWS::Lambda::Function`, `AWS::Serverless::Function` | its name | `Arn`; `Ref` of `NAME.Alias`: that alias |
| `AWS::Lambda::Alias`         | its ARN         | `AliasArn`                                              |
| any other                    | refused         | refused                                                 |

A resource without a name of its own gets one by CloudFormation when it is deployed; here it has its logical id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esmd.config.document import Scalar, Table
from esmd.config.report import shown
from esmd.importing.intrinsics import NOTHING
from esmd.importing.template import get

if TYPE_CHECKING:
    from esmd.config.document import Node
    from esmd.importing.intrinsics import Resolver
    from esmd.importing.model import Refused
    from esmd.importing.template import Resource, Template

_NAMED = {
    "AWS::SQS::Queue": "QueueName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::Kinesis::Stream": "Name",
    "AWS::Kinesis::StreamConsumer": "ConsumerName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::DynamoDB::GlobalTable": "TableName",
    "AWS::Serverless::SimpleTable": "TableName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Serverless::Function": "FunctionName",
}
"""The property that names a resource."""

_FUNCTIONS = ("AWS::Lambda::Function", "AWS::Serverless::Function")
_TABLES = ("AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable", "AWS::Serverless::SimpleTable")

DEFAULTS = {
    "AWS::AccountId": "000000000000",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::URLSuffix": "amazonaws.com",
}
"""Pseudo parameters that nobody gives."""


class Resources:
    """Knows the resources of one template.

    Args:
        template: where they stand.
        resolver: of their names.
        pseudo: values of pseudo parameters.
    """

    def __init__(self, template: Template, resolver: Resolver, pseudo: dict[str, str]) -> None:
        self._template = template
        self._resolver = resolver
        self._pseudo = pseudo
        self._names: dict[str, str] = {}
        self._open: set[str] = set()
        self.made_up: dict[str, str] = {}
        """Names that the template leaves to CloudFormation, by logical id: those that were asked for."""

    def is_made(self, resource: Resource) -> bool:
        """Whether its condition holds; it has none in most cases."""
        condition = get(resource.body, "Condition")
        return not isinstance(condition, Scalar) or self._resolver.holds(condition.text, condition)

    def name(self, resource: Resource, node: Node) -> str:
        """The physical name of a resource."""
        if resource.name not in self._names:
            if resource.name in self._open:
                raise self._resolver.refused(node, f"the name of {resource.name} depends on itself")
            self._open.add(resource.name)
            try:
                self._names[resource.name] = self._named(resource)
            finally:
                self._open.discard(resource.name)
        return self._names[resource.name]

    def ref(self, name: str, node: Node) -> Any:
        """What `Ref` is."""
        first, dot, rest = name.partition(".")
        resource = self._found(first, node)
        if dot:
            if rest == "Alias" and resource.kind in _FUNCTIONS:
                return self._alias(resource, "AutoPublishAlias", node)
            raise self._resolver.refused(node, f"there is no parameter or resource {shown(name)}")
        match resource.kind:
            case "AWS::SQS::Queue":
                return self.attribute(first, "QueueUrl", node)
            case "AWS::SNS::Topic":
                return self.attribute(first, "TopicArn", node)
            case "AWS::Kinesis::StreamConsumer":
                return self.attribute(first, "ConsumerARN", node)
            case "AWS::Lambda::Alias":
                return self.attribute(first, "AliasArn", node)
            case kind if kind in _NAMED:
                return self.name(resource, node)
            case _:
                raise self._unknown(resource, "Ref", node)

    def attribute(self, name: str, attribute: str, node: Node) -> Any:
        """What `Fn::GetAtt` is."""
        resource = self._found(name, node)
        match resource.kind, attribute:
            case "AWS::SQS::Queue", "Arn":
                return self._arn("sqs", self.name(resource, node))
            case "AWS::SQS::Queue", "QueueUrl":
                return self._queue_url(self.name(resource, node))
            case "AWS::SNS::Topic", "TopicArn":
                return self._arn("sns", self.name(resource, node))
            case ("AWS::SQS::Queue", "QueueName") | ("AWS::SNS::Topic", "TopicName"):
                return self.name(resource, node)
            case "AWS::Kinesis::Stream", "Arn":
                return self._arn("kinesis", f"stream/{self.name(resource, node)}")
            case "AWS::Kinesis::StreamConsumer", "ConsumerARN":
                return f"{self._property(resource, 'StreamARN', node)}/consumer/{self.name(resource, node)}:0"
            case "AWS::Kinesis::StreamConsumer", "StreamARN":
                return self._property(resource, "StreamARN", node)
            case "AWS::Kinesis::StreamConsumer", "ConsumerName":
                return self.name(resource, node)
            case kind, "Arn" if kind in _TABLES:
                return self._arn("dynamodb", f"table/{self.name(resource, node)}")
            case "AWS::DynamoDB::Table" | "AWS::DynamoDB::GlobalTable", "StreamArn":
                if get(resource.properties, "StreamSpecification") is None:
                    raise self._resolver.refused(
                        node, f"the table {name} has no stream", "give it a StreamSpecification"
                    )
                return self._arn("dynamodb", f"table/{self.name(resource, node)}/stream/latest")
            case "AWS::S3::Bucket", "Arn":
                return f"arn:{self._pseudo['AWS::Partition']}:s3:::{self.name(resource, node)}"
            case kind, "Arn" if kind in _FUNCTIONS:
                return self._arn("lambda", f"function:{self.name(resource, node)}")
            case "AWS::Lambda::Alias", "AliasArn":
                return self._alias(resource, "Name", node)
            case _:
                raise self._unknown(resource, attribute, node)

    def _found(self, name: str, node: Node) -> Resource:
        resource = self._template.resources[name]
        if not self.is_made(resource):
            raise self._resolver.refused(
                node, f"{name} is not made: its condition does not hold", "give another --parameter"
            )
        return resource

    def _named(self, resource: Resource) -> str:
        given = get(resource.properties, _NAMED[resource.kind])
        value = NOTHING if given is None else self._resolver.value(given)
        if given is not None and value is not NOTHING:
            return self._resolver.text(given)
        name = resource.name.lower() if resource.kind == "AWS::S3::Bucket" else resource.name
        if resource.kind == "AWS::SQS::Queue":
            fifo = get(resource.properties, "FifoQueue")
            name += ".fifo" if fifo is not None and self._resolver.text(fifo) == "true" else ""
        self.made_up[resource.name] = name
        return name

    def _property(self, resource: Resource, name: str, node: Node) -> str:
        found = get(resource.properties, name)
        if found is None:
            raise self._resolver.refused(node, f"{resource.name} has no {name}")
        return self._resolver.text(found)

    def _alias(self, resource: Resource, named_by: str, node: Node) -> str:
        alias = self._property(resource, named_by, node)
        if resource.kind == "AWS::Lambda::Alias":
            return f"{self._property(resource, 'FunctionName', node)}:{alias}"
        return f"{self._arn('lambda', f'function:{self.name(resource, node)}')}:{alias}"

    def _arn(self, service: str, rest: str) -> str:
        home = self._pseudo
        return f"arn:{home['AWS::Partition']}:{service}:{home['AWS::Region']}:{home['AWS::AccountId']}:{rest}"

    def _queue_url(self, name: str) -> str:
        home = self._pseudo
        return f"https://sqs.{home['AWS::Region']}.{home['AWS::URLSuffix']}/{home['AWS::AccountId']}/{name}"

    def _unknown(self, resource: Resource, what: str, node: Node) -> Refused:
        return self._resolver.refused(
            node,
            f"{what} of {resource.name} ({resource.kind}) is known only when it is deployed",
            "write the value itself, or a parameter and --parameter NAME=VALUE",
        )


def with_tables(properties: Table, name: str) -> Table:
    """The mapping that a property is; an empty one without it."""
    found = get(properties, name)
    return found if isinstance(found, Table) and not found.tag else Table(properties.line, properties.column, ())
