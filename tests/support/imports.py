"""Imports texts and files as `esmd import` does, and reads what comes of it as `esmd run` would."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from esmd.config.loader import load
from esmd.config.report import Report
from esmd.importing.model import Imported
from esmd.importing.output import check, render
from esmd.importing.sam import import_template
from esmd.importing.serverless import import_serverless
from esmd.importing.template import read_root, read_template

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.config.schema import Config

TEMPLATES = Path(__file__).parent / "templates"


class Result:
    """What an import gave: the configuration as text, and every line that it said."""

    def __init__(self, imported: Imported, report: Report, folder: Path) -> None:
        self.text = ""
        if not report.failed and imported.mappings:
            self.text = render(imported, made_by="a test")
            check(self.text, imported, report)
        self.failed = report.failed
        self.said = [str(each) for each in report.ordered()]
        self._folder = folder

    @property
    def config(self) -> Config:
        """The configuration, as it is read from a file."""
        assert not self.failed, self.said
        assert self.text, "nothing was imported"
        file = self._folder / "imported.yaml"
        file.write_text(self.text, encoding="utf-8")
        loaded = load([file], environ={})
        assert loaded.config is not None, loaded.diagnostics
        return loaded.config


def template(file: Path, *, folder: Path, pseudo: Mapping[str, str] | None = None, **given: str) -> Result:
    """Import a SAM or CloudFormation template."""
    report = Report()
    read = read_template(file, report)
    imported = Imported()
    if read is not None:
        imported = import_template(read, given=given, folder=folder, report=report, pseudo=pseudo or {})
    return Result(imported, report, folder)


def serverless(file: Path, *, folder: Path, environ: Mapping[str, str] | None = None, **options: str) -> Result:
    """Import a serverless.yml."""
    report = Report()
    root = read_root(file, report, tags=True)
    imported = Imported()
    if root is not None:
        imported = import_serverless(file, root, options=options, environ=environ or {}, folder=folder, report=report)
    return Result(imported, report, folder)
