"""What a signature's check refuses, and in which words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from esmd.api.sigv4_check import SignatureRefused, SignedRequest, check_signature

NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
SECRETS = {"AKIDEXAMPLE": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
SIGNATURE = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
"""Of AWS's own test suite for signatures: `get-vanilla`."""

GOOD = {
    "Credential": "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request",
    "SignedHeaders": "host;x-amz-date",
    "Signature": SIGNATURE,
}


def request(*, date="20150830T123600Z", authorization=None, **fields):
    said = ", ".join(f"{name}={value}" for name, value in (GOOD | fields).items() if value is not None)
    headers = [("Host", "example.amazonaws.com"), ("X-Amz-Date", date)]
    headers.append(("Authorization", f"AWS4-HMAC-SHA256 {said}" if authorization is None else authorization))
    return SignedRequest(method="GET", target="/", headers=[each for each in headers if each[1]], body=b"")


def refusal(signed, *, service="service"):
    with pytest.raises(SignatureRefused) as refused:
        check_signature(signed, secrets=SECRETS, now=NOW, service=service)
    return refused.value.status, refused.value.error_type, refused.value.message


def test_awss_own_example_is_accepted():
    assert check_signature(request(), secrets=SECRETS, now=NOW, service="service") == "AKIDEXAMPLE"


@pytest.mark.parametrize(
    ("signed", "status", "kind", "text"),
    [
        (request(authorization=""), 403, "MissingAuthenticationTokenException", "Missing Authentication Token"),
        (request(authorization="Bearer x"), 400, "IncompleteSignatureException", "requires the algorithm"),
        (request(Signature=None), 400, "IncompleteSignatureException", "requires 'Signature' parameter"),
        (request(SignedHeaders=None), 400, "IncompleteSignatureException", "requires 'SignedHeaders' parameter"),
        (request(Credential="AKIDEXAMPLE"), 400, "IncompleteSignatureException", "Credential must be"),
        (request(Signature="00"), 400, "IncompleteSignatureException", "64 hexadecimal digits"),
        (request(date=""), 400, "IncompleteSignatureException", "X-Amz-Date"),
        (request(date="yesterday"), 400, "IncompleteSignatureException", "ISO-8601"),
        (
            request(Credential="OTHER/20150830/us-east-1/service/aws4_request"),
            403,
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
        (
            request(Credential="AKIDEXAMPLE/20150829/us-east-1/service/aws4_request"),
            403,
            "InvalidSignatureException",
            "Date in Credential scope",
        ),
        (request(SignedHeaders="x-amz-date"), 403, "InvalidSignatureException", "'Host' must be"),
        (request(SignedHeaders="host"), 403, "InvalidSignatureException", "not signed: x-amz-date"),
        (request(Signature="0" * 64), 403, "InvalidSignatureException", "does not match the signature you provided"),
        (request(date="20150830T122059Z"), 403, "InvalidSignatureException", "is now earlier than 20150830T122100Z"),
        (request(date="20150830T125101Z"), 403, "InvalidSignatureException", "is still later than 20150830T125100Z"),
    ],
)
def test_refusals(signed, status, kind, text):
    found = refusal(signed)
    assert found[:2] == (status, kind)
    assert text in found[2]


def test_a_signature_for_another_service_is_refused():
    assert "correct service: 'lambda'" in refusal(request(), service="lambda")[2]


def test_a_refusal_never_tells_the_secret():
    assert SECRETS["AKIDEXAMPLE"] not in refusal(request(Signature="0" * 64))[2]
