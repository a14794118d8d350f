"""The live plot and the progress bar of a training run."""

import importlib
import io
import math
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
from tqdm import tqdm

from ..history import History, Record
from .charts import Picture, in_notebook
from .colors import color_of

_TITLE = "Loss and accuracy by epoch"
_SHOW_EVERY = 0.8  # seconds between two redraws of the live plot
_MOST_SHARE = 0.05  # of the run time may go into the live plot


if in_notebook():  # the import takes half a second, so begin before the first plot
    threading.Thread(
        target=importlib.import_module, args=["matplotlib.backends.backend_agg"], daemon=True
    ).start()


class HistoryPicture(Picture):
    """A run's loss (left) and accuracies (right), on the training pairs and perhaps on a split.

    Only the lines are redrawn for each picture; the rest is drawn once.
    """

    def __init__(self, num_epochs: float, split: str | None = "dev"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 3.4), dpi=100, facecolor="white")
        self.canvas, self.background = FigureCanvasAgg(figure), None
        figure.subplots_adjust(left=0.09, right=0.98, bottom=0.15, top=0.81, wspace=0.2)
        figure.suptitle(_TITLE, x=0.01, ha="left", fontsize="medium", fontweight="bold")
        left, right = figure.subplots(1, 2)
        points = dict(marker="o", markersize=4, clip_on=False, animated=True)  # drawn by png()
        train = dict(color=color_of("train"), markevery=[-1], **points)
        self.lines = {
            "loss": left.plot([], "-", label="train loss", **train)[0],
            "train_acc": right.plot([], "--", label="train acc", **train)[0],
        }
        if split:
            (line,) = right.plot([], "-", color=color_of(split), label=f"{split} acc", **points)
            self.lines["dev_acc"] = line
        dotted = dict(color="0.3", linestyle=":", linewidth=1)
        self.chance = right.axhline(1 / 3, label="chance", **dotted)
        for axes, name, top in ((left, "loss", 1.2), (right, "accuracy", 1.0)):
            axes.set(xlabel="epoch", ylabel=name, xlim=(0, num_epochs), ylim=(0, top))
            axes.grid(alpha=0.3)
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, frameon=False)
        super().__init__(figure, f"{_TITLE}; training has not begun.")

    def draw(self, history: History) -> None:
        """Draw the curves of a run, and describe where they end."""
        ends = []
        for name, line in self.lines.items():
            curve = history.curve(name)
            line.set_data(list(curve), list(curve.values()))
            if curve:
                first, last = next(iter(curve.values())), history.last(name)
                ends.append(f"{line.get_label()} from {first:.3f} to {last:.3f}")
        finite = filter(math.isfinite, history.column("loss"))
        self._fit(max(finite, default=1.0), 1 / history.num_classes)
        if history.records:
            self.description = f"{_TITLE}; after {history.epoch:.1f}: {', '.join(ends)}."

    def _fit(self, highest_loss: float, chance: float) -> None:
        """Set the range of the loss, rarely because all is then redrawn, and the line of chance."""
        axes = self.figure.axes[0]
        top = axes.get_ylim()[1]
        if not 1.02 * highest_loss <= top <= 2.1 * max(highest_loss, 0.01):
            top = 1.2 * max(highest_loss, 0.01)
        if (axes.get_ylim()[1], self.chance.get_ydata()[0]) != (top, chance):
            axes.set_ylim(0, top)
            self.chance.set_ydata([chance, chance])
            self.background = None

    def png(self) -> bytes:
        """Return a PNG file; the background is redrawn only if it has changed."""
        from matplotlib.image import imsave

        if self.background is None:
            self.canvas.draw()
            self.background = self.canvas.copy_from_bbox(self.figure.bbox)
        self.canvas.restore_region(self.background)
        for line in self.lines.values():
            line.axes.draw_artist(line)
        file = io.BytesIO()
        fast = {"compress_level": 1}  # nine times as fast as the default of 6
        imsave(file, np.asarray(self.canvas.buffer_rgba()), format="png", pil_kwargs=fast)
        return file.getvalue()


class LivePlot:
    """Curves that grow while a network trains, in a notebook and if they are `wanted`."""

    def __init__(self, num_epochs: int, split: str | None = "dev", wanted: bool = True):
        self.shown = wanted and in_notebook()
        if not self.shown:
            return
        from IPython.display import display

        self.picture = HistoryPicture(num_epochs, split)
        self.handle = display(self._mime_bundle(), raw=True, display_id=True)

    def update(self, history: History) -> None:
        """Draw the curves of a run."""
        if self.shown:
            self.picture.draw(history)
            self.handle.update(self._mime_bundle(), raw=True)

    def _mime_bundle(self) -> dict[str, str]:
        return {"text/html": self.picture._repr_html_(), "text/plain": repr(self.picture)}


class Progress:
    """A run's progress bar and live plot; `keep` is called with the history at every new point.

    Between two points, the plot shows provisional ones, which are not recorded; `pass_on` is called
    with them. As a context manager, it leaves all points visible after an error or an interrupt.
    With several ranks, only one is `shown`.
    """

    def __init__(
        self,
        plot: LivePlot,
        num_steps: int,
        history: History,
        keep: Callable[[History], None] | None = None,
        pass_on: Callable[[History], None] | None = None,
        shown: bool = True,
    ):
        self.plot, self.history, self.keep, self.pass_on = plot, history, keep, pass_on
        self.next_redraw = 0.0 if shown and (plot.shown or pass_on) else math.inf
        self.bar = tqdm(
            total=num_steps,
            unit=" minibatches",
            file=sys.stdout if in_notebook() else sys.stderr,
            disable=not shown or (False if in_notebook() else None),
            ncols=100,
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self.plot.update(self.history)
        self.bar.close()

    def advance(self, provisional: Callable[[], Record]) -> None:
        """Move the bar by one minibatch; show a provisional point if a redraw is due."""
        self.bar.update()
        start = time.perf_counter()
        if start < self.next_redraw:
            return
        seen = self.history.with_provisional(provisional())
        self.plot.update(seen)
        if self.pass_on:
            self.pass_on(seen)
        end = time.perf_counter()
        self.next_redraw = end + max(_SHOW_EVERY, (end - start) / _MOST_SHARE)

    def report(self, record: Record) -> None:
        """Add a point to the run's history."""
        self.history.records.append(record)
        note = f"{self.history.precision}, {record.means()}"
        self.bar.set_postfix_str(note, refresh=False)
        if self.keep:
            self.keep(self.history)
