"""The table that notebook 04 reads: whole, consistent, and made by the program that is named."""

import csv
import re
from collections import defaultdict
from itertools import product
from pathlib import Path

import nbformat
import numpy as np
import pytest

import d2lnli as d2l
from benchmarks import tiny, truncation

ROOT = Path(__file__).parents[1]
with truncation.CSV.open(encoding="utf-8") as file:
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


def test_every_difference_that_the_notebook_quotes_is_in_the_table():
    notebook = nbformat.read(ROOT / "notebooks" / "04_truncation.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if "## Pros and cons" in cell.source)
    rows = re.findall(r"^\| `(\w+)` \|(.*)$", text, re.M)
    assert [name for name, _ in rows] and {name for name, _ in rows} == set(d2l.TRUNCATIONS)
    for name, row in rows:
        known = {
            f"{by_seed['all']['difference']:+.3f}"
            for (_, _, strategy), by_seed in CELLS.items()
            if strategy == name
        }
        quoted = re.findall(r"[+\N{MINUS SIGN}]0\.\d{3}", row)
        assert {number.replace("\N{MINUS SIGN}", "-") for number in quoted} <= known, name


def difference(trained, max_len, strategy):
    cell = CELLS[trained, max_len, strategy]["all"]
    return cell["low"], cell["difference"], cell["high"]


def test_what_the_notebook_concludes_follows_from_the_table():
    here, full = "at this max_len", "at full length"
    for max_len in (12, 16):
        low, gain, _ = difference(here, max_len, "head_tail")
        assert low > 0 and 0.03 < gain < 0.06
    assert difference(here, 16, "premise_only")[0] > 0
    assert difference(full, 12, "premise_only")[0] > 0 > difference(full, 24, "premise_only")[2]
    for trained in (here, full):
        assert difference(trained, 20, "proportional")[2] < 0
        assert difference(trained, 10, "head_tail")[2] < 0
        for max_len in (10, 12, 16, 20, 24, 32):
            assert difference(trained, max_len, "proportional")[0] < 0
            assert difference(trained, max_len, "hypothesis_only")[2] < 0
    assert difference(full, 12, "head_tail")[0] > 0
    assert max(difference(full, max_len, "head_tail")[2] for max_len in (20, 24)) < 0
    for name in ("proportional", "premise_only", "head_tail"):
        for max_len in (24, 32):
            low, _, high = difference(here, max_len, name)
            assert low < 0 < high
