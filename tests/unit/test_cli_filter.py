"""`esmd filter` selects lines byte for byte, survives bad input, and ends with the documented codes."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from esmd.cli import cli
from esmd.cli.filter import _Reader, describe
from esmd.mappings.patterns import InvalidPattern, compile_pattern

ORDER = b'{"kind": "order",  "n": 1.10, "big": 12345678901234567890123}\r\n'
VISIT = b'{"n": 1, "kind": "visit", "name": "\xc3\xa9\\u00e9"}\n'
LINES = ORDER + VISIT
KIND_ORDER = '{"kind": ["order"]}'


def run(*args: str, stdin: bytes = b""):
    return CliRunner().invoke(cli, ["filter", *args], input=stdin)


def test_prints_matching_lines_byte_for_byte():
    result = run(KIND_ORDER, stdin=LINES)
    assert (result.exit_code, result.stdout_bytes, result.stderr) == (0, ORDER, "")


@pytest.mark.parametrize(
    ("args", "output", "code"),
    [
        (['{"kind": ["visit"]}'], VISIT, 0),
        (['{"kind": ["nothing"]}'], b"", 1),
        (["-v", KIND_ORDER], VISIT, 0),
        (["--invert", '{"kind": [{"exists": true}]}'], b"", 1),
        (["-c", '{"kind": [{"exists": true}]}'], b"2\n", 0),
        (["--count", '{"kind": ["nothing"]}'], b"0\n", 1),
        (["-vc", KIND_ORDER], b"1\n", 0),
    ],
)
def test_options_and_exit_codes(args, output, code):
    result = run(*args, stdin=LINES)
    assert (result.stdout_bytes, result.exit_code) == (output, code)


def test_reads_a_file_and_a_pattern_from_a_file(tmp_path):
    events, pattern = tmp_path / "events.jsonl", tmp_path / "pattern.json"
    events.write_bytes(LINES)
    pattern.write_text('{\n  "kind": ["order"]\n}\n')
    assert run(f"@{pattern}", str(events)).stdout_bytes == ORDER
    assert run(f"@{pattern}", "-", stdin=LINES).stdout_bytes == ORDER


def test_a_last_line_without_an_end_stays_without():
    assert run(KIND_ORDER, stdin=LINES + ORDER.rstrip()).stdout_bytes == ORDER + ORDER.rstrip()


def test_a_missing_file_is_wrong_usage(tmp_path):
    assert run(KIND_ORDER, str(tmp_path / "none")).exit_code == 2
    result = run(f"@{tmp_path / 'none'}")
    assert result.exit_code == 2
    assert "No such file" in result.stderr


def test_a_pattern_file_that_is_no_text_is_wrong_usage(tmp_path):
    (tmp_path / "pattern").write_bytes(b"\xff")
    result = run(f"@{tmp_path / 'pattern'}")
    assert result.exit_code == 2
    assert "not UTF-8" in result.stderr


def test_lines_that_are_no_events_are_named_and_left_out():
    stdin = b"nonsense\n" + ORDER + b'\n  \n[1]\n{"n": NaN}\n"\xff"\n' + b"[" * 200_000 + b"\n"
    result = run(KIND_ORDER, stdin=stdin)
    assert (result.exit_code, result.stdout_bytes) == (0, ORDER)
    named = result.stderr.splitlines()
    assert [line.split(": ")[1].rpartition(":")[2] for line in named[:-1]] == ["1", "5", "6", "7", "8"]
    assert "not JSON: expecting value at character 1" in named[0]
    assert "not an object" in named[1]
    assert "NaN is not JSON" in named[2]
    assert "not UTF-8 at byte 2" in named[3]
    assert "nested too deeply" in named[4]
    assert named[-1] == "esmd filter: 5 lines are no event and did not match"


def test_lines_that_are_no_events_are_not_what_invert_selects():
    result = run("-v", KIND_ORDER, stdin=b"nonsense\n")
    assert (result.exit_code, result.stdout_bytes) == (1, b"")
    assert "1 line is no event" in result.stderr


def test_very_many_bad_lines_are_counted_not_named():
    result = run(KIND_ORDER, stdin=b"x\n" * 1000)
    assert len(result.stderr.splitlines()) == 11
    assert "1000 lines are no event" in result.stderr


def test_an_invalid_pattern_is_shown_with_its_place():
    result = run('{"kind": [{"numeric": 10}]}', stdin=LINES)
    assert result.exit_code == 78
    assert result.stdout_bytes == b""
    first, second, shown, caret = result.stderr.splitlines()
    assert first == "esmd filter: Invalid filter pattern definition."
    assert second.startswith('  kind[0].numeric: "numeric" takes a list')
    assert shown == '  {"kind": [{"numeric": 10}]}'
    assert shown[caret.index("^")] == "1"


def described(text: str) -> list[str]:
    with pytest.raises(InvalidPattern) as caught:
        compile_pattern(text)
    return describe(caught.value, text).splitlines()


def test_the_caret_finds_its_place_in_a_long_pattern_and_in_one_of_many_lines():
    *_, shown, caret = described('{"kind": ["' + "x" * 500 + '"], "other": !, "more": ["' + "y" * 500 + '"]}')
    assert shown[caret.index("^")] == "!"
    assert len(shown) < 100
    assert shown.startswith("  ...")
    assert shown.endswith("...")
    *_, shown, caret = described('{\n\t"kind":\tnope\n}')
    assert shown == '   "kind": nope'
    assert shown[caret.index("^") :] == "nope"


def test_the_caret_stands_behind_a_pattern_that_ends_too_soon():
    *_, shown, caret = described('{"kind": ["x"]')
    assert caret == " " * len(shown) + "^"


def test_an_error_of_the_whole_pattern_and_a_very_deep_one_are_shown_as_well():
    assert described("[]")[1].startswith("  a pattern is a JSON object")
    assert all(len(line) < 200 for line in described('{"a":' * 2000))


RECORD = '{"messageId": "1", "body": "{\\"kind\\": \\"order\\"}", "x": [1.10, {"Records": []}]}'
PLAIN = '{"messageId": "2", "body": "plain"}'


def test_a_source_applies_its_rules_to_records():
    stdin = f"{RECORD}\n{PLAIN}\n".encode()
    assert run("--source", "sqs", '{"body": {"kind": ["order"]}}', stdin=stdin).stdout == f"{RECORD}\n"
    assert run("--source", "sqs", '{"body": ["plain"]}', stdin=stdin).stdout == f"{PLAIN}\n"
    assert run('{"body": {"kind": ["order"]}}', stdin=stdin).exit_code == 1


def test_of_a_whole_event_the_matching_records_are_printed_as_they_stand():
    stdin = f'{{"a": [{{"Records": 5}}], "Records" : [ {RECORD} , {PLAIN},{RECORD}], "z": "]"}}\n'.encode()
    pattern = '{"body": {"kind": ["order"]}}'
    assert run("--source", "sqs", pattern, stdin=stdin).stdout == f"{RECORD}\n{RECORD}\n"
    assert run("--source", "sqs", "-v", pattern, stdin=stdin).stdout == f"{PLAIN}\n"
    assert run("--source", "sqs", "-c", pattern, stdin=stdin).stdout == "2\n"
    # Without a source there are no records, only events.
    assert run('{"Records": {"body": ["plain"]}}', stdin=stdin).stdout_bytes == stdin


@pytest.mark.parametrize(
    ("event", "records"),
    [
        ('{"Records": []}', ""),
        ('{ "Records" : [ {} ] }', "{}\n"),
        ('{"Records": [{"a": 1}], "Records": [{"b": 2}]}', '{"b": 2}\n'),
        ('{"Records": [{"n": ' + "1" * 5000 + "}]}", '{"n": ' + "1" * 5000 + "}\n"),
        ('{"Records": {"a": 1}}', '{"Records": {"a": 1}}\n'),
    ],
)
def test_whole_events_of_any_shape(event, records):
    result = run("--source", "dynamodb", '{"none": [{"exists": false}]}', stdin=f"{event}\n".encode())
    assert result.stdout == records


def test_an_event_with_something_else_than_records_is_named():
    result = run("--source", "sqs", KIND_ORDER, stdin=b'{"Records": [1]}\n')
    assert (result.exit_code, result.stdout_bytes) == (1, b"")
    assert 'an element of "Records" is not an object' in result.stderr


def test_a_source_refuses_what_it_cannot_filter_and_warns_of_what_lambda_may_refuse():
    assert run("--source", "kinesis", '{"data": ["x"]}').exit_code == 78
    result = run("--source", "sqs", '{"body": {"kind": [{"wildcard": "o*r"}]}}', stdin=RECORD.encode())
    assert result.exit_code == 0
    assert result.stderr == 'esmd filter: warning: works here, but real Lambda may refuse it: "wildcard"\n'


def test_help_teaches_by_examples():
    result = run("--help")
    assert result.exit_code == 0
    assert 'esmd filter --source sqs \'{"body": {"kind": ["order"]}}\' event.json' in result.stdout


def test_a_closed_pipe_ends_it_quietly_and_lines_come_out_as_they_come_in():
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "esmd", "filter", KIND_ORDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(ORDER)
        process.stdin.flush()
        # It is selected while the input is still open: a growing log can be followed.
        assert process.stdout.readline() == ORDER
        process.stdout.close()
        process.stdin.write(ORDER)
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_input_is_read_no_further_than_lines_are_asked_for():
    # An input without end would never come back from a reader that gathers it first.
    reader = _Reader(itertools.repeat(ORDER), name="endless", whole_events=False)
    assert [line for _, line in itertools.islice(reader.events(), 3)] == [ORDER] * 3


def test_a_pattern_that_matches_by_its_escapes_reads_json_of_any_writing():
    pattern = json.dumps({"name": ["éé"]})
    assert run(pattern, stdin=LINES).stdout_bytes == VISIT
