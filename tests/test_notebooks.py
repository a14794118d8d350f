"""The notebooks' form: executed, short, explained, and true to what they name."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import nbformat
import pandas
import pytest
import torch

import d2lnli as d2l
from conftest import run_lesson, write_checkpoint, write_sample
from seams import ARCHITECTURES, CASES, main, notebooks

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
COURSE = [
    "01_pretrained_bert", "02_snli_dataset", "03_fine_tuning", "04_truncation", "05_prediction",
]  # fmt: skip
EVERY = [*COURSE, *(f"solutions/{path.stem}" for path in SOLUTIONS)]
# not the instructions that this processor would use
OTHER_INSTRUCTIONS = (
    ("default", "SSE41") if torch.backends.cpu.get_cpu_capability() == "AVX2" else ("avx2", "AVX2")
)
OTHER_PROCESSOR = {
    "OMP_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": OTHER_INSTRUCTIONS[0],
    "ONEDNN_MAX_CPU_ISA": OTHER_INSTRUCTIONS[1],
}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


@pytest.fixture(params=NOTEBOOKS + SOLUTIONS, ids=lambda path: path.stem)
def any_path(request):
    return request.param


@pytest.fixture
def any_notebook(any_path):
    return nbformat.read(any_path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def calls(code, name):
    """Return the calls of one function of the package."""
    return [
        node
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"d2l.{name}"
    ]


def keywords(call):
    return {keyword.arg for keyword in call.keywords}


def prose(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def tags(cell):
    return cell.metadata.get("tags", [])


def html_outputs(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            yield output.get("data", {}).get("text/html", "")


def test_the_course_is_whole():
    assert [path.stem for path in NOTEBOOKS] == COURSE
    assert [path.stem for path in SOLUTIONS] == [f"{name[:2]}_solutions" for name in COURSE]


def test_a_notebook_is_committed_executed_and_clean(any_notebook):
    cells = code_cells(any_notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert "widgets" not in any_notebook.metadata
    for cell in cells:
        errors = [out.ename for out in cell.outputs if out.output_type == "error"]
        assert errors == ["NotImplementedError"] * ("raises-exception" in tags(cell))
        for output in cell.outputs:
            assert output.get("name") != "stderr"
            assert not any("widget" in kind for kind in output.get("data", {}))
            assert not re.search(r"/tmp|/home|/root|ipykernel_|Warning", json.dumps(output))


def test_the_table_of_checkpoints_is_true():
    text = prose(nbformat.read(NOTEBOOKS[0], as_version=4))
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|`")]
    uncased = dict(num_hiddens=768, ffn_num_hiddens=3072, num_heads=12, num_blks=12, max_len=512)
    minilm = dict(num_hiddens=384, ffn_num_hiddens=1536, num_heads=12, num_blks=6, max_len=512)
    bert = dict(embedding_norm=True, tied_decoder=True)
    tiny = asdict(d2l.load_pretrained_model("bert.tiny")[0].config)
    sizes = {
        "bert.tiny": tiny,
        "bert.small": {"vocab_size": 60_005, **ARCHITECTURES["bert.small"]},
        "bert.base": {"vocab_size": 60_005, **ARCHITECTURES["bert.base"]},
        "minilm": {"vocab_size": 30_522, **minilm, **bert},
        "hf:google-bert/bert-base-uncased": {"vocab_size": 30_522, **uncased, **bert},
    }
    assert [row[0].split("`")[1] for row in rows] == list(sizes)
    names = {name for row in rows for name in re.findall("`(.*?)`", row[0])}
    assert names - {"hf:google-bert/bert-base-uncased"} == set(d2l.DATA_HUB) - {
        "SNLI", "Scenes", "Breaking_NLI",
    }  # fmt: skip
    for row, config in zip(rows, sizes.values(), strict=True):
        _, shape, vocabulary, parameters, size, _ = row
        with torch.device("meta"):
            model = d2l.BERTModel(**{"dropout": 0.1, **config})
        parts = (model.encoder, model.hidden) if row[0] == "`minilm`" else (model,)
        millions = sum(p.numel() for part in parts for p in part.parameters()) / 1e6
        assert shape == f"{config['num_blks']} × {config['num_hiddens']}"
        unit = "WordPiece" if config.get("embedding_norm") else "words"
        assert vocabulary == f"{config['vocab_size']:,} {unit}"
        assert parameters in (f"{millions:.0f} million", f"{millions:.1f} million")
        assert size == f"{4 * millions:.0f} MB"


def test_a_notebook_begins_with_its_parameters_and_ends_with_exercises(notebook):
    first = code_cells(notebook)[0]
    assert first.metadata.tags == ["parameters"]
    assert first.source.startswith('model, corpus = "bert.tiny", "Scenes"')
    assert "num_pairs" in first.source
    head, text = notebook.cells[0].source, prose(notebook)
    assert head.startswith("# ")
    order = "# Exercise 1", "What we did", "Exercises", "# Exercise 2", "References"
    places = [text.index(f"\n##{'' if name[0] == '#' else ' '}{name}") for name in order]
    assert places == sorted(places), "one exercise where its idea is fresh, the others at the end"
    exercises = [cell for cell in code_cells(notebook) if "exercise" in tags(cell)]
    assert exercises[1:] == code_cells(notebook)[-len(exercises[1:]) :]


def test_the_sections_take_the_time_that_the_head_says(notebook):
    minutes = re.findall(r"^## .*\((\d+) min\)$", prose(notebook), re.M)
    whole = re.search(r"\*\*Time:\*\* (\d+) minutes", notebook.cells[0].source)
    assert sum(map(int, minutes)) == int(whole[1])


def test_the_test_split_is_read_once_in_the_whole_course():
    readers = re.compile(
        r"""(?:read_snli|read_phenomena|open_split|mapped_dataset)\([^)]*["']test"""
    )
    places = [
        path.stem
        for path in NOTEBOOKS + SOLUTIONS
        for cell in code_cells(nbformat.read(path, as_version=4))
        for _ in readers.findall(cell.source)
    ]
    assert places == ["03_fine_tuning"]
    others = re.compile(r"is_train=|read_snli\([^)]*(?:False|test_)")
    for path in NOTEBOOKS + SOLUTIONS:
        assert not any(
            others.search(cell.source) for cell in code_cells(nbformat.read(path, as_version=4))
        ), path


PAPER = re.compile(r"\((https://(?:aclanthology\.org|arxiv\.org)/[^\s)]+)\)")


def test_every_paper_that_a_claim_leans_on_is_among_the_references(notebook):
    text, _, references = prose(notebook).partition("## References")
    assert set(PAPER.findall(text)) == set(PAPER.findall(references)) != set()
    assert references.count("\n- ") == len(set(PAPER.findall(references)))


def numbers_shown(cells):
    """Return all numbers in what cells print and in the descriptions of their pictures."""
    for cell in cells:
        for output in cell.get("outputs", ()):
            page = output.get("data", {}).get("text/html", "")
            shown = [output.get("text", ""), *re.findall(r'alt="([^"]*)"', page)]
            for number in re.findall(r"\d[\d,]*(?:\.\d+)?", " ".join(shown)):
                yield float(number.replace(",", ""))


def is_shown(told, shown):
    """Return whether a number of the text, such as 0.86 or 86 %, is one of the numbers shown."""
    number, percent = re.fullmatch(r"(\d+(?:\.\d+)?)( %)?", told).groups()
    digits = len(number.partition(".")[2])
    tolerance = 0.5001 * 10**-digits
    scales = (100, 1) if percent else (1,)
    return any(abs(x * scale - float(number)) <= tolerance for x in shown for scale in scales)


def test_every_measured_number_in_the_text_is_in_an_output_above_it(any_notebook):
    """But for settings, in backticks, and for facts of papers and of the book, which are named."""
    for i, cell in enumerate(any_notebook.cells):
        if cell.cell_type != "markdown" or "exercise" in tags(cell):
            continue
        shown = list(numbers_shown(any_notebook.cells[:i]))
        text = re.sub(r"95 % (?=interval|of)|with 95 %|`[^`]*`|!\[.*?\]\(.*?\)", "", cell.source)
        for line in text.splitlines():
            if PAPER.search(line) or "the book" in line or line.startswith("|"):
                continue
            for told in re.findall(r"(?<![\d.,])(?:0\.\d+|\d+(?:\.\d+)? %)", line):
                assert is_shown(told, shown), (told, line)


@pytest.mark.parametrize(
    "told, shown", [("0.86", 0.8584), ("86 %", 0.8584), ("86 %", 86), ("0.9", 0.86), ("3 %", 0.03)]
)
def test_a_number_may_be_rounded_and_no_more(told, shown):
    assert is_shown(told, [shown])
    assert not is_shown(told, [shown * 1.25, shown / 1.25])


def test_generating_a_notebook_again_changes_nothing(any_path):
    def written(notebook):
        return [(c.cell_type, c.source, c.metadata, c.id) for c in notebook.cells]

    committed = nbformat.read(any_path, as_version=4)
    assert written(notebooks.generate(any_path)) == written(committed)


def test_what_a_student_changes_in_an_exercise_is_generated_anew(tmp_path):
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    path = tmp_path / "notebooks" / "02_snli_dataset.ipynb"
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if "exercise" in tags(cell):
            cell.source = "print('done')" if cell.cell_type == "code" else "Changed."
    nbformat.write(notebook, path)
    generated, original = notebooks.generate(path), nbformat.read(NOTEBOOKS[1], as_version=4)
    assert [cell.source for cell in generated.cells] == [cell.source for cell in original.cells]


def test_an_exercise_keeps_the_question_and_loses_the_answer():
    head = 'import math\n\n\ndef half(n):\n    """Return half of it."""\n'
    tail = "\n\n\nd2l.check(half)"
    solved = f"{head}    if n:\n        return n / 2\n    return 0{tail}"
    to_write = '    raise NotImplementedError("your turn: replace this line")'
    assert notebooks.without_bodies(solved) == f"{head}{to_write}{tail}"


def test_a_notebook_without_a_place_for_its_exercises_is_named(tmp_path):
    shutil.copytree(ROOT / "notebooks" / "solutions", tmp_path / "solutions")
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "01_new.ipynb")
    with pytest.raises(ValueError, match=r"01_new\.ipynb has 0 cells tagged `exercise`"):
        notebooks.generate(tmp_path / "01_new.ipynb")


def test_an_exercise_without_a_docstring_is_refused():
    with pytest.raises(ValueError, match=r"half.*docstring"):
        notebooks.without_bodies("def half(n):\n    return n / 2")


def test_every_exercise_is_asked_once_and_solved_once():
    for paths in (NOTEBOOKS, SOLUTIONS):
        cells = [cell for path in paths for cell in code_cells(nbformat.read(path, as_version=4))]
        checked = [
            name for cell in cells for name in re.findall(r"d2l\.check\((\w+)\)", cell.source)
        ]
        assert sorted(checked) == sorted(CASES)


def test_a_slide_opens_with_text_and_its_code_waits(any_notebook):
    for cell in any_notebook.cells:
        kind = cell.metadata.slideshow.slide_type
        assert kind in (("fragment", "skip") if cell.cell_type == "code" else ("slide", "subslide"))


def test_each_notebook_leads_to_the_next():
    for path, following in pairwise(NOTEBOOKS):
        last = nbformat.read(path, as_version=4).cells[-1].source
        assert last.splitlines()[-1].startswith(f"Next: [{following.name}]({following.name})")


def test_every_picture_has_a_description(any_notebook):
    for page in html_outputs(any_notebook):
        for tag in re.findall(r"<img [^>]*>", page):
            assert re.search(r'alt="[^"]{20,}"', tag)
    for cell in code_cells(any_notebook):
        assert not any("image/" in kind for out in cell.outputs for kind in out.get("data", {}))
    for description in re.findall(r"!\[([^\]]*)\]\(", prose(any_notebook)):
        assert len(description) > 20


def test_every_name_of_the_package_in_a_notebook_exists(any_notebook):
    text = "\n".join(cell.source for cell in any_notebook.cells)
    for name in re.findall(r"\bd2l\.([A-Za-z_]\w*)", text):
        assert hasattr(d2l, name), name


def test_every_link_and_path_in_a_notebook_exists(any_path):
    text = prose(nbformat.read(any_path, as_version=4))
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        assert (any_path.parent / path).exists(), target
        headings = re.findall(r"^#+ (.*)$", text, re.M)
        assert not anchor or anchor in [heading.replace(" ", "-") for heading in headings]
    for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|csv|md|ipynb))`", text):
        assert (ROOT / path).exists(), path


def test_every_command_in_a_notebook_exists(notebook):
    for module in re.findall(r"python -m ([\w.]+)", prose(notebook)):
        assert find_spec(module), module
    for command in re.findall(r"python -m d2lnli (\w+)", prose(notebook)):
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])


def test_words_in_backticks_are_words_of_the_notebook_or_of_the_package(notebook):
    code = "\n".join(cell.source + str(cell.outputs) for cell in code_cells(notebook))
    names = set(re.findall(r"\w+", code))
    for path in (ROOT / "d2lnli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names.update(getattr(node, field, None) for field in ("name", "id", "attr", "arg"))
    names.update(d2l.DATA_HUB)
    for name in re.findall(r"`([A-Za-z_]\w+)`", prose(notebook)):
        assert name in names, name


def test_other_numbers_than_those_that_vary_are_compared(any_notebook):
    for cell in code_cells(any_notebook):
        assert set(tags(cell)) <= {
            "parameters", "nbval-ignore-output", "notebook-only", "exercise", "raises-exception",
        }  # fmt: skip
    ignored = sum("nbval-ignore-output" in tags(cell) for cell in code_cells(any_notebook))
    assert ignored <= 2


def test_one_live_plot_is_in_the_committed_output_of_a_notebook_that_trains(any_notebook):
    code = "\n".join(cell.source for cell in code_cells(any_notebook))
    plotted = [call for call in calls(code, "finetune") if "plot" not in keywords(call)]
    plotted += calls(code, "load_or_finetune")
    found = re.findall(r'alt="(Loss and accuracy[^"]*)"', "".join(html_outputs(any_notebook)))
    assert len(found) == len(plotted) <= 1
    assert all(re.search(r"dev acc from 0\.\d+ to 0\.\d+", words) for words in found)


def test_every_figure_has_a_title_that_says_what_is_seen(any_notebook):
    code = "\n".join(cell.source for cell in code_cells(any_notebook))
    for name in ("bar_chart", "line_chart", "dot_chart", "heat_map", "padding_chart"):
        assert all("title" in keywords(call) for call in calls(code, name)), name
    titles = re.findall(r'<img alt="([^.;"]{15,})', "".join(html_outputs(any_notebook)))
    assert len(set(titles)) == len(titles)


def test_under_voila_the_notebook_is_the_predictor_alone():
    notebook = nbformat.read(ROOT / "notebooks" / "05_prediction.ipynb", as_version=4)
    for_teachers = (ROOT / "notebooks" / "for_teachers.md").read_text(encoding="utf-8")
    (tag,) = re.findall(r"remove_cell_tags=([\w-]+)", for_teachers)
    shown = [cell for cell in notebook.cells if tag not in tags(cell)]
    assert [cell.cell_type for cell in shown] == ["code", "code", "markdown", "code"]
    page = "\n".join(cell.source for cell in shown if cell.cell_type == "code")
    assert page.endswith("d2l.Predictor(net, vocab)")
    compile(page, "the page", "exec")


def run_nbval(tmp_path, names, **environment):
    """Compare notebooks with a pytest, and so an empty data folder, of their own."""
    report = tmp_path / "report.txt"
    inherited = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    with report.open("w") as file:
        status = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *(f"notebooks/{name}.ipynb" for name in names)],
            cwd=ROOT, env={**inherited, **environment}, stdout=file, stderr=file, check=False,
        ).returncode  # fmt: skip
    assert status == 0, report.read_text()[-4000:]


def test_trained_answers_are_the_same_on_another_processor(tmp_path):
    """05 comes first and has to make the classifier, which 03 does for it in the lessons' order."""
    solutions = ["solutions/04_solutions", "solutions/05_solutions"]
    run_nbval(tmp_path, ["05_prediction", "03_fine_tuning", *solutions], **OTHER_PROCESSOR)


@pytest.mark.parametrize("names", [[name] for name in EVERY] + [COURSE[::-1]], ids=str)
def test_each_notebook_passes_alone_and_in_any_order_on_another_processor(tmp_path, names):
    run_nbval(tmp_path, names, **OTHER_PROCESSOR)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Models and corpora in folders of one's own, each by the name that the tests below use."""
    folder = tmp_path_factory.mktemp("own")
    tiny = Path(d2l.download_extract("bert.tiny"))
    shutil.copytree(tiny, folder / "my-bert")
    words = json.loads((tiny / "vocab.json").read_text(encoding="utf-8"))
    write_checkpoint(folder / "short", words, num_blks=1, num_heads=2, max_len=24)
    corpus = write_sample(folder / "my-corpus", train=300, dev=60, test=60)
    one_kind = write_sample(folder / "one", r"neutral.*\.weather\b", train=5, dev=4, test=4)
    (folder / "mixed").mkdir()
    for split, name in (("train", "train.tsv"), ("dev", "validation.tsv"), ("test", "my.test.tsv")):
        shutil.copy(corpus / f"snli_1.0_{split}.txt", folder / "mixed" / name)
    rows = pandas.read_csv(corpus / "snli_1.0_train.txt", sep="\t", keep_default_na=False)
    rows[["sentence1", "sentence2", "gold_label"]].to_csv(folder / "my_pairs.csv")
    return {
        "my_pairs.csv": str(folder / "my_pairs.csv"),
        "other layout": str(folder / "mixed"),
        "my-bert": str(folder / "my-bert"),
        "short": str(folder / "short"),
        "my-corpus": str(corpus),
        "one kind": str(one_kind),
    }


COLAB = """
from ipykernel.ipkernel import IPythonKernel
from ipykernel.zmqshell import ZMQInteractiveShell
from traitlets import Type


class Shell(ZMQInteractiveShell):
    pass


class Kernel(IPythonKernel):
    shell_class = Type(Shell)
"""


def as_on_colab(folder, monkeypatch):
    """Let kernels have `google.colab` and a shell of its class; return the folder of notebooks."""
    (folder / "google" / "colab").mkdir(parents=True)
    (folder / "google" / "colab" / "__init__.py").write_text(COLAB)
    profile = folder / "ipython" / "profile_default"
    profile.mkdir(parents=True)
    config = 'get_config().IPKernelApp.kernel_class = "google.colab.Kernel"'
    (profile / "ipython_kernel_config.py").write_text(config)
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT)]))
    return folder


def as_in_vs_code(folder, monkeypatch):
    """Let kernels begin in the folder that is open, the project's."""
    monkeypatch.setenv("VSCODE_PID", "1")
    return ROOT


def as_installed(folder, monkeypatch):
    """Let kernels find the package as a wheel installs it, without the project around it."""
    shutil.copytree(ROOT / "d2lnli", folder / "site-packages" / "d2lnli")
    monkeypatch.setenv("PYTHONPATH", str(folder / "site-packages"))
    return folder


SETTINGS = {
    "folders": (dict(model="my-bert", corpus="my-corpus", num_pairs=50), as_on_colab),
    "16 positions": (dict(corpus="my-corpus", num_pairs=50, max_len=16), as_in_vs_code),
    "one file": (dict(corpus="my_pairs.csv"), as_in_vs_code),
    "24 positions": (dict(model="short", corpus="one kind", max_len=24), as_installed),
}


def run_elsewhere(name, setting, own, tmp_path, monkeypatch):
    """Run a notebook with one of the settings; return what it shows, as text."""
    parameters, imitated = SETTINGS[setting]
    parameters = {key: own.get(value, value) for key, value in parameters.items()}
    cwd = imitated(tmp_path, monkeypatch)
    cells = run_lesson(ROOT / "notebooks" / f"{name}.ipynb", tmp_path, cwd, **parameters)
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    assert [output for output in outputs if output.get("name") == "stderr"] == []
    return json.dumps(outputs)


def test_a_notebook_takes_folders_and_few_pairs_from_anywhere(own, tmp_path, monkeypatch, data_dir):
    shown = run_elsewhere("04_truncation", "folders", own, tmp_path, monkeypatch)
    assert "Loss and accuracy by epoch; after" in shown, "the curves are drawn on Colab"
    assert "Dots of dev accuracy minus dev accuracy of longest_first" in shown, "the table is found"
    assert "the classifier my-bert-" in shown, "it is said which one is used"


@pytest.mark.parametrize("corpus", ["my_pairs.csv", "other layout"])
def test_a_notebook_takes_pairs_in_any_layout_and_says_where_they_come_from(
    corpus, own, tmp_path, data_dir
):
    notebook = ROOT / "notebooks" / "02_snli_dataset.ipynb"
    cells = run_lesson(notebook, tmp_path, tmp_path, corpus=own[corpus])
    shown = json.dumps([cell.get("outputs") for cell in cells])
    assert "premise from 'sentence1" in shown
    assert "hypernym" in shown or corpus == "my_pairs.csv"


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", COURSE)
def test_every_notebook_runs_with_other_parameters(
    name, setting, own, tmp_path, monkeypatch, data_dir
):
    shown = run_elsewhere(name, setting, own, tmp_path, monkeypatch)
    recorded = name in ("03_fine_tuning", "05_prediction")
    figures = "bert.tiny on Scenes, three seeds", "Dots of challenge accuracy"
    assert any(figure in shown for figure in figures) == recorded
    assert "this run" not in shown, "another model does not stand beside what was recorded"


def test_code_names_no_path_from_its_own_folder_and_assertions_say_what_is_wrong(any_notebook):
    for cell in code_cells(any_notebook):
        assert '"../' not in cell.source
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.Assert) or node.msg, cell.source


def test_notebooks_are_executed_again_in_place(tmp_path, capsys):
    cells = [
        nbformat.v4.new_code_cell("import os; print(os.listdir(os.environ['D2LNLI_DATA_DIR']))"),
        nbformat.v4.new_code_cell("import ipywidgets; ipywidgets.IntSlider()"),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"widgets": {"state": {}}})
    nbformat.write(notebook, tmp_path / "01_new.ipynb")
    assert notebooks.main([str(tmp_path / "01_new.ipynb")]) == 0
    again = nbformat.read(tmp_path / "01_new.ipynb", as_version=4)
    assert again.cells[0].execution_count == 1
    assert again.cells[0].outputs[0].text == "[]\n"
    assert list(again.cells[1].outputs[0].data) == ["text/plain"]
    assert "widgets" not in again.metadata
    assert "01_new.ipynb: " in capsys.readouterr().out
