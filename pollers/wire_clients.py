"""Makes and shares the lean clients, and asks through them while that is the choice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from esmd.pollers.connections import NoTrust, tls_context
from esmd.pollers.errors import Failure, Kind, SourceError, classify
from esmd.pollers.wire import ANSWER_SECONDS, WireClient
from esmd.pollers.wire_credentials import Credentials, FixedKeys
from esmd.pollers.wire_json import ProtocolError, parsed
from esmd.pollers.wire_routes import Obstacle, route_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType

    from esmd.pollers.client_choice import ClientChoice, Place
    from esmd.pollers.plain import Plain
    from esmd.pollers.wire import Route, Target
    from esmd.pollers.wire_credentials import KeySource


class Lane:
    """The way one source's frequent calls take. It may change to botocore, and never back.

    Args:
        choice: what decides.
        place: what it decides for.
        wire: the lean client; None if it is not to be used.
    """

    def __init__(self, choice: ClientChoice, place: Place, wire: WireClient | None) -> None:
        self._choice = choice
        self._place = place
        self._wire = wire

    @property
    def is_wire(self) -> bool:
        """Whether `ask` is to be used, and not botocore."""
        return self._place.is_wire and self._wire is not None

    @property
    def endpoint(self) -> str:
        """Scheme, host and port."""
        return self._place.endpoint

    async def ask(
        self, target: Target, payload: bytes, *, lists: tuple[str, ...], within: float = ANSWER_SECONDS
    ) -> dict[str, Any]:
        """Make a call through the lean client; its answer.

        Args:
            target: which call.
            payload: the request.
            lists: members that are lists where they are there at all.
            within: see `WireClient.call`.

        Raises:
            SourceError: the call failed, or its answer was not understood.
        """
        return self.read(await self.send(target, payload, within=within), lists=lists)

    async def send(self, target: Target, payload: bytes, *, within: float = ANSWER_SECONDS) -> bytes | bytearray:
        """`ask` in two steps: make the call; what came, to be read by `read` unless its bytes are known."""
        if self._wire is None:
            raise RuntimeError("this lane goes by botocore")
        try:
            return await self._wire.call(target, payload, within=within)
        except ProtocolError as error:
            raise self._choice.protocol_error(self._place, str(error)) from error

    def read(self, body: bytes | bytearray, *, lists: tuple[str, ...]) -> dict[str, Any]:
        """The second step of `ask`."""
        try:
            answer = parsed(body)
            for name in lists:
                if type(answer.get(name, _NOTHING)) is not list:
                    raise ProtocolError(f"{name} is no list")  # noqa: TRY301 - handled with its like
        except ProtocolError as error:
            raise self._choice.protocol_error(self._place, str(error)) from error
        return answer


_NOTHING: list[Any] = []

MOST = 512
"""Most connections of one client for long polls, and again for its other calls."""


class WireClients:
    """The lean clients: one per aiobotocore client and route, or plain answer. An async context manager.

    Args:
        choice: whether to use them at all.
        plain: how a service is called in a region; None where that is botocore's to say.
        ca_bundle: asked once, if there is https: what to trust, see `connections.tls_context`.
        most: most connections of a client for long polls, and again for its other calls.
    """

    def __init__(
        self,
        choice: ClientChoice,
        *,
        plain: Callable[[str, str], Plain | None],
        ca_bundle: Callable[[], str | None],
        most: int = MOST,
    ) -> None:
        self._choice = choice
        self._plain = plain
        self._ca_bundle = ca_bundle
        self._most = most
        self._tls: ssl.SSLContext | None = None
        self._made: dict[tuple[Any, Route], WireClient] = {}
        self._making = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        made = list(self._made.values())
        self._made.clear()
        for wire in made:  # first, all of them: whoever waits for their ends may be cancelled
            wire.drop()
        for wire in made:
            await wire.close()

    def plain_lane(self, service: str, region: str) -> Lane | None:
        """The way for all calls of a service that is found without botocore; None where botocore is to be asked first.

        Args:
            service: botocore's name.
            region: to call it in.
        """
        if self._choice.setting == "botocore" or (found := self._plain(service, region)) is None:
            return None
        place = self._choice.place(service, found.endpoint_url)
        return Lane(self._choice, place, self._wire(found, found.route, FixedKeys(found.keys), tls=None))

    async def lane(self, client: Any, operation: str, **parameters: Any) -> Lane:
        """The way for calls like this one.

        Args:
            client: of aiobotocore: its endpoint, region and credentials are used.
            operation: a method of it that is one of the frequent calls.
            parameters: of such a call.

        Raises:
            SourceError: there is none.
        """
        place = self._choice.place(client.meta.service_model.service_name, client.meta.endpoint_url)
        if not place.is_wire:
            return Lane(self._choice, place, None)
        try:
            route = await route_of(client, operation, **parameters)
            async with self._making:
                wire = await self._wire_like(client, route)
        except Obstacle as error:
            self._choice.obstacle(place, str(error))
            return Lane(self._choice, place, None)
        except SourceError:
            raise
        except Exception as error:
            raise SourceError(classify(error)) from error
        return Lane(self._choice, place, wire)

    async def _wire_like(self, client: Any, route: Route) -> WireClient:
        tls = await self._trust() if route.url.startswith("https:") else None
        credentials = Credentials(client._get_credentials())  # noqa: SLF001 - there is no public way
        return self._wire(client, route, credentials, tls=tls)

    def _wire(self, owner: Any, route: Route, credentials: KeySource, *, tls: ssl.SSLContext | None) -> WireClient:
        wire = self._made.get((owner, route))
        if wire is None:
            wire = WireClient(route, credentials=credentials, tls=tls, most=self._most)
            self._made[owner, route] = wire
        return wire

    async def _trust(self) -> ssl.SSLContext:
        if self._tls is None:
            bundle = self._ca_bundle()
            try:
                self._tls = await asyncio.to_thread(tls_context, bundle)  # reads hundreds of certificates
            except OSError as error:
                reason = f"the certificates to trust cannot be read: {bundle}: {error}"
                raise SourceError(Failure(Kind.BACK_OFF, NoTrust.code, reason)) from error
        return self._tls
