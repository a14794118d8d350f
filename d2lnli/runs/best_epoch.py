"""Early stopping: which epoch did best on the dev split, and how long ago that was."""

import math

from torch import Tensor, nn

from ..history import History, Record
from .hook import Hook
from .state import RunState


class BestEpoch(Hook):
    """The epoch of the highest dev accuracy, the first of several; with its weights if asked.

    `keep` is 'last' or 'best'. After `patience` epochs without a better one the training is over
    (None: never).
    """

    def __init__(self, net: nn.Module, keep: str, patience: int | None):
        self.net, self.keep, self.patience = net, keep, patience
        self.epoch, self.accuracy = 0, -math.inf
        self.weights: dict[str, Tensor] = {}

    def after_epoch(self, state: RunState, record: Record) -> None:
        """Remember the epoch, and copy the weights, if no epoch before it was as good."""
        if record.dev_acc > self.accuracy:
            if self.keep == "best":  # in the machine's memory: training needs that of the device
                weights = self.net.state_dict().items()
                self.weights = {name: weight.to("cpu", copy=True) for name, weight in weights}
            self.epoch, self.accuracy = state.epoch, record.dev_acc

    def is_over(self, state: RunState) -> bool:
        """Tell whether the best epoch was `patience` epochs ago."""
        return self.patience is not None and state.epoch - self.epoch >= self.patience

    def restore(self, history: History) -> None:
        """Give the network the weights of the best epoch, if they are to be kept."""
        if self.weights:
            self.net.load_state_dict(self.weights)
            history.kept_epoch = self.epoch

    def state_dict(self) -> dict:
        """Return what a checkpoint holds of it."""
        return {"epoch": self.epoch, "accuracy": self.accuracy, "weights": self.weights}

    def load_state_dict(self, saved: dict) -> None:
        """Go back to where `state_dict` was taken."""
        self.epoch, self.accuracy = saved["epoch"], saved["accuracy"]
        self.weights = saved["weights"]
