"""What settings are worth where real pairs are few: the table that notebook 03's solution reads.

`minilm` is fine-tuned on a folder of SNLI's layout with its own recipe and with the chapter's plain
Adam (no warm-up, no decay, no clipping), at the same rate, epochs and minibatches. A row for each
seed, and one for all, with its difference from plain Adam on the same test pairs.

    python -m benchmarks.minilm --corpus FOLDER [--seeds 0 1 …] [--output FILE]
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import torch

import d2lnli as d2l
from d2lnli.store.results import RESULTS

CSV = RESULTS / "minilm.csv"
COLUMNS = ("settings", "seed", "accuracy", "difference", "low", "high")
RECIPE = d2l.recipe("minilm")
SETTINGS = {
    "plain Adam": {**RECIPE, "schedule": "constant", "warmup": 0.0, "clip": None},
    "warm-up, decay, clipping": RECIPE,
}


def fine_tuned(
    corpus: Path, settings: dict, seed: int
) -> tuple[d2l.BERTClassifier, d2l.Vocab, d2l.History]:
    """Fine-tune `minilm` on a corpus; return the classifier, its vocabulary and the history."""
    torch.manual_seed(seed)
    bert, vocab = d2l.load_pretrained_model("minilm")
    net = d2l.BERTClassifier(bert)
    train_set = d2l.SNLIBERTDataset(d2l.read_snli(corpus, "train"), 128, vocab)
    return net, vocab, d2l.finetune(net, train_set, None, **settings, seed=seed)


def train_and_test(corpus: Path, settings: dict, seed: int) -> np.ndarray:
    """Return which test pairs were right."""
    net, vocab, _ = fine_tuned(corpus, settings, seed)
    test_set = d2l.SNLIBERTDataset(d2l.read_snli(corpus, "test"), 128, vocab)
    return d2l.evaluate(net, test_set).correct


def rows(correct: dict[str, list[np.ndarray]], seeds: list[int]) -> list[tuple]:
    """Return the table's rows from which test pairs were right, seed by seed."""
    table, reference = [], correct["plain Adam"]
    for name, by_seed in correct.items():
        for seed, ours, theirs in [
            *zip(seeds, by_seed, reference, strict=False),
            ("all", by_seed, reference),
        ]:
            numbers = (f"{x:.4f}" for x in (np.mean(ours), *d2l.paired_difference(ours, theirs)))
            table.append((name, seed, *numbers))
    return table


def main() -> None:
    """Train and test with both settings and every seed; write the CSV anew after each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=CSV)
    args = parser.parse_args()
    correct = {name: [] for name in SETTINGS}
    for seed in args.seeds:
        for name, settings in SETTINGS.items():
            correct[name].append(train_and_test(args.corpus, settings, seed))
            print(f"{name}, seed {seed}: {correct[name][-1].mean():.4f}", flush=True)
        with args.output.open("w", encoding="utf-8", newline="") as file:
            table = rows(correct, args.seeds)
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *table])


if __name__ == "__main__":
    main()
