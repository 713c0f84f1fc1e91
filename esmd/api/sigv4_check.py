"""Checks the signature (version 4) of a request that came in [AWS, "Create a signed request"]. Pure: no clock, no socket.

| the request                                             | error                                | status |
|---------------------------------------------------------|--------------------------------------|--------|
| has no `Authorization`                                   | `MissingAuthenticationTokenException` | 403   |
| has one that is not complete, or no date                 | `IncompleteSignatureException`        | 400   |
| names a key that is not known                            | `UnrecognizedClientException`         | 403   |
| is signed for another service                            | `InvalidSignatureException`           | 403   |
| was signed more than 15 minutes ago, or will be          | `InvalidSignatureException`           | 403   |
| has a `host` or an `x-amz-` header that is not signed    | `InvalidSignatureException`           | 403   |
| has another signature                                    | `InvalidSignatureException`           | 403   |

A body that is declared as `UNSIGNED-PAYLOAD` is not accepted: what is not signed could have been changed on its way. Signatures
in the query are not accepted either. A session token is not looked at beyond its being signed.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from esmd.pollers.sigv4 import canonical_path, signing_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ALGORITHM = "AWS4-HMAC-SHA256"
"""How the value of `Authorization` begins."""

MOST_SKEW = timedelta(minutes=15)
"""Furthest that the time of a signature may be from ours."""

_NEEDED = re.compile(r"AWS4-HMAC-SHA256\s+(?P<fields>.+)", re.DOTALL)
_SCOPE = re.compile(r"(?P<key>[^/]+)/(?P<day>[0-9]{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_UNRESERVED = "-_.~"


class SignatureRefused(Exception):  # noqa: N818 - says what happened, as the other refusals do
    """The signature is missing or wrong.

    Attributes:
        error_type: as AWS spells it.
        message: for the client; says nothing of the secret.
        status: of HTTP.
    """

    def __init__(self, error_type: str, message: str, *, status: int = 403) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """A request as it came over the wire.

    Attributes:
        method: such as `POST`.
        target: path and query, still percent-encoded.
        headers: name and value of each, in order; a name may occur more than once.
        body: as it came.
    """

    method: str
    target: str
    headers: Iterable[tuple[str, str]]
    body: bytes


def check_signature(
    request: SignedRequest, *, secrets: Mapping[str, str], now: datetime, service: str = "lambda"
) -> str:
    """The access key that signed a request.

    Args:
        request: what came.
        secrets: secret keys by access key.
        now: the time, with a zone.
        service: what the signature has to be for.

    Raises:
        SignatureRefused: see the module's table.
    """
    if not request.target.isascii():
        raise _mismatch("The request's path and query must be percent-encoded.")
    headers = _gathered(request.headers)
    fields, scope = _authorization(headers)
    secret = secrets.get(scope["key"])
    if secret is None:
        raise SignatureRefused("UnrecognizedClientException", "The security token included in the request is invalid.")
    signed = fields["SignedHeaders"].split(";")
    moment = _moment(headers, signed)
    _timely(moment, now, scope["day"])
    if scope["service"] != service:
        raise _mismatch(f"Credential should be scoped to correct service: '{service}'.")
    listed = "\n".join(f"{name}:{headers.get(name, '')}" for name in signed)
    path, _, query = request.target.partition("?")
    payload = sha256(request.body).hexdigest()
    if headers.get("x-amz-content-sha256", payload) != payload:
        raise _mismatch("The provided 'x-amz-content-sha256' header does not match what was computed.")
    canonical = "\n".join(
        (request.method, canonical_path(path), _query(query), listed, "", fields["SignedHeaders"], payload)
    )
    place = f"{scope['day']}/{scope['region']}/{service}/aws4_request"
    to_sign = f"{ALGORITHM}\n{moment}\n{place}\n{sha256(canonical.encode(errors='surrogateescape')).hexdigest()}"
    key = signing_key(secret, scope["day"], scope["region"], service)
    if not hmac.compare_digest(hmac.digest(key, to_sign.encode(), "sha256").hex(), fields["Signature"]):
        raise _mismatch(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method."
        )
    return scope["key"]


def _authorization(headers: Mapping[str, str]) -> tuple[dict[str, str], re.Match[str]]:
    """The three fields of `Authorization`, and the scope of the credential."""
    value = headers.get("authorization")
    if value is None:
        raise SignatureRefused("MissingAuthenticationTokenException", "Missing Authentication Token")
    match = _NEEDED.fullmatch(value)
    if match is None:
        raise _incomplete(f"Authorization header requires the algorithm {ALGORITHM}.")
    pairs = (each.strip().partition("=") for each in match["fields"].split(","))
    fields = {name: text for name, _, text in pairs}
    for name in ("Credential", "SignedHeaders", "Signature"):
        if not fields.get(name):
            raise _incomplete(f"Authorization header requires '{name}' parameter.")
    scope = _SCOPE.fullmatch(fields["Credential"])
    if scope is None:
        raise _incomplete("Credential must be KEY/DATE/REGION/SERVICE/aws4_request.")
    if not _SIGNATURE.fullmatch(fields["Signature"]):
        raise _incomplete("Signature must be 64 hexadecimal digits.")
    return fields, scope


def _moment(headers: Mapping[str, str], signed: list[str]) -> str:
    """`X-Amz-Date`, where the signature covers it and the host."""
    moment = headers.get("x-amz-date")
    if moment is None:
        raise _incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if "host" not in signed:
        raise _mismatch("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    unsigned = [name for name in headers if name.startswith("x-amz-") and name not in signed]
    if unsigned:
        raise _mismatch(f"There were headers present in the request which were not signed: {', '.join(unsigned)}")
    return moment


def _timely(moment: str, now: datetime, day: str) -> None:
    try:
        signed_at = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise _incomplete("Date must be in ISO-8601 'basic format'.") from None
    if not moment.startswith(day):
        raise _mismatch("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.")
    if now - signed_at > MOST_SKEW:
        raise _mismatch(f"Signature expired: {moment} is now earlier than {_basic(now - MOST_SKEW)}.")
    if signed_at - now > MOST_SKEW:
        raise _mismatch(f"Signature not yet current: {moment} is still later than {_basic(now + MOST_SKEW)}.")


def _basic(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _gathered(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by their small name, as they are signed: blanks folded, several values joined."""
    found: dict[str, str] = {}
    for name, value in headers:
        folded = " ".join(value.split())
        known = found.get(name.lower())
        found[name.lower()] = folded if known is None else f"{known},{folded}"
    return found


def _query(query: str) -> str:
    """The parameters, each encoded once and all sorted."""
    pairs = []
    for each in filter(None, query.split("&")):
        name, _, value = each.partition("=")
        pairs.append((_encoded(name), _encoded(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(text.replace("+", " ")), safe=_UNRESERVED)  # botocore sends a blank as +


def _incomplete(message: str) -> SignatureRefused:
    return SignatureRefused("IncompleteSignatureException", message, status=400)


def _mismatch(message: str) -> SignatureRefused:
    return SignatureRefused("InvalidSignatureException", message)
