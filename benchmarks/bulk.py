"""A file of pairs in, answers out: `python -m benchmarks.bulk --corpus FOLDER`.

The commands `predict --input` and `evaluate --input` classify the same pairs in turn, with a
network of bert.small's sizes and random weights. Memory is what a process has beyond the loaded
classifier. It takes some ten minutes and wants the machine for itself.
"""

import argparse
import contextlib
import csv
import io
import statistics
import tempfile
from pathlib import Path

import d2lnli as d2l
from d2lnli.__main__ import main as command
from d2lnli.bulk import opened_pairs, predict_file
from d2lnli.store.hub import ARCHITECTURES

from . import corpus
from .measure import PeakMemory, in_new_process, in_turn, machine, median_ratio, seconds

WORDS = 60_005


def write_files(source: Path, folder: Path, num_pairs: int) -> None:
    """Write a classifier and a CSV of pairs."""
    training_pairs = d2l.read_snli(source, "train")
    bert = d2l.BERTModel(WORDS, dropout=0.1, **ARCHITECTURES["bert.small"])
    vocab = corpus.vocabulary(training_pairs, WORDS)
    d2l.save_classifier(folder / "classifier", d2l.BERTClassifier(bert), vocab)
    with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["premise", "hypothesis", "label"])
        for premise, hypothesis, label in zip(
            *corpus.made_pairs(training_pairs, num_pairs), strict=True
        ):
            writer.writerow([premise, hypothesis, d2l.LABELS[label]])


def run(name: str, folder: Path, *more: str) -> None:
    """Run a command on the pairs; what it prints is dropped."""
    files = ["--classifier", str(folder / "classifier"), "--input", str(folder / "pairs.csv")]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        if command([name, *files, *more]):
            raise RuntimeError(f"{name} failed")


def predict_seconds(folder: Path) -> float:
    """Return how long `predict` takes."""
    return seconds(run, "predict", folder, "--output", str(folder / "answers.csv"))


def evaluate_seconds(folder: Path) -> float:
    """Return how long `evaluate` takes."""
    return seconds(run, "evaluate", folder)


def predict_memory(folder: Path) -> float:
    """Return the MiB that `predict` takes beyond Python, torch and the loaded classifier."""
    net, vocab = d2l.load_classifier(folder / "classifier")
    with PeakMemory() as memory, opened_pairs(str(folder / "pairs.csv")) as pairs:
        predict_file(net, vocab, pairs, str(folder / "answers.csv"))
    return memory.megabytes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, help="a folder with a training split")
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    source = Path(args.corpus or d2l.download_extract("Scenes"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_new_process(write_files, source, folder, args.pairs)
        print(f"{args.pairs:,} pairs; {machine()}", flush=True)
        times = in_turn(
            args.rounds,
            predict=lambda: in_new_process(predict_seconds, folder),
            evaluate=lambda: in_new_process(evaluate_seconds, folder),
        )
        for what, found in times.items():
            middle = statistics.median(found)
            print(f"{what}: {middle:.1f} s, {args.pairs / middle:,.0f} pairs/s", flush=True)
        print(f"predict / evaluate: {median_ratio(times['predict'], times['evaluate']):.2f}")
        print(f"predict, memory beyond the model: {in_new_process(predict_memory, folder):.0f} MiB")


if __name__ == "__main__":
    main()
