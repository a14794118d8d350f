"""How far a training is. A checkpoint holds it, because the rest of the training depends on it."""

import math
from collections.abc import Mapping
from typing import NoReturn, Protocol

import torch
from torch import nn

from ..devices import random_states, set_random_states
from ..history import Record
from .meter import Meter
from .ranks import Ranks

_ORDER = 2  # of pairs in an epoch; earlier versions had another one in large corpora
_LARGE = 200  # minibatches


class Stateful(Protocol):
    """It can save its state and load it again."""

    def state_dict(self) -> dict:
        """Return what a checkpoint holds of it."""

    def load_state_dict(self, saved: dict) -> None:
        """Load what `state_dict` returned."""


class StatefulOptimizer(Stateful, Protocol):
    """An optimizer, whose state belongs to the state of the run."""

    @property
    def lr(self) -> float:
        """The learning rate of the current step."""


class RunState:
    """The place of a run: `batches_done` of `num_batches` in `epoch`, which counts from 0.

    It can be saved and loaded after any minibatch. `others` belong to the state of the run too, by
    their names in a checkpoint.
    """

    def __init__(
        self,
        net: nn.Module,
        updater: StatefulOptimizer,
        num_batches: int,
        ranks: Ranks,
        others: Mapping[str, Stateful] | None = None,
    ):
        self.net, self.updater, self.num_batches, self.ranks = net, updater, num_batches, ranks
        self.others = others or {}
        self.device = next(net.parameters()).device
        self.epoch = self.batches_done = 0
        self.meter = Meter(self.device, self.ranks)
        self.random_states: tuple | None = None  # loaded, until training goes on
        self.checkpoint_hint = ""  # which checkpoint there is, for the message of an error

    @property
    def steps_done(self) -> int:
        """How many minibatches are done, in all epochs."""
        return self.epoch * self.num_batches + self.batches_done

    @property
    def epochs_done(self) -> float:
        """How many epochs are done, with the fraction of this one."""
        return self.epoch + self.batches_done / self.num_batches

    def is_twentieth(self) -> bool:
        """Return whether a twentieth of an epoch ends here, but not the epoch."""
        done, of = self.batches_done, self.num_batches
        return done < of and 20 * (done - 1) // of < 20 * done // of

    def begin_epoch(self) -> None:
        """Begin an epoch, or continue it with the random state of the checkpoint."""
        self.net.train()
        if not self.batches_done:
            self.meter = Meter(self.device, self.ranks)
        elif self.random_states:
            set_random_states(self.device, self.random_states)
        self.random_states = None

    def record(self) -> Record:
        """Return the record of this point; ValueError if the loss is not a finite number."""
        record = self.meter.record(self.epochs_done)
        if not math.isfinite(record.epoch_loss):
            self._give_up(f"the loss became {record.epoch_loss}")
        return record

    def provisional_record(self) -> Record:
        """Estimate the record of this point without waiting for other processes."""
        return self.meter.provisional_record(self.epochs_done)

    def check_weights(self) -> None:
        """Raise ValueError if a weight is not finite: the loss may not show it yet."""
        largest = nn.utils.get_total_norm(self.net.parameters(), math.inf)
        if not largest.isfinite():
            self._give_up("a weight became infinite")

    def _give_up(self, reason: str) -> NoReturn:
        raise ValueError(
            f"{reason} in epoch {self.epoch + 1}, minibatch {self.batches_done}, at a learning "
            f"rate of {self.updater.lr:.3g}: load the model again, and lower lr, add a warm-up, or "
            f"set clip=1.0{self.checkpoint_hint}"
        )

    def state_dict(self) -> dict:
        """Return what a checkpoint holds, of all ranks."""
        states = self.random_states or random_states(self.device)
        return {
            "net": self.net.state_dict(),
            **self.updater.state_dict(),
            **{name: other.state_dict() for name, other in self.others.items()},
            "epoch": self.epoch,
            "done": self.batches_done,
            "order": _ORDER,
            "meter": self.meter.state(),
            "random": [self.ranks.gather(each[None]) for each in states],
        }

    def load_state_dict(self, saved: dict) -> None:
        """Load what `state_dict` returned; ValueError if it comes from another run."""
        random, gpu_random = saved["random"]
        alike = all(each[0].shape == torch.get_rng_state().shape for each in random)
        if not alike or any(each.dtype != torch.uint8 for each in (*random, *gpu_random)):
            raise ValueError("its random state has another format")
        if not (saved["epoch"] >= 0 and 0 <= saved["done"] <= self.num_batches):
            raise ValueError(f"it has {saved['done']} of {self.num_batches} minibatches")
        if saved["done"] and saved.get("order") != _ORDER and self.num_batches >= _LARGE:
            raise ValueError("an earlier version stopped in an epoch with another order of pairs")
        if len(saved["meter"][0]) != 2:
            raise ValueError("its means have another format")
        self.updater.load_state_dict(saved)
        self.net.load_state_dict(saved["net"])
        for name in self.others.keys() & saved.keys():  # earlier versions had fewer
            self.others[name].load_state_dict(saved[name])
        self.epoch, self.batches_done = saved["epoch"], saved["done"]
        self.meter = Meter(self.device, self.ranks, *saved["meter"])
        if len(random) == self.ranks.size:  # else the ranks draw new dropout
            self.random_states = random[self.ranks.rank][0], gpu_random[self.ranks.rank][0]
