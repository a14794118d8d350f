"""A real model on a challenge set: `minilm`, fine-tuned on SNLI's layout, on Breaking NLI.

Each seed's classifier is kept in a folder and used again. There is a row for each category of the
challenge set, for all of its pairs, and for the corpus' own test split and each of its labels: the
accuracy of each seed with its 95 % interval, and the mean of the seeds with an interval that
resamples seeds and pairs.

    python -m benchmarks.breaking_nli --corpus FOLDER --challenge FOLDER --classifiers FOLDER
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import d2lnli as d2l
from d2lnli.store.results import RESULTS

from .minilm import RECIPE, fine_tuned

CSV = RESULTS / "breaking_nli.csv"
COLUMNS = (
    "pairs of", "seed", "number of pairs", "entailment", "predicted entailment",
    "predicted neutral", "accuracy", "low", "high",
)  # fmt: skip
ENTAILMENT, NEUTRAL = map(d2l.LABELS.index, ("entailment", "neutral"))


def classifier(corpus: Path, seed: int, folder: Path) -> tuple[d2l.BERTClassifier, d2l.Vocab]:
    """Load the classifier of a seed, or fine-tune and save it first."""
    if not folder.is_dir():
        net, vocab, history = fine_tuned(corpus, RECIPE, seed)
        history.made_of.update(model="minilm", corpus=corpus.name)
        d2l.save_classifier(folder, net, vocab, history)
    return d2l.load_classifier(folder)


def evaluations(
    net: d2l.BERTClassifier, vocab: d2l.Vocab, corpus: Path, challenge: Path
) -> dict[str, d2l.Evaluation]:
    """Return the evaluation of the test split, of the challenge set, and of their parts."""
    test_pairs = d2l.read_snli(corpus, "test")
    test = d2l.evaluate(net, d2l.SNLIBERTDataset(test_pairs, 128, vocab))
    by_label = test.by([f"test split, {d2l.LABELS[label]}" for label in test_pairs[2]])
    pairs = d2l.open_split(challenge, "dataset")
    challenge_set = d2l.SNLIBERTDataset(pairs.read(), 128, vocab)
    categories = [category for _, (category,) in pairs.pairs_with("category")]
    whole = d2l.evaluate(net, challenge_set)
    by_category = dict(sorted(whole.by(categories).items()))
    by_label = dict(sorted(by_label.items()))
    return {"test split": test, **by_label, "Breaking NLI": whole, **by_category}


def rows(by_seed: dict[int, dict[str, d2l.Evaluation]]) -> Iterator[tuple]:
    """Yield the table's rows; of each label that is predicted there is the share of the pairs."""
    for name in next(iter(by_seed.values())):
        found = {seed: evaluations[name] for seed, evaluations in by_seed.items()}
        labels = next(iter(found.values())).labels
        what = name, len(labels), float((labels == ENTAILMENT).float().mean())
        predicted = {
            seed: [(e.predictions == label).mean() for label in (ENTAILMENT, NEUTRAL)]
            for seed, e in found.items()
        }
        for seed, e in found.items():
            yield _row(what, seed, *predicted[seed], e.accuracy, *e.interval)
        correct = np.stack([evaluation.correct for evaluation in found.values()])
        mean = d2l.paired_difference(correct, np.zeros_like(correct))
        yield _row(what, "all", *np.mean(list(predicted.values()), axis=0), *mean)


def _row(what: tuple[str, int, float], seed: int | str, *numbers: float) -> tuple:
    name, pairs, entailment = what
    return (name, seed, pairs, *(f"{number:.4f}" for number in (entailment, *numbers)))


def main() -> None:
    """Fine-tune and evaluate every seed; write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--challenge", type=Path, required=True)
    parser.add_argument("--classifiers", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=CSV)
    args = parser.parse_args()
    by_seed = {}
    for seed in args.seeds:
        net, vocab = classifier(args.corpus, seed, args.classifiers / f"seed-{seed}")
        by_seed[seed] = evaluations(net, vocab, args.corpus, args.challenge)
        print(seed, by_seed[seed], flush=True)
    with args.output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows(by_seed))


if __name__ == "__main__":
    main()
