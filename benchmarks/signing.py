"""Signature version 4 for the floors: the least that a signed call can cost, keys and the second's prefix cached."""

from __future__ import annotations

import hashlib
import hmac
import time

_KEY, _SECRET = "test", "test"
_SIGNED = "content-type;host;x-amz-date;x-amz-target"


class Signer:
    """Builds signed requests to one service at one host."""

    def __init__(self, host: str, service: str, region: str = "us-east-1") -> None:
        self._host = host
        self._service = service
        self._region = region
        self._second = 0
        self._day = ""

    def request(self, target: str, payload: bytes) -> bytes:
        """A whole HTTP request: `POST /` of the JSON protocol."""
        now = int(time.time())
        if now != self._second:
            self._turn(now)
        digest = hashlib.sha256(payload).hexdigest()
        canonical = (
            f"POST\n/\n\ncontent-type:application/x-amz-json-1.0\nhost:{self._host}\nx-amz-date:{self._date}\n"
            f"x-amz-target:{target}\n\n{_SIGNED}\n{digest}"
        )
        text = self._prefix + hashlib.sha256(canonical.encode()).hexdigest()
        signature = hmac.digest(self._key, text.encode(), "sha256").hex()
        return (
            f"POST / HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/x-amz-json-1.0\r\n"
            f"X-Amz-Date: {self._date}\r\nX-Amz-Target: {target}\r\nContent-Length: {len(payload)}\r\n"
            f"Authorization: AWS4-HMAC-SHA256 Credential={_KEY}/{self._scope}, SignedHeaders={_SIGNED}, "
            f"Signature={signature}\r\n\r\n"
        ).encode() + payload

    def _turn(self, now: int) -> None:
        """A new second; perhaps a new day, and with it a new key."""
        self._second = now
        self._date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        day = self._date[:8]
        if day != self._day:
            self._day = day
            self._scope = f"{day}/{self._region}/{self._service}/aws4_request"
            key = f"AWS4{_SECRET}".encode()
            for part in self._scope.split("/"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key = key
        self._prefix = f"AWS4-HMAC-SHA256\n{self._date}\n{self._scope}\n"
