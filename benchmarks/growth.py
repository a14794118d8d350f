"""How cost grows: speed and memory by the number of pairs, and speed by their length."""

import csv
import itertools
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch.utils.data import Subset

from d2lnli import LABELS

from . import corpus
from .measure import PeakMemory, in_new_process
from .speed import WHOSE, ChapterTraining, Scale, Setting, fine_tune

COLUMNS = ("by", "value", "whose", "pairs_per_sec", "peak_mib")


def train_on(folder: Path, scale: Scale, num_pairs: int, whose: str) -> tuple[float, float]:
    """Return pairs/s of training and peak MiB of data and training together.

    All pairs are held in memory; the package trains on the first 50,000 of them, the chapter's
    recipe on three minibatches.
    """
    setting = Setting(folder, replace(scale, epochs=1))
    return _train(setting, corpus.made_pairs(setting.pairs, num_pairs), whose)


def train_at_length(folder: Path, scale: Scale, length: int, whose: str) -> tuple[float, float]:
    """Return the same for pairs of just so many tokens, the special ones included."""
    setting, rng = Setting(folder, scale), np.random.default_rng(0)
    num_pairs = (1 + scale.steps) * scale.batch_size
    words = np.array([word for text in setting.pairs[0] for word in text.split()], dtype=object)
    hypothesis = length // 3
    premises, hypotheses = (
        [" ".join(rng.choice(words, count)) for _ in range(num_pairs)]
        for count in (length - 3 - hypothesis, hypothesis)
    )
    return _train(
        setting, (premises, hypotheses, rng.integers(0, len(LABELS), num_pairs).tolist()), whose
    )


def _train(setting: Setting, pairs: corpus.Pairs, whose: str) -> tuple[float, float]:
    with PeakMemory() as memory:
        if whose == "chapter":
            dataset = setting.chapter_set(pairs)
            few = Subset(dataset, range(min(3 * setting.batch_size, len(dataset))))
            speed = ChapterTraining(setting, few).train()
        else:
            dataset, few = setting.package_set(pairs), tuple(part[:50_000] for part in pairs)
            speed = fine_tune(setting, setting.package_set(few), "auto")
            del dataset
    return speed, memory.megabytes


def measure(folder: Path, scale: Scale) -> list[tuple]:
    """Return the rows of the CSV."""
    rows = []
    for num_pairs, whose in itertools.product(scale.growth, WHOSE):
        found = in_new_process(train_on, folder, scale, num_pairs, whose)
        rows.append(("pairs", num_pairs, whose, *(round(x, 1) for x in found)))
        print(*rows[-1], flush=True)
    for length, whose in itertools.product(scale.lengths, WHOSE):
        found = in_new_process(train_at_length, folder, scale, length, whose)
        rows.append(("length", length, whose, *(round(x, 1) for x in found)))
        print(*rows[-1], flush=True)
    return rows


def write(rows: list[tuple], path: Path) -> None:
    """Write the rows as CSV and draw them beside it."""
    with path.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    draw(rows).savefig(path.with_suffix(".png"), dpi=100)


def draw(rows: list[tuple]) -> Figure:
    """Draw three panels: speed by pairs, memory by pairs, speed by length."""
    curves = defaultdict(list)
    for by, value, whose, speed, mebibytes in rows:
        curves[by, "speed", whose].append((value, speed))
        curves[by, "memory", whose].append((value, mebibytes))
    figure = Figure(figsize=(10, 3.4), facecolor="white")
    figure.subplots_adjust(left=0.07, right=0.99, bottom=0.16, top=0.84, wspace=0.28)
    panels = zip(
        figure.subplots(1, 3),
        (("pairs", "speed"), ("pairs", "memory"), ("length", "speed")),
        ("training, pairs a second", "peak memory, MiB", "training, pairs a second"),
        strict=True,
    )
    for axes, (by, what), title in panels:
        for whose, style in (("package", "o-"), ("chapter", "s--")):
            label = "this package (auto)" if whose == "package" else "the chapter's recipe"
            axes.plot(*zip(*curves[by, what, whose], strict=True), style, label=label)
        axes.set(xscale="log", yscale="log", title=title)
        axes.set_xlabel("pairs in the corpus" if by == "pairs" else "tokens in a pair")
        axes.grid(alpha=0.3, which="both")
    figure.axes[0].legend(loc="center left", frameon=False)
    return figure
