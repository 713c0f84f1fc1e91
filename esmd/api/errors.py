"""Refusals as JSON: `{"error": KIND, "message": WHY, "hint": WHAT TO DO}`."""

from __future__ import annotations

from aiohttp import web

from esmd.control import protocol as control

_KINDS: tuple[tuple[type[control.ControlError], int, str], ...] = (
    (control.NotFoundError, 404, "NotFound"),
    (control.InUseError, 409, "InUse"),
    (control.ConflictError, 409, "Conflict"),
    (control.FromFileError, 409, "FromFile"),
    (control.InvalidError, 400, "Invalid"),
    (control.ControlError, 503, "Unavailable"),
)


def refusal(status: int, error: str, message: str, *, hint: str = "") -> web.Response:
    """The answer that says no."""
    return web.json_response({"error": error, "message": message, "hint": hint}, status=status)


def refused(error: control.ControlError) -> web.Response:
    """What a refusal of the control side is over HTTP."""
    status, kind = next((status, kind) for each, status, kind in _KINDS if isinstance(error, each))
    return refusal(status, kind, error.message, hint=error.hint)
