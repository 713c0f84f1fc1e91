"""The lean client of AWS's JSON protocols: signs, sends, and says what came; no shapes, no retries of its own.

Where to send and as whom is plain (`esmd.pollers.plain`), or comes from an aiobotocore client
(`esmd.pollers.wire_routes`). The calls:

| target                                | out again if unanswered   | connections                           |
|---------------------------------------|---------------------------|---------------------------------------|
| SQS `ReceiveMessage`                  | no                        | their own: long polls hold theirs     |
| SQS `DeleteMessageBatch`              | yes                       | the others, so that they never queue  |
| SQS `ChangeMessageVisibilityBatch`    | yes                       | behind long polls                     |
| `GetRecords`, either stream           | yes                       |                                       |
| `GetShardIterator`, either stream     | yes                       |                                       |
| what looks queues and streams up      | yes                       |                                       |

A receive that got no answer may have hidden messages. A second one would not bring them back, so it is not silently
repeated: the loop is told, and counts it.

What an answer means:

| answer                                                    | then                                                          |
|-----------------------------------------------------------|---------------------------------------------------------------|
| 2xx                                                       | its body                                                      |
| 3xx to 5xx                                                | `SourceError`, classified as botocore's error would be        |
| ... that blames the time, and its `Date` is far from ours | our time is corrected, signed anew and sent again, once       |
| ... that calls the token expired                          | credentials are fetched anew, signed and sent again, once     |
| no answer                                                 | `SourceError`, `BACK_OFF`, by the name botocore has for it    |
| no HTTP, or a 2xx body that is no JSON object             | `ProtocolError`                                               |
"""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from esmd.pollers.connection_pool import Pool
from esmd.pollers.connections import ConnectionTrouble, Origin
from esmd.pollers.errors import Failure, Kind, SourceError, classify_answer
from esmd.pollers.http_answers import NotHttp
from esmd.pollers.sigv4 import Form, Keys, Seal
from esmd.pollers.wire_json import ProtocolError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from esmd.pollers.http_answers import Answer
    from esmd.pollers.wire_credentials import KeySource

ANSWER_SECONDS = 10.0
"""Longest silence of a service that has nothing to wait for; a long poll's wait comes on top."""

LOOK_UP_SECONDS = 30.0
"""... when a queue or stream is looked up: an emulator may start the service with its first call. As for botocore's."""

SKEW_SECONDS = 60.0
"""A clock that is so far from the service's is corrected when the service complains. AWS takes up to 300."""

_MESSAGE_LENGTH = 2000
"""Longest message of an error, in characters: a proxy's page may be long."""

_ABOUT_TIME = frozenset(
    {
        "AuthFailure",
        "InvalidSignatureException",
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
_ABOUT_TOKEN = frozenset({"ExpiredToken", "ExpiredTokenException"})


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of call; see the module's table.

    Attributes:
        name: `X-Amz-Target`.
        version: of the JSON protocol, `1.0` or `1.1`.
        repeatable: whether it may go out again when a connection that was used before ended without an answer.
        polls: whether it may wait for something to come.
        query_mode: ask for the error codes of the older query protocol too.
    """

    name: str
    version: str
    repeatable: bool = True
    polls: bool = False
    query_mode: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where and as whom calls are made.

    Attributes:
        url: with the path the calls go to.
        region: to sign for.
        service: the name to sign for.
        signed: whether calls are signed at all.
    """

    url: str
    region: str
    service: str
    signed: bool = True


class WireClient:
    """Calls one service at one endpoint.

    Args:
        route: where and as whom.
        credentials: what signs; not asked where the route is not signed.
        tls: for https, see `connections.tls_context`.
        most: most connections for long polls, and again for the other calls.
        clock: epoch seconds.
    """

    def __init__(
        self,
        route: Route,
        *,
        credentials: KeySource,
        tls: ssl.SSLContext | None,
        most: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._route = route
        self._credentials = credentials
        self._clock = clock
        self._correction = 0.0
        origin = Origin.of(route.url)
        self._polls = Pool(origin, tls=tls, most=most)
        self._others = Pool(origin, tls=tls, most=most)
        self._forms: dict[Target, Form] = {}
        self._seals: dict[Target, Seal] = {}
        self._second = -1
        self._keys = Keys("", "")

    async def call(self, target: Target, payload: bytes, *, within: float = ANSWER_SECONDS) -> bytes | bytearray:
        """Make a call and return the body of its answer.

        Args:
            target: which call.
            payload: the request as JSON. One object may be sent again and again: its signature is kept for a second.
            within: the longest silence before and in the answer, in seconds.

        Raises:
            SourceError: the service refused, or there was no answer.
            ProtocolError: see the class.
        """
        pool = self._polls if target.polls else self._others
        is_again = False
        while True:
            if self._route.signed:
                second = int(self._clock() + self._correction)
                if second != self._second:
                    await self._begin(second)
            seal = self._seals.get(target) or self._seal(target)
            keys, correction = self._keys, self._correction
            try:
                answer = await pool.request(seal.request(payload), within=within, repeatable=target.repeatable)
            except ConnectionTrouble as error:
                raise SourceError(Failure(Kind.BACK_OFF, error.code, f"{error} ({self._route.url})")) from error
            except NotHttp as error:
                raise ProtocolError(str(error)) from error
            if answer.status < 300:
                return answer.body
            failure, codes = service_failure(answer)
            if is_again or not await self._mended(answer, codes, keys=keys, correction=correction):
                raise SourceError(failure)
            is_again = True

    async def close(self) -> None:
        """Close all connections; calls under way fail. Returns when they are gone."""
        self.drop()
        await self._polls.close()
        await self._others.close()

    def drop(self) -> None:
        """Close all connections, without waiting until they are gone."""
        self._polls.drop()
        self._others.drop()

    async def _begin(self, second: int) -> None:
        """Sign for another second from now on, with credentials that are fresh."""
        self._keys = await self._credentials.keys()
        self._second = second
        self._seals.clear()

    def _seal(self, target: Target) -> Seal:
        form = self._forms.get(target)
        if form is None:
            headers = {
                "Content-Type": f"application/x-amz-json-{target.version}",
                "User-Agent": "esmd",
                "Accept-Encoding": "identity",
            }
            if target.query_mode:
                headers["x-amzn-query-mode"] = "true"
            route = self._route
            form = Form(route.url, target=target.name, headers=headers, region=route.region, service=route.service)
            self._forms[target] = form
        seal = form.seal(self._second, self._keys) if self._route.signed else form.unsigned()
        self._seals[target] = seal
        return seal

    async def _mended(self, answer: Answer, codes: frozenset[str], *, keys: Keys, correction: float) -> bool:
        """Whether it is worth asking again: what the service complained about is put right, here or by another call.

        Args:
            answer: the complaint.
            codes: its names.
            keys: the request was signed with these.
            correction: of our time, when it was signed.
        """
        if not self._route.signed:
            return False
        if codes & _ABOUT_TIME:
            their_time = _date(answer)
            if their_time is None or abs(their_time - self._clock() - correction) < SKEW_SECONDS:
                return False
            self._correction = their_time - self._clock()
        elif codes & _ABOUT_TOKEN:
            if await self._credentials.renewed(keys) == keys:
                return False
        else:
            return False
        self._second = -1
        return True


def service_failure(answer: Answer) -> tuple[Failure, frozenset[str]]:
    """The failure that an error answer tells, and all names it has for it.

    SQS has two codes for some errors: the older one comes in a header of its own, `<code>;<whose fault>`.
    """
    status = answer.status
    code, message = str(status), http.client.responses.get(status, "")
    body = bytes(answer.body).strip()
    if status < 500 or (body and not body.startswith(b"<html>")):
        said = _said(body)
        message = said.get("message", said.get("Message")) or ""
        code = str(said.get("__type") or said.get("code") or code)
        code = code.split(":", 1)[0].rsplit("#", 1)[-1]
    newer = code
    older = (answer.header("x-amzn-query-error") or "").split(";")
    if len(older) == 2 and older[0]:
        code = older[0]
    return classify_answer(code, str(message)[:_MESSAGE_LENGTH], status=status, newer=newer), frozenset({code, newer})


def _said(body: bytes) -> dict[str, Any]:
    """The members of an error's body; a body that has none is the message."""
    try:
        value = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"message": body.decode(errors="replace")}


def _date(answer: Answer) -> float | None:
    """The service's time, in epoch seconds; None where it does not tell."""
    try:
        return parsedate_to_datetime(answer.header("date") or "").timestamp()
    except (ValueError, OverflowError):
        return None
