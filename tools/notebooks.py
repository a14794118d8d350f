"""Make the course's notebooks ready to commit: `python -m tools.notebooks [FILE …]`.

The exercises of a notebook are generated from their worked solutions, so that the two cannot drift.
Every cell is told its part in a slide show. Then the notebook is executed and its outputs are kept:
from an empty data folder, so that they hold nothing of the author's machine. A widget does not
outlive its kernel, so what is kept of it is the still picture.
"""

import argparse
import ast
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

_WIDGET = "application/vnd.jupyter.widget-view+json"
_TO_WRITE = '    raise NotImplementedError("your turn: replace this line")'


def main(argv: Sequence[str] | None = None) -> int:
    """Generate and execute the named notebooks, or all below notebooks/, and write them."""
    parser = argparse.ArgumentParser(prog="python -m tools.notebooks", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="(all in notebooks/)")
    files = parser.parse_args(argv).files or sorted(Path("notebooks").rglob("[0-9]*.ipynb"))
    if not files:
        print("error: no notebooks here: call this from the project's folder", file=sys.stderr)
        return 1
    for path in files:
        start = time.perf_counter()
        notebook = generate(path)
        execute(notebook, path.parent)
        nbformat.write(notebook, path)
        print(f"{path}: {time.perf_counter() - start:.0f} s")
    return 0


def generate(path: Path) -> NotebookNode:
    """Return a notebook with the exercises of its solutions and with its slides marked."""
    notebook = nbformat.read(path, as_version=4)
    solutions = path.parent / "solutions" / f"{path.stem[:2]}_solutions.ipynb"
    if solutions.is_file():
        places = [i for i, cell in enumerate(notebook.cells) if _is_exercise(cell)]
        solved = list(filter(_is_exercise, nbformat.read(solutions, as_version=4).cells))
        if len(places) != len(solved):
            raise ValueError(
                f"{path} has {len(places)} cells tagged `exercise`, and {solutions} has "
                f"{len(solved)}: give each of them its place"
            )
        for place, cell in zip(places, solved, strict=True):
            notebook.cells[place] = _exercise(cell)
    for cell in notebook.cells:
        cell.metadata.slideshow = {"slide_type": slide_type(cell)}
    return notebook


def slide_type(cell: NotebookNode) -> str:
    """Return a cell's part in a slide show: text opens a slide, code is shown after a pause.

    The pause is for guessing what the code will print. Exercises to write are left out.
    """
    if cell.cell_type == "code":
        return "skip" if "raises-exception" in cell.metadata.get("tags", []) else "fragment"
    return "slide" if cell.source.startswith("#") else "subslide"


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run a notebook in its folder, with an empty data folder, and keep its outputs alone."""
    from nbclient import NotebookClient
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor

    with tempfile.TemporaryDirectory() as data_dir:
        NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            record_timing=False,
        ).execute(env={**os.environ, "D2LNLI_DATA_DIR": data_dir})
    notebook, _ = CoalesceStreamsPreprocessor(enabled=True)(notebook, {})
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop(_WIDGET, None)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def _is_exercise(cell: NotebookNode) -> bool:
    return "exercise" in cell.metadata.get("tags", [])


def _exercise(solved: NotebookNode) -> NotebookNode:
    """Return a cell of the solutions as the student gets it: the question, or what to complete."""
    if solved.cell_type == "markdown":
        return solved
    cell = nbformat.v4.new_code_cell(without_bodies(solved.source), id=solved.id)
    cell.metadata.tags = [*solved.metadata.tags, "raises-exception"]
    return cell


def without_bodies(source: str) -> str:
    """Return code in which every function keeps its signature and docstring and loses the rest."""
    lines = source.splitlines()
    for node in reversed(ast.parse(source).body):
        if isinstance(node, ast.FunctionDef):
            if ast.get_docstring(node) is None:
                raise ValueError(f"{node.name} has no docstring to tell what is to be written")
            lines[node.body[0].end_lineno : node.end_lineno] = [_TO_WRITE]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
