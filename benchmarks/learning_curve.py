"""Accuracy by the number of training pairs, and what of it is due to pretraining.

Three starts are fine-tuned by the same code on the same pairs: bert.tiny (`pretrained`), the
weights that its pretraining started from (`untrained`), and bert.tiny with all of its weights fixed
(`frozen`). Of the last only the output layer is trained, a linear probe of the pooled `<cls>`; the
encoder and the pooler stay as they were pretrained, and dropout is on in training as for the
others. `hypothesis_only` is bert.tiny on pairs whose premise is a full stop. The learning rate is
the best on the dev split among a few, at each number of pairs and with the first seed; the test
split is read with that one only.
"""

import time
from pathlib import Path

import numpy as np

import d2lnli as d2l

from . import tiny
from .measure import markdown

COLUMNS = ("pairs", "start", "lr", "seed", "dev", "test", "seconds")
RATES = {
    "pretrained": (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3),
    "untrained": (5e-4, 1e-3, 2e-3, 4e-3),
    "frozen": (3e-3, 1e-2, 3e-2, 1e-1),  # one layer wants larger steps
    "hypothesis_only": (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3),
}


def cell(num_pairs: int, start: str, scale: tiny.Scale) -> list[tuple]:
    """Return the rows of a number of pairs and a start: one for each seed, and their mean."""
    premises = start != "hypothesis_only"
    train_set = tiny.dataset("train", most=num_pairs, premises=premises)
    dev, test = (
        tiny.dataset(split, most=scale.most, premises=premises) for split in ("dev", "test")
    )

    def run(lr: float, seed: int) -> tuple[float, float, d2l.BERTClassifier]:
        began = time.perf_counter()
        net = tiny.fine_tune(train_set, seed, start, lr=lr, num_epochs=scale.num_epochs)
        took = time.perf_counter() - began
        return d2l.evaluate(net, dev).accuracy, took, net

    first, *more = scale.seeds
    tried = {lr: run(lr, first) for lr in RATES[start]}
    lr = max(tried, key=lambda lr: tried[lr][0])
    runs = [tried[lr], *(run(lr, seed) for seed in more)]
    numbers = [(on_dev, d2l.evaluate(net, test).accuracy, took) for on_dev, took, net in runs]
    numbers.append(tuple(np.mean(numbers, axis=0)))
    return [
        (num_pairs, start, f"{lr:g}", seed, f"{on_dev:.4f}", f"{on_test:.4f}", f"{took:.1f}")
        for seed, (on_dev, on_test, took) in zip((*scale.seeds, "mean"), numbers, strict=True)
    ]


def write(folder: Path, scale: tiny.Scale) -> None:
    """Train the whole grid, what takes longest first, and write `learning_curve.csv`."""
    calls = [(n, start, scale) for n in sorted(scale.pairs, reverse=True) for start in RATES]
    table = []
    for rows in tiny.each(cell, calls, scale.jobs):
        table += rows
        print(*rows[-1], flush=True)
    table.sort(key=lambda row: row[0])  # the starts and seeds keep their order
    tiny.write_csv(folder / "learning_curve.csv", COLUMNS, table)


def shown(folder: Path) -> str:
    """Return the test accuracy as Markdown: a row for each number of pairs."""
    rows = tiny.read_csv(folder / "learning_curve.csv")
    means = {(row["pairs"], row["start"]): row["test"] for row in rows if row["seed"] == "mean"}
    lines = [
        [f"{int(n):,}", *(f"{float(means[n, start]):.3f}" for start in RATES)]
        for n in dict.fromkeys(n for n, _ in means)
    ]
    seeds = len({row["seed"] for row in rows}) - 1
    note = f"Test accuracy, mean of {seeds} seeds (`python -m benchmarks.scenes`)."
    return markdown(["training pairs", *RATES], lines, note)
