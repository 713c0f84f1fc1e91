"""The pinned environment: everything that may be installed, by hash, and nobody's address in it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TEXT = (ROOT / "constraints.txt").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^([A-Za-z0-9][\w.-]*)==(\S+)(?: ; [^\\\n]+)?((?: \\\n    --hash=\S+)*)$", TEXT, re.MULTILINE)
PINS = {canonicalize_name(name): version for name, version, _ in BLOCKS}
REQUIREMENTS = [
    *PROJECT["build-system"]["requires"],
    *PROJECT["project"]["dependencies"],
    *(each for extra in PROJECT["project"]["optional-dependencies"].values() for each in extra),
]


def test_every_line_is_a_pin_a_hash_or_a_comment():
    strange = [
        line
        for line in TEXT.splitlines()
        if line and not re.match(r"#|[A-Za-z0-9][\w.-]*==\S+( ; .+)? \\$|    --hash=sha256:[0-9a-f]{64}( \\)?$", line)
    ]
    assert strange == []


def test_every_pin_has_a_hash():
    assert len(PINS) > 30
    assert [name for name, _, hashes in BLOCKS if "--hash=sha256:" not in hashes] == []
    assert len(BLOCKS) == len(re.findall(r"^\S+==", TEXT, re.MULTILINE))


@pytest.mark.parametrize("text", REQUIREMENTS)
def test_every_requirement_is_pinned_to_a_version_it_allows(text):
    requirement = Requirement(text)
    version = PINS[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version, prereleases=True)


@pytest.mark.parametrize("path", ["constraints.txt", "tests/servers/constraints-localstack.txt"])
def test_no_address_of_an_index_or_a_disk_is_in_it(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    assert re.findall(r"https?://\S+|file:\S+|--(?:extra-)?index-url|--find-links| @ ", text) == []


def test_there_is_no_lock_file_that_records_hosts():
    assert not (ROOT / "uv.lock").exists()
