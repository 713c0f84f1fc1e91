"""`make conformance`: every scenario on every server, by esmd and by what the server brings itself, as a matrix."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.servers import MissingServerError, running
from conformance.stage import Result, Stage, scenarios
from conformance.subjects import BuiltIn, Esmd

if TYPE_CHECKING:
    from conformance.subjects import Subject

SERVERS = ("ministack", "kinesis-local", "localstack", "moto")
MARKS = {"pass": "pass", "fail": "FAIL", "cannot": "-"}
WITHIN = {"esmd": 60.0, "its own mappings": 75.0}


def main() -> int:
    """Run; the exit code is 1 if esmd fails a scenario that a server can."""
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument("--server", action="append", choices=SERVERS, help="this one only; repeatable")
    parser.add_argument("--only", metavar="TEXT", default="", help="scenarios with this in their names")
    parser.add_argument("--without-own", action="store_true", help="esmd only")
    parser.add_argument("--markdown", type=Path, help="write the matrix to this file too")
    options = parser.parse_args()
    chosen = [each for each in scenarios() if options.only in each.name]
    columns: dict[str, list[Result]] = {}
    for name in options.server or SERVERS:
        try:
            with running(name) as server:
                subjects: list[Subject] = [Esmd()]
                if server.has_mappings and not options.without_own:
                    subjects.append(BuiltIn())
                for subject in subjects:
                    say(f"{subject.name} on {name} ...")
                    with tempfile.TemporaryDirectory(prefix="esmd-conformance-", ignore_cleanup_errors=True) as folder:
                        stage = Stage(server, Path(folder))
                        columns[f"{subject.name} on {name}"] = stage.run(subject, chosen, within=WITHIN[subject.name])
        except MissingServerError as error:
            say(f"{name} is left out: {error}")
    table = matrix(columns)
    say(table)
    if options.markdown:
        options.markdown.write_text(table, encoding="utf-8")
    return any(r.verdict == "fail" for column, results in columns.items() if column.startswith("esmd") for r in results)


def matrix(columns: dict[str, list[Result]]) -> str:
    """The table of verdicts, and behind it why each is not a pass; in Markdown."""
    facts = {each.name: each.fact for each in scenarios()}
    by_name = {column: {result.scenario: result for result in results} for column, results in columns.items()}
    names = [name for name in facts if any(name in results for results in by_name.values())]
    lines = [f"| scenario | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for name in names:
        cells = [MARKS[by_name[column][name].verdict] if name in by_name[column] else "" for column in columns]
        lines.append(f"| {name}: {facts[name]} | {' | '.join(cells)} |")
    passed = [f"{sum(r.verdict == 'pass' for r in results)} of {len(results)}" for results in columns.values()]
    lines += [f"| passed | {' | '.join(passed)} |", ""]
    for column, results in columns.items():
        lines += [f"- {column}: {r.scenario} failed: {r.why}" for r in results if r.verdict == "fail"]
        reasons = Counter(r.why for r in results if r.verdict == "cannot")
        lines += [f"- {column}: {count} scenarios cannot be tried: {why}" for why, count in reasons.items()]
    return "\n".join(lines) + "\n"


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
