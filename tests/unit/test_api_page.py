"""The web page: everything on it, nothing that others wrote as markup, readable by everybody."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from esmd.api import page
from esmd.api.html import joined, tag
from esmd.api.page_style import STYLE
from esmd.status.model import Snapshot

from support.status_lab import HOSTILE, api, snapshot


class Read(HTMLParser):
    """What a browser makes of a page: elements with their attributes, and the text outside of styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside: list[str] = []
        self.feed(text)
        assert self._inside == [], "every element is closed"

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        if name not in {"meta", "br"}:
            self._inside.append(name)

    def handle_startendtag(self, name, attributes):
        self.elements.append((name, dict(attributes)))

    def handle_endtag(self, name):
        assert self._inside.pop() == name

    def handle_data(self, data):
        if self._inside[-1:] != ["style"]:
            self.text += data

    def named(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name in names]


def test_what_others_wrote_is_text_wherever_it_stands():
    read = Read(page.document(snapshot(hostile=True)))
    assert read.named("script", "img", "iframe", "object", "form", "input") == []
    assert all(not key.startswith("on") and key != "style" for _, attributes in read.elements for key in attributes)
    # mapping (3 times with its shards and last error), function, source, shard, reason, errors, log lines, ...
    assert read.text.count(HOSTILE) >= 9
    assert all(link["href"].startswith("/") for link in read.named("a"))


def test_text_is_escaped_and_markup_is_not_escaped_twice():
    assert tag("p", "a < b", tag("b", "c & d"), title='"x"') == (
        "<p title=&quot;x&quot;>a &lt; b<b>c &amp; d</b></p>".replace("=&quot;x&quot;", '="&quot;x&quot;"')
    )
    assert joined("<", None, [tag("i", ">"), "&"]) == "&lt;<i>&gt;</i>&amp;"


async def test_the_policy_allows_the_pages_own_style_and_nothing_else():
    async with api() as client:
        answer = await client.get("/")
        text = await answer.text()
    policy = answer.headers["Content-Security-Policy"]
    [style] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.content_type == "text/html"


async def test_it_loads_itself_anew_unless_it_is_to_hold_still():
    async with api() as client:
        anew = Read(await (await client.get("/")).text())
        still = Read(await (await client.get("/?refresh=off")).text())
    assert {"http-equiv": "refresh", "content": "5"} in anew.named("meta")
    assert not any("http-equiv" in each for each in still.named("meta"))
    assert {"href": "/?refresh=off"} in anew.named("a")
    assert {"href": "/"} in still.named("a")


def test_tables_have_captions_and_lines_are_described():
    text = page.document(snapshot())
    read = Read(text)
    assert text.count("<table><caption>") == len(read.named("table")) == 3
    assert all(each.get("scope") in {"row", "col"} for each in read.named("th"))
    pictures = read.named("svg")
    assert len(pictures) == 4
    assert all(each["role"] == "img" and each["aria-label"] for each in pictures)
    assert read.named("html") == [{"lang": "en"}]


def test_it_shows_states_shards_and_failures_with_their_lines():
    text = Read(page.document(snapshot())).text
    for part in (
        "Enabled, blocked",
        "Enabled, unavailable",
        "Disabled, paused",
        "The specified queue does not exist.",
        "49612345678901 to 49612345678904; 7 attempts in 6m 40s; next: in 12s",
        "charging order 16",
        "1,532",
    ):
        assert part in text


def test_blocked_shards_come_first_and_no_more_are_shown_than_can_be_read():
    value = snapshot()
    mapping = value.mappings[1]
    many = tuple(replace(mapping.shards[2], shard=f"shard-{number}") for number in range(200))
    text = page.document(replace(value, mappings=(replace(mapping, shards=(*many, mapping.shards[1])),)))
    assert text.index("blocked</span>") < text.index("shard-0<")
    assert f"shard-{page.MOST_SHARDS - 2}<" in text
    assert f"shard-{page.MOST_SHARDS}<" not in text
    assert "and 151 more" in text


def test_a_daemon_with_nothing_to_do_has_a_page_too():
    value: Snapshot = replace(snapshot(), mappings=(), functions=(), failures=())
    text = Read(page.document(value)).text
    assert "There is no mapping." in text
    assert "Nothing has failed since the start." in text


# --- colours


def luminance(colour: str) -> float:
    """Relative, of WCAG 2."""
    digits = colour.lstrip("#")
    digits = digits if len(digits) == 6 else "".join(digit * 2 for digit in digits)
    channels = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("text", "back"),
    [
        *((name, back) for name in ("text", "soft", "accent", "bad") for back in ("back", "card")),
        *((name, f"{name}-back") for name in ("good", "bad", "busy", "off")),
        ("text", "code"),
    ],
)
def test_text_has_enough_contrast_in_light_and_dark(scheme, text, back):
    [light, dark] = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+);", (light, dark)[scheme]))
    assert contrast(colours[text], colours[back]) >= 4.5
