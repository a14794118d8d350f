"""What pretraining is worth: bert.tiny against the weights that its pretraining started from.

Both are fine-tuned by the same code on the same pairs. The learning rate of each is the best on the
dev split among a few, at every number of pairs; the test split is read with that one only, over
three seeds. `--start default` takes torch's own initial weights; `--epochs` trains longer than
bert.tiny's recipe says, for what starts from nothing may need more.

    python benchmarks/pretraining_gap.py [--pairs 1000 3000 10000] [--start untrained] [--epochs 16]
"""

import argparse
import contextlib
import io
import itertools
import time

import numpy as np
import torch

import d2lnli as d2l
from tools import pretraining

Run = tuple[d2l.BERTClassifier, float]  # a fine-tuned classifier and the seconds it took


def load(num_pairs: int) -> dict[str, d2l.SNLIBERTDataset]:
    """Return the splits of the sample, with so many training pairs."""
    folder, vocab = d2l.download_extract("SNLI-sample"), model("pretrained")[1]
    with contextlib.redirect_stdout(io.StringIO()):
        return {
            split: d2l.SNLIBERTDataset(d2l.read_snli(folder, split, most), 128, vocab)
            for split, most in (("train", num_pairs), ("dev", None), ("test", None))
        }


def model(start: str) -> tuple[d2l.BERTModel, d2l.Vocab]:
    """Return bert.tiny, or a model of its sizes that has learnt nothing, and its vocabulary."""
    bert, vocab = d2l.load_pretrained_model("bert.tiny")
    if start != "pretrained":
        bert = d2l.BERTModel(len(vocab), **pretraining.CONFIG, dropout=0.1)
    if start == "untrained":
        pretraining.initialise(bert)
    return bert, vocab


def fine_tune(start: str, data: dict, lr: float, num_epochs: int, seed: int) -> Run:
    """Fine-tune with bert.tiny's recipe, but for the learning rate and the epochs."""
    torch.manual_seed(seed)
    net = d2l.BERTClassifier(model(start)[0])
    settings = {**d2l.recipe("bert.tiny"), "lr": lr, "num_epochs": num_epochs, "seed": seed}
    began = time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()):
        d2l.finetune(net, data["train"], data["dev"], **settings)
    return net, time.perf_counter() - began


def main() -> None:
    """Print one line for each start and number of pairs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[1_000, 3_000, 10_000])
    parser.add_argument("--start", nargs="+", default=["pretrained", "untrained"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--lrs", type=float, nargs="+", default=[5e-4, 1e-3, 2e-3, 4e-3])
    parser.add_argument("--epochs", type=int, default=d2l.recipe("bert.tiny")["num_epochs"])
    args = parser.parse_args()
    print("pairs   start       lr      dev    test (each seed)          mean   seconds")
    for num_pairs, start in itertools.product(args.pairs, args.start):
        data, (first, *more) = load(num_pairs), args.seeds
        tried = {lr: fine_tune(start, data, lr, args.epochs, first) for lr in args.lrs}
        dev = {lr: d2l.evaluate(net, data["dev"]).accuracy for lr, (net, _) in tried.items()}
        lr = max(dev, key=dev.get)
        runs = [tried[lr], *(fine_tune(start, data, lr, args.epochs, seed) for seed in more)]
        tests = [d2l.evaluate(net, data["test"]).accuracy for net, _ in runs]
        each = " ".join(f"{accuracy:.4f}" for accuracy in tests)
        seconds = np.mean([took for _, took in runs])
        print(
            f"{num_pairs:>6}  {start:<10}  {lr:<6g}  {dev[lr]:.4f} {each}  {np.mean(tests):.4f}  "
            f"{seconds:>6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
