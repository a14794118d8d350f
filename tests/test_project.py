"""The project around the package: notebooks' form, README, environments, style."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from rattler import MatchSpec, Version

import d2lnli as d2l
from d2lnli import notebooks

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("[0-9]*.ipynb"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONDA_TO_PIP = {"pytorch": "torch", "matplotlib-base": "matplotlib"}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert "03_fine_tuning" in [path.stem for path in NOTEBOOKS]


def test_a_notebook_is_committed_executed_and_clean(notebook):
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert "widgets" not in notebook.metadata
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
            assert not re.search(r"/tmp|/home|/root|ipykernel_|Warning", json.dumps(output))


def test_a_notebooks_cells_are_short_and_explained(notebook):
    cells = code_cells(notebook)
    lengths = sorted(len(cell.source.splitlines()) for cell in cells)
    words = sum(len(c.source.split()) for c in notebook.cells if c.cell_type == "markdown")
    assert 20 <= len(notebook.cells) <= 35
    assert lengths[-1] <= 25
    assert lengths[len(lengths) // 2] <= 8
    assert 60 <= words / len(cells) <= 110


def test_a_notebook_begins_with_its_parameters_and_ends_with_exercises(notebook):
    assert code_cells(notebook)[0].metadata.tags == ["parameters"]
    assert notebook.cells[0].source.startswith("# ")
    assert "## Exercises" in notebook.cells[-1].source


def test_every_picture_has_a_description(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert "image/png" not in output.get("data", {})
            for tag in re.findall(r"<img [^>]*>", output.get("data", {}).get("text/html", "")):
                assert re.search(r'alt="[^"]{20,}"', tag)


def test_every_name_of_the_package_in_a_notebook_exists(notebook):
    text = "\n".join(cell.source for cell in notebook.cells)
    for name in re.findall(r"\bd2l\.([A-Za-z_]\w*)", text):
        assert hasattr(d2l, name), name


def test_the_live_plot_is_in_the_committed_output():
    notebook = nbformat.read(ROOT / "notebooks" / "03_fine_tuning.ipynb", as_version=4)
    (cell,) = (cell for cell in code_cells(notebook) if "d2l.finetune(" in cell.source)
    pages = [output.data["text/html"] for output in cell.outputs if "data" in output]
    assert any("data:image/png;base64" in page and "dev acc 0." in page for page in pages)


def test_notebooks_are_executed_again_in_place(tmp_path, capsys):
    cell = nbformat.v4.new_code_cell("import os; print(os.listdir(os.environ['D2LNLI_DATA_DIR']))")
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {"state": {}}})
    nbformat.write(notebook, tmp_path / "01_new.ipynb")
    assert notebooks.main([str(tmp_path / "01_new.ipynb")]) == 0
    again = nbformat.read(tmp_path / "01_new.ipynb", as_version=4)
    assert again.cells[0].execution_count == 1
    assert again.cells[0].outputs[0].text == "[]\n"
    assert "widgets" not in again.metadata
    assert "01_new.ipynb: " in capsys.readouterr().out


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
    bounds = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    for bound in bounds:
        name, lowest = bound.split(">=")
        assert Version(lowest) <= Version(pins()[name]), name
    assert {bound.split(">=")[0] for bound in bounds} == set(pins())


def environment() -> tuple[list[str], list[str]]:
    lines = (ROOT / "environment.yml").read_text().splitlines()
    entries = [line.strip()[2:] for line in lines if line.startswith("  - ")]
    return entries[:2], [entry for entry in entries[2:] if entry != "pip:"]


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


def test_modules_stay_short_and_import_one_way():
    layers = [
        {"text", "truncation", "hub", "bert", "devices", "plotting"},
        {"encoding", "pretrained", "history", "strips"},
        {"snli", "classifiers"},
        {"evaluation", "checkup", "notebooks"},
        {"training", "probing"},
        {"finetuned", "widgets"},
    ]
    level = {name: i for i, layer in enumerate(layers) for name in layer}
    total = 0
    for path in (ROOT / "d2lnli").glob("*.py"):
        source = path.read_text(encoding="utf-8")
        total += len(source.splitlines())
        assert len(source.splitlines()) <= 310, path.name
        if path.stem.startswith("__"):
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                assert level[node.module] < level[path.stem], f"{path.stem} imports {node.module}"
    assert total <= 3100


def test_style():
    for command in (["check"], ["format", "--check"]):
        run = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stdout
