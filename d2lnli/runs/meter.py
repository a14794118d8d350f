"""Means over the pairs trained so far, as the records of a history."""

import math
import time

import torch
from torch import Tensor

from ..devices import copies_without_wait, dtype_of_sums
from ..history import Record
from .ranks import Ranks


class Meter:
    """Means over an epoch and over its latest twentieth; no step waits for them.

    The sums stay on the device. Each of several ranks has the sums of its own pairs until `record`
    adds them up.
    """

    def __init__(
        self,
        device: torch.device,
        ranks: Ranks,
        sums: tuple[float, ...] = (0.0, 0.0),
        num_pairs: int = 0,
        seconds: float = 0.0,
        sums_before: tuple[float, ...] = (0.0, 0.0),
        num_before: int = 0,
    ):
        dtype = dtype_of_sums(device)
        self.sums = torch.tensor(sums, dtype=dtype, device=device)  # since the last record
        self.ranks = ranks
        self.sums *= ranks.rank == 0  # the sums of a checkpoint count once
        self.num_pairs = self.num_own = num_pairs
        self.sums_before, self.num_before = tuple(sums_before), num_before  # in earlier records
        self.start = time.perf_counter() - seconds
        self.num_classes = 0  # of the outputs, once there are some

    def state(self) -> tuple[tuple[float, ...], int, float, tuple[float, ...], int]:
        """Return the arguments with which another meter goes on from here."""
        seconds = time.perf_counter() - self.start
        sums = tuple(self._all_sums().tolist())
        return sums, self.num_pairs, seconds, self.sums_before, self.num_before

    def _all_sums(self) -> Tensor:
        return self.ranks.sum(self.sums.clone())

    @torch.no_grad()
    def add(self, losses: Tensor, y_hat: Tensor, y: Tensor) -> None:
        """Add a minibatch, or a part of it: each example's loss, outputs (classes) and label."""
        device = y_hat.device
        correct = y_hat.argmax(dim=1) == y.to(device, non_blocking=copies_without_wait(device))
        dtype = self.sums.dtype
        self.sums += torch.stack([losses.sum(dtype=dtype), correct.sum(dtype=dtype)])
        self.num_own += len(y)
        self.num_classes = y_hat.shape[1]

    def end_minibatch(self, num_pairs: int) -> None:
        """Count the pairs of a minibatch, on all ranks together."""
        self.num_pairs += num_pairs

    def record(self, epoch: float) -> Record:
        """Return the means of all ranks, which call this together, as the record of this point."""
        return self._record(epoch, self._all_sums())

    def provisional_record(self, epoch: float) -> Record:
        """Estimate the record from this rank's own pairs, without waiting for the others."""
        if self.ranks.size == 1:  # the sums are exact; fillers are among its own pairs
            return self._record(epoch, self.sums)
        return self._record(epoch, self.sums * (self.num_pairs / self.num_own))

    def _record(self, epoch: float, sums: Tensor) -> Record:
        loss, correct = sums.tolist()
        loss_before, correct_before = self.sums_before
        num_in_epoch = self.num_before + self.num_pairs
        return Record(
            epoch=float(epoch),
            loss=_mean(loss, self.num_pairs),
            train_acc=_mean(correct, self.num_pairs),
            dev_acc=math.nan,
            pairs_per_sec=num_in_epoch / (time.perf_counter() - self.start),
            epoch_loss=_mean(loss_before + loss, num_in_epoch),
            epoch_train_acc=_mean(correct_before + correct, num_in_epoch),
        )

    def begin_twentieth(self) -> None:
        """Begin new means, after a record; all ranks call this together."""
        sums = zip(self.sums_before, self._all_sums().tolist(), strict=True)
        self.sums_before = tuple(before + latest for before, latest in sums)
        self.num_before += self.num_pairs
        self.num_pairs = self.num_own = 0
        self.sums.zero_()


def _mean(total: float, number: int) -> float:
    return total / number if number else math.nan
