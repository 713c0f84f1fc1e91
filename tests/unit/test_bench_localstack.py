"""The run against LocalStack's own mapping: what it needs, and the function that it makes. No server is started."""

from __future__ import annotations

import io
import subprocess
import sys
import time
import zipfile

from support.benchmarks import benchmarks_importable  # noqa: F401 - a fixture


def test_without_localstack_nothing_is_measured_and_the_reason_is_said(monkeypatch, tmp_path):
    from benchmarks import localstack
    from benchmarks.__main__ import run_scenario
    from benchmarks.scenarios import scenarios

    monkeypatch.setattr(localstack, "_PYTHON", tmp_path / "venv" / "bin" / "python")
    scenario = next(each for each in scenarios() if each.name == "localstack")
    table = run_scenario(scenario, 1)
    assert table.rows == {}
    assert "not measured: LocalStack is not installed: `make localstack`" in table.markdown()


def test_its_function_notes_how_old_messages_are_where_the_benchmark_reads_it(tmp_path):
    from benchmarks.localstack import _archive
    from benchmarks.tally import VARIABLE, Tally

    zipfile.ZipFile(io.BytesIO(_archive())).extractall(tmp_path / "code")
    body = f'{{"stamp": "{time.monotonic_ns():020}"}}'
    # It has a blank more than what is sent: LocalStack's own mapping writes such a body anew.
    script = f"from benchmarks.handlers import aged; print(aged({{'Records': [{{'body': {body!r}}}] * 3}}, None))"
    # By an interpreter that has nothing else, as LocalStack's function has not.
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        cwd=tmp_path / "code",
        env={VARIABLE: str(tmp_path / "tally")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "{'batchItemFailures': []}"
    tally = Tally(tmp_path / "tally")
    assert tally.total == len(tally.samples) == 3
    assert all(0 < age < 60e9 for age in tally.samples)
    tally.close()


def test_its_share_is_how_many_times_slower_and_later_it_is():
    from benchmarks.goals import GOALS, Run
    from benchmarks.results import Table

    table = Table(name="localstack", title="title", compared=("rate", "p50_ms"), shown=("rate", "p50_ms"))
    table.add("esmd, inline", {"rate": 500.0, "p50_ms": 10.0})
    table.add("LocalStack's own mapping", {"rate": 10.0, "p50_ms": 150.0})
    verdicts = {
        goal.number: goal.verdict(Run({"localstack": table})) for goal in GOALS if goal.number.startswith("G20")
    }
    assert verdicts == {"G20": ("50 x", "reached"), "G20b": ("15 x", "not reached")}
