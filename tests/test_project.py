"""The project around the package: README, environments, layers, style."""

import ast
import graphlib
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from operator import attrgetter
from pathlib import Path

import pytest
from rattler import MatchSpec, Version

import d2lnli as d2l
from seams import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONDA_TO_PIP = {
    "pytorch": "torch",
    "matplotlib-base": "matplotlib",
    "python-build": "build",
}


def test_every_path_that_a_page_names_exists():
    seen = []
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        links = re.findall(r"\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)", text)
        assert all((page.parent / link).exists() for link in links), (page.name, links)
        rooms = r"(?:d2lnli|tests|tools|benchmarks|notebooks|docs)/[\w./-]*"
        paths = re.findall(rf"`({rooms}|\w+\.(?:py|yml|ini|toml|ipynb))`", text)
        made = (ROOT / ".gitignore").read_text().splitlines()  # by tests, say
        for path in (path for path in paths if f"{path}/" not in made):
            assert any((folder / path).exists() for folder in (ROOT, ROOT / "d2lnli")), path
        seen += [*links, *paths]
    assert len(seen) > 60


def test_every_function_that_the_architecture_names_exists():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+)\.py:([\w.]+)`", page)
    assert len(named) > 30
    for module, name in named:
        found = importlib.import_module(
            f"d2lnli.{module}".replace("/", ".").removesuffix(".__init__")
        )
        attrgetter(name)(found)  # AttributeError if it is not there


def test_every_module_stands_in_the_architecture():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    plan = page.partition("**Imports")[0]
    for path in (ROOT / "d2lnli").iterdir():
        name = f"{path.name}/" if path.is_dir() else path.name
        if not name.startswith(("__init__", "__pycache__", "py.typed")):
            assert f"`{name}`" in plan, name


def test_every_command_that_the_readme_names_exists(capsys):
    used = re.findall(r"python -m d2lnli (\w+)([^`\n#]*)", README)
    commands = {"finetune", "predict", "evaluate", "export", "download", "check", "cache"}
    assert {command for command, _ in used} == commands
    for command, line in used:
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        text = capsys.readouterr().out
        assert all(option in text for option in re.findall(r"--[\w-]+", line)), line


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


NOUNS = {
    "bert", "vocab", "truncation", "corpora", "labels", "dataset", "history", "devices", "recipes",
}  # fmt: skip
LEVELS = (  # of the design, from below; a folder counts as a whole, but for modules named here
    {*NOUNS, "fast.encoding"},
    {"fast", "runs", "store", "layouts", "show"},
    {"training", "evaluation", "prediction", "checkpoints"},
    {"__init__", "__main__", "bulk", "checkup", "exercises", "show.widgets"},
)
REACHED_IN_FUNCTIONS = {"store", "show", "fast"}  # by a noun: to save or load, to draw, for speed


def modules() -> dict[str, Path]:
    """Return every module of the package by its name in it, such as `store.hub`."""
    package = ROOT / "d2lnli"
    return {
        ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__"): path
        for path in package.rglob("*.py")
    }


def imports() -> Iterator[tuple[str, str, bool]]:
    """Yield (importer, imported, whether at once) for each import within the package."""
    known = modules()
    for importer, path in known.items():
        package = path.relative_to(ROOT / "d2lnli").parts[:-1]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert not any(name.name.startswith("d2lnli") for name in node.names), path
            elif isinstance(node, ast.ImportFrom) and not node.level:
                assert not node.module.startswith("d2lnli"), path
            elif isinstance(node, ast.ImportFrom):
                base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
                name = ".".join(filter(None, base))
                inside = [f"{name}.{each.name}".lstrip(".") for each in node.names]
                for imported in {each if each in known else name or "__init__" for each in inside}:
                    yield importer, imported, node in tree.body


def level(module: str) -> int:
    room = module if any(module in names for names in LEVELS) else module.partition(".")[0]
    return next(number for number, names in enumerate(LEVELS) if room in names)


def test_modules_import_one_way():
    importing, found = defaultdict(set), list(imports())
    assert len(found) > 100
    for importer, imported, at_once in found:
        room = imported.partition(".")[0]
        if level(importer) == 0 and not at_once and room in REACHED_IN_FUNCTIONS:
            continue
        assert level(imported) <= level(importer), f"{importer} imports {imported}"
        importing[importer].add(imported)
    graphlib.TopologicalSorter(importing).prepare()  # it raises on a circle


def test_rooms_import_one_way():
    """Not only modules: `layouts` and `runs` may use `store`, say, but then not the reverse."""
    importing = defaultdict(set)
    for importer, imported, _ in imports():
        rooms = [name.partition(".")[0] for name in (importer, imported)]
        if level(importer) == level(imported) == 1 and rooms[0] != rooms[1]:
            importing[rooms[0]].add(rooms[1])
    graphlib.TopologicalSorter(importing).prepare()


def test_every_folder_says_what_is_inside():
    for folder in (ROOT / "d2lnli").iterdir():
        if folder.is_dir() and folder.name not in ("data", "__pycache__"):
            docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8")))
            assert "import" in docstring, folder


def test_tests_and_tools_see_public_names_alone():
    """Only seams.py knows the modules, so that it alone changes when they move."""
    public = {*d2l.__all__, "__all__", "__file__", "__version__", "nonsense"}
    used = re.compile(r"\bd2l(?:nli)?\.(\w+)|\bfrom d2lnli(?:\.(\w+))? import ")
    for path in chain((ROOT / "tests").rglob("*.py"), (ROOT / "tools").rglob("*.py")):
        if path.name != "seams.py":
            for found in used.finditer(path.read_text(encoding="utf-8")):
                assert found[1] in public, f"{path.name}: {found[0]}"


def test_style():
    for command in (["check"], ["format", "--check"]):
        run = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stdout
