"""The catalogue of events: the page is fresh, names and keys keep their rules."""

from __future__ import annotations

import dataclasses
import functools
import re
from pathlib import Path

import pytest

from esmd.observe import catalogue
from esmd.observe.events import Event

RENEW = "run: python -m esmd.observe.catalogue"
CLASSES = [each for classes in catalogue.event_classes().values() for each in classes]


@functools.cache
def page() -> str:
    """The catalogue as the code has it."""
    return catalogue.page()


def subclasses(kind: type) -> set[type]:
    return {each for sub in kind.__subclasses__() for each in (sub, *subclasses(sub))}


def test_the_page_in_the_docs_is_fresh():
    assert Path(__file__).parents[2] / "docs" / "events.md" == catalogue.PAGE
    assert catalogue.PAGE.read_text(encoding="utf-8") == page(), RENEW


def test_every_event_that_can_be_said_is_in_it():
    # By name: a dataclass with slots is made twice, and its first self stays a subclass.
    known = {each for each in subclasses(Event) if each.__module__.startswith("esmd.") and "name" in vars(each)}
    assert len(CLASSES) > 30
    assert {(each.__module__, each.__name__) for each in known} == {(c.__module__, c.__name__) for c in CLASSES}


def test_no_two_events_share_a_name():
    names = [each.name for each in CLASSES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
class TestEach:
    def test_has_a_dotted_name_a_meaning_and_a_level(self, kind):
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", kind.name)
        assert kind.__doc__
        assert not kind.__doc__.startswith(kind.__name__ + "("), "dataclasses write one where none is"
        assert kind.level in {"debug", "info", "warning", "error"}

    def test_has_keys_that_do_not_hide_those_of_every_line(self, kind):
        keys = {field.name for field in dataclasses.fields(kind)}
        assert keys.isdisjoint({"timestamp", "level", "event", "logger", "exception", "self"})

    def test_says_the_unit_of_a_number_that_has_one(self, kind):
        # A float is always a time here; whole numbers are counts, or seconds that say so.
        floats = [f.name for f in dataclasses.fields(kind) if "float" in str(f.type)]
        assert [name for name in floats if not name.endswith(("_s", "_ms"))] == []

    def test_is_on_the_page_with_all_its_keys(self, kind):
        section = page().partition(f"\n### {kind.name}\n")[2].partition("\n### ")[0]
        assert [f.name for f in dataclasses.fields(kind) if f"| `{f.name}` |" not in section] == []


def test_notes_under_fields_reach_the_page_also_from_a_base():
    section = page().partition("\n### batch.failed\n")[2].partition("\n### ")[0]
    assert "Until the first of its messages is visible again." in section
    assert "age of the last record when the invocation was sent" in section


def test_links_of_the_index_lead_to_headings():
    anchors = {re.sub(r"[^\w-]", "", heading) for heading in re.findall(r"^### (.+)$", page(), re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", page())) == anchors


def test_main_writes_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "PAGE", tmp_path / "events.md")
    catalogue.main()
    assert (tmp_path / "events.md").read_text(encoding="utf-8") == page()
