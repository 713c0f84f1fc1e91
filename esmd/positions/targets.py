"""Where a shard is to go, as a person writes it.

| written                             | the next record is                        | stored as      |
|-------------------------------------|-------------------------------------------|----------------|
| `TRIM_HORIZON`                      | the oldest one kept                       | `TRIM_HORIZON` |
| `LATEST`                            | the first one written from now on         | `AT_TIMESTAMP` |
| `2026-01-31T12:00:00Z`, a date      | the first one that arrived then or later  | `AT_TIMESTAMP` |
| `@1769860800`                       | the same, in Unix seconds                 | `AT_TIMESTAMP` |
| `90s`, `15m`, `2h`, `3d`            | the same, so long ago                     | `AT_TIMESTAMP` |
| digits                              | the one behind the record of that number  | `AFTER`        |

`LATEST` is a time because it would mean another "now" each time a reader asks for it, and skip what came between. The
time is a few seconds early: the stream's clock is not ours.
"""

from __future__ import annotations

import re

from esmd.config.values import instant
from esmd.pollers.streams import PIN_LEEWAY
from esmd.positions.errors import PositionsError
from esmd.state.position import LATEST, TRIM_HORIZON, Position

_AGO = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_HINT = (
    "Write TRIM_HORIZON, LATEST, a time such as 2026-01-31T12:00:00Z or @1769860800, a time ago such as 15m, or a"
    " sequence number."
)


def parse_target(text: str, *, now: float) -> Position:
    """The position that a text asks for; `LATEST` stays what it is until it is `lasting`.

    Args:
        text: see the module's table.
        now: epoch seconds.

    Raises:
        PositionsError: it is none, or a time that has not come yet.
    """
    if text in {"TRIM_HORIZON", "LATEST"}:
        return TRIM_HORIZON if text == "TRIM_HORIZON" else LATEST
    if text.isascii() and text.isdigit():
        return Position.after(text)
    if (ago := _AGO.fullmatch(text)) is not None:
        moment = now - int(ago[1]) * _UNITS[ago[2]]
        return Position.at_timestamp(max(0.0, moment))
    try:
        moment = instant(float(text[1:]) if text.startswith("@") else text)
    except ValueError as error:
        raise PositionsError(f"{text[:80]!r} is no position", hint=_HINT) from error
    if moment > now:
        raise PositionsError(f"{text!r} has not come yet", hint="LATEST is what is written from now on.")
    return Position.at_timestamp(moment)


def lasting(position: Position, *, now: float) -> Position:
    """`LATEST` as the time that it means now; any other position as it is."""
    return Position.at_timestamp(now - PIN_LEEWAY) if position == LATEST else position
