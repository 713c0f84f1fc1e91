"""`make chaos MINUTES=10 SEED=1`: brings its own servers, runs, prints figures as JSON; exit 1 if a claim was broken."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from chaos.field import Field
from chaos.run import Run, say
from esmd.testing.embedded import ministack_process

from support.stream_servers import KINESIS_LOCAL, kinesis_local_process


def main() -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long faults strike")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the same seed, the same schedule")
    parser.add_argument("--rate", type=float, default=25.0, help="records a second, of each of four sources")
    parser.add_argument("--keep", action="store_true", help="leave the folder with log, journal and state file")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="esmd-chaos-"))
    say(f"seed {options.seed}, {options.minutes:g} minutes, in {folder}")
    with contextlib.ExitStack() as stack:
        others = ministack_process()
        others.start()
        stack.callback(others.stop)
        kinesis, resharding = others, False
        if KINESIS_LOCAL.exists() and shutil.which("node"):
            kinesis, resharding = kinesis_local_process(), True
            kinesis.start()
            stack.callback(kinesis.stop)
        else:
            say("without resharding: kinesis-local is not installed (make servers)")
        field = Field(
            folder,
            kinesis=kinesis.endpoint_url,
            others=others.endpoint_url,
            resharding=resharding,
            seed=options.seed,
        )
        with field as stage:
            run = Run(stage, seed=options.seed, minutes=options.minutes, rate=options.rate, say=say)
            outcome = run.run()
    say(json.dumps(outcome.summary(), indent=2))
    say(
        f"{'passed' if outcome.passed else 'FAILED'}; again with: make chaos MINUTES={options.minutes:g} SEED={options.seed}"
    )
    if outcome.passed and not options.keep:
        shutil.rmtree(folder)
    return 0 if outcome.passed else 1


if __name__ == "__main__":
    sys.exit(main())
