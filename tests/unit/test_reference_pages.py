"""What is generated of the commands and of AWS's API is fresh, and every page of the docs can be found and leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from esmd.api.lambda_api import reference as aws_api
from esmd.cli import cli
from esmd.cli import reference as commands

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])


@pytest.mark.parametrize("module", [commands, aws_api], ids=lambda module: module.__name__)
def test_a_generated_page_is_fresh(module, tmp_path, monkeypatch):
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run: make generated"
    monkeypatch.setattr(module, "PAGE", tmp_path / "page.md")
    module.main()
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == module.page()


def test_what_ran_before_does_not_change_the_page():
    command = click.Command("once")
    CliRunner().invoke(command, ["--help"])
    assert "-h, --help" in commands.help_of("esmd once", command, ())


def test_the_commands_page_has_every_command():
    headings = set(re.findall(r"^## esmd (\S+)", commands.page(), re.MULTILINE))
    assert headings == set(cli.list_commands(None))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    lost = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert lost == []


def test_the_index_names_every_page():
    index = ROOT / "docs" / "README.md"
    named = {
        (index.parent / link).resolve() for link in re.findall(r"\]\(([^)#\s]+)\)", index.read_text(encoding="utf-8"))
    }
    assert [
        str(path.relative_to(ROOT)) for path in PAGES if path.parent != ROOT and path != index and path not in named
    ] == []
