"""`esmd replay`: failure records and dead letters, handled again.

| given              | what is replayed                                  | how                                        |
|--------------------|---------------------------------------------------|--------------------------------------------|
| `--queue`          | the failure records in a queue                    | read from the stream again, and invoked    |
| `--s3`             | those under a prefix of a bucket                  | invoked: they have the event with them     |
| `--file`           | those of a file                                   | as the record allows                       |
| `--dlq`            | the messages of a dead-letter queue               | sent back to the queue they came from      |
| `--dlq --to`       | the same                                          | sent to that queue                         |
| `--dlq --function` | the same                                          | invoked                                    |
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from esmd.cli.configuration import load_configuration
from esmd.cli.event_arguments import check
from esmd.cli.exits import Exit
from esmd.cli.filter import describe
from esmd.cli.options import log_format_option, log_level_option
from esmd.mappings.filters import compile_filters
from esmd.mappings.patterns import InvalidPattern, compile_pattern
from esmd.replay.names import parse_queue, parse_s3

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from esmd.observe.logging import Format

_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Rate(click.ParamType[float]):
    """Calls per second: `5`, `5/s`, `30/m`, `100/h`."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Calls per second of the text."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(?:/([smh]))?", str(value), re.ASCII)
        if match is None or not float(match[1]):
            self.fail(f"{value!r} is not a rate; write 5, 5/s, 30/m or 100/h", param, ctx)
        return float(match[1]) / _PERIODS[match[2] or "s"]


@click.command("replay")
@click.argument("paths", metavar="[CONFIG]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--queue", metavar="QUEUE", help="Failure records in this queue: its name, URL or ARN.")
@click.option("--s3", metavar="s3://BUCKET/PREFIX", help="Failure records in the objects under this prefix.")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Failure records in this file: JSON, a JSON list, or JSON lines.",
)
@click.option("--dlq", metavar="QUEUE", help="Dead letters in this queue.")
@click.option(
    "--to", metavar="QUEUE", help="Where dead letters go.  [default: the queue whose redrive policy names --dlq]"
)
@click.option(
    "--function", metavar="NAME", help="Invoke this function.  [default: the mapping's; of dead letters: none]"
)
@click.option(
    "pattern",
    "--filter",
    metavar="PATTERN",
    help="Only what this event pattern matches: dead letters as the records of an event, failure records as they are.",
)
@click.option("--rate", type=Rate(), metavar="N/s", help="At most so many invocations or messages: 5/s, 30/m.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many records or messages.")
@click.option("--dry-run", is_flag=True, help="Say what would be replayed; messages are hidden for a moment only.")
@click.option(
    "--delete", is_flag=True, help="Delete objects of --s3 that were replayed. Messages always leave their queue."
)
@click.option(
    "--delete-expired", is_flag=True, help="Let go of failure records too whose records are gone from the stream."
)
@click.option(
    "new_ids",
    "--new-deduplication-ids",
    is_flag=True,
    help="Send to a FIFO queue with new deduplication ids: it drops what it has seen in the last five minutes.",
)
@click.option(
    "--allow-remote", is_flag=True, help="Allow an endpoint that is not local, such as AWS itself (aws.allow_remote)."
)
@log_format_option
@log_level_option("warning")
def command(
    *,
    paths: tuple[Path, ...],
    log_format: Format,
    log_level: str,
    allow_remote: bool,
    pattern: str | None,
    **given: Any,
) -> None:
    """Handle again what was given up: failure records of streams, and dead letters of queues.

    A failure record says which records of a stream a function could not process. They are read from the stream again,
    and the function that its mapping names, or another one, is invoked with them. Dead letters go back to their queue,
    or to a function.

    What is replayed successfully leaves its queue, and nothing else does: what fails, has expired or is interrupted
    stays, and can be replayed again. Something may be handled twice, as always.

    The exit code is 1 if something failed or had expired.

    \b
    Examples:
      esmd replay --queue orders-failures --dry-run
      esmd replay --queue orders-failures --rate 5/s
      esmd replay --s3 s3://failures/aws/lambda/ --function repair --delete
      esmd replay --file records.jsonl --limit 1
      esmd replay --dlq orders-dead
      esmd replay --dlq orders-dead --filter '{"body": {"type": ["order"]}}' --function orders
    """  # noqa: D301 - click reads the character of \b, not its escape
    _check(given)
    config = load_configuration(paths, warnings=[])
    function = given["function"]
    if function is not None and function not in config.functions:
        known = ", ".join(sorted(config.functions)) or "none"
        raise click.BadParameter(f"there is no function {function!r}; there are: {known}", param_hint="--function")
    # All of this brings botocore, which wrong usage need not wait for.
    from esmd.cli.replaying import Asked, replay  # noqa: PLC0415

    asked = Asked(wanted=_wanted(pattern, letters=given["dlq"] is not None), **given)
    try:
        went_well = asyncio.run(
            replay(config, asked, log_format=log_format, log_level=log_level, allow_remote=allow_remote)
        )
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise SystemExit(Exit.INTERRUPTED) from None
    raise SystemExit(Exit.OK if went_well else Exit.FAILED)


def _check(given: Mapping[str, Any]) -> None:
    """Refuse options that do not go together."""
    sources = [name for name in ("queue", "s3", "file", "dlq") if given[name] is not None]
    if len(sources) != 1:
        raise click.UsageError("name one of --queue, --s3, --file and --dlq: what is to be replayed")
    [source] = sources
    for option, wrong in (
        ("--to", given["to"] and source != "dlq"),
        ("--new-deduplication-ids", given["new_ids"] and source != "dlq"),
        ("--delete", given["delete"] and source != "s3"),
        ("--delete-expired", given["delete_expired"] and source == "dlq"),
    ):
        if wrong:
            raise click.UsageError(f"{option} does not go with --{source}")
    if given["function"] and (given["to"] or given["new_ids"]):
        raise click.UsageError("dead letters are invoked with --function, or sent on: not both")
    parsers: dict[str, Callable[[str], object]] = {
        "queue": parse_queue,
        "dlq": parse_queue,
        "to": parse_queue,
        "s3": parse_s3,
    }
    for name, parse in parsers.items():
        if given[name] is not None:
            check(parse, given[name], f"--{name}")


def _wanted(text: str | None, *, letters: bool) -> Callable[[Mapping[str, Any]], bool]:
    """What `--filter` lets through."""
    if text is None:
        return lambda _: True
    try:
        if letters:
            return compile_filters([text], source="sqs").matches
        return compile_pattern(text).matches
    except InvalidPattern as error:
        click.echo(describe(error, text).replace("esmd filter:", "esmd replay:", 1), err=True)
        raise SystemExit(Exit.CONFIG) from error
