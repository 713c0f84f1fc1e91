"""The measure of the daemon's own cost drives the real daemon, and must keep up with what that asks of its clients."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from support.benchmarks import ROOT

pytestmark = pytest.mark.thorough


@pytest.mark.parametrize("kind", ["sqs", "kinesis"])
def test_the_daemon_works_off_what_the_stand_in_hands_out(kind):
    command = [sys.executable, "-m", "benchmarks.inside", kind, "--total", "20000"]
    measured = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert measured.returncode == 0, measured.stderr
    assert re.fullmatch(rf"{kind}, batches of \d+: \d+\.\d\d us a message, \d+ us a batch\n", measured.stdout)
