"""The stop button and Ctrl-C: both end a training after its current step."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from ..history import Record
from .folder import RunFolder
from .hook import Hook
from .ranks import Agreement, Ranks
from .state import RunState


class StopButton(Hook):
    """Inside its `with` block an interrupt waits for the end of a step; a second one does not wait.

    `clean` is True once the training has stopped between two steps: only then is its state whole.
    A file `stop` in the run folder has the effect of an interrupt. Several processes stop only
    after all have agreed. SIGTERM, with which a cluster announces the end, also stops them.
    """

    def __init__(self, ranks: Ranks, run: RunFolder | None = None):
        self.agreement, self.shared, self.run = Agreement(ranks), ranks.of_torchrun, run
        self.pressed = self.agreed = self.listening = self.clean = False

    def __enter__(self) -> "StopButton":
        self.handlers_before = {}
        in_main_thread = threading.current_thread() is threading.main_thread()
        for number in (signal.SIGINT, signal.SIGTERM) if self.shared else (signal.SIGINT,):
            before = signal.getsignal(number)
            ours = callable(before) or (before, number) == (signal.SIG_DFL, signal.SIGTERM)
            if in_main_thread and ours:  # other threads get no signals
                self.handlers_before[number] = signal.signal(number, self._press)
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self.handlers_before.items():
            signal.signal(number, before)

    def _press(self, number: int, frame: FrameType | None) -> None:
        again = self.pressed and number == signal.SIGINT  # a cluster may send SIGTERM twice
        self.pressed = True
        if again or (self.listening and not self.shared):
            raise KeyboardInterrupt

    @contextmanager
    def heard_at_once(self) -> Iterator[None]:
        """Let an interrupt end this block at once, because it leaves nothing half done."""
        self.listening = True
        try:
            self._stop_if_pressed()
            yield
        except KeyboardInterrupt:
            self.clean = True
            raise
        finally:
            self.listening = False

    def _stop_if_pressed(self) -> None:
        if self.pressed and not self.shared:
            self._stop()

    def _stop(self) -> NoReturn:
        self.clean = True
        raise KeyboardInterrupt

    def after_step(self, state: RunState) -> None:
        """Stop if the button was pressed; all processes stop after the same step."""
        self.pressed |= self.run is not None and self.run.is_to_stop()
        self.agreed = self.agreement.on(self.pressed)
        if self.agreed:
            self._stop()

    def after_epoch(self, state: RunState, record: Record) -> None:
        """Stop if the button was pressed during the evaluation or another hook."""
        self._stop_if_pressed()

    def after_interrupt(self, state: RunState) -> None:
        """Raise the interrupt again if the other processes have not agreed to it."""
        if self.shared and not self.agreed:
            raise KeyboardInterrupt
