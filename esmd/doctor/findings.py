"""What a check finds: good, worth a change, or in the way; and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

_USER = re.compile(r"//[^/\s@\"']*@")

Level = Literal["ok", "advice", "problem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report.

    Attributes:
        level: `ok`; `advice` where it works and will hurt; `problem` where something cannot run.
        check: which check found it, a stable name.
        subject: what it is about: a mapping, a function, an endpoint.
        message: what is so.
        fix: what to do about it; empty where nothing is to be done.
    """

    level: Level
    check: str
    subject: str
    message: str
    fix: str = ""


def ok(check: str, subject: str, message: str) -> Finding:
    """A finding that asks for nothing."""
    return Finding(level="ok", check=check, subject=_clean(subject), message=_clean(message))


def advice(check: str, subject: str, message: str, *, fix: str) -> Finding:
    """A finding about what works, and will hurt."""
    return Finding(level="advice", check=check, subject=_clean(subject), message=_clean(message), fix=fix)


def problem(check: str, subject: str, message: str, *, fix: str) -> Finding:
    """A finding about what cannot run."""
    return Finding(level="problem", check=check, subject=_clean(subject), message=_clean(message), fix=fix)


def _clean(text: str) -> str:
    """A text without the user and password of a URL that libraries repeat in their errors."""
    return _USER.sub("//", text)


def failed(findings: Sequence[Finding], *, strict: bool) -> bool:
    """Whether the whole is not well: a problem, or with `strict` an advice."""
    return any(each.level == "problem" or (strict and each.level == "advice") for each in findings)


def without_user(url: str) -> str:
    """A URL without the user and password that may stand in it, and without its query."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "a URL that cannot be read"
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
