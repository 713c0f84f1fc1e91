"""Signatures that botocore makes are accepted, and no longer when anything about the request has changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from esmd.api.sigv4_check import SignatureRefused, SignedRequest, check_signature

from support.examples import examples

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
SECRETS = {"AKIDEXAMPLE": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "OTHER": "other"}

METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE"])
PATHS = st.one_of(
    st.sampled_from(
        [
            "/2015-03-31/event-source-mappings",
            "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A000000000000%3Afunction%3Af/invocations",
            "/2015-03-31/functions/a:$LATEST",
            "/a//b/../c/",
        ]
    ),
    st.text("abc/.%20~+=&:@!$'()*,;", max_size=20).map(lambda text: f"/{text}"),
)
TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
PARAMS = st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=4)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "X-Amz-Invocation-Type", "X-Amz-Extra", "Accept", "User-Agent"]),
    VALUES,
    max_size=4,
)
BODIES = st.binary(max_size=40)


def signed(method, path, params, headers, body, *, key="AKIDEXAMPLE", at=NOW, token=None):
    """A request as botocore would send it."""
    request = AWSRequest(method, f"http://127.0.0.1:4580{path}", headers=headers, data=body, params=params)
    credentials = ReadOnlyCredentials(key, SECRETS[key], token, None)
    with patch("botocore.auth.get_current_datetime", return_value=at):
        SigV4Auth(credentials, "lambda", "eu-west-1").add_auth(request)
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    sent = [(name, value if isinstance(value, str) else value.decode()) for name, value in prepared.headers.items()]
    if "Host" not in prepared.headers:
        sent.append(("Host", parts.netloc))
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return SignedRequest(method=method, target=target, headers=sent, body=body)


def check(request, *, now=NOW, service="lambda"):
    return check_signature(request, secrets=SECRETS, now=now, service=service)


def changed(request, **changes):
    values = {name: getattr(request, name) for name in ("method", "target", "headers", "body")}
    return SignedRequest(**(values | changes))


@given(METHODS, PATHS, PARAMS, HEADERS, BODIES, st.sampled_from(list(SECRETS)), st.one_of(st.none(), st.just("token")))
def test_what_botocore_signs_is_accepted(method, path, params, headers, body, key, token):
    assert check(signed(method, path, params, headers, body, key=key, token=token)) == key


CHANGES = {
    "method": lambda request: changed(request, method="PATCH"),
    "path": lambda request: changed(request, target=request.target.replace("/", "/x", 1)),
    "query": lambda request: changed(request, target=f"{request.target}{'&' if '?' in request.target else '?'}zz=1"),
    "body": lambda request: changed(request, body=request.body + b" "),
    "a signed header": lambda request: changed(
        request, headers=[(name, "evil" if name == "Host" else value) for name, value in request.headers]
    ),
    "one more value": lambda request: changed(request, headers=[*request.headers, ("Host", "evil")]),
    "one more header of AWS": lambda request: changed(request, headers=[*request.headers, ("X-Amz-More", "x")]),
    "date": lambda request: changed(
        request,
        headers=[(name, "20261126T120001Z" if name == "X-Amz-Date" else value) for name, value in request.headers],
    ),
    "signature": lambda request: changed(
        request,
        headers=[
            (name, value[:-1] + ("0" if value[-1] != "0" else "1") if name == "Authorization" else value)
            for name, value in request.headers
        ],
    ),
    "key": lambda request: changed(
        request, headers=[(name, value.replace("AKIDEXAMPLE", "OTHER")) for name, value in request.headers]
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@settings(max_examples=examples(20))
@given(METHODS, PATHS, PARAMS, HEADERS, BODIES)
def test_a_request_that_was_changed_is_refused(change, method, path, params, headers, body):
    with pytest.raises(SignatureRefused) as refused:
        check(change(signed(method, path, params, headers, body)))
    assert refused.value.error_type == "InvalidSignatureException"
    assert refused.value.status == 403


@given(st.integers(-3000, 3000))
def test_a_signature_holds_for_a_quarter_of_an_hour_either_way(seconds):
    request = signed("GET", "/x", {}, {}, b"", at=NOW + timedelta(seconds=seconds))
    if abs(seconds) <= 900:
        assert check(request) == "AKIDEXAMPLE"
    else:
        with pytest.raises(SignatureRefused, match=r"Signature expired|not yet current"):
            check(request)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Authorization", "X-Amz-Date", "Host", "x-amz-content-sha256"]),
            st.one_of(
                VALUES,
                st.text("AWS4-HMACSH256 Credential=,/SignedHeaders;hostSignature0af", max_size=200),
                st.just("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261126/r/lambda/aws4_request, SignedHeaders=host, "),
            ),
        ),
        max_size=5,
    ),
    st.text("/?&=%+\xff\udcff", max_size=10),
)
def test_nothing_that_a_client_may_send_does_anything_but_refuse(headers, target):
    with pytest.raises(SignatureRefused):
        check(SignedRequest(method="GET", target=target, headers=headers, body=b""))
