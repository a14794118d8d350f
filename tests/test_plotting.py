"""Plots: the plotted numbers are the numbers, and pictures come as the clock says."""

import base64
import io
import math
import re
import subprocess
import sys
import time

import matplotlib.image
import numpy as np
import pytest

import d2lnli as d2l
import seams
from conftest import SIZES
from seams import HistoryPicture, LivePlot, Progress, Record

RECORDS = [
    Record(0.5, 1.0, 0.4, math.nan, 100.0, 1.0, 0.4),
    Record(1.0, 0.8, 0.5, 0.6, 110.0, 0.9, 0.45),
    Record(1.5, 0.6, 0.7, math.nan, 120.0, 0.6, 0.7),
    Record(2.0, 0.4, 0.8, 0.75, 130.0, 0.5, 0.75),
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
def notebook():
    display = FakeDisplay()
    seams.as_in_a_notebook(display)
    return display


def curves(picture):
    """Return the points of every line but that of chance."""
    return {
        line.get_label(): list(zip(*line.get_data(), strict=True))
        for axes in picture.figure.axes
        for line in axes.lines
        if line is not picture.chance
    }


def test_a_shell_derived_from_jupyters_is_a_notebooks(monkeypatch):
    from ipykernel.zmqshell import ZMQInteractiveShell

    class Shell(ZMQInteractiveShell):  # as google.colab has it
        pass

    for shell, expected in ((Shell.__new__(Shell), True), (object(), False), (None, False)):
        monkeypatch.setattr("IPython.get_ipython", lambda shell=shell: shell)
        assert seams.in_notebook() == expected
    monkeypatch.delitem(sys.modules, "ipykernel.zmqshell")
    assert not seams.in_notebook()


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
        r'<img alt="([^"]*)" style="max-width:100%" src="data:image/png;base64,([^"]*)">',
        picture._repr_html_(),
    )
    assert found[1] == (
        "Loss and accuracy by epoch; after 2.0: train loss from 1.000 to 0.400, "
        "train acc from 0.400 to 0.800, dev acc from 0.600 to 0.750."
    )
    pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(found[2])))
    assert pixels.shape == (340, 800, 4)
    assert (pixels[0, 0] == 1).all(), "the background must be white, also in the dark theme"
    assert repr(picture) == "<Picture>"


def test_an_empty_or_diverged_history_can_be_plotted():
    assert "not begun" in d2l.History().plot().description
    diverged = d2l.History([Record(1.0, math.inf, 0.3, math.nan, 1.0, math.inf, 0.3)])
    assert "train loss from inf to inf" in diverged.plot().description


def test_a_run_of_one_point_can_be_seen():
    line = d2l.History(RECORDS[:1]).plot().lines["loss"]
    assert line.get_marker() == "o"
    assert line.get_markevery() == [-1], "of a longer line, the dot marks the end"


def test_without_a_split_to_measure_on_none_is_drawn_or_named(notebook, net, toy_pairs, vocab):
    data = d2l.SNLIBERTDataset(toy_pairs, SIZES["max_len"], vocab)
    live = LivePlot(1, None).picture
    saved = d2l.finetune(net, data, None, num_epochs=1, batch_size=64).plot()
    for picture in (live, saved):
        assert set(curves(picture)) == {"train loss", "train acc"}
    assert "dev acc" not in notebook.shown[-1]["text/html"]


def test_a_live_plot_grows_and_ends_with_every_number(notebook):
    plot = LivePlot(2)
    for n in range(1, 5):
        plot.update(d2l.History(RECORDS[:n]))
        assert len(curves(plot.picture)["train loss"]) == n
    assert len(notebook.shown) == 5
    assert len({bundle["text/html"] for bundle in notebook.shown}) == 5
    assert {bundle["text/plain"] for bundle in notebook.shown} == {"<Picture>"}


def pixels_of(picture) -> np.ndarray:
    return matplotlib.image.imread(io.BytesIO(picture.png()))


def test_lines_on_a_kept_background_are_the_whole_picture(notebook):
    live = LivePlot(2.0).picture
    for n, num_classes in ((1, 3), (2, 3), (3, 5), (4, 5), (2, 3), (0, 3)):
        whole = HistoryPicture(2.0)
        for picture in (live, whole):
            picture.draw(d2l.History(RECORDS[:n], num_classes=num_classes))
        np.testing.assert_array_equal(pixels_of(live), pixels_of(whole))
        saved = io.BytesIO()
        live.figure.savefig(saved, format="png")  # all of it is also there for matplotlib
        saved.seek(0)
        assert np.abs(matplotlib.image.imread(saved) - pixels_of(live)).mean() < 0.01


def test_the_loss_fits_whatever_it_is():
    for loss in (1e-4, 0.3, 1.09, 1.7, 40.0):
        records = [Record(1.0, loss, 0.3, math.nan, 1.0, loss, 0.3)]
        bottom, top = d2l.History(records).plot().figure.axes[0].get_ylim()
        assert bottom == 0
        assert 1.02 * loss <= top <= max(2.1 * loss, 0.021)


def chance(picture) -> float:
    return picture.chance.get_ydata()[0]


def test_chance_is_that_of_the_classes(notebook, vocab, toy_pairs):
    data = d2l.SNLIBERTDataset((*toy_pairs[:2], [0, 1] * 120), SIZES["max_len"], vocab)
    two = d2l.BERTClassifier(d2l.BERTModel(len(vocab), dropout=0.1, **SIZES), num_classes=2)
    history = d2l.finetune(two, data, None, num_epochs=1, batch_size=64)
    assert chance(history.plot()) == 1 / 2
    assert chance(d2l.History(RECORDS).plot()) == 1 / 3


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch):
        self.now = 1.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def steps(self, shown: Progress, seconds: float, num_steps: int) -> None:
        for _ in range(num_steps):
            self.now += seconds
            epoch = self.now / 1000
            shown.advance(lambda epoch=epoch: Record(epoch, 1.0, 0.3, math.nan, 1.0, 1.0, 0.3))


def epochs_shown(notebook) -> list[float]:
    alts = (re.search(r"; after ([\d.]+):", b["text/html"]) for b in notebook.shown)
    return [float(found[1]) for found in alts if found]


@pytest.mark.parametrize(("step", "pictures"), [(0.01, 13), (0.25, 11), (3.0, 10)])
def test_pictures_come_by_the_clock_or_with_every_longer_step(
    notebook, monkeypatch, step, pictures
):
    history, clock = d2l.History(), Clock(monkeypatch)
    with Progress(LivePlot(1), 1000, history) as shown:
        clock.steps(shown, step, 1)
        assert len(epochs_shown(notebook)) == 1, "the first step is seen at once"
        clock.steps(shown, step, round(10 / step) if step < 1 else 9)
        assert len(epochs_shown(notebook)) == pictures
    assert history.records == [], "what is shown between two rows is not kept"


def test_a_picture_that_takes_long_is_drawn_less_often(notebook, monkeypatch):
    clock, spent = Clock(monkeypatch), 0.0
    update = LivePlot.update

    def slow_update(*arguments):
        nonlocal spent
        clock.now, spent = clock.now + 0.2, spent + 0.2
        update(*arguments)

    monkeypatch.setattr(LivePlot, "update", slow_update)
    with Progress(LivePlot(1), 1000, d2l.History()) as shown:
        clock.steps(shown, 0.01, 10_000)
        assert 0.03 < spent / clock.now < 0.06


def test_a_provisional_point_is_the_mean_since_the_last_row(notebook, monkeypatch, net, vocab):
    seams.every_step_is_drawn()
    seen = []
    monkeypatch.setattr(LivePlot, "update", lambda self, history: seen.append(history.columns()))
    pairs = (["a b c"] * 400, ["a"] * 200 + ["b"] * 200, [0] * 200 + [1] * 200)
    data = d2l.SNLIBERTDataset(pairs, SIZES["max_len"], vocab)
    history = d2l.finetune(net, data, None, num_epochs=1, batch_size=4, precision="fp32")
    *provisional, last = seen
    assert len(provisional) == 100, "a picture for each of the steps"
    assert last == history.columns()
    assert len(history.records) == 20
    ends = [columns["epoch"][-1] for columns in provisional]
    assert ends == [step / 100 for step in range(1, 101)]
    by_step = [columns["loss"][-1] for columns in provisional]
    for i, loss in enumerate(history.column("loss")):
        assert loss == by_step[5 * i + 4], "a row is what its last provisional point was"
        steps = [by_step[5 * i + k] * (k + 1) for k in range(5)]  # sums of the steps' means
        means = [b - a for a, b in zip([0.0, *steps], steps, strict=False)]
        assert loss == pytest.approx(sum(means) / 5)


def test_a_run_in_a_notebook_draws_its_last_point(notebook, net, toy_pairs, vocab):
    data = d2l.SNLIBERTDataset(toy_pairs, SIZES["max_len"], vocab)
    history = d2l.finetune(net, data, data, num_epochs=2, batch_size=16)
    (last,) = re.findall(r'alt="([^"]*)"', notebook.shown[-1]["text/html"])
    assert re.search(rf"after 2.0: train loss from \d.\d+ to {history.last('loss'):.3f}", last)
    assert last.endswith(f" to {history.last('dev_acc'):.3f}.")


def test_without_the_plot_only_the_bar_is_shown(notebook, net, toy_pairs, vocab, capsys):
    data = d2l.SNLIBERTDataset(toy_pairs, SIZES["max_len"], vocab)
    d2l.finetune(net, data, data, num_epochs=1, batch_size=16, plot=False)
    assert notebook.shown == []
    assert "minibatches" in capsys.readouterr().out


def test_outside_a_notebook_nothing_is_shown(capsys):
    plot = LivePlot(2)
    plot.update(d2l.History(RECORDS))
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
        "print({'matplotlib', 'IPython', 'ipywidgets', 'requests'} "
        "& (set(sys.modules) - before))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
