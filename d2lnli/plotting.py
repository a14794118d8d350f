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

_CURVES = {
    "loss": ("loss", "train loss", "-", "C0"),
    "train_acc": ("accuracy", "train acc", "--", "C1"),
    "dev_acc": ("accuracy", "dev acc", "o-", "C2"),
}


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


class LivePlot:
    """Curves that grow while a network trains; outside a notebook it does nothing.

    A redraw is skipped whenever drawing would take more than 1.5 % of the time so far.
    """

    BUDGET = 0.015

    def __init__(self, num_epochs: int):
        self.shown = in_notebook()
        if not self.shown:
            return
        from IPython.display import display

        self.num_epochs = num_epochs
        self.picture = plot_history({"epoch": [], **{name: [] for name in _CURVES}}, num_epochs)
        self.handle = display(self._bundle(), raw=True, display_id=True)
        self.started, self.spent, self.last_cost = time.perf_counter(), 0.0, 0.0

    def update(self, columns: Columns, force: bool = False) -> None:
        """Draw the curves of `columns` if the time budget allows it, or if forced."""
        if not self.shown:
            return
        start = time.perf_counter()
        allowed = self.BUDGET * (start - self.started)
        if force or self.spent + self.last_cost <= allowed:
            _draw_curves(self.picture, columns, self.num_epochs)
            self.handle.update(self._bundle(), raw=True)
            self.last_cost = time.perf_counter() - start
            self.spent += self.last_cost

    def _bundle(self) -> dict[str, str]:
        return {"text/html": self.picture._repr_html_(), "text/plain": repr(self.picture)}


def plot_history(columns: Columns, num_epochs: float | None = None) -> Picture:
    """Draw a run's loss (left) and accuracies (right) against epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), facecolor="white")
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.16, top=0.86, wspace=0.2)
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.set(xlabel="epoch", ylabel=name)
        axes.grid(alpha=0.3)
        for quantity, label, style, color in _CURVES.values():
            if quantity == name:
                axes.plot([], [], style, color=color, label=label, markersize=4)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    figure.axes[1].axhline(1 / 3, color="0.4", linestyle=":", linewidth=1)
    figure.axes[1].text(0.99, 1 / 3, "chance", ha="right", va="bottom", color="0.3",
                        transform=figure.axes[1].get_yaxis_transform())  # fmt: skip
    picture = Picture(figure, "")
    epochs = columns["epoch"]
    _draw_curves(picture, columns, num_epochs or (epochs[-1] if epochs else 1))
    return picture


def _draw_curves(picture: Picture, columns: Columns, num_epochs: float) -> None:
    left, right = picture.figure.axes
    lines = {line.get_label(): line for axes in (left, right) for line in axes.lines}
    for name, (_, label, _, _) in _CURVES.items():
        points = [(x, y) for x, y in zip(columns["epoch"], columns[name], strict=True) if y == y]
        lines[label].set_data(*zip(*points, strict=True) if points else ([], []))
    finite = [loss for loss in columns["loss"] if math.isfinite(loss)]
    left.set(xlim=(0, num_epochs), ylim=(0, 1.05 * max(finite, default=1.2)))
    right.set(xlim=(0, num_epochs), ylim=(0, 1))
    picture.description = describe_run(columns)


def describe_run(columns: Columns) -> str:
    """Say in words where the curves of a run end."""
    if not columns["epoch"]:
        return "Loss and accuracy against epochs; training has not begun."
    ends = [
        f"{label} {next((y for y in reversed(columns[name]) if y == y), math.nan):.3f}"
        for name, (_, label, _, _) in _CURVES.items()
    ]
    return f"Loss and accuracy against epochs; after {columns['epoch'][-1]:.1f}: {', '.join(ends)}."


def show_source(obj: Callable | type) -> None:
    """Show the source code of a function or class of the package, straight from its module."""
    from IPython.display import Markdown, display

    display(Markdown(f"```python\n{inspect.getsource(obj)}```"))
