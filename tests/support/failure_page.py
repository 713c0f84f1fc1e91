"""Writes the parts of docs/stream-failures.md that come from the code: the tables, and the worked example from a real run.

    PYTHONPATH=tests python -m support.failure_page

brings the page up to date; a test compares.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from esmd.mappings import parts, policy, verdicts
from esmd.mappings.commands import Bisected, Discard, Invoke, Processed, Retrying, Wait
from esmd.mappings.failures import Origin, invocation_record
from esmd.mappings.policy import BatchPolicy

from support.policy_lab import Clock, Step, Story, failing_on, ids, lines, options, records, run

PAGE = Path(__file__).parents[2] / "docs/stream-failures.md"
_MARKED = re.compile(r"(<!-- from the code: (\S+) -->\n).*?(\n<!-- end -->)", flags=re.DOTALL)
_START = 1_700_000_000.0


def worked_example() -> Story:
    """Ten records, the third bad, bisect on, two retries, a destination; waits without jitter."""
    batch = records(*range(1, 11), arrived_at=_START)
    policy_of_it = BatchPolicy(batch, options(bisect=True, maximum_retry_attempts=2))
    return run(policy_of_it, failing_on(3), clock=Clock(_START))


def render(page: str) -> str:
    """The page with every marked part as the code has it now."""
    story = worked_example()
    made = {
        "verdicts": "\n".join(lines(verdicts.__doc__, "outcome")),
        "transitions": "\n".join(lines(policy.__doc__, "verdict")),
        "commands": "\n".join(lines(policy.__doc__, "attempts left")),
        "restart": "\n".join(lines(parts.__doc__, "record")),
        "picture": picture(story),
        "steps": steps(story),
        "record": failure_record(story),
    }
    return _MARKED.sub(lambda marked: f"{marked[1]}\n{made[marked[2]]}\n{marked[3]}", page)


def span(numbers: list[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def picture(story: Story) -> str:
    """The parts of the batch as a Mermaid tree, each with what became of it; left before right."""
    invoked: dict[tuple[int, ...], int] = {}
    fate: dict[tuple[int, ...], str] = {}
    edges: list[str] = []
    for step in story.steps:
        if isinstance(step.command, Invoke):
            sent = tuple(ids(step.command.records))
            invoked[sent] = invoked.get(sent, 0) + 1
        elif isinstance(step.command, Discard):
            fate[tuple(ids(step.command.records))] = "destination"
        for note in step.notes:
            members = tuple(ids(note.records))
            if isinstance(note, Processed):
                fate[members] = "processed"
            elif isinstance(note, Bisected):
                fate[members] = f"split {note.sizes[0]} + {note.sizes[1]}"
                left, right = members[: note.sizes[0]], members[note.sizes[0] :]
                edges += [f"    {name(members)} --> {name(left)}", f"    {name(members)} --> {name(right)}"]
    nodes = []
    for members, outcome in sorted(fate.items(), key=lambda item: (item[0][0], -len(item[0]))):
        count = invoked[members]
        times = "1 invocation" if count == 1 else f"{count} invocations"
        style = {"processed": ":::good", "destination": ":::bad"}.get(outcome, "")
        nodes.append(f'    {name(members)}["{span(list(members))}<br/>{times}: {outcome}"]{style}')
    styles = [
        "    classDef good fill:#d3f2d3,stroke:#2e7d32,color:#000",
        "    classDef bad fill:#f9d6d5,stroke:#b71c1c,color:#000",
    ]
    return "\n".join(["```mermaid", "flowchart TD", *nodes, *edges, *styles, "```"])


def name(members: tuple[int, ...]) -> str:
    return f"p{members[0]}_{members[-1]}"


def steps(story: Story) -> str:
    """The run as a table; waits are the gaps between the times."""
    rows = [
        f"| {step.at - _START:.1f} | {said(step)} | {followed(step)} | {step.position or '-'} |"
        for step in story.steps
        if not isinstance(step.command, Wait)
    ]
    return "\n".join(["| second | command | then | checkpoint |", "|---|---|---|---|", *rows])


def said(step: Step) -> str:
    match step.command:
        case Invoke(sent):
            return f"invoke {span(ids(sent))}"
        case Discard(given_up, condition, count):
            return f"discard {span(ids(given_up))}: {condition} after {count} invocations"
    raise AssertionError(step)


def followed(step: Step) -> str:
    match step.notes:
        case (Processed(),):
            return "processed"
        case (Bisected(sizes=(left, right), delay=wait),):
            return f"fails; split {left} + {right}, on in {wait:g} s"
        case (Retrying(attempts=attempts, delay=wait),):
            return f"fails; attempt {attempts}, again in {wait:g} s"
        case ():
            return "fails; no attempt left" if isinstance(step.command, Invoke) else "the destination has it"
    raise AssertionError(step)


def failure_record(story: Story) -> str:
    """What the destination received."""
    origin = Origin(
        kind="kinesis",
        shard_id="shardId-000000000000",
        stream_arn="arn:aws:kinesis:us-east-1:000000000000:stream/orders",
        function_arn="arn:aws:lambda:us-east-1:000000000000:function:orders",
    )
    at = next(step.at for step in story.steps if isinstance(step.command, Discard))
    text = invocation_record(story.discards[0], origin, request_id="5d2b1c0e-7f3a-4b52-9f0e-6a1f4d8c2b90", now=at)
    return "\n".join(["```json", _indent(text), "```"])


def _indent(text: str) -> str:
    return json.dumps(json.loads(text), indent=2)


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
