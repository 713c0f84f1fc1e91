"""Signing: what a form refuses, what is kept for how long, and what is never shown."""

from __future__ import annotations

import pytest

from esmd.pollers.sigv4 import Form, Keys, host_header, signing_key


def form(url: str = "http://127.0.0.1:4566/", **headers: str) -> Form:
    return Form(url, target="AmazonSQS.ReceiveMessage", headers=headers, region="us-east-1", service="sqs")


def lines(request: bytes) -> list[str]:
    return request.partition(b"\r\n\r\n")[0].decode().split("\r\n")


@pytest.mark.parametrize("url", ["http:///x", "http://h/?a=b", "nonsense"])
def test_an_endpoint_without_a_host_or_with_a_query_is_refused(url):
    with pytest.raises(ValueError, match="query or no host"):
        form(url)


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\x00", "a\tb"])
def test_a_header_that_would_make_another_is_refused(value):
    with pytest.raises(ValueError, match="cannot be sent"):
        Form("http://h/", target="t", headers={"X-A": value}, region="r", service="s")


def test_the_request_is_complete():
    request = form(**{"Content-Type": "application/x-amz-json-1.0"}).seal(1_700_000_000, Keys("AKIA", "secret"))
    first, *rest = lines(request.request(b"{}"))
    assert first == "POST / HTTP/1.1"
    named = dict(line.split(": ", 1) for line in rest)
    assert named["Host"] == "127.0.0.1:4566"
    assert named["X-Amz-Date"] == "20231114T221320Z"
    assert named["Authorization"].startswith(
        "AWS4-HMAC-SHA256 Credential=AKIA/20231114/us-east-1/sqs/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature="
    )
    assert named["Content-Length"] == "2"
    assert "X-Amz-Security-Token" not in named


def test_a_session_token_is_sent_and_signed():
    request = form().seal(0, Keys("a", "b", "the/token==")).request(b"")
    assert "X-Amz-Security-Token: the/token==" in lines(request)
    assert b"x-amz-date;x-amz-security-token;x-amz-target" in request


def test_without_credentials_nothing_is_signed():
    request = form().unsigned().request(b"{}")
    assert b"Authorization" not in request
    assert b"X-Amz-Date" not in request
    assert request.endswith(b"Content-Length: 2\r\n\r\n{}")


def test_another_second_another_day_and_other_keys_sign_differently():
    ends = {
        form().seal(second, keys).request(b"{}")
        for second in (0, 1, 86_400)
        for keys in (Keys("a", "b"), Keys("a", "c"), Keys("a", "b", "t"))
    }
    assert len(ends) == 9


def test_the_key_of_a_day_is_derived_once():
    signing_key.cache_clear()
    for second in range(3):
        form().seal(second, Keys("a", "b"))
    assert signing_key.cache_info().misses == 1
    form().seal(86_400, Keys("a", "b"))
    assert signing_key.cache_info().misses == 2


def test_secrets_are_not_shown():
    shown = repr(Keys("AKIA", "very-secret", "a-token"))
    assert "AKIA" in shown
    assert "very-secret" not in shown
    assert "a-token" not in shown


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://H.Example/", "h.example"),
        ("http://h:80/", "h"),
        ("https://h:443", "h"),
        ("https://h:80/", "h:80"),
        ("http://[::1]:4566/", "[::1]:4566"),
        ("http://[::1]/", "[::1]"),
    ],
)
def test_the_host_header(url, host):
    assert host_header(url) == host
