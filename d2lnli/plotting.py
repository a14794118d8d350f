"""Pictures: the live plot of a run, still figures, and source code, for people to look at.

They know numbers, not networks. matplotlib and IPython are imported when first needed.
"""

import base64
import html
import inspect
import io
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence

Columns = Mapping[str, Sequence[float]]


class Picture:
    """A matplotlib figure that a notebook shows with a description for those who cannot see it."""

    def __init__(self, figure, description: str):
        self.figure, self.description = figure, description

    def __repr__(self) -> str:
        return "<Picture>"

    def _repr_html_(self) -> str:
        """An `<img>` tag: JupyterLab drops the description of images of other kinds."""
        png = io.BytesIO()
        self.figure.savefig(png, format="png", dpi=100)
        data = base64.b64encode(png.getvalue()).decode("ascii")
        alt = html.escape(self.description)
        return f'<img alt="{alt}" src="data:image/png;base64,{data}">'


def in_notebook() -> bool:
    """Tell whether a Jupyter kernel runs this code, so that pictures can be shown and updated."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return type(shell).__name__ == "ZMQInteractiveShell"


class HistoryPicture(Picture):
    """A run's loss (left) and its accuracies (right), on the training pairs and on a split."""

    def __init__(self, num_epochs: float, split: str = "dev"):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 3.2), facecolor="white")
        figure.subplots_adjust(left=0.07, right=0.98, bottom=0.16, top=0.86, wspace=0.2)
        left, right = figure.subplots(1, 2)
        self.lines = {
            "loss": left.plot([], "-", color="C0", label="train loss")[0],
            "train_acc": right.plot([], "--", color="C1", label="train acc")[0],
            "dev_acc": right.plot([], "o-", color="C2", label=f"{split} acc", markersize=4)[0],
        }
        for axes, name, top in ((left, "loss", 1.2), (right, "accuracy", 1.0)):
            axes.set(xlabel="epoch", ylabel=name, xlim=(0, num_epochs), ylim=(0, top))
            axes.grid(alpha=0.3)
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
        right.axhline(1 / 3, color="0.4", linestyle=":", linewidth=1)
        right.text(0.98 * num_epochs, 0.32, "chance", ha="right", va="top", color="0.3")
        super().__init__(figure, "Loss and accuracy against epochs; training has not begun.")

    def draw(self, columns: Columns) -> None:
        """Draw the curves of `columns` and say in words where they end."""
        ends = []
        for name, line in self.lines.items():
            points = [p for p in zip(columns["epoch"], columns[name], strict=True) if p[1] == p[1]]
            line.set_data(*zip(*points, strict=True) if points else ([], []))
            ends += [f"{line.get_label()} {points[-1][1]:.3f}"] if points else []
        finite = [loss for loss in columns["loss"] if math.isfinite(loss)]
        self.figure.axes[0].set_ylim(0, 1.05 * max(finite, default=1.2))
        if columns["epoch"]:
            epochs = f"Loss and accuracy against epochs; after {columns['epoch'][-1]:.1f}"
            self.description = f"{epochs}: {', '.join(ends)}."


class LivePlot:
    """Curves that grow while a network trains; outside a notebook it does nothing.

    A redraw is skipped whenever drawing would take more than 1.5 % of the time so far.
    """

    BUDGET = 0.015

    def __init__(self, num_epochs: int, split: str = "dev"):
        self.shown = in_notebook()
        if not self.shown:
            return
        from IPython.display import display

        self.picture = HistoryPicture(num_epochs, split)
        self.handle = display(self._bundle(), raw=True, display_id=True)
        self.started, self.spent, self.last_cost = time.perf_counter(), 0.0, 0.0

    def update(self, columns: Columns, force: bool = False) -> None:
        """Draw the curves of `columns` if the time budget allows it, or if forced."""
        if not self.shown:
            return
        start = time.perf_counter()
        if force or self.spent + self.last_cost <= self.BUDGET * (start - self.started):
            self.picture.draw(columns)
            self.handle.update(self._bundle(), raw=True)
            self.last_cost = time.perf_counter() - start
            self.spent += self.last_cost

    def _bundle(self) -> dict[str, str]:
        return {"text/html": self.picture._repr_html_(), "text/plain": repr(self.picture)}


def show_source(obj: Callable | type) -> None:
    """Show the source code of a function or class of the package, straight from its module."""
    from IPython.display import Markdown, display

    display(Markdown(f"```python\n{inspect.getsource(obj)}```"))
