"""What pretraining is worth: bert.tiny against the weights that its pretraining started from.

Both are fine-tuned by the same code on the same pairs. The learning rate of each is the best on the
dev split among a few, at every number of pairs; the test split is read with that one only, over
three seeds. With `--default-init` the untrained weights are torch's own.

    python benchmarks/pretraining_gap.py [--pairs 1000 3000 10000] [--seeds 0 1 2]
"""

import argparse
import contextlib
import io
import time

import numpy as np
import torch

import d2lnli as d2l
from d2lnli.bundled import pretraining

LEARNING_RATES = (5e-4, 1e-3, 2e-3, 4e-3)


def load(num_pairs: int) -> dict[str, d2l.SNLIBERTDataset]:
    """Return the splits of the sample, with so many training pairs."""
    folder, vocab = d2l.download_extract("SNLI-sample"), start(True, False)[1]
    with contextlib.redirect_stdout(io.StringIO()):
        return {
            split: d2l.SNLIBERTDataset(d2l.read_snli(folder, split, most), 128, vocab)
            for split, most in (("train", num_pairs), ("dev", None), ("test", None))
        }


def start(pretrained: bool, default_init: bool) -> tuple[d2l.BERTModel, d2l.Vocab]:
    """Return bert.tiny, or a model of its sizes that has learnt nothing."""
    bert, vocab = d2l.load_pretrained_model("bert.tiny")
    if not pretrained:
        bert = d2l.BERTModel(len(vocab), **pretraining.CONFIG, dropout=0.1)
        if not default_init:
            pretraining.initialise(bert)
    return bert, vocab


def fine_tuned(
    pretrained: bool, lr: float, seed: int, data: dict, default_init: bool
) -> tuple[d2l.BERTClassifier, float]:
    """Fine-tune a classifier with bert.tiny's recipe; return it and the seconds it took."""
    torch.manual_seed(seed)
    net = d2l.BERTClassifier(start(pretrained, default_init)[0])
    settings = {**d2l.recipe("bert.tiny"), "lr": lr, "seed": seed}
    began = time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()):
        d2l.finetune(net, data["train"], data["dev"], **settings)
    return net, time.perf_counter() - began


def main() -> None:
    """Print one line for each start and number of pairs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[1_000, 3_000, 10_000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--default-init", action="store_true")
    args = parser.parse_args()
    print("pairs   start       lr      dev    test (each seed)          mean   seconds")
    for num_pairs in args.pairs:
        data = load(num_pairs)
        for pretrained in (True, False):
            first, *more = args.seeds
            tried = {
                lr: fine_tuned(pretrained, lr, first, data, args.default_init)
                for lr in LEARNING_RATES
            }
            dev = {lr: d2l.evaluate(net, data["dev"]).accuracy for lr, (net, _) in tried.items()}
            lr = max(dev, key=dev.get)
            runs = [tried[lr]]
            runs += [fine_tuned(pretrained, lr, seed, data, args.default_init) for seed in more]
            tests = [d2l.evaluate(net, data["test"]).accuracy for net, _ in runs]
            seconds = np.mean([took for _, took in runs])
            name, each = "pretrained" if pretrained else "untrained", [f"{t:.4f}" for t in tests]
            print(
                f"{num_pairs:>6}  {name:<10}  {lr:<6g}  {dev[lr]:.4f} {' '.join(each)}  "
                f"{np.mean(tests):.4f}  {seconds:>6.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
