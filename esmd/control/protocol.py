"""What others may ask of a running daemon: see its mappings, change them, pause them, load the configuration anew.

States are AWS's [specification D.3]:

| state       | when                                                                          |
|-------------|-------------------------------------------------------------------------------|
| `Creating`  | made through the API, not polled yet                                          |
| `Enabling`  | to be polled; its function is being loaded, its source looked up              |
| `Enabled`   | polled, or trying to: what keeps it from running is its `trouble`              |
| `Updating`  | its settings were changed: what runs with the old ones drains                 |
| `Disabling` | no longer polled; what is under way comes to its end                          |
| `Disabled`  | nothing is polled and nothing is under way                                    |
| `Deleting`  | as `Disabling`, and then gone                                                 |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from uuid import UUID

    from esmd.config.report import Diagnostic
    from esmd.config.schema import AnyMapping, Config
    from esmd.function import Function
    from esmd.supervisor import Runner

State = Literal["Creating", "Enabling", "Enabled", "Updating", "Disabling", "Disabled", "Deleting"]

Origin = Literal["file", "api"]
"""Where a mapping was written: in a configuration file, or through the API (and kept in the state store)."""

TRANSIENT: frozenset[State] = frozenset({"Creating", "Enabling", "Updating", "Disabling", "Deleting"})
"""States that end by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One mapping as it is now.

    Attributes:
        name: in the configuration; of one made through the API, its UUID as text.
        uuid: the same in every run: of a mapping from a file it is made of its name and its source.
        mapping: its settings; `enabled` is what they say, not whether it is paused.
        origin: where it was written.
        file: the configuration file that holds it; None unless `origin` is `file`.
        state: see the module's table.
        paused: whether `pause` holds it, whatever its settings say.
        trouble: why it cannot run though it is enabled, for a person; None where nothing is wrong.
        last_modified: when its settings were changed last, or it was paused or resumed; epoch seconds.
        last_result: AWS's `LastProcessingResult`.
        function_arn: as the API gives it, with the qualifier that was asked for.
        tags: those of the API and of the file.
    """

    name: str
    uuid: UUID
    mapping: AnyMapping
    origin: Origin
    file: Path | None
    state: State
    paused: bool
    trouble: str | None
    last_modified: float
    last_result: str
    function_arn: str
    tags: Mapping[str, str]

    @property
    def settled(self) -> bool:
        """Whether its state stays until somebody asks for another."""
        return self.state not in TRANSIENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """What came of loading the configuration anew.

    Attributes:
        applied: False where nothing was changed because the files have errors.
        added: names of mappings.
        changed: those that drain and go on with new settings, or with a new function.
        removed: those that drain and go.
        unchanged: how many were not touched.
        functions: names of functions that were added, changed or removed.
        restart_needed: settings that changed and cannot change while the daemon runs, such as `aws.endpoint_url`.
        diagnostics: errors and warnings about the files.
    """

    applied: bool
    added: Sequence[str] = ()
    changed: Sequence[str] = ()
    removed: Sequence[str] = ()
    unchanged: int = 0
    functions: Sequence[str] = ()
    restart_needed: Sequence[str] = ()
    diagnostics: Sequence[Diagnostic] = ()


class ControlError(Exception):
    """A change was refused; nothing has happened.

    Attributes:
        message: what is wrong, for a person.
        hint: what to do about it.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class NotFoundError(ControlError):
    """There is no such mapping."""


class InUseError(ControlError):
    """A change of that mapping is under way."""


class ConflictError(ControlError):
    """A mapping of the same source and function exists.

    Attributes:
        twin: that one.
    """

    def __init__(self, message: str, *, twin: Entry, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.twin = twin


class FromFileError(ControlError):
    """The mapping was written in a file, and is changed there."""


class InvalidError(ControlError):
    """The settings are not valid together with what there is, such as a function that is not registered."""


class Control(Protocol):
    """A running daemon, as its API sees it. Belongs to its event loop.

    Changes return as soon as they are decided and stored, with the state that follows (`Creating`, `Updating`, ...);
    `settled` waits for what they lead to.
    """

    @property
    def config(self) -> Config:
        """The configuration in force; without the mappings of the API."""
        ...

    @property
    def functions(self) -> Mapping[str, Function]:
        """The functions made so far, by name."""
        ...

    async def function(self, name: str) -> Function:
        """A registered function, made now if no mapping has needed it yet.

        Raises:
            NotFoundError: it is not registered.
            InvalidError: it leads to an endpoint that is not allowed.
        """
        ...

    def entries(self) -> Sequence[Entry]:
        """All mappings: those of the files in their order, then those of the API by their time of creation."""
        ...

    def entry(self, name: str) -> Entry:
        """One mapping, by its name or its UUID.

        Raises:
            NotFoundError: there is none.
        """
        ...

    def runner(self, name: str) -> Runner | None:
        """What a mapping runs on just now; None while nothing runs."""
        ...

    async def create(self, mapping: AnyMapping, *, uuid: UUID, tags: Mapping[str, str]) -> Entry:
        """Take a new mapping of the API, whose name is its UUID; it survives restarts.

        Raises:
            ConflictError: its source and function have a mapping already.
            InvalidError: its function is not registered.
        """
        ...

    async def update(self, name: str, mapping: AnyMapping) -> Entry:
        """Replace the settings of a mapping of the API.

        Raises:
            NotFoundError, InUseError, ConflictError, FromFileError, InvalidError: as they say.
        """
        ...

    async def delete(self, name: str) -> Entry:
        """Let a mapping of the API drain, and forget it and its positions.

        Raises:
            NotFoundError, InUseError, FromFileError: as they say.
        """
        ...

    async def tag(self, name: str, tags: Mapping[str, str]) -> None:
        """Replace all tags of a mapping of the API.

        Raises:
            NotFoundError, FromFileError: as they say.
        """
        ...

    async def pause(self, name: str) -> Entry:
        """Stop polling at once and let what is under way end. Holds over restarts, until `resume`.

        Of a mapping of the API this is its `Enabled`; of one from a file it stands beside its settings.

        Raises:
            NotFoundError: there is none.
        """
        ...

    async def resume(self, name: str) -> Entry:
        """Undo `pause`. A mapping that its own file disables stays disabled.

        Raises:
            NotFoundError: there is none.
            FromFileError: the file disables it.
        """
        ...

    async def settled(self, name: str) -> Entry | None:
        """Wait until a mapping's state stays; None once it is gone."""
        ...

    async def reload(self) -> Reloaded:
        """Load the configuration's files anew and apply what changed; with errors nothing is changed."""
        ...
