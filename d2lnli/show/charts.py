"""Static charts, and the source code of functions, for a notebook.

Charts draw numbers and know no networks. matplotlib and IPython are imported on first use.
"""

import base64
import html
import inspect
import io
import sys
from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any

import numpy as np

from .colors import color_of


class Picture:
    """A matplotlib figure with a description for readers who cannot see it."""

    def __init__(self, figure, description: str):
        self.figure, self.description = figure, description

    def __repr__(self) -> str:
        return "<Picture>"

    def _repr_html_(self) -> str:
        """Return an `<img>` tag, because JupyterLab drops the description of other images."""
        data = base64.b64encode(self.png()).decode("ascii")
        alt = html.escape(self.description)
        return f'<img alt="{alt}" style="max-width:100%" src="data:image/png;base64,{data}">'

    def png(self) -> bytes:
        """Return the figure as a PNG file."""
        from matplotlib.text import Text

        file = io.BytesIO()
        for text in self.figure.findobj(Text):
            text.set_parse_math(False)  # dollar signs in a word do not mark a formula
        self.figure.savefig(file, format="png", dpi=100)
        return file.getvalue()


def in_notebook() -> bool:
    """Return whether a Jupyter kernel runs this code, so that pictures can be updated."""
    kernel = sys.modules.get("ipykernel.zmqshell")
    if kernel is None:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return isinstance(shell, kernel.ZMQInteractiveShell)  # or a subclass, such as Colab's


def bar_chart(
    values: Mapping[str, float], xlabel: str, number: str = ".2f", title: str = ""
) -> Picture:
    """Draw a bar for each name, from top to bottom, with its number beside it.

    `number` is the format of the numbers. For intervals, and for several seeds, use `dot_chart`.
    """
    figure, axes = _subplots(values, 0.34 * len(values) + 0.9)
    colors = [color_of(name) for name in values]
    axes.barh(list(values), list(values.values()), color=colors)
    axes.axvline(0, color="black", linewidth=0.8)
    for row, value in enumerate(values.values()):
        beyond = dict(xytext=(4, 0), ha="left") if value >= 0 else dict(xytext=(-4, 0), ha="right")
        label = f"{value:{number}}"
        axes.annotate(label, (value, row), textcoords="offset points", va="center", **beyond)
    axes.spines[["top", "right"]].set_visible(False)
    axes.invert_yaxis()
    axes.margins(x=0.12, y=0.3 / len(values))
    _stay_within_0_and_1(axes, "x", list(values.values()))
    axes.set(xlabel=xlabel)
    _caption(figure, title, {})
    listed = ", ".join(f"{name} {value:{number}}" for name, value in values.items())
    return _picture(figure, title, f"Bar chart of {xlabel}: {listed}.")


def line_chart(
    lines: Mapping[str, Mapping[float, float | tuple[float, float, float]]],
    xlabel: str,
    ylabel: str,
    reference: tuple[str, float] | None = None,
    log_x: bool = False,
    title: str = "",
) -> Picture:
    """Draw a line for each name through its points `{x: y}`, or `{x: (y, low, high)}`.

    Lines differ in colour, dashes and markers; `reference` is a dotted horizontal line (name, y).
    `log_x` spaces the horizontal axis by ratios, with ticks at the points.
    """
    figure, axes = _subplots(lines, 3.4)
    many = max(map(len, lines.values())) > 40
    summaries: list[str] = []
    drawn: list[float] = []
    for i, (name, given) in enumerate((name, points) for name, points in lines.items() if points):
        points = {x: y if isinstance(y, tuple) else (y, y, y) for x, y in given.items()}
        ys, lows, highs = zip(*points.values(), strict=True)
        xs, color = list(points), color_of(name, i)
        style = {"linestyle": ("-", "--", "-.", ":", (0, (5, 1)))[i % 5], "clip_on": False}
        marker = "" if many else "os^Dv"[i % 5]
        axes.plot(xs, ys, marker=marker, label=name, color=color, **style)
        if lows != highs:
            axes.fill_between(xs, lows, highs, color=color, alpha=0.15, linewidth=0)
        drawn += [*lows, *highs]
        summaries.append(f"{name} {_points_in_words(points, many)}")
    if reference:
        axes.axhline(reference[1], color="0.3", linestyle=":", label=reference[0])
        summaries.append("dotted line, {} {:.3g}".format(*reference))
    _stay_within_0_and_1(axes, "y", drawn)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if log_x:
        ticks = sorted({x for points in lines.values() for x in points})
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{x:,}" for x in ticks])
        axes.minorticks_off()
    elif all(float(x).is_integer() for points in lines.values() for x in points):
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    _caption(figure, title, {line.get_label(): line for line in axes.lines})
    described = f"Lines of {ylabel} against {xlabel}: {'; '.join(summaries)}."
    return _picture(figure, title, described)


def dot_chart(
    series: Mapping[str, Mapping[str, Sequence[float] | tuple[float, float, float]]],
    xlabel: str,
    reference: tuple[str, float] | None = None,
    title: str = "",
) -> Picture:
    """Draw dots in named rows, from top to bottom; `series` gives for each series its rows.

    A row has a list of numbers, a dot for each, or a tuple (x, low, high), a dot with its interval.
    Series differ in colour and marker; `reference` is a dotted vertical line (name, x).
    """
    rows = list(dict.fromkeys(row for values in series.values() for row in values))
    figure, axes = _subplots(rows, (0.16 + 0.14 * len(series)) * len(rows) + 1.1)
    summaries: list[str] = []
    drawn: list[float] = []
    for i, (name, values) in enumerate(series.items()):
        color = color_of(name, i)
        for row, found in values.items():
            beside = [other for other, its_rows in series.items() if row in its_rows]
            y = rows.index(row) + 0.7 * ((beside.index(name) + 0.5) / len(beside) - 0.5)
            xs = [found[0]] if isinstance(found, tuple) else found
            style = {"linestyle": "", "marker": "os^Dv"[i % 5], "color": color}
            axes.plot(xs, [y] * len(xs), label=name, clip_on=False, zorder=3, **style)
            listed = ", ".join(f"{x:.3f}" for x in xs)
            if isinstance(found, tuple):
                axes.hlines(y, *found[1:], color=color)
                listed += " ({:.3f} to {:.3f})".format(*found[1:])
            drawn += found
            summaries.append(f"{name}, {row}: {listed}")
    if reference:
        axes.axvline(reference[1], color="0.3", linestyle=":", label=reference[0])
        summaries.append("dotted line, {}: {:.3f}".format(*reference))
    _stay_within_0_and_1(axes, "x", drawn)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel=xlabel, ylim=(len(rows) - 0.5, -0.5))
    axes.grid(axis="x", alpha=0.3)
    for between in range(1, len(rows)):
        axes.axhline(between - 0.5, color="0.9", linewidth=0.8)
    handles, names = axes.get_legend_handles_labels()
    _caption(figure, title, dict(zip(names, handles, strict=True)))
    return _picture(figure, title, f"Dots of {xlabel}; {'; '.join(summaries)}.")


def heat_map(
    matrix: Sequence[Sequence[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    ylabel: str,
    xlabel: str,
    numbers: bool = False,
    counts: Sequence[Sequence[int]] | None = None,
    title: str = "",
) -> Picture:
    """Draw a matrix of numbers from 0 (white) to 1 (dark), with a name for each row and column.

    `numbers` writes each number into its cell, and `counts` writes a second one beside it.
    """
    numbers = numbers or counts is not None
    figure, axes = _subplots(matrix, 1.2 + (0.5 if numbers else 0.26) * max(len(rows), 3))
    aspect = "auto" if numbers else "equal"
    image = axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1, aspect=aspect)
    axes.set_xticks(range(len(columns)), columns, rotation=0 if numbers else 90)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    figure.colorbar(image)
    _caption(figure, title, {})
    cells = dict(np.ndenumerate(np.asarray(matrix)))
    written = {cell: f"{value:.2f}" for cell, value in cells.items()}
    if counts is not None:
        written = {cell: f"{text} ({counts[cell[0]][cell[1]]:,})" for cell, text in written.items()}
    for (i, j), text in written.items() if numbers else ():
        color = "white" if cells[i, j] > 0.72 else "black"
        axes.text(j, i, text, ha="center", va="center", color=color)
    if numbers:
        listed = ", ".join(f"{rows[i]} and {columns[j]} {written[i, j]}" for i, j in cells)
    else:
        largest = enumerate(np.argmax(matrix, axis=1))
        listed = ", ".join(f"{rows[i]} and {columns[j]} {written[i, j]}" for i, j in largest)
        listed = f"the largest of each row, {listed}"
    return _picture(figure, title, f"Heat map, {ylabel} against {xlabel}: {listed}.")


def padding_chart(batches: Mapping[str, tuple[Sequence[int], int]], title: str = "") -> Picture:
    """Draw minibatches side by side, with a bar for each pair: its tokens, then its padding.

    `batches` gives, for each name, every pair's number of tokens and the padded length.
    """
    figure, panels = _subplots(batches, 3.2, ncols=len(batches), sharex=True, squeeze=False)
    shares = {}
    for axes, (name, (lens, width)) in zip(panels[0], batches.items(), strict=True):
        rows, padding = range(len(lens)), [width - length for length in lens]
        axes.barh(rows, lens, height=1, color=color_of("tokens"), label="tokens")
        axes.barh(rows, padding, left=lens, height=1, color="0.85", hatch="///", label="padding")
        shares[name] = f"{name}: {100 * sum(padding) / (width * len(lens)):.0f} % padding"
        axes.set_title(shares[name].replace(": ", "\n"), fontsize="medium")
        axes.set_xlabel("position")
    panels[0, 0].set_ylabel("pair of the minibatch")
    handles, names = axes.get_legend_handles_labels()
    _caption(figure, title, dict(zip(names, handles, strict=True)))
    described = f"Minibatches drawn pair by pair; {'; '.join(shares.values())}."
    return _picture(figure, title, described)


def _points_in_words(points: Mapping[float, tuple[float, float, float]], many: bool) -> str:
    """Return the points of a line as text; of many points, the first, the highest and the last."""
    highest, words = max(points, key=lambda x: points[x][0]), []
    for x in dict.fromkeys((min(points), highest, max(points))) if many else points:
        y, low, high = points[x]
        words.append(f"{y:.3g} at {x:g}" + (f" ({low:.3g} to {high:.3g})" if low < high else ""))
    return ", ".join(words)


def _stay_within_0_and_1(axes: Any, axis: str, drawn: Sequence[float]) -> None:
    """Show no numbers below 0 or above 1 on an axis of shares, where there can be none."""
    if min(drawn, default=-1) >= 0 and max(drawn, default=2) <= 1:
        low, high = getattr(axes, f"get_{axis}lim")()
        axes.set(**{f"{axis}lim": (max(low, 0), min(high, 1))})


def _caption(figure: Any, title: str, legend: Mapping[str, Any]) -> None:
    """Write the title above a figure, and below it the legend if there is more to name."""
    if len(legend) > 1 or (legend and not title):
        columns = 4 if len("".join(legend)) < 60 else 2
        figure.legend(
            legend.values(), legend, title=title, loc="outside upper left", ncols=columns,
            frameon=False, alignment="left", title_fontproperties={"weight": "bold"},
        )  # fmt: skip
    elif title:
        figure.suptitle(title, x=0.01, ha="left", fontsize="medium", fontweight="bold")


def _picture(figure: Any, title: str, described: str) -> Picture:
    """Separate the thousands on the axes, and begin the description with the title."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if max(axis.get_view_interval()) >= 1000 and axis.get_scale() == "linear":
                axis.set_major_formatter("{x:,.0f}")
    return Picture(figure, f"{title}. {described}" if title else described)


def _subplots(content: Sized, height: float, **options: Any):
    """Return a white figure of the notebooks' width, and its axes; ValueError without content."""
    from matplotlib.figure import Figure

    if not len(content):
        raise ValueError("there is nothing to draw: give at least one name and one number")
    figure = Figure(figsize=(8, height), facecolor="white", layout="constrained")
    return figure, figure.subplots(**options)


def show_source(obj: Callable | type) -> None:
    """Show the source code of a function or class, straight from its module."""
    from IPython.display import Markdown, display

    display(Markdown(f"```python\n{inspect.getsource(obj)}```"))
