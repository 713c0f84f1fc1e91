"""`esmd invoke` as a process: what is on stdout and stderr, exit codes, warm environments, nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.invocations import is_running

HANDLERS = """
import os, pathlib, sys, time

calls = 0

def answer(event, context):
    global calls
    calls += 1
    print("printed by the handler")
    return {"pid": os.getpid(), "calls": calls, "event": event, "name": context.function_name}

def fail(event, context):
    raise ValueError("no good \\u2603")

def hang(event, context):
    pathlib.Path("pid").write_text(str(os.getpid()))
    time.sleep(600)

def second_fails(event, context):
    return {"batchItemFailures": [{"itemIdentifier": event["Records"][1]["messageId"]}]}

def keys(event, context):
    return os.environ.get("AWS_ACCESS_KEY_ID")
"""

FUNCTIONS: dict[str, dict[str, Any]] = {
    "answer": {"handler": "handlers:answer"},
    "inline": {"handler": "handlers:answer", "isolation": "inline"},
    "fail": {"handler": "handlers:fail"},
    "broken": {"handler": "nowhere:handle"},
    "hang": {"handler": "handlers:hang", "timeout": "15m"},
    "warm": {"handler": "handlers:answer", "provisioned_concurrency": 5},
    "stopped": {"handler": "handlers:answer", "reserved_concurrency": 0},
    "partial": {"handler": "handlers:second_fails"},
    "web": {"url": "http://127.0.0.1:1/"},
    "remote": {"lambda": "orders"},
    "keys": {"handler": "handlers:keys", "credentials": "inherit"},
    "routed": {"versions": {"answer": 100}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "handlers.py").write_text(HANDLERS)
    mapping = {
        "event_source_arn": "arn:aws:sqs:us-east-1:000000000000:orders",
        "function_name": "partial",
        "function_response_types": ["ReportBatchItemFailures"],
    }
    document = {"version": 1, "functions": FUNCTIONS, "mappings": {"orders": mapping}}
    (tmp_path / "esmd.yaml").write_text(yaml.safe_dump(document))
    return tmp_path


def esmd(folder: Path, *arguments: str, stdin: bytes = b"", **environ: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "esmd", *arguments],
        cwd=folder,
        check=False,
        input=stdin,
        capture_output=True,
        timeout=60,
        env={**os.environ, **environ},
    )


def test_the_answer_is_all_that_stdout_has_and_the_rest_is_on_stderr(folder):
    done = esmd(folder, "invoke", "answer", "-e", '{"snow": "☃"}')
    assert done.returncode == 0, done.stderr.decode()
    answer = json.loads(done.stdout)
    assert (answer["event"], answer["name"]) == ({"snow": "☃"}, "answer")
    *logged, timing = done.stderr.decode().splitlines()
    [line] = [json.loads(each) for each in logged]
    assert (line["event"], line["message"], line["function"]) == (
        "handler.output",
        "printed by the handler",
        "answer",
    )
    assert line["request_id"]
    assert re.fullmatch(r"esmd invoke: success: init [0-9.]+ ms, duration [0-9.]+ ms", timing)
    assert not is_running(answer["pid"])


def test_the_event_comes_from_a_file_from_stdin_or_is_empty(folder):
    (folder / "event.json").write_bytes(b'\xef\xbb\xbf{"from": "a file"}')
    from_file = esmd(folder, "invoke", "answer", "esmd.yaml", "-e", "event.json")
    from_stdin = esmd(folder, "invoke", "answer", "-e", "-", stdin=b'{"from": "stdin"}')
    empty = esmd(folder, "invoke", "answer", str(folder))
    assert [json.loads(done.stdout)["event"] for done in (from_file, from_stdin, empty)] == [
        {"from": "a file"},
        {"from": "stdin"},
        {},
    ]


def test_an_event_is_piped_on_and_the_mapping_that_would_read_the_answer_says_how(folder):
    event = esmd(folder, "event", "sqs", "--body", '{"order": 7}', "-n", "3").stdout
    second = json.loads(event)["Records"][1]["messageId"]
    done = esmd(folder, "invoke", "partial", "-e", "-", stdin=event)
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"batchItemFailures": [{"itemIdentifier": second}]}
    assert done.stderr.decode().splitlines()[-1] == (
        f"esmd invoke: mapping orders: 2 of 3 records are done; delivered again: {second}"
    )


def test_a_function_error_is_shown_as_lambda_returns_it_and_ends_with_1(folder):
    done = esmd(folder, "invoke", "fail")
    assert done.returncode == 1
    error = json.loads(done.stdout)
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "no good ☃")
    assert error["requestId"]
    assert "in fail" in error["stackTrace"][-1]
    assert "function error (ValueError)" in done.stderr.decode()


def test_a_function_that_does_not_load_is_a_function_error_too(folder):
    done = esmd(folder, "invoke", "broken")
    assert done.returncode == 1
    assert json.loads(done.stdout)["errorType"] == "Runtime.ImportModuleError"


def test_another_timeout_may_be_given_and_the_process_is_gone_after_it(folder):
    done = esmd(folder, "invoke", "hang", "--timeout", "200ms")
    assert done.returncode == 1
    error = json.loads(done.stdout)
    assert error["errorType"] == "Sandbox.Timedout"
    assert error["errorMessage"].endswith("Task timed out after 0.20 seconds")
    assert not is_running(int((folder / "pid").read_text()))


@pytest.mark.parametrize(
    ("name", "title"),
    [("stopped", "throttled (ReservedFunctionConcurrentInvocationLimitExceeded"), ("web", "unreachable (")],
)
def test_what_did_not_run_has_no_answer_and_ends_with_1(folder, name, title):
    done = esmd(folder, "invoke", name)
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"esmd invoke: {title}" in done.stderr.decode()


def test_several_invocations_share_a_warm_environment_and_are_timed_each(folder):
    done = esmd(folder, "invoke", "answer", "-n", "3")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["calls"] for answer in answers] == [1, 2, 3]
    assert len({answer["pid"] for answer in answers}) == 1
    said = [line for line in done.stderr.decode().splitlines() if line.startswith("esmd invoke: ")]
    assert [" init " in line for line in said] == [True, False, False, False]
    assert said[-1].startswith("esmd invoke: 3 invocations, 0 failed: ")


def test_what_an_inline_handler_prints_is_not_taken_for_its_answer(folder):
    done = esmd(folder, "invoke", "inline")
    assert json.loads(done.stdout)["name"] == "inline"
    assert "printed by the handler" in done.stderr.decode()


def test_the_version_that_ran_is_named(folder):
    done = esmd(folder, "invoke", "routed")
    assert done.returncode == 0
    assert done.stderr.decode().splitlines()[-1].endswith(", version answer")


@pytest.mark.parametrize("name", ["remote", "keys"])
def test_nothing_leads_to_aws_unless_it_is_allowed(folder, name):
    done = esmd(folder, "invoke", name, AWS_ACCESS_KEY_ID="mine", AWS_SECRET_ACCESS_KEY="mine")
    assert (done.returncode, done.stdout) == (78, b"")
    assert f"the function {name}: no endpoint is configured" in done.stderr.decode()


def test_credentials_are_lent_where_it_is_allowed(folder):
    arguments = ("invoke", "keys", "--allow-remote")
    done = esmd(folder, *arguments, AWS_ACCESS_KEY_ID="mine", AWS_SECRET_ACCESS_KEY="mine")
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == "mine"


def test_one_environment_is_started_however_many_are_provisioned(folder):
    done = esmd(folder, "invoke", "warm", "-n", "2", "--log-level", "debug", "--log-format", "json")
    assert [json.loads(line)["calls"] for line in done.stdout.splitlines()] == [1, 2]
    assert done.stderr.count(b'"event":"environment.started"') == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_handler_too(folder, number):
    process = subprocess.Popen(
        [sys.executable, "-m", "esmd", "invoke", "hang"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        deadline = time.monotonic() + 30
        while not ((folder / "pid").exists() and (folder / "pid").read_text()):
            assert time.monotonic() < deadline, "the handler did not start"
            time.sleep(0.02)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (130, b"")
    assert b"Traceback" not in stderr
    assert not is_running(int((folder / "pid").read_text()))
