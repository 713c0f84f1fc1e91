"""Mutation testing of `mappings/`, within a bound of time: `make mutants MINUTES=60`.

mutmut makes the mutants, `fuzz.mutant_forks` tries them. A run that was broken off goes on where it stopped; a function
that was changed is tried anew. With names of mutants (`ARGS="esmd.mappings.lanes.*"`) those that no test has found are
tried once more. What survived is listed, `mutmut show NAME` shows it, and `docs/mutants.md` explains it where no test can
find it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from mutmut import __main__ as mutmut
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, walk_mutatable_files

# Those that are about mappings/. Without the properties of patterns, which take minutes.
UNIT = (
    "backoff batching destinations events failures filters filters_docs lanes messages partial patterns patterns_values "
    "policy policy_resume policy_table scaling scaling_steps settlement stream_events windows"
)
PROPERTIES = "event kinesis_values lanes outstanding policy stream_event windows"
TESTS = [f"tests/unit/test_{name}.py" for name in UNIT.split()]
TESTS += [f"tests/property/test_{name}_properties.py" for name in PROPERTIES.split()]
COLUMNS = ("killed", "timeout", "survived", "no tests", "not checked")


def main() -> int:
    """Run for so many minutes; further arguments are names of mutants, with stars."""
    minutes, *names = sys.argv[1:]
    with redirect_stdout(StringIO()):
        make_mutants()
    command = [sys.executable, "-m", "pytest", "-p", "fuzz.mutant_forks", "-p", "no:cacheprovider", "-q", "--tb=no"]
    # A process that was forked must not share the file that output is captured in.
    command += ["--capture=sys", "--mutant-seconds", str(float(minutes) * 60), *(f"--mutants={name}" for name in names)]
    environ = {**os.environ, "HYPOTHESIS_PROFILE": "brief", "MUTANT_UNDER_TEST": ""}
    status = subprocess.run([*command, *TESTS], check=False, cwd="mutants", env=environ).returncode
    print_results()
    return status


def make_mutants() -> None:
    """The package with its mutants, in the folder `mutants`."""
    set_mutant_under_test("mutant_generation")
    Path("mutants").mkdir(exist_ok=True)
    copy_src_dir()
    copy_also_copy_files()
    mutmut.store_lines_covered_by_tests()
    mutmut.create_mutants(max_children=2)


def print_results() -> None:
    """The survivors, and the numbers of each module, as a table of Markdown."""
    print(f"\n| module | mutants | {' | '.join(COLUMNS)} |\n|---|{'--:|' * (len(COLUMNS) + 1)}")
    total: Counter[str] = Counter()
    for path in sorted(walk_mutatable_files()):
        data = SourceFileMutationData(path=path)
        data.load()
        found = Counter(status_by_exit_code[status] for status in data.exit_code_by_key.values())
        if found:
            print_row(path.stem, found)
        total += found
    print_row("all", total)


def print_row(name: str, found: Counter[str]) -> None:
    print(f"| {name} | {found.total()} | {' | '.join(str(found[column] or '') for column in COLUMNS)} |")


if __name__ == "__main__":
    sys.exit(main())
