"""bert.tiny and the bundled corpus: what the tables of `python -m benchmarks.scenes` share."""

import contextlib
import csv
import io
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import chain, compress, starmap
from pathlib import Path

import torch

import d2lnli as d2l
from tools import pretraining

CORPUS = "Scenes"
FULL_LENGTH = 128


@dataclass(frozen=True)
class Scale:
    """How much is trained; `most` is the largest number of pairs that is read of each split."""

    seeds: tuple[int, ...] = (0, 1, 2)
    jobs: int = 2
    num_epochs: int = d2l.recipe("bert.tiny")["num_epochs"]
    most: int | None = None
    pairs: tuple[int, ...] = (300, 1_000, 3_000, 10_000)
    max_lens: tuple[int, ...] = (10, 12, 16, 20, 24, 32)


@cache
def dataset(
    *splits: str,
    most: int | None = None,
    max_len: int = FULL_LENGTH,
    truncation: str = "longest_first",
    premises: bool = True,
    left_out: str = "",
) -> d2l.SNLIBERTDataset:
    """Return one split of the corpus as a dataset, or several joined.

    Without `premises`, each premise is a full stop. Pairs of the kind `left_out` are left out of
    augment.
    """
    folder, (_, vocab) = d2l.download_extract(CORPUS), d2l.load_pretrained_model("bert.tiny")
    read = [d2l.read_snli(folder, split, most) for split in splits]
    pairs = tuple(list(chain(*column)) for column in zip(*read, strict=True))
    if left_out:
        kept = [
            (split, kind) != ("augment", left_out)
            for split in splits
            for kind in d2l.read_phenomena(folder, split, most)
        ]
        pairs = tuple(list(compress(column, kept)) for column in pairs)
    if not premises:
        pairs = (["."] * len(pairs[0]), *pairs[1:])
    with contextlib.redirect_stdout(io.StringIO()):
        return d2l.SNLIBERTDataset(pairs, max_len, vocab, truncation)


def fine_tune(
    train_set: d2l.SNLIBERTDataset, seed: int, start: str = "pretrained", **settings: float
) -> d2l.BERTClassifier:
    """Fine-tune with bert.tiny's recipe, but for the settings; `learning_curve` names the starts.

    The seed decides the new layer, the order of pairs and dropout.
    """
    torch.manual_seed(seed)
    bert, vocab = d2l.load_pretrained_model("bert.tiny")
    if start == "untrained":
        bert = d2l.BERTModel(len(vocab), **pretraining.CONFIG, dropout=bert.config.dropout)
        pretraining.initialise(bert)
    net = d2l.BERTClassifier(bert)
    if start == "frozen":
        net.requires_grad_(False).output.requires_grad_(True)
    with contextlib.redirect_stderr(io.StringIO()):
        d2l.finetune(net, train_set, None, **{**d2l.recipe("bert.tiny"), **settings, "seed": seed})
    return net


def each(function: Callable, calls: Iterable[tuple], jobs: int) -> Iterator:
    """Yield what a function returns for each tuple of arguments, in their order.

    So small a model trains faster in two processes with a thread each than in one with two.
    """
    if jobs == 1:
        yield from starmap(function, calls)
        return
    new = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, new, torch.set_num_threads, (1,)) as pool:
        started = [pool.submit(function, *call) for call in calls]
        yield from (job.result() for job in started)


def write_csv(file: Path, columns: tuple[str, ...], rows: Iterable[tuple]) -> None:
    """Write a table."""
    with file.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened, lineterminator="\n").writerows([columns, *rows])


def read_csv(file: Path) -> list[dict[str, str]]:
    """Read a table as dicts."""
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))
