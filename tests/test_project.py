"""The project around the package: README, environments, layers, style."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

from rattler import MatchSpec, Version

import d2lnli as d2l

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONDA_TO_PIP = {"pytorch": "torch", "matplotlib-base": "matplotlib"}


def test_every_path_that_the_readme_names_exists():
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", README)
    paths = re.findall(r"`((?:[\w.]+/)+[\w.]*|[\w]+\.(?:py|yml|ini|txt|toml|ipynb))`", README)
    assert links and paths
    for path in [*links, *paths]:
        assert (ROOT / path).exists(), path


def test_every_command_that_the_readme_names_exists():
    commands = set(re.findall(r"python -m d2lnli (\w+)", README))
    assert commands == {"finetune", "predict", "download", "check"}
    used = re.findall(r"python -m d2lnli finetune ([^`\n]*)", README)
    options = {option for line in used for option in re.findall(r"--[\w-]+", line)}
    text = subprocess.run(
        [sys.executable, "-m", "d2lnli", "finetune", "--help"], capture_output=True, text=True
    ).stdout
    assert options
    assert all(option in text for option in options)


def test_ci_calls_the_readmes_test_command_as_written():
    command = re.search(r"<!-- test -->\n+```\w*\n(pip .*)\n```", README)[1]
    script = (ROOT / ".ci" / "run").read_text()
    bash = next(line for line in script.splitlines() if line.startswith("command="))
    found = subprocess.run(
        [shutil.which("bash"), "-c", f'{bash}; echo "$command"'],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.strip() == command


def pins() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def test_every_pinned_requirement_says_what_it_is_for():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    for block in "\n".join(lines).split("\n\n")[-1:] + [
        "\n".join(lines[: i + 1]) for i, line in enumerate(lines) if "==" in line
    ]:
        comment = next(line for line in reversed(block.splitlines()) if line.startswith("#"))
        assert len(comment) > 10
    assert lines[-1] == "-e ."


def test_the_tested_set_lies_within_the_bounds_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    for bound in bounds:
        name, lowest = bound.split(">=")
        assert Version(lowest) <= Version(pins()[name]), name
    assert {bound.split(">=")[0] for bound in bounds} == set(pins())


def environment() -> tuple[list[str], list[str]]:
    lines = (ROOT / "environment.yml").read_text().splitlines()
    entries = [line.strip()[2:] for line in lines if line.lstrip().startswith("- ")]
    return entries[:2], [entry for entry in entries[2:] if entry not in ("pip:", "-e .")]


def test_the_conda_environment_is_well_formed_and_admits_the_tested_set():
    channels, specs = environment()
    assert channels == ["conda-forge", "nodefaults"]
    tested = {**pins(), "python": ".".join(map(str, sys.version_info[:3])), "pip": "24.0"}
    names = set()
    for spec in specs:
        match = MatchSpec(spec, strict=True)
        name = CONDA_TO_PIP.get(str(match.name.normalized), str(match.name.normalized))
        names.add(name)
        assert match.version is None or Version(tested[name]) >= Version(
            str(match.version).removeprefix(">=")
        )
    assert names == set(tested)


def test_modules_import_one_way():
    layers = [
        {"text", "labels", "truncation", "hf", "self_attention", "devices", "plotting"}
        | {"recipes", "files", "archives", "stop_button", "distributed"},
        {"encoding", "bert", "history", "strips", "downloads", "wordpiece"},
        {"snli", "layouts", "progress", "hub", "optimizer"},
        {"pretrained", "runs", "minibatches", "mapped", "best_epoch"},
        {"classifiers", "evaluation", "checkup", "notebooks", "following"},
        {"loop", "probing", "launching"},
        {"training"},
        {"finetuned", "widgets", "job"},
    ]
    level = {name: i for i, layer in enumerate(layers) for name in layer}
    package = ROOT / "d2lnli"
    for path in (*package.glob("*.py"), *package.glob("layouts/*.py")):
        if path.parent == package and path.stem.startswith("__"):
            continue
        outside = 1 if path.parent == package else 2
        own = path.stem if path.parent == package else path.parent.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == outside:
                imported = node.module.partition(".")[0]
                assert level[imported] < level[own], f"{path.stem} imports {node.module}"


def test_the_tests_see_public_names_alone():
    """Only seams.py knows the modules, so that it alone changes when they move."""
    public = {*d2l.__all__, "__all__", "__file__", "nonsense"}
    used = re.compile(r"\bd2l(?:nli)?\.(\w+)|\bfrom d2lnli(?:\.(\w+))? import ")
    for path in (ROOT / "tests").rglob("*.py"):
        if path.name != "seams.py":
            for found in used.finditer(path.read_text(encoding="utf-8")):
                assert found[1] in public, f"{path.name}: {found[0]}"


def test_style():
    for command in (["check"], ["format", "--check"]):
        run = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stdout
