"""The doctor's judgements, each by its table, and its report."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from esmd.cli import cli
from esmd.config.loader import load
from esmd.doctor import examination, machine
from esmd.doctor.endpoints import check_clock, check_credentials, check_endpoints
from esmd.doctor.findings import Finding, advice, failed, ok, problem, without_user
from esmd.doctor.machine import check_control, check_state, judge_state
from esmd.doctor.probes import Probe, product_of, skew_of
from esmd.doctor.queues import judge_redrive, judge_visibility
from esmd.doctor.settings import judge
from esmd.doctor.surroundings import Surroundings
from esmd.pollers.sqs import Queue
from esmd.state.lock import FileLock
from esmd.state.schema import APPLICATION_ID

if TYPE_CHECKING:
    from esmd.config.schema import Config

QUEUE_ARN = "arn:aws:sqs:us-east-1:000000000000:q"
STREAM_ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s"


def config(
    tmp_path: Path, mapping: str = f"event_source_arn: '{QUEUE_ARN}'", function: str = "", more: str = ""
) -> Config:
    file = tmp_path / "esmd.yaml"
    file.write_text(
        f"functions: {{f: {{handler: h.f, {function}}}}}\nmappings: {{m: {{function_name: f, {mapping}}}}}\n{more}",
        encoding="utf-8",
    )
    loaded = load([file], environ={})
    assert loaded.config is not None, loaded.diagnostics
    return loaded.config


def around(of: Config, clients: Any = None, **more: Any) -> Surroundings:
    return Surroundings(config=of, clients=clients, environ=more.pop("environ", {}), **more)


def told(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(each.level, each.check) for each in findings]


def test_a_problem_fails_and_advice_only_when_strict():
    good, hint, bad = ok("c", "s", "m"), advice("c", "s", "m", fix="f"), problem("c", "s", "m", fix="f")
    assert [failed([good, each], strict=False) for each in (good, hint, bad)] == [False, False, True]
    assert [failed([good, each], strict=True) for each in (good, hint, bad)] == [False, True, True]


def test_a_url_shows_no_user_and_an_error_that_repeats_one_does_not_either():
    assert without_user("http://me:secret@host:1/p?token=x") == "http://host:1/p"
    finding = problem("c", "s", 'cannot reach "http://me:secret@host/"', fix="f")
    assert finding.message == 'cannot reach "http://host/"'


# --- endpoints


@pytest.mark.parametrize(
    ("path", "status", "body", "product"),
    [
        ("/_ministack/health", 200, {"edition": "x", "version": "1.5.33"}, "MiniStack 1.5.33"),
        ("/_localstack/health", 200, {"services": {}, "version": "4.14.0"}, "LocalStack 4.14.0"),
        ("/_localstack/health", 404, {"services": {}}, ""),
        ("/_localstack/health", 200, [], ""),
        ("/moto-api/data.json", 200, {}, "moto"),
        ("/", 403, {}, "something that answers HTTP 403 (Server)"),
    ],
)
def test_what_stands_at_an_endpoint_is_told_by_its_health(path, status, body, product):
    assert product_of(path, status, json.dumps(body).encode(), {"Server": "Server"}) == product


def test_an_answer_that_is_no_json_tells_nothing():
    assert product_of("/_localstack/health", 200, b"<html>", {}) == ""


@pytest.mark.parametrize(
    ("date", "skew"), [("Thu, 01 Jan 1970 00:02:00 GMT", 20.0), ("", None), ("soon", None), ("Thu, 99 Jan 1970", None)]
)
def test_the_servers_clock_is_its_date(date, skew):
    assert skew_of({"Date": date}, now=100.0) == skew


@pytest.mark.parametrize(
    ("skew", "level", "words"),
    [
        (0.4, "ok", "its clock is ours"),
        (-59, "ok", "its clock is ours"),
        (61, "advice", "61 s ahead of ours"),
        (-301, "problem", "301 s behind ours"),
    ],
)
async def test_a_clock_that_is_five_minutes_off_fails_signatures(tmp_path, skew, level, words):
    [finding] = await check_clock(around(config(tmp_path), probes={"http://u:p@h": Probe(skew=skew)}))
    assert (finding.level, finding.subject) == (level, "http://h")
    assert words in finding.message


async def test_an_endpoint_that_tells_no_time_is_not_judged_by_it(tmp_path):
    assert await check_clock(around(config(tmp_path), probes={"http://h": Probe()})) == []


async def test_an_endpoint_that_does_not_answer_is_a_problem(tmp_path):
    probes = {"http://a": Probe(product="moto"), "http://b": Probe(error="refused")}
    assert told(await check_endpoints(around(config(tmp_path), probes=probes))) == [
        ("ok", "endpoint"),
        ("problem", "endpoint"),
    ]


class Sts:
    """A client of STS that answers with this, or raises it."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def client(self, *_: Any, **__: Any) -> tuple[Any, Any]:
        return self, None

    async def get_caller_identity(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def client_error(code: str, status: int = 403) -> Exception:
    from botocore.exceptions import ClientError

    return ClientError({"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Op")  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("endpoint", "answer", "level"),
    [
        ("", {"Account": "1", "Arn": "arn:me"}, "ok"),
        ("", client_error("InvalidClientTokenId"), "problem"),
        ("", client_error("ExpiredToken"), "problem"),
        ("", TimeoutError(), "advice"),
        ("http://127.0.0.1:1", client_error("UnknownOperation", 501), "ok"),
    ],
)
async def test_credentials_are_judged_by_sts(tmp_path, endpoint, answer, level):
    environ = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "very-secret", "AWS_REGION": "us-east-1"}
    environ |= {"AWS_ENDPOINT_URL": endpoint} if endpoint else {}
    [finding] = await check_credentials(around(config(tmp_path), Sts(answer), environ=environ))
    assert finding.level == level
    assert "very-secret" not in str(finding)


async def test_a_local_endpoint_without_keys_gets_dummies_and_nobody_is_asked(tmp_path):
    environ = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    assert told(await check_credentials(around(config(tmp_path), environ=environ))) == [("ok", "credentials")]


# --- queues


def queue(visibility: int = 30, receives: int | None = 5) -> Queue:
    return Queue(url="u", visibility_timeout=visibility, max_receive_count=receives, dead_letter_arn=None)


@pytest.mark.parametrize(
    ("visibility", "timeout", "more", "level"),
    [
        (9, 10.0, "", "problem"),
        (10, 10.0, "", "advice"),
        (59, 10.0, "", "advice"),
        (60, 10.0, "", "ok"),
        (60, 10.0, ", maximum_batching_window_in_seconds: 1", "advice"),
        (9, 10.0, ", visibility_heartbeat: true", None),
        (9, None, "", None),
    ],
)
def test_a_message_has_to_stay_hidden_for_as_long_as_the_function_runs(tmp_path, visibility, timeout, more, level):
    mapping = config(tmp_path, f"event_source_arn: '{QUEUE_ARN}'{more}").mappings["m"]
    found = judge_visibility(mapping, queue(visibility), timeout)  # type: ignore[arg-type]
    assert [each.level for each in found] == ([level] if level else [])


@pytest.mark.parametrize(("receives", "level"), [(None, "advice"), (4, "advice"), (5, "ok")])
def test_a_queue_needs_a_redrive_policy_with_five_receives(tmp_path, receives, level):
    mapping = config(tmp_path).mappings["m"]
    assert [each.level for each in judge_redrive(mapping, queue(receives=receives))] == [level]  # type: ignore[arg-type]


# --- settings


@pytest.mark.parametrize(
    ("mapping", "function", "words"),
    [
        (f"event_source_arn: '{QUEUE_ARN}'", "reserved_concurrency: 0", ["it never runs", "brings back all"]),
        (
            f"event_source_arn: '{QUEUE_ARN}', batch_size: 1, maximum_batching_window_in_seconds: 5",
            "",
            ["gathers nothing"],
        ),
        (
            f"event_source_arn: '{QUEUE_ARN}', batch_size: 1, function_response_types: [ReportBatchItemFailures]",
            "",
            ["no parts"],
        ),
        (f"event_source_arn: '{QUEUE_ARN}'", "", ["brings back all of its batch, up to 10"]),
        (
            f"event_source_arn: '{QUEUE_ARN}', batch_size: 1, scaling_config: {{maximum_concurrency: 9}}",
            "reserved_concurrency: 3",
            ["maximum_concurrency 9 is never reached"],
        ),
        (f"event_source_arn: '{QUEUE_ARN}', function_response_types: [ReportBatchItemFailures]", "", []),
        (f"event_source_arn: '{STREAM_ARN}', starting_position: LATEST", "", ["stops its shard"]),
        (f"event_source_arn: '{STREAM_ARN}', starting_position: LATEST, maximum_retry_attempts: 0", "", ["is lost"]),
        (f"event_source_arn: '{STREAM_ARN}', starting_position: LATEST, maximum_retry_attempts: 2", "", []),
    ],
)
def test_settings_that_make_no_sense_together(tmp_path, mapping, function, words):
    of = config(tmp_path, mapping, function)
    found = list(judge(of.mappings["m"], of))
    assert len(found) == len(words)
    assert all(word in each.message for word, each in zip(words, found, strict=True))
    assert all(each.fix for each in found)


# --- this machine


def database(path: Path, *, application: int = APPLICATION_ID, version: int = 1) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA application_id = {application}")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("CREATE TABLE t (x)")
    connection.close()


def state(path: Path) -> list[tuple[str, str]]:
    """Level and message of the findings about the state file itself."""
    return [(each.level, each.message) for each in judge_state(path) if each.check == "state"]


def test_a_state_file_that_is_not_there_will_be_made_and_is_not_made_here(tmp_path):
    assert state(tmp_path / "a/b/esmd.db") == [("ok", "will be made")]
    assert list(tmp_path.iterdir()) == []


def test_a_good_state_file_is_left_as_it_is(tmp_path):
    database(tmp_path / "esmd.db")
    assert state(tmp_path / "esmd.db") == [("ok", "can be read and written")]
    assert [path.name for path in tmp_path.iterdir()] == ["esmd.db"]


@pytest.mark.parametrize(
    ("application", "version", "words"),
    [(APPLICATION_ID, 99, "has version 99"), (7, 1, "is not a state file of esmd")],
)
def test_a_state_file_of_another_program_is_a_problem(tmp_path, application, version, words):
    database(tmp_path / "esmd.db", application=application, version=version)
    [(level, message)] = state(tmp_path / "esmd.db")
    assert level == "problem"
    assert words in message


def test_a_file_that_is_no_database_is_a_problem(tmp_path):
    (tmp_path / "esmd.db").write_bytes(b"no database, however long it may be" * 100)
    assert [level for level, _ in state(tmp_path / "esmd.db")] == ["problem"]


def test_whoever_holds_the_state_file_is_named(tmp_path):
    database(tmp_path / "esmd.db")
    lock = FileLock(tmp_path / "esmd.db")
    try:
        [_, (level, message)] = state(tmp_path / "esmd.db")
    finally:
        lock.release()
    assert level == "ok"
    assert f"process id {os.getpid()};" in message
    assert len(state(tmp_path / "esmd.db")) == 1, "nobody has it any more"
    FileLock(tmp_path / "esmd.db").release()  # and the doctor does not keep it


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everything")
def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert [level for level, _ in state(tmp_path / "locked/esmd.db")] == ["problem"]


@pytest.mark.parametrize(("free", "level"), [(9_000_000, "problem"), (99_000_000, "advice"), (100_000_000, "ok")])
def test_a_disk_that_is_nearly_full_is_seen(tmp_path, monkeypatch, free, level):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert [each.level for each in judge_state(tmp_path / "esmd.db") if each.check == "disk"] == [level]


async def test_queues_need_no_state_file(tmp_path):
    [finding] = await check_state(around(config(tmp_path)))
    assert finding.message == "not needed: no mapping reads a stream"


async def test_the_control_socket_is_served_left_or_not_there(tmp_path):
    path = tmp_path / "esmd.sock"
    of = around(config(tmp_path), environ={"ESMD_SOCKET": str(path)})
    assert [each.message for each in await check_control(of)] == ["no daemon serves it"]
    server = await asyncio.start_unix_server(lambda _, writer: writer.close(), path)
    async with server:
        assert [each.message for each in await check_control(of)] == ["a daemon serves it"]
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert told(await check_control(of)) == [("advice", "control")]


async def test_a_socket_with_too_long_a_path_is_a_problem(tmp_path):
    of = around(config(tmp_path), environ={"ESMD_SOCKET": str(tmp_path / ("x" * 120))})
    assert told(await check_control(of)) == [("problem", "control")]


# --- the whole


async def test_a_check_that_breaks_keeps_no_other_from_speaking(tmp_path, monkeypatch):
    async def broken(_: Any) -> list[Finding]:
        raise RuntimeError("secret")

    async def good(_: Any) -> list[Finding]:
        return [ok("good", "s", "m")]

    monkeypatch.setattr(examination, "OF_MACHINE", {"bad": broken, "good": good})
    found = await examination.examine(around(config(tmp_path)), remote=False)
    assert told(found) == [("problem", "bad"), ("ok", "good")]
    assert "secret" not in str(found)


def doctor(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", *arguments], env=environ)


def test_a_bad_configuration_is_all_that_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("esmd.yaml").write_text("functions: {f: {handler: h.f}}\nmappings: {m: {}}\n", encoding="utf-8")
    result = doctor("-o", "json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert {(each["level"], each["check"]) for each in report["findings"]} == {("problem", "configuration")}
    assert report["findings"][0]["subject"].startswith("esmd.yaml:2:")


def test_an_endpoint_without_anybody_is_said_once_and_no_secret_ever(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config(tmp_path)
    Path("h.py").write_text("import os\nprint(os.environ)\ndef f(event, context):\n    pass\n", encoding="utf-8")
    result = doctor(
        AWS_ENDPOINT_URL="http://me:hush@127.0.0.1:9", AWS_ACCESS_KEY_ID="AKIAHUSH", AWS_SECRET_ACCESS_KEY="hush-hush"
    )
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("problem")] == [
        next(line for line in lines if line.startswith("problem  endpoint: http://127.0.0.1:9: cannot be reached"))
    ]
    assert any(line.startswith("ok       function: f: loads") for line in lines)
    assert "hush" not in result.output.lower()


def test_aws_itself_is_not_asked_unless_that_is_allowed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config(tmp_path)
    result = doctor()
    assert result.exit_code == 1
    assert "problem  endpoint: aws: no endpoint is configured" in result.stdout
    assert "queue:" not in result.stdout
