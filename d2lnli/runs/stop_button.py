"""The stop button, and Ctrl-C: heard between two training steps, so that none is left half done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopButton:
    """Inside its `with` block an interrupt waits while one is `held`; a second one does not wait.

    `broken` tells that what was held may be half done. One that is `shared` by several processes
    waits until all of them have agreed to stop; SIGTERM, with which clusters announce the end, is a
    press as well.
    """

    def __init__(self, shared: bool = False):
        self.pressed = self.holding = self.broken = False
        self.shared = shared

    def __enter__(self) -> "StopButton":
        self.before = {}
        here = threading.current_thread() is threading.main_thread()  # no other thread hears it
        for number in (signal.SIGINT, signal.SIGTERM) if self.shared else (signal.SIGINT,):
            before = signal.getsignal(number)
            if here and (callable(before) or (before, number) == (signal.SIG_DFL, signal.SIGTERM)):
                self.before[number] = signal.signal(number, self._press)
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self.before.items():
            signal.signal(number, before)

    def _press(self, number: int, frame: FrameType | None) -> None:
        again = self.pressed and number == signal.SIGINT  # a cluster may send SIGTERM twice
        self.pressed = True
        if again or not (self.holding or self.shared):
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let an interrupt wait for the end of this block."""
        self.holding = True
        try:
            yield
        except BaseException:
            self.broken = True
            raise
        finally:
            self.holding = False
        if self.pressed and not self.shared:
            raise KeyboardInterrupt
