"""Targets that read what handlers answer: partial failures, windows' states, error objects, a worker's frames."""

from __future__ import annotations

import json
from types import SimpleNamespace

from esmd.invoke import runtime
from esmd.invoke.environment import PythonEnvironment
from esmd.invoke.error_objects import (
    MAX_STACK_LINE_CHARACTERS,
    MAX_STACK_LINES,
    read_emulator,
    read_error,
    read_error_object,
)
from esmd.invoke.failures import error_of, outcome_of
from esmd.mappings.outcomes import FunctionError, Success
from esmd.mappings.partial import Invalid, Reported, read_answer
from esmd.mappings.window_replies import read_reply

IDS = frozenset({"a", "b", "12", "é", ""})


def partial_answer(data: bytes) -> None:
    """Only records of the batch have failed, or all, with a reason."""
    verdict = read_answer(data, IDS)
    if isinstance(verdict, Reported):
        assert verdict.failed <= IDS - {""}
    else:
        assert isinstance(verdict, Invalid)
        assert 0 < len(verdict.reason.encode()) < 2000


def window_reply(data: bytes) -> None:
    """The state that is kept is JSON, and the one the answer has."""
    reply = read_reply(Success(data))
    assert (reply.state is None) != (reply.refused is None)
    if reply.state is not None:
        try:
            expected = json.loads(data, parse_int=str, parse_float=str)["state"]
            found = json.loads(reply.state, parse_int=str, parse_float=str)
        except RecursionError:  # the reader is a few levels nearer to the limit than this one
            return
        assert found == expected
        assert found is not None


def error_object(data: bytes) -> None:
    """An error's texts can be written, and are not endless."""
    check_error(read_error(data))
    check_error(error_of(data, kind="exception"))
    for read in (read_error_object, read_emulator):
        found = read(data)
        if found is not None:
            check_error(found)


def check_error(error: FunctionError) -> None:
    for text in (error.error_type, error.message, *error.stack):
        text.encode()
    assert len(error.error_type) <= runtime.MAX_MESSAGE_CHARACTERS
    assert len(error.message) <= runtime.MAX_MESSAGE_CHARACTERS
    assert len(error.stack) <= MAX_STACK_LINES
    assert all(len(line) <= MAX_STACK_LINE_CHARACTERS for line in error.stack)


class _Reply:
    """What waits for a frame."""

    def __init__(self) -> None:
        self.frame = None

    def done(self) -> bool:
        return self.frame is not None

    def set_result(self, frame) -> None:
        self.frame = frame


def worker_frames(data: bytes) -> None:
    """What comes on a worker's channel is an answer, or an end to the worker; what is kept of it is bounded."""
    killed = []
    environment = object.__new__(PythonEnvironment)
    environment._inbox = bytearray()
    environment._reply = reply = _Reply()
    environment._process = SimpleNamespace(
        ending=False, kill=killed.append, finish=lambda: None, take_output=lambda: None
    )
    size = 1 + len(data) % 97
    for start in range(0, min(len(data), 200 * size), size):
        environment._take(data[start : start + size])
        if killed:
            assert killed == ["protocol"]
            break
        if reply.frame is not None:
            kind, body = reply.frame
            outcome = outcome_of(kind, body)
            if isinstance(outcome, FunctionError):
                check_error(outcome)
            environment._reply = reply = _Reply()
    assert len(environment._inbox) <= len(data)


def frame(kind: int, body: bytes) -> bytes:
    return runtime.FRAME.pack(kind, 0, len(body)) + body


_ERRORS = tuple(
    json.dumps(each).encode()
    for each in (
        {"errorMessage": "m", "errorType": "E", "stackTrace": ["a", "b"], "requestId": "r"},
        {"errorMessage": "x Task timed out after 3.00 seconds", "cause": {"errorMessage": "n"}, "trace": "a\nb"},
        {"errorType": "E", "cause": {"errorMessage": "n", "errorType": "F"}},
    )
)
_ERROR_WORDS = (b'"errorMessage":', b'"errorType":', b'"cause":', b'"trace":', b"Task timed out after ", b" seconds")

TARGETS = (
    (
        partial_answer,
        (
            b'{"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": 12}]}',
            b'{"batchItemFailures": []}',
            b"null",
            '{"batchItemFailures":[{"itemIdentifier":"é"}]}'.encode("utf-16"),
        ),
        (b'{"itemIdentifier":"b"},', b'"batchItemFailures":', b'"itemIdentifier":', b"12", b"\\ud800"),
    ),
    (
        window_reply,
        (
            b'{"state": {"a": 1.10, "b": [1, 2]}, "batchItemFailures": []}',
            b' { "x" : "state" , "state":1, "st\\u0061te" : {"state":2} } ',
        ),
        (b'"state":', b'"state":{},', b'"state":null', b"\\u0073tate", b"1e99999"),
    ),
    (error_object, (*_ERRORS, b"Task timed out after 3.00 seconds"), _ERROR_WORDS),
    (
        worker_frames,
        (
            frame(runtime.ANSWER, b"null"),
            frame(runtime.ERROR, _ERRORS[0]) + frame(runtime.READY, b""),
            frame(runtime.READY, b""),
        ),
        (
            b"\xff\xff\xff\xff",
            b"\0\0\0\0",
            bytes([runtime.ERROR]),
            b"\x07",
            b"{}",
            *(frame(n, b"{}") for n in range(7)),
        ),
    ),
)
