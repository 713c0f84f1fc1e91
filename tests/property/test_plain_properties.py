"""Whatever is said of AWS: what is found without botocore is what botocore finds, or nothing."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esmd.pollers.localstack import Connection, LocalStackClients
from esmd.pollers.wire_credentials import Credentials
from esmd.pollers.wire_routes import route_of

from support.examples import examples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esmd.pollers.plain import Plain

REGION = "eu-west-1"
URL = "http://127.0.0.1:4566"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalr/+=EXAMPLE"}

CALLS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "sqs": [
        ("receive_message", {"QueueUrl": f"{URL}/000000000000/q"}),
        ("delete_message_batch", {"QueueUrl": "https://sqs.us-east-1.amazonaws.com/1/q", "Entries": []}),
        ("get_queue_url", {"QueueName": "q", "QueueOwnerAWSAccountId": "000000000000"}),
        ("get_queue_attributes", {"QueueUrl": f"{URL}/000000000000/q", "AttributeNames": ["All"]}),
    ],
    "kinesis": [
        ("get_records", {"ShardIterator": "i"}),
        ("get_shard_iterator", {"StreamName": "s", "ShardId": "x", "ShardIteratorType": "LATEST"}),
        ("describe_stream_summary", {"StreamARN": f"arn:aws:kinesis:{REGION}:123456789012:stream/s"}),
        ("list_shards", {"StreamARN": f"arn:aws:kinesis:{REGION}:123456789012:stream/s"}),
    ],
    "dynamodbstreams": [
        ("get_records", {"ShardIterator": "i"}),
        ("describe_stream", {"StreamArn": f"arn:aws:dynamodb:{REGION}:123456789012:table/t/stream/2020-01-01T00:00"}),
    ],
    "dynamodb": [("describe_table", {"TableName": "t"})],
}
"""The calls that go to where the plain answer says."""

ENDPOINTS = st.one_of(
    st.sampled_from(
        [URL, "http://localhost", "http://sqs.eu-west-1.localhost.localstack.cloud:4566", "http://a", None]
    ),
    st.sampled_from(
        ["http://aws.test:65535", "http://10.0.0.1:1", "https://aws.test", "http://h:1/base", "http://h:1/"]
    ),
    st.sampled_from(
        ["http://[::1]:4566", "http://a_b:1", "http://u:p@h:1", "http://h:1?x=y", "http://h:0", "http://h:"]
    ),
    st.sampled_from(["http://h:99999", "http://-a", "HTTP://h:1", "http://H:1", "http://h.:1", "h:1", "http://"]),
    st.sampled_from(["http://sqs.us-east-1.amazonaws.com", "http://h:1\n", "http://h:1 "]),
)
REGIONS = st.one_of(
    st.sampled_from([REGION, "us-gov-west-1", "cn-north-1", "us-iso-east-1", "aws-global", "eu_west_1", "local", None]),
    st.sampled_from(
        ["fips-us-east-1", "us-east-1-fips", "us-fips-1", "US-EAST-1", "us-east-1 ", "eu-west-1\n", "1", ""]
    ),
)
VARIABLES: dict[str, list[str]] = {
    **{name: [value, "", "a b", "\u00e9"] for name, value in KEYS.items()},
    "AWS_SESSION_TOKEN": ["token//", "", "a b"],
    "AWS_SECURITY_TOKEN": ["old", ""],
    "AWS_CREDENTIAL_EXPIRATION": ["2099-01-01T00:00:00Z", ""],
    "AWS_ACCOUNT_ID": ["123456789012"],
    "AWS_REGION": ["us-west-2"],
    "AWS_DEFAULT_REGION": ["us-west-2", ""],
    "AWS_PROFILE": ["other", "default", "nobody", ""],
    "AWS_DEFAULT_PROFILE": ["other", "nobody", ""],
    "AWS_ENDPOINT_URL": ["http://elsewhere.test", ""],
    "AWS_ENDPOINT_URL_SQS": ["http://elsewhere.test"],
    "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": ["http://elsewhere.test"],
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": ["true", "no"],
    "AWS_USE_FIPS_ENDPOINT": ["true", "false"],
    "AWS_USE_DUALSTACK_ENDPOINT": ["true"],
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": ["required", "disabled"],
    "AWS_AUTH_SCHEME_PREFERENCE": ["sigv4a,sigv4", "noauth"],
    "AWS_SIGV4A_SIGNING_REGION_SET": ["*"],
    "AWS_DEFAULTS_MODE": ["auto", "standard", "nonsense"],
    "AWS_RETRY_MODE": ["adaptive", "nonsense"],
    "AWS_MAX_ATTEMPTS": ["3", "x"],
    "AWS_CA_BUNDLE": ["/etc/hostname"],
    "AWS_EC2_METADATA_DISABLED": ["true"],
    "AWS_DEFAULT_OUTPUT": ["json"],
    "AWS_PAGER": [""],
    "AWS_DATA_PATH": ["/nowhere"],
    "AWS_CONFIG_FILE": ["~/other", "$HOME/other", "/nowhere", ""],
    "AWS_SHARED_CREDENTIALS_FILE": ["~/other", "/nowhere"],
    "AWS_STS_REGIONAL_ENDPOINTS": ["legacy"],
    "BOTO_CONFIG": ["/nowhere"],
    "HTTP_PROXY": ["http://proxy.test:3128", ""],
    "http_proxy": ["proxy.test"],
    "HTTPS_PROXY": ["http://proxy.test"],
    "ALL_PROXY": ["http://proxy.test"],
    "NO_PROXY": ["127.0.0.1,localhost", "*", ".test"],
    "no_proxy": ["localhost:4566", "h"],
}
LINES = st.one_of(
    st.sampled_from(
        ["[default]", "[profile other]", "[other]", "[sso-session s]", "[DEFAULT]", "[profile 'x", "[", "# x"]
    ),
    st.sampled_from(
        ["[services local]", "region = us-west-2", "output=json", "cli_pager =", "sso_session = s", "", "x"]
    ),
    st.sampled_from(
        ["aws_access_key_id = FILE", "aws_secret_access_key = FILE", "aws_session_token = FILE", "  region"]
    ),
    st.sampled_from(["role_arn = arn:aws:iam::1:role/r", "source_profile = other", "credential_process = false"]),
    st.sampled_from(["use_fips_endpoint = true", "endpoint_url = http://file.test", "ca_bundle = /nowhere", "sqs ="]),
    st.sampled_from(["services = local", "  endpoint_url = http://nested.test", "account_id_endpoint_mode = required"]),
    st.sampled_from(["auth_scheme_preference = noauth", "signature_version = v4a", "REGION = x", "\u00e9 = 1"]),
    st.sampled_from(
        ["parameter_validation = false", "s3 =\n  x", "region =\n  x", "region =\n  a = b", "max_attempts = x"]
    ),
)
QUIET = [
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_CA_BUNDLE",
    "AWS_PAGER",
    "HTTPS_PROXY",
    "NO_PROXY",
]
QUIET_LINES = st.one_of(
    st.sampled_from(
        ["region = us-west-2", "output=json", "[profile other]", "[sso-session s]", "sso_session = s", "# x"]
    ),
    st.sampled_from(["aws_access_key_id = FILE", "aws_secret_access_key = FILE", "role_arn = arn:aws:iam::1:role/r"]),
)


@contextmanager
def said(environ: dict[str, str], files: dict[str, str]) -> Iterator[None]:
    """A process's environment and home, and nothing else."""
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        for name in [*VARIABLES, *map(str.lower, VARIABLES)]:
            patch.delenv(name, raising=False)
        for name, value in {"HOME": home, **environ}.items():
            patch.setenv(name, value)
        for name, text in files.items():
            file = Path(home) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        yield


async def both(service: str, url: str | None, region: str | None, *, dummy: bool) -> Plain | None:
    """What is found without botocore, after it was compared with what botocore finds."""

    def connect(_service: str, _region: str | None, _url: str | None = None) -> Connection:
        return Connection(endpoint_url=url, region=region, dummy_credentials=dummy)

    async with LocalStackClients(connect, profile=None, pool=10) as clients:
        plain = clients.plain(service, region)
        if plain is not None:
            client, _ = await clients.client(service, region, raw=True)
            assert client.meta.endpoint_url == plain.endpoint_url
            assert client.meta.region_name == plain.region
            keys = await Credentials(client._get_credentials()).keys()
            assert keys == plain.keys
            for operation, parameters in CALLS[service]:
                assert await route_of(client, operation, **parameters) == plain.route
    return plain


@st.composite
def situations(draw: st.DrawFn) -> dict[str, Any]:
    """What is said of AWS. All is plain but for two things at most, and what is said beside that says nothing."""
    odd = draw(st.sets(st.sampled_from(["url", "region", "environ", "environ", "config", "credentials"]), max_size=2))
    environ = dict(KEYS)
    for name in draw(st.sets(st.sampled_from(QUIET if "environ" not in odd else sorted(VARIABLES)), max_size=3)):
        environ[name] = draw(st.sampled_from(VARIABLES[name]))
    files = {}
    for name in ("config", "credentials"):
        lines = draw(st.lists(LINES if name in odd else QUIET_LINES, max_size=4, unique=True))
        if lines:
            # Where a variable names it, or at its usual place.
            files[draw(st.sampled_from([f".aws/{name}", f".aws/{name}", "other"]))] = "\n".join(["[default]", *lines])
    return {
        "service": draw(st.sampled_from(sorted(CALLS))),
        "url": draw(ENDPOINTS) if "url" in odd else URL,
        "region": draw(REGIONS) if "region" in odd else REGION,
        "dummy": draw(st.booleans()),
        "environ": environ,
        "files": files,
    }


@settings(max_examples=examples(40))
@given(situations())
def test_what_is_found_without_botocore_is_what_botocore_finds(situation):
    with said(situation["environ"], situation["files"]):
        asyncio.run(both(situation["service"], situation["url"], situation["region"], dummy=situation["dummy"]))


@pytest.mark.thorough
@pytest.mark.parametrize("service", sorted(CALLS))
@pytest.mark.parametrize(
    ("url", "dummy", "environ", "files"),
    [
        (URL, True, {}, {}),
        (URL, False, KEYS, {}),
        ("http://localstack", False, {**KEYS, "AWS_SESSION_TOKEN": "t", "AWS_DEFAULT_REGION": "us-west-2"}, {}),
        ("http://localhost:80", True, {"AWS_ENDPOINT_URL": "http://e", "AWS_ENDPOINT_URL_SQS": "http://s"}, {}),
        (URL, True, {"AWS_CA_BUNDLE": "/etc/hostname", "AWS_PAGER": "", "AWS_EC2_METADATA_DISABLED": "true"}, {}),
        (URL, False, {**KEYS, "HTTPS_PROXY": "http://p", "ALL_PROXY": "http://p"}, {}),
        (URL, False, {**KEYS, "HTTP_PROXY": "http://p", "NO_PROXY": "127.0.0.1"}, {}),
        (URL, True, {"AWS_CONFIG_FILE": "/nowhere"}, {".aws/config": "[default]\nuse_fips_endpoint = true\n"}),
        (
            URL,
            False,
            KEYS,
            {
                ".aws/config": "[default]\nregion = us-west-2\noutput = json\n[sso-session s]\nsso_region = r\n",
                ".aws/credentials": "[default]\naws_access_key_id = F\naws_secret_access_key = F\n",
            },
        ),
    ],
)
async def test_the_usual_is_found_without_botocore(service, url, dummy, environ, files):
    with said(environ, files):
        assert await both(service, url, REGION, dummy=dummy) is not None


@pytest.mark.parametrize(
    ("url", "region", "environ", "files"),
    [
        (None, REGION, {}, {}),
        ("https://127.0.0.1:4566", REGION, {}, {}),
        ("http://h:1/base", REGION, {}, {}),
        ("http://user:pw@h:1", REGION, {}, {}),
        ("http://h:1?a=b", REGION, {}, {}),
        ("http://[::1]:4566", REGION, {}, {}),
        ("http://h:65536", REGION, {}, {}),
        (URL, None, {}, {}),
        (URL, "aws-global", {}, {}),
        (URL, "us-east-1-fips", {}, {}),
        (URL, "us-fips-1", {}, {}),
        (URL, REGION, {"AWS_ACCESS_KEY_ID": ""}, {}),
        (URL, REGION, {"AWS_SECRET_ACCESS_KEY": ""}, {}),
        (URL, REGION, {"AWS_SECRET_ACCESS_KEY": "a b"}, {}),
        (URL, REGION, {"AWS_SECURITY_TOKEN": "old"}, {}),
        (URL, REGION, {"AWS_CREDENTIAL_EXPIRATION": "2099-01-01T00:00:00Z"}, {}),
        (URL, REGION, {"AWS_PROFILE": "default"}, {}),
        (URL, REGION, {"AWS_USE_FIPS_ENDPOINT": "false"}, {}),
        (URL, REGION, {"AWS_SOMETHING_NEW": "1"}, {}),
        (URL, REGION, {"BOTOCORE_EXPERIMENTAL__PLUGINS": "x"}, {}),
        (URL, REGION, {"HTTP_PROXY": "http://proxy.test"}, {}),
        (URL, REGION, {}, {".aws/config": "[default]\nuse_fips_endpoint = true\n"}),
        (URL, REGION, {}, {".aws/config": "[profile x]\nendpoint_url = http://file.test\n"}),
        (URL, REGION, {}, {".aws/config": "[default]\nregion =\n  a = b\n"}),
        (URL, REGION, {}, {".aws/config": "[default]\n[default]\n"}),
        # such a client is not even made
        (URL, REGION, {}, {".aws/config": "[default]\nsso_session = missing\n"}),
        (URL, REGION, {}, {".aws/credentials": "nonsense"}),
        (URL, REGION, {"AWS_CONFIG_FILE": "$HOME/other"}, {"other": "[default]\nservices = s\n"}),
        (URL, REGION, {}, {".aws/models/sqs/2012-11-05/service-2.json": "{}"}),
    ],
)
async def test_whatever_else_is_said_is_botocores_to_understand(url, region, environ, files):
    with said({**KEYS, **environ}, files):
        assert await both("sqs", url, region, dummy=False) is None


async def test_a_profile_is_botocores_to_understand():
    def connect(_service: str, region: str | None, _url: str | None = None) -> Connection:
        return Connection(endpoint_url=URL, region=region, dummy_credentials=False)

    with said(KEYS, {}):
        assert LocalStackClients(connect, profile="x", pool=1).plain("sqs", REGION) is None
        assert LocalStackClients(connect, profile=None, pool=1).plain("sqs", REGION) is not None


async def test_an_answer_stays_what_it_was():
    def connect(_service: str, region: str | None, _url: str | None = None) -> Connection:
        return Connection(endpoint_url=URL, region=region, dummy_credentials=False)

    clients = LocalStackClients(connect, profile=None, pool=1)
    with said(KEYS, {}):
        found = clients.plain("sqs", REGION)
        os.environ["AWS_ACCESS_KEY_ID"] = "ANOTHER"
        assert clients.plain("sqs", REGION) is found
