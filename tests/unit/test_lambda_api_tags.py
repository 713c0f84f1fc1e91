"""ListTags, TagResource, UntagResource."""

from __future__ import annotations

import pytest

from support.lambda_stage import LambdaStage

INVALID = "InvalidParameterValueException"
VALIDATION = "ValidationException"
SERIALIZATION = "SerializationException"
ONE = "1 validation error detected: Value"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def stage():
    async with LambdaStage() as stage:
        yield stage


async def test_tags_are_added_replaced_and_taken_off(stage):
    created = await stage.create(Tags={"a": "1", "b": "2"})
    path = f"/2017-03-31/tags/{created['EventSourceMappingArn'].replace(':', '%3A')}"
    reply = await stage.call("POST", path, {"Tags": {"b": "3", "c": "4"}})
    assert (reply.status, reply.body) == (204, b"")
    assert (await stage.call("GET", path)).json == {"Tags": {"a": "1", "b": "3", "c": "4"}}
    assert (await stage.call("DELETE", f"{path}?tagKeys=a&tagKeys=c&tagKeys=unknown")).status == 204
    assert (await stage.call("GET", path)).json == {"Tags": {"b": "3"}}


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_tags_of_an_unknown_mapping_are_not_found(stage, method):
    arn = f"arn:aws:lambda:eu-west-1:000000000000:event-source-mapping:{UNKNOWN}"
    reply = await stage.call(method, f"/2017-03-31/tags/{arn}?tagKeys=a", {"Tags": {}} if method == "POST" else None)
    assert reply.error == (404, "ResourceNotFoundException", f"Event source mapping not found: {arn}")


async def test_an_arn_of_another_region_is_another_mapping(stage):
    arn = (await stage.create())["EventSourceMappingArn"].replace("eu-west-1", "us-east-1")
    assert (await stage.call("GET", f"/2017-03-31/tags/{arn}")).status == 404


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ({}, VALIDATION, f"{ONE} null at 'tags' failed to satisfy constraint: Member must not be null"),
        ({"Tags": []}, SERIALIZATION, "Expected a structure or map"),
        ({"Tags": {"a": 5}}, SERIALIZATION, "NUMBER_VALUE can not be converted to a String"),
        ({"Tags": {"aws:a": "b"}}, INVALID, "keys that start with aws: are reserved by AWS"),
        ({"Tags": {f"k{n}": "" for n in range(51)}}, INVALID, "AWS takes at most 50 tags, not 52"),
    ],
)
async def test_bad_tags_are_refused(stage, body, kind, text):
    arn = (await stage.create(Tags={"x": "y"}))["EventSourceMappingArn"]
    assert (await stage.call("POST", f"/2017-03-31/tags/{arn}", body)).error[1:] == (kind, text)
    assert (await stage.call("GET", f"/2017-03-31/tags/{arn}")).json == {"Tags": {"x": "y"}}
