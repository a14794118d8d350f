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
        return f'<img alt="{alt}" src="data:image/png;base64,{data}">'

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


def bar_chart(values: Mapping[str, float], xlabel: str, number: str = ".2f") -> Picture:
    """Draw a bar for each name, from top to bottom, with its number beside it.

    `number` is the format of the numbers. For intervals, and for several seeds, use `dot_chart`.
    """
    figure, axes = _subplots(values, 0.34 * len(values) + 0.9)
    axes.barh(list(values), list(values.values()), color="C0")
    for row, value in enumerate(values.values()):
        bar_end = max(value, 0), row
        label = axes.annotate(f"{value:{number}}", bar_end, (4, 0), textcoords="offset points")
        label.set(va="center", bbox=dict(facecolor="white", edgecolor="none", pad=1))
    axes.invert_yaxis()
    axes.margins(x=0.12, y=0.3 / len(values))
    axes.set(xlabel=xlabel)
    listed = ", ".join(f"{name} {value:{number}}" for name, value in values.items())
    return Picture(figure, f"Bar chart of {xlabel}: {listed}.")


def line_chart(
    lines: Mapping[str, Mapping[float, float | tuple[float, float, float]]],
    xlabel: str,
    ylabel: str,
    reference: tuple[str, float] | None = None,
    log_x: bool = False,
) -> Picture:
    """Draw a line for each name through its points `{x: y}`, or `{x: (y, low, high)}`.

    Lines differ in colour, dashes and markers; `reference` is a dotted horizontal line (name, y).
    `log_x` spaces the horizontal axis by ratios, with ticks at the points.
    """
    figure, axes = _subplots(lines, 3.4)
    lines, summaries = {name: points for name, points in lines.items() if points}, []
    many = max(map(len, lines.values()), default=0) > 40
    for i, (name, points) in enumerate(lines.items()):
        xs = list(points)
        ranges = (y if isinstance(y, tuple) else (y, y, y) for y in points.values())
        ys, lows, highs = zip(*ranges, strict=True)
        style = {"linestyle": ("-", "--", "-.", ":", (0, (5, 1)))[i % 5], "color": f"C{i}"}
        axes.plot(xs, ys, marker="" if many else "os^Dv"[i % 5], label=name, **style)
        if lows != highs:
            axes.fill_between(xs, lows, highs, color=f"C{i}", alpha=0.15, linewidth=0)
        listed = [0, -1] if many else range(len(xs))
        summaries.append(f"{name} {', '.join(f'{ys[j]:.3g} at {xs[j]:g}' for j in listed)}")
    if reference:
        axes.axhline(reference[1], color="0.3", linestyle=":", label=reference[0])
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if log_x:
        ticks = sorted({x for points in lines.values() for x in points})
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{x:,}" for x in ticks])
        axes.minorticks_off()
    elif all(float(x).is_integer() for points in lines.values() for x in points):
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    columns = 3 if len(axes.lines) > 4 else 4
    figure.legend(loc="outside upper center", ncols=columns, frameon=False)
    return Picture(figure, f"Lines of {ylabel} against {xlabel}: {'; '.join(summaries)}.")


def dot_chart(
    series: Mapping[str, Mapping[str, Sequence[float] | tuple[float, float, float]]],
    xlabel: str,
    reference: tuple[str, float] | None = None,
) -> Picture:
    """Draw dots in named rows, from top to bottom; `series` gives for each series its rows.

    A row has a list of numbers, a dot for each, or a tuple (x, low, high), a dot with its interval.
    Series differ in colour and marker; `reference` is a dotted vertical line (name, x).
    """
    rows = list(dict.fromkeys(row for values in series.values() for row in values))
    figure, axes = _subplots(rows, (0.16 + 0.14 * len(series)) * len(rows) + 1.1)
    summaries = []
    for i, (name, values) in enumerate(series.items()):
        for row, found in values.items():
            beside = [other for other, its_rows in series.items() if row in its_rows]
            y = rows.index(row) + 0.7 * ((beside.index(name) + 0.5) / len(beside) - 0.5)
            xs = [found[0]] if isinstance(found, tuple) else found
            style = {"linestyle": "", "marker": "os^Dv"[i % 5], "color": f"C{i}"}
            axes.plot(xs, [y] * len(xs), label=name, **style)
            listed = ", ".join(f"{x:.3f}" for x in xs)
            if isinstance(found, tuple):
                axes.hlines(y, *found[1:], color=f"C{i}")
                listed += " ({:.3f} to {:.3f})".format(*found[1:])
            summaries.append(f"{name}, {row}: {listed}")
    if reference:
        axes.axvline(reference[1], color="0.3", linestyle=":", label=reference[0])
        summaries.append("dotted line, {}: {:.3f}".format(*reference))
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel=xlabel, ylim=(len(rows) - 0.5, -0.5))
    axes.grid(axis="x", alpha=0.3)
    for between in range(1, len(rows)):
        axes.axhline(between - 0.5, color="0.9", linewidth=0.8)
    handles, names = axes.get_legend_handles_labels()
    by_name = dict(zip(names, handles, strict=True))
    columns = 4 if len("".join(by_name)) < 60 else 2
    figure.legend(
        by_name.values(), by_name, loc="outside upper center", ncols=columns, frameon=False
    )
    return Picture(figure, f"Dots of {xlabel}; {'; '.join(summaries)}.")


def heat_map(
    matrix: Sequence[Sequence[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    ylabel: str,
    xlabel: str,
    numbers: bool = False,
) -> Picture:
    """Draw a matrix of numbers from 0 (white) to 1 (dark), with a name for each row and column."""
    figure, axes = _subplots(matrix, 1.2 + (0.5 if numbers else 0.26) * max(len(rows), 3))
    aspect = "auto" if numbers else "equal"
    image = axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1, aspect=aspect)
    axes.set_xticks(range(len(columns)), columns, rotation=0 if numbers else 90)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    figure.colorbar(image)
    cells = dict(np.ndenumerate(np.asarray(matrix)))
    for (i, j), value in cells.items() if numbers else ():
        color = "white" if value > 0.72 else "black"
        axes.text(j, i, f"{value:.2f}", ha="center", va="center", color=color)
    described = cells if numbers else [max(cells, key=cells.__getitem__)]
    listed = ", ".join(f"{rows[i]} and {columns[j]} {cells[i, j]:.2f}" for i, j in described)
    prefix = "" if numbers else "the largest, "
    return Picture(figure, f"Heat map, {ylabel} against {xlabel}: {prefix}{listed}.")


def padding_chart(batches: Mapping[str, tuple[Sequence[int], int]]) -> Picture:
    """Draw minibatches side by side, with a bar for each pair: its tokens, then its padding.

    `batches` gives, for each name, every pair's number of tokens and the padded length.
    """
    figure, panels = _subplots(batches, 3.2, ncols=len(batches), sharex=True, squeeze=False)
    shares = {}
    for axes, (name, (lens, width)) in zip(panels[0], batches.items(), strict=True):
        rows, padding = range(len(lens)), [width - length for length in lens]
        axes.barh(rows, lens, height=1, color="C0", label="tokens")
        axes.barh(rows, padding, left=lens, height=1, color="0.85", hatch="///", label="padding")
        shares[name] = f"{name}: {sum(padding) / (width * len(lens)):.0%} padding"
        axes.set_title(shares[name].replace(": ", "\n"), fontsize="medium")
        axes.set_xlabel("position")
    panels[0, 0].set_ylabel("pair of the minibatch")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return Picture(figure, f"Minibatches drawn pair by pair; {'; '.join(shares.values())}.")


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
