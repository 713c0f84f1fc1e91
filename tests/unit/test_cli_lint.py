"""`esmd lint` and `esmd schema`, and how every command finds its configuration."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from esmd.cli.configuration import configuration_paths, load_configuration
from esmd.cli.lint import command as lint
from esmd.cli.schema import command as schema
from esmd.config.reference import schema_json

GOOD = """\
functions: {f: {handler: m.f}}
mappings:
  a: {event_source_arn: "arn:aws:sqs:us-east-1:000000000000:q", function_name: f}
"""
WARNED = GOOD.replace("function_name: f}", "function_name: f, metrics_config: {}}")
BAD = GOOD.replace("function_name: f}", "function_name: g}")
BAD_LINE = 'esmd.yaml:3:80: mappings.a.function_name: Function does not exist: "g" (registered: f)'
WARNING_LINE = "esmd.yaml:3:99: warning: mappings.a.metrics_config: has no effect here: nothing is sent to CloudWatch"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ESMD_CONFIG", raising=False)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(lint, arguments)


def write(text: str, name: str = "esmd.yaml") -> None:
    Path(name).write_text(text, encoding="utf-8")


def test_a_good_configuration_is_counted() -> None:
    write(GOOD)
    result = run()
    assert (result.exit_code, result.output) == (0, "esmd.yaml: ok (1 function, 1 mapping)\n")


def test_an_error_is_printed_and_ends_with_78() -> None:
    write(BAD)
    result = run("esmd.yaml")
    assert (result.exit_code, result.stdout) == (78, BAD_LINE + "\n")
    assert result.stderr == "esmd.yaml: 1 error\n"


@pytest.mark.parametrize(("arguments", "code"), [((), 0), (("--strict",), 78)])
def test_a_warning_counts_only_when_strict(arguments: tuple[str, ...], code: int) -> None:
    write(WARNED)
    result = run(*arguments)
    assert result.exit_code == code
    assert result.stdout == f"{WARNING_LINE}\nesmd.yaml: ok (1 function, 1 mapping, 1 warning)\n"


def test_several_files_are_one_configuration() -> None:
    write("functions: {f: {handler: m.f}, g: {handler: m.g}}", "f.yaml")
    write(GOOD.partition("\n")[2], "m.yaml")
    result = run("f.yaml", "m.yaml")
    assert (result.exit_code, result.output) == (0, "f.yaml, m.yaml: ok (2 functions, 1 mapping)\n")


def test_json_is_one_list_of_all_diagnostics() -> None:
    write(BAD.replace("function_name: g}", "function_name: g, kms_key_arn: 'arn:aws:kms:us-east-1:1:key/k'}"))
    result = run("--format", "json")
    assert result.exit_code == 78
    error, warning = json.loads(result.stdout)
    assert error == {
        "file": "esmd.yaml",
        "line": 3,
        "column": 80,
        "path": "mappings.a.function_name",
        "message": 'Function does not exist: "g"',
        "hint": "registered: f",
        "severity": "error",
    }
    assert (warning["severity"], warning["line"]) == ("warning", 3)


def test_json_of_a_good_configuration_is_an_empty_list() -> None:
    write(GOOD)
    result = run("--format", "json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])


def test_annotations_for_github_are_escaped() -> None:
    write(BAD.replace("function_name: g", 'function_name: "50%"'), "a,b:c.yaml")
    result = run("--format", "github", "a,b:c.yaml")
    assert result.exit_code == 78
    assert result.stdout == (
        "::error file=a%2Cb%3Ac.yaml,line=3,col=80::mappings.a.function_name:"
        ' must be a function\'s name, partial ARN or ARN, not "50%25"\n'
    )


def test_an_annotation_for_a_whole_file_has_no_line() -> None:
    result = run("--format", "github", "none.yaml")
    assert result.stdout == "::error file=none.yaml::cannot be read: no such file or directory\n"


def test_without_any_configuration_it_says_how_to_name_one() -> None:
    result = run()
    assert result.exit_code == 78
    assert result.stdout == "esmd.yaml: cannot be read: no such file or directory\n"
    assert "Name a file or folder, write ./esmd.yaml, or set ESMD_CONFIG." in result.stderr


def test_paths_are_those_given_then_the_default_then_the_variable() -> None:
    environ = {"ESMD_CONFIG": "other.yaml"}
    assert configuration_paths(["a", "b"], environ=environ) == (Path("a"), Path("b"))
    assert configuration_paths([], environ=environ) == (Path("other.yaml"),)
    assert configuration_paths([], environ={}) == (Path("esmd.yaml"),)
    write(GOOD)
    assert configuration_paths([], environ=environ) == (Path("esmd.yaml"),)


def test_other_commands_get_the_configuration_or_end_with_78(capsys: pytest.CaptureFixture[str]) -> None:
    write(WARNED)
    assert list(load_configuration([], environ={}).mappings) == ["a"]
    assert capsys.readouterr().err == WARNING_LINE + "\n"
    write(BAD)
    with pytest.raises(SystemExit) as ended:
        load_configuration(["esmd.yaml"], environ={})
    assert ended.value.code == 78
    assert capsys.readouterr().err == BAD_LINE + "\n"


def test_schema_prints_what_the_models_say() -> None:
    result = CliRunner().invoke(schema)
    assert (result.exit_code, result.stdout) == (0, schema_json())


def test_reading_a_configuration_loads_no_aws_library() -> None:
    code = (
        "import sys, esmd.cli.lint, esmd.config.loader, esmd.config.aws;"
        "print([name for name in ('aiobotocore', 'botocore', 'aiohttp') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
