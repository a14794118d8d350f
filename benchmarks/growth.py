"""How cost grows: speed and memory by the number of pairs, and speed by their length."""

import csv
import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from d2lnli import LABELS

from . import corpus
from .measure import in_new_process
from .speed import WHOSE, ChapterTraining, Scale, Setting, build_dataset, fine_tune, measured

COLUMNS = ("what", "by", "value", "whose", "number")
PANELS = {
    ("speed", "pairs"): ("training, pairs a second", "pairs in the corpus"),
    ("memory", "pairs"): ("building the dataset, peak MiB", "pairs in the corpus"),
    ("speed", "length"): ("training, pairs a second", "tokens in a pair"),
}


def speed_by_pairs(folder: Path, scale: Scale, num_pairs: int, whose: str) -> float:
    """Return pairs/s of training on a corpus of so many pairs, all held in memory.

    The package trains on the first 50,000 of them, the chapter's recipe on three minibatches.
    """
    setting = Setting(folder, replace(scale, epochs=1))
    pairs = corpus.made_pairs(setting.pairs, num_pairs)
    return _speed(setting, pairs, whose, most=50_000)


def memory_by_pairs(folder: Path, scale: Scale, num_pairs: int, whose: str) -> float:
    """Return the peak MiB of building a dataset of so many pairs."""
    scale = replace(scale, dataset_pairs=num_pairs)
    return measured(build_dataset, "memory", folder, scale, whose)


def speed_by_length(folder: Path, scale: Scale, length: int, whose: str) -> float:
    """Return pairs/s of training on pairs of just so many tokens, the special ones included."""
    setting, rng = Setting(folder, scale), np.random.default_rng(0)
    num_pairs = (1 + scale.steps) * scale.batch_size
    words = np.array([word for text in setting.pairs[0] for word in text.split()], dtype=object)
    hypothesis = length // 3
    premises, hypotheses = (
        [" ".join(rng.choice(words, count)) for _ in range(num_pairs)]
        for count in (length - 3 - hypothesis, hypothesis)
    )
    labels = rng.integers(0, len(LABELS), num_pairs).tolist()
    return _speed(setting, (premises, hypotheses, labels), whose, most=num_pairs)


def _speed(setting: Setting, pairs: corpus.Pairs, whose: str, most: int) -> float:
    few = tuple(part[: most if whose == "package" else 3 * setting.batch_size] for part in pairs)
    if whose == "chapter":
        return ChapterTraining(setting, setting.chapter_set(few)).train()
    dataset = setting.package_set(pairs)
    speed = fine_tune(setting, setting.package_set(few), "auto")
    del dataset
    return speed


def measure(folder: Path, scale: Scale) -> Iterator[tuple]:
    """Yield the rows of the CSV, each measured in a process of its own."""
    for by, values, measurements in (
        ("pairs", scale.growth, {"speed": speed_by_pairs, "memory": memory_by_pairs}),
        ("length", scale.lengths, {"speed": speed_by_length}),
    ):
        for value, whose, what in itertools.product(values, WHOSE, measurements):
            number = in_new_process(measurements[what], folder, scale, value, whose)
            yield what, by, value, whose, round(number, 1)


def write(rows: list[tuple], path: Path) -> None:
    """Write the rows as CSV and draw them beside it."""
    with path.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    draw(rows).savefig(path.with_suffix(".png"), dpi=100)


def draw(rows: list[tuple]) -> Figure:
    """Draw three panels: speed by pairs, memory by pairs, speed by length."""
    curves = defaultdict(list)
    for what, by, value, whose, number in rows:
        curves[what, by, whose].append((value, number))
    figure = Figure(figsize=(10, 3.4), facecolor="white")
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.16, top=0.9, wspace=0.28)
    for axes, (panel, (title, xlabel)) in zip(figure.subplots(1, 3), PANELS.items(), strict=True):
        for whose, style in zip(WHOSE, ("s--", "o-"), strict=True):
            label = "this package" if whose == "package" else "the chapter's recipe"
            values, numbers = zip(*curves[*panel, whose], strict=True)
            axes.plot(values, numbers, style, label=label)
        axes.set(xscale="log", yscale="log", title=title, xlabel=xlabel)
        axes.set_xticks(values, [f"{value:,}" for value in values])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.axes[0].legend(loc="center left", frameon=False)
    return figure
