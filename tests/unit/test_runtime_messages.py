"""What the requests of a runtime mean, however badly they are written."""

from __future__ import annotations

import base64
import json

import pytest

from esmd.invoke.error_objects import MAX_STACK_LINE_CHARACTERS, MAX_STACK_LINES
from esmd.invoke.runtime import MAX_MESSAGE_CHARACTERS
from esmd.invoke.runtime_messages import Call, answer, error, error_json, next_headers, refused_mode, route
from esmd.invoke.runtime_session import Invocation, Refusal
from esmd.mappings.outcomes import FunctionError, Success

TYPE = b"lambda-runtime-function-error-type"
BODY = b"lambda-runtime-function-error-body"


@pytest.mark.parametrize(
    ("method", "path", "call"),
    [
        (b"GET", b"invocation/next", Call("next")),
        (b"GET", b"invocation/next?x=1", Call("next")),
        (b"POST", b"invocation/8f3c/response", Call("response", "8f3c")),
        (b"POST", b"invocation/8f3c/error", Call("error", "8f3c")),
        (b"POST", b"init/error", Call("init/error")),
    ],
)
def test_the_paths_of_the_runtime_api(method, path, call):
    assert route(method, b"/2018-06-01/runtime/" + path) == call


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        (b"POST", b"/2018-06-01/runtime/invocation/next", 405),
        (b"GET", b"/2018-06-01/runtime/invocation/8f3c/response", 405),
        (b"GET", b"/2018-06-01/runtime/init/error", 405),
        (b"GET", b"/2018-06-01/runtime/restore/next", 404),
        (b"POST", b"/2018-06-01/runtime/restore/error", 404),
        (b"POST", b"/2018-06-01/runtime/invocation/8f3c/answer", 404),
        (b"POST", b"/2018-06-01/runtime/invocation//response", 404),
        (b"POST", b"/2018-06-01/runtime/invocation/8f3c/response/more", 404),
        (b"GET", b"/2020-01-01/extension/register", 404),
        (b"GET", b"/", 404),
        (b"GET", b"http://elsewhere/2018-06-01/runtime/invocation/next", 404),
    ],
)
def test_any_other_request_is_refused(method, target, status):
    refusal = route(method, target)
    assert isinstance(refusal, Refusal)
    assert refusal.status == status


def test_the_headers_of_an_event():
    invocation = Invocation(
        request_id="8f3c", event=b'{"a": 1}', deadline_ms=1_767_225_600_000, arn="arn:x", trace="Root=1"
    )
    assert next_headers(invocation) == [
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"8"),
        (b"Lambda-Runtime-Aws-Request-Id", b"8f3c"),
        (b"Lambda-Runtime-Deadline-Ms", b"1767225600000"),
        (b"Lambda-Runtime-Invoked-Function-Arn", b"arn:x"),
        (b"Lambda-Runtime-Trace-Id", b"Root=1"),
    ]


def test_a_refusal_has_the_two_members_of_lambdas_error_object():
    assert json.loads(error_json("InvalidRequestID", "no")) == {"errorMessage": "no", "errorType": "InvalidRequestID"}


@pytest.mark.parametrize("body", [b"", b"null", b'{"a": 1}', b"\xff not json"])
def test_an_answer_is_handed_on_as_it_is(body):
    assert answer(body, {b"content-type": b"text/plain"}, {}) == Success(body)


@pytest.mark.parametrize("where", ["headers", "trailers"])
def test_a_stream_that_failed_half_way_is_a_function_error(where):
    said = {TYPE: b"Function.Broken", BODY: base64.b64encode(b'{"errorMessage": "pipe", "errorType": "IOError"}')}
    headers, trailers = (said, {}) if where == "headers" else ({}, said)
    assert answer(b"half", headers, trailers) == FunctionError("exception", "IOError", "pipe")


@pytest.mark.parametrize(
    ("trailers", "error_type", "message"),
    [
        ({TYPE: b"Function.Broken"}, "Function.Broken", "half"),
        ({TYPE: b""}, "Runtime.Unknown", "half"),
        ({BODY: base64.b64encode(b"broken")}, "Runtime.Unknown", "broken"),
        ({BODY: b""}, "Runtime.Unknown", ""),
        ({TYPE: b"Function.Broken", BODY: b"no base64!"}, "Function.Broken", "no base64!"),
        ({TYPE: b"Function.Broken", BODY: b"\xff"}, "Function.Broken", "\ufffd"),
    ],
)
def test_one_trailer_is_enough_and_a_broken_one_too(trailers, error_type, message):
    assert answer(b"half", {}, trailers) == FunctionError("exception", error_type, message)


def test_other_trailers_mean_nothing():
    assert answer(b"{}", {}, {b"x-checksum": b"1"}) == Success(b"{}")


@pytest.mark.parametrize(
    ("mode", "known"), [(None, True), (b"streaming", True), (b"Streaming", True), (b"buffered", False)]
)
def test_the_response_modes(mode, known):
    headers = {} if mode is None else {b"lambda-runtime-function-response-mode": mode}
    wrong = refused_mode(headers)
    assert (wrong is None) == known
    if wrong is not None:
        failure, refusal = wrong
        assert (failure.error_type, refusal.status) == ("Runtime.InvalidResponseModeHeader", 400)
        assert "'buffered'" in failure.message


@pytest.mark.parametrize(
    ("body", "header", "expected"),
    [
        (
            b'{"errorMessage": "no stock", "errorType": "OrderError", "requestId": "8f3c", "stackTrace": ["a", "b"]}',
            b"Function.Refused",
            ("OrderError", "no stock", ("a", "b")),
        ),
        (b'{"errorMessage": "no stock"}', b"Function.Refused", ("Function.Refused", "no stock", ())),
        (b'{"errorType": "", "errorMessage": "no"}', b"", ("Runtime.Unknown", "no", ())),
        (b'{"errorType": 7, "errorMessage": null}', b"", ("Runtime.Unknown", "", ())),
        (b"{}", b"", ("Runtime.Unknown", "", ())),
        (b"", b"Runtime.Oops", ("Runtime.Oops", "", ())),
        (b"out of paper", b"Runtime.Oops", ("Runtime.Oops", "out of paper", ())),
        (b"[1]", b"", ("Runtime.Unknown", "[1]", ())),
        (b"\xff", b"\xff", ("\ufffd", "\ufffd", ())),
        (b"[" * 200_000, b"", ("Runtime.Unknown", "[" * (MAX_MESSAGE_CHARACTERS - 3) + "...", ())),
        (b'{"errorMessage": {"code": 5}, "errorType": "E"}', b"", ("E", '{"code": 5}', ())),
        (b'{"errorMessage": "\\ud800", "errorType": "E"}', b"", ("E", "?", ())),
        (b'{"errorType": "E", "errorMessage": "", "trace": ["E", "  at x"]}', b"", ("E", "", ("E", "  at x"))),
        (b'{"errorType": "E", "errorMessage": "", "stackTrace": "a\\nb"}', b"", ("E", "", ("a", "b"))),
        (b'{"errorType": "E", "errorMessage": "", "stackTrace": [{"line": 3}]}', b"", ("E", "", ('{"line": 3}',))),
        (b'{"errorType": "E", "errorMessage": "", "stackTrace": 5}', b"", ("E", "", ())),
    ],
)
def test_whatever_an_error_looks_like_it_is_a_failure(body, header, expected):
    failure = error(body, {TYPE: header}, kind="init")
    assert (failure.kind, failure.error_type, failure.message, failure.stack) == ("init", *expected)


def test_neither_a_long_message_nor_a_deep_stack_floods_the_log():
    body = json.dumps({"errorType": "E", "errorMessage": "x" * 40_000, "stackTrace": ["y" * 2000] * 300})
    failure = error(body.encode(), {}, kind="exception")
    assert len(failure.message) == MAX_MESSAGE_CHARACTERS
    assert len(failure.stack) == MAX_STACK_LINES
    assert {len(line) for line in failure.stack} == {MAX_STACK_LINE_CHARACTERS}
