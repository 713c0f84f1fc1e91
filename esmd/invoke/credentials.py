"""Which AWS credentials a handler finds: none of the daemon's, or what the daemon has.

| `credentials` | endpoint             | what the handler finds                                                         |
|---------------|----------------------|--------------------------------------------------------------------------------|
| `none`        | any                  | nothing: no keys, no profile, no instance's role                               |
| `none`        | dummy keys do        | dummy keys                                                                     |
| `inherit`     | any                  | the daemon's variables that lead to credentials, and, through `HOME`, its files |
| `inherit`     | dummy keys do        | the same; dummy keys where the variables have none                              |

What a function's `environment` sets is added to this, and wins.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from esmd.config.aws import DUMMY_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_EC2_METADATA_DISABLED",
)

_FILES = (
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
)

_NOWHERE = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "BOTO_CONFIG": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Without these an SDK would look into the home folder, and ask the machine for its role."""


def handler_credentials(kind: Literal["none", "inherit"], *, daemon: Mapping[str, str], dummy: bool) -> dict[str, str]:
    """The variables that decide which credentials the handler's AWS clients find, by the table above.

    Args:
        kind: the function's `credentials`.
        daemon: the daemon's own environment.
        dummy: the endpoint is local and dummy keys do; with `inherit` only if nobody names credentials for it.
    """
    keys = {"AWS_ACCESS_KEY_ID": DUMMY_KEY, "AWS_SECRET_ACCESS_KEY": DUMMY_KEY} if dummy else {}
    if kind == "none":
        return _NOWHERE | keys
    inherited = {name: daemon[name] for name in _PLAIN if name in daemon}
    for name in _FILES:
        if name in daemon:  # the handler's process may have another working directory
            inherited[name] = str(Path(daemon[name]).expanduser().absolute())
    return keys | inherited
