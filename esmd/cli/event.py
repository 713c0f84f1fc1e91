"""`esmd event`: prints a realistic event, to try a handler with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esmd.cli.event_arguments import check, find_mapping, read_changes, read_content, read_pair, read_text, repeat
from esmd.cli.pretty import put
from esmd.config.values import queue_arn, stream_arn
from esmd.dev.sample_events import Chance, dynamodb_event, kinesis_event, made_up_order, sqs_event

if TYPE_CHECKING:
    from collections.abc import Callable

_ACCOUNT = "000000000000"
_REGION = "us-east-1"
_LABEL = "2026-01-01T00:00:00.000"
"""Of a table's stream, where nobody knows it."""

_MOST_RECORDS = 10_000
"""Of a batch, for every kind of source [specification A.1, B.1]."""


class _Kinds(click.Group):
    """Lists the kinds as everything else does: queues first."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


@click.group("event", cls=_Kinds)
def command() -> None:
    """Print an event as AWS would send it, made up around your own records.

    Ids, digests, times, sequence numbers and base64 data are as AWS has them: the event is built by the code that
    builds those of the mappings. On a terminal it is indented, elsewhere it is one line, to be piped on.

    \b
    Examples:
      esmd event sqs
      esmd event sqs --body '{"order": 7}' -n 3 | esmd invoke orders -e -
      esmd event kinesis --body @reading.json --key sensor-1 > event.json
      esmd event dynamodb --old '{"id": "a", "n": 1}' --item '{"id": "a", "n": 2}'
      esmd event sqs --mapping orders | esmd filter --source sqs '{"body": {"type": ["order"]}}'

    `esmd event KIND --help` has the options of each kind.
    """  # noqa: D301 - click reads the character of \b, not its escape


def _shared(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that every kind has."""
    options = [
        click.option(
            "-n",
            "count",
            type=click.IntRange(1, _MOST_RECORDS),
            metavar="N",
            help="How many records. The given ones are repeated in turn; without any, they are made up.  "
            "[default: one for each that is given]",
        ),
        click.option(
            "mapping_name",
            "--mapping",
            metavar="NAME",
            help="Take ARN and region from this mapping of the configuration.",
        ),
        click.option(
            "paths",
            "--config",
            metavar="PATH",
            multiple=True,
            type=click.Path(path_type=Path),
            help="The configuration for --mapping; may be given several times.  [default: ./esmd.yaml]",
        ),
        click.option("--seed", type=int, metavar="N", help="Print the same ids and times for the same N."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


# --- SQS


@command.command("sqs")
@click.option(
    "bodies",
    "--body",
    multiple=True,
    metavar="TEXT|@FILE",
    help="A message's body, as it is or from a file. May be given several times, a message each.",
)
@click.option(
    "queue", "--queue", default="orders", show_default=True, metavar="NAME|ARN", help="The queue they come from."
)
@click.option("--fifo", is_flag=True, help="The queue is a FIFO queue. Its name says so too, or --group.")
@click.option("--group", metavar="ID", help="The message group in a FIFO queue.  [default: default]")
@click.option(
    "attributes", "--attribute", multiple=True, metavar="NAME=TEXT", help="A message attribute; may be given again."
)
@_shared
def sqs(
    *,
    bodies: tuple[str, ...],
    queue: str,
    fifo: bool,
    group: str | None,
    attributes: tuple[str, ...],
    count: int | None,
    mapping_name: str | None,
    paths: tuple[Path, ...],
    seed: int | None,
) -> None:
    """Print an event of an SQS queue.

    \b
    Examples:
      esmd event sqs -n 3
      esmd event sqs --body '{"order": 7}' --body 'not JSON' --attribute source=web
      esmd event sqs --body @order.json --queue orders.fifo --group customer-1
      esmd event sqs --mapping orders --config esmd.yaml
    """  # noqa: D301 - as above
    windowed = False
    if mapping_name is not None:
        mapping = find_mapping(mapping_name, "sqs", paths)
        queue = mapping.event_source_arn
        windowed = mapping.maximum_batching_window_in_seconds > 0
    elif not queue.startswith("arn:"):
        is_fifo = (fifo or group is not None) and not queue.endswith(".fifo")
        queue = f"arn:aws:sqs:{_REGION}:{_ACCOUNT}:{queue}{'.fifo' if is_fifo else ''}"
    arn = check(queue_arn, queue, "--queue")
    if (fifo or group is not None) and not arn.fifo:
        raise click.UsageError(f"{arn.name} is not a FIFO queue: its name does not end in .fifo")
    texts = [read_text(body) for body in bodies]
    event = sqs_event(
        repeat(texts, count, lambda number: json.dumps(made_up_order(number))),
        queue_arn=str(arn),
        region=arn.region,
        group=(group or "default") if arn.fifo else None,
        attributes=dict(read_pair(each) for each in attributes),
        windowed=windowed,
        chance=Chance.of(seed),
    )
    put(event)


# --- Kinesis


@command.command("kinesis")
@click.option(
    "bodies",
    "--body",
    multiple=True,
    metavar="TEXT|@FILE",
    help="A record's data, as it is or from a file of any content. May be given several times, a record each.",
)
@click.option(
    "stream", "--stream", default="orders", show_default=True, metavar="NAME|ARN", help="The stream they come from."
)
@click.option("--key", metavar="TEXT", help="The partition key of every record.  [default: customer-1 to customer-3]")
@_shared
def kinesis(
    *,
    bodies: tuple[str, ...],
    stream: str,
    key: str | None,
    count: int | None,
    mapping_name: str | None,
    paths: tuple[Path, ...],
    seed: int | None,
) -> None:
    """Print an event of a Kinesis stream.

    \b
    Examples:
      esmd event kinesis -n 3
      esmd event kinesis --body '{"reading": 21.5}' --key sensor-1 --stream readings
      esmd event kinesis --body @picture.png
    """  # noqa: D301 - as above
    if mapping_name is not None:
        stream = find_mapping(mapping_name, "kinesis", paths).event_source_arn
    elif not stream.startswith("arn:"):
        stream = f"arn:aws:kinesis:{_REGION}:{_ACCOUNT}:stream/{stream}"
    arn = check(lambda text: stream_arn(text, kind="kinesis"), stream, "--stream")
    given = [read_content(body) for body in bodies]
    data = repeat(given, count, lambda number: json.dumps(made_up_order(number)).encode())
    event = kinesis_event(
        data,
        keys=[key if key is not None else f"customer-{number % 3 + 1}" for number in range(len(data))],
        stream_arn=str(arn),
        region=arn.region,
        role_arn=f"arn:aws:iam::{arn.account_id}:role/esmd",
        chance=Chance.of(seed),
    )
    put(event)


# --- DynamoDB


@command.command("dynamodb")
@click.option(
    "items", "--item", multiple=True, metavar="JSON|@FILE", help="An item as it is now, in plain JSON; several times."
)
@click.option(
    "old_items", "--old", multiple=True, metavar="JSON|@FILE", help="An item as it was, in plain JSON; several times."
)
@click.option(
    "--event-name",
    type=click.Choice(["INSERT", "MODIFY", "REMOVE"]),
    help="What happened to made-up items. Of yours it is known: --item alone is INSERT, --old alone is REMOVE, "
    "both are MODIFY.  [default: INSERT]",
)
@click.option(
    "table", "--table", default="orders", show_default=True, metavar="NAME|ARN", help="The table, or its stream's ARN."
)
@click.option(
    "keys", "--key", multiple=True, metavar="NAME", help="Its key attributes, one or two times.  [default: id]"
)
@_shared
def dynamodb(
    *,
    items: tuple[str, ...],
    old_items: tuple[str, ...],
    event_name: str | None,
    table: str,
    keys: tuple[str, ...],
    count: int | None,
    mapping_name: str | None,
    paths: tuple[Path, ...],
    seed: int | None,
) -> None:
    """Print an event of a DynamoDB table's stream, with new and old images.

    Items are written in plain JSON; the event has DynamoDB's own form: {"n": 1} becomes {"n": {"N": "1"}}.

    \b
    Examples:
      esmd event dynamodb -n 3 --event-name MODIFY
      esmd event dynamodb --item '{"id": "a", "tags": ["new"], "price": 9.90}'
      esmd event dynamodb --old '{"sku": "a", "left": 1}' --key sku --table stock
    """  # noqa: D301 - as above
    from esmd.pollers.dynamodb import LATEST_LABEL  # noqa: PLC0415

    if mapping_name is not None:
        table = find_mapping(mapping_name, "dynamodb", paths).event_source_arn
    elif not table.startswith("arn:"):
        table = f"arn:aws:dynamodb:{_REGION}:{_ACCOUNT}:table/{table}/stream/{_LABEL}"
    if table.endswith(f"/stream/{LATEST_LABEL}"):
        table = table.removesuffix(LATEST_LABEL) + _LABEL
    arn = check(lambda text: stream_arn(text, kind="dynamodb"), table, "--table")
    event = dynamodb_event(
        read_changes(items, old_items, event_name, keys or ("id",), count),
        key_names=keys or ("id",),
        stream_arn=str(arn),
        region=arn.region,
        chance=Chance.of(seed),
    )
    put(event)
