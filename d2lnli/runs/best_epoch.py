"""Early stopping: which epoch did best on the dev split, and how long ago that was."""

import math

from torch import Tensor, nn

from ..history import History

KEEP = ("last", "best")


class BestEpoch:
    """The epoch of the highest dev accuracy, the first of several; with its weights if they count.

    `keep` is 'last' or 'best', `patience` the number of epochs without a better one after which
    training is to end (None: never).
    """

    def __init__(self, net: nn.Module, keep: str = "last", patience: int | None = None):
        self.net, self.keep, self.patience = net, keep, patience
        self.epoch, self.accuracy = 0, -math.inf
        self.weights: dict[str, Tensor] = {}

    def note(self, epoch: int, accuracy: float) -> None:
        """Take an epoch's dev accuracy, and a copy of the weights if none was better."""
        if accuracy > self.accuracy:
            if self.keep == "best":  # not on the device, whose memory training needs
                weights = self.net.state_dict().items()
                self.weights = {name: weight.to("cpu", copy=True) for name, weight in weights}
            self.epoch, self.accuracy = epoch, accuracy

    def is_long_ago(self, epoch: int) -> bool:
        """Tell whether so many epochs have passed that training is to end."""
        return self.patience is not None and epoch - self.epoch >= self.patience

    def restore(self, history: History) -> None:
        """Give the network the weights that were kept, if any."""
        if self.weights:
            self.net.load_state_dict(self.weights)
            history.kept_epoch = self.epoch

    def state_dict(self) -> dict:
        """Return what a checkpoint holds of it."""
        return {name: getattr(self, name) for name in ("epoch", "accuracy", "weights")}

    def load_state_dict(self, state: dict) -> None:
        """Go back to where `state_dict` was taken."""
        self.epoch, self.accuracy, self.weights = (
            state[name] for name in ("epoch", "accuracy", "weights")
        )
