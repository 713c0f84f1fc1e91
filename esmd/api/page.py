"""The web page at `/`: what `esmd status` says, for a browser. Made here, without JavaScript; it loads itself anew.

Nothing but its own style sheet may be used by it, as its content security policy says: a name or an error that turned out to
be markup after all could do nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aiohttp import web

from esmd.api.html import Html, joined, sparkline, table, tag
from esmd.api.page_style import HASH, STYLE
from esmd.api.status_routes import snapshot_of
from esmd.status import words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esmd.api.parts import ApiParts
    from esmd.status.model import Failure, MappingStatus, ShardStatus, Snapshot

REFRESH = 5
"""Seconds after which the page loads itself anew."""

MOST_SHARDS = 50
"""Of one mapping; blocked ones first. The rest is in the status as JSON."""

MOST_FAILURES = 30

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def routes(parts: ApiParts) -> list[web.RouteDef]:
    """The routes of this module."""

    async def page(request: web.Request) -> web.Response:
        still = request.query.get("refresh") == "off"
        text = document(await snapshot_of(parts), still=still)
        return web.Response(text=text, content_type="text/html", charset="utf-8", headers=HEADERS)

    return [web.get("/", page)]


def document(snapshot: Snapshot, *, still: bool = False) -> str:
    """The page. `still`: it does not load itself anew, so that it can be read."""
    troubled = sum(mapping.in_trouble for mapping in snapshot.mappings)
    title = f"({troubled}) esmd" if troubled else "esmd"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        None if still else tag("meta", http_equiv="refresh", content=REFRESH),
        tag("title", title),
        tag("style", Html(STYLE)),
    )
    body = tag(
        "body",
        _header(snapshot, still=still),
        tag(
            "main",
            _tiles(snapshot, troubled),
            tag("section", _mappings(snapshot))
            if snapshot.mappings
            else tag("section", _nothing("There is no mapping.")),
            [tag("section", _shards(mapping, snapshot.at)) for mapping in snapshot.mappings if mapping.shards],
            tag("section", _functions(snapshot)) if snapshot.functions else None,
            tag("section", _failures(snapshot)),
        ),
        _footer(),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _header(snapshot: Snapshot, *, still: bool) -> Html:
    daemon = snapshot.daemon
    what = f"{daemon.version}, up {words.duration(daemon.uptime_s)}, pid {daemon.pid}"
    if daemon.processes > 1:
        what += f", {daemon.processes} processes"
    where = daemon.endpoint if daemon.region is None else f"{daemon.endpoint}, {daemon.region}"
    switch = tag("a", "refresh by itself", href="/") if still else tag("a", "hold still", href="/?refresh=off")
    time = tag("time", words.moment(snapshot.at), datetime=words.moment(snapshot.at))
    return tag(
        "header",
        tag("h1", "esmd"),
        tag("p", what),
        tag("p", where),
        tag("p", tag("span", "draining", class_="badge busy")) if daemon.draining else None,
        tag("p", time, " · ", switch, class_="right"),
    )


def _tiles(snapshot: Snapshot, troubled: int) -> Html:
    mappings = snapshot.mappings
    failed = sum(mapping.pace.last_60_s.failed for mapping in mappings)
    waiting = sum(m.backlog.visible or 0 for m in mappings if m.backlog is not None)
    tiles = [
        (str(len(mappings)), "mappings", False),
        (str(troubled), "in trouble", troubled > 0),
        (words.rate(sum(m.pace.last_10_s.received for m in mappings)), "received per second", False),
        (words.rate(sum(m.pace.last_10_s.invoked for m in mappings)), "invoked per second", False),
        (words.rate(failed), "failed per second, last minute", failed > 0),
        (words.number(waiting), "messages waiting", False),
        (str(sum(m.in_flight for m in mappings)), "batches under way", False),
    ]
    return tag(
        "ul",
        [
            tag("li", tag("b", value), tag("span", label), class_="alarm" if alarm else None)
            for value, label, alarm in tiles
        ],
        class_="tiles",
    )


def _mappings(snapshot: Snapshot) -> Html:
    headers = [
        ("mapping", ""),
        ("state", ""),
        ("invoked, last minute", ""),
        ("received/s", "num"),
        ("invoked/s", "num"),
        ("failed/s", "num"),
        ("behind", "num"),
        ("under way", "num"),
        ("last error", "text"),
    ]
    return table("Mappings", headers, [_mapping_row(mapping, snapshot.at) for mapping in snapshot.mappings])


def _mapping_row(mapping: MappingStatus, now: float) -> list[Html]:
    rates, error = mapping.pace.last_10_s, mapping.last_error
    invoked = mapping.pace.invoked
    label = (
        f"{mapping.name}: {max(invoked, default=0)} invoked in the busiest second, {sum(mapping.pace.failed)} failed"
    )
    reason = mapping.reason or (f"{len(mapping.blocked)} of {len(mapping.shards)} shards" if mapping.blocked else None)
    behind = words.behind(mapping)
    if mapping.backlog is not None:
        hidden = mapping.backlog.reason or f"{words.number(mapping.backlog.not_visible)} hidden"
        behind_cell = joined(behind, tag("small", hidden) if mapping.backlog.visible is not None else None)
        if mapping.backlog.visible is None and mapping.reason is None:
            behind_cell = joined(behind, tag("small", hidden))
    else:
        behind_cell = joined(behind)
    return [
        joined(
            tag("a", mapping.name, href=f"/esmd/v1/status/{quote(mapping.name, safe='')}"),
            tag("small", f"{mapping.source} → {mapping.function}"),
        ),
        joined(
            tag("span", words.state(mapping), class_=f"badge {words.mood(mapping)}"),
            tag("small", reason, class_="bad") if reason else None,
        ),
        sparkline(invoked, mapping.pace.failed, label=label),
        joined(words.rate(rates.received)),
        joined(words.rate(rates.invoked)),
        joined(words.rate(rates.failed)),
        behind_cell,
        joined(f"{mapping.in_flight} of {mapping.concurrency}"),
        joined("-")
        if error is None
        else tag("small", f"the same, {words.ago(error.at, now)}")
        if mapping.reason == f"{error.error_type}: {error.error_message}"
        else joined(f"{error.error_type}: {error.error_message[:200]}", tag("small", words.ago(error.at, now))),
    ]


def _shards(mapping: MappingStatus, now: float) -> Html:
    headers = [
        ("shard", ""),
        ("state", ""),
        ("iterator age", "num"),
        ("behind latest", "num"),
        ("read, unresolved", "num"),
        ("held up by", "text"),
    ]
    ordered = [*mapping.blocked, *(shard for shard in mapping.shards if shard.blocked is None)]
    shown, more = ordered[:MOST_SHARDS], len(ordered) - MOST_SHARDS
    return joined(
        table(f"Shards of {mapping.name}", headers, [_shard_row(shard, now) for shard in shown]),
        _nothing(f"and {more} more; all are in the status as JSON") if more > 0 else None,
    )


def _shard_row(shard: ShardStatus, now: float) -> list[Html]:
    blocked = shard.blocked
    why = joined("-")
    if blocked is not None:
        attempts = "1 attempt" if blocked.attempts == 1 else f"{blocked.attempts} attempts"
        records = "1 record" if blocked.records == 1 else f"{blocked.records} records"
        why = joined(
            f"{blocked.error_type}: {blocked.error_message[:300]}",
            tag(
                "small",
                f"{records}, {blocked.first_sequence_number} to {blocked.last_sequence_number}; {attempts} in "
                f"{words.duration(now - blocked.since)}; next: {words.next_try(blocked.retry_at, now)}",
            ),
        )
    kind = "bad" if blocked is not None else "good" if shard.caught_up else "busy"
    return [
        joined(tag("code", shard.shard), tag("small", f"stored: {shard.position}")),
        tag("span", words.shard_state(shard), class_=f"badge {kind}"),
        joined(words.milliseconds(shard.iterator_age_ms)),
        joined(words.milliseconds(shard.millis_behind_latest)),
        joined(words.number(shard.outstanding)),
        why,
    ]


def _functions(snapshot: Snapshot) -> Html:
    headers = [
        ("function", ""),
        ("running", "num"),
        ("environments", "num"),
        ("invocations", "num"),
        ("errors", "num"),
        ("throttles", "num"),
        ("mean duration", "num"),
        ("longest", "num"),
    ]
    rows: list[Sequence[str]] = [
        (
            each.name,
            f"{each.busy} of {each.limit}",
            words.number(each.environments),
            words.number(each.invocations),
            words.number(each.errors),
            words.number(each.throttles),
            words.milliseconds(each.duration_avg_ms),
            words.milliseconds(each.duration_max_ms if each.invocations else None),
        )
        for each in snapshot.functions
    ]
    return table("Functions", headers, rows)


def _failures(snapshot: Snapshot) -> Html:
    if not snapshot.failures:
        return joined(tag("h2", "Recent failures"), _nothing("Nothing has failed since the start."))
    shown = snapshot.failures[:MOST_FAILURES]
    return joined(
        tag("h2", "Recent failures"),
        [_failure(each, snapshot.at, is_open=number == 0) for number, each in enumerate(shown)],
    )


def _failure(failure: Failure, now: float, *, is_open: bool) -> Html:
    error = _what_failed(failure.fields)
    about = failure.mapping or failure.function or failure.fields.get("where", "")
    when = words.moment(failure.at)
    summary = tag(
        "summary",
        tag("time", words.ago(failure.at, now), datetime=when),
        " ",
        tag("span", failure.event, class_=f"badge {'bad' if failure.level == 'error' else 'busy'}"),
        " ",
        tag("b", str(about)),
        f" {error[:300]}",
    )
    fields = {key: list(value) if isinstance(value, tuple) else value for key, value in failure.fields.items()}
    stack = fields.pop("stack", None)
    said = "\n".join(
        f"{key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in fields.items()
    )
    lines = "\n".join(f"{words.moment(line.at)} {line.stream}: {line.message}" for line in failure.lines)
    return tag(
        "details",
        summary,
        tag("pre", said),
        tag("pre", "\n".join(map(str, stack))) if stack else None,
        tag("pre", lines)
        if lines
        else _nothing("Nothing was logged in this invocation.")
        if "request_id" in failure.fields
        else None,
        open=is_open,
    )


def _what_failed(fields: Mapping[str, Any]) -> str:
    """An error, or in its place what an event without one is about."""
    if "error_type" in fields:
        return f"{fields['error_type']}: {fields.get('error_message', '')}"
    if "condition" in fields:
        where = fields.get("destination")
        return f"{fields['condition']}: {fields['records']} given up, {f'sent to {where}' if where else 'dropped'}"
    return f"{fields['failed']} of {fields['records']} records were named as failed" if "failed" in fields else ""


def _nothing(text: str) -> Html:
    return tag("p", text, class_="none")


def _footer() -> Html:
    links = [
        ("/esmd/v1/status", "status as JSON"),
        ("/metrics", "metrics"),
        ("/readyz", "ready?"),
        ("/livez", "alive?"),
    ]
    return tag("footer", [joined(tag("a", text, href=href), "  ") for href, text in links])
