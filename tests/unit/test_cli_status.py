"""`esmd status` and `esmd top`: what they print, when they end, and with what."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from esmd.cli.status import command as status
from esmd.cli.top import command as top
from esmd.status import text
from esmd.status.model import Snapshot, to_json
from esmd.status.reading import read
from esmd.status.screen import screen

from support.status_lab import HOSTILE, serving, snapshot


def run(*arguments: str, command=status):
    return CliRunner().invoke(command, arguments)


def test_all_mappings_and_what_keeps_those_in_trouble(tmp_path):
    with serving(tmp_path, snapshot()) as socket:
        done = run("--api", socket)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0] == "esmd 0.1.0, pid 4321, up 1d 2h, http://127.0.0.1:4566 (us-east-1)"
    assert re.split(r"  +", lines[2])[4:] == ["RECEIVED/S", "INVOKED/S", "FAILED/S", "BEHIND", "UNDER WAY"]
    assert lines[3].split() == ["orders", "Enabled", "sqs", "process", "153", "151", "0.4", "1,532", "3/5"]
    assert "reports: AWS.SimpleQueueService.NonExistentQueue: The specified queue does not exist." in lines
    assert any(line.startswith("  4 records, 49612345678901 to 49612345678904; 7 attempts in 6m 40s") for line in lines)


@pytest.mark.parametrize(("name", "code"), [("orders", 0), ("payments", 1), ("reports", 1), ("archive", 0)])
def test_a_mapping_in_trouble_is_worth_an_exit_code(tmp_path, name, code):
    with serving(tmp_path, snapshot()) as socket:
        assert run(name, "--api", socket).exit_code == code
        assert run(name, "-o", "json", "--api", socket).exit_code == code


def test_one_mapping_has_its_shards_its_function_and_the_lines_of_its_failures(tmp_path):
    with serving(tmp_path, snapshot()) as socket:
        output = run("payments", "--api", socket).output
    for part in (
        "payments  Enabled, blocked",
        "shardId-000000000002  caught up",
        "function charge  1 of 10 running, 2 environments",
        "  stdout: charging order 16",
        "last result   PROBLEM: Function call failed",
    ):
        assert part in output
    assert "mapping.unavailable" not in output, "failures of other mappings are not shown"


def test_json_is_what_the_daemon_gives(tmp_path):
    with serving(tmp_path, snapshot()) as socket:
        whole = json.loads(run("-o", "json", "--api", socket).output)
        one = json.loads(run("payments", "-o", "json", "--api", socket).output)
    assert whole == json.loads(json.dumps(to_json(snapshot())))
    assert one["mapping"] == whole["mappings"][1]
    assert one["function"]["name"] == "charge"
    assert [each["event"] for each in one["failures"]] == ["batch.failed"]


def test_an_unknown_mapping_is_wrong_usage(tmp_path):
    with serving(tmp_path, snapshot()) as socket:
        done = run("nothing", "--api", socket)
    assert done.exit_code == 2
    assert "there is no mapping 'nothing'; there are: orders, payments, reports, archive" in done.output


@pytest.mark.parametrize("command", [status, top])
def test_nobody_answers(tmp_path, command):
    done = run("--api", str(tmp_path / "none.sock"), command=command)
    assert done.exit_code == 69
    assert "no daemon answers" in done.output


def test_what_others_wrote_cannot_steer_the_terminal():
    value = snapshot()
    evil = "\x1b]0;title\x07\x1b[2Jgone\nnext\u202e"
    mapping = replace(value.mappings[2], name=evil, reason=evil, function=evil)
    shown = text.overview(replace(value, mappings=(mapping,))) + text.details(value, mapping)
    assert "\\x1b]0;title\\x07\\x1b[2Jgone\\nnext\\u202e" in shown
    plain = click.unstyle(shown)
    assert "\x1b" not in plain
    assert "\u202e" not in plain


def test_a_snapshot_is_read_as_it_was_and_what_a_later_version_adds_is_passed_over():
    value = json.loads(json.dumps(to_json(snapshot())))
    value["weather"] = "fine"
    value["mappings"][1]["shards"][1]["blocked"]["mood"] = "bad"
    assert to_json(read(Snapshot, value)) == to_json(snapshot())


@pytest.mark.parametrize("value", [[], {}, {"at": 1}, {**to_json(snapshot()), "daemon": "x"}])
def test_an_answer_of_something_else_is_refused(value):
    with pytest.raises(ValueError, match=r"was expected|without all of its members"):
        read(Snapshot, value)


# --- top


def drawn(value: Snapshot, width: int, height: int, **options) -> list[str]:
    console = Console(width=width, height=height, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(screen(value, width=width, height=height, **options))
    return capture.get().splitlines()


@pytest.mark.parametrize("size", [(200, 60), (130, 40), (80, 24), (60, 12), (40, 6)])
def test_the_screen_fits_and_those_in_trouble_come_first(size):
    lines = drawn(snapshot(), *size)
    assert len(lines) <= size[1]
    assert max(map(len, lines)) <= size[0]
    assert lines[2].startswith("payments")


def test_the_screen_has_rows_of_bars_where_there_is_room_and_in_the_terminals_characters():
    assert "█" in "".join(drawn(snapshot(), 130, 40))
    assert "█" not in "".join(drawn(snapshot(), 80, 40))
    plain = "".join(drawn(snapshot(), 130, 40, ascii_only=True))
    assert "#" in plain


def test_many_mappings_are_cut_to_the_screen():
    value = snapshot()
    many = replace(value, mappings=tuple(replace(value.mappings[0], name=f"m{n}") for n in range(300)))
    lines = drawn(many, 100, 30)
    assert len(lines) <= 30
    assert any("more" in line for line in lines)


def test_markup_in_names_is_text_on_the_screen():
    value = replace(snapshot().mappings[0], name="[red]x[/red]" + HOSTILE)
    assert "[red]x[/red]" in "".join(drawn(replace(snapshot(), mappings=(value,)), 200, 40))


def test_what_was_seen_last_stays_with_the_reason():
    assert "no daemon answers" in drawn(snapshot(), 130, 40, trouble="no daemon answers")[0]


def at_a_terminal(*arguments: str, keys: bytes, term: str = "xterm-256color") -> tuple[int, bytes]:
    """Run `esmd` at a terminal; press the keys once it has drawn something. Its exit code, and all that it wrote."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": term, "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(
        [sys.executable, "-m", "esmd", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environ,
        start_new_session=True,
    )
    os.close(theirs)
    written, pressed, deadline = b"", False, time.monotonic() + 30
    try:
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    data = os.read(ours, 65536)
                except OSError:  # the other end is closed
                    break
                if not data:
                    break
                written += data
            if not pressed and b"payments" in written:
                if keys == b"\x03":  # the terminal would do it, if it were the process's own
                    process.send_signal(signal.SIGINT)
                else:
                    os.write(ours, keys)
                pressed = True
        return process.wait(10), written
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.server
def test_q_ends_top_and_leaves_the_terminal_as_it_was(tmp_path):
    with serving(tmp_path, snapshot()) as socket:
        code, written = at_a_terminal("top", "--api", socket, "--every", "100ms", keys=b"q")
    assert code == 0, written
    assert written.count(b"\x1b[?1049h") == written.count(b"\x1b[?1049l") == 1, "the alternate screen is left"
    assert written.count(b"\x1b[?25l") == written.count(b"\x1b[?25h"), "the cursor is back"


@pytest.mark.server
def test_a_dumb_terminal_gets_plain_text(tmp_path):
    with serving(tmp_path, snapshot()) as socket:
        process = subprocess.Popen(
            [sys.executable, "-m", "esmd", "top", "--api", socket, "--every", "50ms"],
            stdout=subprocess.PIPE,
            env={**os.environ, "TERM": "dumb"},
        )
        assert process.stdout is not None
        try:
            shown = [process.stdout.readline() for _ in range(30)]
        finally:
            process.terminate()
            process.wait(10)
            process.stdout.close()
    assert sum(line.startswith(b"MAPPING") for line in shown) >= 2
    assert b"\x1b" not in b"".join(shown)


@pytest.mark.server
def test_a_watched_status_is_drawn_anew_until_it_is_interrupted(tmp_path):
    with serving(tmp_path, snapshot()) as socket:
        code, written = at_a_terminal("status", "-w", "--api", socket, keys=b"\x03")
    assert code == 0, written
    assert b"\x1b[H\x1b[2J" in written
    assert b"\x1b[31m" in written, "a terminal gets colours"
