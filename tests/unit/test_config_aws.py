"""Endpoint, region and credentials: the tables of esmd.config.aws, row by row."""

from __future__ import annotations

import pytest

from esmd.config.aws import Credentials, Endpoint, credentials, endpoint, is_local, region, remote_refusal
from esmd.config.schema import AwsSettings

LOCAL = Endpoint("http://127.0.0.1:4566", "aws.endpoint_url", is_local=True)
REMOTE = Endpoint(None, "AWS", is_local=False)
NOTHING = AwsSettings()
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}


@pytest.mark.parametrize(
    ("configured", "environ", "url", "source"),
    [
        (
            "http://c",
            {"AWS_ENDPOINT_URL_SQS": "http://s", "AWS_ENDPOINT_URL": "http://e"},
            "http://c",
            "aws.endpoint_url",
        ),
        ("http://c", {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, "http://c", "aws.endpoint_url"),
        (
            None,
            {"AWS_ENDPOINT_URL_SQS": "http://s", "AWS_ENDPOINT_URL": "http://e"},
            "http://s",
            "AWS_ENDPOINT_URL_SQS",
        ),
        (None, {"AWS_ENDPOINT_URL_SQS": "", "AWS_ENDPOINT_URL": "http://e/"}, "http://e", "AWS_ENDPOINT_URL"),
        (None, {"AWS_ENDPOINT_URL": "http://e", "LOCALSTACK_HOST": "l"}, "http://e", "AWS_ENDPOINT_URL"),
        (
            None,
            {"AWS_ENDPOINT_URL": "http://e", "LOCALSTACK_HOST": "l", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "TRUE"},
            "http://l:4566",
            "LOCALSTACK_HOST",
        ),
        (None, {"LOCALSTACK_HOST": "l:99", "USE_SSL": "1"}, "https://l:99", "LOCALSTACK_HOST"),
        (None, {"LOCALSTACK_HOST": "l", "USE_SSL": "0"}, "http://l:4566", "LOCALSTACK_HOST"),
        (None, {"LOCALSTACK_HOST": "[::1]"}, "http://[::1]:4566", "LOCALSTACK_HOST"),
        (None, {"LOCALSTACK_HOST": "[::1]:77"}, "http://[::1]:77", "LOCALSTACK_HOST"),
        (None, {"AWS_ENDPOINT_URL": "http://e", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, None, "AWS"),
        (None, {"USE_SSL": "1"}, None, "AWS"),
        (None, {}, None, "AWS"),
    ],
)
def test_the_first_setting_of_the_table_wins(
    configured: str | None, environ: dict[str, str], url: str | None, source: str
) -> None:
    found = endpoint("sqs", settings=AwsSettings(endpoint_url=configured), environ=environ)
    assert (found.url, found.source) == (url, source)
    assert found.is_local is (url is not None)


def test_the_variable_of_a_service_has_the_name_of_its_service_id() -> None:
    environ = {"AWS_ENDPOINT_URL_DYNAMODB_STREAMS": "http://d"}
    assert endpoint("dynamodbstreams", settings=NOTHING, environ=environ).url == "http://d"


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:4566",
        "http://LOCALHOST",
        "http://127.0.0.1:4566",
        "https://127.8.8.8",
        "http://[::1]:4566",
        "http://0.0.0.0:4566",
        "http://10.0.0.5",
        "http://172.17.0.2:4566",
        "http://192.168.1.20",
        "http://169.254.1.1",
        "http://[fe80::1%25eth0]:4566",
        "http://[fd00::1]",
        "http://[::ffff:127.0.0.1]",
        "http://localstack:4566",
        "http://local_stack-main",
        "http://sqs.localhost",
        "https://localhost.localstack.cloud:4566",
        "http://sqs.us-east-1.localhost.localstack.cloud:4566",
        "http://host.docker.internal:4566",
        "http://host.containers.internal:4566",
        "http://localhost.:4566",
    ],
)
def test_local_endpoints(url: str) -> None:
    assert is_local(url)
    assert remote_refusal(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://sqs.us-east-1.amazonaws.com",
        "https://example.com",
        "http://8.8.8.8",
        "http://[2001:4860:4860::8888]",
        "http://[::ffff:8.8.8.8]",
        "http://localhost.example.com",
        "http://localstack.cloud.example.com",
        "http://evillocalstack.cloud",
        "http://127.0.0.1@example.com",
        "http://127.0.0.1.example.com",
        "http://134744072",
        "http://0x08080808",
        "http://",
        "http://[::1",
    ],
)
def test_endpoints_that_are_not_local_are_refused_with_what_would_allow_them(url: str) -> None:
    assert not is_local(url)
    refusal = remote_refusal(url)
    assert refusal is not None
    assert refusal.startswith(f"{url} is not a local endpoint")
    assert "--allow-remote" in refusal
    assert "allow_remote: true" in refusal


def test_aws_itself_is_refused_by_name() -> None:
    assert (remote_refusal(None) or "").startswith("no endpoint is configured, so this would be AWS itself: refused")


def test_an_endpoint_without_a_scheme_is_told_as_what_it_is() -> None:
    assert remote_refusal("localhost:4566") == (
        "the endpoint localhost:4566 is not a URL: it must start with http:// or https://"
    )


@pytest.mark.parametrize(
    ("where", "profile", "environ", "expected"),
    [
        (LOCAL, "p", KEYS, Credentials("profile", "p")),
        (REMOTE, "p", KEYS, Credentials("profile", "p")),
        (LOCAL, None, {**KEYS, "AWS_PROFILE": "e"}, Credentials("environment")),
        (LOCAL, None, {"AWS_PROFILE": "e"}, Credentials("profile", "e")),
        (LOCAL, None, {"AWS_ACCESS_KEY_ID": "half"}, Credentials("dummy")),
        (LOCAL, None, {"AWS_WEB_IDENTITY_TOKEN_FILE": "/t"}, Credentials("dummy")),
        (LOCAL, None, {}, Credentials("dummy")),
        (REMOTE, None, KEYS, Credentials("chain")),
        (REMOTE, None, {}, Credentials("chain")),
    ],
)
def test_credentials_by_the_table(
    where: Endpoint, profile: str | None, environ: dict[str, str], expected: Credentials
) -> None:
    assert credentials(where, settings=AwsSettings(profile=profile), environ=environ) == expected


@pytest.mark.parametrize(
    ("where", "settings", "environ", "expected"),
    [
        (LOCAL, AwsSettings(region="a"), {"AWS_REGION": "b", "AWS_DEFAULT_REGION": "c"}, "a"),
        (LOCAL, NOTHING, {"AWS_REGION": "b", "AWS_DEFAULT_REGION": "c"}, "b"),
        (REMOTE, NOTHING, {"AWS_REGION": "", "AWS_DEFAULT_REGION": "c"}, "c"),
        (LOCAL, NOTHING, {}, "us-east-1"),
        (LOCAL, NOTHING, {"AWS_PROFILE": "p"}, None),
        (LOCAL, AwsSettings(profile="p"), {}, None),
        (REMOTE, NOTHING, {}, None),
    ],
)
def test_region_by_the_table(
    where: Endpoint, settings: AwsSettings, environ: dict[str, str], expected: str | None
) -> None:
    assert region(where, settings=settings, environ=environ) == expected
