"""The events of a training that something else may wait for."""

import contextlib

from ..history import Record
from .state import RunState


class Hook(contextlib.AbstractContextManager):
    """A training calls each hook after a step, after an epoch, and when it was interrupted.

    It is a context that lasts as long as the training. One that raises KeyboardInterrupt ends it.
    """

    def after_step(self, state: RunState) -> None:
        """Called when a minibatch is done."""

    def after_epoch(self, state: RunState, record: Record) -> None:
        """Called when an epoch is done, with its last record, which has the dev accuracy."""

    def after_interrupt(self, state: RunState) -> None:
        """Called when KeyboardInterrupt has ended the training."""

    def is_over(self, state: RunState) -> bool:
        """Tell whether the training should end here, before its last epoch."""
        return False

    def __exit__(self, *error: object) -> None:
        """End what the hook began."""
