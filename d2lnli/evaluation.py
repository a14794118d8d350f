"""How often a classifier is right: accuracy with its interval, confusion, groups, differences."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .bert import label_names_of, unwrapped
from .dataset import LengthBuckets, SNLIBERTDataset, TokenPairs, as_pairs
from .devices import (
    autocast,
    choose_precision,
    copies_without_wait,
    is_fast_in,
    kind,
    tf32_as_asked,
)
from .fast.minibatches import inputs_on
from .fast.network import fast
from .runs.checks import check_fits
from .runs.failures import memory_advice
from .runs.ranks import current_ranks


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The logits of a classifier for each pair of a dataset, in the dataset's order.

    `logits` is (n, classes), `labels` (n,). `float(evaluation)` is the accuracy.
    """

    logits: Tensor
    labels: Tensor

    @property
    def predictions(self) -> np.ndarray:
        """The predicted label id of each pair."""
        return self.logits.argmax(dim=1).numpy()

    @property
    def correct(self) -> np.ndarray:
        """Whether each pair was classified correctly."""
        return self.predictions == self.labels.numpy()

    @property
    def accuracy(self) -> float:
        """The fraction of pairs that were classified correctly."""
        return float(self.correct.mean())

    @property
    def loss(self) -> float:
        """The mean cross-entropy."""
        return F.cross_entropy(self.logits, self.labels).item()

    @property
    def confusion(self) -> np.ndarray:
        """The number of pairs, (gold label, predicted label)."""
        num_classes = self.logits.shape[1]
        cells = self.labels.numpy() * num_classes + self.predictions
        return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the accuracy (Wilson's score interval)."""
        return proportion(self.correct)[1:]

    def by(self, groups: Sequence[str]) -> dict[str, "Evaluation"]:
        """Return the evaluation of each group; `groups` has the name of each pair's group."""
        if len(groups) != len(self.labels):
            raise ValueError(
                f"{len(groups)} groups for {len(self.labels)} pairs: give each pair one group"
            )
        members: dict[str, list[int]] = {}
        for i, group in enumerate(groups):
            members.setdefault(group, []).append(i)
        return {name: Evaluation(self.logits[i], self.labels[i]) for name, i in members.items()}

    def __float__(self) -> float:
        return self.accuracy

    def __repr__(self) -> str:
        low, high = self.interval
        return (
            f"accuracy {self.accuracy:.3f} (95 % interval {low:.3f} to {high:.3f}), "
            f"loss {self.loss:.3f}, {len(self.labels)} pairs"
        )


def proportion(outcomes: ArrayLike) -> tuple[float, float, float]:
    """Return how large a part of some outcomes is True, and its 95 % interval (Wilson's)."""
    outcomes, z = np.asarray(outcomes, bool), 1.959964
    n = outcomes.size
    if not n:
        raise ValueError("there are no outcomes to count: give at least one")
    share = float(outcomes.mean())
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = min(share, centre - half), max(share, centre + half)  # exact at 0 and 1
    return share, max(0.0, low), min(1.0, high)


class Difference(NamedTuple):
    """How much more often one model is right than another, with its interval."""

    difference: float
    low: float
    high: float


def paired_difference(first: ArrayLike, second: ArrayLike, comparisons: int = 1) -> Difference:
    """Compare two models, or two ways to train one, on the same pairs.

    `first` and `second` are True where a model was right: (pairs,), or (seeds, pairs) if each was
    trained with several seeds. The 95 % interval comes from a paired bootstrap that resamples seeds
    and pairs, as in Sellam et al. (2022), "The MultiBERTs". If it is one of several `comparisons`,
    it is wider, so that all of them together hold with 95 % (Bonferroni's correction).
    """
    first, second = (np.atleast_2d(np.asarray(given, float)) for given in (first, second))
    if first.shape != second.shape or not first.size:
        raise ValueError(
            f"shapes {first.shape} and {second.shape}: compare models on the same seeds and pairs"
        )
    if comparisons < 1:
        raise ValueError(f"comparisons={comparisons}: give how many are made, at least 1")
    seeds, pairs = first.shape
    draws, tail = 2000 * comparisons, 0.025 / comparisons
    differences, rng = first - second, np.random.default_rng(0)
    # pairs with equal differences are drawn together: there are few kinds of them
    _, example, counts = np.unique(differences, axis=1, return_index=True, return_counts=True)
    order = example.argsort()  # a swap of first and second mirrors the interval
    times_seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), draws)
    times_kind = rng.multinomial(pairs, counts[order] / pairs, draws)
    drawn = ((times_seed @ differences[:, example[order]]) * times_kind).sum(axis=1)
    return Difference(differences.mean(), *np.quantile(drawn / differences.size, [tail, 1 - tail]))


def evaluate(
    net: nn.Module,
    dataset: SNLIBERTDataset,
    batch_size: int | None = None,
    precision: str | None = None,
) -> Evaluation:
    """Classify every pair of a dataset, and compare the predictions with its labels.

    This happens where the network is. `batch_size` None suits the device. `precision` None is the
    one in which the network was trained, if the device is fast in it, else fp32. Under torchrun all
    processes call it together, and each classifies its share. Raises MemoryError, which names a
    smaller batch_size, if memory runs out.
    """
    dataset = as_pairs(dataset)
    check_fits(net, dataset)
    ranks = current_ranks()
    logits = logits_of(net, dataset, batch_size, precision, ranks.rank, ranks.size)
    return Evaluation(ranks.sum(logits), dataset.labels)


def accuracy_on(net: nn.Module, batches: DataLoader) -> float:
    """Return the accuracy over minibatches `(inputs, labels)` of any loader."""
    device = next(net.parameters()).device
    correct, total = torch.zeros((), device=device), 0
    with evaluating(net):
        for X, y in batches:
            with memory_advice(device, len(y)):
                y_hat = net(to_device(X, device))
            correct += (y_hat.argmax(dim=1) == y.to(device)).sum()
            total += y.numel()
    if not total:
        raise ValueError("there are no minibatches to measure the accuracy on: give at least one")
    return correct.item() / total


@overload
def to_device(X: Tensor, device: torch.device) -> Tensor: ...
@overload
def to_device(X: Sequence[Tensor], device: torch.device) -> list[Tensor]: ...
def to_device(X: Tensor | Sequence[Tensor], device: torch.device) -> Tensor | list[Tensor]:
    """Move a minibatch's inputs, one tensor or several, to a device."""
    if isinstance(X, Tensor):
        return X.to(device, non_blocking=copies_without_wait(device))
    return [to_device(x, device) for x in X]


def pairs_at_once(device: torch.device, pairs: TokenPairs) -> int:
    """Return how many pairs a device classifies at once: what fills a GPU, and fits into it."""
    if kind(device) == "cpu":
        return 128
    return max(128, 2**16 // int(pairs.valid_lens.max()))


def trained_precision(net: nn.Module, device: torch.device) -> str:
    """Return the precision in which a network was trained, or fp32 if a device emulates it."""
    history = getattr(unwrapped(net), "history", None)
    precision = history.precision if history else "fp32"
    return precision if is_fast_in(precision, device) else "fp32"


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Compute fast inside the block, without dropout and gradients; then restore each mode."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        with fast(net), torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training


def logits_of(
    net: nn.Module,
    pairs: TokenPairs,
    batch_size: int | None = None,
    precision: str | None = None,
    first: int = 0,
    step: int = 1,
) -> Tensor:
    """Return the logits (n, classes) of all pairs, in their order, on the CPU, as `evaluate` does.

    Only every `step`-th minibatch is computed, beginning with the `first`. The others get zeros.
    """
    device = next(net.parameters()).device
    precision = choose_precision(precision or trained_precision(net, device), device)
    batch_size = pairs_at_once(device, pairs) if batch_size is None else batch_size
    # the longest first: if memory is short, this fails at once, and what is freed fits the rest
    batches = list(LengthBuckets(pairs.valid_lens, batch_size))[::-1][first::step]
    in_order = torch.zeros(len(pairs), len(label_names_of(net)))
    if not batches:
        return in_order
    with (
        memory_advice(device, min(batch_size, len(pairs))),
        evaluating(net),
        tf32_as_asked(precision, device),
        autocast(precision, device),
    ):
        inputs = inputs_on(device, pairs, batches)
        logits = torch.cat([net(X).float() for X in inputs])
    if logits.isnan().any():
        raise ValueError(
            "the model computes nan, so its weights are damaged: load or train it again"
        )
    in_order[np.concatenate(batches)] = logits.cpu()
    return in_order
