"""`esmd filter`: grep for events, with the patterns that mappings use."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from esmd.cli.exits import Exit
from esmd.mappings.exact_json import decode
from esmd.mappings.filters import Source, compile_filters, filter_warnings
from esmd.mappings.patterns import InvalidPattern, compile_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_NAMED_LINES = 10
"""Unreadable lines that are named one by one; the rest is only counted."""

_CARET_WINDOW = 40
"""Characters of the pattern shown on either side of the place of an error."""

_HELP = """Print the lines of FILE whose JSON object matches PATTERN.

PATTERN is an event pattern, as in a mapping's filters, or @FILE to read one. FILE holds one JSON object a line, in
UTF-8; without FILE, or with "-", standard input is read. Matching lines are printed byte for byte.

With --source the lines are records of a Lambda event and the rules of that source apply: the body of an SQS message
and the data of a Kinesis record are read as JSON. A line may also be a whole event: of its "Records", the matching
ones are printed, one a line.

\b
Examples
  Orders above 100, among events of any kind:
    esmd filter '{"kind": ["order"], "amount": [{"numeric": [">", 100]}]}' events.jsonl
  Would this filter let the message through?
    esmd filter --source sqs '{"body": {"kind": ["order"]}}' event.json
  How many records would a mapping filter out?
    esmd filter --source dynamodb --invert --count @filter.json records.jsonl
  Errors out of a log that grows:
    tail -f app.log | esmd filter '{"level": [{"equals-ignore-case": "error"}]}'

\b
Exit codes
  0   something was printed or counted
  1   nothing was
  78  the pattern is invalid
"""


class _NotAnEventError(ValueError):
    """A line that cannot be matched; the text says why."""


@click.command("filter", help=_HELP, short_help="Grep for events: print the JSON lines that a pattern matches.")
@click.argument("pattern")
@click.argument("file", type=click.File("rb"), default="-")
@click.option(
    "--source",
    type=click.Choice(["sqs", "kinesis", "dynamodb"]),
    help="Apply the rules of this source to event records. Default: plain patterns on any JSON object.",
)
@click.option("-v", "--invert", is_flag=True, help="Select what does not match.")
@click.option("-c", "--count", is_flag=True, help="Print how many were selected, not the lines.")
@click.pass_context
def command(
    ctx: click.Context, *, pattern: str, file: BinaryIO, source: Source | None, invert: bool, count: bool
) -> None:
    """Select lines and leave with the exit code that says whether there were any."""
    text = _pattern_text(pattern)
    try:
        matches = _matcher(text, source)
    except InvalidPattern as error:
        click.echo(describe(error, text), err=True)
        ctx.exit(Exit.CONFIG)
    output = sys.stdout.buffer
    reader = _Reader(file, name=getattr(file, "name", "<stdin>"), whole_events=source is not None)
    selected = 0
    try:
        for event, line in reader.events():
            if matches(event) is invert:
                continue
            selected += 1
            if not count:
                output.write(line)
                # At once, so that a growing log can be followed and a closed pipe is noticed.
                output.flush()
        if count:
            output.write(b"%d\n" % selected)
            output.flush()
    except BrokenPipeError:
        # The reader has seen enough (`head`). Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    reader.report()
    ctx.exit(Exit.OK if selected else Exit.FAILED)


def describe(error: InvalidPattern, text: str) -> str:
    """An invalid pattern for people: Lambda's answer, the reason, and the place with a caret under it."""
    where = _path_text(error)
    lines = [f"esmd filter: {error.aws_message}", f"  {where}{error.message}"]
    if error.offset is not None:
        start = text.rfind("\n", 0, error.offset) + 1
        end = text.find("\n", error.offset)
        line = text[start : len(text) if end < 0 else end].replace("\t", " ").replace("\r", " ")
        column = error.offset - start
        cut = max(0, column - _CARET_WINDOW)
        before = "..." if cut else ""
        after = "..." if len(line) > column + _CARET_WINDOW else ""
        lines.append(f"  {before}{line[cut : column + _CARET_WINDOW]}{after}")
        lines.append("  " + " " * (len(before) + column - cut) + "^")
    return "\n".join(lines)


def _path_text(error: InvalidPattern) -> str:
    if not error.path:
        return ""
    text = ""
    for step in error.path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    text = text.removeprefix(".")
    return f"{text if len(text) <= 2 * _CARET_WINDOW else '...' + text[-2 * _CARET_WINDOW :]}: "


def _pattern_text(argument: str) -> str:
    if not argument.startswith("@"):
        return argument
    try:
        return Path(argument[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise click.BadParameter(f"cannot read {argument[1:]!r}: {reason}", param_hint="PATTERN") from error


def _matcher(text: str, source: Source | None) -> Callable[[dict[str, Any]], bool]:
    if source is None:
        return compile_pattern(text).matches
    for warning in filter_warnings(text, source=source):
        click.echo(f"esmd filter: warning: {warning.message}", err=True)
    return compile_filters([text], source=source).matches


class _Reader:
    """Reads events line by line, keeps none of them, and remembers which lines were unreadable."""

    def __init__(self, lines: Iterable[bytes], *, name: str, whole_events: bool) -> None:
        self.lines = lines
        self.name = name
        self.whole_events = whole_events
        self.bad_lines = 0

    def events(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Each event with the bytes to print for it."""
        for number, line in enumerate(self.lines, start=1):
            if line.isspace():
                continue
            try:
                found = self._events_of_line(line)
            except _NotAnEventError as error:
                self.bad_lines += 1
                if self.bad_lines <= _NAMED_LINES:
                    click.echo(f"esmd filter: {self.name}:{number}: {error}", err=True)
                continue
            yield from found

    def report(self) -> None:
        """Say how many lines were left out, if any."""
        if self.bad_lines:
            lines = "1 line is" if self.bad_lines == 1 else f"{self.bad_lines} lines are"
            click.echo(f"esmd filter: {lines} no event and did not match", err=True)

    def _events_of_line(self, line: bytes) -> list[tuple[dict[str, Any], bytes]]:
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise _NotAnEventError(f"not UTF-8 at byte {error.start + 1}") from None
        try:
            event = decode(text)
        except json.JSONDecodeError as error:
            raise _NotAnEventError(
                f"not JSON: {error.msg[:1].lower()}{error.msg[1:]} at character {error.pos + 1}"
            ) from None
        except ValueError as error:
            raise _NotAnEventError(f"not JSON: {error}") from None
        if not isinstance(event, dict):
            raise _NotAnEventError("JSON, but not an object")
        records = event.get("Records") if self.whole_events else None
        if not isinstance(records, list):
            return [(event, line)]
        if not all(isinstance(record, dict) for record in records):
            raise _NotAnEventError('an element of "Records" is not an object')
        return [(record, piece.encode() + b"\n") for record, piece in zip(records, _record_texts(text), strict=True)]


def _record_texts(text: str) -> list[str]:
    """The elements of `Records` as they stand in the text of a valid event, so that no number or key order changes."""
    pieces: list[str] = []
    at = _skip_space(text, _skip_space(text, 0) + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        at = _skip_space(text, _skip_space(text, at) + 1)
        if key == "Records" and text[at] == "[":
            # A key given twice: the last one counts, for the parser as well.
            pieces = []
            at = _skip_space(text, at + 1)
            while text[at] != "]":
                _, end = _DECODER.raw_decode(text, at)
                pieces.append(text[at:end])
                at = _skip_space(text, end)
                at = _skip_space(text, at + 1) if text[at] == "," else at
            at += 1
        else:
            _, at = _DECODER.raw_decode(text, at)
        at = _skip_space(text, at)
        at = _skip_space(text, at + 1) if text[at] == "," else at
    return pieces


# Only to find where values end: numbers stay text, of whatever length.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)


def _skip_space(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\t", "\n", "\r"):
        at += 1
    return at
