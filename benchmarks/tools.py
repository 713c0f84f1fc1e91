"""What the peers need, installed beside the benchmarks: a virtual environment and a folder of node modules.

Both are made by `python -m benchmarks.tools` (`make bench` does it) with the machine's own settings of pip and npm. What
cannot be had is left out of the tables, with the reason.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENT = HERE / ".env"
NODE = HERE / ".node"

PYTHON_PACKAGES = ("aiobotocore>=3.9,<4", "boto3", "async-kinesis==3.0.1", "uvloop", "orjson", "py-spy")
NODE_PACKAGES = ("sqs-consumer@15", "@aws-sdk/client-sqs@3")


def install() -> None:
    """Make both, unless they are there already. Failures are said, not raised: the rows that need them are left out."""
    if not (ENVIRONMENT / "installed").exists():
        print("installing the peers into benchmarks/.env (once)")
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
        pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        _try([*pip, *PYTHON_PACKAGES], ENVIRONMENT / "installed")
    if not (NODE / "installed").exists() and shutil.which("npm") is not None:
        print("installing sqs-consumer into benchmarks/.node (once)")
        NODE.mkdir(exist_ok=True)
        quiet = ("--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
        _try(["npm", "install", "--prefix", str(NODE), *quiet, *NODE_PACKAGES], NODE / "installed")


def _try(command: list[str], mark: Path) -> None:
    done = subprocess.run(command, check=False)
    if done.returncode == 0:
        mark.touch()
    else:
        print(f"{command[0]} ended with {done.returncode}; its rows are left out", file=sys.stderr)


@cache
def environment_python() -> Path | None:
    """The interpreter of the peers; None if they are not installed."""
    python = ENVIRONMENT / "bin" / "python"
    return python if (ENVIRONMENT / "installed").exists() else None


def environment_tool(name: str) -> str:
    """A program of that environment; raises SystemExit if it is not there."""
    program = ENVIRONMENT / "bin" / name
    if not program.exists():
        raise SystemExit(f"{name} is not installed: run `python -m benchmarks.tools` first")
    return str(program)


@cache
def node() -> str | None:
    """The node program, if sqs-consumer is installed for it."""
    return shutil.which("node") if (NODE / "installed").exists() else None


if __name__ == "__main__":
    install()
