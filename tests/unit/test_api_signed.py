"""AWS's tools on a daemon that wants a token, and requests that never reach a route."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager

import aiohttp
import boto3
import pytest
from aiohttp import web
from botocore.config import Config as ClientConfig
from botocore.exceptions import ClientError

from esmd.api.parts import ApiParts
from esmd.api.server import make_app
from esmd.config.schema import ApiSettings

from support.fake_control import FakeControl, config_of
from support.invocations import Recorder
from support.lambda_stage import MAPPINGS

TOKEN = "0123456789abcdef"


@asynccontextmanager
async def served(**settings):
    """The URL of the whole application."""
    config = config_of("process").model_copy(update={"api": ApiSettings(**settings)})
    control = FakeControl(config)
    runner = web.AppRunner(make_app(ApiParts(control=control, status=None, telemetry=Recorder(), config=config)))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextmanager
def client_of(url, key, secret):
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name="eu-west-1")
    client = session.client("lambda", endpoint_url=url, config=ClientConfig(retries={"total_max_attempts": 1}))
    try:
        yield client
    finally:
        client.close()


async def test_a_request_signed_with_the_token_is_served():
    async with served(token=TOKEN) as url:
        with client_of(url, "esmd", TOKEN) as client:
            listed = await asyncio.to_thread(client.list_functions)
            assert [each["FunctionName"] for each in listed["Functions"]] == ["process"]
            arn = "arn:aws:lambda:eu-west-1:000000000000:function:process"
            found = await asyncio.to_thread(client.get_function, FunctionName=arn)
            assert found["Configuration"]["FunctionArn"].endswith(":process")


@pytest.mark.parametrize(
    ("key", "secret", "code"),
    [
        ("esmd", "0123456789abcdeF", "InvalidSignatureException"),
        ("test", TOKEN, "UnrecognizedClientException"),
    ],
)
async def test_a_request_signed_with_anything_else_is_refused(key, secret, code):
    async with served(token=TOKEN) as url:
        with client_of(url, key, secret) as client, pytest.raises(ClientError) as refused:
            await asyncio.to_thread(client.list_functions)
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert TOKEN not in str(refused.value)


async def test_what_only_looks_like_a_signature_is_refused():
    async with served(token=TOKEN) as url, aiohttp.ClientSession() as session:
        for value, status in (
            ("AWS4-HMAC-SHA256", 400),
            ("AWS4-HMAC-SHA256 Credential=esmd/1/r/lambda/x", 400),
            ("", 401),
        ):
            async with session.get(f"{url}{MAPPINGS}", headers={"Authorization": value}) as reply:
                assert reply.status == status
                assert reply.headers["X-Amzn-ErrorType"]


async def test_without_a_token_signatures_are_not_looked_at():
    async with served() as url:
        with client_of(url, "any", "thing") as client:
            assert (await asyncio.to_thread(client.list_event_source_mappings))["EventSourceMappings"] == []


@pytest.mark.parametrize(
    ("data", "headers", "status", "kind"),
    [
        (b"not compressed", {"Content-Encoding": "deflate"}, 400, "UnreadableBody"),
        (b"{}", {"Host": "evil.example"}, 403, "ForeignHost"),
    ],
)
async def test_what_never_reaches_a_route_is_refused_in_a_form_that_awss_tools_read(data, headers, status, kind):
    async with (
        served() as url,
        aiohttp.ClientSession() as session,
        session.post(f"{url}{MAPPINGS}", data=data, headers=headers) as reply,
    ):
        assert (reply.status, reply.headers["X-Amzn-ErrorType"]) == (status, kind)
        assert (await reply.json())["message"]
