"""`esmd init` and `esmd completion`: what they write works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from esmd.cli import cli

SOURCES = ["sqs", "kinesis", "dynamodb"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def esmd(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_written_passes_lint_without_a_warning(source):
    result = esmd("init", "shop", "--source", source, "--name", "my-things")
    assert result.exit_code == 0, result.output
    assert sorted(Path("shop").iterdir()) == [Path("shop/esmd.yaml"), Path("shop/my_things_handler.py")]
    linted = esmd("lint", "--strict", "shop")
    assert (linted.exit_code, linted.output) == (0, "shop: ok (1 function, 1 mapping)\n")
    assert result.output.endswith("esmd dev shop --traffic\n")


@pytest.mark.parametrize("source", SOURCES)
def test_the_handler_takes_an_event_of_its_source(source):
    assert esmd("init", "--source", source).exit_code == 0
    event = json.loads(esmd("event", source).output)
    script = "import json, sys, orders_handler as h; print(json.dumps(h.handle(json.load(sys.stdin), None)))"
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(event), capture_output=True, text=True, check=True, timeout=60
    )
    said, answer = done.stdout.splitlines()
    assert said.startswith("took ")
    assert json.loads(answer) == ({"batchItemFailures": []} if source == "sqs" else None)


@pytest.mark.parametrize("name", ["esmd.yaml", "orders_handler.py"])
def test_nothing_is_overwritten_and_then_nothing_is_written(name):
    Path(name).write_text("mine", encoding="utf-8")
    result = esmd("init")
    assert (result.exit_code, result.output) == (1, f"Error: {name} exists, and nothing is overwritten\n")
    assert [path.name for path in Path().iterdir()] == [name]
    assert Path(name).read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["a", "1abc", "a b c", "x" * 51, "../x"])
def test_a_name_fits_everything_that_it_names(name):
    result = esmd("init", "--name", name)
    assert result.exit_code == 2
    assert "letters, digits, hyphens or underscores" in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_one_that_it_takes(shell):
    result = esmd("completion", shell)
    assert result.exit_code == 0
    assert f"_ESMD_COMPLETE={shell}_complete" in result.output
    program = shutil.which(shell)
    if program is not None:
        subprocess.run([program, "-n"], input=result.output, text=True, check=True, timeout=30)


def test_the_shell_is_told_the_commands():
    environ = {**os.environ, "_ESMD_COMPLETE": "bash_complete", "COMP_WORDS": "esmd comp", "COMP_CWORD": "1"}
    done = subprocess.run(
        [Path(sys.executable).with_name("esmd")], env=environ, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "plain,completion\n"


def test_another_shell_is_wrong_usage():
    assert esmd("completion", "tcsh").exit_code == 2
