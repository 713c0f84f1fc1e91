"""What each operation of the API does with the running daemon. Nothing here knows of HTTP but the answers' statuses."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from esmd.api.lambda_api import functions, invoking, mappings
from esmd.api.lambda_api.answers import configuration, mapping_arn
from esmd.api.lambda_api.errors import (
    Answer,
    LambdaError,
    answer_json,
    constraint,
    invalid,
    refusal,
    unknown_mapping,
)
from esmd.api.lambda_api.members import read_object
from esmd.api.lambda_api.paging import page
from esmd.control.protocol import ControlError, NotFoundError
from esmd.mappings.outcomes import LATEST
from esmd.observe.context import request_context

if TYPE_CHECKING:
    from esmd.api.lambda_api.probe import Probe
    from esmd.config.schema import AnyMapping
    from esmd.control.protocol import Control, Entry
    from esmd.observe.telemetry import Telemetry

MOST_MAPPINGS = 100
"""Most mappings on a page, whatever is asked for [specification D.1]."""

MOST_FUNCTIONS = 50
"""Most functions on a page."""

_TAGGABLE = re.compile(r"arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:(?P<kind>event-source-mapping|function):(?P<id>.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request.

    Attributes:
        parts: of the path: `uuid`, `name` or `arn`.
        query: the last value of each name.
        tag_keys: every `tagKeys` of the query.
        headers: by name, whatever its case.
        body: as it came.
        request_id: of the answer, and of the invocation if it is one.
    """

    parts: Mapping[str, str]
    query: Mapping[str, str]
    tag_keys: Sequence[str]
    headers: Mapping[str, str]
    body: bytes
    request_id: str


Operation = Callable[[Call], Awaitable[Answer]]


class LambdaApi:
    """The operations, on one daemon.

    Args:
        control: the daemon.
        telemetry: where the ends of background invocations are said.
        probe: looks at sources before mappings are taken.
        environ: decides on the region of functions that no mapping uses.
        started: when the daemon started, as ISO 8601: since then its functions are what they are.
    """

    def __init__(
        self, control: Control, *, telemetry: Telemetry, probe: Probe, environ: Mapping[str, str], started: str
    ) -> None:
        self._control = control
        self._probe = probe
        self._started = started
        self._names = functions.FunctionNames(control, environ=environ)
        self._background = invoking.Background(telemetry)

    async def close(self) -> None:
        """End the invocations in the background."""
        await self._background.close()

    # --- event source mappings

    async def create_mapping(self, call: Call) -> Answer:
        """CreateEventSourceMapping."""
        uuid = uuid4()
        mapping, tags = mappings.created(read_object(call.body), uuid=uuid)
        await self._fits(mapping)
        try:
            entry = await self._control.create(mapping, uuid=uuid, tags=tags)
        except ControlError as error:
            raise refusal(error, verb="create") from error
        return answer_json(202, configuration(entry))

    async def get_mapping(self, call: Call) -> Answer:
        """GetEventSourceMapping."""
        return answer_json(200, configuration(self._entry(call.parts["uuid"])))

    async def list_mappings(self, call: Call) -> Answer:
        """ListEventSourceMappings."""
        arn, name = call.query.get("EventSourceArn"), call.query.get("FunctionName")
        found = [
            entry
            for entry in self._control.entries()
            if (not arn or entry.mapping.event_source_arn == arn)
            and (not name or self._names.matches(name, entry.mapping.function_name))
        ]
        shown, marker = page(found, call.query, key=lambda entry: str(entry.uuid), most=MOST_MAPPINGS)
        return answer_json(200, {"EventSourceMappings": [configuration(each) for each in shown], **_next(marker)})

    async def update_mapping(self, call: Call) -> Answer:
        """UpdateEventSourceMapping."""
        entry = self._entry(call.parts["uuid"])
        _refuse_file(entry)
        mapping = mappings.updated(entry, read_object(call.body))
        await self._fits(mapping)
        try:
            entry = await self._control.update(entry.name, mapping)
        except ControlError as error:
            raise refusal(error, verb="update") from error
        return answer_json(202, configuration(entry))

    async def delete_mapping(self, call: Call) -> Answer:
        """DeleteEventSourceMapping."""
        entry = self._entry(call.parts["uuid"])
        _refuse_file(entry)
        try:
            entry = await self._control.delete(entry.name)
        except ControlError as error:
            raise refusal(error, verb="delete") from error
        return answer_json(202, configuration(entry))

    # --- tags

    async def list_tags(self, call: Call) -> Answer:
        """ListTags: of a mapping; a function has none."""
        entry = self._tagged(call.parts["arn"])
        return answer_json(200, {"Tags": {} if entry is None else dict(entry.tags)})

    async def tag_resource(self, call: Call) -> Answer:
        """TagResource."""
        entry = self._taggable(call.parts["arn"])
        tags = read_object(call.body).get("Tags")
        if tags is None:
            raise constraint("null", "tags", "Member must not be null")
        if not isinstance(tags, dict):
            raise LambdaError("SerializationException", "Expected a structure or map")
        return await self._tag(entry, {**entry.tags, **tags})

    async def untag_resource(self, call: Call) -> Answer:
        """UntagResource."""
        entry = self._taggable(call.parts["arn"])
        if not call.tag_keys:
            raise constraint("null", "tagKeys", "Member must not be null")
        return await self._tag(entry, {key: each for key, each in entry.tags.items() if key not in call.tag_keys})

    async def _tag(self, entry: Entry, tags: Mapping[str, str]) -> Answer:
        checked = mappings.with_tags(entry, tags)
        try:
            await self._control.tag(entry.name, checked)
        except ControlError as error:
            raise refusal(error, verb="tag") from error
        return Answer(204)

    def _tagged(self, arn: str) -> Entry | None:
        """The mapping of an ARN; None where it is a function's."""
        match = _TAGGABLE.fullmatch(arn)
        if match is None:
            raise constraint(
                f"'{arn[:200]}'", "resource", f"Member must satisfy regular expression pattern: {_TAGGABLE.pattern}"
            )
        if match["kind"] == "function":
            self._names.find(arn)
            return None
        try:
            entry = self._control.entry(match["id"])
        except NotFoundError:
            entry = None
        if entry is None or mapping_arn(entry) != arn:
            raise LambdaError("ResourceNotFoundException", f"Event source mapping not found: {arn}")
        return entry

    def _taggable(self, arn: str) -> Entry:
        entry = self._tagged(arn)
        if entry is None:
            raise invalid(f"Functions have no tags here: {arn}")
        _refuse_file(entry)
        return entry

    # --- functions

    async def get_function(self, call: Call) -> Answer:
        """GetFunction."""
        name = self._names.find(call.parts["name"], call.query.get("Qualifier"))
        document = {"Configuration": self._configuration(name), "Code": {"RepositoryType": "esmd"}}
        return answer_json(200, {**document, **functions.reserved(self._control.config.functions[name])})

    async def get_function_configuration(self, call: Call) -> Answer:
        """GetFunctionConfiguration."""
        return answer_json(200, self._configuration(self._names.find(call.parts["name"], call.query.get("Qualifier"))))

    async def list_functions(self, call: Call) -> Answer:
        """ListFunctions."""
        version = call.query.get("FunctionVersion", "")
        if version not in ("", "ALL"):
            raise constraint(f"'{version[:200]}'", "functionVersion", "Member must satisfy enum value set: [ALL]")
        shown, marker = page(self._control.config.functions, call.query, key=str, most=MOST_FUNCTIONS)
        listed = [self._configuration(name, version=LATEST if version else "") for name in shown]
        return answer_json(200, {"Functions": listed, **_next(marker)})

    async def list_versions(self, call: Call) -> Answer:
        """ListVersionsByFunction: there is one, `$LATEST`."""
        name = self._names.find(call.parts["name"])
        shown, marker = page([name], call.query, key=str, most=MOST_FUNCTIONS)
        return answer_json(
            200, {"Versions": [self._configuration(each, version=LATEST) for each in shown], **_next(marker)}
        )

    async def invoke(self, call: Call) -> Answer:
        """Invoke."""
        name = self._names.find(call.parts["name"], call.query.get("Qualifier"), shown=LATEST)
        kind = invoking.invocation_type(call.headers)
        event = invoking.event_of(call.body, kind=kind)
        if kind == "DryRun":
            return Answer(204)
        try:
            function = await self._control.function(name)
        except ControlError as error:
            raise refusal(error, verb="invoke") from error
        if kind == "Event":
            self._background.start(function, event, call.request_id)
            return Answer(202)
        with request_context(call.request_id, function=name):
            outcome = await function.invoke(event, request_id=call.request_id)
        return invoking.answer_of(outcome, call.request_id)

    async def unknown(self, call: Call) -> Answer:
        """Any other operation of Lambda."""
        where = f"{call.parts['method']} {call.parts['path'][:200]}"
        raise LambdaError(
            "UnknownOperationException",
            f"esmd does not serve the operation of {where}. It serves event source mappings, their tags, and reading "
            "and invoking the functions that its configuration registers.",
        )

    def _configuration(self, name: str, *, version: str = "") -> dict[str, object]:
        settings = self._control.config.functions[name]
        arn = self._names.arn(name)
        return functions.configuration(name, settings, arn=arn, modified=self._started, version=version)

    # --- mappings

    def _entry(self, name: str) -> Entry:
        try:
            return self._control.entry(_canonical(name))
        except NotFoundError as error:
            raise unknown_mapping() from error

    async def _fits(self, mapping: AnyMapping) -> None:
        """The function is registered, the source is there and fits.

        Raises:
            LambdaError: it is not so.
        """
        config = self._control.config
        if mapping.function_name not in config.functions:
            names = ", ".join(sorted(config.functions)[:10]) or "none"
            raise invalid("Function does not exist", detail=f"registered: {names}")
        longest = config.longest_invocation(mapping.function_name)
        objection = await self._probe.objection(mapping, longest=longest)
        if objection is not None:
            raise invalid(objection)


def _canonical(name: str) -> str:
    """A UUID in small letters; a name as it is."""
    try:
        return str(UUID(name)) if len(name) == 36 else name
    except ValueError:
        return name


def _refuse_file(entry: Entry) -> None:
    """Mappings of files are changed there. Not ResourceInUseException: Terraform would try again for minutes."""
    if entry.origin == "file":
        raise invalid(
            f"The event source mapping {entry.name} is written in {entry.file} and cannot be changed through the API: "
            "change it there."
        )


def _next(marker: str | None) -> dict[str, str]:
    return {} if marker is None else {"NextMarker": marker}
