"""The teacher's page: its plan adds up, its headings and commands exist, its slides need no net."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from seams import main, notebooks

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "notebooks" / "for_teachers.md").read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()
]


def test_the_parts_of_a_lesson_take_the_time_that_it_says():
    lessons = re.findall(r"^## A lesson of (\d+) minutes\n(.*?)(?=^## )", PAGE, re.M | re.S)
    assert [minutes for minutes, _ in lessons] == ["90", "45"]
    for minutes, plan in lessons:
        assert sum(map(int, re.findall(r"^\| (\d+) \|", plan, re.M))) == int(minutes)


def test_every_part_of_the_lesson_is_in_its_notebook():
    rows = re.findall(r"^\| \d+ \| \[\d\d\]\((\w+\.ipynb)\), (.*?) \|", PAGE, re.M)
    assert len(rows) == 4 + 3
    for name, parts in rows:
        cells = nbformat.read(ROOT / "notebooks" / name, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        headings = re.findall(r"^#+ (.*?)(?: \(\d+ min\))?$", text, re.M)
        quoted = re.findall(r'"([^"]+)"', parts)
        assert quoted
        assert set(quoted) <= set(headings)


def test_every_link_and_command_of_the_page_exists():
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", PAGE):
        assert (ROOT / "notebooks" / target).exists(), target
    used = set(re.findall(r"python -m d2lnli (\w+)", PAGE))
    assert used == {"check", "download", "finetune"}
    for command in used:
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])


def test_the_slides_ask_the_net_for_nothing(tmp_path):
    (command,) = [line for line in COMMANDS if line.startswith("jupyter nbconvert")]
    _, *arguments = shlex.split(command)
    name = arguments[3]
    shutil.copytree(ROOT / "notebooks", tmp_path, dirs_exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "jupyter", *arguments], cwd=tmp_path, check=True, capture_output=True
    )
    html = (tmp_path / name).with_suffix(".slides.html").read_text(encoding="utf-8")
    outside = re.findall(r"https?://(?:cdn|unpkg|fonts)[^\s\"'<)]*", html)
    # diagrams, which the notebooks do not use; nbconvert has no option for its address
    assert all("mermaid" in address for address in outside)
    assert "node_modules/reveal.js/dist/reveal.js" in html
    cells = nbformat.read(tmp_path / name, as_version=4).cells
    kinds = [notebooks.slide_type(cell) for cell in cells]
    columns, slides = kinds.count("slide"), kinds.count("slide") + kinds.count("subslide")
    assert html.count("<section>") == columns + slides
    assert html.count('class="fragment"') == kinds.count("fragment")
    assert "your turn" not in html
