"""Every file of tests/data/config/bad gives exactly the lines of the .txt beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from esmd.config.loader import load

BAD = Path(__file__).parents[1] / "data" / "config" / "bad"
CASES = sorted(path.name for path in BAD.glob("*.yaml"))


def test_there_are_enough_cases_and_each_has_its_text() -> None:
    assert len(CASES) >= 100
    assert sorted(path.stem for path in BAD.glob("*.txt")) == [Path(name).stem for name in CASES]


@pytest.mark.parametrize("name", CASES)
def test_a_bad_configuration_gives_its_exact_diagnostics(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "not_yaml.yaml" and not yaml.__with_libyaml__:
        pytest.skip("the parser in Python words syntax errors differently")
    monkeypatch.chdir(BAD)
    loaded = load([Path(name)], environ={"SIZE": "5"})
    assert loaded.config is None
    expected = (BAD / name).with_suffix(".txt").read_text(encoding="utf-8")
    assert [str(each) for each in loaded.diagnostics] == expected.splitlines()
