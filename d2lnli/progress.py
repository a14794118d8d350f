"""What a training run shows while it lasts: its means, a progress bar, and the live plot."""

import math
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

from .distributed import rank, sum_over_ranks
from .history import History, Record
from .plotting import LivePlot, in_notebook


class Meter:
    """Means since an epoch began; the sums stay on the device, so that no step waits for them.

    With several ranks each has the sums of its own pairs until the means are asked for.
    """

    def __init__(
        self,
        device: torch.device,
        sums: tuple[float, float] = (0.0, 0.0),
        num_pairs: int = 0,
        seconds: float = 0.0,
    ):
        self.sums = torch.tensor(sums, dtype=torch.float64, device=device)
        self.sums *= rank() == 0  # what was summed before counts once
        self.num_pairs, self.start = num_pairs, time.perf_counter() - seconds

    def state(self) -> tuple[tuple[float, float], int, float]:
        """Return what another meter needs to count on from here."""
        seconds = time.perf_counter() - self.start
        return tuple(self._all_sums().tolist()), self.num_pairs, seconds

    def _all_sums(self) -> Tensor:
        return sum_over_ranks(self.sums.clone())

    def add(self, losses: Tensor, y_hat: Tensor, y: Tensor, num_pairs: int) -> None:
        """Count a minibatch: each example's loss, outputs (classes) and label.

        `num_pairs` are the pairs of the minibatch on all ranks.
        """
        correct = y_hat.argmax(dim=1) == y.to(y_hat.device, non_blocking=True)
        self.sums += torch.stack([losses.double().sum(), correct.double().sum()])
        self.num_pairs += num_pairs

    def record(self, epoch: float) -> Record:
        """Return the means so far as the record of this point of the run."""
        loss, train_acc = (self._all_sums() / self.num_pairs).tolist()
        pairs_per_sec = self.num_pairs / (time.perf_counter() - self.start)
        return Record(float(epoch), loss, train_acc, math.nan, pairs_per_sec)


class Progress:
    """What a person sees of a run: a bar and a live plot; `keep` is told of every new point.

    It is a context: what was reported before an error or an interrupt stays visible. Of several
    ranks, one shows.
    """

    def __init__(
        self,
        plot: LivePlot,
        num_steps: int,
        history: History,
        keep: Callable[[History], None] | None = None,
    ):
        self.plot, self.history, self.keep = plot, history, keep
        self.bar = tqdm(
            total=num_steps,
            unit=" minibatches",
            file=sys.stdout if in_notebook() else sys.stderr,
            disable=rank() > 0 or (False if in_notebook() else None),
            ncols=100,
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self.plot.update(self.history.columns(), force=True)
        self.bar.close()

    def advance(self) -> None:
        """Move the bar by one minibatch."""
        self.bar.update()

    def report(self, record: Record) -> None:
        """Show a new point of the run."""
        self.history.records.append(record)
        numbers = f"loss {record.loss:.3f}, train acc {record.train_acc:.3f}"
        self.bar.set_postfix_str(f"{self.history.precision}, {numbers}", refresh=False)
        self.plot.update(self.history.columns())
        if self.keep:
            self.keep(self.history)
