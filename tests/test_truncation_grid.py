"""The table that notebook 04 reads: whole, consistent, and made by the program that is named."""

import csv
from collections import defaultdict
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import d2lnli as d2l
from benchmarks import tiny, truncation
from seams import RESULTS

ROOT = Path(__file__).parents[1]
with (RESULTS / "truncation.csv").open(encoding="utf-8") as file:
    ROWS = list(csv.DictReader(file))
CELLS = defaultdict(dict)
for row in ROWS:
    key = row["trained"], int(row["max_len"]), row["strategy"]
    CELLS[key][row["seed"]] = {name: float(row[name]) for name in truncation.COLUMNS[4:]}


def test_the_table_has_every_cell_with_every_seed():
    grid = product(("at full length", "at this max_len"), (10, 12, 16, 20, 24, 32), d2l.TRUNCATIONS)
    uncut = ("at full length", *truncation.UNCUT)
    assert set(CELLS) == {*grid, uncut}
    assert {tuple(seeds) for seeds in CELLS.values()} == {(*map(str, tiny.Scale().seeds), "all")}


def test_means_and_differences_follow_from_the_seeds():
    for (trained, max_len, strategy), by_seed in CELLS.items():
        book = CELLS[trained, max_len, "longest_first"]
        for seed, cell in by_seed.items():
            difference = cell["accuracy"] - book[seed]["accuracy"]
            assert cell["difference"] == pytest.approx(difference, abs=2e-4)
            assert cell["low"] <= cell["difference"] <= cell["high"], (strategy, seed)
        seeds = [cell["accuracy"] for seed, cell in by_seed.items() if seed != "all"]
        assert by_seed["all"]["accuracy"] == pytest.approx(np.mean(seeds), abs=1e-4)


def test_a_cell_of_the_table_can_be_made_again():
    cell = "at this max_len", 16, "head_tail"
    again = truncation.train_and_test(*cell[1:], 0, tiny.Scale())[cell].mean()
    kept = CELLS[cell]["0"]
    assert again == pytest.approx(kept["accuracy"], abs=0.03)
    assert again > CELLS["at this max_len", 16, "longest_first"]["all"]["accuracy"]


def difference(trained, max_len, strategy):
    cell = CELLS[trained, max_len, strategy]["all"]
    return cell["low"], cell["difference"], cell["high"]


def test_what_the_notebook_concludes_follows_from_the_table():
    """No strategy is better than the book's, and cutting the hypothesis alone is worse."""
    for trained, max_len in product(truncation.TRAINED, tiny.Scale().max_lens):
        for strategy in set(d2l.TRUNCATIONS) - {"longest_first"}:
            low, _, high = difference(trained, max_len, strategy)
            assert low < 0, (trained, max_len, strategy)
            worse = (strategy == "cut_hypothesis" and max_len < 32) or (strategy, max_len) == (
                "head_tail", 10,
            )  # fmt: skip
            assert (high < 0) == worse, (trained, max_len, strategy)
    largest = min(difference("at this max_len", n, "cut_hypothesis")[1] for n in (12, 16, 20))
    assert round(100 * largest) == -15
    assert round(100 * difference("at this max_len", 10, "head_tail")[1]) == -5
