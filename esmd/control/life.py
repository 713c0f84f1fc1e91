"""The states of one mapping, and what leads from one to the next.

| state       | `begin`  | `tried` | `change` | `hold`    | `go`     | `rest`   | `delete` |
|-------------|----------|---------|----------|-----------|----------|----------|----------|
| `Creating`  | Enabling | -       | -        | Disabling | -        | Disabled | Deleting |
| `Enabling`  | -        | Enabled | Updating | Disabling | -        | Disabled | Deleting |
| `Enabled`   | -        | -       | Updating | Disabling | -        | Disabled | Deleting |
| `Updating`  | Enabling | -       | -        | Disabling | -        | Disabled | Deleting |
| `Disabling` | Enabling | -       | Updating | -         | Enabling | Disabled | Deleting |
| `Disabled`  | Enabling | -       | Enabling | -         | Enabling | -        | Deleting |
| `Deleting`  | -        | -       | -        | -         | -        | -        | -        |

`begin`: what is to run is being started. `tried`: it runs, or has said why it cannot. `change`: it is to run with other
settings. `hold`: it is not to run. `go`: it is to run after all. `rest`: nothing runs and nothing is to. `-`: stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from esmd.control.protocol import State

Cause = Literal["begin", "tried", "change", "hold", "go", "rest", "delete"]

_NEXT: dict[State, dict[Cause, State]] = {
    "Creating": {"begin": "Enabling", "hold": "Disabling", "rest": "Disabled", "delete": "Deleting"},
    "Enabling": {
        "tried": "Enabled",
        "change": "Updating",
        "hold": "Disabling",
        "rest": "Disabled",
        "delete": "Deleting",
    },
    "Enabled": {"change": "Updating", "hold": "Disabling", "rest": "Disabled", "delete": "Deleting"},
    "Updating": {"begin": "Enabling", "hold": "Disabling", "rest": "Disabled", "delete": "Deleting"},
    "Disabling": {
        "begin": "Enabling",
        "change": "Updating",
        "go": "Enabling",
        "rest": "Disabled",
        "delete": "Deleting",
    },
    "Disabled": {"begin": "Enabling", "change": "Enabling", "go": "Enabling", "delete": "Deleting"},
    "Deleting": {},
}


def after(state: State, cause: Cause) -> State:
    """The state that follows; the same where the cause changes nothing."""
    return _NEXT[state].get(cause, state)
