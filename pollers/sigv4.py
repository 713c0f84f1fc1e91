"""Signature version 4 for the calls of AWS's JSON protocols: `POST`, one target, no query [AWS, "Create a signed request"].

Everything but the payload stays the same for a second, so it is worked out once per second:

| good for                              | kept                                                          |
|---------------------------------------|---------------------------------------------------------------|
| a form of call (endpoint and target)  | canonical path, header lines, list of signed headers          |
| a day, a secret, a region, a service  | the signing key                                               |
| a second and credentials (`Seal`)     | the request's head up to the signature, the hash of that much |
| a payload                             | one more hash, one HMAC                                       |

A payload that is the very object of the call before, in the same second, has the same signature: it is not worked out again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from hmac import digest as hmac_digest
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALGORITHM = "AWS4-HMAC-SHA256"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNSIGNED_HEADERS = frozenset({"user-agent", "accept-encoding", "connection"})
"""Headers that a proxy may change, or that are not about the request."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials as they are at one moment.

    Attributes:
        access_key: goes over the wire.
        secret_key: never does.
        token: of temporary credentials.
    """

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@lru_cache(maxsize=64)
def signing_key(secret_key: str, day: str, region: str, service: str) -> bytes:
    """The key that signs for one day (`YYYYMMDD`), region and service."""
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac_digest(key, part.encode(), "sha256")
    return key


class Form:
    """What is the same in all calls of one target at one endpoint.

    Args:
        url: of the endpoint, with the path the calls go to; no query.
        target: `X-Amz-Target`, for example `AmazonSQS.ReceiveMessage`.
        headers: the other headers, `Host` and `Content-Length` aside. They are sent in this spelling.
        region: to sign for.
        service: the name to sign for, for example `dynamodb` for its streams.

    Raises:
        ValueError: the URL has a query or no host, or a header cannot be sent.
    """

    def __init__(self, url: str, *, target: str, headers: Mapping[str, str], region: str, service: str) -> None:
        parts = urlsplit(url)
        if parts.query or not parts.hostname:
            raise ValueError(f"{url} has a query or no host")
        self._region = region
        self._service = service
        self._path = canonical_path(parts.path)
        self._sent = {"Host": host_header(url), "X-Amz-Target": target, **headers}
        for name, value in self._sent.items():
            if not f"{name}{value}".isprintable():
                raise ValueError(f"the header {name} has characters that cannot be sent")
        self._start = f"POST {parts.path or '/'} HTTP/1.1\r\n" + _lines(self._sent)

    def unsigned(self) -> Seal:
        """For a client without credentials: good for ever."""
        return Seal(f"{self._start}Content-Length: ".encode(), None)

    def seal(self, second: int, keys: Keys) -> Seal:
        """What signs calls in one second.

        Args:
            second: the service's time, in epoch seconds.
            keys: to sign with.
        """
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        day = moment[:8]
        added = {"X-Amz-Date": moment}
        if keys.token:
            added["X-Amz-Security-Token"] = keys.token
        signed = {
            name.lower(): " ".join(value.split())
            for name, value in {**self._sent, **added}.items()
            if name.lower() not in _UNSIGNED_HEADERS
        }
        names = sorted(signed)
        lines = "".join(f"{name}:{signed[name]}\n" for name in names)
        listed = ";".join(names)
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        head = (
            f"{self._start}{_lines(added)}Authorization: {_ALGORITHM} Credential={keys.access_key}/{scope}, "
            f"SignedHeaders={listed}, Signature="
        )
        return Seal(
            head.encode(),
            _Signing(
                canonical=f"POST\n{self._path}\n\n{lines}\n{listed}\n".encode(),
                to_sign=f"{_ALGORITHM}\n{moment}\n{scope}\n".encode(),
                key=signing_key(keys.secret_key, day, self._region, self._service),
            ),
        )


class _Signing:
    """Makes the signature of a payload.

    HMAC is spelled out [RFC 2104]: its two hashes go on from where the key left them, which costs a third of a new HMAC.
    """

    __slots__ = ("_canonical", "_inner", "_outer", "_to_sign")

    def __init__(self, *, canonical: bytes, to_sign: bytes, key: bytes) -> None:
        self._canonical = sha256(canonical)
        self._to_sign = to_sign
        block = key.ljust(64, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))

    def signature(self, payload: bytes) -> bytes:
        request = self._canonical.copy()
        request.update(sha256(payload).hexdigest().encode())
        inner = self._inner.copy()
        inner.update(self._to_sign + request.hexdigest().encode())
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest().encode()


class Seal:
    """Makes whole requests, as bytes. See `Form.seal`."""

    __slots__ = ("_head", "_payload", "_request", "_signing")

    def __init__(self, head: bytes, signing: _Signing | None) -> None:
        self._head = head
        self._signing = signing
        self._payload: bytes | None = None
        self._request = b""

    def request(self, payload: bytes) -> bytes:
        """The request that carries `payload`."""
        if payload is self._payload:
            return self._request
        if self._signing is None:
            request = b"%b%d\r\n\r\n%b" % (self._head, len(payload), payload)
        else:
            signature = self._signing.signature(payload)
            request = b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (self._head, signature, len(payload), payload)
        self._payload = payload
        self._request = request
        return request


def host_header(url: str) -> str:
    """`Host` of a URL: lower case, without user and password, without the scheme's own port."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    return host if parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f"{host}:{parts.port}"


def canonical_path(path: str) -> str:
    """A path as it is signed: without `.`, `..` and empty segments, percent-encoded once more."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in {"", "."}:
            kept.append(segment)
    slash = "/" if path.endswith("/") and kept else ""
    return quote(f"/{'/'.join(kept)}{slash}", safe="/~")


def _lines(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())
