"""Plots: the plotted numbers are the numbers, and drawing stays within its budget."""

import base64
import io
import math
import re
import subprocess
import sys

import matplotlib.image
import pytest
from conftest import SIZES

import d2lnli as d2l
from d2lnli import plotting
from d2lnli.history import Record

RECORDS = [
    Record(0.5, 1.0, 0.4, math.nan, 100.0),
    Record(1.0, 0.8, 0.5, 0.6, 110.0),
    Record(1.5, 0.6, 0.7, math.nan, 120.0),
    Record(2.0, 0.4, 0.8, 0.75, 130.0),
]


class FakeDisplay:
    """Stands in for IPython's display and for the handle that it returns."""

    def __init__(self):
        self.shown = []

    def __call__(self, bundle, raw, display_id):
        assert raw and display_id
        self.shown.append(bundle)
        return self

    def update(self, bundle, raw):
        self.shown.append(bundle)


@pytest.fixture
def notebook(monkeypatch):
    display = FakeDisplay()
    monkeypatch.setattr(plotting, "in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", display)
    return display


def curves(picture):
    return {
        line.get_label(): list(zip(*line.get_data(), strict=True))
        for axes in picture.figure.axes
        for line in axes.lines
        if not line.get_label().startswith("_")
    }


def test_a_history_plots_its_numbers():
    picture = d2l.History(RECORDS).plot()
    assert curves(picture) == {
        "train loss": [(0.5, 1.0), (1.0, 0.8), (1.5, 0.6), (2.0, 0.4)],
        "train acc": [(0.5, 0.4), (1.0, 0.5), (1.5, 0.7), (2.0, 0.8)],
        "dev acc": [(1.0, 0.6), (2.0, 0.75)],
    }
    assert picture.figure.axes[0].get_xlim() == (0, 2)


def test_a_picture_is_an_image_with_a_description():
    picture = d2l.History(RECORDS).plot()
    found = re.fullmatch(
        r'<img alt="([^"]*)" src="data:image/png;base64,([^"]*)">', picture._repr_html_()
    )
    assert found[1] == (
        "Loss and accuracy against epochs; after 2.0: "
        "train loss 0.400, train acc 0.800, dev acc 0.750."
    )
    pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(found[2])))
    assert pixels.shape == (320, 800, 4)
    assert (pixels[0, 0] == 1).all(), "the background must be white, also in the dark theme"
    assert repr(picture) == "<Picture>"


def test_an_empty_or_diverged_history_can_be_plotted():
    assert "not begun" in d2l.History().plot().description
    diverged = d2l.History([Record(1.0, math.inf, 0.3, math.nan, 1.0)])
    assert "train loss inf" in diverged.plot().description


def test_a_run_of_one_point_can_be_seen():
    one, many = (d2l.History(RECORDS[:n]).plot() for n in (1, 4))
    assert one.lines["loss"].get_marker() == "o"
    assert many.lines["loss"].get_marker() == ""


def test_without_a_split_to_measure_on_none_is_drawn_or_named(notebook, net, toy_pairs, vocab):
    data = d2l.SNLIBERTDataset(toy_pairs, SIZES["max_len"], vocab)
    live = plotting.LivePlot(1, None).picture
    saved = d2l.finetune(net, data, None, num_epochs=1, batch_size=64).plot()
    for picture in (live, saved):
        assert set(curves(picture)) == {"train loss", "train acc"}
    assert "dev acc" not in notebook.shown[-1]["text/html"]


def test_a_live_plot_grows_and_ends_with_every_number(notebook):
    plot = plotting.LivePlot(2)
    plot.BUDGET = math.inf
    for n in range(1, 5):
        plot.update(d2l.History(RECORDS[:n]).columns())
        assert len(curves(plot.picture)["train loss"]) == n
    assert len(notebook.shown) == 5
    assert len({bundle["text/html"] for bundle in notebook.shown}) == 5
    assert {bundle["text/plain"] for bundle in notebook.shown} == {"<Picture>"}


def test_a_live_plot_keeps_to_its_budget(notebook, monkeypatch):
    clock = iter(float(second) for second in range(0, 100_000))
    monkeypatch.setattr(plotting.time, "perf_counter", lambda: next(clock))
    plot = plotting.LivePlot(2)
    columns = d2l.History(RECORDS).columns()
    for _ in range(2000):
        plot.update(columns)
    elapsed = next(clock) - plot.started
    assert len(notebook.shown) > 2
    assert plot.spent <= plot.BUDGET * elapsed
    drawn = len(notebook.shown)
    plot.update(columns, force=True)
    assert len(notebook.shown) == drawn + 1


def test_a_run_in_a_notebook_draws_its_last_point(notebook, net, toy_pairs, vocab):
    data = d2l.SNLIBERTDataset(toy_pairs, SIZES["max_len"], vocab)
    history = d2l.finetune(net, data, data, num_epochs=2, batch_size=16)
    (last,) = re.findall(r'alt="([^"]*)"', notebook.shown[-1]["text/html"])
    assert f"after 2.0: train loss {history.last('loss'):.3f}" in last
    assert f"dev acc {history.last('dev_acc'):.3f}" in last


def test_outside_a_notebook_nothing_is_shown(capsys):
    plot = plotting.LivePlot(2)
    plot.update(d2l.History(RECORDS).columns(), force=True)
    assert not plot.shown
    assert capsys.readouterr() == ("", "")


def test_show_source_shows_what_the_module_says(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    d2l.show_source(d2l.BERTClassifier)
    assert shown[0].data.startswith("```python\nclass BERTClassifier(nn.Module):")
    assert shown[0].data.endswith("```")


def test_the_import_leaves_heavy_packages_for_their_first_use():
    code = (
        "import sys, torch; before = set(sys.modules); import d2lnli; "
        "print({'matplotlib', 'IPython', 'ipywidgets', 'pooch', 'requests'} "
        "& (set(sys.modules) - before))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
