"""The package as others get it: an sdist, a wheel, and what the wheel does far from this folder."""

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

import d2lnli as d2l

ROOT = Path(__file__).parents[1]


class Built(NamedTuple):
    """A copy of this folder without what is not the project's, and what was built from it."""

    source: Path
    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Built:
    folder = tmp_path_factory.mktemp("built")
    ignored = [Path(line).name for line in (ROOT / ".gitignore").read_text().split()]
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".git", *ignored))
    sdist = build(source, folder / "dist", "--sdist")
    return Built(source, sdist, build(source, folder / "dist", "--wheel"))


def build(source: Path, folder: Path, kind: str) -> Path:
    python("-m", "build", "--no-isolation", kind, "--outdir", str(folder), str(source))
    return next(folder.glob({"--sdist": "*.tar.gz", "--wheel": "*.whl"}[kind]))


def python(
    *arguments: str, executable=sys.executable, cwd: Path | None = None, **environment: str
) -> str:
    """Run this or another Python, which must succeed, and return what it prints."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(
        [executable, *arguments],
        cwd=cwd, env={**inherited, **environment}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def files_below(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_the_wheel_holds_the_package_with_its_data_and_the_licence_and_nothing_else(built):
    inside = members(built.wheel)
    package = {name for name in inside if name.startswith("d2lnli/")}
    assert package == {f"d2lnli/{name}" for name in files_below(built.source / "d2lnli")}
    assert {"d2lnli/py.typed", "d2lnli/data/bert.tiny/pretrained.params"} <= package
    assert "d2lnli/data/Scenes/snli_1.0_train.txt" in package
    assert "d2lnli/data/results/challenge.csv" in package
    about = f"d2lnli-{d2l.__version__}.dist-info"
    assert inside[f"{about}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert all(name.startswith(f"{about}/") for name in inside.keys() - package)


def test_the_sdist_holds_the_whole_project_and_builds_the_same_wheel(built, tmp_path):
    shutil.unpack_archive(built.sdist, tmp_path)
    (unpacked,) = tmp_path.iterdir()
    assert files_below(unpacked) == files_below(built.source) | {"PKG-INFO"}
    assert members(build(unpacked, tmp_path / "dist", "--wheel")) == members(built.wheel)


@pytest.mark.timeout(900)  # torch and JupyterLab are installed
def test_installed_anew_it_trains_and_predicts_from_an_empty_folder(built, tmp_path):
    environment, empty = tmp_path / "environment", tmp_path / "empty"
    empty.mkdir()
    venv.create(environment, with_pip=True)
    bin_folder = environment / ("Scripts" if os.name == "nt" else "bin")
    there = dict(
        executable=bin_folder / "python", cwd=empty, D2LNLI_DATA_DIR=str(tmp_path / "data")
    )
    pins = re.findall("^.*==.*$", (ROOT / "requirements.txt").read_text(), re.M)
    (tmp_path / "pins.txt").write_text("\n".join(pins))
    install = "-m pip install --quiet --constraint".split()
    python(*install, str(tmp_path / "pins.txt"), str(built.wheel), **there)
    imported = python("-c", "import d2lnli; print(d2lnli.__file__)", **there)
    assert environment in Path(imported.strip()).parents
    said = python(*"-m d2lnli finetune --pairs 500 --epochs 1".split(), **there)
    assert re.search(r"^loss \d\.\d{3}, train acc \d\.\d{3}, test acc \d\.\d{3}$", said, re.M)
    answer = python("-m", "d2lnli", "predict", "A man is sleeping.", "Nobody is awake.", **there)
    assert answer.splitlines()[0] in d2l.LABELS
    assert not list(empty.iterdir())
