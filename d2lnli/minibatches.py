"""Minibatches of pairs of like length, for one process or shared out to several."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from .snli import SNLIBERTDataset, as_pairs

NO_LABEL = -100
"""A label that torch's cross-entropy passes over: no loss, no gradient."""


class LengthBuckets(Sampler):
    """Minibatches of pairs of like length, so that there is little to pad.

    Shuffling stays: pairs are shuffled, sorted by length within every 50 minibatches, and the
    minibatches are shuffled. Every pair comes once an epoch; `seed` and `epoch` fix the order.
    """

    def __init__(self, lens: Tensor, batch_size: int, shuffle: bool = False, seed: int = 0):
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: it takes at least 1")
        self.lens, self.batch_size = np.asarray(lens), batch_size
        self.shuffle, self.seed, self.epoch = shuffle, seed, 0

    def __len__(self) -> int:
        return -(-len(self.lens) // self.batch_size)

    def __iter__(self) -> Iterator[np.ndarray]:
        rng = np.random.default_rng([self.seed, self.epoch])
        self.epoch += 1
        pool = 50 * self.batch_size if self.shuffle else len(self.lens)
        order = np.arange(len(self.lens), dtype=np.int32)
        if self.shuffle:
            rng.shuffle(order)
        for first in range(0, len(order), pool):
            part = order[first : first + pool]
            part[:] = part[np.argsort(self.lens[part], kind="stable")]
        batches = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
        if self.shuffle:
            rng.shuffle(batches)
        return iter(batches)


def bucketed_loader(
    dataset: SNLIBERTDataset,
    batch_size: int,
    shuffle: bool = False,
    seed: int = 0,
    pin_memory: bool = False,
) -> DataLoader:
    """Return minibatches `([token_ids, segments, valid_lens], labels)` of pairs of like length.

    Within each the pairs stand in order of length. `pin_memory` is for what goes to a GPU.
    """
    dataset = as_pairs(dataset)
    return _bucketed(dataset.minibatch, dataset, batch_size, shuffle, seed, pin_memory)


def shared_loader(
    dataset: SNLIBERTDataset,
    batch_size: int,
    seed: int = 0,
    pin_memory: bool = False,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader:
    """Return one rank's shares `(inputs, labels, num_pairs)` of shuffled minibatches.

    The ranks' shares are of like lengths, together they are the minibatch of `num_pairs`, the same
    for any number of ranks. A rank for which no pair is left takes one whose label is `NO_LABEL`.
    """

    def share(batch: np.ndarray) -> tuple[list[Tensor], Tensor, int]:
        mine = batch[rank::world_size]
        X, y = dataset.minibatch(mine if len(mine) else batch[:1])
        return X, y if len(mine) else torch.full_like(y, NO_LABEL), len(batch)

    return _bucketed(share, dataset, batch_size, True, seed, pin_memory)


def _bucketed(
    collate: Callable[[Any], tuple],
    dataset: SNLIBERTDataset,
    batch_size: int,
    shuffle: bool,
    seed: int,
    pin_memory: bool,
) -> DataLoader:
    return DataLoader(
        range(len(dataset)),  # type: ignore[arg-type]  # numbers are what is put together
        batch_sampler=LengthBuckets(dataset.valid_lens, batch_size, shuffle, seed),
        collate_fn=collate,
        pin_memory=pin_memory,
    )
