"""Signatures equal botocore's, for any endpoint, headers, credentials, time and payload."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest.mock import patch
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from esmd.pollers.sigv4 import Form, Keys, canonical_path, host_header

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12).filter(
    lambda name: name[0] not in "-0123456789" and name[-1] != "-"
)
HOSTS = st.one_of(
    st.builds(".".join, st.lists(NAMES, min_size=1, max_size=4)),
    st.sampled_from(["127.0.0.1", "[::1]", "[fe80::1]", "LocalHost", "sqs.us-east-1.amazonaws.com"]),
)
PATHS = st.one_of(
    st.sampled_from(["", "/", "/base", "/base/", "//a//b", "/a/./b/../c/", "/..", "/%41%20", "/a~b_c-d.e"]),
    st.text("abc/.%20~+=&:@!$'()*,;", max_size=20).map(lambda text: f"/{text}"),
)
URLS = st.builds(
    lambda scheme, host, port, path: f"{scheme}://{host}{port}{path}",
    st.sampled_from(["http", "https"]),
    HOSTS,
    st.sampled_from(["", ":80", ":443", ":4566"]),
    PATHS,
)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
HEADERS = st.dictionaries(
    st.one_of(
        st.sampled_from(["Content-Type", "x-amzn-query-mode", "User-Agent", "X-Amz-Extra", "x-amz-aaa"]),
        NAMES.map(lambda name: f"X-{name}"),
    ),
    VALUES,
    max_size=5,
).filter(lambda headers: len({name.lower() for name in headers}) == len(headers))
KEYS = st.builds(
    Keys, st.text("ABC123", min_size=1, max_size=20), VALUES, st.one_of(st.none(), st.text("abc+/=", max_size=60))
)
REGIONS = st.sampled_from(["us-east-1", "eu-west-1", "cn-north-1", "us-gov-west-1"])
SERVICES = st.sampled_from(["sqs", "kinesis", "dynamodb"])
SECONDS = st.integers(0, 4_102_444_800)


def headers_of(request: bytes) -> dict[str, str]:
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def signed_by_botocore(url, *, target, headers, keys, region, service, second, payload):
    credentials = ReadOnlyCredentials(keys.access_key, keys.secret_key, keys.token, None)
    request = AWSRequest("POST", url, headers={"X-Amz-Target": target, **headers}, data=payload)
    moment = datetime.fromtimestamp(second, UTC)
    with patch("botocore.auth.get_current_datetime", return_value=moment):
        SigV4Auth(credentials, service, region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@given(URLS, HEADERS, KEYS, REGIONS, SERVICES, SECONDS, st.lists(st.binary(max_size=200), min_size=1, max_size=3))
def test_a_signature_is_the_one_botocore_makes(url, headers, keys, region, service, second, payloads):
    form = Form(url, target="AmazonSQS.ReceiveMessage", headers=headers, region=region, service=service)
    seal = form.seal(second, keys)
    for payload in payloads:
        expected = signed_by_botocore(
            url,
            target="AmazonSQS.ReceiveMessage",
            headers=headers,
            keys=keys,
            region=region,
            service=service,
            second=second,
            payload=payload,
        )
        request = seal.request(payload)
        found = headers_of(request)
        for name in ("authorization", "x-amz-date", "x-amz-security-token", "x-amz-target"):
            assert found.get(name) == expected.get(name), name
        assert request.endswith(b"\r\n\r\n" + payload)
        assert found["content-length"] == str(len(payload))
        assert request.startswith(f"POST {urlsplit(url).path or '/'} HTTP/1.1\r\nHost: {host_header(url)}\r\n".encode())


@given(PATHS)
def test_a_path_is_signed_as_botocore_signs_it(path):
    assert canonical_path(path) == SigV4Auth(None, "", "")._normalize_url_path(path)


@given(SECONDS, st.binary(max_size=50))
def test_a_payload_sent_again_has_the_same_signature_as_a_copy_of_it(second, payload):
    form = Form("http://h/", target="t", headers={}, region="r", service="s")
    seal = form.seal(second, Keys("a", "b"))
    first = seal.request(payload)
    assert seal.request(payload) == first
    seal.request(b"another")
    assert seal.request(bytes(bytearray(payload))) == first
