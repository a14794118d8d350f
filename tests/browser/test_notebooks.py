"""Every notebook, opened in JupyterLab as a student opens it, and run."""

import json
import re
import time
from itertools import pairwise

import pytest
from playwright.sync_api import expect

from .lab import WIDTH, Lab
from .servers import ROOT, jupyter_lab

NOTEBOOKS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in ROOT.glob("notebooks/**/[0-9]*.ipynb")
    if ".ipynb_checkpoints" not in path.parts
)
TRAINS = "notebooks/03_fine_tuning.ipynb"
WATCH = """() => {
    const {widgets: cells} = jupyterapp.shell.currentWidget.content, pictures = [];
    const training = cells.find(cell => cell.model.sharedModel.source.includes('d2l.finetune('));
    new MutationObserver(() => {
        const image = training.node.querySelector('img[alt^="Loss and accuracy"]');
        if (image && image.src !== pictures.at(-1)?.src)
            pictures.push({src: image.src, alt: image.alt, at: Date.now() / 1000});
    }).observe(training.node, {subtree: true, childList: true, attributes: true});
    Object.assign(window, {training, pictures});
}"""
TRAINED = "() => window.pictures.length > 1 && window.training.model.executionState === 'idle'"
HALFWAY = "() => window.pictures.some(picture => picture.alt.includes('after 2.'))"
FEWEST_PICTURES, LONGEST_GAP = 8, 3.0  # of a run, and in seconds; alone it is 20 and 1.1


def check_pictures(lab: Lab) -> None:
    """All figures and strips that the outputs hold are shown, and every image is described."""
    outputs = [output["data"] for output in outputs_of(lab.code_cells()) if "data" in output]
    html = "".join("".join(data.get("text/html", "")) for data in outputs)
    shown = {f"{tag}:visible": html.count(f"<{tag}") for tag in ("img", "bdi")}
    shown["[data-mime-type='text/plain']"] = sum(set(data) == {"text/plain"} for data in outputs)
    for selector, count in shown.items():
        expect(lab.page.locator(".jp-OutputArea").locator(selector)).to_have_count(count)
    for image in lab.images():
        assert image["width"]
        assert image["alt"] not in ("", "Image")  # as JupyterLab calls what has no description


def check_distrusted(lab: Lab) -> None:
    lab.unroll()
    assert not any(cell["trusted"] for cell in lab.code_cells())
    check_pictures(lab)
    grounds = lab.page.locator(".jp-OutputArea :has(> bdi)").evaluate_all(
        "tokens => tokens.map(token => getComputedStyle(token).backgroundColor)"
    )
    assert "rgba(0, 0, 0, 0)" not in grounds


def outputs_of(cells: list[dict]) -> list[dict]:
    return [output for cell in cells for output in cell["outputs"]]


def errors_of(cell: dict) -> set[str]:
    return {output["ename"] for output in cell["outputs"] if output["output_type"] == "error"}


def errors_wanted(cell: dict) -> set[str]:
    is_exercise = "raises-exception" in cell["metadata"].get("tags", ())
    return {"NotImplementedError"} if is_exercise else set()


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_run_all_draws_every_cell(lab, artifacts, notebook):
    source = lab.server.folder / notebook
    text = source.read_text(encoding="utf-8")
    assert ("num_pairs = " in text) == ("solutions" not in notebook)
    few = text.replace("num_pairs = None", "num_pairs = 500")
    source.with_name(f"few-{source.name}").write_text(few, encoding="utf-8")
    lab.open(notebook.replace(source.name, f"few-{source.name}"))
    lab.run_all()
    lab.unroll()
    cells = lab.code_cells()
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert [cell["drawn"] for cell in cells] == [len(cell["outputs"]) for cell in cells]
    for cell in cells:
        assert errors_of(cell) == errors_wanted(cell), cell["source"]
    check_pictures(lab)
    lab.picture_themes(artifacts / notebook.replace("/", "-").removesuffix(".ipynb"))


def test_the_plot_of_a_run_is_alive_within_a_minute_of_starting_jupyterlab(page, artifacts):
    with jupyter_lab() as server:
        seconds = {"server answers": time.time() - server.started}
        lab = Lab(page, server)
        page.set_viewport_size({"width": WIDTH, "height": 6000})  # or it scrolls while it runs
        lab.open(TRAINS)
        seconds["notebook is open"] = time.time() - server.started
        lab.execute("notebook:clear-all-cell-outputs")
        page.evaluate(WATCH)
        lab.start_all()
        page.wait_for_function(HALFWAY, timeout=180_000)
        training = page.locator(".jp-Cell:has(img[alt^='Loss and accuracy'])").first
        training.screenshot(path=artifacts / "training.png")
        page.wait_for_function(TRAINED, timeout=180_000)
        pictures = page.evaluate("() => window.pictures")
        page.close()
    for name, picture in zip(("first plot", "first moving plot"), pictures, strict=False):
        seconds[name] = picture["at"] - server.started
    times = [picture["at"] for picture in pictures]
    seconds["longest gap between plots"] = max(b - a for a, b in pairwise(times))
    measured = {name: round(number, 1) for name, number in seconds.items()}
    measured["plots"] = len(pictures)
    (artifacts / "first_plot.json").write_text(json.dumps(measured, indent=2) + "\n")
    assert seconds["first moving plot"] < 60

    begin, *moving = (picture["alt"] for picture in pictures)
    assert "training has not begun" in begin
    epochs = [float(re.search(r"after ([\d.]+):", alt)[1]) for alt in moving]
    assert epochs == sorted(epochs)
    assert len({picture["src"] for picture in pictures}) == len(pictures) >= FEWEST_PICTURES
    assert times[1] - times[0] < LONGEST_GAP, "the first point comes with the first step"
    assert seconds["longest gap between plots"] < LONGEST_GAP


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_notebook_from_a_stranger_shows_its_pictures(lab, notebook):
    lab.open(notebook)
    check_distrusted(lab)


def test_a_notebook_edited_elsewhere_keeps_its_pictures(lab):
    lab.open_new(
        "import d2lnli as d2l",
        "bert, vocab = d2l.load_pretrained_model('bert.tiny')",
        "d2l.bar_chart({'a': 1.0, 'b': 2.0}, 'length')",
        "d2l.TruncationStrips('A dog is running.', 'A dog is here.', vocab, 9)",
        "d2l.TruncationExplorer(vocab)",
        "d2l.AttentionExplorer(bert, vocab)",
    )
    lab.execute("docmanager:save")
    lab.close()
    path = lab.server.folder / "new.ipynb"
    path.write_text(path.read_text().replace("as d2l", "as d2l  # edited"))
    lab.open("new.ipynb")
    check_distrusted(lab)
