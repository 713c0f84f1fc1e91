"""The API's HTTP surface: whatever comes, the answer is AWS's."""

from __future__ import annotations

import asyncio
import json
import re

import botocore.session
import pytest

from esmd.api.lambda_api.errors import STATUSES, LambdaError, answer_error
from esmd.observe.lambda_api_events import RequestFailed

from support.lambda_stage import FUNCTIONS, MAPPINGS, QUEUE, LambdaStage

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
MODEL = botocore.session.get_session().get_service_model("lambda")


@pytest.fixture
async def stage():
    async with LambdaStage() as stage:
        yield stage


async def test_every_answer_has_a_request_id_of_its_own_and_json(stage):
    replies = [await stage.call("GET", path) for path in (MAPPINGS, MAPPINGS, f"{MAPPINGS}/unknown")]
    ids = [reply.headers["x-amzn-RequestId"] for reply in replies]
    assert len(set(ids)) == 3
    assert all(UUID4.fullmatch(each) for each in ids)
    assert all(reply.headers["Content-Type"] == "application/json" for reply in replies)


@pytest.mark.parametrize("kind", STATUSES)
def test_an_error_has_the_status_and_members_of_awss_service_model(kind):
    answer = answer_error(LambdaError(kind, "text"))
    document = json.loads(answer.body)
    assert answer.headers["X-Amzn-ErrorType"] == kind
    shapes = {shape.name: shape for shape in MODEL.error_shapes}
    if kind in shapes:
        assert answer.status == shapes[kind].metadata["error"]["httpStatusCode"]
        assert set(document) <= set(shapes[kind].members)
        assert document["Type"] == ("Service" if answer.status >= 500 else "User")
    else:
        assert document == {"message": "text"}


def test_a_detail_that_no_header_can_hold_is_escaped_and_cut():
    answer = answer_error(LambdaError("ServiceException", "text", detail="a\r\nSet-Cookie: b ü" + "x" * 5000))
    detail = answer.headers["X-Esmd-Detail"]
    assert detail.startswith("a\\r\\nSet-Cookie: b \\xfcx")
    assert len(detail) == 1000


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (b"{", "InvalidRequestContentException", "Could not parse request body into json: "),
        (b'{"BatchSize": NaN}', "InvalidRequestContentException", "Could not parse request body into json: NaN"),
        (b"\xff{}", "InvalidRequestContentException", "Could not parse request body into json: "),
        (b"[" * 100_000, "InvalidRequestContentException", "Could not parse request body into json: nested too deeply"),
        (b"[]", "SerializationException", "Expected a structure or map"),
        (b"null", "SerializationException", "Expected a structure or map"),
    ],
)
async def test_a_body_that_is_no_object_is_refused(stage, body, kind, text):
    reply = await stage.call("POST", MAPPINGS, data=body)
    assert reply.error[:2] == (400, kind)
    assert reply.error[2].startswith(text)


async def test_a_body_above_the_limit_is_refused(stage):
    reply = await stage.call("POST", MAPPINGS, data=b" " * (6 * 1024 * 1024 + 1))
    assert reply.error[:2] == (413, "RequestTooLargeException")


async def test_a_body_that_is_not_encoded_as_it_says_is_refused(stage):
    reply = await stage.call("POST", MAPPINGS, data=b"not compressed", Content_Encoding="deflate")
    assert reply.error[:2] == (400, "InvalidRequestContentException")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", FUNCTIONS),
        ("DELETE", f"{FUNCTIONS}/process"),
        ("PUT", f"{FUNCTIONS}/process/code"),
        ("GET", "/2019-09-25/functions/process/event-invoke-config"),
        ("PATCH", MAPPINGS),
        ("GET", "/2015-03-31"),
        ("GET", "/2017-03-31/tags/"),
    ],
)
async def test_other_operations_say_that_they_are_not_served(stage, method, path):
    status, kind, text = (await stage.call(method, path)).error
    assert (status, kind) == (404, "UnknownOperationException")
    assert text.startswith(f"esmd does not serve the operation of {method} {path}. It serves ")


async def test_a_defect_is_said_in_the_log_and_shows_nothing(stage):
    async def broken(mapping, *, longest):
        raise RuntimeError("secret")

    stage.probe.objection = broken
    reply = await stage.call("POST", MAPPINGS, {"EventSourceArn": QUEUE, "FunctionName": "process"})
    assert reply.error == (500, "ServiceException", "An internal error occurred; the daemon's log tells more.")
    assert b"secret" not in reply.body
    [event] = stage.telemetry.of(RequestFailed)
    assert (event.operation, event.error_type, event.error_message) == ("create_mapping", "RuntimeError", "secret")
    assert event.request_id == reply.headers["x-amzn-RequestId"]
    assert any("in broken" in line for line in event.stack)


async def test_a_client_that_hangs_up_in_the_middle_of_its_body_harms_nobody(stage):
    host, port = stage.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST {MAPPINGS} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100\r\n\r\n{{".encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await stage.call("GET", MAPPINGS)).status == 200
    assert stage.telemetry.of(RequestFailed) == []
