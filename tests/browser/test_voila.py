"""Notebook 05 as a page in front of a class, with the command that for_teachers.md gives."""

import re
import shlex

import nbformat
from playwright.sync_api import Route, expect

import d2lnli as d2l

from .servers import ROOT, voila
from .test_widgets import check_numbers


def no_icons(route: Route) -> None:
    """Stand in for the network: Voila's page asks it for icons, none of which is used here."""
    route.fulfill(body="", content_type="text/css")


def hidden_lines(notebook: str) -> list[str]:
    """Return the lines of code, and of the cells that are for the notebook only."""
    cells = nbformat.read(ROOT / notebook, as_version=4).cells
    hidden = [
        c for c in cells if c.cell_type == "code" or "notebook-only" in c.metadata.get("tags", ())
    ]
    lines = [line.strip("# ") for cell in hidden for line in cell.source.splitlines()]
    return [line for line in lines if len(line) > 20]  # shorter ones may stand anywhere


def test_voila_shows_the_predictor_and_nothing_else(page, classifier, artifacts):
    text = (ROOT / "notebooks" / "for_teachers.md").read_text(encoding="utf-8")
    command = re.search(r"^voila (.+)$", text, re.MULTILINE)[1]
    notebook, *options = shlex.split(command)
    page.route("https://cdn.jsdelivr.net/**/*.css", no_icons)
    with voila(notebook, *options) as server:
        page.goto(server.url, timeout=120_000)
        page.set_viewport_size({"width": 1280, "height": 900})
        premise, hypothesis = (page.get_by_label(name) for name in ("premise", "hypothesis"))
        expect(premise).to_be_visible(timeout=60_000)
        expect(page.locator(".widget-vbox").first).to_be_in_viewport(ratio=1)
        for text in ("Two women are running.", "Two women are sleeping."):
            hypothesis.fill(text, timeout=60_000)
            probs = d2l.predict_proba(*classifier, [premise.input_value()], [text])[0].tolist()
            check_numbers(page, probs)
        page.screenshot(path=artifacts / "voila.png", full_page=True)
        expect(page.get_by_role("img")).to_have_count(0)  # the curves of the training are one
        shown = page.locator("body").inner_text()
        assert not [line for line in hidden_lines(notebook) if line in shown]
        page.close()  # before its server ends, which it would report as an error
