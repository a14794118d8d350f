"""The sample corpus: the grammar's pairs in SNLI 1.0's file layout."""

from itertools import groupby
from pathlib import Path

from .grammar import LABELS, Pair, make_pairs

SPLITS = {"dev": (2_000, 1), "test": (2_000, 2), "train": (10_000, 24)}  # labelled pairs, seed
DISPUTED_EVERY = 101  # one row in so many has no gold label
HEADER = (
    "gold_label sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse "
    "sentence1 sentence2 captionID pairID label1 label2 label3 label4 label5"
).split()


def make_splits(*names: str) -> dict[str, list[Pair]]:
    """Return the pairs of splits, in the order of `SPLITS`; no premise is in two of them."""
    splits: dict[str, list[Pair]] = {}
    for name in names:
        labelled, seed = SPLITS[name]
        taken = [pair.premise for pairs in splits.values() for pair in pairs]
        disputed = labelled // (DISPUTED_EVERY - 1)
        splits[name] = make_pairs(labelled + disputed, seed, exclude=taken)
    return splits


def binary_parse(tokens: list[str]) -> str:
    """Return a right-branching parse in brackets."""
    if len(tokens) == 1:
        return tokens[0]
    return " ".join(f"( {t}" for t in tokens[:-1]) + f" {tokens[-1]}" + " )" * (len(tokens) - 1)


def raw(sentence: str) -> str:
    """Return the sentence as a person would write it."""
    return sentence.replace(" ,", ",").replace(" .", ".")


def rows(pairs: list[Pair], split: str) -> list[list[str]]:
    """Return the rows of a split; the pairID ends with the phenomenon."""
    table: list[list[str]] = []
    for number, (_, group) in enumerate(groupby(pairs, key=lambda pair: pair.premise)):
        for k, pair in enumerate(group):
            caption, gold, votes = f"{split}{number}", pair.label, [pair.label, "", "", "", ""]
            if len(table) % DISPUTED_EVERY == DISPUTED_EVERY - 1:
                first = LABELS.index(pair.label)
                gold, votes = "-", [LABELS[(first + i) % 3] for i in range(5)]
            parses = [binary_parse(s.split()) for s in (pair.premise, pair.hypothesis)]
            trees = [f"(ROOT {parse})" for parse in parses]
            sentences = [raw(pair.premise), raw(pair.hypothesis)]
            names = [caption, f"{caption}r{k}.{pair.phenomenon}"]
            table.append([gold, *parses, *trees, *sentences, *names, *votes])
    return table


def write_corpus(folder: Path) -> None:
    """Write `snli_1.0_{train,dev,test}.txt` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, pairs in make_splits(*SPLITS).items():
        lines = ["\t".join(row) + "\n" for row in [HEADER, *rows(pairs, split)]]
        (folder / f"snli_1.0_{split}.txt").write_bytes("".join(lines).encode())
