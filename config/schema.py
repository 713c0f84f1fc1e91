"""Every setting with its type, range, default and meaning: the only home of a default.

The JSON schema and the reference in the docs are generated from these models, and from those of the functions in
`esmd.config.function_schema` and of the mappings in `esmd.config.mapping_schema` and `esmd.config.stream_schema`. The
docstring under a field is its description there. What joins several settings is checked in `esmd.config.rules` and
`esmd.config.mapping_rules`.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field

from esmd.config.api_schema import ApiSettings
from esmd.config.fields import FilePath, Injected, Settings, url
from esmd.config.function_schema import (
    AnyFunction,
    CommandFunction,
    FunctionSettings,
    HttpFunction,
    InvokedFunction,
    LambdaFunction,
    ProcessFunction,
    PythonFunction,
    RoutedFunction,
    TimedFunction,
)
from esmd.config.mapping_schema import EventSourceMapping, SqsMapping
from esmd.config.stream_schema import DynamoDbMapping, KinesisMapping, StreamMapping

__all__ = [
    "AnyFunction",
    "AnyMapping",
    "ApiSettings",
    "AwsSettings",
    "CommandFunction",
    "Config",
    "DynamoDbMapping",
    "EventSourceMapping",
    "FunctionSettings",
    "HttpFunction",
    "InvokedFunction",
    "KinesisMapping",
    "LambdaFunction",
    "ProcessFunction",
    "PythonFunction",
    "RoutedFunction",
    "SqsMapping",
    "StateSettings",
    "StreamMapping",
    "TimedFunction",
]

AnyMapping: TypeAlias = SqsMapping | KinesisMapping | DynamoDbMapping
"""A mapping of any kind."""


class AwsSettings(Settings):
    """Where AWS is. What is left out comes from the standard environment variables and profiles of AWS."""

    endpoint_url: Annotated[str, AfterValidator(url)] | None = None
    """The endpoint of all services, such as `http://127.0.0.1:4566`. Left out: the service's own
    variable, such as `AWS_ENDPOINT_URL_SQS`, then `AWS_ENDPOINT_URL`, then `LOCALSTACK_HOST`, then AWS itself."""
    region: Annotated[str, Field(min_length=1)] | None = None
    """Left out: `AWS_REGION`, then `AWS_DEFAULT_REGION`, then the profile, then `us-east-1` for a local endpoint.
    A queue or stream is always polled in the region of its ARN."""
    profile: Annotated[str, Field(min_length=1)] | None = None
    """A profile of the AWS configuration files, for credentials."""
    client: Literal["auto", "wire", "botocore"] = "auto"
    """What makes the frequent calls: receives, deletes, changes of visibility, reads of streams. `wire`: esmd's own lean
    client, a small part of botocore's cost. `botocore`: botocore. `auto`: `wire`, and botocore from then on where that
    cannot be used or does not understand an answer; a log line says so."""
    allow_remote: bool = False
    """Whether an endpoint that is not local, such as AWS itself, may be used."""


class StateSettings(Settings):
    """What survives the end of the daemon: positions in streams, pauses, mappings made through the API."""

    path: FilePath | None = None
    """A file; left out: `esmd.db` under the XDG state directory."""


class Config(Settings):
    """A whole configuration, merged from all its files."""

    version: Literal[1] = 1
    """The version of this format."""
    aws: AwsSettings = AwsSettings()
    """Where AWS is."""
    state: StateSettings = StateSettings()
    """What survives the end of the daemon."""
    api: ApiSettings = ApiSettings()
    """The daemon's own API."""
    functions: dict[str, AnyFunction] = Field(default_factory=dict)
    """The registered functions by name: 1 to 64 letters, digits, hyphens and underscores."""
    mappings: dict[str, AnyMapping] = Field(default_factory=dict)
    """The event source mappings by name: 1 to 64 letters, digits, hyphens, underscores and dots."""
    files: Annotated[tuple[Path, ...], Injected()] = ()
    """The files it was read from, absolute."""
    file_of: Annotated[dict[str, Path], Injected()] = Field(default_factory=dict)
    """The file that holds each mapping, by the mapping's name."""

    def versions_of(self, name: str) -> dict[str, int]:
        """The functions that `name` invokes, with their shares in percent: itself, unless it routes to versions."""
        function = self.functions[name]
        return function.versions if isinstance(function, RoutedFunction) else {name: 100}

    def longest_invocation(self, name: str) -> float | None:
        """Most seconds that an invocation of a function may take; None where that is not known here."""
        longest = [self.functions[version].longest for version in self.versions_of(name)]
        known = [each for each in longest if each is not None]
        return max(known) if len(known) == len(longest) else None
