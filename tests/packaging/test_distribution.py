"""What is built from a checkout: every module, nothing else at the top, and it runs where it is installed."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from esmd import __version__

ROOT = Path(__file__).parents[2]
ROOMS = ("pollers", "mappings", "config")
FILES = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def copy_of_checkout(target: Path, *, links: bool) -> Path:
    """The source tree at `target`, as a system with or without support for links checks it out."""
    skip = shutil.ignore_patterns("__pycache__")
    target.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, target)
    for name in ROOMS:
        shutil.copytree(ROOT / name, target / name, ignore=skip)
    shutil.copytree(ROOT / "esmd", target / "esmd", ignore=skip, symlinks=True)
    for name in ROOMS:
        link = target / "esmd" / name
        if links and not link.is_symlink():
            pytest.skip("this checkout has no links")
        if not links and link.is_symlink():
            content = str(link.readlink())
            link.unlink()
            link.write_text(content)  # what git leaves there
    return target


def run(*command: object, cwd: Path, **environ: str) -> str:
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_wheel(checkout: Path, target: Path) -> Path:
    run(
        sys.executable, "-m", "pip", "wheel", "-q", "--no-index", "--no-deps", "--no-build-isolation",
        "--disable-pip-version-check", "-w", target, checkout, cwd=checkout,
    )  # fmt: skip
    [wheel] = target.glob("*.whl")
    return wheel


def build_sdist(checkout: Path, target: Path) -> Path:
    target.mkdir()
    run(
        sys.executable,
        "-c",
        f"from setuptools import build_meta; build_meta.build_sdist({str(target)!r})",
        cwd=checkout,
    )
    [sdist] = target.glob("*.tar.gz")
    return sdist


def sources() -> dict[str, Path]:
    """Every file that belongs into the package, by its place in the wheel."""
    found = {}
    for folder, prefix in [(ROOT / "esmd", "esmd"), *((ROOT / room, f"esmd/{room}") for room in ROOMS)]:
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            if prefix == "esmd" and relative.parts[0] in ROOMS:
                continue  # the links
            if path.is_file() and "__pycache__" not in relative.parts:
                found[f"{prefix}/{relative.as_posix()}"] = path
    return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout on a system without links."""
    return copy_of_checkout(tmp_path_factory.mktemp("plain") / "esmd", links=False)


@pytest.fixture(scope="module")
def sdist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sdist(checkout, tmp_path_factory.mktemp("sdist") / "dist")


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as a package index would have it: built from the source distribution alone."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    [unpacked] = folder.iterdir()
    return build_wheel(unpacked, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    run(
        sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--disable-pip-version-check",
        "--target", folder, wheel, cwd=folder,
    )  # fmt: skip
    return folder


def test_every_folder_of_modules_is_a_package_that_is_built():
    folders = {name.rpartition("/")[0].replace("/", ".") for name in sources() if name.endswith(".py")}
    without_init = {folder for folder in folders if f"{folder.replace('.', '/')}/__init__.py" not in sources()}
    assert without_init == set()
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == folders


def test_the_wheel_holds_every_module_and_the_data_beside_them(names):
    expected = set(sources())
    assert {"esmd/py.typed", "esmd/config/schema.json", "esmd/mappings/batching.py"} <= expected
    assert expected - names == set()


def test_the_wheel_holds_nothing_else(names):
    dist_info = f"esmd-{__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"esmd", dist_info}
    assert {name for name in names if name.startswith("esmd/")} == set(sources())


def test_files_arrive_byte_for_byte(wheel):
    with zipfile.ZipFile(wheel) as archive:
        changed = [name for name, path in sources().items() if archive.read(name) != path.read_bytes()]
    assert changed == []


def test_a_checkout_with_links_gives_the_same_wheel(names, tmp_path):
    wheel = build_wheel(copy_of_checkout(tmp_path / "esmd", links=True), tmp_path / "dist")
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) == names


def test_the_source_distribution_holds_the_rooms_where_the_build_looks_for_them(sdist):
    with tarfile.open(sdist) as archive:
        members = {member.name.partition("/")[2] for member in archive.getmembers()}
    for room in ROOMS:
        assert f"{room}/__init__.py" in members
    assert {"pyproject.toml", "README.md", "LICENSE"} <= members


def test_the_metadata_says_what_pip_must_know(wheel):
    with zipfile.ZipFile(wheel) as archive:
        info = f"esmd-{__version__}.dist-info"
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
        assert f"{info}/licenses/LICENSE" in archive.namelist()
    assert (metadata["Name"], metadata["Version"]) == ("esmd", __version__)
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["project"]["optional-dependencies"])
    assert "esmd = esmd.cli:main" in entry_points


def test_the_version_is_one():
    assert PROJECT["project"]["version"] == __version__


@pytest.mark.parametrize("name", ["esmd", "esmd.pollers", "esmd.mappings", "esmd.config"])
def test_an_installed_package_is_imported_from_where_it_was_installed(installed, tmp_path, name):
    code = f"import {name}; print({name}.__file__)"
    assert Path(run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(installed)).strip()).is_relative_to(
        installed
    )


def test_the_installed_command_runs(installed, tmp_path):
    out = run(sys.executable, "-m", "esmd", "--version", cwd=tmp_path, PYTHONPATH=str(installed))
    assert out == f"esmd, version {__version__}\n"
    config = ROOT / "examples" / "quickstart" / "esmd.yaml"
    out = run(sys.executable, "-m", "esmd", "lint", config, cwd=tmp_path, PYTHONPATH=str(installed))
    assert "ok (1 function, 1 mapping)" in out
    out = run(sys.executable, "-m", "esmd", "schema", cwd=tmp_path, PYTHONPATH=str(installed))
    assert out == (ROOT / "config" / "schema.json").read_text(encoding="utf-8")


def test_a_handlers_own_module_called_config_is_not_ours(installed, tmp_path):
    (tmp_path / "config.py").write_text("MINE = True\n")
    out = run(
        sys.executable, "-c", "import config, esmd.config; print(config.MINE)", cwd=tmp_path, PYTHONPATH=str(installed)
    )
    assert out == "True\n"
