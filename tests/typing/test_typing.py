"""The public API type-checks as users write it, and refuses what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def test_public_usage_is_understood_by_mypy_strict() -> None:
    # An unused `type: ignore` is an error too, so that every mistake in the file has to be one.
    done = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--warn-unused-ignores",
            "--config-file", ROOT / "pyproject.toml", "--cache-dir", ROOT / ".mypy_cache",
            HERE / "public_usage.py",
        ],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
