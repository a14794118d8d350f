"""Accuracy by truncation strategy and max_len: the table that notebook 04 reads.

For each seed one classifier is trained on pairs of full length and tested on pairs that are cut;
and for each strategy and max_len one is trained and tested on pairs that are cut that way. All use
bert.tiny's recipe on the whole of SNLI-sample. The CSV is written anew after each seed: a row for
each seed and one for all of them, each with its difference from longest_first on the same pairs.

    python -m benchmarks.truncation [--seeds 0 1 …] [--max-lens 10 12 …] [--output FILE]
"""

import argparse
import contextlib
import csv
import io
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

import d2lnli as d2l

CSV = Path(__file__).with_suffix(".csv")
COLUMNS = ("trained", "max_len", "strategy", "seed", "accuracy", "difference", "low", "high")
FULL_LENGTH = 128


def load(split: str) -> tuple[list[str], list[str], list[int]]:
    """Return one split of the sample."""
    return d2l.read_snli(d2l.download_extract("SNLI-sample"), split)


def cut_pairs(pairs: tuple, max_len: int, strategy: str = "longest_first") -> d2l.SNLIBERTDataset:
    """Return pairs as a dataset, cut to `max_len`, without a word."""
    _, vocab = d2l.load_pretrained_model("bert.tiny")
    with contextlib.redirect_stdout(io.StringIO()):
        return d2l.SNLIBERTDataset(pairs, max_len, vocab, strategy)


def fine_tune(train_set: d2l.SNLIBERTDataset, seed: int) -> d2l.BERTClassifier:
    """Fine-tune bert.tiny with its recipe; the seed decides the new layer and the order of pairs.

    The dev split is not looked at: nothing is chosen by it.
    """
    torch.manual_seed(seed)
    net = d2l.BERTClassifier(d2l.load_pretrained_model("bert.tiny")[0])
    with contextlib.redirect_stderr(io.StringIO()):
        d2l.finetune(net, train_set, None, **d2l.recipe("bert.tiny"), seed=seed)
    return net


def rows(correct: dict[tuple, list[np.ndarray]], seeds: list[int]) -> list[tuple]:
    """Return the table's rows from which test pairs were right: (trained, max_len, strategy)."""
    table = []
    for (trained, max_len, strategy), by_seed in correct.items():
        reference = correct[trained, max_len, "longest_first"]
        for seed, ours, theirs in [
            *zip(seeds, by_seed, reference, strict=True),
            ("all", by_seed, reference),
        ]:
            difference = d2l.paired_difference(ours, theirs)
            numbers = (f"{number:.4f}" for number in (np.mean(ours), *difference))
            table.append((trained, max_len, strategy, seed, *numbers))
    return table


def main() -> None:
    """Train and test the whole grid and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--max-lens", type=int, nargs="+", default=[10, 12, 16, 20, 24, 32])
    parser.add_argument("--output", type=Path, default=CSV)
    args = parser.parse_args()
    train, test = load("train"), load("test")
    correct = defaultdict(list)
    for number, seed in enumerate(args.seeds, start=1):
        whole = fine_tune(cut_pairs(train, FULL_LENGTH), seed)
        for max_len in args.max_lens:
            for strategy in d2l.TRUNCATIONS:
                test_set = cut_pairs(test, max_len, strategy)
                same = fine_tune(cut_pairs(train, max_len, strategy), seed)
                for trained, net in (("at full length", whole), ("at this max_len", same)):
                    result = d2l.evaluate(net, test_set)
                    correct[trained, max_len, strategy].append(result.correct)
                    print(seed, trained, max_len, strategy, result, flush=True)
        uncut = d2l.evaluate(whole, cut_pairs(test, FULL_LENGTH))
        correct["at full length", FULL_LENGTH, "longest_first"].append(uncut.correct)
        table = [COLUMNS, *rows(correct, args.seeds[:number])]
        with args.output.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(table)


if __name__ == "__main__":
    main()
