"""Every setting with its type, range, default and meaning: the only home of a default.

The JSON schema and the reference in the docs are generated from these models, and from those of the mappings in
`esmd.config.mapping_schema` and `esmd.config.stream_schema`. The docstring under a field is its description there. What
joins several settings is checked in `esmd.config.rules` and `esmd.config.mapping_rules`.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field

from esmd.config import values
from esmd.config.fields import FilePath, Injected, Seconds, Settings, TextMap, Texts, api, url
from esmd.config.mapping_schema import EventSourceMapping, SqsMapping
from esmd.config.stream_schema import DynamoDbMapping, KinesisMapping, StreamMapping

__all__ = [
    "AnyMapping",
    "AwsSettings",
    "Config",
    "DynamoDbMapping",
    "EventSourceMapping",
    "FunctionSettings",
    "KinesisMapping",
    "SqsMapping",
    "StateSettings",
    "StreamMapping",
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
    allow_remote: bool = False
    """Whether an endpoint that is not local, such as AWS itself, may be used."""


class StateSettings(Settings):
    """Where positions in streams are kept. SQS mappings keep none."""

    path: FilePath | None = None
    """A file; left out: `esmd.db` under the XDG state directory."""


class FunctionSettings(Settings):
    """A registered handler."""

    directory: Annotated[Path, Injected()]
    """The folder of the file that registers the function."""
    handler: Annotated[str, api("Handler"), AfterValidator(values.handler)]
    """`module.sub:callable`. Lambda's `module.sub.callable` and `folder/module.callable` work too."""
    timeout: Annotated[Seconds, api("Timeout"), Field(gt=0, le=900)] = 3.0
    """How long an invocation may take: seconds, or a duration such as `30s` or `5m`."""
    reserved_concurrency: Annotated[int | None, api("ReservedConcurrentExecutions"), Field(ge=0)] = None
    """Most invocations at once, over all mappings; 0 stops the function. Left out: 64 workers, since each is a
    process, or 1,000 inline calls."""
    isolation: Literal["worker", "inline"] = "worker"
    """`worker`: in a process of its own, killed at its timeout. `inline`: inside the daemon, cancelled at its
    timeout; quick to start, but a blocking handler blocks everything."""
    environment: Annotated[TextMap, api("Environment"), Texts(wrapper="Variables")] = Field(default_factory=dict)
    """Variables added to the handler's environment. Only for `isolation: worker`."""
    python_path: Annotated[tuple[FilePath, ...], Field(default_factory=lambda settings: (settings["directory"],))]
    """Folders put in front of the handler's `sys.path`, relative to the file. Left out: the file's own folder."""


class Config(Settings):
    """A whole configuration, merged from all its files."""

    version: Literal[1] = 1
    """The version of this format."""
    aws: AwsSettings = AwsSettings()
    """Where AWS is."""
    state: StateSettings = StateSettings()
    """Where positions in streams are kept."""
    functions: dict[str, FunctionSettings] = Field(default_factory=dict)
    """The registered handlers by name: 1 to 64 letters, digits, hyphens and underscores."""
    mappings: dict[str, AnyMapping] = Field(default_factory=dict)
    """The event source mappings by name: 1 to 64 letters, digits, hyphens, underscores and dots."""
    files: Annotated[tuple[Path, ...], Injected()] = ()
    """The files it was read from, absolute."""
