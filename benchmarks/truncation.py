"""Dev accuracy by truncation strategy and max_len: the table that notebook 04 reads.

For each seed one classifier is trained on pairs of full length and tested on pairs that are cut;
and for each strategy and max_len one is trained and tested on pairs that are cut that way. All use
bert.tiny's recipe on the whole of the corpus. The CSV has a row for each seed and one for all of
them, each with its difference from longest_first on the same pairs. The intervals are wider than
those of a single comparison: all differences in the table hold together with 95 %.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np

import d2lnli as d2l

from . import tiny

COLUMNS = ("trained", "max_len", "strategy", "seed", "accuracy", "difference", "low", "high")
TRAINED = ("at full length", "at this max_len")
UNCUT = (tiny.FULL_LENGTH, "longest_first")
Cell = tuple[str, int, str]  # where it was trained, max_len, strategy


def grid(scale: tiny.Scale) -> list[tuple[int, str]]:
    """Return each (max_len, strategy) in the table's order, and last that no pair is cut."""
    return [*product(scale.max_lens, d2l.TRUNCATIONS), UNCUT]


def train_and_test(
    max_len: int, strategy: str, seed: int, scale: tiny.Scale
) -> dict[Cell, np.ndarray]:
    """Train on pairs that are cut in one way; return which dev pairs were right.

    What is trained at full length is tested on pairs that are cut in every way.
    """
    cut = dict(most=scale.most, max_len=max_len, truncation=strategy)
    net = tiny.fine_tune(tiny.dataset("train", **cut), seed, num_epochs=scale.num_epochs)
    uncut = (max_len, strategy) == UNCUT
    trained, correct = TRAINED[not uncut], {}
    for length, way in grid(scale) if uncut else [(max_len, strategy)]:
        dev_set = tiny.dataset("dev", most=scale.most, max_len=length, truncation=way)
        correct[trained, length, way] = d2l.evaluate(net, dev_set).correct
    return correct


def rows(correct: dict[Cell, list[np.ndarray]], scale: tiny.Scale) -> Iterator[tuple]:
    """Yield the table's rows from which dev pairs were right, seed by seed."""
    comparisons = len(TRAINED) * len(scale.max_lens) * (len(d2l.TRUNCATIONS) - 1)
    for (max_len, strategy), trained in product(grid(scale), TRAINED):
        if by_seed := correct[trained, max_len, strategy]:
            reference = correct[trained, max_len, "longest_first"]
            seeds = *scale.seeds, "all"
            pairs = *zip(by_seed, reference, strict=True), (by_seed, reference)
            for seed, (ours, theirs) in zip(seeds, pairs, strict=True):
                numbers = np.mean(ours), *d2l.paired_difference(ours, theirs, comparisons)
                yield (trained, max_len, strategy, seed, *(f"{number:.4f}" for number in numbers))


def write(folder: Path, scale: tiny.Scale) -> None:
    """Train and test the whole grid with each seed, and write `truncation.csv`."""
    calls = [(*cut, seed, scale) for seed in scale.seeds for cut in grid(scale)]
    correct = defaultdict(list)
    for call, found in zip(calls, tiny.each(train_and_test, calls, scale.jobs), strict=True):
        for cell, right in found.items():
            correct[cell].append(right)
        print(*call[:3], f"{right.mean():.4f}", flush=True)
    tiny.write_csv(folder / "truncation.csv", COLUMNS, rows(correct, scale))
