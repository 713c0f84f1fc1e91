"""What `esmd dev` watches, which functions a change concerns, and what it says."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from esmd.config.loader import load
from esmd.dev.events import DevReloadOff, DevWatching
from esmd.dev.watch import code_folders, is_code, watch

from support.invocations import Recorder, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from esmd.config.schema import Config

ARN = "arn:aws:sqs:us-east-1:000000000000:"


class Loaded:
    """Stands for a function: keeps the files it was to load anew."""

    def __init__(self, *, able: bool = True) -> None:
        self.files: list[list[str]] = []
        self._able = able

    def reload(self, files: Sequence[str]) -> bool:
        self.files.append(list(files))
        return self._able


def config(folder: Path, functions: dict[str, Any], **mappings: Any) -> Config:
    """A configuration in `folder`, with a mapping for each function unless mappings are given."""
    mappings = mappings or {name: {"function_name": name} for name in functions}
    document = {
        "version": 1,
        "functions": functions,
        "mappings": {name: {"event_source_arn": ARN + name, **mapping} for name, mapping in mappings.items()},
    }
    file = folder / "esmd.yaml"
    file.write_text(yaml.safe_dump(document))
    loaded = load([file], environ={})
    assert loaded.config is not None, [str(each) for each in loaded.diagnostics]
    return loaded.config


@pytest.fixture
def heard() -> Recorder:
    return Recorder()


# --- which folders


def test_each_form_of_a_function_has_its_folders(tmp_path):
    for name in ("lib", "bin"):
        (tmp_path / name).mkdir()
    found = code_folders(
        config(
            tmp_path,
            {
                "plain": {"handler": "orders:handle"},
                "path": {"handler": "orders:handle", "python_path": ["lib", "missing"]},
                "inline": {"handler": "orders:handle", "isolation": "inline", "python_path": ["lib"]},
                "program": {"command": ["bin/bootstrap"]},
                "outside": {"command": ["../tools/bootstrap"]},
                "system": {"command": ["/usr/bin/env", "python"]},
                "web": {"url": "http://127.0.0.1:9000/"},
                "remote": {"lambda": "orders"},
            },
        )
    )
    assert found == {
        "plain": (tmp_path,),
        "path": (tmp_path / "lib",),
        "inline": (tmp_path / "lib",),
        "program": (tmp_path,),
        "outside": (tmp_path,),
        "system": (tmp_path,),
    }


def test_a_program_in_a_folder_beside_is_watched_there_too(tmp_path):
    for name in ("app", "tools"):
        (tmp_path / name).mkdir()
    found = code_folders(config(tmp_path / "app", {"program": {"command": ["../tools/bootstrap"]}}))
    assert found == {"program": (tmp_path / "app", tmp_path / "tools")}


def test_only_functions_that_a_mapping_may_invoke_are_watched_and_versions_are_among_them(tmp_path):
    functions = {name: {"handler": "orders:handle"} for name in ("blue", "green", "off", "unused")}
    found = code_folders(
        config(
            tmp_path,
            {**functions, "routed": {"versions": {"blue": 50, "green": 50}}},
            orders={"function_name": "routed"},
            disabled={"function_name": "off", "enabled": False},
        )
    )
    assert list(found) == ["blue", "green"]


# --- which files


@pytest.mark.parametrize(
    "name",
    ["orders.py", "shop/orders.py", "rules.json", "bootstrap", "index.mjs", "templates/mail.html", "catalogue.py"],
)
def test_what_people_edit_counts(name):
    assert is_code(Path("/app", name), Path("/app"))


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        ".git/index",
        ".venv/lib/orders.py",
        "venv/lib/orders.py",
        "__pycache__",
        "__pycache__/orders.cpython-311.pyc",
        "",
        "shop/__pycache__/x.py",
        "node_modules/left-pad/index.js",
        "shop.egg-info/PKG-INFO",
        "orders.pyc",
        "orders.py~",
        ".orders.py.swp",
        "orders.swp",
        "#orders.py#",
        "4913",
        "dev.log",
        "journal.jsonl",
        "esmd.db",
        "esmd.db-wal",
        "data.sqlite3-journal",
        "server.pid",
        "poetry.lock",
    ],
)
def test_what_nobody_edits_does_not(name):
    assert not is_code(Path("/app", name), Path("/app"))


def test_a_hidden_folder_above_the_watched_one_hides_nothing():
    assert is_code(Path("/home/me/.cache/app/orders.py"), Path("/home/me/.cache/app"))


# --- what is done about a change


async def run_on(config: Config, functions: Any, heard: Recorder, *changes: Collection[Path]) -> tuple[Path, ...]:
    """Let these changes happen one after the other; returns the folders that were watched."""
    watched: list[Path] = []

    async def happen(folders: Sequence[Path]) -> AsyncIterator[Collection[Path]]:
        watched.extend(folders)
        for change in changes:
            yield change

    await watch(config, functions, heard, changes=happen)
    return tuple(watched)


async def test_a_change_concerns_the_functions_whose_folders_it_is_in(tmp_path, heard):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    settings = config(
        tmp_path,
        {
            "one": {"handler": "orders:handle", "python_path": ["a"]},
            "two": {"handler": "orders:handle", "python_path": ["b"]},
            "both": {"handler": "orders:handle", "python_path": ["a", "b"]},
        },
    )
    functions = {name: Loaded() for name in ("one", "two", "both")}
    watched = await run_on(
        settings,
        functions,
        heard,
        {tmp_path / "a/orders.py", tmp_path / "a/shop/prices.py"},
        {tmp_path / "b/orders.py", tmp_path / "a/__pycache__/orders.cpython-311.pyc"},
        {tmp_path / "a/esmd.log"},
    )
    assert watched == (tmp_path / "a", tmp_path / "b")
    assert functions["one"].files == [["orders.py", "shop/prices.py"]]
    assert functions["two"].files == [["orders.py"]]
    assert functions["both"].files == [["orders.py", "shop/prices.py"], ["orders.py"]]
    [said] = heard.of(DevWatching)
    assert said.functions == ("both", "one", "two")
    assert said.folders == (str(tmp_path / "a"), str(tmp_path / "b"))


async def test_folders_inside_others_are_watched_once(tmp_path, heard):
    (tmp_path / "lib").mkdir()
    settings = config(
        tmp_path,
        {"one": {"handler": "orders:handle"}, "two": {"handler": "orders:handle", "python_path": ["lib", "."]}},
    )
    functions = {"one": Loaded(), "two": Loaded()}
    assert await run_on(settings, functions, heard, {tmp_path / "lib/orders.py"}) == (tmp_path,)
    assert functions["two"].files == [["lib/orders.py"]]


async def test_the_configuration_is_no_code(tmp_path, heard):
    functions = {"one": Loaded()}
    await run_on(config(tmp_path, {"one": {"handler": "orders:handle"}}), functions, heard, {tmp_path / "esmd.yaml"})
    assert functions["one"].files == []


async def test_a_function_that_was_never_made_has_nothing_to_load(tmp_path, heard):
    await run_on(config(tmp_path, {"one": {"handler": "orders:handle"}}), {}, heard, {tmp_path / "orders.py"})
    assert heard.of(DevReloadOff) == []


async def test_a_function_that_cannot_reload_says_so_once(tmp_path, heard):
    functions = {"inline": Loaded(able=False), "worker": Loaded()}
    settings = config(
        tmp_path,
        {"inline": {"handler": "orders:handle", "isolation": "inline"}, "worker": {"handler": "orders:handle"}},
    )
    await run_on(settings, functions, heard, {tmp_path / "orders.py"}, {tmp_path / "orders.py"})
    [said] = heard.of(DevReloadOff)
    assert said.function == "inline"
    assert "start esmd dev anew" in said.reason
    assert len(functions["worker"].files) == 2


async def test_where_no_function_has_code_here_nothing_is_watched_or_said(tmp_path, heard):
    assert await run_on(config(tmp_path, {"web": {"url": "http://127.0.0.1:9000/"}}), {}, heard) == ()
    assert heard.events == []


async def test_without_watchfiles_it_says_how_to_install_it(tmp_path, heard, monkeypatch):
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    await watch(config(tmp_path, {"one": {"handler": "orders:handle"}}), {}, heard)
    [said] = heard.of(DevReloadOff)
    assert said.function is None
    assert "pip install 'esmd[dev]'" in said.reason
    assert heard.of(DevWatching) == []


async def test_bytecode_of_a_changed_file_is_removed_and_no_other(tmp_path, heard):
    compiled = tmp_path / "__pycache__"
    compiled.mkdir()
    for name in ("orders.cpython-311.pyc", "orders.cpython-313.opt-1.pyc", "orders2.cpython-311.pyc"):
        (compiled / name).touch()
    settings = config(tmp_path, {"one": {"handler": "orders:handle"}})
    await run_on(settings, {"one": Loaded()}, heard, {tmp_path / "orders.py"})
    assert [path.name for path in compiled.iterdir()] == ["orders2.cpython-311.pyc"]


# --- with watchfiles itself


async def test_a_file_that_is_written_anew_is_seen_and_the_end_of_the_watch_leaves_nothing_behind(tmp_path, heard):
    functions = {"one": Loaded()}
    settings = config(tmp_path, {"one": {"handler": "orders:handle"}})
    task = asyncio.create_task(watch(settings, functions, heard))
    try:
        await until(lambda: heard.of(DevWatching))
        (tmp_path / "dev.log").write_text("noise")
        (tmp_path / "orders.py").write_text("def handle(event, context): ...\n")
        await until(lambda: functions["one"].files)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert functions["one"].files == [["orders.py"]]
