"""Early stopping: which epoch was best on the dev split, and how long ago it was."""

import math

from torch import Tensor, nn

from ..history import History, Record
from .hook import Hook
from .state import RunState


class BestEpoch(Hook):
    """The first epoch with the highest dev accuracy, and with `keep='best'` its weights.

    The training is over after `patience` epochs without a better one (None: it never is).
    """

    def __init__(self, net: nn.Module, keep: str, patience: int | None):
        self.net, self.keep, self.patience = net, keep, patience
        self.epoch, self.accuracy = 0, -math.inf
        self.weights: dict[str, Tensor] = {}

    def after_epoch(self, state: RunState, record: Record) -> None:
        """Remember the epoch, and copy its weights, if no earlier epoch was as good."""
        if record.dev_acc > self.accuracy:
            if self.keep == "best":  # training needs the device's memory itself
                weights = self.net.state_dict().items()
                self.weights = {name: weight.to("cpu", copy=True) for name, weight in weights}
            self.epoch, self.accuracy = state.epoch, record.dev_acc

    def is_over(self, state: RunState) -> bool:
        """Return whether the best epoch was `patience` epochs ago."""
        return self.patience is not None and state.epoch - self.epoch >= self.patience

    def restore(self, history: History) -> None:
        """Load the weights of the best epoch into the network, if they were copied."""
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
