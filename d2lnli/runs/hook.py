"""The events of a training. Whatever is not training itself waits for them."""

import contextlib

from ..history import Record
from .state import RunState


class Hook(contextlib.AbstractContextManager):
    """A training calls its hooks after each step, after each epoch, and after an interrupt.

    A hook is a context around the training. `after_step` and `after_epoch` end the training by
    raising KeyboardInterrupt.
    """

    def after_step(self, state: RunState) -> None:
        """The training calls this after each minibatch."""

    def after_epoch(self, state: RunState, record: Record) -> None:
        """The training calls this after each epoch; the record has the dev accuracy."""

    def after_interrupt(self, state: RunState) -> None:
        """The training calls this when KeyboardInterrupt has ended it."""

    def is_over(self, state: RunState) -> bool:
        """Return whether the training should end before its last epoch."""
        return False

    def __exit__(self, *error: object) -> None:
        """End what the hook began."""
