"""The bundled corpus: its splits in SNLI 1.0's file layout."""

from itertools import groupby
from pathlib import Path

from .challenge import AUGMENT, CHALLENGE, KINDS, LEFT_OUT, make_challenge
from .claims import Pair
from .grammar import make_pairs

SEEDS = {"dev": 1, "test": 2, "challenge": 3, "augment": 4, "train": 24}
SIZES = {"dev": 2_000, "test": 2_000, "challenge": 960, "augment": 600, "train": 10_000}
HEADER = (
    "gold_label sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse "
    "sentence1 sentence2 captionID pairID label1 label2 label3 label4 label5"
).split()


def make_splits(*names: str) -> dict[str, list[Pair]]:
    """Return the pairs of splits, in the order of `SEEDS`; no sentence is in two of them."""
    splits: dict[str, list[Pair]] = {}
    for name in names:
        size, seed = SIZES[name], SEEDS[name]
        taken = {text for pairs in splits.values() for pair in pairs for text in pair[:2]}
        if name == "challenge":
            splits[name] = make_challenge([*KINDS], CHALLENGE, size, seed, taken)
        elif name == "augment":
            kinds = [kind for kind in KINDS if kind != LEFT_OUT]
            splits[name] = make_challenge(kinds, AUGMENT, size, seed, taken)
        else:
            splits[name] = make_pairs(size, seed, taken)
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
            parses = [binary_parse(s.split()) for s in (pair.premise, pair.hypothesis)]
            trees = [f"(ROOT {parse})" for parse in parses]
            sentences = [raw(pair.premise), raw(pair.hypothesis)]
            names = [caption, f"{caption}r{k}.{pair.phenomenon}"]
            table.append([gold, *parses, *trees, *sentences, *names, *votes])
    return table


def write_corpus(folder: Path) -> None:
    """Write `snli_1.0_{split}.txt` for each split into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, pairs in make_splits(*SEEDS).items():
        lines = ["\t".join(row) + "\n" for row in [HEADER, *rows(pairs, split)]]
        (folder / f"snli_1.0_{split}.txt").write_bytes("".join(lines).encode())
