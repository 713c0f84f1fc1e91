"""`esmd init`: a small configuration that works, with its handler."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOME = "us-east-1:000000000000"

_ARNS = {
    "sqs": f"arn:aws:sqs:{_HOME}:{{name}}",
    "kinesis": f"arn:aws:kinesis:{_HOME}:stream/{{name}}",
    "dynamodb": f"arn:aws:dynamodb:{_HOME}:table/{{name}}/stream/latest",
}

_MAPPINGS = {
    "sqs": """\
    batch_size: 10
    function_response_types: [ReportBatchItemFailures]
""",
    "kinesis": """\
    starting_position: TRIM_HORIZON
    batch_size: 100
    bisect_batch_on_function_error: true
    maximum_retry_attempts: 3
    destination_config:
      on_failure: {{destination: "arn:aws:sqs:us-east-1:000000000000:{name}-failures"}}
""",
    "dynamodb": """\
    starting_position: TRIM_HORIZON
    batch_size: 100
    bisect_batch_on_function_error: true
    maximum_retry_attempts: 3
    destination_config:
      on_failure: {{destination: "arn:aws:sqs:us-east-1:000000000000:{name}-failures"}}
    filter_criteria:
      filters:
        - pattern: {{eventName: [INSERT, MODIFY]}}
""",
}

_CONFIG = """\
# `esmd dev` runs this on an AWS of its own, `esmd run` on the one that AWS_ENDPOINT_URL names.
# `esmd lint` checks it; docs/configuration.md explains every setting.
version: 1
functions:
  {name}:
    handler: {module}:handle
    timeout: 10s
mappings:
  {name}:
    event_source_arn: {arn}
    function_name: {name}
"""

_HANDLERS: Mapping[str, str] = {
    "sqs": '''\
"""Takes the messages of the queue, and names those that it could not take: only they are delivered again."""


def handle(event, context):
    failures = []
    for record in event["Records"]:
        try:
            take(record["body"])
        except ValueError as error:
            print(f"message {record['messageId']}: {error}")
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}


def take(body):
    if not body.strip():
        raise ValueError("an empty message")
    print(f"took {body}")
''',
    "kinesis": '''\
"""Takes the records of the stream; an error makes the batch be tried again, split in two."""

import base64


def handle(event, context):
    for record in event["Records"]:
        take(base64.b64decode(record["kinesis"]["data"]).decode())


def take(data):
    if not data.strip():
        raise ValueError("an empty record")
    print(f"took {data}")
''',
    "dynamodb": '''\
"""Takes the changes of the table; an error makes the batch be tried again, split in two."""


def handle(event, context):
    for record in event["Records"]:
        change = record["dynamodb"]
        print(f"took {record['eventName']} of {change['Keys']}: {change.get('NewImage')}")
''',
}


class Name(click.ParamType[str]):
    """A name that a function, a mapping, a queue, a stream and a table may all have."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name."""
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{2,49}", str(value)):
            self.fail(f"{value!r}: 3 to 50 letters, digits, hyphens or underscores, a letter first", param, ctx)
        return str(value)


@click.command("init")
@click.argument("directory", metavar="[DIR]", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--source",
    type=click.Choice(["sqs", "kinesis", "dynamodb"]),
    default="sqs",
    show_default=True,
    help="What the mapping reads.",
)
@click.option(
    "--name", type=Name(), default="orders", show_default=True, help="Of the function, the mapping and its source."
)
def command(*, directory: Path, source: str, name: str) -> None:
    """Write a small esmd.yaml and its handler into DIR, by default into this folder.

    It works as it is: `esmd dev` starts an AWS of its own, makes the source, and feeds the handler. Nothing that exists is
    overwritten.

    \b
    Examples:
      esmd init
      esmd init shop --source kinesis --name clicks
      esmd init && esmd dev --traffic
    """  # noqa: D301 - click reads the character of \b, not its escape
    module = f"{name.replace('-', '_').lower()}_handler"
    config = _CONFIG.format(name=name, module=module, arn=_ARNS[source].format(name=name))
    files = {
        directory / "esmd.yaml": config + _MAPPINGS[source].format(name=name),
        directory / f"{module}.py": _HANDLERS[source],
    }
    for file in files:
        if file.exists():
            raise click.ClickException(f"{file} exists, and nothing is overwritten")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            with file.open("x", encoding="utf-8") as stream:
                stream.write(text)
            click.echo(f"wrote {file}")
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    where = "" if directory == Path() else f" {directory}"
    click.echo(f"Run it on an AWS of its own, with sample records: esmd dev{where} --traffic")
