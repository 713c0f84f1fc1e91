"""Mutation testing of `mappings/` with mutmut, within a bound of time: `make mutants MINUTES=60`.

What is mutated, and by which tests it is to be found out, stands in `pyproject.toml`. A run that was broken off goes on
where it stopped. What has survived is listed at the end, and explained in `docs/mutants.md` where no test can find it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

MISSING = "mutmut is not installed: pip install 'mutmut>=3.8,<4'"


def main() -> int:
    """Run for so many minutes; further arguments are names of mutants, with stars."""
    minutes, *names = sys.argv[1:]
    mutmut = [sys.executable, "-m", "mutmut"]
    if subprocess.run([*mutmut, "--version"], check=False, capture_output=True).returncode:
        print(MISSING, file=sys.stderr)
        return 2
    environ = {**os.environ, "HYPOTHESIS_PROFILE": "brief"}
    process = subprocess.Popen([*mutmut, "run", "--max-children", "2", *names], env=environ, start_new_session=True)
    try:
        status = process.wait(float(minutes) * 60)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
        status = 0
        print(f"\nbroken off after {minutes} minutes; the next run goes on from here")
    subprocess.run([*mutmut, "results"], check=False)
    return status


if __name__ == "__main__":
    sys.exit(main())
