"""Error objects of every runtime, and the emulators' ways of telling of a failure."""

from __future__ import annotations

import json
import re

import pytest

from esmd.invoke import error_objects
from esmd.invoke.error_objects import MAX_TEXT_CHARACTERS, read_emulator, read_error, read_error_object
from esmd.mappings.outcomes import FunctionError

TIMED_OUT = "Task timed out after 3.00 seconds"


def body(**document: object) -> bytes:
    return json.dumps(document).encode()


NOTHING = FunctionError(
    "exit", "Runtime.ExitError", "The function answered nothing, not even null: it ended or timed out."
)

SIGNS: dict[str, list[tuple[bytes, FunctionError | None, FunctionError | None]]] = {
    # row: body, what it is wherever it comes from, what it is from an emulator
    "an object with `errorType` and `errorMessage`, and no key but those of an error object": [
        (body(errorType="E", errorMessage="m"), *[FunctionError("exception", "E", "m")] * 2),
        (body(errorType="E", errorMessage=None), *[FunctionError("exception", "E", "")] * 2),
        (
            body(errorMessage="m", errorType="E", stackTrace=["a"], requestId="", cause={}, trace=[]),
            *[FunctionError("exception", "E", "m", ("a",))] * 2,
        ),
    ],
    "an object with an `errorMessage` that ends in `Task timed out after N seconds`, likewise": [
        (
            body(errorMessage=f"2026-01-01T00:00:00Z 1234 {TIMED_OUT}"),
            *[FunctionError("timeout", "Sandbox.Timedout", f"2026-01-01T00:00:00Z 1234 {TIMED_OUT}")] * 2,
        ),
    ],
    "the text `Task timed out after N seconds`": [
        (TIMED_OUT.encode(), None, FunctionError("timeout", "Sandbox.Timedout", TIMED_OUT)),
        (f" {TIMED_OUT}\n".encode(), None, FunctionError("timeout", "Sandbox.Timedout", TIMED_OUT)),
    ],
    "nothing at all, though a runtime answers at least `null`": [(b"", None, NOTHING), (b" \n", None, NOTHING)],
    "anything else": [
        (each, None, None)
        for each in (
            b"null",
            b'""',
            b"{}",
            b"[]",
            b"{",
            b"\xff",
            b"[" * 100_000 + b'"errorMessage"',
            f'"{TIMED_OUT}"'.encode(),
            f"{TIMED_OUT} and more".encode(),
            body(errorMessage="m"),
            body(errorType="E"),
            body(errorType="E", errorMessage="m", orders=7),
            body(errorType=7, errorMessage="m"),
            body(errorMessage=TIMED_OUT, orders=7),
            b'["errorType", "errorMessage"]',
            json.dumps({"answer": {"errorType": "E", "errorMessage": "m"}}).encode(),
        )
    ],
}


@pytest.mark.parametrize(("given", "anywhere", "emulator"), [case for cases in SIGNS.values() for case in cases])
def test_an_unmarked_answer_is_read_as_the_table_says(given, anywhere, emulator):
    assert read_error_object(given) == anywhere
    assert read_emulator(given) == emulator


def test_the_table_and_its_test_have_the_same_rows():
    rows = re.findall(r"^\| (.+?) +\| .+ \|$", error_objects.__doc__ or "", re.MULTILINE)
    assert [row for row in rows if row != "answer without that mark" and not row.startswith("---")] == [*SIGNS]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        # Python
        (
            body(errorMessage="no", errorType="ValueError", requestId="1", stackTrace=["  File a\n", "  File b\n"]),
            FunctionError("exception", "ValueError", "no", ("  File a\n", "  File b\n")),
        ),
        # Node.js
        (
            body(errorType="TypeError", errorMessage="x is undefined", trace=["TypeError: x", "    at f"]),
            FunctionError("exception", "TypeError", "x is undefined", ("TypeError: x", "    at f")),
        ),
        # Java: a cause, and a message that may be missing
        (
            body(errorMessage=None, errorType="java.lang.NullPointerException", stackTrace=["a.B.c(B.java:1)"]),
            FunctionError("exception", "java.lang.NullPointerException", "", ("a.B.c(B.java:1)",)),
        ),
        # Go
        (
            body(errorMessage="no", errorType="errorString", stackTrace=[{"path": "a.go", "line": 1}]),
            FunctionError("exception", "errorString", "no", ('{"path": "a.go", "line": 1}',)),
        ),
        # a stack in one text, no type, types that are none, other objects
        (body(errorMessage="no", stackTrace="a\nb"), FunctionError("exception", "Unhandled", "no", ("a", "b"))),
        (body(errorMessage="no", stackTrace=7), FunctionError("exception", "Unhandled", "no")),
        (body(errorMessage={"a": 1}, errorType=7), FunctionError("exception", "7", '{"a": 1}')),
        (body(status="bad"), FunctionError("exception", "Unhandled", '{"status": "bad"}')),
        # no object at all
        (b"", FunctionError("exception", "Unhandled", "The function failed and did not say why.")),
        (b"null", FunctionError("exception", "Unhandled", "null")),
        (b'"no"', FunctionError("exception", "Unhandled", '"no"')),
        (b"oh\n\n no", FunctionError("exception", "Unhandled", "oh no")),
        (b"\xff", FunctionError("exception", "Unhandled", "�")),
        (b"x" * 5000, FunctionError("exception", "Unhandled", "x" * MAX_TEXT_CHARACTERS)),
        (TIMED_OUT.encode(), FunctionError("timeout", "Sandbox.Timedout", TIMED_OUT)),
    ],
)
def test_a_marked_answer_is_an_error_whatever_it_holds(given, error):
    assert read_error(given) == error


@pytest.mark.parametrize(
    ("error_type", "kind"),
    [
        ("Sandbox.Timedout", "timeout"),
        ("Runtime.ExitError", "exit"),
        ("Runtime.OutOfMemory", "exit"),
        ("Extension.Crash", "exit"),
        ("Runtime.ImportModuleError", "init"),
        ("Runtime.HandlerNotFound", "init"),
        ("Runtime.UserCodeSyntaxError", "init"),
        ("Runtime.MarshalError", "exception"),
        ("Function.ResponseSizeTooLarge", "exception"),
        ("TimeoutError", "exception"),
    ],
)
def test_the_kind_follows_from_the_type(error_type, kind):
    message = f"RequestId: 1 Error: {TIMED_OUT}"
    assert read_error(body(errorType=error_type, errorMessage=message)) == FunctionError(kind, error_type, message)


def test_the_version_that_ran_is_kept():
    assert read_error(body(errorType="E", errorMessage="m"), executed_version="7").executed_version == "7"
